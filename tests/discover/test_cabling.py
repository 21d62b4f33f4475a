"""Frames heard, against the plan; and the assignment of devices that a cabling allows (--fix)."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.discover.cabling import PortAssignment, assignments_of, compare
from rbops.discover.listen import End, Received
from rbops.discover.remap import remap
from rbops.discover.run import Discovered
from rbops.errors import Mismatch
from rbops.node.cabling import Origin, frame, origin_of
from rbops.node.facts import Channels, Facts, KernelFacts, NicFacts
from rbops.plan import Selector
from rbops.report.discover import discover_blocks
from rbops.report.tables import plain
from tests.lab.plans import mesh
from tests.support.errors import raises

Cables = dict[str, str]
"""One end -> the other, as ``n0:eth1``."""


def nic(device: str, number: int, **changes: object) -> NicFacts:
    values: dict[str, object] = {
        **dict.fromkeys(NicFacts.__slots__),
        "device": device,
        "driver": "veth",
        "mac": f"02:00:00:00:00:{number:02x}",
        "links": (),
        "channels": Channels(1, 1, 0),
        "max_channels": Channels(1, 1, 0),
        "virtual_function": False,
        "xdp": False,
        "up": False,
        "mtu": 1500,
    }
    return NicFacts(**{**values, **changes})  # type: ignore[arg-type]


def server(*devices: NicFacts) -> Facts:
    kernel = KernelFacts("6.1", "x86_64", "", (), (), ())
    none: dict[str, object] = dict.fromkeys(Facts.__slots__)
    empty = ("present", "online", "possible", "cpus", "caches", "nodes", "hugepages")
    return Facts(**{**none, **dict.fromkeys(empty, ()), "kernel": kernel, "nics": devices})  # type: ignore[arg-type]


def cluster(servers: int, **selectors: Selector) -> tuple[tuple[PortAssignment, ...], dict[str, Facts]]:
    """A mesh whose ports are devices of their names, or as ``selectors`` (``n0_int1``) say; eth8 is spare."""
    plan = mesh(servers)
    facts = {
        one.name: server(*(nic(port.name, at) for at, port in enumerate(one.ports)), nic("eth8", 99))
        for one in plan.servers
    }
    chosen = tuple(
        dataclasses.replace(
            one,
            ports=tuple(
                dataclasses.replace(port, selector=selectors.get(f"{one.name}_{port.name}", port.selector))
                for port in one.ports
            ),
        )
        for one in plan.servers
    )
    return assignments_of(dataclasses.replace(plan, servers=chosen), facts), facts


def planned(servers: int) -> Cables:
    return {f"n{a}:int{b}": f"n{b}:int{a}" for a in range(servers) for b in range(servers) if a != b}


def heard(facts: Mapping[str, Facts], cables: Cables) -> dict[End, Received]:
    """What every device hears when frames go through ``cables`` both ways."""
    told = {}
    for name, one in facts.items():
        for device in one.nics:
            other = cables.get(f"{name}:{device.device}")
            origins = (End(*other.split(":")),) if other else ()
            told[End(name, device.device)] = Received(carrier=other is not None, origins=origins)
    return told


def joined(cables: Cables, *pairs: tuple[str, str]) -> Cables:
    """``cables`` with these ends joined instead of what they were joined to."""
    out = {a: b for a, b in cables.items() if not {a, b} & {end for pair in pairs for end in pair}}
    for a, b in pairs:
        out |= {a: b, b: a}
    return out


def test_frames_carry_run_and_port() -> None:
    run = bytes(range(16))
    data = frame(run, b"\x02\0\0\0\0\1", Origin("n0", "enp3s0f0"))
    assert len(data) == 60
    assert data[:14] == b"\xff" * 6 + b"\x02\0\0\0\0\1" + b"\x88\xb5"
    assert origin_of(data, run) == Origin("n0", "enp3s0f0")
    assert origin_of(data, bytes(16)) is None
    assert len(frame(run, b"\0" * 6, Origin("n" * 63, "e" * 15))) > 60


@given(st.binary(max_size=120), st.integers(0, 60))
def test_a_strangers_frame_is_never_taken_for_ours(junk: bytes, cut: int) -> None:
    run = bytes(16)
    assert origin_of(junk, run) is None
    data = frame(run, b"\0" * 6, Origin("n0", "eth0"))
    assert origin_of(data[:cut], run) in {None, Origin("n0", "eth0")}
    origin_of(data[:14] + data[14:30] + junk, run)


def test_a_mesh_as_planned() -> None:
    assignments, facts = cluster(4)
    found = compare(assignments, heard(facts, planned(4)))
    assert not found.wrong
    assert len(found.verdicts) == 16
    assert {v.state for v in found.verdicts} == {"as planned", "nothing"}
    assert remap(assignments, heard(facts, planned(4)), facts).moves == ()


def test_swapped_cables_are_named_and_mended() -> None:
    assignments, facts = cluster(4)
    cables = joined(planned(4), ("n2:int1", "n3:int2"), ("n2:int3", "n1:int2"))
    found = compare(assignments, heard(facts, cables))
    assert [v.text for v in found.wrong] == [
        "n1:int2 is on n2:int3, expected n2:int1",
        "n2:int1 is on n3, expected n1",
        "n2:int3 is on n1, expected n3",
        "n3:int2 is on n2:int1, expected n2:int3",
    ]
    remapped = remap(assignments, heard(facts, cables), facts)
    assert [(assignment.name, end.device) for assignment, end in remapped.moves] == [
        ("n2:int1", "int3"),
        ("n2:int3", "int1"),
    ]
    assert [(change.path, change.value) for change in remapped.changes] == [
        (("hosts", "n2", "ports", "int1"), {"name": "int3"}),
        (("hosts", "n2", "ports", "int3"), {"name": "int1"}),
    ]


def test_an_internal_cable_in_an_external_port() -> None:
    assignments, facts = cluster(3)
    cables = joined(planned(3), ("n0:ext0", "n1:int0"))
    found = compare(assignments, heard(facts, cables))
    assert [v.text for v in found.wrong] == [
        "n0:ext0 is on n1:int0, expected no internal port",
        "n0:int1 has no carrier, expected n1:int0",
        "n1:int0 is on n0:ext0, expected n0:int1",
    ]
    # eth8 and int1 are both free: which of them goes outside cannot be told from frames.
    with raises(Mismatch, "discover.cabling"):
        remap(assignments, heard(facts, cables), facts)
    facts["n0"] = dataclasses.replace(facts["n0"], nics=facts["n0"].nics[:-1])
    moves = remap(assignments, heard(facts, cables), facts).moves
    assert [(assignment.name, end.device) for assignment, end in moves] == [("n0:ext0", "int1"), ("n0:int1", "ext0")]


def test_dead_cables_are_no_carrier_or_no_frame() -> None:
    assignments, facts = cluster(3)
    told = heard(facts, planned(3))
    told[End("n0", "int1")] = Received(carrier=False, origins=())
    told[End("n1", "int0")] = Received(carrier=True, origins=())
    found = compare(assignments, told)
    assert [(v.state, v.text) for v in found.wrong] == [
        ("no carrier", "n0:int1 has no carrier, expected n1:int0"),
        ("no frame", "n1:int0 has a carrier but receives no frame, expected n0:int1"),
    ]
    with raises(Mismatch, "discover.cabling"):
        remap(assignments, told, facts)


def test_one_way_switches_and_loops() -> None:
    assignments, facts = cluster(3)
    told = heard(facts, planned(3))
    told[End("n0", "int1")] = Received(carrier=True, origins=())
    told[End("n0", "int2")] = Received(carrier=True, origins=(End("n1", "int2"), End("n2", "int0")))
    told[End("n2", "ext2")] = Received(carrier=True, origins=(End("n1", "ext1"),))
    told[End("n1", "ext1")] = Received(carrier=True, origins=(End("n2", "ext2"),))
    states = {f"{v.server}:{v.port}": v for v in compare(assignments, told).verdicts}
    assert states["n0:int1"].text == "n0:int1 receives nothing, its frames arrive at n1:int0"
    assert states["n1:int0"].text == "n1:int0 receives from n0:int1, which does not receive from it"
    assert states["n0:int2"].state == "several"
    assert states["n2:ext2"].state == "neighbour"
    assert states["n2:ext2"].fine
    looped = compare(assignments, heard(facts, joined(planned(3), ("n0:int1", "n0:int2"))))
    assert "n0:int1 is on n0, expected n1" in [v.text for v in looped.wrong]


def test_bare_servers_get_their_ports_by_the_cables() -> None:
    """Devices of any name: the plan's ports are nowhere yet."""
    assignments, _ = cluster(3)
    facts = {f"n{i}": server(*(nic(f"eth{at}", at, driver="veth", carrier=True) for at in range(4))) for i in range(3)}
    assignments = assignments_of(mesh(3), facts)
    assert {assignment.end for assignment in assignments} == {None}
    cables = joined({}, ("n0:eth3", "n1:eth0"), ("n0:eth1", "n2:eth2"), ("n1:eth2", "n2:eth3"))
    remapped = remap(assignments, heard(facts, cables), facts)
    assert {assignment.name: end.device for assignment, end in remapped.moves if assignment.port.peer} == {
        "n0:int1": "eth3", "n0:int2": "eth1", "n1:int0": "eth0", "n1:int2": "eth2",
        "n2:int0": "eth2", "n2:int1": "eth3",
    }  # fmt: skip
    assert {assignment.name: end.device for assignment, end in remapped.moves if not assignment.port.peer} == {
        "n0:ext0": "eth0", "n1:ext1": "eth1", "n2:ext2": "eth0",
    }  # fmt: skip
    assert len(remapped.notes) == 3


