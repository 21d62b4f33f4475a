"""The verbs ``predict``, ``scale`` and ``simulate``: the performance of a router, computed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbops.cli.options import Output, Spec
from rbops.cli.output import Format, emit_json, say, show
from rbops.errors import UsageError, Where

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rbops.capture import Capture
    from rbops.report.scale import Curves
    from rbops.vlb.network import Network
    from rbops.vlb.trace import Trace

__all__ = ["Routing", "predict", "register", "scale", "simulate"]


_FIGURE_3 = ("current", "more_nics", "faster")


class Routing(StrEnum):
    """How the simulated cluster balances."""

    VLB = "vlb"
    DIRECT_VLB = "direct-vlb"


def register(app: typer.Typer) -> None:
    """Add the verbs to the application."""
    app.command("predict")(predict)
    app.command("scale")(scale)
    app.command("simulate")(simulate)


def predict(
    spec: Spec,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE[,VALUE]",
            help="Override a value of the spec; several values give a table of all combinations.",
        ),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", metavar="FILE", help="Calibrate CPU costs with this self-test result (JSON)."),
    ] = None,
    capture: Annotated[
        Path | None,
        typer.Option("--pcap", metavar="FILE", help="Take packet sizes from this capture instead of the spec."),
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Predict rate, bottleneck, latency, power and price of the router, or of variants of its spec."""
    from rbops.planner import Assumptions, calibrated, planning
    from rbops.predict.calibrate import read_measurement
    from rbops.predict.packets import capture_mix
    from rbops.predict.whatif import variants
    from rbops.report.predict import Scenario, predict_blocks, predict_json
    from rbops.spec import load_spec

    packets = capture_mix(_captured(capture), capture.name) if capture is not None else None
    measured = read_measurement(_read(calibrate).decode("utf-8-sig", "replace"), str(calibrate)) if calibrate else None
    factor = calibrated(load_spec(spec), measured).cost_factor if measured is not None else 1.0
    if measured is not None and measured.limited_by_testers:
        say("the testers limited the measured rate: the router may do better than the calibrated prediction")
    scenarios = [
        Scenario(changes, planning(load_spec(spec, changes), Assumptions(factor, packets)))
        for changes in variants(settings or [])
    ]
    if output is Format.JSON:
        emit_json(predict_json(scenarios, factor, measured))
    else:
        show(predict_blocks(scenarios, factor, measured))


