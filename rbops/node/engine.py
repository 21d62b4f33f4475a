"""Compares the whole server with its node.json and makes it equal, stage by stage."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rbops.dataplane.base import Drainable, Plane
from rbops.errors import CheckFailed, Mismatch, Where
from rbops.nic.settings import QUEUE_STAGES, STAGES
from rbops.node import (
    binding,
    boot,
    channels,
    cpus,
    dataplane,
    devices,
    hugepages,
    ingress,
    irq,
    kernel_stages,
    links,
    napi,
    nic,
    numa,
    routes,
    rss,
    steering,
    sysctl,
    table,
    tunnels,
    vrf,
    xps,
)
from rbops.node.dataplane import Opener
from rbops.node.devices import Device
from rbops.node.drain import drained_of
from rbops.node.execute import NotSupported, execute
from rbops.node.files import planned_files
from rbops.node.network import Network
from rbops.node.prior import Prior
from rbops.node.schema import NodeConfig, NodePort, parse
from rbops.node.settings import Ip, Note, Setting, differing
from rbops.node.state import State, read_json, write_whole
from rbops.node.system import System

__all__ = ["Applied", "Engine", "prepare"]

_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply did: the changes made, and notes for the operator."""

    changes: tuple[dict[str, str], ...]
    notes: tuple[Note, ...]

    def to_json(self) -> dict[str, Any]:
        """The form that ``apply --json`` prints."""
        return {
            "schema_version": 1,
            "changes": list(self.changes),
            "unsupported": [note.to_json() for note in self.notes],
        }


@dataclass(frozen=True, slots=True)
class _Settled:
    """A stage after it was carried out; ``reasons``: key -> why a setting is not supported as planned."""

    name: str
    settings: tuple[Setting, ...]
    changes: tuple[dict[str, str], ...]
    reasons: dict[str, str]

    @property
    def refused(self) -> dict[str, dict[str, str]]:
        """Key -> what was planned and why it is not supported, of what was tried."""
        return {s.key: {"want": s.want, "reason": self.reasons[s.key]} for s in self.settings if s.key in self.reasons}

    @property
    def notes(self) -> tuple[Note, ...]:
        """What the operator should know."""
        known = [Note(s.subject, s.name, s.unsupported) for s in self.settings if s.unsupported and s.have != s.want]
        tried = [Note(s.subject, s.name, self.reasons[s.key]) for s in self.settings if s.key in self.reasons]
        return (*known, *tried)


