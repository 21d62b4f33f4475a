"""Logins other than root: sudo with and without a password, and whatever servers print around a command."""

from __future__ import annotations

import pytest

from rbops.deploy.probe import probe
from rbops.deploy.ssh import open_session
from rbops.errors import Unreachable
from tests.deploy.ssh.conftest import PASSWORD, Rack
from tests.support.errors import raises

pytestmark = pytest.mark.lab

WRONG = "not the password"

OPENSSH = "AddressFamily=inet"
"""An option for which OpenSSH's client logs in."""


@pytest.mark.parametrize("server", ["n0", "n1"])
@pytest.mark.parametrize("options", [(), (OPENSSH,)], ids=["paramiko", "openssh"])
def test_sudo_with_a_password(rack: Rack, server: str, options: tuple[str, ...]) -> None:
    rack.user(server, "ops", "ops ALL=(ALL) ALL")
    arguments = rack.arguments(*options)
    changes = {"ansible_user": "ops", "ansible_ssh_common_args": arguments}
    data = b"first line\n" + b"x" * 200_000
    with open_session(rack.target(server, **changes, ansible_become_password=PASSWORD)) as session:
        done = session.run(["cat"], 20, data)
        # The password is not what the command reads, also where sudo remembers it and asks no more.
        assert done.stdout.encode() == data
        assert session.run(["id", "-u"], 20).stdout == "0\n"
        assert session.run(["id", "-un"], 20, root=False).stdout == "ops\n"
        assert probe(session).server is None
        talk = session.start(["cat"], 20)
        talk.send("hello")
        assert talk.receive(10) == "hello"
        assert talk.finish(10).returncode == 0
    rack.sh(server, "rm -rf /run/sudo/ts/ops")
    with open_session(rack.target(server, **changes)) as session, raises(Unreachable, "ssh.sudo", server=server):
        session.run(["true"], 20)
    wrong = rack.target(server, **changes, ansible_become_password=WRONG)
    with open_session(wrong) as session, raises(Unreachable, "ssh.sudo", server=server) as caught:
        session.run(["true"], 20)
    assert "password" in caught.value.message
    assert WRONG not in str(caught.value)


def test_sudo_that_remembers_the_password(rack: Rack) -> None:
    rack.user("n0", "ops", "Defaults:ops timestamp_type=global\nops ALL=(ALL) ALL")
    with open_session(rack.target("n0", ansible_user="ops", ansible_become_password=PASSWORD)) as session:
        for data in (b"one", b"two"):
            assert session.run(["cat"], 20, data).stdout.encode() == data


def test_noise_around_a_command_is_not_its_output(rack: Rack) -> None:
    rack.user("n0", "noisy", "noisy ALL=(ALL) NOPASSWD: ALL")
    rack.sh("n0", "sed -i '1i echo Welcome; echo mind the gap >&2' /home/noisy/.bashrc; sed -i /n0/d /etc/hosts")
    rack.user("n0", "homeless", "homeless ALL=(ALL) NOPASSWD: ALL")
    rack.sshd("n0", 2250, "Banner /etc/os-release\nAuthorizedKeysFile /etc/ssh/keys/%u")
    rack.sh("n0", "mkdir -p /etc/ssh/keys; cp /root/.ssh/authorized_keys /etc/ssh/keys/homeless; rm -rf /home/homeless")
    known = rack.known("port-2250", f"[{rack.address('n0')}]:2250 {rack.host_key('n0')}\n")
    for options in ((), (OPENSSH,)):
        for user, port in (("noisy", 22), ("homeless", 2250)):
            arguments = rack.arguments(*options, known=known if port != 22 else None)
            target = rack.target("n0", ansible_user=user, ansible_port=port, ansible_ssh_common_args=arguments)
            with open_session(target) as session:
                done = session.run(["sh", "-c", "id -u; echo own >&2"], 20)
                assert (done.stdout, done.stderr) == ("0\n", "own\n")
                assert probe(session).machine_id


def test_sudo_that_refuses_is_said(rack: Rack) -> None:
    cases = (
        ("nosudo", "", "sudo"),
        ("few", "few ALL=(ALL) NOPASSWD: /bin/true", "sudo"),
        ("term", "Defaults:term requiretty\nterm ALL=(ALL) NOPASSWD: ALL", "terminal"),
    )
    for name, rule, word in cases:
        rack.user("n1", name, rule)
        with open_session(rack.target("n1", ansible_user=name)) as session:
            with raises(Unreachable, "ssh.sudo", server="n1") as caught:
                session.run(["id"], 20)
            assert word in caught.value.message


def test_a_login_shell_that_runs_nothing(rack: Rack) -> None:
    rack.user("n1", "shut", "shut ALL=(ALL) NOPASSWD: ALL")
    rack.sh("n1", "usermod --shell /usr/sbin/nologin shut")
    with open_session(rack.target("n1", ansible_user="shut")) as session:
        with raises(Unreachable, "ssh.no-command", server="n1") as caught:
            session.run(["id"], 20)
        assert "not available" in caught.value.message


@pytest.mark.parametrize("rule", ["secure_path=/usr/bin:/bin", "!env_reset,!secure_path"])
def test_programs_in_sbin_are_found(rack: Rack, rule: str) -> None:
    rack.user("n0", "narrow", f"Defaults:narrow {rule}\nnarrow ALL=(ALL) NOPASSWD: ALL")
    with open_session(rack.target("n0", ansible_user="narrow")) as session:
        assert session.run(["sh", "-c", "command -v ethtool"], 20).stdout.strip().endswith("sbin/ethtool")
