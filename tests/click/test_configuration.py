"""What the elements say of a wrong configuration, and what their handlers do in a running Click."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rbops.dataplane.click.control import Control, HandlerError, NoClick
from rbops.dataplane.click.controller.build import Click
from tests.click.running import run

pytestmark = pytest.mark.click

QUOTES = {0x2018: "'", 0x2019: "'"}
VLB = "SELF 0, OWNERS 0 1 2, VIA 1:0 2:1, LINKS 1000 1000, INTERMEDIATES 1 2, QUOTA 500"
DISPATCH = "SELF 1, OWNERS 0 1 1, PORTS 1 2"
WRONG = {
    "DirectVLB": [
        (VLB.replace("SELF 0, ", ""), "SELF: required argument missing"),
        (VLB.replace(", QUOTA 500", ""), "QUOTA missing: direct-vlb needs it, in bits per second"),
        (VLB.replace("500", "lots"), "QUOTA"),
        (VLB.replace("OWNERS 0 1 2", "OWNERS 0 1 x"), "OWNERS: 'x' should be a number from 0 to 65534"),
        (VLB.replace("OWNERS 0 1 2", "OWNERS 0 1 3"), "VIA: no link towards server 3, the owner of port 2"),
        (VLB.replace("2:1", "2"), "VIA: '2' should be SERVER:OUTPUT"),
        (VLB.replace("2:1", "2:9"), "VIA: server 2 has output 9, LINKS has only 2"),
        (VLB.replace("2:1", "1:1"), "VIA: server 1 twice"),
        (VLB.replace("2:1", "2:1 0:1"), "VIA: server 0 is this one (SELF)"),
        (VLB.replace("1000 1000", "1000"), "VIA: server 2 has output 1, LINKS has only 1"),
        (VLB.replace("1000 1000", "1000 1000 7 7"), "2 outputs: LINKS names 4"),
        (VLB.replace("1000 1000", "1000 fast"), "LINKS: 'fast' should be a number of bits per second"),
        (VLB.replace("INTERMEDIATES 1 2", "INTERMEDIATES 1 7"), "INTERMEDIATES: VIA has no link towards server 7"),
        (VLB.replace("INTERMEDIATES 1 2", "INTERMEDIATES 1 1"), "INTERMEDIATES: server 1 twice"),
        (VLB.replace("INTERMEDIATES 1 2", "INTERMEDIATES 0"), "INTERMEDIATES: server 0 is this one (SELF)"),
        (VLB + ", ROUTING any", "ROUTING: 'any' should be direct-vlb or vlb"),
        (VLB + ", CLOCK ntp", "CLOCK: 'ntp' should be ms or packet"),
        (VLB + ", CORES 0", "CORES: 0 should be 1 to 65535"),
        (VLB + ", ENTRIES 1000", "ENTRIES: 1000 should be a power of two"),
        (VLB + ", FLOWLET 61s", "FLOWLET: more than 60 s"),
        (VLB + ", MAX_FRAME 10", "MAX_FRAME: 10 should be 60 to 65535 bytes"),
        (VLB + ", SOURCE 02:00:00:00:00:01", "SOURCE: 1 addresses, not one for each of 2 outputs"),
        (VLB + ", SOURCE a b", "SOURCE: 'a' should be a MAC address"),
        (VLB + ", COLOR blue", "COLOR"),
    ],
    "MACDispatch": [
        (DISPATCH.replace("PORTS 1 2", "PORTS 1"), "PORTS: port 2 is this server's (SELF), but has no output"),
        (DISPATCH.replace("PORTS 1 2", "PORTS 0 1"), "PORTS: port 0 is server 0's, not SELF's"),
        (DISPATCH.replace("PORTS 1 2", "PORTS 1 1"), "PORTS: port 1 twice"),
        (DISPATCH.replace("PORTS 1 2", "PORTS 1 9"), "PORTS: there is no port 9, OWNERS has 3"),
        (DISPATCH + ", ADJACENCY 1 1", "ADJACENCY: '1 1' should be PORT INDEX MAC"),
        (DISPATCH + ", ADJACENCY 0 1 -", "ADJACENCY: port 0 is not among this server's PORTS"),
        (DISPATCH + ", ADJACENCY 1 0 -", "ADJACENCY: 0 should be 1 to 65535"),
        (DISPATCH + ", ADJACENCY 1 1 2:0:0:0:0:1, ADJACENCY 1 1 2:0:0:0:0:2", "ADJACENCY: neighbor 1 of port 1 twice"),
        (DISPATCH + ", MTU 1 2 3", "MTU: 3 numbers, not one for all or one for each of 2 ports"),
        (DISPATCH + ", STEERED 5", "STEERED: there is no port 5"),
        ("SELF 0, OWNERS 0 1 1, PORTS 0", "3 outputs: transit, 1 own ports, host and not-fabric make 4"),
    ],
}


@pytest.mark.parametrize(("name", "text", "said"), [(name, *case) for name, cases in WRONG.items() for case in cases])
def test_a_wrong_configuration_is_refused(
    name: str, text: str, said: str, installed: Click, package: Path, tmp_path: Path
) -> None:
    outputs = 2 if name == "DirectVLB" else 3 if text.startswith("SELF 0") else 5
    discards = " ".join(f"e[{number}] -> Discard;" for number in range(outputs))
    done = run(installed, package, f'require(package "rbops");\nIdle -> e :: {name}({text});\n{discards}\n', tmp_path)
    assert done.returncode != 0
    assert said in done.stderr.translate(QUOTES)
    assert "router.click:2" in done.stderr


def router(quota: int, intermediates: str = "1 2 3") -> str:
    return f"""require(package "rbops");
