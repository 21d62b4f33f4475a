"""The routing daemon's files where it reads them, and what it answers."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbops.errors import CheckFailed, Mismatch
from rbops.node.daemon import Bird, parse_protocols
from tests.support.errors import raises

# As BIRD 2.0.12 writes it.
PROTOCOLS = """\
2002-Name       Proto      Table      State  Since         Info
1002-device1    Device     ---        up     20:31:07.113
1006-
1002-server_1   BGP        ---        up     20:31:09.000  Established
1006-  Description:    server n1
   BGP state:          Established
     Neighbor address: 198.18.1.1
     Neighbor AS:      64512
   Channel ipv4
     State:          UP
     Table:          master4
     Routes:         12 imported, 3 filtered, 7 exported, 10 preferred
     Route change stats:     received   rejected   filtered    ignored   accepted
       Import updates:              1          0          0          0          1
1006-
1002-port0_198_18_0_2 BGP        ---        start  2026-11-29    Active        Socket: Connection refused
1006-  BGP state:          Active
     Neighbor address: 198.18.0.2
     Neighbor AS:      65000
   Channel ipv4
     State:          DOWN
1006-
0000 end
"""


@pytest.fixture
def bird(tmp_path: Path) -> Bird:
    (tmp_path / "etc").mkdir()
    (tmp_path / "net").mkdir()
    (tmp_path / "etc/bird.conf").write_text("# it\n")
    return Bird(tmp_path / "etc", tmp_path / "run", tmp_path / "net", (os.getuid(), os.getgid()))


@pytest.fixture
def answers(bird: Bird) -> Iterator[list[bytes]]:
    """A BIRD that greets and gives the answers of the list."""
    given: list[bytes] = []
    bird.run.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(bird.run / "bird.ctl"))
        server.listen()

        def serve() -> None:
            link, _ = server.accept()
            with link:
                link.sendall(b"0001 BIRD 2.0.12 ready.\n")
                link.recv(1000)
                link.sendall(given[0])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield given
        thread.join(5)


def lines(text: str) -> Iterator[tuple[str, str]]:
    code = ""
    for line in text.splitlines():
        if line[:1] == " ":
            yield code, line[1:]
        else:
            code = line[:4]
            yield code, line[5:]


def test_what_sessions_say() -> None:
    one, two = parse_protocols(lines(PROTOCOLS))
    assert (one["name"], one["up"], one["info"], one["description"]) == ("server_1", True, "Established", "server n1")
    assert (one["imported"], one["filtered"], one["exported"], one["as"]) == (12, 3, 7, 64512)
    assert (two["name"], two["up"], two["since"]) == ("port0_198_18_0_2", False, "2026-11-29")
    assert (two["info"], two["imported"]) == ("Active Socket: Connection refused", 0)


def test_who_waits_for_more_routers_is_no_session_beside_one_that_came() -> None:
    waiting = PASSIVE.format(name="port0_link_local", state="start", info="Passive", bgp="Passive")
    (alone,) = parse_protocols(lines(waiting))
    assert (alone["name"], alone["up"]) == ("port0_link_local", False)
    came = PASSIVE.format(name="port0_link_local_1", state="up", info="Established", bgp="Established")
    (session,) = parse_protocols(lines(waiting + came))
    assert (session["name"], session["up"]) == ("port0_link_local_1", True)
    other = came.replace("port0", "port1")
    assert len(parse_protocols(lines(waiting + other))) == 2


PASSIVE = """\
1002-{name} BGP        ---        {state}     19:10:34.870  {info}
1006-  BGP state:          {bgp}
"""


def test_its_files_are_its_own_alone(bird: Bird) -> None:
    bird.prepare({})
    found = {path.name: (path.read_text(), stat.S_IMODE(path.stat().st_mode)) for path in bird.run.iterdir()}
    assert found == {
        "bird.conf": ("# it\n", 0o400),
        "keys.conf": ("# none\n", 0o400),
        "vrf.conf": ("# the router's table by rules\n", 0o400),
    }
    (bird.etc / "keys.conf").write_text('define key = "x";\n')
    (bird.etc / "own.conf").write_text("# own\n")
    (bird.devices / "rbops").mkdir()
    bird.prepare({})
    assert (bird.run / "keys.conf").read_text() == 'define key = "x";\n'
    assert (bird.run / "vrf.conf").read_text() == 'vrf "rbops";\n'
    (bird.etc / "own.conf").unlink()
    bird.prepare({0: "enp1s0"})
    assert (bird.run / "port0.conf").read_text() == 'interface "enp1s0";\n'
    assert 'interface "enp1s0" { default lifetime 0;' in (bird.run / "radv0.conf").read_text()
    assert (bird.run / "name0.conf").read_text() == '"enp1s0"\n'
    bird.prepare({})
    assert not (bird.run / "port0.conf").exists()
    assert not (bird.run / "radv0.conf").exists()
    assert not (bird.run / "name0.conf").exists()
    assert not (bird.run / "own.conf").exists()


def test_it_reads_its_files_again(bird: Bird, answers: list[bytes]) -> None:
    answers.append(b"0002-Reading configuration from /run/rbops-bird/bird.conf\n0003 Reconfigured\n")
    assert bird.reload({}) == "Reconfigured"


def test_it_refuses_them(bird: Bird, answers: list[bytes]) -> None:
    answers.append(b"0002-Reading configuration\n8002 bird.conf:3:1 syntax error, unexpected nonsense\n")
    with raises(CheckFailed, "node.daemon-refused", file=str(bird.etc / "bird.conf")) as caught:
        bird.reload({})
    assert "bird.conf:3:1 syntax error" in str(caught.value)


def test_it_does_not_run(bird: Bird) -> None:
    assert bird.status() is None
    with raises(CheckFailed, "node.daemon-silent"):
        bird.reload({})


def test_its_package_is_missing(bird: Bird, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rbops.node.daemon._USER", "no-such-user")
    with raises(Mismatch, "node.not-installed"):
        Bird(bird.etc, bird.run, bird.devices).prepare({})
