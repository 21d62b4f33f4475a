"""The verbs of a running lab's parts: ``lab kill``, ``restart``, ``cut``, ``plug``, ``capture`` and ``impair``."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Annotated, Literal

import typer

from rbops.cli.lab import Lab, Made, Name, group_of, lab_name, provider_of, timed_progress
from rbops.cli.options import Output
from rbops.cli.output import Format, emit_json, say, show

if TYPE_CHECKING:
    from rbops.lab.cables.ends import End
    from rbops.lab.manifest import Manifest

__all__ = ["register"]

Server = Annotated[str, typer.Argument(metavar="SERVER", help="Server of the lab (n0).", show_default=False)]
Ports = Annotated[
    list[str],
    typer.Argument(metavar="NODE:PORT...", help="Ports as `lab status` names them (n0:int1).", show_default=False),
]


_LOOK_S = 0.02


class Direction(StrEnum):
    """Of frames, seen from the port that is named."""

    IN = "in"
    OUT = "out"
    BOTH = "both"

    @property
    def sides(self) -> tuple[Literal["in", "out"], ...]:
        """The directions that it stands for."""
        return ("in", "out") if self is Direction.BOTH else ("in",) if self is Direction.IN else ("out",)


def register(root: typer.Typer) -> None:
    """Add the verbs to ``rbops lab``."""
    group = group_of(root)
    for verb in (kill, restart, cut, plug, capture, impair):
        group.command(verb.__name__)(verb)


def kill(lab: Lab, server: Server, name: Name = None, kind: Made = None) -> None:
    """Cut a server's power: no shutdown, its ports lose their carrier, its disk stays. Safe to repeat."""
    lab = lab_name(lab, name)
    provider_of(lab, kind).kill(lab, server)
    say(f"{server} is off")


def restart(lab: Lab, server: Server, name: Name = None, kind: Made = None) -> None:
    """Cut a server's power if it is on, boot it, and wait until it answers."""
    lab = lab_name(lab, name)
    with timed_progress() as progress:
        progress(f"restart {server}")
        provider_of(lab, kind).restart(lab, server)


def cut(lab: Lab, ports: Ports, name: Name = None) -> None:
    """Pull cables out: each port named loses its carrier.

    The device at the other end is set down for as long, since a veth pair has no plug. Safe to repeat.
    """
    from rbops.lab.cables.plugging import cut as pull

    for near, far in _both(lab, name, ports, pull):
        say(f"{near} is without carrier, {far} is down")


def plug(lab: Lab, ports: Ports, name: Name = None) -> None:
    """Plug cables in again: both ends of each are set up. Safe to repeat."""
    from rbops.lab.cables.plugging import plug as put

    for near, far in _both(lab, name, ports, put):
        say(f"{near} and {far} are up")


def capture(
    lab: Lab,
    ports: Annotated[
        list[str],
        typer.Argument(metavar="NODE[:PORT]...", help="Ports (n0:int1), or nodes for all their ports (n0, t0)."),
    ],
    file: Annotated[str, typer.Option("-w", "--write", metavar="FILE", help="pcapng file to write; - for stdout.")],
    count: Annotated[
        int | None, typer.Option("-c", "--count", metavar="N", help="Stop after this many frames.")
    ] = None,
    duration: Annotated[
        float | None, typer.Option("--duration", metavar="SECONDS", help="Stop after this time.")
    ] = None,
    snaplen: Annotated[
        int, typer.Option("-s", "--snapshot-length", metavar="BYTES", help="Bytes of each frame, 14 to 16384.")
    ] = 16384,
    name: Name = None,
) -> None:
    """Capture every frame at ports of a running lab, also those that XDP redirects and tcpdump does not see.

    Each frame has its interface (n0:int1) and direction. Runs until Ctrl-C. Exits with 1 if frames came faster than
    they could be written.
    """
    from contextlib import suppress

    from rbops import __version__
    from rbops.capture.pcapng import PcapngWriter
    from rbops.errors import CheckFailed, UsageError
    from rbops.lab.cables.capture import LARGEST, Capture
    from rbops.lab.cables.ends import find_ends
    from rbops.lab.interrupts import uninterrupted

    if not 14 <= snaplen <= LARGEST or (count or 1) < 1 or (duration or 0.0) < 0:  # noqa: PLR2004 - Ethernet's header
        raise UsageError(
            "a capture keeps 14 to 16,384 bytes of a frame, and ends after one frame or more",
            code="lab.capture-limits",
        )
    manifest = _running(lab, name)
    ends = find_ends(manifest, ports)
    end = None if duration is None else time.monotonic() + duration
    with _opened(file) as output:
        writer = PcapngWriter(output, f"rbops {__version__}", snaplen=snaplen)
        running = Capture(manifest, ends, writer, snaplen=snaplen)
        with suppress(KeyboardInterrupt), running:
            output.flush()
            say(f"capturing at {', '.join(one.name for one in ends)}; Ctrl-C ends it")
            while (count is None or running.frames < count) and (end is None or time.monotonic() < end):
                time.sleep(_LOOK_S)
                with uninterrupted():
                    running.follow()
                    running.take(count)
                    output.flush()
        running.take(count)
        found = running.finish()
    for side in found:
        say(f"{side.end} {side.direction}: {side.frames:,} frames" + (f", {side.missed:,} missed" * bool(side.missed)))
    missed = sum(side.missed for side in found)
    if missed:
        raise CheckFailed(
            f"{missed:,} frames came faster than they could be written",
            code="lab.capture-missed",
            hint="capture fewer ports, or fewer bytes of each frame: -s 96",
        )


