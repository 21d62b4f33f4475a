"""The programs' memory: made with them, and one generation of it written. Standard library only."""

from __future__ import annotations

import ctypes
import hashlib
import platform
import time
from collections.abc import Callable
from pathlib import Path

from rbops.common.cpulist import online_cpus
from rbops.common.versions import MIN_KERNEL
from rbops.dataplane.xdp import layout as shape
from rbops.dataplane.xdp.config import XdpConfig
from rbops.dataplane.xdp.layout import Device, Fib, Layout
from rbops.dataplane.xdp.libbpf import BpfError, Map, Object
from rbops.dataplane.xdp.pins import PROGRAMS, Loaded

__all__ = ["MAP_OF", "load", "sign", "wait_for_readers", "write_generation"]

_SYSCALL_MEMBARRIER = {"x86_64": 324, "aarch64": 283}
_READERS_GONE_S = 0.1
MAP_OF = {"arena": ".data.arena", "cores": ".data.cores", "control": ".bss"}
MAP_OF |= {name: name for name in ("clocks", "devices", "rebuild", "samples")}
_REBUILD_QUEUE, _REBUILD_CPUS = 512, 64


def load(path: Path, reuse: Loaded | None, wanted: Layout, *, clock: bool, grows: bool = False) -> Loaded:
    """Load the programs; on the maps of ``reuse``, or on new ones. ``grows``: on its maps, but a larger arena.

    What is configured has more room then, and what packets changed stays: counters, flowlets, buckets, links.
    """
    layout = reuse.layout if reuse and not grows else wanted
    with Object(path) as obj:
        constants = {
            "generation_bytes": layout.generation,
            "body_bytes": layout.body,
            "core_bytes": layout.core,
            "cpus": layout.cpus,
            "servers": layout.servers,
            "flowlet_mask": layout.flowlets - 1,
        }
        for name, number in constants.items():
            obj.set_variable(name, number.to_bytes(4, "little"))
        maps = dict(reuse.maps) if reuse else new_memory(layout)
        if grows:
            maps["arena"] = new_memory(layout, "arena")["arena"]
        for name, entry in maps.items():
            obj.reuse(MAP_OF[name], entry)
        obj.load()
        maps = {name: obj.map(inner) for name, inner in MAP_OF.items()}
        programs = {name: obj.program(name) for name in PROGRAMS}
        loaded = Loaded(maps, programs, layout, reuse.about if reuse else None)
        if not grows:
            sign(loaded, path)
        if clock and (result := obj.program("start_clock").call()):
            raise BpfError(
                f"the clock does not start (step {result})",
                hint=f"the kernel needs BPF timers: Linux {MIN_KERNEL}",
                code="xdp.no-timer",
            )
    return loaded


def sign(loaded: Loaded, path: Path) -> None:
    """Write which program and which layout the maps belong to."""
    control = loaded.memory("control")
    control[shape.LAYOUT_AT : shape.PEERS_AT] = loaded.layout.pack()
    control[shape.OBJECT_AT : shape.OBJECT_AT + 32] = hashlib.sha256(path.read_bytes()).digest()


def new_memory(layout: Layout, *names: str) -> dict[str, Map]:
    """The maps of these names; all when none is named."""
    sizes = {"arena": 2 * layout.generation, "cores": layout.cpus * layout.core}
    return {name: Map.shared(f"rbops_{name}", size) for name, size in sizes.items() if not names or name in names}


def write_generation(
    loaded: Loaded,
    config: XdpConfig,
    devices: list[Device],
    fib: Fib,
    fill: Callable[[int], None] | None = None,
    before: Loaded | None = None,
    *,
    grows: bool = False,
) -> int:
    """Fill the idle generation, its table by ``fill`` if there is one, and make it the active one.

    ``grows``: in an arena that no program runs on yet, beside that of ``before``: the active one, then, which both
    have. Returns its serial number.
    """
    wait_for_readers()
    magic, serial, _, _ = (before if before is not None and grows else loaded).head()
    serial = serial + 1 if magic == shape.MAGIC else 1
    idle = loaded.active if grows else 1 - loaded.active
    at = idle * loaded.layout.generation
    arena = loaded.memory("arena")
    head = shape.generation_bytes(config.fabric, config.guard, devices, fib, serial)
    arena[at : at + len(head)] = head
    arena[at + len(head) : at + len(head) + len(fib.body)] = fib.body
    if fill is not None:
        fill(idle)
    table = loaded.maps["devices"]
    for number in range(shape.MAX_DEVICES):
        key = (idle * shape.MAX_DEVICES + number).to_bytes(4, "little")
        if number < len(devices):
            table.update(key, devices[number].ifindex.to_bytes(4, "little"))
        else:
            table.delete(key)
    if any(device.keeps_packet_type for device in devices):
        _fill_rebuild(loaded.maps["rebuild"])
    control = loaded.memory("control")
    control[shape.ACTIVE_AT] = idle
    # The cables' far ends may have changed with it: they tell their MACs anew.
    control[shape.PEERS_AT : shape.PROBES_AT] = bytes(8 * shape.MAX_DEVICES)
    return serial


def _fill_rebuild(table: Map) -> None:
    """A queue into the kernel on every CPU online: other kernels' frames arrive on the CPU they were sent from."""
    for cpu in sorted(online_cpus()):
        key = cpu.to_bytes(4, "little")
        if cpu < _REBUILD_CPUS and not any(table.lookup(key) or b""):
            table.update(key, _REBUILD_QUEUE.to_bytes(4, "little"))


def wait_for_readers() -> None:
    """Return when no packet is being forwarded by the generation that the last switch left.

    membarrier(2) waits for an RCU grace period, but not where CPUs run without a tick: there a pause
    a thousand times as long as a packet takes must do.
    """
    number = _SYSCALL_MEMBARRIER.get(platform.machine())
    if number is None or ctypes.CDLL(None).syscall(number, 1, 0, 0) != 0:
        time.sleep(_READERS_GONE_S)
