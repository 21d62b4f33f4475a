"""The whole discovery: facts, hardware, cabling, and writing them into the spec."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbops.deploy.inventory import Inventory
from rbops.deploy.stop import stoppable
from rbops.discover.cabling import Cabling, PortAssignment, assignments_of, compare
from rbops.discover.draft import Draft, open_draft, read_draft
from rbops.discover.listen import End, Received, listen
from rbops.discover.remap import Remapping, remap
from rbops.discover.servers import Servers, facts_of, reached
from rbops.errors import Mismatch, Where
from rbops.hardware.facts import data_nics, describe
from rbops.node.facts import Facts, to_json
from rbops.plan import ClusterPlan
from rbops.planner import load_plan

__all__ = ["DiscoverOptions", "Discovered", "Move", "Progress", "discover"]

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DiscoverOptions:
    """``spec`` is what cabling is checked against, ``output`` the spec that facts are written to.

    ``cabling`` None: if there is a spec. ``all_ports`` tests every NIC but the management one, not only
    the planned ports.
    """

    spec: Path | None = None
    output: Path | None = None
    fix: bool = False
    cabling: bool | None = None
    all_ports: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """A planned port that gets another device in the spec; ``before`` None: it had none."""

    port: str
    before: str | None
    after: str


@dataclass(frozen=True, slots=True)
class Discovered:
    """``received`` are the frames by device, ``cabling`` those compared with the plan; ``notes`` are by server.

    ``refused`` says why the ports could not be assigned to devices for the cables that were found.
    """

    facts: Mapping[str, Facts]
    notes: Mapping[str, tuple[str, ...]]
    received: Mapping[End, Received] | None = None
    cabling: Cabling | None = None
    moves: tuple[Move, ...] = ()
    written: tuple[Path, ...] = ()
    refused: Mismatch | None = None

    def to_dict(self) -> dict[str, Any]:
        """The form for JSON."""
        return {
            "schema_version": 1,
            "servers": {name: {**to_json(one), "notes": self.notes[name]} for name, one in self.facts.items()},
            "heard": None if self.received is None else [_received(*item) for item in sorted(self.received.items())],
            "cabling": None if self.cabling is None else self.cabling.to_dict(),
            "moves": [dataclasses.asdict(move) for move in self.moves],
            "written": [str(path) for path in self.written],
            "refused": str(self.refused) if self.refused else None,
        }


def _received(end: End, one: Received) -> dict[str, Any]:
    return {
        **dataclasses.asdict(end),
        "carrier": one.carrier,
        "hears": [f"{origin.server}:{origin.device}" for origin in one.origins],
        "strangers": one.strangers,
        "error": one.error,
    }


def discover(inventory: Inventory, options: DiscoverOptions, progress: Progress) -> Discovered:
    """Read the facts of the servers of ``inventory``, and if wanted check how they are cabled.

    Raises SpecError, UsageError (2), Mismatch (3), Unreachable (4); a cabling that is not as planned, or
    cannot be remapped, raises nothing: both are in the result.
    """
    plan = load_plan(options.spec) if options.spec else None
    servers = inventory.matching(plan).servers if plan else inventory.servers
    progress(f"reading the facts of {len(servers)} servers")
    with reached(servers, plan.name if plan else "") as there:
        found = _described(facts_of(there))
        draft = _draft(options, found.facts)
        if draft is not None:
            plan = draft.plan()
        if not (options.cabling if options.cabling is not None else options.spec is not None):
            return _written(found, draft)
        return _cabled(there, found, plan, draft, options, progress)


def _described(facts: Mapping[str, Facts]) -> Discovered:
    """The facts with notes; a server that cannot be planned with is a note, an error only when it is planned."""
    notes = {}
    for name, one in facts.items():
        try:
            notes[name] = describe(name, one).notes
        except Mismatch as error:
            notes[name] = (error.message,)
    return Discovered(facts, notes)


def _draft(options: DiscoverOptions, facts: Mapping[str, Facts]) -> Draft | None:
    if options.output is not None:
        hardware = {name: describe(name, one).hardware for name, one in facts.items()}
        return open_draft(options.output, options.spec, hardware)
    if options.fix and options.spec is not None:
        return read_draft(options.spec)
    return None


def _written(found: Discovered, draft: Draft | None) -> Discovered:
    return found if draft is None else dataclasses.replace(found, written=tuple(draft.save()))


def _cabled(
    servers: Servers,
    found: Discovered,
    plan: ClusterPlan | None,
    draft: Draft | None,
    options: DiscoverOptions,
    progress: Progress,
) -> Discovered:
    """The rest with the cabling check, whose result decides what is written."""
    assignments = assignments_of(plan, found.facts) if plan else ()
    fresh = draft is not None and draft.fresh
    devices = _devices(assignments, found.facts, everything=options.all_ports or fresh or plan is None)
    progress(f"sending frames out of {sum(map(len, devices.values()))} ports")
    with stoppable() as stop:
        received = listen(servers, devices, stop)
    found = dataclasses.replace(found, received=received)
    if plan is None:
        return found
    found = dataclasses.replace(found, cabling=compare(assignments, received))
    if draft is None:
        return found
    if fresh or options.fix:
        try:
            return _remapped(found, assignments, draft)
        except Mismatch as error:
            # The facts are valid whatever the cabling is, and the table shows what is wrong with it.
            found = dataclasses.replace(found, refused=error)
    return _written(found, draft)


def _remapped(found: Discovered, assignments: Sequence[PortAssignment], draft: Draft) -> Discovered:
    remapped: Remapping = remap(assignments, found.received or {}, found.facts)
    draft = draft.changed(remapped.changes)
    plan = draft.plan()
    moves = tuple(
        Move(assignment.name, assignment.end.device if assignment.end else None, end.device)
        for assignment, end in remapped.moves
    )
    notes = {
        name: (*lines, *(note for note in remapped.notes if note.startswith(f"{name}:")))
        for name, lines in found.notes.items()
    }
    cabling = compare(assignments_of(plan, found.facts), found.received or {})
    return _written(dataclasses.replace(found, notes=notes, cabling=cabling, moves=moves), draft)


def _devices(
    assignments: Sequence[PortAssignment], facts: Mapping[str, Facts], *, everything: bool
) -> dict[str, tuple[str, ...]]:
    """The devices to test by server. Mismatch (3) for planned ports without one."""
    if everything:
        return {name: tuple(nic.device for nic in data_nics(one)) for name, one in facts.items()}
    lost = [assignment for assignment in assignments if assignment.end is None]
    if lost:
        names = ", ".join(assignment.name for assignment in lost[:8]) + (", ..." if len(lost) > 8 else "")  # noqa: PLR2004
        raise Mismatch(
            f"the selectors of {names} match no device, or more than one",
            code="discover.no-device",
            hint="name the devices under `hosts:` in the spec, or let `--all-ports --fix` find them by their cables",
        )
    taken: dict[End, str] = {}
    for assignment in assignments:
        if assignment.end is not None and taken.setdefault(assignment.end, assignment.name) != assignment.name:
            raise Mismatch(
                f"{taken[assignment.end]} and {assignment.name} are the same device",
                code="discover.same-device",
                where=Where(server=assignment.server, device=assignment.end.device),
            )
    return {
        name: tuple(assignment.end.device for assignment in assignments if assignment.end and assignment.server == name)
        for name in facts
    }
