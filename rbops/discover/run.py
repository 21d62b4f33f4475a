"""Discovery from one end to the other: facts, hardware, cabling, and what of it is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbops.deploy.inventory import Inventory
from rbops.deploy.stop import stoppable
from rbops.discover.cabling import Cabling, Seat, compare, seats_of
from rbops.discover.draft import Draft, open_draft, read_draft
from rbops.discover.listen import End, Heard, listen
from rbops.discover.mend import Mended, mend
from rbops.discover.servers import Servers, facts_of, reached
from rbops.errors import Mismatch
from rbops.hardware.facts import data_nics, describe
from rbops.node.facts import Facts, to_json
from rbops.plan import ClusterPlan
from rbops.planner import load_plan

__all__ = ["Discovered", "Move", "Options", "Progress", "discover"]

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """``spec`` is what cabling is checked against, ``output`` the spec that facts are written to.

    ``cabling`` None: as there is a spec. ``all_ports`` tests every NIC but the management one, not only
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
    """``heard`` is what came in where, ``cabling`` that against the plan; ``notes`` are by server.

    ``refused`` says why no devices could be given to the ports for the cables that were found.
    """

    facts: Mapping[str, Facts]
    notes: Mapping[str, tuple[str, ...]]
    heard: Mapping[End, Heard] | None = None
    cabling: Cabling | None = None
    moves: tuple[Move, ...] = ()
    written: tuple[Path, ...] = ()
    refused: Mismatch | None = None

    def to_dict(self) -> dict[str, Any]:
        """The form for JSON."""
        return {
            "schema_version": 1,
            "servers": {name: {**to_json(one), "notes": self.notes[name]} for name, one in self.facts.items()},
            "heard": None if self.heard is None else [_heard(end, told) for end, told in sorted(self.heard.items())],
            "cabling": None if self.cabling is None else self.cabling.to_dict(),
            "moves": [dataclasses.asdict(move) for move in self.moves],
            "written": [str(path) for path in self.written],
            "refused": str(self.refused) if self.refused else None,
        }


def _heard(end: End, told: Heard) -> dict[str, Any]:
    return {
        **dataclasses.asdict(end),
        "carrier": told.carrier,
        "hears": [f"{origin.server}:{origin.device}" for origin in told.origins],
        "strangers": told.strangers,
        "error": told.error,
    }


def discover(inventory: Inventory, options: Options, progress: Progress) -> Discovered:
    """Ask the servers of ``inventory`` what they are, and if wanted how they are cabled.

    Raises SpecError, UsageError (2), Mismatch (3), Unreachable (4); a cabling that is not as planned is no
    error here, nor is one that cannot be mended: both are in the result.
    """
    plan = load_plan(options.spec) if options.spec else None
    servers = inventory.matching(plan).servers if plan else inventory.servers
    progress(f"asking {len(servers)} servers")
    with reached(servers, plan.name if plan else "") as there:
        found = _described(facts_of(there))
        draft = _draft(options, found.facts)
        if draft is not None:
            plan = draft.plan()
        if not (options.cabling if options.cabling is not None else options.spec is not None):
            return _written(found, draft)
        return _cabled(there, found, plan, draft, options, progress)


def _described(facts: Mapping[str, Facts]) -> Discovered:
    """The facts with what is worth saying; a server that cannot be planned with is no error until it shall be."""
    notes = {}
    for name, one in facts.items():
        try:
            notes[name] = describe(name, one).notes
        except Mismatch as error:
            notes[name] = (str(error),)
    return Discovered(facts, notes)


def _draft(options: Options, facts: Mapping[str, Facts]) -> Draft | None:
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
    options: Options,
    progress: Progress,
) -> Discovered:
    """The rest with the cabling check, whose result decides what is written."""
    seats = seats_of(plan, found.facts) if plan else ()
    fresh = draft is not None and draft.fresh
    devices = _devices(seats, found.facts, everything=options.all_ports or fresh or plan is None)
    progress(f"sending frames out of {sum(map(len, devices.values()))} ports")
    with stoppable() as stop:
        heard = listen(servers, devices, stop)
    found = dataclasses.replace(found, heard=heard)
    if plan is None:
        return found
    found = dataclasses.replace(found, cabling=compare(seats, heard))
    if draft is None:
        return found
    if fresh or options.fix:
        try:
            return _mended(found, seats, draft)
        except Mismatch as error:
            # The facts hold whatever the cables are, and the table says what is wrong with those.
            found = dataclasses.replace(found, refused=error)
    return _written(found, draft)


def _mended(found: Discovered, seats: Sequence[Seat], draft: Draft) -> Discovered:
    mended: Mended = mend(seats, found.heard or {}, found.facts)
    draft = draft.changed(mended.changes)
    plan = draft.plan()
    moves = tuple(Move(seat.name, seat.end.device if seat.end else None, end.device) for seat, end in mended.moves)
    notes = {
        name: (*lines, *(note for note in mended.notes if note.startswith(f"{name}:")))
        for name, lines in found.notes.items()
    }
    cabling = compare(seats_of(plan, found.facts), found.heard or {})
    return _written(dataclasses.replace(found, notes=notes, cabling=cabling, moves=moves), draft)


def _devices(seats: Sequence[Seat], facts: Mapping[str, Facts], *, everything: bool) -> dict[str, tuple[str, ...]]:
    """The devices to test by server. Mismatch (3) for planned ports without one."""
    if everything:
        return {name: tuple(nic.device for nic in data_nics(one)) for name, one in facts.items()}
    lost = [seat for seat in seats if seat.end is None]
    if lost:
        names = ", ".join(seat.name for seat in lost[:8]) + (", ..." if len(lost) > 8 else "")  # noqa: PLR2004
        raise Mismatch(
            f"no device, or more than one, is meant by {names}",
            hint="name the devices under `hosts:` in the spec, or let `--all-ports --fix` find them by their cables",
        )
    taken: dict[End, str] = {}
    for seat in seats:
        if seat.end is not None and taken.setdefault(seat.end, seat.name) != seat.name:
            raise Mismatch(f"{taken[seat.end]} and {seat.name} are both device {seat.end.device}")
    return {name: tuple(seat.end.device for seat in seats if seat.end and seat.server == name) for name in facts}
