"""What ``ssh`` can log in to, rbops can; what it refuses, rbops refuses, and says why."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rbops.deploy.ssh import Session, open_session, run
from rbops.deploy.ssh.client import ClientConnection
from rbops.deploy.ssh.library import LibraryConnection
from rbops.deploy.ssh.login import log_in, why_client
from rbops.deploy.ssh.target import Target
from rbops.errors import Unreachable
from tests.deploy.ssh.conftest import PASSWORD, Rack
from tests.support.errors import raises

pytestmark = pytest.mark.lab


def hostname(target: Target) -> str:
    return run(target, ["cat", "/etc/hostname"], 20).stdout.strip()


def test_a_plain_login_is_paramikos(rack: Rack) -> None:
    for server in ("n0", "n1"):
        target = rack.target(server)
        assert why_client(target) is None
        connection = log_in(target)
        connection.close()
        assert isinstance(connection, LibraryConnection)
        assert hostname(target) == server


def test_commands_arrive_as_they_are_over_openssh(rack: Rack) -> None:
    target = rack.target("n0", ansible_ssh_common_args=rack.arguments("AddressFamily=inet"))
    assert why_client(target) == "AddressFamily"
    odd = ["$(reboot)", "a b", "'", '"', "`id`", ";", "\\", "*", "ä\n", "%h"]
    with open_session(target) as session:
        for _ in range(3):
            done = session.run(["printf", "%s\\0", *odd], 20)
            assert done.stdout.split("\0")[:-1] == odd
        assert session.run(["cat"], 20, input=b"x" * 3_000_000).stdout == "x" * 3_000_000
        done = session.run(["sh", "-c", "echo out; echo err >&2; exit 255"], 20)
        assert (done.returncode, done.stdout, done.stderr) == (255, "out\n", "err\n")
        with raises(Unreachable, "ssh.timeout", server="n0"):
            session.run(["sleep", "30"], 1)
        talk = session.start(["sh", "-c", 'while read -r line; do echo "got $line"; done; echo end'], 20)
        talk.send("a")
        assert talk.receive(10) == "got a"
        assert talk.finish(10).stdout == "end\n"


def test_a_lost_connection_is_said_over_openssh(rack: Rack) -> None:
    rack.sshd("n0", 2240)
    target = rack.target("n0", ansible_port=2240, ansible_ssh_common_args=_port(rack, 2240, "AddressFamily=inet"))
    with open_session(target) as session:
        assert session.run(["true"], 20).returncode == 0
        with raises(Unreachable, "ssh.connection-lost", server="n0"):
            # The sshd of this very connection: the command's grandparent.
            session.run(["sh", "-c", "pkill -KILL -f 'sshd.*root@notty'; sleep 5"], 20)
        with raises(Unreachable, "ssh.connection-lost", server="n0"):
            session.run(["true"], 20)


def _port(rack: Rack, port: int, *options: str, server: str = "n0") -> str:
    known = rack.known(f"port-{port}", f"[{rack.address(server)}]:{port} {rack.host_key(server)}\n")
    return rack.arguments(*options, known=known)


KNOWN = {
    "pattern": "{subnet}.* {key}",
    "pattern with a port": "[{subnet}.*]:22,{subnet}.* {key}",
    "negated pattern": "{subnet}.*,!{subnet}.254 {key}",
    "broken line": "other.example ssh-ed25519 AAAAC3Nz\n{address} {key}",
    "cut line": "other.example ssh-ed\n{address} {key}",
    "somebody else's authority": "@cert-authority *.example {key}\n{address} {key}",
    "somebody else's revoked key": "@revoked * {other}\n{address} {key}",
    "unknown kind of key": "x.example ssh-future AAAACnNzaC1mdXR1cmU=\n{address} {key}",
    "comment and empty lines": "# a comment\n\n{address} {key} with a comment",
}


@pytest.mark.parametrize("lines", KNOWN.values(), ids=KNOWN.keys())
def test_known_hosts_lines_are_taken_as_ssh_takes_them(rack: Rack, tmp_path: Path, lines: str) -> None:
    other = rack.folder / "other"
    if not other.exists():
        rack.new_key("other")
    address = rack.address("n0")
    text = lines.format(
        address=address,
        subnet=address.rpartition(".")[0],
        key=rack.host_key("n0"),
        other=" ".join(other.with_suffix(".pub").read_text().split()[:2]),
    )
    known = tmp_path / "known"
    known.write_text(text + "\n", encoding="utf-8")
    assert hostname(rack.target("n0", ansible_ssh_common_args=rack.arguments(known=known))) == "n0"


def test_hashed_known_hosts(rack: Rack, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text(f"{rack.address('n0')} {rack.host_key('n0')}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known], check=True, capture_output=True)
    target = rack.target("n0", ansible_ssh_common_args=rack.arguments(known=known))
    assert why_client(target) is None
    assert hostname(target) == "n0"


def test_host_key_alias(rack: Rack, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text(f"the-server {rack.host_key('n0')}\n")
    for options in ((), ("AddressFamily=inet",)):
        arguments = rack.arguments("HostKeyAlias=the-server", *options, known=known)
        assert hostname(rack.target("n0", ansible_ssh_common_args=arguments)) == "n0"


def test_a_key_that_is_unknown_changed_or_revoked(rack: Rack, tmp_path: Path) -> None:
    address, key = rack.address("n0"), rack.host_key("n0")
    other = " ".join(rack.new_key("changed").with_suffix(".pub").read_text().split()[:2])
    for text, code in (
        ("", "ssh.host-key-unknown"),
        (f"{address} {other}\n", "ssh.host-key-changed"),
        (f"{address} {key}\n@revoked * {key}\n", "ssh.host-key-revoked"),
        (f"{address.rpartition('.')[0]}.* {other}\n", "ssh.host-key-changed"),
    ):
        known = tmp_path / "known"
        known.write_text(text)
        with raises(Unreachable, code, server="n0") as caught:
            open_session(rack.target("n0", ansible_ssh_common_args=rack.arguments(known=known)))
        assert ("ssh-keyscan" in (caught.value.hint or "")) == (code == "ssh.host-key-unknown")


def test_host_certificates(rack: Rack, tmp_path: Path) -> None:
    authority = rack.new_key("authority")
    public = rack.sh("n0", "cat /etc/ssh/ssh_host_ed25519_key.pub")
    (rack.folder / "host.pub").write_text(public)
    sign = ["ssh-keygen", "-q", "-s", authority, "-I", "n0", "-h", "-n", rack.address("n0"), rack.folder / "host.pub"]
    subprocess.run(sign, check=True, capture_output=True)
    certificate = (rack.folder / "host-cert.pub").read_bytes()
    rack.sh("n0", "cat > /etc/ssh/host-cert.pub", certificate)
    rack.sshd("n0", 2231, "HostCertificate /etc/ssh/host-cert.pub")
    known = tmp_path / "known"
    known.write_text(f"@cert-authority {rack.address('n0')} {authority.with_suffix('.pub').read_text()}")
    target = rack.target("n0", ansible_port=2231, ansible_ssh_common_args=rack.arguments(known=known))
    assert hostname(target) == "n0"
    known.write_text(f"@cert-authority *.example {authority.with_suffix('.pub').read_text()}")
    with raises(Unreachable, "ssh.host-key-unknown", server="n0"):
        open_session(rack.target("n0", ansible_port=2231, ansible_ssh_common_args=rack.arguments(known=known)))


def test_known_hosts_command_and_revoked_host_keys(rack: Rack, tmp_path: Path) -> None:
    empty = rack.known("empty", "")
    script = tmp_path / "known-hosts"
    script.write_text(f"#!/bin/sh\necho '{rack.address('n0')} {rack.host_key('n0')}'\n")
    script.chmod(0o700)
    arguments = rack.arguments(f"KnownHostsCommand={script}", known=empty)
    assert hostname(rack.target("n0", ansible_ssh_common_args=arguments)) == "n0"
    revoked = rack.known("revoked", f"{rack.host_key('n0')}\n")
    with raises(Unreachable, "ssh.host-key-revoked", server="n0"):
        open_session(rack.target("n0", ansible_ssh_common_args=rack.arguments(f"RevokedHostKeys={revoked}")))


def test_agents(rack: Rack, agent: Path, tmp_path: Path) -> None:
    public = rack.key.with_suffix(".pub")
    plain = rack.plain("n0")
    del plain["ansible_ssh_private_key_file"]
    config = tmp_path / "config"
    config.write_text(f"Host *\n IdentityAgent {agent}\n IdentityFile {public}\n IdentitiesOnly yes\n")
    from rbops.deploy.logins import target_of

    target = target_of("n0", {**plain, "ansible_ssh_common_args": rack.arguments(config=config)})
    assert hostname(target) == "n0"
    # A key that needs a passphrase, while the agent holds it.
    locked = tmp_path / "locked"
    locked.write_bytes(rack.key.read_bytes())
    locked.chmod(0o600)
    locked.with_suffix(".pub").write_bytes(public.read_bytes())
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "a passphrase", "-f", locked], check=True, capture_output=True)
    with_agent = rack.arguments(f"IdentityAgent={agent}")
    assert (
        hostname(rack.target("n0", ansible_ssh_private_key_file=str(locked), ansible_ssh_common_args=with_agent))
        == "n0"
    )
    with raises(Unreachable, "ssh.login-refused", server="n0"):
        open_session(rack.target("n0", ansible_ssh_private_key_file=str(locked)))


def test_algorithms_that_a_server_lacks_are_refused_as_ssh_does(rack: Rack) -> None:
    for option in ("Ciphers=aes128-cbc", "KexAlgorithms=diffie-hellman-group14-sha1", "HostKeyAlgorithms=ssh-rsa"):
        with raises(Unreachable, "ssh.no-connection", server="n0") as caught:
            open_session(rack.target("n0", ansible_ssh_common_args=rack.arguments(option)))
        assert "no matching" in str(caught.value)


def test_a_password_login_by_either_client(rack: Rack) -> None:
    rack.user("n0", "words")
    rack.sshd("n0", 2232, "PasswordAuthentication yes\nPubkeyAuthentication no")
    for options, kind in (((), LibraryConnection), (("AddressFamily=inet",), ClientConnection)):
        changes = {"ansible_user": "words", "ansible_port": 2232, "ansible_become": False}
        arguments = _port(rack, 2232, *options)
        target = rack.target("n0", **changes, ansible_password=PASSWORD, ansible_ssh_common_args=arguments)
        connection = log_in(target)
        connection.close()
        assert isinstance(connection, kind)
        with open_session(target) as session:
            assert session.run(["id", "-un"], 20, root=False).stdout == "words\n"
        if kind is ClientConnection:  # a refusal takes sshd seconds
            continue
        wrong = rack.target("n0", **changes, ansible_password=PASSWORD[1:], ansible_ssh_common_args=arguments)
        with raises(Unreachable, "ssh.login-refused", server="n0"):
            open_session(wrong)


def test_jump_hosts(rack: Rack) -> None:
    first, second = rack.address("n0"), rack.address("n1")
    jump = f"ProxyCommand=ssh {rack.arguments()} -i {rack.key} -W %h:%p root@{first}".replace("'", '"')
    assert hostname(rack.target("n1", ansible_ssh_common_args=rack.arguments(jump))) == "n1"
    config = rack.folder / "jump-config"
    config.write_text(
        f"Host *\n UserKnownHostsFile {rack.known_hosts}\n IdentityFile {rack.key}\n User root\n"
        f"Host gate gate2\n HostName {first}\nHost inner\n HostName {second}\n ProxyJump gate,gate2\n"
    )
    arguments = f"-F {config}"
    target = rack.target("n1", ansible_host="inner", ansible_ssh_common_args=arguments)
    assert (target.jump, target.host) == ("gate", second)
    assert hostname(target) == "n1"
    one = rack.target("n1", ansible_ssh_common_args=f"{arguments} -J root@gate")
    assert hostname(one) == "n1"


def test_a_jump_host_in_trouble_is_named(rack: Rack) -> None:
    first = rack.address("n0")
    config = rack.folder / "bad-jumps"
    config.write_text(
        f"Host closed\n HostName {first}\n Port 1\n"
        f"Host stranger\n HostName {first}\n UserKnownHostsFile none\n GlobalKnownHostsFile none\n"
        f"Host nobody\n HostName {first}\n User nobody\n"
        f"Host gate\n HostName {first}\n"
        f"Host *\n UserKnownHostsFile {rack.known_hosts}\n IdentityFile {rack.key}\n User root\n IdentitiesOnly yes\n"
    )
    for jump, code, words in (
        ("closed", "ssh.jump-host", ("closed", first, "refused")),
        ("stranger", "ssh.jump-host", ("Host key verification failed",)),
        ("nobody", "ssh.jump-host", (first, "refuses the login")),
        ("no-such-host.invalid", "ssh.jump-host", ("no-such-host.invalid",)),
    ):
        with raises(Unreachable, code, server="n1") as caught:
            open_session(rack.target("n1", ansible_ssh_common_args=f"-F {config} -J {jump}"))
        assert any(word in caught.value.message for word in words), caught.value.message
        assert "jump host" in caught.value.message
    behind = rack.target("n1", ansible_port=1, ansible_ssh_common_args=f"-F {config} -J gate")
    with raises(Unreachable, "ssh.jump-host-forward", server="n1"):
        open_session(behind)


def test_what_is_refused_before_a_login(rack: Rack) -> None:
    for options in ((), ("AddressFamily=inet",)):
        arguments = rack.arguments(*options)
        with raises(Unreachable, "ssh.no-connection", server="n0") as caught:
            open_session(rack.target("n0", ansible_port=1, ansible_ssh_common_args=arguments))
        assert "refused" in str(caught.value)
        with raises(Unreachable, "ssh.no-connection", server="n0"):
            open_session(rack.target("n0", ansible_host="no-such-host.invalid", ansible_ssh_common_args=arguments))
        with raises(Unreachable, "ssh.login-refused", server="n0"):
            open_session(rack.target("n0", ansible_user="nobody", ansible_ssh_common_args=arguments))


def _beside_another(session: Session) -> list[int]:
    """Run a command while another one is kept, which ends for it: with which exit codes."""
    kept, ended = session.start(["cat"], 20), []

    def end() -> None:
        ended.append(kept.finish(10).returncode)
        session.spare = None

    session.spare = end
    kept.send("there")
    assert kept.receive(10) == "there"
    assert session.run(["echo", "beside it"], 20).stdout == "beside it\n"
    return ended


def test_one_session_at_a_time_is_enough(rack: Rack) -> None:
    rack.sshd("n0", 2234, "MaxSessions 1")
    for options in ((), ("AddressFamily=inet",)):
        target = rack.target("n0", ansible_port=2234, ansible_ssh_common_args=_port(rack, 2234, *options))
        with open_session(target) as session:
            for number in range(3):
                assert session.run(["echo", str(number)], 20).stdout == f"{number}\n"
            assert _beside_another(session) == [0]
