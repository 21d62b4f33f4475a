"""Troubles that users of other tools reported, on real servers: whatever ``ssh`` manages, rbops does too."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rbops.deploy.ssh import open_session, run
from rbops.deploy.ssh.target import Target
from rbops.errors import Unreachable
from tests.deploy.ssh.conftest import PASSWORD, Rack
from tests.support.errors import raises

pytestmark = pytest.mark.lab

OPENSSH = "AddressFamily=inet"
CLIENTS = pytest.mark.parametrize("options", [(), (OPENSSH,)], ids=["paramiko", "openssh"])


SUDO_RS = b"""\
#!/bin/bash
args=()
while [ $# -gt 0 ]; do
  if [ "$1" = -p ]; then args+=(-p "[sudo: $2] Password: "); shift 2; else args+=("$1"); shift; fi
done
echo 'We trust you have received the usual lecture.' >&2
exec sudo "${args[@]}"
"""


def hostname(target: Target) -> str:
    return run(target, ["cat", "/etc/hostname"], 20).stdout.strip()


def ported(rack: Rack, port: int, key: str, *options: str, server: str = "n0") -> str:
    known = rack.known(f"known-{port}", f"[{rack.address(server)}]:{port} {key}\n")
    return rack.arguments(*options, known=known)


@CLIENTS
@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_of_several_host_keys_the_known_one_is_asked_for(rack: Rack, kind: str, options: tuple[str, ...]) -> None:
    # RSA is named ssh-rsa in known_hosts, and is signed with rsa-sha2-512.
    path = f"/etc/ssh/field_{kind}"
    public = rack.sh("n0", f"[ -e {path} ] || ssh-keygen -q -t {kind} -N '' -f {path}; cat {path}.pub")
    rack.sshd(
        "n0", 2260, "HostKey /etc/ssh/field_rsa\nHostKey /etc/ssh/field_ecdsa" if kind == "ecdsa" else f"HostKey {path}"
    )
    arguments = ported(rack, 2260, " ".join(public.split()[:2]), *options)
    assert hostname(rack.target("n0", ansible_port=2260, ansible_ssh_common_args=arguments)) == "n0"


def test_key_then_password(rack: Rack) -> None:
    rack.user("n0", "twice", "twice ALL=(ALL) NOPASSWD: ALL")
    rack.sshd("n0", 2261, "AuthenticationMethods publickey,password\nPasswordAuthentication yes")
    for options in ((), (OPENSSH,)):
        arguments = ported(rack, 2261, rack.host_key("n0"), *options)
        changes = {"ansible_user": "twice", "ansible_port": 2261, "ansible_ssh_common_args": arguments}
        assert hostname(rack.target("n0", **changes, ansible_password=PASSWORD)) == "n0"


def test_a_password_behind_a_jump_host_that_takes_a_key(rack: Rack) -> None:
    rack.user("n1", "words", "words ALL=(ALL) ALL")
    rack.sshd("n1", 2262, "PasswordAuthentication yes\nPubkeyAuthentication no")
    config = rack.folder / "password-jump"
    known = rack.known(
        "password-jump-known", rack.known_hosts.read_text() + f"[{rack.address('n1')}]:2262 {rack.host_key('n1')}\n"
    )
    config.write_text(
        f"Host gate\n HostName {rack.address('n0')}\n"
        f"Host inner\n HostName {rack.address('n1')}\n Port 2262\n ProxyJump root@gate\n"
        f"Host *\n UserKnownHostsFile {known}\n IdentityFile {rack.key}\n IdentitiesOnly yes\n"
    )
    target = rack.target(
        "n1",
        ansible_host="inner",
        ansible_user="words",
        ansible_password=PASSWORD,
        ansible_become_password=PASSWORD,
        ansible_ssh_common_args=f"-F {config}",
    )
    assert hostname(target) == "n1"


def test_options_for_people_at_a_terminal_do_no_harm(rack: Rack, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "Host *\n RequestTTY force\n RemoteCommand exec tmux\n ForkAfterAuthentication yes\n StdinNull yes\n"
        " VisualHostKey yes\n LogLevel QUIET\n PermitLocalCommand yes\n LocalCommand echo connected to %h\n"
        " ControlMaster auto\n ControlPath ~/.ssh/no-such-folder/%C\n ControlPersist 10m\n EscapeChar ~\n"
        f" SendEnv LANG LC_*\n LocalForward {2263} localhost:22\n StrictHostKeyChecking no\n AddressFamily inet\n"
        f" UserKnownHostsFile {rack.known_hosts}\n IdentityFile {rack.key}\n"
    )
    target = rack.target("n0", ansible_ssh_common_args=f"-F {config}")
    with open_session(target) as session:
        assert session.run(["cat"], 20, b"in\0out\r\n~.\n").stdout == "in\0out\r\n~.\n"
    # Not even an option switches the check of host keys off.
    empty = rack.known("nobody", "")
    with raises(Unreachable, "ssh.host-key-unknown", server="n0"):
        open_session(rack.target("n0", ansible_ssh_common_args=f"-o UserKnownHostsFile={empty} -F {config}"))


@CLIENTS
def test_names_and_paths_with_odd_characters(rack: Rack, tmp_path: Path, options: tuple[str, ...]) -> None:
    folder = tmp_path / "my keys (50%)"
    folder.mkdir()
    key = folder / "id ed25519"
    key.write_bytes(rack.key.read_bytes())
    key.chmod(0o600)
    target = rack.target("n0", ansible_ssh_private_key_file=str(key), ansible_ssh_common_args=rack.arguments(*options))
    assert hostname(target) == "n0"


def test_a_long_temporary_folder(rack: Rack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("a" * 60) / ("b" * 40)
    long.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(long))
    assert hostname(rack.target("n0", ansible_ssh_common_args=rack.arguments(OPENSSH))) == "n0"


@CLIENTS
def test_login_shells(rack: Rack, options: tuple[str, ...]) -> None:
    rack.user("n1", "shell", "shell ALL=(ALL) NOPASSWD: ALL")
    for shell in ("/bin/dash", "/bin/rbash", "/usr/bin/python3"):
        rack.sh("n1", f"usermod --shell {shell} shell")
        target = rack.target("n1", ansible_user="shell", ansible_ssh_common_args=rack.arguments(*options))
        if shell.endswith("python3"):  # the command is not Python
            with open_session(target) as session, raises(Unreachable, "ssh.no-command", server="n1"):
                session.run(["id"], 20)
        else:
            assert hostname(target) == "n1"


@CLIENTS
def test_a_forced_command_is_said(rack: Rack, options: tuple[str, ...]) -> None:
    rack.sshd("n0", 2264, "ForceCommand echo backups only")
    arguments = ported(rack, 2264, rack.host_key("n0"), *options)
    with open_session(rack.target("n0", ansible_port=2264, ansible_ssh_common_args=arguments)) as session:
        with raises(Unreachable, "ssh.no-command", server="n0") as caught:
            session.run(["id"], 20)
        assert "backups only" in caught.value.message


def test_another_sudo_with_other_words(rack: Rack) -> None:
    # sudo-rs puts the prompt that it was given between words of its own.
    rack.user("n1", "words", "words ALL=(ALL) ALL")
    rack.sh("n1", "cat > /usr/local/bin/sudo2; chmod 755 /usr/local/bin/sudo2", SUDO_RS)
    target = rack.target(
        "n1", ansible_user="words", ansible_become_exe="/usr/local/bin/sudo2", ansible_become_password=PASSWORD
    )
    with open_session(target) as session:
        assert session.run(["cat"], 20, b"data").stdout == "data"


@CLIENTS
def test_an_environment_that_reads_standard_input(rack: Rack, options: tuple[str, ...]) -> None:
    rack.user("n0", "fancy", 'Defaults:fancy lecture=always,env_keep+="LC_ALL PATH"\nfancy ALL=(ALL) ALL')
    rack.sh(
        "n0",
        "printf 'export PATH=/nowhere:$PATH LC_ALL=de_DE.UTF-8\\necho -n without a newline\\n' > /home/fancy/.bashrc",
    )
    target = rack.target(
        "n0", ansible_user="fancy", ansible_become_password=PASSWORD, ansible_ssh_common_args=rack.arguments(*options)
    )
    with open_session(target) as session:
        done = session.run(["sh", "-c", 'echo "$PATH $LC_ALL"; cat'], 20, b"data")
        assert done.stdout == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin C.UTF-8\ndata"


@CLIENTS
def test_too_many_keys_in_an_agent(
    rack: Rack, agent: Path, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
    for number in range(8):
        key = rack.folder / f"agent-{number}"
        if not key.exists():
            rack.new_key(key.name)
        subprocess.run(["ssh-add", "-q", key], check=True)
    subprocess.run(["ssh-add", "-q", "-d", rack.key], check=True)
    assert hostname(rack.target("n0", ansible_ssh_common_args=rack.arguments(*options))) == "n0"
