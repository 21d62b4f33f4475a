"""Writes ``vectors/*.json``: hand-computed cases, and longer runs recorded from the model.

Run as ``python tests/vlb/record.py`` after a deliberate change of the model's rules.
"""

# ruff: noqa: E501  (the texts of the cases)

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import vlb_vectors as vectors

from rbops.vlb.model import Flow, flow_hash

START = 1000
Cases = dict[str, dict[str, Any]]
A, B, C = (
    [0xC6120002, 0xC6120102, 17, 1000, 53],
    [0xC6120003, 0xC6120102, 6, 1001, 80],
    [0x0A000001, 0xC6120202, 1, 0, 0],
)


def rb4(**changes: Any) -> dict[str, Any]:
    """Server 0 of four; a direct bucket gains 1,250 bytes a tick and holds 12,500, with headroom from 10,938."""
    return {
        "server": 0,
        "cores": 1,
        "routing": "direct-vlb",
        "direct_quota_bps": 10_000_000,
        "flowlet_ticks": 0,
        "flowlet_entries": 65536,
        "max_frame": 1514,
        "intermediates": [1, 2, 3],
        "next_hop": {"1": "int1", "2": "int2", "3": "int3"},
        "link_bps": {"int1": 1_000_000_000, "int2": 1_000_000_000, "int3": 1_000_000_000},
        **changes,
    }


def packet(
    tick: int, flow: list[int], dest: int, size: int, via: int | None, how: str, core: int = 0
) -> dict[str, Any]:
    return {"tick": tick, "core": core, "flow": flow, "dest": dest, "size": size, "via": via, "how": how}


def quotas() -> Cases:
    """The direct bucket, and what is more than it."""
    t = START
    return {
        "hand-quota": {
            "what": "12,500 bytes direct: 8 frames of 1,500 leave 500; the 9th and 10th rotate over 2 and 3 (1 is the "
            "destination), a frame of 400 still fits, the next tick brings 1,250: 1,350, enough for 1,300 but not for "
            "another 100. Destination 2 has a bucket and a rotation of its own.",
            "config": rb4(),
            "steps": [packet(t, A, 1, 1500, 1, "alone") for _ in range(8)]
            + [packet(t, A, 1, 1500, via, "alone") for via in (2, 3)]
            + [packet(t, A, 1, 400, 1, "alone")]
            + [packet(t + 1, A, 1, 1300, 1, "alone"), packet(t + 1, A, 1, 100, 2, "alone")]
            + [packet(t + 1, B, 2, 1500, 2, "alone") for _ in range(8)]
            + [packet(t + 1, B, 2, 1500, via, "alone") for via in (1, 3, 1)],
        },
        "hand-refill": {
            "what": "Emptied to 500, the direct bucket has 500 + 9 * 1,250 = 11,750 after 9 ticks and 12,500, its depth, after 100.",
            "config": rb4(),
            "steps": [packet(t, A, 1, 1500, 1, "alone") for _ in range(8)]
            + [packet(t + 9, A, 1, 1500, 1, "alone") for _ in range(7)]
            + [packet(t + 9, A, 1, 1251, 2, "alone"), packet(t + 9, A, 1, 1250, 1, "alone")]
            + [packet(t + 109, A, 1, 1250, 1, "alone") for _ in range(10)]
            + [packet(t + 109, A, 1, 60, 3, "alone")],
        },
        "hand-cores": {
            "what": "Two cores with half the quota each: 625 bytes a tick, 6,250 deep: four frames direct on either core, rotations of their own.",
            "config": rb4(cores=2),
            "steps": [packet(t, A, 1, 1500, 1, "alone", core) for core in (0, 1) for _ in range(4)]
            + [packet(t, A, 1, 1500, via, "alone", core) for core, via in ((0, 2), (1, 2), (0, 3), (1, 3))],
        },
    }