@dataclass(frozen=True, slots=True)
class Engine:
    """One server's configuration against its kernel. Made by :func:`prepare`."""

    system: System
    config: NodeConfig
    state: State
    found: Mapping[str, Device]
    open_plane: Opener
    files: tuple[Setting, ...]
    table: tuple[table.Row, ...] | None

    @property
    def names(self) -> dict[str, str]:
        """Planned port -> device."""
        return {port: device.name for port, device in self.found.items()}

    @property
    def network(self) -> Network:
        """Addresses, routes and rules."""
        return Network(self.system, self.config, self.state, self.found, self.table)

    def plane(self) -> Plane:
        """The data plane, opened."""
        return self.open_plane(self.config, self.names)

    def stages(self) -> list[tuple[str, Callable[[], list[Setting]]]]:
        """Every stage in the order that works: what resets others comes first, the data plane last."""
        return [
            ("huge pages", lambda: hugepages.settings(self.config, self.system)),
            ("drivers", lambda: binding.settings(self.config, self.system)),
            ("other managers", self.network.managers),
            *self.network.before_ports(),
            *self._device_stages(STAGES),
            *self.network.after_ports(),
            *kernel_stages.stages(self.config, self.system, self.state),
        ]

    def _device_stages(self, names: Sequence[str]) -> list[tuple[str, Callable[[], list[Setting]]]]:
        return [(name, partial(self._device_stage, name)) for name in names]

    def _device_stage(self, name: str) -> list[Setting]:
        """The table's settings of a stage, then what is computed from the plan."""
        said = self._each(lambda port, device: nic.settings(name, port, device, self.system, self.config.server))
        computed = self._computed().get(name)
        return said + (computed() if computed else [])

    def _computed(self) -> dict[str, Callable[[], list[Setting]]]:
        """Stage -> what has no row in the table of NIC settings."""
        return {
            "channels": lambda: self._each(self._channels),
            "sysctl": self._sysctl,
            "ingress": lambda: self._each(self._ingress),
            "links": self._links,
            "rss": lambda: self._each(self._rss),
            "steering": lambda: self._each(self._steering),
            "xps": lambda: self._each(lambda p, d: xps.settings(p, d, xps.read(self.system, d))),
            "irqbalance": lambda: kernel_stages.balance(self.config, self.names.values(), self.system),
            "irq": lambda: self._each(lambda p, d: irq.settings(p, irq.read(self.system, d))),
            "napi": lambda: self._each(self._napi),
        }

    def settings(self) -> list[Setting]:
        """Every setting as it is and as planned, those that rbops set earlier and no longer plans included."""
        refused = read_json(self.state.refused) or {}
        every = [*self.files, *(setting for _, stage in self.stages() for setting in stage())]
        every = [_as_refused(setting, refused.get(setting.key)) for setting in every]
        return [*self._other_plane(), *every, *dataplane.settings(self.plane()), *self._leftovers(every)]

    def _leftovers(self, every: list[Setting]) -> list[Setting]:
        """What is no longer planned. Of neighbours and routes nothing is known before their planned file is here."""
        found = Prior(self.state.undo).leftovers(every)
        if self.table is not None:
            return found
        return [
            s
            for s in found
            if s.subject not in (routes.SUBJECT, routes.SUBJECT6) and not s.name.startswith("neighbor ")
        ]

    def apply(self) -> Applied:
        """Make the kernel equal to the plan and read it back.

        Raises Mismatch (3), with nothing changed, when a device cannot be as planned, CheckFailed (1) for what
        fails or has no effect; nothing is taken back here: that is the transaction's work.
        """
        self.feasible()
        other = self._other_plane()
        self._leave_other_plane()
        record = {"digest": self.config.digest, "config": self.config.to_text()}
        write_whole(self.state.applied, json.dumps(record).encode())
        prior = Prior(self.state.undo)
        done = [self._settle(name, stage, prior) for name, stage in self.stages()]
        self.network.remember()
        boot.remember(self.config.kernel.boot, self.state, self.system)
        left = prior.leftovers([setting for part in done for setting in part.settings])
        if left:
            prior.drop(self.system, left)
        self._remember_refused(done)
        plane = self._apply_plane()
        if plane:
            # Attaching a program makes most drivers reset their queues: what is set for queues once more.
            done += [self._settle(name, stage, prior) for name, stage in self._device_stages(QUEUE_STAGES)]
            self._remember_refused(done)
        applied = self._applied(done, [*(setting.to_json() for setting in left), *plane])
        return replace(applied, changes=(*(setting.to_json() for setting in other), *applied.changes))

    def _applied(self, done: list[_Settled], more: list[dict[str, str]]) -> Applied:
        """Each change and each note once, also where two passes made it."""
        changes: dict[tuple[str, str], dict[str, str]] = {}
        for part in done:
            for change in part.changes:
                changes.setdefault((change["subject"], change["setting"]), change)
        # The second pass knows better than the first what is not supported.
        last = {part.name: part for part in done}
        notes = [note for part in last.values() for note in part.notes]
        near = numa.notes(self.config, self.found, self.system)
        return Applied((*changes.values(), *more), (*notes, *near))

    def feasible(self) -> None:
        """Look at every stage that may find a device unfit; Mismatch (3)."""
        binding.settings(self.config, self.system)
        for stage in ("channels", "rings", "offloads", "rss", "steering"):
            self._device_stage(stage)

    def _settle(self, name: str, stage: Callable[[], list[Setting]], prior: Prior) -> _Settled:
        """Carry out a stage and read it back; a second time for what one change reset of another."""
        changes: dict[str, dict[str, str]] = {}
        settings = stage()
        refused = self._rounded_before(settings)
        before = {setting.key: setting.have for setting in settings}
        for _ in range(_ROUNDS):
            todo = [setting for setting in differing(settings) if setting.key not in refused]
            if not todo:
                break
            if name == "channels":
                self._detach_for(todo)
            fresh = prior.remember(todo)
            try:
                refused.update(_carry_out(self.system, todo))
            except CheckFailed as error:
                raise channels.explained(error, self.system) from error
            prior.forget(fresh & refused.keys())
            for setting in todo:
                if setting.key not in refused:
                    changes.setdefault(setting.key, setting.to_json())
            settings = stage()
        left = [setting for setting in differing(settings) if setting.key not in refused]
        rounded = {s.key: _rounding(s)["reason"] for s in left if s.tuning and s.have != before.get(s.key)}
        wrong = [setting for setting in left if setting.key not in rounded]
        if wrong:
            text = "; ".join(f"{s.subject}: {s.name} is {s.have}, expected {s.want}" for s in wrong[:5])
            raise CheckFailed(
                f"settings did not take effect: {text}", code="node.no-effect", where=Where(server=self.config.server)
            )
        return _Settled(name, tuple(settings), tuple(changes.values()), refused | rounded)

    def _rounded_before(self, settings: list[Setting]) -> dict[str, str]:
        """What a driver rounded at an earlier apply, and still has: not tried again each time."""
        known = read_json(self.state.refused) or {}
        return {s.key: known[s.key]["reason"] for s in settings if known.get(s.key) == _rounding(s)}

    def _detach_for(self, todo: list[Setting]) -> None:
        """Detach the data plane: veth refuses new channels under a program, others reset it."""
        ports = {setting.subject.removeprefix("port ") for setting in todo}
        if any(self.found[port].xdp for port in ports if port in self.found):
            self.plane().detach()

    def _apply_plane(self) -> list[dict[str, str]]:
        plane = self.plane()
        todo = dataplane.settings(plane)
        if not todo:
            return []
        if isinstance(plane, Drainable):
            plane.leave_out(frozenset(drained_of(self.state, self.config)))
        plane.apply()
        left = dataplane.settings(plane)
        if left:
            text = "; ".join(f"{s.subject}: {s.name} is {s.have}, expected {s.want}" for s in left[:5])
            raise CheckFailed(
                f"the data plane was loaded, but {text}", code="node.dataplane", where=Where(server=self.config.server)
            )
        return [setting.to_json() for setting in todo]

    def _replaced(self) -> NodeConfig | None:
        """What was applied last, where that is a data plane of another kind."""
        record = read_json(self.state.applied)
        before = None if record is None else parse(record["config"], self.state.applied)
        same = before is None or before.dataplane.kind == self.config.dataplane.kind
        return None if same else before

    def _other_plane(self) -> list[Setting]:
        """The change of data planes, said before its consequences."""
        before = self._replaced()
        if before is None:
            return []
        have, want = (config.dataplane.kind for config in (before, self.config))
        return [Setting(dataplane.SUBJECT, "kind", have, f"{want} (nothing is forwarded between the two)")]

    def _leave_other_plane(self) -> None:
        """Take a data plane of another kind off the devices: two would forward every packet twice."""
        before = self._replaced()
        if before is not None:
            self.open_plane(before, self.names).detach()

    def _each(self, settings: Callable[[NodePort, str], list[Setting]]) -> list[Setting]:
        return [s for port in self.config.kernel_ports for s in settings(port, self.found[port.name].name)]

    def _channels(self, port: NodePort, device: str) -> list[Setting]:
        facts = channels.read(self.system, device, self.found[port.name].driver, len(port.queues))
        return channels.settings(port, device, facts, self.config.server)

    def _rss(self, port: NodePort, device: str) -> list[Setting]:
        return [] if port.rss is None else rss.settings(port, device, rss.read(self.system, device))

    def _steering(self, port: NodePort, device: str) -> list[Setting]:
        facts = steering.read(self.system, device) if steering.asked(port) else None
        return steering.settings(port, device, facts, self.config.server)

    def _napi(self, port: NodePort, device: str) -> list[Setting]:
        return napi.settings(port, napi.read(self.system, device)) if port.nic.threaded_napi else []

    def _sysctl(self) -> list[Setting]:
        facts = sysctl.read(self.system, self.config, self.names)
        return sysctl.settings(self.config, self.names, facts, contained=boot.in_container(self.system))

    def _links(self) -> list[Setting]:
        now = {device.name: device for device in devices.inventory(self.system)}
        return self._each(lambda port, device: links.settings(port, now[device]))

    def _ingress(self, port: NodePort, device: str) -> list[Setting]:
        return ingress.settings(port, device, ingress.read(self.system, device) if port.closed else ingress.Facts())

    def _remember_refused(self, done: list[_Settled]) -> None:
        """What was tried and is not supported counts as equal later; it is tried again at every apply."""
        refused = {key: reason for part in done for key, reason in part.refused.items()}
        if refused != (read_json(self.state.refused) or {}):
            write_whole(self.state.refused, json.dumps(refused).encode())


