"""Loads the router on a server, keeps it equal to node.json, reads its counters. Standard library only.

Everything lives in one network namespace and below one folder of a bpf file system. Nothing that
forwards is ever taken away while it changes: configuration and forwarding table go into the idle
generation, which one write then makes the active one on all ports; programs are replaced in place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from rbops.dataplane.base import Difference
from rbops.dataplane.xdp import carry
from rbops.dataplane.xdp import layout as shape
from rbops.dataplane.xdp.attachments import attach, attachment, detach_others, left_attached, tag_of
from rbops.dataplane.xdp.config import XdpConfig
from rbops.dataplane.xdp.follow import XdpTable, filling, numbers_of, ports_of
from rbops.dataplane.xdp.followed import FOLLOWED, Followed, locked
from rbops.dataplane.xdp.layout import Device, Fib, Layout
from rbops.dataplane.xdp.libbpf import (
    BpfError,
    possible_cpus,
    xdp_attached,
    xdp_detach,
)
from rbops.dataplane.xdp.memory import load, sign, wait_for_readers, write_generation
from rbops.dataplane.xdp.netdev import check_queues, find_device
from rbops.dataplane.xdp.pins import Loaded, Pins, ensure_bpffs
from rbops.dataplane.xdp.probing import LinkStates, XdpProbing, read_probes
from rbops.dataplane.xdp.sampling import XdpSampling, read_rate
from rbops.dataplane.xdp.table import DIRECT_BYTES
from rbops.errors import Mismatch, Where
from rbops.node.ribdump import read_ribs

__all__ = ["DataPlane"]

FLOWLET_ENTRIES = 1 << 14
"""Flowlet table entries per core: 128 KiB, so that it and the forwarding table stay in a core's L2 cache."""

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
            loaded = load(object_path, before if fits or grows else None, wanted, clock=self._clock, grows=grows)
            done.append(f"loaded {object_path}")
        if loaded is None:
            raise BpfError("nothing is loaded", code="xdp.not-loaded")
        is_new = loaded is not before and not fits and not grows
        digests = (fib.sha256, shape.config_digest(self._config.fabric, self._config.guard, devices))
        if grows or loaded.head()[2:] != digests:
            with locked(self._pins.root) if self._pins.root.is_dir() else nullcontext():
                serial = write_generation(loaded, self._config, devices, fib, self._filler(loaded), before, grows=grows)
            table = f"table {fib.sha256.hex()[:12]}" if routes == 0 else "the kernel's table"
            done.append(f"activated generation {serial}: {table}")
        if is_new:
            self._prepare(loaded, before)
        kinds = [port.kind for port in fabric.ports]
        done += attach(loaded, before, list(zip(devices, kinds, strict=True)))
        done += detach_others(before, devices)
        if grows:
            sign(loaded, object_path)
        if loaded is not before:
            self._keep(loaded, before if is_new else None)
        return done

    def _prepare(self, loaded: Loaded, before: Loaded | None) -> None:
        """New memory, just before its programs are attached."""
        if before is not None:
            carry.seed(before, loaded, self._config.fabric)
        states = LinkStates(loaded.memory("control"), self._config.fabric.servers)
        for server in self._left_out:
            states.set(server, shape.DRAINED, on=True)

    def _keep(self, loaded: Loaded, old: Loaded | None) -> None:
        """Make a load the one that counts; ``old``: the memory that no program uses any more."""
        if loaded.about is None:
            if old is not None:
                wait_for_readers()
            loaded = replace(loaded, about=carry.about(self._config.fabric, old))
        self._pins.store(loaded)

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

    def sampling(self) -> XdpSampling:
        """Frames that the programs sample; raises Mismatch when the router is not loaded."""
        return XdpSampling(self._config.fabric, self._loaded())

    def instance(self) -> object:
        """Another value after each load, which may believe all links alive; None while nothing is loaded."""
        return self._pins.instance()

    def counters(self) -> dict[str, Any]:
        """What was counted since the first load, all cores; raises Mismatch when the router is not loaded."""
        loaded = self._loaded()
        found = carry.counters_of(loaded, self._config.fabric)
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
                "out_of_reach": links.out_of_reach(),
                "cables": read_probes(self._config.fabric, control),
                "sampling": read_rate(control),
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
        return XdpTable(self._pins, numbers_of(self._config), ports, self._rewrite, wait_for_readers)

    def _rewrite(self, loaded: Loaded, fill: Callable[[int], None]) -> None:
        """Write the idle generation by ``fill`` and make it the active one."""
        write_generation(loaded, self._config, self._devices(), self._fib(), fill)

    def _filler(self, loaded: Loaded) -> Callable[[int], None] | None:
        """Fills a generation from the kernel's table, where it is to follow that."""
        if self._config.follow is None:
            return None
        ports = ports_of(self._config, self._names)
        table = Followed(loaded, numbers_of(self._config), wait_for_readers)

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
