"""Labs: which there are, and the state of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rbops.lab.cables.impair import Measured
from rbops.lab.model import LabStatus
from rbops.lab.registry import KnownLab
from rbops.report.tables import Block, Cell, Styled, Table

__all__ = ["impairment_blocks", "lab_blocks", "list_blocks"]


def lab_blocks(found: LabStatus) -> Iterator[Block]:
    """The lab's name, provider, state and inventory, then a table for each kind of part."""
    yield f"lab {found.name} ({found.provider}): {found.state}\ninventory: {found.inventory}"
    servers = tuple(
        (
            server.name,
            server.address,
            server.release,
            _good(server.running, "running", "off"),
            _good(server.ssh, "answers", "no answer"),
            str(server.pid or "-"),
        )
        for server in found.servers
    )
    yield Table("Servers", ("server", "address", "release", "state", "ssh", "pid"), servers)
    cables = tuple(
        (cable.a, cable.b, _good(cable.state == "up", "up", "a port is down" if cable.state == "down" else cable.state))
        for cable in found.cables
    )
    yield Table("Cables", ("from", "to", "state"), cables)
    testers = tuple(
        (tester.name, tester.device, tester.netns, _good(tester.present, "present", "missing"))
        for tester in found.testers
    )
    yield Table("Testers", ("tester", "port", "namespace", "state"), testers)


def impairment_blocks(measured: Sequence[Measured]) -> Iterator[Block]:
    """What bad cables did: a row for each port and direction."""
    rows = tuple(
        (
            one.end,
            one.direction,
            f"{one.frames:,}",
            *(
                f"{count:,} ({count / max(1, one.frames):.3%})"
                for count in (one.lost, one.corrupted, one.duplicated, one.reordered)
            ),
            "-" if one.delay_s is None else f"{one.delay_s[0] * 1e3:.3f} ms, up to {one.delay_s[1] * 1e3:.3f} ms",
            Styled(f"{one.overrun:,}", "bad") if one.overrun else "0",
        )
        for one in measured
    )
    columns = ("port", "direction", "frames", "lost", "corrupted", "doubled", "held back", "waited", "no room")
    yield Table("Impaired", columns, rows)


def list_blocks(labs: Sequence[KnownLab]) -> Iterator[Block]:
    """A row a lab."""
    if not labs:
        yield "There are no labs on this machine."
        return
    rows = tuple(
        (
            lab.name,
            lab.provider or "-",
            lab.state,
            "-" if lab.servers is None else str(lab.servers),
            lab.inventory,
        )
        for lab in labs
    )
    yield Table("Labs", ("lab", "provider", "state", "servers", "inventory"), rows)


def _good(good: bool, yes: str, no: str) -> Cell:  # noqa: FBT001 - a condition and its two words
    return Styled(yes, "good") if good else Styled(no, "bad")
