"""The verb ``selftest``: real packets through the live router, every one checked at its exit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rbops.cli.options import InventoryPath, JunitFile, Limit, Output, Spec
from rbops.cli.output import Format, emit_json, say, show
from rbops.errors import CheckFailed, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from rbops.selftest.options import Options
    from rbops.selftest.result import SelftestResult

__all__ = ["QUICK_S", "measure", "register", "selftest"]

QUICK_S = 3.0

_USUAL_S = 12.0


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("selftest")(selftest)


def selftest(  # noqa: PLR0917 - a verb has as many options as it has
    spec: Spec,
    inventory: InventoryPath,
    limit: Limit = None,
    duration: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="How long to send, all phases together (12).")
    ] = None,
    packets: Annotated[
        int | None, typer.Option(metavar="N", help="Packets from every port to every other one in the matrix.")
    ] = None,
    size: Annotated[int, typer.Option(metavar="BYTES", help="Frame size with FCS, 64 to 1518.")] = 64,
    seed: Annotated[int, typer.Option(metavar="N", help="Chooses destination addresses and the payload's key.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="Three seconds, and no search for the rate.")] = False,
    junit: JunitFile = None,
    output: Output = Format.TEXT,
) -> None:
    """Send packets into every external port for every other one and check each at its exit.

    Delivered once, at the right port, payload whole, TTL down by one, checksum and MACs right, in order
    within its flow; then the spread over direct and two-hop paths above the direct quota, and the highest
    rate without loss. Needs root and the inventory's testers. Exit 1 when anything is wrong.
    """
    from rbops.selftest.options import Options
    from rbops.selftest.phases import quick as quick_phases

    phases = quick_phases() if quick else ()
    seconds = duration if duration is not None else QUICK_S if quick else _USUAL_S
    options = Options(duration_s=seconds, packets=packets, size=size, seed=seed, phases=phases)
    result = measure(spec, inventory, limit, options)
    if junit is not None:
        _write_junit(junit, result)
    if output is Format.JSON:
        emit_json(result.to_dict())
    else:
        from rbops.report.selftest import selftest_blocks

        show(selftest_blocks(result))
    if not result.passed:
        count = len(result.faults)
        first = result.faults[0].text.split(" [")[0]
        raise CheckFailed(f"the self-test found {count} fault{'s' if count != 1 else ''}: {first}")


def measure(spec: Path, inventory: Path, limit: str | None, options: Options) -> SelftestResult:
    """Run the self-test on the spec's router as the verb does, progress on stderr."""
    from dataclasses import replace

    from rbops.deploy.inventory import load_inventory
    from rbops.planner import load_plan
    from rbops.selftest.routefile import read_routes
    from rbops.selftest.run import run_selftest
    from rbops.selftest.servers import CounterReader
    from rbops.selftest.setup import places

    plan = load_plan(spec)
    found = load_inventory(inventory, limit=limit)
    targets = found.for_plan(plan)
    if limit is not None:
        options = replace(options, servers=tuple(target.name for target in targets))
    places(plan, found.testers, options)  # what cannot work is said before any server is asked
    with CounterReader(targets) as read_counters:
        routes = read_routes(plan)
        return run_selftest(plan, found.testers, read_counters, options, routes=routes, progress=say)


def _write_junit(path: Path, result: SelftestResult) -> None:
    from rbops.report.junit import write_junit
    from rbops.report.selftest import selftest_junit

    try:
        write_junit(path, [selftest_junit(result)])
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
