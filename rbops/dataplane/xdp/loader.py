"""Loads the router on a server, keeps it equal to node.json, reads its counters. Standard library only.

Everything lives in one network namespace and below one folder of a bpf file system. Nothing that
forwards is ever taken away while it changes: configuration and forwarding table go into the idle
generation, which one write then makes the active one on all ports; programs are replaced in place.
"""

from __future__ import annotations

import ctypes
import hashlib
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rbops.common.cpulist import online_cpus
from rbops.common.versions import MIN_KERNEL
from rbops.dataplane.base import Difference
from rbops.dataplane.xdp import layout as shape
from rbops.dataplane.xdp.attachments import attach, attachment, detach_others, left_attached, tag_of
from rbops.dataplane.xdp.config import XdpConfig
from rbops.dataplane.xdp.counters import read_counters
from rbops.dataplane.xdp.follow import XdpTable, filling, numbers_of, ports_of
from rbops.dataplane.xdp.followed import FOLLOWED, Followed, locked
from rbops.dataplane.xdp.layout import Device, Fib, Layout
from rbops.dataplane.xdp.libbpf import (
    BpfError,
    Map,
    Object,
    possible_cpus,
    xdp_attached,
    xdp_detach,
)
from rbops.dataplane.xdp.netdev import check_queues, find_device
from rbops.dataplane.xdp.pins import Loaded, Pins, ensure_bpffs
from rbops.dataplane.xdp.probing import LinkStates, XdpProbing, read_probes
from rbops.dataplane.xdp.table import DIRECT_BYTES
from rbops.errors import Mismatch, Where
from rbops.node.ribdump import read_ribs

__all__ = ["DataPlane"]

FLOWLET_ENTRIES = 1 << 14
"""Flowlet table entries per core: 128 KiB, so that it and the forwarding table stay in a core's L2 cache."""

_ARRAY, _MMAPABLE = 2, 1 << 10
_PROGRAMS = ("external", "internal")
_SYSCALL_MEMBARRIER = {"x86_64": 324, "aarch64": 283}
_READERS_GONE_S = 0.1
_MAP_OF = {"arena": ".data.arena", "cores": ".data.cores", "control": ".bss"}
_MAP_OF |= {name: name for name in ("clocks", "devices", "rebuild")}
_REBUILD_QUEUE, _REBUILD_CPUS = 512, 64
_REFUSED = {*shape.POLICED, "own_source", "reverse_path", "fabric_mac", "unknown_neighbor"}


