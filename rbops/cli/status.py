"""The verb ``status``: the servers' state once, as metrics, or as a live view of what they do."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbops.cli.options import Spec, remember_format
from rbops.cli.output import conclude_json, emit, show
from rbops.cli.servers import Servers, reaches_servers
from rbops.errors import UsageError

if TYPE_CHECKING:
    from rbops.deploy.live import Answer
    from rbops.plan import ClusterPlan
    from rbops.report.tables import Block

__all__ = ["register", "status"]

_FIRST_S = 15.0


class StatusFormat(StrEnum):
    """How the state is written."""

    TEXT = "text"
    JSON = "json"
    OPENMETRICS = "openmetrics"


class Part(StrEnum):
    """A table of the live view."""

    SERVERS = "servers"
    PORTS = "ports"
    CABLES = "cables"
    PATHS = "paths"
    CORES = "cores"
    QUEUES = "queues"
    DROPS = "drops"
    SESSIONS = "sessions"


Watch = Annotated[
    bool, typer.Option("-w", "--watch", help="Show rates again and again until Ctrl-C; with JSON a line each time.")
]
Every = Annotated[
    float, typer.Option("--every", min=0.2, max=3600, metavar="SECONDS", help="With --watch: time between readings.")
]
Count = Annotated[
    int | None, typer.Option("--count", min=1, metavar="N", help="With --watch: end after N readings with rates.")
]
Show = Annotated[
    list[Part] | None,
    typer.Option(
        "--show",
        metavar="TABLE",
        help="With --watch: only this table; may be given several times: servers, ports, cables, paths, cores, queues, "
        "drops, sessions.",
    ),
]
Output = Annotated[
    StatusFormat,
    typer.Option("--format", callback=remember_format, is_eager=True, help="Format of the result and of errors."),
]


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("status")(reaches_servers(status))


def status(
    spec: Spec,
    servers: Servers,
    watch: Watch = False,
    every: Every = 2.0,
    count: Count = None,
    parts: Show = None,
    output: Output = StatusFormat.TEXT,
) -> None:
    """Show the state of each server: plan, data plane, uptime, open change, lock.

    With `--watch` what they do: packets and bits a second by port, cable, core and queue, drops by reason, the paths
    that load balancing takes, dead cables, sessions. With `--format openmetrics` all counters for Prometheus.
    """
    from rbops.planner import load_plan

    if not watch and (count is not None or parts):
        raise UsageError("--count and --show are for the live view", code="status.no-watch", hint="add --watch")
    if watch and output is StatusFormat.OPENMETRICS:
        raise UsageError("OpenMetrics are one reading", code="status.watch-metrics", hint="leave out --watch")
    plan = load_plan(spec)
    if watch:
        _watch(plan, servers, every, count, tuple(parts or Part), as_json=output is StatusFormat.JSON)
    elif output is StatusFormat.OPENMETRICS:
        _metrics(plan, servers)
    else:
        _once(plan, servers, as_json=output is StatusFormat.JSON)


def _once(plan: ClusterPlan, servers: Servers, *, as_json: bool) -> None:
    from rbops.deploy.status import status_servers
    from rbops.report.status import status_blocks, status_json

    found = status_servers(plan, servers.load())
    error = _unreachable([server.error for server in found if server.error])
    if as_json:
        conclude_json(status_json(found, plan.digest), error)
        return
    show(status_blocks(found, plan.digest))
    if error is not None:
        raise error


def _unreachable(said: Sequence[str]) -> Any:
    from rbops.errors import Unreachable

    return Unreachable("\n".join(said), code="status.unreachable") if said else None


def _metrics(plan: ClusterPlan, servers: Servers) -> None:
    from rbops.common.openmetrics import Family, merged, text
    from rbops.deploy.live import sample_servers
    from rbops.node.metrics import families

    answers = sample_servers(servers.load().for_plan(plan))
    up = tuple(({"cluster": plan.name, "server": one.server}, int(one.reading is not None)) for one in answers)
    first = Family("rbops_server_up", "gauge", "Whether the server could be asked.", up)
    told = [families(one.reading) for one in answers if one.reading is not None]
    emit(text([first, *merged(told)]))
    error = _unreachable([str(one.error) for one in answers if one.error is not None])
    if error is not None:
        raise error


def _watch(
    plan: ClusterPlan, servers: Servers, every: float, count: int | None, parts: Sequence[str], *, as_json: bool
) -> None:
    """Until Ctrl-C, which ends it well."""
    from rbops.deploy.live import Poller
    from rbops.report.live import rates
    from rbops.report.live_view import live_blocks

    with suppress(KeyboardInterrupt), ExitStack() as stack:
        poller = Poller(servers.load().for_plan(plan))
        stack.callback(poller.close)
        draw = stack.enter_context(_screen(as_json=as_json))
        for before, answers in _rounds(poller.round, every, count):
            found = rates(plan, before, answers)
            if as_json:
                emit(json.dumps({"schema_version": 1, "at": round(time.time(), 3), **found}))
            else:
                draw(live_blocks(plan, found, time.strftime("%H:%M:%S"), parts))


def _rounds(
    ask: Callable[[float], list[Answer]], every: float, count: int | None
) -> Iterator[tuple[dict[str, Any], list[Answer]]]:
    """The last readings of each server, and the answers after them. The first answers have nothing before them."""
    before: dict[str, Any] = {}
    number = 0
    while count is None or number < count:
        began = time.monotonic()
        # The first time a login is part of it.
        answers = ask(every if before else max(every, _FIRST_S))
        if before or all(answer.reading is None for answer in answers):
            number += 1
            yield before, answers
        before |= {answer.server: answer.reading for answer in answers if answer.reading is not None}
        if count is None or number < count:
            time.sleep(max(0.0, began + every - time.monotonic()))


@contextmanager
def _screen(*, as_json: bool) -> Iterator[Callable[[Iterator[Block]], None]]:
    """Draws over the last view on a terminal; elsewhere one below the other, as plain text."""
    if as_json or not sys.stdout.isatty():
        yield _below
        return
    from rich.console import Console
    from rich.live import Live

    from rbops.report.tables import rich_text

    with Live(console=Console(highlight=False), screen=True, auto_refresh=False) as live:
        yield lambda blocks: live.update(rich_text(blocks), refresh=True)


def _below(blocks: Iterator[Block]) -> None:
    from rbops.report.tables import plain

    emit(plain(blocks) + "\n")
