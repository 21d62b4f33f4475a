"""MACDispatch in a running Click: what becomes of each frame, as in the xdp program's `internal`."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbops.dataplane.click.controller.build import Click
from tests.click.running import handlers_of, read_pcap, run, write_pcap
from tests.dataplane.frames import ethernet, fabric, ipv4

pytestmark = pytest.mark.click

NEAR, FAR, HOST = (bytes.fromhex(text) for text in ("020000000007", "020000000009", "0200000000aa"))
OWN = (bytes.fromhex("020000000101"), bytes.fromhex("020000000102"))
CONFIG = (
    "MACDispatch(SELF 1, OWNERS 0 1 2 1, PORTS 1 3, ADJACENCY 1 1 02:00:00:00:00:07, ADJACENCY 1 3 02:00:00:00:00:09, "
    "ADJACENCY 3 1 -, SOURCE 02:00:00:00:01:01 02:00:00:00:01:02, MTU 1500 100, HOST 02:00:00:00:00:aa{more})"
)
NAMES = ("transit", "port1", "port3", "host", "not_fabric", "dropped")
SMALL = ipv4("198.18.3.2")
BIG = ipv4("198.18.3.2", payload=bytes(1481))
INTO_3 = ipv4("198.18.3.2", payload=bytes(81))


def play(
    click: Click, package: Path, folder: Path, frames: list[bytes], more: str = ""
) -> tuple[list[tuple[str, bytes]], dict[str, str]]:
    """(output, frame) in the order of the outputs, and the handlers' texts."""
    write_pcap(folder / "in.pcap", [(number, frame) for number, frame in enumerate(frames)])
    lines = ['require(package "rbops");', f"FromDump(in.pcap, STOP true) -> d :: {CONFIG.format(more=more)};"]
    lines += [f"d[{number}] -> ToDump({name}.pcap, ENCAP ETHER);" for number, name in enumerate(NAMES)]
    done = run(click, package, "\n".join(lines), folder, "d.counters", "d.adjacencies")
    assert done.returncode == 0, done.stderr
    found = [(name, frame) for name in NAMES for frame in read_pcap(folder / f"{name}.pcap")]
    return found, handlers_of(done.stdout)


CASES = {
    "own port": (ethernet(fabric(1, 1), SMALL), "port1", NEAR + OWN[0], "egress"),
    "own port, another neighbour": (ethernet(fabric(1, 3), SMALL), "port1", FAR + OWN[0], "egress"),
    "transit": (ethernet(fabric(0, 7), SMALL), "transit", None, "transit"),
    "transit, whatever is inside": (ethernet(fabric(2, 1), b"\0" * 46, protocol=0x86DD), "transit", None, "transit"),
    "this server's kernel": (ethernet(fabric(3, 0), SMALL), "host", HOST, "local_delivery"),
    "no address yet, index not configured": (ethernet(fabric(1, 2), SMALL), "host", HOST, "unresolved"),
    "no address yet": (ethernet(fabric(3, 1), SMALL), "host", HOST, "unresolved"),
    "longer than the port's MTU": (ethernet(fabric(1, 1), BIG), "host", HOST, "too_big"),
    "no such neighbour": (ethernet(fabric(1, 4), SMALL), "dropped", None, "no_adjacency"),
    "no such port": (ethernet(fabric(4, 1), SMALL), "dropped", None, "no_port"),
    "not the fabric's": (ethernet(b"\xff" * 6, SMALL), "not_fabric", None, "not_fabric"),
    "an address of its own": (ethernet(bytes.fromhex("025100010001"), SMALL), "not_fabric", None, "not_fabric"),
    "nothing behind the header": (ethernet(fabric(1, 1), b""), "dropped", None, "short"),
    "less than a header": (fabric(1, 1)[:5], "dropped", None, "short"),
}


@pytest.fixture(scope="module")
def played(
    installed: Click, package: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[list[tuple[str, bytes]], dict[str, str]]]:
    folder = tmp_path_factory.mktemp("dispatch")
    return {name: play(installed, package, folder, [case[0]]) for name, case in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_where_a_frame_goes(name: str, played: dict[str, tuple[list[tuple[str, bytes]], dict[str, str]]]) -> None:
    sent, output, head, reason = CASES[name]
    outputs, said = played[name]
    (found,) = outputs
    assert found[0] == output
    head = head or b""
    assert found[1] == head + sent[len(head) :]
    counts = dict(line.split(maxsplit=1) for line in said["d.counters"].splitlines() if not line.startswith("port "))
    assert {key: value for key, value in counts.items() if value != "0"} == {reason: "1"}


def test_ports_are_counted_and_neighbours_listed(installed: Click, package: Path, tmp_path: Path) -> None:
    frames = [ethernet(fabric(1, 1), SMALL)] * 3 + [ethernet(fabric(0, 1), SMALL)]
    _, said = play(installed, package, tmp_path, frames)
    assert f"port 1 3 {3 * len(frames[0])}\nport 3 0 0\n" in said["d.counters"]
    assert said["d.adjacencies"] == "1 1 02-00-00-00-00-07\n1 2 -\n1 3 02-00-00-00-00-09\n3 1 -\n".replace("-0", ":0")


def test_a_steered_queue_counts_what_the_nic_put_there_wrongly(installed: Click, package: Path, tmp_path: Path) -> None:
    frames = [ethernet(fabric(1, 1), SMALL), ethernet(fabric(0, 1), SMALL)]
    outputs, said = play(installed, package, tmp_path, frames, ", STEERED 1")
    assert [name for name, _ in outputs] == ["transit", "port1"]
    assert "missteered 1\n" in said["d.counters"]