def rotations() -> Cases:
    """Whose turn it is."""
    t = START
    return {
        "hand-vlb": {
            "what": "Classic VLB rotates over 1, 2, 3 and the server itself, whose turn is the direct link: 1, 2, 3, D for each "
            "destination D on its own.",
            "config": rb4(routing="vlb"),
            "steps": [packet(t, A, 1, 60, via, "alone") for via in (1, 2, 3, 1, 1, 2)]
            + [packet(t, B, 3, 60, via, "alone") for via in (1, 2, 3, 3, 1)]
            + [packet(t, A, 1, 60, via, "alone") for via in (3, 1, 1)],
        },
        "hand-order": {
            "what": "The rotation takes the intermediates as they are listed, here 3, 1, 2: for 1 that is 3, 2, 3; for 2 it is 3, 1, 3.",
            "config": rb4(direct_quota_bps=0, intermediates=[3, 1, 2]),
            "steps": [packet(t, A, 1, 60, via, "alone") for via in (3, 2, 3)]
            + [packet(t, B, 2, 60, via, "alone") for via in (3, 1, 3)],
        },
        "hand-pair": {
            "what": "Two servers: no intermediate, so everything is direct, quota or not.",
            "config": rb4(intermediates=[1], next_hop={"1": "int1"}, link_bps={"int1": 10**6}, flowlet_ticks=100),
            "steps": [packet(t, A, 1, 1514, 1, how) for how in ("new", "kept", "split", "split")],
        },
    }


def links() -> Cases:
    """Buckets of links: one that runs dry, and all."""
    t = START
    return {
        "hand-link": {
            "what": "Port int2 at 1 Mbit/s refills 125 bytes a tick and holds two frames of 1,514. No quota: all rotate over 2 and 3. "
            "Two phase-1 frames empty int2 after a third of it was taken by phase 2: then 3 alone, until 12 ticks refill 1,500.",
            "config": rb4(direct_quota_bps=0, link_bps={"int1": 10**9, "int2": 10**6, "int3": 10**9}),
            "steps": [{"tick": t, "core": 0, "forward": 2, "size": 1514}]
            + [packet(t, A, 1, 1500, via, "alone") for via in (2, 3, 3, 3)]
            + [packet(t + 11, A, 1, 1500, 3, "alone"), packet(t + 12, A, 1, 1500, 2, "alone")],
        },
        "hand-overload": {
            "what": "Every link refills 125 bytes a tick and holds 3,028: after four frames of 1,514 nothing fits, and plain rotation goes on.",
            "config": rb4(direct_quota_bps=0, link_bps={"int1": 10**6, "int2": 10**6, "int3": 10**6}),
            "steps": [packet(t, A, 1, 1514, via, "alone") for via in (2, 3, 2, 3, 2, 3, 2)],
        },
    }


def flowlets() -> Cases:
    """Flowlets that stay, split and end."""
    t = START
    return {
        "hand-flowlet": {
            "what": "12,500 direct, headroom from 10,938. A and B start direct (12,500, then 11,000 left), C finds 9,500: no headroom, so it "
            "rotates to 2. A keeps direct 6 times until 500 are left, then moves to 3, which has more room than 2, and stays there. "
            "100 ticks later (idle = timeout) C keeps 2; A, idle for 101, starts anew: direct, full again.",
            "config": rb4(flowlet_ticks=100),
            "steps": [
                packet(t, A, 1, 1500, 1, "new"),
                packet(t, B, 1, 1500, 1, "new"),
                packet(t, C, 1, 1500, 2, "new"),
            ]
            + [packet(t, A, 1, 1500, 1, "kept") for _ in range(6)]
            + [packet(t, A, 1, 1500, 3, "moved"), packet(t, A, 1, 100, 3, "kept")]
            + [packet(t + 100, C, 1, 1500, 2, "kept"), packet(t + 101, A, 1, 1500, 1, "new")],
        },
        "hand-move": {
            "what": "A flowlet that outgrows its path. int1 holds 4 Mbit/s * 10 ms = 5,000, int2 3,750, int3 3,028, direct 3,750. A starts direct "
            "and takes two frames of 1,500 (750 left of direct, 2,000 of int1); then int2 has the most room, 3,750, for two frames; then int3, "
            "3,028, for two. Then 750, 750 and 28 are left and nothing fits: split, by rotation to 2 and 3, which have 0 then, "
            "while the entry keeps 3. A frame of 700 moves it to direct.",
            "config": rb4(
                flowlet_ticks=100,
                direct_quota_bps=3_000_000,
                link_bps={"int1": 4_000_000, "int2": 3_000_000, "int3": 1_000_000},
            ),
            "steps": [packet(t, A, 1, 1500, 1, "new"), packet(t, A, 1, 1500, 1, "kept")]
            + [packet(t, A, 1, 1500, 2, "moved"), packet(t, A, 1, 1500, 2, "kept")]
            + [packet(t, A, 1, 1500, 3, "moved"), packet(t, A, 1, 1500, 3, "kept")]
            + [packet(t, A, 1, 1500, via, "split") for via in (2, 3)]
            + [packet(t, A, 1, 700, 1, "moved")],
        },
    }


