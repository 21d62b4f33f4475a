"""FRR's files where its daemons read them, how they are run, and what they answer."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rbops.common.frrfile import MARK
from rbops.errors import CheckFailed, Mismatch
from rbops.node import frrun
from rbops.node.frrd import Frr, Surroundings, ask, sessions
from rbops.node.frrospf import ospf_session
from tests.support.errors import raises

ROOT = Path(__file__).parents[2]
AROUND = Surroundings({0: "enp1s0"}, ("ip route 198.18.1.1/32 169.254.1.0 int1 onlink",))
CONFIG = f"""\
{MARK}
@routes@
route-map a permit 10
@table@
exit
router bgp 1@vrf@
 bgp graceful-restart
 neighbor fe80::7 interface @port0@
 neighbor fe80::7 password @key_a@
 neighbor fe80::7 description x@y@z
"""
VTYSH = """\
#!/bin/sh
echo "$*" >> "$2/asked"
test "$(cat "$2/answer" 2>/dev/null)" || exit 0
cat "$2/answer" >&2
exit 2
"""
"""Says what the file `answer` in its folder of configurations has, if there is one."""


@pytest.fixture
def frr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Frr:
    for name in ("etc", "net", "lib", "bin"):
        (tmp_path / name).mkdir()
    for name in ("zebra", "staticd", "bgpd", "bfdd", "ospfd"):
        (tmp_path / "lib" / name).touch()
    (tmp_path / "bin" / "vtysh").write_text(VTYSH)
    (tmp_path / "bin" / "vtysh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "etc" / "frr.conf").write_text(CONFIG)
    (tmp_path / "etc" / "keys.conf").write_text('define key_a = "can@vrf@ary";\n')
    paths = (tmp_path / name for name in ("etc", "run", "net", "lib"))
    return Frr(*paths, (os.getuid(), os.getgid()))


def asked(frr: Frr) -> list[str]:
    path = frr.run / "asked"
    return path.read_text().splitlines() if path.exists() else []


def test_the_configuration_has_what_the_server_knows(frr: Frr) -> None:
    frr.prepare(AROUND)
    text = (frr.run / "frr.conf").read_text()
    assert text.splitlines() == [
        MARK,
        "ip route 198.18.1.1/32 169.254.1.0 int1 onlink",
        "route-map a permit 10",
        " set table 82",
        "exit",
        "router bgp 1",
        " bgp graceful-restart",
        " neighbor fe80::7 interface enp1s0",
        " neighbor fe80::7 password can@vrf@ary",
        " neighbor fe80::7 description x@y@z",
    ]
    assert stat.S_IMODE((frr.run / "frr.conf").stat().st_mode) == 0o400
    assert not (frr.run / "new.conf").exists()
    (frr.links / "rbops").mkdir()
    frr.prepare(AROUND)
    text = (frr.run / "frr.conf").read_text()
    assert "router bgp 1 vrf rbops\n" in text
    assert "198.18.1.1" not in text
    assert "set table" not in text


def test_the_daemons_that_a_configuration_needs(frr: Frr) -> None:
    frr.prepare(AROUND)
    lines = (frr.run / "daemons").read_text().splitlines()
    assert lines == ["zebra -K 120", "staticd", "bgpd", f"bfdd --bfdctl {frr.run}/bfdd.sock"]
    (frr.etc / "frr.conf").write_text("router ospf\n network 10.0.0.0/8 area 0\n")
    frr.prepare(AROUND)
    lines = (frr.run / "daemons").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("zebra", "ospfd")


def test_what_its_checker_refuses_is_not_written(frr: Frr) -> None:
    frr.prepare(AROUND)
    before = (frr.run / "frr.conf").read_text()
    (frr.etc / "frr.conf").write_text("nonsense\n")
    (frr.run / "answer").write_text(f"line 1: % Unknown: {frr.run}/x can@vrf@ary\nline 2: neighbor a password secret\n")
    with raises(CheckFailed, "node.daemon-refused", file=str(frr.etc / "frr.conf")) as caught:
        frr.reload(AROUND)
    assert "line 1: % Unknown: x (not shown); line 2: neighbor a password (not shown)" in str(caught.value)
    assert (frr.run / "frr.conf").read_text() == before


def test_only_what_differs_is_said_to_it(frr: Frr) -> None:
    frr.prepare(AROUND)
    (frr.run / "bgpd.vty").touch()
    assert frr.reload(AROUND) == "unchanged"
    (frr.etc / "frr.conf").write_text(CONFIG.replace("@key_a@", "@key_b@"))
    (frr.etc / "keys.conf").write_text('define key_b = "other";\n')
    assert frr.reload(AROUND) == "changed"
    assert asked(frr)[-1].endswith(f"-f {frr.run}/change.conf")
    assert not (frr.run / "change.conf").exists(), "a password is in it"
    assert frr.reload(AROUND) == "unchanged"


@pytest.mark.parametrize("text", [f"{MARK}\nrouter ospf\n", "a file of one's own\n"])
def test_it_starts_again_where_a_line_cannot_be_changed(frr: Frr, text: str) -> None:
    frr.prepare(AROUND)
    (frr.run / "bgpd.vty").touch()
    (frr.etc / "frr.conf").write_text(text)
    # It can be signalled from when its number is in the file.
    code = "import os, signal, sys, pathlib\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})\n"
    code += "ready, own = map(pathlib.Path, sys.argv[1:])\nown.write_text(f'{os.getpid()}\\n')\n"
    code += "signal.sigwait({signal.SIGUSR1})\nready.touch()"
    own = frr.run / "main.pid"
    with subprocess.Popen([sys.executable, "-c", code, str(frr.run / "ready"), str(own)]) as main:
        wait_for(lambda: own.exists() and own.read_text().endswith("\n"))
        assert frr.reload(AROUND) == "started again"
        main.wait(150)
    with raises(CheckFailed, "node.daemon-silent"):
        (frr.etc / "frr.conf").write_text(CONFIG)
        frr.reload(AROUND)


def test_its_files_or_its_package_are_missing(frr: Frr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rbops.node.frrd._USER", "no-such-user")
    with raises(Mismatch, "node.not-installed"):
        Frr(frr.etc, frr.run, frr.links, frr.programs).prepare(AROUND)
    (frr.etc / "frr.conf").unlink()
    with raises(Mismatch, "node.daemon-files"):
        frr.prepare(AROUND)


SAID = {
    "default": {
        "ipv4Unicast": {
            "peers": {
                "198.18.0.2": {
                    "remoteAs": 65000, "pfxRcd": 3, "pfxSnt": 7, "state": "Established",
                    "peerUptimeEstablishedEpoch": 0, "desc": "port0_198_18_0_2 (port 0)",
                },
                "198.18.1.1": {"remoteAs": 1, "pfxRcd": 0, "pfxSnt": 0, "state": "Active", "desc": "mine"},
            }
        },
        "ipv6Unicast": {"peers": {"198.18.0.2": {"remoteAs": 65000, "pfxRcd": 1, "state": "Established"}}},
    }
}  # fmt: skip


def test_what_sessions_say() -> None:
    one, two = sessions(SAID)
    assert (one["name"], one["description"], one["up"], one["as"]) == ("port0_198_18_0_2", "port 0", True, 65000)
    assert (one["imported"], one["filtered"], one["exported"]) == (4, None, 7)
    assert (two["name"], two["description"], two["up"], two["info"]) == ("198.18.1.1", "mine", False, "Active")
    assert sessions({}) == []


def test_what_ospf_says() -> None:
    near = {"rbops": {"vrfName": "rbops", "vrfId": 2, "neighbors": {
        "192.0.2.1": [{"converged": "Full", "upTimeInMsec": 5000}, {"converged": "Full", "upTimeInMsec": 9000}],
        "192.0.2.2": [{"converged": "Init", "upTimeInMsec": 99000}],
    }}}  # fmt: skip
    routes = {"routes": [{"fib": 3, "rib": 4, "type": "ospf"}, {"fib": 9, "rib": 9, "type": "ebgp"}], "routesTotal": 13}
    found = ospf_session(near, routes, 1_000_009.0)
    assert (found["info"], found["imported"], found["filtered"], found["exported"]) == ("Running", 3, None, None)
    assert found["since"] == time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1_000_000))
    alone = ospf_session({"rbops": {"neighbors": {}}}, {}, 1_000_009.0)
    assert (alone["info"], alone["since"], alone["imported"], alone["up"]) == ("Alone", "-", 0, True)


@pytest.fixture
def daemon(frr: Frr) -> Iterator[Callable[[bytes], Path]]:
    """A daemon's socket that answers once, in pieces."""
    frr.run.mkdir()
    threads: list[threading.Thread] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(frr.run / "bgpd.vty"))
        server.listen()

        def serve(answer: bytes) -> None:
            link, _ = server.accept()
            with link:
                assert link.recv(1000).endswith(b"\0")
                link.sendall(answer[:-2])
                link.sendall(answer[-2:])

        def answers(answer: bytes) -> Path:
            threads.append(threading.Thread(target=serve, args=(answer,), daemon=True))
            threads[-1].start()
            return frr.run / "bgpd.vty"

        yield answers
        for thread in threads:
            thread.join(5)