class DataPlane:
    """The XDP data plane of this server.

    ``devices`` maps planned port names to devices of the caller's network namespace. Nothing is touched
    before a method is called. ``clock`` False leaves the time to the caller, who writes ``tick`` into the control map:
    for tests.

    All methods raise Mismatch (exit code 3) when the server cannot do what is planned: files damaged
    or missing, a device missing, no libbpf, no native XDP, too few queues; its subclass BpfError
    carries what the kernel said.
    """

    def __init__(
        self,
        config: XdpConfig,
        devices: Mapping[str, str],
        pin_root: str | Path = "/sys/fs/bpf/rbops",
        *,
        flowlet_entries: int = FLOWLET_ENTRIES,
        clock: bool = True,
    ) -> None:
        self._config = config
        self._names = devices
        self._pins = Pins(Path(pin_root))
        self._flowlets = flowlet_entries
        self._clock = clock
        self._left_out: frozenset[int] = frozenset()

    def diff(self) -> list[Difference]:
        """What ``apply`` would change, in its order; empty when all is as planned. Changes nothing."""
        loaded, devices = self._pins.load(), self._devices()
        have = {"program": "none", "forwarding table": "none", "configuration": "none"}
        if loaded:
            _, _, fib, config = loaded.head()
            have = dict(zip(have, (loaded.object_sha256.hex(), fib.hex(), config.hex()), strict=True))
        want = {
            "program": self._config.program.sha256,
            "forwarding table": self._config.fib.sha256 if self._config.follow is None else FOLLOWED.hex(),
            "configuration": shape.config_digest(self._config.fabric, self._config.guard, devices).hex(),
        }
        found = [Difference("data plane", key, have[key], want[key]) for key in have if have[key] != want[key]]
        for port, device in zip(self._config.fabric.ports, devices, strict=True):
            state = attachment(loaded, device, port.kind)
            if state != "native":
                found.append(Difference(f"port {port.name}", "XDP program", state, "native"))
        left = left_attached(loaded, devices)
        return [*found, *(Difference(f"port {name}", "XDP program", "native", "none") for name in left.values())]

    def apply(self) -> list[str]:
        """Make everything as planned and say what was done; an empty list when nothing was to do.

        A changed table or configuration takes effect on all ports at once, a changed program port by
        port; neither loses a packet. When it fails, what ran before goes on running.
        """
        done: list[str] = []
        devices = self._devices()
        if not self.diff():
            return done
        if ensure_bpffs(self._pins.root):
            done.append("mounted /sys/fs/bpf")
        object_path, fib = self._object(), self._fib()
        loaded = before = self._pins.load()
        routes = self._config.room
        fabric = self._config.fabric
        wanted = Layout.wanted(fabric, cpus=possible_cpus(), flowlets=self._flowlets, fib=fib, routes=routes)
        fits = before is not None and before.layout.holds(wanted, fib, routes)
        grows = before is not None and not fits and before.layout.is_outgrown_by(wanted)
        if before is None or not fits or before.object_sha256.hex() != self._config.program.sha256:
            loaded = _load(object_path, before if fits or grows else None, wanted, clock=self._clock, grows=grows)
            done.append(f"loaded {object_path}")
        if loaded is None:
            raise BpfError("nothing is loaded", code="xdp.not-loaded")
        if loaded is not before and not fits and not grows:
            states = LinkStates(loaded.memory("control"), fabric.servers)
            for server in self._left_out:
                states.set(server, shape.DRAINED, on=True)
        digests = (fib.sha256, shape.config_digest(self._config.fabric, self._config.guard, devices))
        if grows or loaded.head()[2:] != digests:
            with locked(self._pins.root) if self._pins.root.is_dir() else nullcontext():
                serial = _write_generation(
                    loaded, self._config, devices, fib, self._filler(loaded), before, grows=grows
                )
            table = f"table {fib.sha256.hex()[:12]}" if routes == 0 else "the kernel's table"
            done.append(f"activated generation {serial}: {table}")
        kinds = [port.kind for port in fabric.ports]
        done += attach(loaded, before, list(zip(devices, kinds, strict=True)))
        done += detach_others(before, devices)
        if grows:
            _sign(loaded, object_path)
        if loaded is not before:
            self._pins.store(loaded)
        return done

    def detach(self) -> None:
        """Take the router off its devices and forget it; packets go to the kernel then. Fine when not loaded."""
        loaded = self._pins.load()
        for port in self._config.fabric.ports:
            try:
                device = find_device(port.name, self._names.get(port.name, port.name))
            except Mismatch:
                continue  # a device that is gone has nothing attached
            if attachment(loaded, device, port.kind) in ("native", "older program"):
                xdp_detach(device.ifindex)
        detach_others(loaded, [])
        self._pins.remove()

    def set_alive(self, server: int, *, alive: bool) -> None:
        """Use, or leave out at once, the direct link towards ``server`` in all path choices; kept by ``apply``.

        Raises Mismatch when the router is not loaded.
        """
        control = self._loaded().memory("control")
        LinkStates(control, self._config.fabric.servers).set(server, shape.NO_CARRIER, on=not alive)
        if not alive:
            # Whatever the cable leads to when it is up again: its first frame tells the MAC.
            for number, port in enumerate(self._config.fabric.ports):
                if port.peer_server == server:
                    at = shape.PEERS_AT + 8 * number
                    control[at : at + 8] = bytes(8)

    def set_cable(self, name: str, *, alive: bool) -> None:
        """Use a cable of several to one server, by the name of its port, or leave it out at once; kept by ``apply``.

        Raises Mismatch when the router is not loaded.
        """
        control = self._loaded().memory("control")
        number = next(at for at, port in enumerate(self._config.fabric.ports) if port.name == name)
        control[shape.CABLES_AT + shape.CABLE.size * number + shape.NO_CARRIER] = int(not alive)
        if not alive:
            at = shape.PEERS_AT + 8 * number
            control[at : at + 8] = bytes(8)

    def set_drained(self, server: int, *, drained: bool) -> None:
        """Leave ``server`` out as an intermediate, or use it again; kept by ``apply`` while its memory is.

        Raises Mismatch when the router is not loaded.
        """
        control = self._loaded().memory("control")
        LinkStates(control, self._config.fabric.servers).set(server, shape.DRAINED, on=drained)

    def leave_out(self, servers: frozenset[int]) -> None:
        """What ``apply`` drains before the first packet where it makes new memory."""
        self._left_out = frozenset(server for server in servers if server < self._config.fabric.servers)

    def probing(self) -> XdpProbing:
        """What the programs note of probes; raises Mismatch when the router is not loaded."""
        loaded = self._loaded()
        return XdpProbing(self._config.fabric, loaded.memory("control"), loaded.layout, loaded.memory("cores"))

    def instance(self) -> object:
        """Another value after each load, which may believe all links alive; None while nothing is loaded."""
        return self._pins.instance()

    def counters(self) -> dict[str, Any]:
        """What was counted since the maps were made, all cores; raises Mismatch when the router is not loaded."""
        loaded = self._loaded()
        found = read_counters(self._config.fabric, loaded.layout, loaded.memory("cores"))
        return {**found, "probes": read_probes(self._config.fabric, loaded.memory("control"))}

    def status(self) -> dict[str, Any]:
        """Programs, digests and generation as they are in the kernel; ``loaded`` False when there is none."""
        loaded = self._pins.load()
        result: dict[str, Any] = {"loaded": loaded is not None, "kind": "xdp", "devices": {}}
        for port in self._config.fabric.ports:
            device = find_device(port.name, self._names.get(port.name, port.name))
            number, mode = xdp_attached(device.ifindex)
            tag = tag_of(number, loaded) if number else None
            entry = {"device": device.name, "program_id": number or None, "tag": tag, "mode": mode}
            result["devices"][port.name] = entry
        if loaded:
            _, serial, fib, config = loaded.head()
            control = loaded.memory("control")
            links = LinkStates(control, self._config.fabric.servers)
            dropped = self.counters()["total"].get("dropped", {})
            result |= {
                "object_sha256": loaded.object_sha256.hex(),
                "fib_sha256": fib.hex(),
                "follows": fib == FOLLOWED,
                "config_sha256": config.hex(),
                "generation": serial,
                "dead": links.all(shape.NO_CARRIER, shape.SILENT),
                "silent": links.all(shape.SILENT),
                "drained": links.all(shape.DRAINED),
                "cables": read_probes(self._config.fabric, control),
                "refused": {reason: number for reason, number in dropped.items() if number and reason in _REFUSED},
            }
        return result

    def _loaded(self) -> Loaded:
        loaded = self._pins.load()
        if loaded is None:
            raise Mismatch(
                f"no router is loaded below {self._pins.root}", hint="rbops-node apply", code="xdp.not-loaded"
            )
        return loaded

    def _devices(self) -> list[Device]:
        devices = []
        for port in self._config.fabric.ports:
            device = find_device(port.name, self._names.get(port.name, port.name))
            check_queues(device, self._config.fabric.cores)
            devices.append(device)
        return devices

    def _object(self) -> Path:
        path = Path(self._config.program.path)
        _read(path, self._config.program.sha256)
        return path

    @property
    def follows(self) -> bool:
        """Whether the table is to follow the kernel's."""
        return self._config.follow is not None

    def table(self) -> XdpTable:
        """The table, to be changed where it follows the kernel's, and to be read in any case."""
        ports = ports_of(self._config, self._names)
        return XdpTable(self._pins, numbers_of(self._config), ports, self._rewrite, _wait_for_readers)

    def _rewrite(self, loaded: Loaded, fill: Callable[[int], None]) -> None:
        """Write the idle generation by ``fill`` and make it the active one."""
        _write_generation(loaded, self._config, self._devices(), self._fib(), fill)

    def _filler(self, loaded: Loaded) -> Callable[[int], None] | None:
        """Fills a generation from the kernel's table, where it is to follow that."""
        if self._config.follow is None:
            return None
        ports = ports_of(self._config, self._names)
        table = Followed(loaded, numbers_of(self._config), _wait_for_readers)

        def fill(generation: int) -> None:
            table.fill(generation, *filling(read_ribs(ports), ports))

        return fill

    def _fib(self) -> Fib:
        if self._config.follow is not None:
            return Fib((shape.NO_ROUTE_VALUE,), 1, memoryview(bytes(DIRECT_BYTES)), FOLLOWED)
        path = Path(self._config.fib.path)
        return shape.read_fib(_read(path, self._config.fib.sha256), str(path))