def scale(
    spec: Annotated[Path | None, typer.Argument(metavar="SPEC", help="Also scale the servers of this spec.")] = None,
    configuration: Annotated[
        list[str] | None,
        typer.Option(
            "--configuration",
            metavar="NAME",
            help="current, more_nics or faster (paper Fig. 3); may be repeated. Default: all.",
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Plot the curves to FILE (.png or .svg).")
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Show how many servers a router of 4 to 4,096 ports needs, beside a cluster with switches (paper Fig. 3)."""
    from rbops.report.scale import scale_blocks, scale_json

    found = _curves(configuration or [], spec)
    if plot is not None:
        from rbops.report.scale_plot import draw

        draw(found, plot)
        say(f"wrote {plot}")
    if output is Format.JSON:
        emit_json(scale_json(found))
    else:
        show(scale_blocks(found))


def _curves(names: Sequence[str], spec: Path | None) -> Curves:
    """The configurations of Fig. 3 called ``names`` (all when none is named), and that of ``spec``.

    Raises UsageError for another name, SpecError for a wrong spec.
    """
    import difflib

    from rbops import hardware
    from rbops.planner import planning
    from rbops.predict.scale import configuration, curve, switched
    from rbops.report.scale import Curve, Curves
    from rbops.spec import load_spec

    for name in names:
        if name not in _FIGURE_3:
            near = difflib.get_close_matches(name, _FIGURE_3, 1)
            hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(_FIGURE_3)}"
            raise UsageError(f"{name!r} is not a configuration", code="scale.unknown-configuration", hint=hint)
    found: list[Curve] = []
    for name in names or _FIGURE_3:
        machine = hardware.profile(name)
        found.append(Curve(name, curve(configuration(machine)), machine.price_usd))
    if spec is not None:
        made = planning(load_spec(spec))
        found.append(Curve(made.plan.name, curve(made.demand), made.demand.default.machine.price_usd))
    return Curves(tuple(found), switched())


def simulate(  # noqa: PLR0917 - a parameter an option
    spec: Spec,
    matrix: Annotated[
        str,
        typer.Option(
            "--matrix",
            metavar="NAME|FILE",
            help="Traffic matrix: uniform, hotspot, permutation, gravity, adversarial, pair, or a CSV file of bits per "
            "second.",
        ),
    ] = "uniform",
    trace: Annotated[
        Path | None, typer.Option("--trace", metavar="FILE", help="Replay this pcap file instead of generated flows.")
    ] = None,
    routing: Annotated[Routing | None, typer.Option("--routing", help="Override the routing of the spec.")] = None,
    flowlet_timeout: Annotated[
        str | None,
        typer.Option(
            "--flowlet-timeout",
            metavar="TIME",
            help="Override the flowlet timeout of the spec, such as 100ms; 0 disables flowlets.",
        ),
    ] = None,
    load: Annotated[
        float | None,
        typer.Option(
            "--load",
            min=0.001,
            max=1.0,
            metavar="FRACTION",
            help="Load of the busiest input, as a part of its line rate.",
        ),
    ] = None,
    packets: Annotated[
        int, typer.Option("--packets", min=1000, max=50_000_000, metavar="N", help="Approximate packet count.")
    ] = 2_000_000,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Seed of the generated traffic.")] = 0,
    reordering: Annotated[
        bool,
        typer.Option(
            "--reordering",
            help="Run the paper's reordering experiment: one pair of ports, with and without flowlets.",
        ),
    ] = False,
    output: Output = Format.TEXT,
) -> None:
    """Simulate the load balancing of the planned cluster, packet by packet."""
    from rbops.report.simulate import reordering_blocks, result_blocks, result_json
    from rbops.vlb.simulator import simulate as run

    network, traffic = _prepare(spec, "pair" if reordering else matrix, trace, load, packets, seed)
    network = _settings(network, routing, flowlet_timeout)
    if not reordering:
        result = run(network, traffic)
        if output is Format.JSON:
            emit_json(result_json(network, matrix, seed, (result,)))
        else:
            show(result_blocks(network, result))
        return
    timeout = network.forwarder.flowlet_timeout_s or 0.1
    results = tuple(
        run(network.with_forwarder(routing=kind, flowlet_timeout_s=delta), traffic)
        for kind, delta in (("direct-vlb", timeout), ("direct-vlb", 0.0), ("vlb", 0.0))
    )
    if output is Format.JSON:
        emit_json(result_json(network, "pair", seed, results))
    else:
        show(reordering_blocks(results))


def _prepare(
    spec: Path, matrix: str, trace: Path | None, load: float | None, packets: int, seed: int
) -> tuple[Network, Trace]:
    from rbops.planner import planning
    from rbops.predict.packets import mix
    from rbops.spec import load_spec
    from rbops.vlb.matrix import offered as offered_by
    from rbops.vlb.network import network_of
    from rbops.vlb.replay import packets_of, replay
    from rbops.vlb.trace import Workload, synthetic

    made = planning(load_spec(spec))
    network = network_of(made.plan)
    rate = network.line_rate_bps
    offered = offered_by(matrix, network.owners, rate, load=load, seed=seed, quota=network.quota_share)
    if trace is not None:
        captured = packets_of(_captured(trace), str(trace))
        if captured.skipped:
            say(f"{trace}: {captured.skipped} frames that are not IPv4 were skipped")
        if captured.portless:
            say(
                f"{trace}: {captured.portless:,} of {len(captured.size):,} packets were captured without their ports "
                "(cut at a snap length): their flows are told apart by addresses alone; capture 64 octets or more"
            )
        return network, replay(captured, offered, rate, load)
    sizes = mix(made.spec.router.packets).shares
    return network, synthetic(offered, rate, packets, Workload(mix=sizes), seed)


def _settings(network: Network, routing: Routing | None, flowlet_timeout: str | None) -> Network:
    if routing is not None:
        network = network.with_forwarder(routing=routing.value)
    if flowlet_timeout is not None:
        network = network.with_forwarder(flowlet_timeout_s=_seconds(flowlet_timeout))
    return network


def _seconds(text: str) -> float:
    units = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
    number = text.rstrip("mnus")
    unit = text[len(number) :]
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if (unit not in units and (unit or value)) or not 0 <= value < 1e9:  # noqa: PLR2004
        raise UsageError(
            f"--flowlet-timeout: {text!r} is not a valid time",
            code="simulate.flowlet-timeout",
            hint="write it with its unit, such as 100ms; 0 disables flowlets",
        )
    return min(60.0, value * units.get(unit, 1.0))


def _captured(path: Path) -> Capture:
    from rbops.capture import read_capture

    found = read_capture(path)
    if found.warning:
        say(found.warning)
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            error.strerror or str(error), code="predict.unreadable", where=Where(file=str(path))
        ) from error
