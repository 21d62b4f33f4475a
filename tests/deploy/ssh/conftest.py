"""A lab of a Debian 12 and a Debian 13 server whose sshd and sudo tests set up as they need them.

Everything a test changes is inside the servers: users, sshd's on other ports, sudo rules. They end with the lab.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from rbops.deploy.logins import target_of
from rbops.deploy.ssh import Session, Target, open_session
from rbops.lab.model import Lab
from rbops.lab.releases import Releases
from rbops.planner import load_plan
from tests.support.lab import MakeLab

SPEC = """\
name: rbssh
router: {external_ports: 2, line_rate: 1Gbps}
servers: {profile: lab}
"""

PASSWORD = "correct horse battery"  # noqa: S105 - of a user in a lab

_USER = """\
set -e
id {name} >/dev/null 2>&1 || useradd --create-home --shell /bin/bash {name}
echo '{name}:{password}' | chpasswd
install -d -m 700 -o {name} -g {name} /home/{name}/.ssh
install -m 600 -o {name} -g {name} /root/.ssh/authorized_keys /home/{name}/.ssh/authorized_keys
"""

_SSHD = """\
set -e
[ ! -e /run/sshd-{port}.pid ] || kill "$(cat /run/sshd-{port}.pid)" || true
while [ -e /run/sshd-{port}.pid ]; do sleep 0.05; done
mkdir -p /run/sshd
cat > /etc/ssh/sshd-{port}.conf
/usr/sbin/sshd -f /etc/ssh/sshd-{port}.conf
while [ ! -e /run/sshd-{port}.pid ]; do sleep 0.05; done
"""


@dataclass(frozen=True)
class Rack:
    """The lab, a folder for client files, and the logins of its inventory."""

    lab: Lab
    spec: Path
    folder: Path

    @property
    def variables(self) -> dict[str, dict[str, str]]:
        """Each server's variables in the lab's inventory."""
        body = yaml.safe_load(self.lab.inventory.read_text(encoding="utf-8"))
        found: dict[str, dict[str, str]] = body["all"]["children"]["rbops_servers"]["hosts"]
        return found

    def plain(self, server: str) -> dict[str, str]:
        """Address and key of a server's root login, known_hosts in the SSH arguments, nothing else."""
        whole = self.variables[server]
        return {key: whole[key] for key in ("ansible_host", "ansible_ssh_private_key_file")} | {
            "ansible_user": "root",
            "ansible_ssh_common_args": self.arguments(),
        }

    def arguments(self, *options: str, known: Path | None = None, config: Path | None = None) -> str:
        """SSH arguments with these options, and nobody's own configuration."""
        own = [f"UserKnownHostsFile={known or self.known_hosts}", "GlobalKnownHostsFile=none", "IdentitiesOnly=yes"]
        words = ["-F", str(config or "none"), *(word for option in (*options, *own) for word in ("-o", option))]
        return " ".join(f"'{word}'" if " " in word else word for word in words)

    @property
    def known_hosts(self) -> Path:
        """The lab's known_hosts."""
        return Path(self.variables["n0"]["rbops_known_hosts"])

    @property
    def key(self) -> Path:
        """The lab's client key."""
        return Path(self.variables["n0"]["ansible_ssh_private_key_file"])

    def address(self, server: str) -> str:
        """A server's management address."""
        return self.variables[server]["ansible_host"]

    def target(self, server: str, **changes: str | int | bool) -> Target:
        """The login of the plain variables with some changed."""
        return target_of(server, {**self.plain(server), **changes})

    def root(self, server: str) -> Session:
        """A root session for setting things up."""
        return open_session(self.target(server))

    def sh(self, server: str, script: str, stdin: bytes = b"") -> str:
        """Run a script as root; returns what it printed."""
        with self.root(server) as session:
            done = session.run(["sh", "-c", script], 30, stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def user(self, server: str, name: str, sudo: str = "") -> None:
        """A user with the lab's key and PASSWORD; ``sudo``: the lines of sudoers about it."""
        self.sh(server, _USER.format(name=name, password=PASSWORD))
        path = f"/etc/sudoers.d/{name}"
        self.sh(server, f"umask 337; cat > {path}.new; mv {path}.new {path}; visudo -cq", (sudo + "\n").encode())

    def sshd(self, server: str, port: int, text: str = "") -> None:
        """Another sshd on ``port``; the lines of ``text`` come first, and the first value of an option counts."""
        usual = (
            f"{text}\nPort {port}\nPidFile /run/sshd-{port}.pid\nHostKey /etc/ssh/ssh_host_ed25519_key\n"
            "UsePAM yes\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
        )
        self.sh(server, _SSHD.format(port=port), usual.encode())

    def known(self, name: str, lines: str) -> Path:
        """A known_hosts file of its own."""
        path = self.folder / name
        path.write_text(lines, encoding="utf-8")
        return path

    def host_key(self, server: str) -> str:
        """A server's host key as known_hosts has it, without the name."""
        lines = self.known_hosts.read_text(encoding="utf-8").splitlines()
        return next(line.partition(" ")[2] for line in lines if line.split()[0] == self.address(server))

    def new_key(self, name: str, *options: str) -> Path:
        """A fresh key pair."""
        path = self.folder / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path, *options], check=True)
        return path


@pytest.fixture(scope="package")
def rack(make_lab: MakeLab, tmp_path_factory: pytest.TempPathFactory) -> Rack:
    """n0 runs Debian 12, n1 Debian 13."""
    folder = tmp_path_factory.mktemp("ssh")
    spec = folder / "router.yml"
    spec.write_text(SPEC, encoding="utf-8")
    lab = make_lab(load_plan(spec), "rbt-ssh", Releases("bookworm", {"n1": "trixie"}))
    return Rack(lab, spec, folder)


@pytest.fixture
def agent(rack: Rack) -> Iterator[Path]:
    """The socket of an agent that holds the lab's key."""
    folder = Path(tempfile.mkdtemp(prefix="rbt-agent-"))
    socket = folder / "s"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        environment = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
        while subprocess.run(["ssh-add", "-l"], env=environment, capture_output=True, check=False).returncode > 1:
            pass
        subprocess.run(["ssh-add", "-q", rack.key], env=environment, check=True)
        yield socket
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)
