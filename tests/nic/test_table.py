"""A row of the table is all that a setting needs: each goes from the spec to the plan, to node.json and to a device."""

from __future__ import annotations

import dataclasses
import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rbops.nic import device
from rbops.nic.drivers import DRIVERS, Driver, driver
from rbops.nic.kinds import KEEP, Features, Flag, HashKey, Number
from rbops.nic.settings import QUEUE_STAGES, ROWS, STAGES, NicSettings, NicSetup, Row, Situation, plan_settings
from rbops.node.nic import settings
from rbops.node.schema.fields import Fields
from rbops.node.schema.nic import parse_nic
from rbops.node.settings import Run, Write
from rbops.planner import plan_spec
from rbops.spec.load import load_bytes
from rbops.spec.nic import NicTuning
from tests.node.recorded import Recorded, config, internal

SPEC = """
router: {{external_ports: 4, line_rate: 10Gbps}}
servers:
  hardware:
    sockets: 1
    cores_per_socket: 5
    clock: 3GHz
    nics: [{{driver: mlx5_core, ports: 4, port_rate: 10Gbps, queues: 8}}]
nic: {nic}
"""
KEY = ":".join(["6d:5a"] * 4)
DEVICE = {
    "ethtool -g eth7": "Pre-set maximums:\nRX:\t8192\nTX:\t8192\nCurrent hardware settings:\nRX:\t64\nTX:\t64\n",
    "ethtool -c eth7": "Adaptive RX: off  TX: off\n"
    + "".join(f"{way}-{what}:\t3\n" for way in ("rx", "tx") for what in ("usecs", "frames")),
    "ethtool -k eth7": "generic-receive-offload: off\n",
    "ethtool -x eth7": "RSS hash key:\n" + ":".join(["00"] * 8) + "\n",
}
FILES = {f"/sys/class/net/eth7/{row.parameters[0]}": "0" for row in ROWS if row.tool.write is None}


def sample(row: Row) -> tuple[str, Any, str]:
    """What a spec may say, the value, and the tool's word for it."""
    match row.kind:
        case Number(unit=None):
            return "1000", 1000, "1000"
        case Number(unit=unit):
            return f"70{unit}", 70, "70"
        case Flag(on=on):
            return "true", True, on
        case HashKey():
            return f'"{KEY}"', KEY, KEY
        case Features():
            return "{gro: true}", (("gro", True),), "on"


def nested(key: str, text: str) -> str:
    for part in reversed(key.split(".")):
        text = f"{{{part}: {text}}}"
    # Deferring has no effect without it.
    return text if key != "defer_hard_irqs" else f"{text[:-1]}, flush_timeout: 200us}}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_from_the_spec_to_the_device(row: Row) -> None:
    text, value, word = sample(row)
    spec = load_bytes(SPEC.format(nic=nested(row.key, text)).encode(), Path("router.yml"), {})
    assert row.of(spec.nic) == value
    (planned,) = plan_spec(spec).servers[0].nics
    carried = row.of(planned)
    assert dict(carried)["gro"] if isinstance(row.kind, Features) else carried == value
    said = dataclasses.replace(NicSetup("mlx5_core"), **{row.name: value})
    read = parse_nic("mlx5_core", Fields("nic", said.to_json()))
    assert read == said
    (port,) = config(ports=[internal(driver="mlx5_core", nic=said.to_json())]).ports
    found = settings(row.tool.stage, port, "eth7", Recorded(dict(DEVICE), FILES), "n0")
    names = row.parameters or ("gro",)
    assert [(setting.name, setting.want) for setting in found] == [(row.tool.title(name), word) for name in names]
    for name, setting in zip(names, found, strict=True):
        assert setting.differs
        done = (setting.actions, setting.undo)
        if row.tool.write is None:
            assert done == tuple((Write(f"/sys/class/net/eth7/{name}", text),) for text in (word, setting.have))
        else:
            command = ("ethtool", row.tool.write, "eth7", name)
            assert done == tuple((Run((*command, text)),) for text in (word, setting.have))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_a_device_that_does_not_have_it(row: Row) -> None:
    _, value, _ = sample(row)
    said = dataclasses.replace(NicSetup("veth"), **{row.name: value})
    (port,) = config(ports=[internal(nic=said.to_json())]).ports
    found = settings(row.tool.stage, port, "eth7", Recorded(), "n0")
    assert found
    assert all(setting.unsupported and not setting.differs for setting in found)


def test_nothing_said_is_nothing_to_do() -> None:
    (port,) = config(ports=[internal(nic={})]).ports
    system = Recorded()
    assert [setting for stage in STAGES for setting in settings(stage, port, "eth7", system, "n0")] == []
    assert system.ran == []


def test_each_row_is_carried_out_in_one_stage_of_the_order() -> None:
    assert {row.tool.stage for row in ROWS} <= set(STAGES)
    assert STAGES.index("channels") < STAGES.index("rings") < STAGES.index("rss") < STAGES.index("steering")
    assert STAGES.index("steering") < STAGES.index("xps") < STAGES.index("irq")
    assert set(QUEUE_STAGES) < set(STAGES)
    assert len({row.key for row in ROWS}) == len({row.name for row in ROWS}) == len(ROWS)


def test_keep_is_no_value_of_a_plan() -> None:
    kept = {row.name: KEEP for row in ROWS if isinstance(row.kind, HashKey) or getattr(row.kind, "keep", False)}
    assert kept
    found = plan_settings(NicSettings(**kept), Situation(driver("mlx5_core"), 100, 16, 1e6))
    assert [found[name] for name in kept] == [None] * len(kept)


def test_a_host_over_the_spec() -> None:
    general = NicTuning(rx_usecs=50, offloads=(("gro", False), ("tso", False)), steering="software")
    own = NicTuning(rx_usecs=KEEP, offloads=(("tso", True),), threaded_napi=False)
    assert own.over(general) == NicTuning(
        rx_usecs=KEEP, offloads=(("gro", False), ("tso", True)), threaded_napi=False, steering="software"
    )


def test_a_device_names_its_driver_with_and_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(device: str, command: int, size: int) -> bytes:
        if device != "eth0":
            raise OSError(95, "Operation not supported")
        return struct.pack("I32s", command, b"mlx5_core").ljust(size, b"\0")

    monkeypatch.setattr(device, "ask", answer)
    monkeypatch.setitem(sys.modules, "ethtool", None)
    assert (device.driver_of("eth0"), device.driver_of("lo")) == ("mlx5_core", None)
    monkeypatch.setitem(sys.modules, "ethtool", SimpleNamespace(get_module=lambda name: f"driver of {name}"))
    assert device.driver_of("eth0") == "driver of eth0"


def test_drivers() -> None:
    assert {name: known.name for name, known in DRIVERS.items()} == {name: name for name in DRIVERS}
    assert driver("r8169") == Driver("r8169", native_xdp=False)
    assert driver("newnic") == Driver("newnic")
    assert not any(known.xdp_ring_by_cpu and known.xdp_ring_wraps for known in DRIVERS.values())
