"""DirectVLB in a running Click: the vectors through it, with recorded frames' timestamps as the clock."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rbops.dataplane.click.controller.build import Click
from tests.click.running import handlers_of, read_pcap, run, write_pcap
from tests.click.test_core import VECTORS
from tests.dataplane.frames import fabric, ipv4

pytestmark = pytest.mark.click

NO_PATH = -1
NUMBER_AT = 38


def frame_of(number: int, step: dict[str, Any]) -> bytes:
    """Core and phase are in the source address, the step's number behind the ports."""
    phase, dest = (2, step["forward"]) if "forward" in step else (1, step["dest"])
    source, destination, protocol, *ports = step.get("flow", [1, 2, 17, 0, 0])
    dotted = [".".join(str(word >> shift & 255) for shift in (24, 16, 8, 0)) for word in (source, destination)]
    payload = b"".join(port.to_bytes(2, "big") for port in ports) + number.to_bytes(4, "big")
    packet = ipv4(dotted[1], source=dotted[0], protocol=protocol, payload=payload + bytes(step["size"] - NUMBER_AT - 4))
    # What is passed on has no flow in the vectors: no IPv4 header then, which would have a hash.
    packet = packet if phase == 1 else b"\0" + packet[1:]
    return fabric(dest, 1) + bytes([2, 0, 0, 0, step["core"], phase]) + b"\x08\x00" + packet


def said(number: object, alive: bool) -> str:  # noqa: FBT001 - a word of a line
    return f"{number} {str(alive).lower()}"


def segments(vector: dict[str, Any]) -> tuple[list[list[tuple[int, bytes]]], list[list[str]]]:
    """Runs of frames, and what is written to handlers between them."""
    runs: list[list[tuple[int, bytes]]] = [[]]
    changes: list[list[str]] = []
    outputs = list(vector["config"]["link_bps"])
    down: set[str] = set()
    for number, step in enumerate(vector["steps"]):
        if "alive" in step:
            changes.append([f"alive {said(server, alive)}" for server, alive in step["alive"].items()])
            runs.append([])
        elif "cable" in step:
            changes.append([f"cable {said(outputs.index(name), alive)}" for name, alive in step["cable"].items()])
            for name, alive in step["cable"].items():
                (down.discard if alive else down.add)(name)
            for server, names in vector["config"]["bundles"].items():
                changes[-1].append(f"alive {said(server, not down.issuperset(names))}")
            runs.append([])
        else:
            runs[-1].append((step["tick"], frame_of(number, step)))
    return runs, changes


def configuration(config: dict[str, Any], runs: int, changes: list[list[str]], burst: str) -> str:
    """One DirectVLB a core; a Script plays the files in turn. ``burst`` keeps FastClick from taking frames together."""
    servers = max(int(server) for server in config["next_hop"]) + 1
    outputs = {name: number for number, name in enumerate(config["link_bps"])}
    via = " ".join(
        ":".join([server, *(str(outputs[name]) for name in config.get("bundles", {}).get(server, [first]))])
        for server, first in config["next_hop"].items()
    )
    element = (
        f"DirectVLB(SELF {config['server']}, OWNERS {' '.join(map(str, range(servers)))}, VIA {via}, "
        f"LINKS {' '.join(map(str, config['link_bps'].values()))}, "
        f"INTERMEDIATES {' '.join(map(str, config['intermediates']))}, ROUTING {config['routing']}, "
        f"QUOTA {config['direct_quota_bps']}, FLOWLET {config['flowlet_ticks']}ms, CORES {config['cores']}, "
        f"ENTRIES {config['flowlet_entries']}, MAX_FRAME {config['max_frame']}, CLOCK packet, "
        f"SOURCE {' '.join(f'02:00:00:00:01:{number:02x}' for number in outputs.values())})"
    )
    cores = range(config["cores"])
    patterns = ", ".join(f"10/{core:02x}{phase:02x}" for core in cores for phase in (1, 2))
    lines = ['require(package "rbops");', f"demux :: Classifier({patterns});"]
    for core in cores:
        lines.append(f"vlb{core} :: {element};")
        lines.append(f"demux[{2 * core}] -> MarkIPHeader(14) -> [0]vlb{core}; demux[{2 * core + 1}] -> [1]vlb{core};")
        outs = (*outputs.values(), len(outputs))
        lines += [f"vlb{core}[{out}] -> ToDump(out-{core}-{out}.pcap, ENCAP ETHER);" for out in outs]
    script = []
    for number in range(runs):
        lines.append(f"f{number} :: FromDump(in-{number}.pcap, ACTIVE false, END_CALL play.step{burst}) -> demux;")
        # FastClick says that a file has ended before it pushes the last batch.
        script += [f"write f{number}.active true", "pause", "wait 1ms"]
        if number < len(changes):
            for line in changes[number]:
                handler, _, text = line.partition(" ")
                script += [f'write vlb{core}.{handler} "{text}"' for core in cores]
    lines.append(f"play :: Script({', '.join(script)}, stop);")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", VECTORS)
def test_vector(name: str, installed: Click, package: Path, tmp_path: Path) -> None:
    vector = VECTORS[name]
    config = vector["config"]
    outputs = list(config["link_bps"])
    runs, changes = segments(vector)
    for number, frames in enumerate(runs):
        write_pcap(tmp_path / f"in-{number}.pcap", frames)
    cores = range(config["cores"])
    # FastClick's batches mix what comes in at both inputs and for several cores: one by one then.
    mixed = config["cores"] > 1 or any("flow" not in step for step in vector["steps"])
    burst = ", BURST 1" if installed.fastclick and mixed else ""
    text = configuration(config, len(runs), changes, burst)
    done = run(installed, package, text, tmp_path, *(f"vlb{core}.counters" for core in cores), "play.run")
    assert done.returncode == 0, done.stderr

    found = {}
    for core in cores:
        for out in range(len(outputs) + 1):
            for frame in read_pcap(tmp_path / f"out-{core}-{out}.pcap"):
                number = int.from_bytes(frame[NUMBER_AT : NUMBER_AT + 4], "big")
                assert number not in found
                found[number] = (core, outputs[out] if out < len(outputs) else None)
                sent = frame_of(number, vector["steps"][number])
                if out < len(outputs):
                    sent = sent[:6] + bytes([2, 0, 0, 0, 1, out]) + sent[12:]
                assert frame == sent
    wanted = {}
    hows: list[Counter[str]] = [Counter() for _ in cores]
    for number, step in enumerate(vector["steps"]):
        if "alive" in step or "cable" in step:
            continue
        via = step["forward"] if "forward" in step else step["via"]
        wanted[number] = (step["core"], None if via is None else step.get("port", config["next_hop"][str(via)]))
        if "how" in step:
            hows[step["core"]][step["how"]] += 1
    assert found == wanted

    handlers = handlers_of(done.stdout)
    for core in cores:
        counts = dict(line.split(maxsplit=1) for line in handlers[f"vlb{core}.counters"].splitlines())
        assert {how: int(counts[how]) for how in ("kept", "new", "moved", "split", "alone")} == {
            how: hows[core][how] for how in ("kept", "new", "moved", "split", "alone")
        }