def _carry_out(system: System, todo: list[Setting]) -> dict[str, str]:
    """Run the actions; returns key -> reason for what the driver or kernel says it does not have."""
    refused: dict[str, str] = {}
    lines = [setting for setting in todo if all(isinstance(action, Ip) for action in setting.actions)]
    execute(system, [action for setting in lines for action in setting.actions])
    for setting in todo:
        if setting in lines:
            continue
        try:
            execute(system, setting.actions)
        except NotSupported as error:
            refused[setting.key] = str(error)
        except CheckFailed as error:
            if not setting.tuning:
                raise
            refused[setting.key] = f"refused: {error}"
    return refused


def _as_refused(setting: Setting, known: object) -> Setting:
    """A setting that was tried as it is planned now, and is not supported, with the reason."""
    if not isinstance(known, dict) or known["want"] != setting.want or setting.have == setting.want:
        return setting
    return replace(setting, unsupported=known["reason"])


def _rounding(setting: Setting) -> dict[str, str]:
    """How it is remembered that a driver took another value than it was given (i40e: even microseconds)."""
    return {"want": setting.want, "reason": f"the driver made it {setting.have}"}


def prepare(config: NodeConfig, system: System, state: State, open_plane: Opener, *, check: bool = False) -> Engine:
    """Look at CPUs, devices and files before anything is changed; Mismatch (3) names what is wrong.

    With ``check`` files that are not the planned ones are differences: they may not be here yet.
    """
    cpus.check(config, system)
    kernel_stages.check(config, system)
    vrf.check(config, system)
    tunnels.check(config, system)
    files = planned_files(config)
    wrong = differing(files)
    if wrong and not check:
        raise Mismatch(
            f"{wrong[0].subject} is not the planned one: truncated or of another plan",
            code="node.file",
            where=Where(server=config.server),
            hint="`rbops apply` installs it",
        )
    whole = config.routes.file not in {setting.subject.removeprefix("file ") for setting in wrong}
    rows = tuple(table.rows(table.load(config))) if whole else None
    binding.hand_back(config, system, Prior(state.undo), check=check)
    return Engine(system, config, state, devices.resolve(config, system), open_plane, tuple(files), rows)