def test_what_a_daemon_answers(frr: Frr, daemon: Callable[[bytes], Path]) -> None:
    assert ask(daemon(b"{}\n\0\0\0\0"), "show") == "{}\n"
    with raises(CheckFailed, "node.daemon-silent") as caught:
        ask(daemon(b"% Unknown command\0\0\0\x02"), "show")
    assert "% Unknown command" in str(caught.value)
    with raises(CheckFailed, "node.daemon-silent"):
        ask(daemon(b"half an answer"), "show")
    daemon(b"{}\0\0\0\0")
    assert frr.status() == {"daemon": "frr", "sessions": []}
    daemon(b"% no\0\0\0\x01")
    assert "% no" in (frr.status() or {})["error"]


def test_it_does_not_run(frr: Frr) -> None:
    assert frr.status() is None


PROGRAM = """\
#!/usr/bin/python3 -IS
# A daemon of FRR's: has a socket where it is told to, and runs.
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
folder = sys.argv[sys.argv.index("--vty_socket") + 1]
name = os.path.basename(sys.argv[0])
with open(f"{folder}/{name}.id", "w") as file:
    file.write(str(os.getpid()))
open(f"{folder}/{name}.vty", "w").close()
signal.sigwait({signal.SIGTERM})
with open(f"{folder}/order", "a") as file:
    file.write(f"{name}\\n")
"""


