"""The verbs ``predict``, ``scale`` and ``simulate``: what a router will do, computed without one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbops.cli.options import Output, Spec
from rbops.cli.output import Format, emit_json, say, show
from rbops.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        typer.Option("--set", metavar="KEY=VALUE[,VALUE]", help="Replace a value of the spec; several give a table."),
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option("--calibrate", metavar="RESULT.json", help="Correct the costs by a self-test's rate.")
    ] = None,
    capture: Annotated[
        Path | None, typer.Option("--pcap", metavar="FILE", help="Packet sizes of this capture instead of the spec's.")
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Predict rate, bottleneck, latency, power and price, for the spec or for variants of it."""
    from rbops.planner import Assumptions, calibrated, planning
    from rbops.predict.calibrate import read_measurement
    from rbops.predict.packets import capture_mix
    from rbops.predict.whatif import variants
    from rbops.report.predict import Scenario, predict_blocks, predict_json
    from rbops.spec import load_spec

    packets = capture_mix(_read(capture), capture.name) if capture is not None else None
    measured = read_measurement(_read(calibrate).decode("utf-8", "replace"), str(calibrate)) if calibrate else None
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
    spec: Annotated[Path | None, typer.Argument(metavar="SPEC", help="Scale this router too.")] = None,
    configuration: Annotated[
        list[str] | None,
        typer.Option(
            "--configuration", metavar="NAME", help="current, more_nics or faster (paper Fig. 3); default all."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the curves to FILE (.png or .svg).")
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Show how many servers a router of 4 to 4,096 ports takes, beside a cluster of servers and switches (Fig. 3)."""
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
            raise UsageError(f"no configuration is called {name!r}", hint=hint)
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
            help="uniform, hotspot, permutation, gravity, adversarial, pair, or a CSV file of bits per second.",
        ),
    ] = "uniform",
    trace: Annotated[
        Path | None, typer.Option("--trace", metavar="FILE.pcap", help="Replay this capture instead of made-up flows.")
    ] = None,
    routing: Annotated[Routing | None, typer.Option("--routing", help="Instead of the spec's.")] = None,
    flowlet_timeout: Annotated[
        str | None, typer.Option("--flowlet-timeout", metavar="TIME", help="As 100ms; 0 turns flowlets off.")
    ] = None,
    load: Annotated[
        float | None,
        typer.Option("--load", min=0.001, max=1.0, help="What the busiest input offers, as a part of its line rate."),
    ] = None,
    packets: Annotated[int, typer.Option("--packets", min=1000, max=50_000_000, help="How many, roughly.")] = 2_000_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed, other traffic.")] = 0,
    reordering: Annotated[
        bool,
        typer.Option("--reordering", help="The paper's experiment: one pair of ports, with flowlets and without."),
    ] = False,
    output: Output = Format.TEXT,
) -> None:
    """Simulate the planned cluster's load balancing, packet by packet."""
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
    from rbops.vlb.matrix import NAMES, make, read
    from rbops.vlb.network import network_of
    from rbops.vlb.pcap import read_pcap, replay
    from rbops.vlb.trace import Workload, synthetic

    made = planning(load_spec(spec))
    network = network_of(made.plan)
    rate = network.line_rate_bps
    if matrix in NAMES:
        offered = make(matrix, network.owners, rate, load=load or 1.0, seed=seed)
    elif Path(matrix).exists() or Path(matrix).suffix:
        offered = read(Path(matrix), network.ports, rate)
        offered *= load * rate / offered.sum(axis=1).max() if load else 1.0
    else:
        raise UsageError(f"no traffic matrix {matrix!r}", hint=f"one of {', '.join(NAMES)}, or a CSV file")
    if trace is not None:
        capture = read_pcap(trace)
        if capture.skipped:
            say(f"{trace}: {capture.skipped} frames are not IPv4 and were left out")
        return network, replay(capture, offered, rate, load)
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
        raise UsageError(f"--flowlet-timeout: {text!r} is no time", hint="write it with its unit, as 100ms; 0 is off")
    return min(60.0, value * units.get(unit, 1.0))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
