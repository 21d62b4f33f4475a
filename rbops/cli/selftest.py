"""The verb ``selftest``: real packets through the live router, every one checked at its exit."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from rbops.cli.options import ExamplesFile, JunitFile, Output, Spec
from rbops.cli.output import Format, conclude_json, save_examples, save_junit, say, show
from rbops.cli.servers import Servers, reaches_servers
from rbops.errors import CheckFailed, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from rbops.selftest.conversations import Conversations
    from rbops.selftest.options import SelftestOptions
    from rbops.selftest.result import SelftestResult
    from rbops.selftest.sizes import Captured

__all__ = ["QUICK_S", "measure", "register", "selftest"]

QUICK_S = 3.0

_USUAL_S = 12.0


class Family(StrEnum):
    """Which packets are sent."""

    IPV4 = "4"
    IPV6 = "6"
    BOTH = "both"


class Method(StrEnum):
    """How rates are searched."""

    MLR = "mlr"
    RFC2544 = "rfc2544"


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("selftest")(reaches_servers(selftest))


def selftest(  # noqa: PLR0917 - a verb has as many options as it has
    spec: Spec,
    servers: Servers,
    duration: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Send time of all phases together. Default: 12, with --quick 3.",
        ),
    ] = None,
    packets: Annotated[
        int | None, typer.Option(metavar="N", help="Packets for each pair of ports in the matrix phase.")
    ] = None,
    size: Annotated[
        str,
        typer.Option(
            metavar="BYTES|MIX|FILE",
            help="Frame size with FCS, 64 to 1518, a mix: imix or abilene, or the sizes of a capture (pcap, pcapng).",
        ),
    ] = "64",
    family: Annotated[
        Family, typer.Option(help="Send IPv4, IPv6, or both: IPv6 between the ports whose IPv6 has a neighbour's MAC.")
    ] = Family.BOTH,
    ports: Annotated[
        str | None,
        typer.Option(metavar="PORT,...", help="Between these external ports alone, where others have no tester."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of destination addresses and payload.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="Without the search for the highest rate.")] = False,
    rates: Annotated[
        bool,
        typer.Option("--rates", help="Search NDR and PDR with their bounds (MLRsearch) instead of the highest rate."),
    ] = False,
    sizes: Annotated[
        str | None,
        typer.Option(metavar="BYTES|MIX|FILE,...", help="As --size, several for --rates. Default: that of --size."),
    ] = None,
    runs: Annotated[int, typer.Option(metavar="N", help="Searches for each size with --rates.")] = 1,
    method: Annotated[Method, typer.Option(help="mlr: several trials for each bound; rfc2544: one.")] = Method.MLR,
    search: Annotated[
        float, typer.Option("--search-time", metavar="SECONDS", help="Longest time of one search of --rates.")
    ] = 60.0,
    latency: Annotated[
        bool,
        typer.Option("--latency", help="Measure latency unloaded and at 10, 50 and 90% of the rate that was found."),
    ] = False,
    matrix: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE,...",
            help="Also these traffic matrices of `rbops simulate` (uniform, hotspot, permutation, gravity, "
            "adversarial, pair, or a CSV file): the paths that packets took must be those that are simulated.",
        ),
    ] = None,
    capture: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Also the flows of a capture (pcap, pcapng) between the router's ports, in the order and of the sizes "
            "of its packets.",
        ),
    ] = None,
    matrix_load: Annotated[
        int | None,
        typer.Option(
            "--matrix-load",
            metavar="PERCENT",
            help="Load of the busiest port with --matrix. Default: 60, and what a file says.",
        ),
    ] = None,
    soak: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Afterwards one load for so long, such as 30min (5s to 8h): what is lost, and what that proves.",
        ),
    ] = None,
    soak_load: Annotated[
        int, typer.Option("--soak-load", metavar="PERCENT", help="Load of --soak, of PDR or the highest rate.")
    ] = 90,
    tcp: Annotated[
        bool,
        typer.Option(
            "--tcp", help="Real TCP by iperf3: 1, 8 and 64 connections, throughput, retransmissions, out of order."
        ),
    ] = False,
    tcp_rate: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="What the connections of --tcp may send together. Default: 90% of one core's share of a path.",
        ),
    ] = None,
    failures: Annotated[
        bool,
        typer.Option(
            "--failures",
            help="Afterwards break cables and programs of servers under traffic, and mend them: what is lost until "
            "packets go round. Disturbs the router's traffic.",
        ),
    ] = False,
    junit: JunitFile = None,
    examples: ExamplesFile = None,
    output: Output = Format.TEXT,
) -> None:
    """Send packets between all external ports, and check each on arrival.

    Delivered once, at the right port, payload intact, TTL decremented by one, checksum and MACs correct, in order
    within its flow; then the spread over direct and two-hop paths above the direct quota, and the highest rate
    without loss. Needs root and the testers of the inventory. Exits with 1 if there is a fault.
    """
    from rbops.report.selftest import selftest_blocks, selftest_junit
    from rbops.selftest.options import MatrixOptions, RateOptions, SelftestOptions, SoakOptions
    from rbops.selftest.phases import capture as replaying
    from rbops.selftest.phases import failures as failing
    from rbops.selftest.phases import latency as timing
    from rbops.selftest.phases import matrices as spreading
    from rbops.selftest.phases import quick as quick_phases
    from rbops.selftest.phases import rates as searching
    from rbops.selftest.phases import soak as soaking
    from rbops.selftest.phases import tcp as connecting
    from rbops.selftest.phases import usual
    from rbops.selftest.rates import SearchShape

    wishes = (
        (rates, searching.NAME), (latency, timing.NAME), (matrix is not None, spreading.NAME),
        (capture is not None, replaying.NAME),
        (soak is not None, soaking.NAME), (tcp, connecting.NAME), (failures, failing.NAME),
    )  # fmt: skip
    if soak is not None and quick and not rates:
        raise UsageError(
            "--soak needs a rate, which --quick does not search", code="selftest.soak-rate", hint="add --rates"
        )
    asked = tuple(phase for wish, phase in wishes if wish)
    phases = (*(quick_phases() if quick or rates else usual()), *asked)
    # A trial is a part of a search's time, within what a trial can be.
    trial = min(1.0, max(0.1, search / 120))
    shape = SearchShape(method=method.value, trial_s=trial, sum_s=3 * trial, limit_s=search)
    searched = _sizes(sizes) if sizes is not None else (_size(size),) if rates else (64,)
    wanted = RateOptions(searched, runs, shape)
    seconds = duration if duration is not None else QUICK_S if quick else _USUAL_S
    options = SelftestOptions(
        duration_s=seconds, packets=packets, size=_size(size), seed=seed, phases=phases, rates=wanted,
        soak=SoakOptions(_time(soak), soak_load / 100), tcp_bps=_rate(tcp_rate),
        matrices=MatrixOptions(_matrices(matrix), None if matrix_load is None else matrix_load / 100),
        capture=_conversations(capture), ports=_ports(ports),
        family=None if family is Family.BOTH else int(family.value),
    )  # fmt: skip
    result = measure(spec, servers, options)
    if junit is not None:
        save_junit(junit, [selftest_junit(result)])
    if examples is not None:
        save_examples(examples, result)
    error = None if result.passed else _failure(result)
    if output is Format.JSON:
        conclude_json(result.to_dict(), error)
        return
    show(selftest_blocks(result))
    if error is not None:
        raise error


def _size(text: str) -> int | str | Captured:
    """A size, the sizes of a capture (a file's name has a dot or a slash), or what may be the name of a mix."""
    if re.fullmatch(r"[0-9]{1,5}", text):
        return int(text)
    if not re.search(r"[./]", text):
        return text
    from pathlib import Path

    from rbops.capture import read_capture
    from rbops.selftest.sizes import Captured
    from rbops.selftest.wire import FCS_BYTES

    found = read_capture(Path(text))
    if found.warning:
        say(found.warning)
    return Captured.of(Path(text).name, (size + FCS_BYTES for size in found.size.tolist()))


def _conversations(text: str | None) -> Conversations | None:
    """Who sends to whom in a capture."""
    if text is None:
        return None
    from pathlib import Path

    from rbops.capture import read_capture
    from rbops.capture.flows import flows_of
    from rbops.selftest.conversations import Conversations
    from rbops.selftest.programs import MOST_STEPS

    found = read_capture(Path(text))
    if found.warning:
        say(found.warning)
    flows = flows_of(found, text, MOST_STEPS)
    return Conversations(Path(text).name, flows.packets)


def _sizes(text: str) -> tuple[int | str | Captured, ...]:
    parts = text.split(",")
    if not all(re.fullmatch(r"[0-9a-z]{1,9}|.*[./].*", part) for part in parts):
        raise UsageError(
            f"{text!r} is not a list of frame sizes", code="selftest.sizes", hint="for example --sizes 64,512,imix"
        )
    return tuple(dict.fromkeys(_size(part) for part in parts))


def _ports(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,5}(,[0-9]{1,5})*", text):
        raise UsageError(
            f"--ports: {text!r} is not a list of external ports", code="selftest.ports", hint="for example --ports 0,3"
        )
    return tuple(dict.fromkeys(map(int, text.split(","))))


def _matrices(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    names = tuple(dict.fromkeys(name for name in text.split(",") if name))
    if not names:
        raise UsageError("--matrix names none", code="selftest.matrix", hint="for example --matrix uniform,hotspot")
    return names


def _time(text: str | None) -> float:
    """Seconds of ``90s``, ``30min`` or ``8h``; 0 without any."""
    if text is None:
        return 0.0
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(s|min|h)", text)
    if not found:
        raise UsageError(f"--soak: {text!r} is not a time", code="selftest.soak", hint="for example --soak 30min")
    return float(found[1]) * {"s": 1, "min": 60, "h": 3600}[found[2]]


def _rate(text: str | None) -> float | None:
    from rbops.spec.units import RATE, InvalidValue

    try:
        return None if text is None else float(RATE(text))
    except InvalidValue as error:
        raise UsageError(error.message, code="selftest.tcp-rate", hint=error.hint) from None


def _failure(result: SelftestResult) -> CheckFailed:
    from rbops.report.words import counted

    # A fault's text ends in brackets with the servers' counters.
    first = result.faults[0].text.split(" [")[0] if result.faults else "no packet was checked"
    return CheckFailed(f"{counted(len(result.faults), 'fault')} in the self-test: {first}", code="selftest.failed")


def measure(spec: Path, servers: Servers, options: SelftestOptions) -> SelftestResult:
    """Run the self-test on the spec's router as the verb does, progress on stderr."""
    from dataclasses import replace

    from rbops.cli.context import context_of
    from rbops.node.facts import from_json
    from rbops.planner import load_plan
    from rbops.selftest.phases import matrices
    from rbops.selftest.routefile import read_routes
    from rbops.selftest.run import ports_to_test, run_selftest
    from rbops.selftest.servers import CounterReader

    plan = load_plan(spec)
    matrices.check(plan, options.matrices)
    found = servers.load()
    targets = found.for_plan(plan)
    if servers.limit is not None:
        options = replace(options, servers=tuple(target.name for target in targets))
    ports_to_test(plan, found.testers, options)  # refuse what cannot work before a server is contacted
    with CounterReader(targets) as read_counters:
        routes = read_routes(plan)
        context = context_of(plan, {name: from_json(facts) for name, facts in read_counters.facts().items()})
        result = run_selftest(
            plan, found.testers, read_counters, options, routes=routes, progress=say, run_on=read_counters.run_on
        )
        return replace(result, faults=(*result.faults, *read_counters.incomplete()), context=context)
