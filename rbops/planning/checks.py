"""What the spec says of a plan that is another one, and what it asks for that the plan cannot give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from rbops.errors import Diagnostic, SpecError
from rbops.nic.mistakes import nic_mistakes
from rbops.spec.document import Spec
from rbops.topology.choice import Choice, Demand
from rbops.topology.names import server_index

if TYPE_CHECKING:
    from rbops.planning.prediction import Forecast
    from rbops.planning.servers import Built

__all__ = ["both", "check_spec", "unknown_hosts"]

_A = TypeVar("_A")
_B = TypeVar("_B")


def both(first: Callable[[], _A], second: Callable[[], _B]) -> tuple[_A, _B]:
    """The results of both; raises SpecError with the mistakes that either finds."""
    try:
        one = first()
    except SpecError as error:
        try:
            second()
        except SpecError as other:
            raise SpecError(error.diagnostics + other.diagnostics) from error
        raise
    return one, second()


def check_spec(spec: Spec, demand: Demand, choice: Choice, built: Built, made: Forecast) -> None:
    """Raises SpecError with everything that the spec says and the plan contradicts."""
    wrong = [*unknown_hosts(spec, choice), *_selectors(spec, built), *_isolation(spec, built)]
    wrong += [*_guarantee(spec, choice, demand, made), *nic_mistakes(spec, built.servers)]
    if wrong:
        raise SpecError(wrong)


def unknown_hosts(spec: Spec, choice: Choice) -> Iterator[Diagnostic]:
    """The ``hosts`` that the topology does not have."""
    count = choice.trial.servers
    for name in spec.hosts:
        index = server_index(name)
        if index is None or index >= count:
            yield spec.source.node(("hosts", name)).diagnostic_at_key(
                f"hosts: {name} is not in the plan: the topology has {count} servers, n0 to n{count - 1}",
                "leave it out, or give the router more external ports",
                code="plan.unknown-host",
                field=f"hosts.{name}",
            )


def _selectors(spec: Spec, built: Built) -> Iterator[Diagnostic]:
    for name, host in spec.hosts.items():
        index = server_index(name)
        if index is None or index >= len(built.servers):
            continue
        names = [port.name for port in built.servers[index].ports]
        for pick in host.ports:
            if pick not in names:
                node = spec.source.node(("hosts", name, "ports", pick))
                text = f"hosts.{name}.ports: {name} has no port {pick} in this plan"
                hint, field = f"its ports are {', '.join(names)}", f"hosts.{name}.ports.{pick}"
                yield node.diagnostic_at_key(text, hint, code="plan.unknown-port", field=field)


def _isolation(spec: Spec, built: Built) -> Iterator[Diagnostic]:
    """Isolated CPUs need others that do the rest of the work."""
    bare = [server.name for server in built.servers if not server.cores.housekeeping]
    if spec.kernel.isolate and bare:
        who = f"{', '.join(bare[:3])}{' and others' if bare[3:] else ''}"
        text = f"{who}: every CPU carries packets, none is left for the rest"
        hint = "`isolate: off`, or `housekeeping` with a CPU where it is empty"
        yield spec.source.mistake(("kernel", "isolate"), text, hint, code="plan.no-housekeeping-cpu")


def _guarantee(spec: Spec, choice: Choice, demand: Demand, made: Forecast) -> Iterator[Diagnostic]:
    if spec.router.guarantee != "line-rate":
        return
    wanted = spec.router.external_ports * spec.router.line_rate_bps
    short = wanted - made.prediction.rate_bps
    if short <= 0:
        return
    most = choice.most
    need = demand.factor * most * spec.router.line_rate_bps
    works = max(1, made.app.rate_bps // (demand.factor * most) // 10_000_000) * 10_000_000
    message = (
        f"line rate cannot be guaranteed: each {made.kind.machine.name} server must process {need / 1e9:g} Gbps "
        f"({demand.factor}R) and its {made.cluster.bottleneck} allows {made.app.rate_bps / 1e9:.2f} Gbps of "
        f"{made.packets.name} packets; "
        f"the router sustains {made.prediction.rate_bps / 1e9:.1f} of {wanted / 1e9:g} Gbps, {short / 1e9:.1f} short"
    )
    hint = f"line_rate: {works / 1e9:g}Gbps, or best-effort"
    yield spec.source.mistake(("router", "guarantee"), message, hint, code="plan.below-line-rate")
