"""Facts written into a spec: what is written passes check and plan, and what a person wrote stays."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.discover.draft import open_draft, read_draft
from rbops.errors import Mismatch, UsageError
from rbops.hardware.facts import describe
from rbops.node.gather import gather
from rbops.planner import load_plan
from rbops.spec import load_spec
from rbops.spec.edit import Change
from rbops.spec.hardware import Bound, Bounds, Cpu, Device, Hardware, Nic, Slot
from rbops.spec.hardware_text import hardware_text
from rbops.spec.reader import parse
from rbops.spec.section import read
from tests.discover.machines import MACHINES, SESSION
from tests.support.errors import raises

WORDS = st.sampled_from(["ixgbe", "slot3", "0000:03:00", "on", "1e3", "n0"])
RATES = st.integers(1, 400).map(lambda n: n * 10**9) | st.integers(10**6, 10**12)
DEVICES = st.builds(
    Device,
    st.none() | st.sampled_from(["eth0", "enp3s0f0np0"]),
    st.none() | st.just("0000:03:00.1"),
    st.none() | st.just("3c:fd:fe:00:00:01"),
    st.booleans(),
)
NICS = st.builds(
    Nic, WORDS, st.integers(1, 64), RATES, st.integers(1, 1024), st.none() | WORDS, st.none() | st.integers(0, 7),
    st.none() | RATES, st.lists(DEVICES, max_size=2).map(tuple),
)  # fmt: skip
BOUND = st.builds(Bound, RATES, st.none() | RATES)
HARDWARE = st.builds(
    Hardware,
    sockets=st.integers(1, 64),
    cores_per_socket=st.integers(1, 1024),
    clock_hz=st.integers(1, 5000).map(lambda n: n * 10**6),
    nics=st.lists(NICS, min_size=1, max_size=3).map(tuple),
    name=WORDS,
    threads_per_core=st.integers(1, 8),
    numa_nodes=st.none() | st.integers(1, 8),
    l3_bytes_per_socket=st.none() | st.integers(1, 1 << 30),
    cpus=st.lists(st.builds(Cpu, *[st.integers(0, 63)] * 4), max_size=3).map(tuple),
    housekeeping=st.sets(st.integers(0, 99), max_size=5).map(lambda ids: tuple(sorted(ids))),
    offline=st.sets(st.integers(0, 99), max_size=5).map(lambda ids: tuple(sorted(ids))),
    slots=st.lists(st.builds(Slot, WORDS, st.integers(1, 7), st.integers(1, 32), st.none() | st.integers(0, 7)),
                   max_size=2).map(tuple),
    bounds=st.builds(Bounds, memory=st.none() | BOUND, pcie=st.none() | BOUND),
    power_w=st.none() | st.integers(1, 4000).map(float),
    price_usd=st.none() | st.integers(100, 10**6).map(lambda cents: cents / 100),
    rack_units=st.integers(1, 48),
)  # fmt: skip


@settings(deadline=None)  # the first reading builds the validators
@given(HARDWARE)
def test_what_is_written_is_read_back(hardware: Hardware) -> None:
    text = hardware_text(hardware)
    root, errors = parse(text, "x")
    assert not errors
    assert read(Hardware, root.plain()) == hardware


def servers(folder: Path, machine: str = "amd", count: int = 3) -> dict[str, Hardware]:
    return {
        f"n{at}": describe(f"n{at}", gather(MACHINES[machine](folder / f"root{at}"), SESSION)).hardware
        for at in range(count)
    }


@pytest.mark.parametrize(("machine", "count"), [("amd", 4), ("intel", 3), ("vm", 1)])
def test_a_new_spec_can_be_planned(machine: str, count: int, tmp_path: Path) -> None:
    spec = tmp_path / "out" / "router.yml"
    draft = open_draft(spec, None, servers(tmp_path, machine, count))
    assert len(draft.plan().servers) == count
    assert not spec.exists()
    written = draft.save()
    assert written == [*(spec.parent / f"hardware/n{at}.yml" for at in range(count)), spec]
    assert load_plan(spec) == draft.plan()
    again = open_draft(spec, None, servers(tmp_path / "again", machine, count))
    assert again.save() == []


def test_plans_are_made_on_the_facts(tmp_path: Path) -> None:
    """Queues by driver, CPU ids by NUMA node and ring, offline CPUs and the management NIC."""
    spec = tmp_path / "router.yml"
    open_draft(spec, None, servers(tmp_path, "intel")).save()
    plan = load_plan(spec)
    one = plan.servers[0]
    assert {port.driver for port in one.ports} == {"ixgbe"}
    assert len(one.ports[0].queues) == 16
    assert len(one.cores.dataplane) == 16
    assert any("ixgbe locks XDP rings with more than 64 CPUs, and there are 80" in v.detail for v in plan.violations)
    other = tmp_path / "amd.yml"
    open_draft(other, None, servers(tmp_path / "b")).save()
    plan = load_plan(other)
    assert {port.driver for port in plan.servers[0].ports} <= {"ice", "mlx5_core"}
    assert not set(plan.servers[0].cores.dataplane) & {14, 15}


def test_servers_that_make_no_router_are_refused(tmp_path: Path) -> None:
    with raises(Mismatch, "discover.no-router"):
        open_draft(tmp_path / "router.yml", None, servers(tmp_path, "vm", 4)).plan()
    with raises(Mismatch, "discover.server-name", server="web1"):
        open_draft(tmp_path / "router.yml", None, {"web1": servers(tmp_path / "b", "vm", 1)["n0"]})


SPEC = """\
# ours
router: {external_ports: 3, line_rate: 25Gbps}   # all of it
hosts:
  n0: {profile: lab}   # the first
  # n1 is in the other rack
  n1:
    hardware: racks/left.yml
    ports: {ext1: {pci: "0000:41:00.0"}}
