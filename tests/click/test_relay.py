"""DirectVLB where servers are more than one link apart: source addresses as rbops/vlb/phases.py says."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbops.dataplane.click.controller.build import Click
from rbops.vlb.phases import NONE, relay
from tests.click.running import handlers_of, read_pcap, run, write_pcap
from tests.dataplane.frames import fabric, ipv4

pytestmark = pytest.mark.click

SELF = 4
"""It owns no port: 0 to 3 do. Over output 0 go frames for 0, 1 and 5, over outputs 1 and 2, a bundle, the others."""
TOWARDS = {0: 0, 1: 0, 5: 0, 2: 1, 3: 1}
PLAIN = bytes([2, 0, 0, 0, 0, 9])


def source(via: int, input_server: int) -> bytes:
    return b"\x02\x56" + via.to_bytes(2, "big") + input_server.to_bytes(2, "big")


def element(server: int) -> str:
    return (
        f"DirectVLB(SELF {server}, OWNERS 0 1 2 3, VIA 0:0 1:0 2:1:2 3:1:2 5:0, "
        "LINKS 1000000000 1000000000 1000000000, "
        "INTERMEDIATES 1 2 3, QUOTA 80000, RELAY true, FLOWLET 0, CLOCK packet)"
    )


def play(click: Click, package: Path, folder: Path, frames: list[bytes], script: str = "", port: int = 1) -> list[str]:
    """Frames through input ``port``; what is said of the element then. The outputs are out-N.pcap."""
    write_pcap(folder / "in.pcap", [(1000, frame) for frame in frames])
    outs = " ".join(f"vlb[{out}] -> ToDump(out-{out}.pcap, ENCAP ETHER);" for out in range(5))
    text = (
        f'require(package "rbops"); vlb :: {element(SELF)}; {outs}\n'
        f"f :: FromDump(in.pcap, ACTIVE false, END_CALL play.step) -> MarkIPHeader(14) -> [{port}]vlb;\n"
        f"Idle -> [{1 - port}]vlb;\n"
        f"play :: Script({script} write f.active true, pause, wait 1ms, stop);\n"
    )
    asked = ("vlb.counters", "vlb.alive", "vlb.cut", "vlb.drained", "vlb.links", "play.run")
    done = run(click, package, text, folder, *asked)
    assert done.returncode == 0, done.stderr
    found = handlers_of(done.stdout)
    return [found[name] for name in asked[:-1]]


def numbered(destination: int, mac: bytes, number: int) -> bytes:
    payload = (1000 + number % 8).to_bytes(2, "big") + b"\0\x35" + number.to_bytes(4, "big")
    return fabric(destination, 1) + mac + b"\x08\x00" + ipv4("198.18.0.2", source="198.18.1.2", payload=payload)


@pytest.mark.parametrize("dead", [None, 5])
def test_on_the_way(dead: int | None, installed: Click, package: Path, tmp_path: Path) -> None:
    """Towards the intermediate until it is there, or cannot be reached; its turn is not taken twice."""
    cases = [(via, owner) for via in (NONE, 0, 1, 2, 3, SELF, 5, 6, 300) for owner in range(4)]
    frames = [numbered(owner, source(via, 7), number) for number, (via, owner) in enumerate(cases)]
    script = "" if dead is None else f'write vlb.alive "{dead} false",'
    play(installed, package, tmp_path, frames, script)
    found = {}
    for out in range(5):
        for frame in read_pcap(tmp_path / f"out-{out}.pcap"):
            found[int.from_bytes(frame[38:42], "big")] = (min(out, 1), frame[6:12], frame[:6], frame[12:])
    wanted = {}
    reachable = set(TOWARDS) - {dead}
    for number, (via, owner) in enumerate(cases):
        towards, left = relay(SELF, via, owner, reachable)
        wanted[number] = (TOWARDS[towards], source(left, 7), frames[number][:6], frames[number][12:])
    assert found == wanted


def test_frames_of_the_kernel_have_no_input_server(installed: Click, package: Path, tmp_path: Path) -> None:
    play(installed, package, tmp_path, [numbered(0, PLAIN, 0)])
    (frame,) = read_pcap(tmp_path / "out-0.pcap")
    assert frame[6:12] == source(NONE, NONE)


def test_at_the_input_server(installed: Click, package: Path, tmp_path: Path) -> None:
    """The intermediate that was chosen is in the address, and the counts say the same."""
    frames = [numbered(0, PLAIN, number) for number in range(100)]
    counters, *_, links = play(installed, package, tmp_path, frames, port=0)
    sent = [frame for out in range(3) for frame in read_pcap(tmp_path / f"out-{out}.pcap")]
    assert {frame[:2] + frame[6:12] for frame in sent} == {b"\x02\x52" + source(via, SELF) for via in (NONE, 1, 2, 3)}
    counted = {}
    for line in counters.splitlines():
        kind, *words = line.split()
        if kind == "phase1":
            counted[int(words[1])] = int(words[2])
        elif kind == "direct":
            counted[NONE] = int(words[1])
    assert counted == {via: sum(frame[6:12] == source(via, SELF) for frame in sent) for via in (NONE, 1, 2, 3)}
    packets = [int(line.split()[4]) for line in links.splitlines()]
    assert packets == [len(read_pcap(tmp_path / f"out-{out}.pcap")) for out in range(3)]
    assert all(packets)


def test_what_is_said_of_servers(installed: Click, package: Path, tmp_path: Path) -> None:
    """Drained, silent, and cut off from the destination: none of the three is an intermediate then."""
    script = 'write vlb.drained "1 true", write vlb.answers "2 false", write vlb.cut "3 01", write vlb.cut "9 01",'
    frames = [numbered(0, PLAIN, number) for number in range(100)] + [numbered(1, PLAIN, 99)]
    _, alive, cut, drained, _ = play(installed, package, tmp_path, frames, script, port=0)
    assert alive.split("\n")[:5] == ["0 true", "1 true", "2 false", "3 true", "5 true"]
    assert cut.strip() == "3 0"
    assert [line for line in drained.splitlines() if "true" in line] == ["1 true"]
    sent = [frame for out in range(3) for frame in read_pcap(tmp_path / f"out-{out}.pcap")]
    assert {frame[6:12] for frame in sent if frame[3] == 0} == {source(NONE, SELF)}
    # Packets for its own ports reach a drained server, and server 3 is a way to others.
    assert {frame[6:12] for frame in sent if frame[3] == 1} <= {source(NONE, SELF), source(3, SELF)}
    assert len(sent) == 101


def test_nothing_is_alive(installed: Click, package: Path, tmp_path: Path) -> None:
    """A sender can be told: its frame is at the first output behind the links, others at the second."""
    script = "".join(f'write vlb.alive "{server} false",' for server in TOWARDS)
    play(installed, package, tmp_path, [numbered(0, PLAIN, 1)], script, port=0)
    assert [len(read_pcap(tmp_path / f"out-{out}.pcap")) for out in range(5)] == [0, 0, 0, 1, 0]
    play(installed, package, tmp_path, [numbered(0, source(NONE, 7), 1)], script, port=1)
    assert [len(read_pcap(tmp_path / f"out-{out}.pcap")) for out in range(5)] == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("keyword", "message"),
    [
        ("VIA 0:0 1:", "should be SERVER:OUTPUT"),
        ("VIA 0:0 1", "should be SERVER:OUTPUT"),
        ("VIA 0:0 1:1:1", "has output 1 twice"),
        ("VIA 0:0:1 1:1", "should be all or none"),
        ("VIA 0:0:1 1:1:0", "should be all or none"),
        ("VIA 0:0 1:2", "LINKS has only 2"),
        ("VIA 0:0 1:0:2", "LINKS has only 2"),
    ],
)
def test_what_is_refused(keyword: str, message: str, installed: Click, package: Path, tmp_path: Path) -> None:
    text = (
        f'require(package "rbops"); Idle -> vlb :: DirectVLB(SELF 2, OWNERS 0 1, {keyword}, LINKS 1 1, QUOTA 1);'
        "vlb[0] -> Discard; vlb[1] -> Discard;"
    )
    done = run(installed, package, text, tmp_path)
    assert done.returncode
    assert message in done.stderr
