"""What rbops's elements for Click cost a packet: ``CLICK_PREFIX=/usr/local python bench/click_elements.py``.

One thread. FastUDPFlows hands out 64-byte frames of many flows, which Click copies, as elements write into them; with
and without the element on their way to Counter and Discard. ``ns`` is the median of the differences in CPU time,
from runs in turn, so that other work on the machine disturbs both alike.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rbops.dataplane.click.controller.build import ClickError, build, find

SOURCES = Path(__file__).parent.parent / "rbops" / "dataplane" / "click"
PACKETS = 3_000_000
ROUNDS = 7
FLOWS = 1024
SERVERS = 32

OWNERS = f"OWNERS {' '.join(map(str, range(SERVERS)))}"
VLB = (
    f"DirectVLB(SELF 0, {OWNERS}, VIA {' '.join(f'{server}:{server - 1}' for server in range(1, SERVERS))}, "
    f"LINKS {' '.join(['100000000000'] * (SERVERS - 1))}, INTERMEDIATES {' '.join(map(str, range(1, SERVERS)))}, "
    "SOURCE {sources}, QUOTA {quota}, FLOWLET {flowlet})"
).replace("{sources}", " ".join(f"02:00:00:00:01:{server:02x}" for server in range(1, SERVERS)))
DISPATCH = f"MACDispatch(SELF {{me}}, {OWNERS}, PORTS {{me}}, ADJACENCY {{me}} 1 02:00:00:00:00:07)"
# Element, its outputs, the input that is measured.
CASES = {
    "DirectVLB, direct": (VLB.format(quota=10**14, flowlet="100ms"), SERVERS - 1, 0),
    "DirectVLB, over intermediates": (VLB.format(quota=0, flowlet="100ms"), SERVERS - 1, 0),
    "DirectVLB, without flowlets": (VLB.format(quota=0, flowlet="0"), SERVERS - 1, 0),
    "DirectVLB, phase 2": (VLB.format(quota=0, flowlet="100ms"), SERVERS - 1, 1),
    "MACDispatch, transit": (DISPATCH.format(me=0), 4, 0),
    "MACDispatch, own port": (DISPATCH.format(me=1), 4, 0),
}


def configuration(case: tuple[str, int, int] | None) -> str:
    """The path with the element, or None without."""
    source = f"FastUDPFlows(0, {PACKETS}, 60, 2:0:0:0:0:1, 10.0.0.1, 02:52:00:01:00:01, 10.1.0.1, {FLOWS}, 1000000000)"
    lines = ['require(package "rbops");', f"count :: Counter(COUNT_CALL {PACKETS} stop.run) -> Discard;"]
    lines.append("stop :: Script(TYPE PASSIVE, stop);")
    into = "count"
    if case is not None:
        element, outputs, port = case
        lines.append(f"e :: {element};")
        lines += [f"e[{number}] -> count;" for number in range(outputs)]
        if element.startswith("DirectVLB"):
            lines.append(f"Idle -> [{1 - port}]e;")
        into = f"[{port}]e"
    lines.append(f"{source} -> Unqueue(BURST 32) -> MarkIPHeader(14) -> StoreEtherAddress(2:0:0:0:0:1, src) -> {into};")
    return "\n".join(lines) + "\n"


def seconds(program: Path, package: Path, text: str) -> float:
    """CPU seconds of a run."""
    with tempfile.NamedTemporaryFile("w", suffix=".click") as file:
        file.write(text)
        file.flush()
        environment = {**os.environ, "CLICKPATH": f"{package}:"}
        process = subprocess.Popen([program, file.name], env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{program} failed with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    try:
        click = find(os.environ.get("CLICK_PREFIX"))
    except ClickError as error:
        print(f"{error}; {error.hint}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder)
        build(click, SOURCES, package)
        samples: dict[str, list[float]] = {name: [] for name in CASES}
        bare: list[float] = []
        for _ in range(ROUNDS):
            without = seconds(click.program, package, configuration(None))
            bare.append(without)
            for name, case in CASES.items():
                samples[name].append(seconds(click.program, package, configuration(case)) - without)
    print(f"{click}, {PACKETS:,} packets, {FLOWS} flows, {SERVERS} servers; median of {ROUNDS} runs")
    print(f"{'without an element':32} {statistics.median(bare) / PACKETS * 1e9:6.0f} ns a packet")
    for name, differences in samples.items():
        print(f"{name:32} {statistics.median(differences) / PACKETS * 1e9:+6.0f} ns")
    return 0


if __name__ == "__main__":
    sys.exit(main())