routes:
  - {prefix: 203.0.113.0/24, via: 198.18.2.2}
"""


def test_an_existing_spec_keeps_what_is_not_ours(tmp_path: Path) -> None:
    spec = tmp_path / "router.yml"
    spec.write_text(SPEC)
    found = servers(tmp_path)
    left = tmp_path / "racks/left.yml"
    left.parent.mkdir()
    mine = dataclasses.replace(found["n1"], name="big", housekeeping=(3,), power_w=350.0, clock_hz=10**9)
    mine = dataclasses.replace(mine, nics=tuple(dataclasses.replace(n, achievable_bps=10**10) for n in mine.nics))
    left.write_text(hardware_text(mine).replace("housekeeping:", "# quiet one\nhousekeeping:"))
    written = open_draft(spec, None, found).save()
    assert written == [tmp_path / "hardware/n0.yml", left, tmp_path / "hardware/n2.yml", spec]
    assert (
        spec.read_text()
        == SPEC.replace("profile: lab", "hardware: hardware/n0.yml").replace(
            "routes:", "  n2: {hardware: hardware/n2.yml}\nroutes:"
        )
        + "servers: {hardware: hardware/n0.yml}\n"
    )
    assert '# quiet one\nhousekeeping: "3"\n' in left.read_text()
    loaded = load_spec(spec)
    host = loaded.hosts.get("n1")
    assert host
    assert host.hardware == dataclasses.replace(mine, clock_hz=3 * 10**9)
    load_plan(spec)


def test_what_cannot_be_changed_is_refused_and_nothing_written(tmp_path: Path) -> None:
    found = servers(tmp_path)
    spec = tmp_path / "router.yml"
    spec.write_text(SPEC.replace("hardware: racks/left.yml", "hardware: {sockets: 1}"))
    with raises(UsageError, "discover.inline-hardware", field="hosts.n1.hardware"):
        open_draft(spec, None, found)
    spec.write_text(SPEC.replace("    hardware: racks/left.yml\n", ""))
    draft = open_draft(spec, None, found)
    spec.write_text(SPEC + "# by somebody else\n")
    with raises(UsageError, "discover.file-changed"):
        draft.save()
    assert not (tmp_path / "hardware").exists()
    link = tmp_path / "link.yml"
    link.symlink_to(spec)
    with raises(UsageError, "discover.symlink"):
        read_draft(link)
    with raises(UsageError, "discover.no-file"):
        read_draft(tmp_path / "absent.yml")
    (tmp_path / "hardware").mkdir()
    (tmp_path / "hardware/n0.yml").write_text("sockets: many\n")
    with raises(UsageError, "discover.hardware-file"):
        open_draft(spec, None, found)


def test_a_file_stays_whole_when_it_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tmp_path / "router.yml"
    spec.write_text(SPEC)
    spec.chmod(0o640)
    draft = read_draft(spec).changed([Change(("hosts", "n1", "ports", "ext1"), {"pci": "0000:41:00.1"})])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with raises(UsageError, "discover.unwritable"):
            draft.save()
    assert spec.read_text() == SPEC
    assert [path.name for path in tmp_path.iterdir()] == ["router.yml"]
    draft.save()
    assert spec.read_text() == SPEC.replace("41:00.0", "41:00.1")
    assert spec.stat().st_mode & 0o777 == 0o640
