"""A cluster of Debian 12 and 13 whose login is not root: sudo's password in a vault and asked for, one server behind
a jump host. The commands are those a user types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

import pytest

from rbops.deploy.vault import encrypt
from tests.deploy.ssh.conftest import PASSWORD, Rack

pytestmark = pytest.mark.lab

VAULT = "the canary of the vault"


class Rbops:
    """``rbops VERB`` with these inventories, and whatever processes said of the passwords meanwhile."""

    def __init__(self, rack: Rack, inventories: list[Path], state: Path, config: Path) -> None:
        self.rack = rack
        self.inventories = inventories
        self.state = state
        self.config = config

    def __call__(self, verb: str, *options: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from rbops.cli import main; main()", verb]
        command += [] if verb == "history" else [str(self.rack.spec)]
        command += [word for path in self.inventories for word in ("-i", str(path))]
        with _Watcher() as watcher:
            # A session of its own has no terminal: what is asked is read from standard input.
            done = subprocess.run(
                [*command, *options],
                input=typed,
                capture_output=True,
                text=True,
                check=False,
                start_new_session=True,
                env={**os.environ, "XDG_STATE_HOME": str(self.state), "ANSIBLE_CONFIG": str(self.config)},
            )
        assert watcher.seen == []
        assert PASSWORD not in done.stdout + done.stderr
        return done


class _Watcher(threading.Thread):
    """Looks for the passwords in the command lines and environments of all processes while something runs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: list[str] = []
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.2):
            for folder in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        text = (folder / name).read_bytes()
                    except OSError:
                        continue
                    if PASSWORD.encode() in text or VAULT.encode() in text:
                        self.seen.append(f"{folder.name}/{name}: {text!r}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()


@pytest.fixture(scope="module")
def rbops(rack: Rack, tmp_path_factory: pytest.TempPathFactory) -> Rbops:
    folder = tmp_path_factory.mktemp("users")
    for server in ("n0", "n1"):
        rack.user(server, "ops", "Defaults:ops secure_path=/usr/bin:/bin\nops ALL=(ALL) ALL")
    ssh = folder / "ssh_config"
    ssh.write_text(
        f"Host gate\n HostName {rack.address('n0')}\n User ops\n"
        f"Host inner\n HostName {rack.address('n1')}\n ProxyJump gate\n"
        f"Host *\n UserKnownHostsFile {rack.known_hosts}\n IdentityFile {rack.key}\n IdentitiesOnly yes\n"
    )
    first = folder / "a.yml"
    secret = encrypt(PASSWORD, VAULT).replace("\n", "\n            ").rstrip()
    first.write_text(
        "rbops_servers:\n  hosts:\n    n0:\n"
        f"      ansible_host: {rack.address('n0')}\n      ansible_become_password: !vault |\n            {secret}\n"
    )
    second = folder / "b.ini"
    second.write_text("[rbops_servers]\nn1 ansible_host=inner\n")
    config = folder / "ansible.cfg"
    config.write_text(
        f"[defaults]\nremote_user = ops\nverbosity = 2\n[ssh_connection]\nssh_args = -F {ssh} -o ControlMaster=auto\n"
    )
    return Rbops(rack, [first, second], folder / "state", config)


def test_apply_verify_and_status_as_another_user(rbops: Rbops, tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    vault.write_text(VAULT)
    options = ("-K", "--vault-password-file", str(vault))
    for verb in ("apply", "verify", "diff"):
        done = rbops(verb, *options, typed=f"{PASSWORD}\n")
        assert done.returncode == 0, done.stdout + done.stderr
    done = rbops("status", *options, "--format", "json", typed=f"{PASSWORD}\n")
    servers = json.loads(done.stdout)["servers"]
    assert {name: server["problems"] for name, server in servers.items()} == {"n0": [], "n1": []}
    # Nothing of it stays on this machine.
    files = [path for path in rbops.state.rglob("*") if path.is_file()]
    assert any(path.name == "hosts.yml" for path in files)
    assert [path for path in files if any(word.encode() in path.read_bytes() for word in (PASSWORD, VAULT))] == []


def test_a_password_that_is_wrong_or_missing(rbops: Rbops, tmp_path: Path) -> None:
    done = rbops("status", "-K", typed=f"{PASSWORD}\n")
    assert (done.returncode, "--vault-password-file" in done.stderr) == (2, True), done.stderr
    vault = tmp_path / "vault"
    vault.write_text(VAULT)
    done = rbops("status", "--vault-password-file", str(vault), "--format", "json")
    assert done.returncode == 4
    servers = json.loads(done.stdout)["result"]["servers"] if "result" in json.loads(done.stdout) else {}
    servers = servers or json.loads(done.stdout)["servers"]
    assert servers["n1"]["problems"] == ["sudo refused"]
    assert "unreachable" not in servers["n0"]["problems"]
    done = rbops("status", "-K", "--vault-password-file", str(vault), typed="")
    assert (done.returncode, "no password was given" in done.stderr) == (2, True), done.stderr