@pytest.fixture
def programs(frr: Frr) -> Frr:
    """With programs that do nothing, in place of FRR's."""
    for path in frr.programs.iterdir():
        path.write_text(PROGRAM)
        path.chmod(0o755)
    frr.prepare(AROUND)
    return frr


def started(frr: Frr) -> subprocess.Popen[bytes]:
    code = "import sys; from pathlib import Path; from rbops.node.__main__ import run\n"
    code += "from rbops.node import frrun; original = frrun.run\n"
    code += f"frrun.run = lambda *_: original(Path({str(frr.run)!r}), Path({str(frr.programs)!r}))\n"
    code += "sys.exit(run(['daemon', 'run']))"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE)
    wait_for(lambda: (frr.run / "ready").exists() or process.poll() is not None)
    return process


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def identifiers(frr: Frr) -> list[int]:
    return [int(path.read_text()) for path in sorted(frr.run.glob("*.id"))]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_told_to_end_the_one_with_the_routes_ends_last(programs: Frr) -> None:
    with started(programs) as main:
        assert len(identifiers(programs)) == 4
        assert asked(programs)[-1].endswith("frr.conf")
        main.send_signal(signal.SIGTERM)
        assert main.wait(150) == 0
    assert (programs.run / "order").read_text().split() == ["bfdd", "bgpd", "staticd", "zebra"]


def test_when_one_ends_all_are_killed(programs: Frr) -> None:
    with started(programs) as main:
        pids = identifiers(programs)
        os.kill(pids[1], signal.SIGKILL)
        assert main.wait(150) == 1
        assert main.stderr is not None
        assert b"bgpd ended" in main.stderr.read()
    assert not [pid for pid in pids if alive(pid)]
    assert not (programs.run / "order").exists(), "no one removed anything"


def test_told_to_they_start_again(programs: Frr) -> None:
    with started(programs) as main:
        pids = identifiers(programs)
        (programs.run / "ready").unlink()
        main.send_signal(signal.SIGUSR1)
        wait_for((programs.run / "ready").exists)
        assert not set(pids) & set(identifiers(programs))
        main.send_signal(signal.SIGTERM)
        assert main.wait(150) == 0


def test_what_they_refuse_ends_them(programs: Frr) -> None:
    (programs.run / "answer").write_text("% no\n")
    with started(programs) as main:
        assert main.wait(150) == 1
        assert main.stderr is not None
        assert b"frr refuses its configuration: % no" in main.stderr.read()


def test_outside_of_its_unit_it_says_so(tmp_path: Path) -> None:
    with raises(Mismatch, "node.daemon-files") as caught:
        frrun.run(tmp_path / "absent")
    assert "systemctl start" in str(caught.value.hint)