def _read(path: Path, digest: str) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise Mismatch(
            str(error.strerror),
            hint="push the configuration again",
            code="xdp.file",
            where=Where(file=str(path)),
        ) from error
    found = hashlib.sha256(raw).hexdigest()
    if found != digest:
        raise Mismatch(
            f"not the planned file: SHA-256 {found}, expected {digest}",
            hint="push it again",
            code="xdp.file",
            where=Where(file=str(path)),
        )
    return raw


def _load(path: Path, reuse: Loaded | None, wanted: Layout, *, clock: bool, grows: bool = False) -> Loaded:
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
        maps = dict(reuse.maps) if reuse else _new_memory(layout)
        if grows:
            maps["arena"] = _new_memory(layout, "arena")["arena"]
        for name, entry in maps.items():
            obj.reuse(_MAP_OF[name], entry)
        obj.load()
        maps = {name: obj.map(inner) for name, inner in _MAP_OF.items()}
        loaded = Loaded(maps, {name: obj.program(name) for name in _PROGRAMS}, layout)
        if not grows:
            _sign(loaded, path)
        if clock and (result := obj.program("start_clock").call()):
            raise BpfError(
                f"the clock does not start (step {result})",
                hint=f"the kernel needs BPF timers: Linux {MIN_KERNEL}",
                code="xdp.no-timer",
            )
    return loaded