def dead_links() -> Cases:
    """What is left out while a link is down."""
    t = START
    return {
        "hand-dead": {
            "what": "Links down: a flowlet on a dead path starts anew and stays there when the link is back; the direct path is left out, "
            "intermediates too; with one link left all take it, with none there is no path.",
            "config": rb4(flowlet_ticks=100),
            "steps": [
                packet(t, A, 1, 60, 1, "new"),
                {"tick": t, "alive": {"1": False}},
                packet(t, A, 1, 60, 2, "new"),
                packet(t, B, 1, 60, 3, "new"),
                {"tick": t, "alive": {"1": True, "2": False}},
                packet(t, A, 1, 60, 1, "new"),
                {"tick": t, "alive": {"1": False, "3": False}},
                packet(t, A, 1, 60, None, "new"),
                {"tick": t, "alive": {"3": True}},
                packet(t, B, 1, 60, 3, "kept"),
                packet(t, C, 1, 60, 3, "new"),
                {"tick": t, "alive": {"1": True}},
                packet(t, A, 1, 60, 1, "kept"),
            ],
        },
    }


BUNDLE = {"1": ["int1p0", "int1p1"]}
SLOW = {"int1p0": 4_000_000, "int1p1": 4_000_000, "int2": 1_000_000, "int3": 1_000_000}


def bundled(step: dict[str, Any], port: str) -> dict[str, Any]:
    """The same, and the cable that it takes."""
    return {**step, "port": port}


def bundles() -> Cases:
    """Two cables to a server."""
    t = START
    return {
        "bundle-hand": {
            "what": "Two cables to 1 hold 5,000 each (headroom from 4,375), int2 and int3 3,028, the quota more. A takes the first of two full "
            "ones, B the second, which holds more. A keeps to its own until 500 are left, then moves to the second, which holds 3,500. "
            "The second is cut: B starts anew, on 2, for the first has no headroom; so does C, on 3. Phase 2 takes the first; when that "
            "is cut and the second is back, the second; with both cut the server is dead, and A takes 2, whose turn it is.",
            "config": rb4(
                flowlet_ticks=100,
                direct_quota_bps=100_000_000,
                next_hop={"1": "int1p0", "2": "int2", "3": "int3"},
                link_bps=SLOW,
                bundles=BUNDLE,
            ),
            "steps": [
                bundled(packet(t, A, 1, 1500, 1, "new"), "int1p0"),
                bundled(packet(t, B, 1, 1500, 1, "new"), "int1p1"),
                *[bundled(packet(t, A, 1, 1500, 1, "kept"), "int1p0") for _ in range(2)],
                bundled(packet(t, A, 1, 1500, 1, "moved"), "int1p1"),
                bundled(packet(t, B, 1, 1500, 1, "kept"), "int1p1"),
                {"tick": t, "cable": {"int1p1": False}},
                bundled(packet(t, B, 1, 60, 2, "new"), "int2"),
                bundled(packet(t, C, 1, 60, 3, "new"), "int3"),
                bundled({"tick": t, "core": 0, "forward": 1, "size": 60}, "int1p0"),
                {"tick": t, "cable": {"int1p0": False, "int1p1": True}},
                bundled({"tick": t, "core": 0, "forward": 1, "size": 60}, "int1p1"),
                {"tick": t, "cable": {"int1p1": False}},
                bundled(packet(t, A, 1, 60, 2, "new"), "int2"),
            ],
        },
    }


def by_hand() -> Cases:
    return {**quotas(), **rotations(), **links(), **flowlets(), **dead_links(), **bundles()}


def collision(other: list[int]) -> list[int]:
    """A flow in the same table entry as ``other`` with another tag."""
    index = flow_hash(Flow(*other)) & 0xFFFF
    for number in range(1 << 24):
        flow = [0x0A000000 + number, 0xC6120102, 17, 7, 7]
        if flow_hash(Flow(*flow)) & 0xFFFF == index:
            return flow
    raise AssertionError("no collision in 2^24 flows")