def impair(  # noqa: PLR0917 - a verb has as many options as it has
    lab: Lab,
    ports: Annotated[
        list[str],
        typer.Argument(metavar="NODE[:PORT]...", help="Ports (n0:int1), or nodes for all their ports (n0, t0)."),
    ],
    loss: Annotated[str, typer.Option(metavar="PERCENT", help="Frames lost.")] = "0%",
    delay: Annotated[str, typer.Option(metavar="TIME", help="Delay of every frame (2ms).")] = "0",
    jitter: Annotated[str, typer.Option(metavar="TIME", help="Up to this much more, in order.")] = "0",
    reorder: Annotated[str, typer.Option(metavar="PERCENT", help="Frames held back, so that others overtake.")] = "0%",
    hold: Annotated[str, typer.Option(metavar="TIME", help="How long --reorder holds frames back.")] = "1ms",
    duplicate: Annotated[str, typer.Option(metavar="PERCENT", help="Frames that come twice.")] = "0%",
    corrupt: Annotated[str, typer.Option(metavar="PERCENT", help="Frames with one bit changed.")] = "0%",
    direction: Annotated[Direction, typer.Option(help="What arrives at the port, what it sends, or both.")] = (
        Direction.BOTH
    ),
    duration: Annotated[
        float | None, typer.Option("--duration", metavar="SECONDS", help="End after this time.")
    ] = None,
    name: Name = None,
    output: Output = Format.TEXT,
) -> None:
    """Make cables of a running lab bad: lose, delay, reorder, double or corrupt frames, those of XDP too.

    Percentages are exact, the frames are chosen at random. Runs until Ctrl-C, then says what was done to how many
    frames; the cables are as new.
    """
    from contextlib import suppress
    from dataclasses import asdict

    from rbops.lab.cables.ends import find_ends
    from rbops.lab.cables.impair import Impairment, Impairments
    from rbops.lab.interrupts import uninterrupted
    from rbops.report.lab import impairment_blocks

    what = Impairment(
        loss=_part(loss, "--loss"),
        corrupt=_part(corrupt, "--corrupt"),
        duplicate=_part(duplicate, "--duplicate"),
        reorder=_part(reorder, "--reorder"),
        delay_s=_seconds(delay, "--delay"),
        jitter_s=_seconds(jitter, "--jitter"),
        hold_s=_seconds(hold, "--hold"),
    )
    manifest = _running(lab, name)
    ends = find_ends(manifest, ports)
    end = None if duration is None else time.monotonic() + duration
    running = Impairments(manifest, ends, what, direction.sides)
    with suppress(KeyboardInterrupt), running:
        say(f"impairing {', '.join(one.name for one in ends)}; Ctrl-C ends it")
        while end is None or time.monotonic() < end:
            time.sleep(_LOOK_S)
            with uninterrupted():
                running.follow()
    measured = running.measured()
    if output is Format.JSON:
        emit_json({"schema_version": 1, "ports": [asdict(one) for one in measured]})
    else:
        show(impairment_blocks(measured))


def _part(text: str, option: str) -> float:
    """``1%`` as 0.01; UsageError for anything else."""
    from rbops.errors import UsageError

    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?%", text):
        raise UsageError(f"{option}: {text!r} is not a percentage", code="lab.impairment-value", hint="for example 1%")
    return float(text.removesuffix("%")) / 100


def _seconds(text: str, option: str) -> float:
    """``2ms`` in seconds; UsageError for anything else."""
    from rbops.errors import UsageError
    from rbops.spec.units import SECONDS, InvalidValue

    try:
        return float(SECONDS(text))
    except InvalidValue as error:
        raise UsageError(f"{option}: {error.message}", code="lab.impairment-value", hint=error.hint) from error


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    """The file to write, or stdout; UsageError where it cannot be written."""
    import sys

    from rbops.errors import UsageError, Where

    if file == "-":
        yield sys.stdout.buffer
        return
    try:
        output = open(file, "wb")  # noqa: PTH123, SIM115 - closed below
    except OSError as error:
        raise UsageError(
            f"cannot be written: {error.strerror}", code="lab.capture-file", where=Where(file=file)
        ) from error
    with output:
        yield output


def _running(lab: str, name: str | None) -> Manifest:
    """The manifest of a lab whose cables can be reached."""
    from rbops.lab.cables.ends import require_namespaces
    from rbops.lab.registry import existing, require_cables, require_root

    require_root()
    manifest = existing(lab_name(lab, name))
    require_namespaces(manifest)
    require_cables(manifest)
    return manifest


def _both(
    lab: str, name: str | None, ports: Iterable[str], action: Callable[[Manifest, str], tuple[End, End]]
) -> list[tuple[str, str]]:
    """Do it to each cable under the lab's lock, when all ports are known; the names of the ends."""
    from rbops.lab import layout
    from rbops.lab.cables.ends import one_end
    from rbops.lab.lock import try_locked

    manifest = _running(lab, name)
    for text in ports:
        one_end(manifest, text)
    with try_locked(layout.folder(manifest.name), f"lab {manifest.name}"):
        return [(near.name, far.name) for near, far in (action(manifest, text) for text in ports)]