def test_selectors_keep_their_way_and_new_ones_are_lasting() -> None:
    first, second = "0000:03:00.0", "0000:03:00.1"
    assignments, facts = cluster(3, n0_int1=Selector(pci=first), n0_int2=Selector(mac="02:00:00:00:00:02"))
    nics = {one.device: one for one in facts["n0"].nics}
    nics["int1"] = dataclasses.replace(nics["int1"], pci=first)
    nics["int2"] = dataclasses.replace(nics["int2"], pci=second)
    facts["n0"] = server(*nics.values())
    plan = mesh(3)
    assignments = tuple(
        dataclasses.replace(assignment, end=End("n0", assignment.port.name))
        if assignment.server == "n0"
        else assignment
        for assignment in assignments
    )
    cables = joined(planned(3), ("n0:int1", "n2:int0"), ("n0:int2", "n1:int0"))
    changes = remap(assignments, heard(facts, cables), facts).changes
    assert [change.value for change in changes] == [{"pci": second}, {"mac": "02:00:00:00:00:01"}]
    assert plan.servers[0].ports[1].selector == Selector()


def test_another_driver_is_refused() -> None:
    assignments, facts = cluster(3)
    facts["n2"] = server(
        *(dataclasses.replace(one, driver="e1000e") if one.device == "int1" else one for one in facts["n2"].nics)
    )
    cables = joined(planned(3), ("n2:int1", "n0:int2"), ("n2:int0", "n1:int2"))
    with raises(Mismatch, "discover.driver"):
        remap(assignments, heard(facts, cables), facts)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 6), st.integers(0, 9999))