def colliding() -> dict[str, Any]:
    other = collision(A)
    steps = [
        packet(START, A, 1, 1500, 1, "new"),
        packet(START, B, 1, 1500, 1, "new"),
        packet(START, other, 1, 1500, 2, "new"),
        packet(START, A, 1, 1500, 3, "new"),
        packet(START, A, 1, 1500, 3, "kept"),
        packet(START, other, 1, 1500, 2, "new"),
        packet(START, B, 1, 1500, 1, "kept"),
    ]
    what = "Two flows in one entry throw each other out: each starts anew when it comes back."
    return {"what": what, "config": rb4(flowlet_ticks=100), "steps": steps}


def recorded(routing: str, ticks: int, slower: int = 1, *, several: bool = False) -> dict[str, Any]:
    """300 packets of 40 flows on two cores, from a fixed congruence; the paths are the model's.

    Links that are ``slower`` by a factor make flows outgrow their paths, so that they move and are split. ``several``
    cables lead to server 1, one of which is cut now and then.
    """
    state = 12345 + ticks
    steps: list[dict[str, Any]] = []
    for number in range(300):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        draw = [state >> shift & 0xFFF for shift in (12, 24, 36, 48)]
        flow = [0x0A000000 + draw[0] % 40, 0xC6120000 + draw[0] % 7, (6, 17)[draw[0] % 2], 1024 + draw[0] % 40, 80]
        tick, core = START + number // 6 + number // 150 * 90, draw[0] % 2
        dest, size = 1 + draw[0] % 3, 60 + draw[1] % 1455
        if draw[2] % 11 == 0:
            steps.append({"tick": tick, "core": core, "forward": dest, "size": size})
        if several and number % 60 in (20, 40):
            steps.append({"tick": tick, "cable": {"int1p1": number % 60 == 40}})
        steps.append(packet(tick, flow, dest, size, None, "", core))
    links = {"int1": 12_000_000 // slower, "int2": 30_000_000 // slower, "int3": 9_000_000 // slower}
    quota = 6_000_000 // slower
    config = rb4(routing=routing, cores=2, flowlet_ticks=ticks, direct_quota_bps=quota, link_bps=links)
    if several:
        half = {"int1p0": links["int1"] // 2, "int1p1": links.pop("int1") // 2}
        config |= {
            "link_bps": {**half, **links},
            "bundles": BUNDLE,
            "next_hop": {"1": "int1p0", "2": "int2", "3": "int3"},
        }
    vector = {"what": "Recorded from the model: overloaded links, two cores.", "config": config, "steps": steps}
    packets = [step for step in steps if "flow" in step]
    for step, choice in zip(packets, vectors.play({"start_tick": START, **vector}), strict=True):
        step.update(via=choice.via, how=choice.how, **({"port": choice.port} if several else {}))
    return vector


def write(name: str, vector: dict[str, Any]) -> None:
    flows = sorted({tuple(step["flow"]) for step in vector["steps"] if "flow" in step})
    hashes = {",".join(map(str, flow)): f"{flow_hash(Flow(*flow)):016x}" for flow in flows}
    vector = {"schema_version": 1, "name": name, "start_tick": START, **vector, "hashes": hashes}
    expected = [(step["via"], step["how"]) for step in vector["steps"] if "flow" in step]
    found = [(choice.via, choice.how) for choice in vectors.play(vector)]
    for number, (want, have) in enumerate(zip(expected, found, strict=True)):
        if want != have:
            raise SystemExit(f"{name}: packet {number}: expected {want}, the model says {have}")
    steps = ",\n  ".join(json.dumps(step) for step in vector.pop("steps"))
    head = json.dumps(vector, indent=1)[:-2]
    (vectors.FOLDER / f"{name}.json").write_text(f'{head},\n "steps": [\n  {steps}\n ]\n}}\n')


def main() -> None:
    for name, vector in by_hand().items():
        write(name, vector)
    write("hand-collision", colliding())
    for routing in ("direct-vlb", "vlb"):
        for ticks in (0, 20):
            write(f"run-{routing}-{ticks}", recorded(routing, ticks))
        write(f"run-{routing}-moves", recorded(routing, 20, slower=4))
        write(f"bundle-{routing}", recorded(routing, 20, slower=4, several=True))


if __name__ == "__main__":
    main()