def _sign(loaded: Loaded, path: Path) -> None:
    """Write which program and which layout the maps belong to."""
    control = loaded.memory("control")
    control[shape.LAYOUT_AT : shape.PEERS_AT] = loaded.layout.pack()
    control[shape.OBJECT_AT : shape.OBJECT_AT + 32] = hashlib.sha256(path.read_bytes()).digest()


def _new_memory(layout: Layout, *names: str) -> dict[str, Map]:
    """The maps of these names; all when none is named."""
    sizes = {"arena": 2 * layout.generation, "cores": layout.cpus * layout.core}
    return {
        name: Map.create(f"rbops_{name}", _ARRAY, key_size=4, value_size=size, entries=1, flags=_MMAPABLE)
        for name, size in sizes.items()
        if not names or name in names
    }


def _write_generation(
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
    _wait_for_readers()
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


def _wait_for_readers() -> None:
    """Return when no packet is being forwarded by the generation that the last switch left.

    membarrier(2) waits for an RCU grace period, but not where CPUs run without a tick: there a pause
    a thousand times as long as a packet takes must do.
    """
    number = _SYSCALL_MEMBARRIER.get(platform.machine())
    if number is None or ctypes.CDLL(None).syscall(number, 1, 0, 0) != 0:
        time.sleep(_READERS_GONE_S)