source :: RatedSource(LENGTH 64, RATE 500) -> UDPIPEncap(10.0.0.1, 1, 10.0.0.2, 2)
 -> EtherEncap(0x0800, 2:0:0:0:0:1, 02:52:00:01:00:01) -> vlb :: DirectVLB(SELF 0, OWNERS 0 1 2 3, VIA 1:0 2:1 3:2,
  LINKS 1000000000 1000000000 1000000000, INTERMEDIATES {intermediates}, QUOTA {quota}, FLOWLET 60s);
vlb[0] -> Discard; vlb[1] -> Discard; vlb[2] -> Discard;
"""


def answers(socket: Path) -> bool:
    try:
        with Control(socket):
            return True
    except NoClick:
        return False


@pytest.fixture
def running(installed: Click, package: Path, tmp_path: Path) -> Iterator[Control]:
    (tmp_path / "router.click").write_text(router(10_000_000))
    socket = tmp_path / "socket"
    command = [str(installed.program), "-R", "-u", str(socket), "router.click"]
    with subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "CLICKPATH": f"{package}:"}) as process:
        try:
            wait_until(lambda: process.poll() is not None or answers(socket))
            with Control(socket) as control:
                yield control
        finally:
            process.terminate()
            process.wait()


def counts(control: Control) -> dict[str, int]:
    """Packets by what became of them."""
    found: dict[str, int] = {}
    for line in control.read("vlb.counters").splitlines():
        words = line.split()
        key, number = (words[0], words[1]) if len(words) == 2 else (" ".join(words[:-2]), words[-2])
        found[key] = int(number)
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for(control: Control, key: str, beyond: int = 0) -> dict[str, int]:
    wait_until(lambda: counts(control).get(key, 0) > beyond)
    return counts(control)


def test_a_link_is_taken_out_and_put_back_while_packets_pass(running: Control) -> None:
    assert wait_for(running, "direct 1")["new"] == 1
    running.write("vlb.alive", "1 false")
    assert running.read("vlb.alive") == "1 false\n2 true\n3 true\n"
    before = wait_for(running, "phase1 1 2")
    assert before["new"] == 2
    running.write("vlb.alive", "2 false")
    wait_for(running, "phase1 1 3")
    running.write("vlb.alive", "3 0")
    wait_for(running, "no_path")
    running.write("vlb.alive", "1 true")
    wait_for(running, "direct 1", before["direct 1"])


def test_a_wrong_write_is_refused_with_the_elements_words(running: Control) -> None:
    for text, said in (("0 false", "server 0 has no link here"), ("9 true", "server 9"), ("1", "SERVER true|false")):
        with pytest.raises(HandlerError, match=said.replace("|", r"\|")):
            running.write("vlb.alive", text)
    with pytest.raises(HandlerError, match="No element named 'wlb'"):
        running.read("wlb.counters")


def test_reset_starts_the_counts_anew_and_leaves_the_flowlets(running: Control) -> None:
    wait_for(running, "kept", 10)
    running.write("vlb.reset")
    found = wait_for(running, "kept")
    assert found["new"] == 0
    assert found["direct 1"] == found["kept"] < 200
    sent = running.read("vlb.links").splitlines()[0].split()
    assert sent[:2] == ["0", "1000000000"]
    assert int(sent[4]) >= found["kept"]


def test_a_hot_swap_keeps_counts_flowlets_and_links(running: Control) -> None:
    running.write("vlb.alive", "1 false")
    wait_for(running, "phase1 1 2")
    running.write("vlb.alive", "1 true")
    running.write("vlb.alive", "3 false")
    before = counts(running)
    assert before["new"] == 2
    # A flowlet that started now would take the direct link, which is free again.
    text = router(20_000_000, "3 2 1")
    running.write("hotconfig", text)
    wait_until(lambda: running.read("config") == text)
    after = wait_for(running, "phase1 1 2", before["phase1 1 2"])
    assert (after["new"], after["direct 1"]) == (2, before["direct 1"])
    assert running.read("vlb.alive") == "1 true\n2 true\n3 false\n"