def test_any_shuffle_of_devices_is_mended(servers: int, seed: int) -> None:
    """Cables that join the right servers, at any of their devices, always have an assignment, and it is right."""
    dice = random.Random(seed)  # noqa: S311 - repeatable
    assignments, facts = cluster(servers)
    shuffled: dict[str, str] = {}
    for name, one in facts.items():
        inner = [device.device for device in one.nics if device.device.startswith("int")]
        for old, new in zip(inner, dice.sample(inner, len(inner)), strict=True):
            shuffled[f"{name}:{old}"] = f"{name}:{new}"
    cables = {shuffled[a]: shuffled[b] for a, b in planned(servers).items()}
    told = heard(facts, cables)
    moves = {assignment.name: end for assignment, end in remap(assignments, told, facts).moves}
    after = tuple(
        dataclasses.replace(assignment, end=moves.get(assignment.name, assignment.end)) for assignment in assignments
    )
    assert not compare(after, told).wrong
    assert remap(after, told, facts).moves == ()


def test_the_table_says_what_is_wrong() -> None:
    assignments, facts = cluster(3)
    cables = joined(planned(3), ("n2:int1", "n0:int2"), ("n2:int0", "n1:int2"))
    told = heard(facts, cables)
    text = plain(discover_blocks(Discovered(facts, dict.fromkeys(facts, ()), told, compare(assignments, told))))
    assert "Cabling: 5 of 9 ports as planned" in text
    row = next(line for line in text.splitlines() if line.startswith("  n2:int1"))
    assert row.split() == ["n2:int1", "int1", "n1:int2", "n0:int2", "n2:int1", "is", "on", "n0,", "expected", "n1"]
