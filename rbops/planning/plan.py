"""Last stage: the stages' results as one ClusterPlan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rbops.affinity.rules import check
from rbops.dataplane.base import Additions
from rbops.plan import ClusterPlan, Exporter, Forwarding, LinkRate, Processing, Sflow, Topology, Violation
from rbops.planning.prediction import Forecast
from rbops.planning.routing import routing, separation
from rbops.planning.servers import Built
from rbops.planning.topology import setting
from rbops.planning.warnings import unused_routes, warnings
from rbops.spec.document import Spec
from rbops.topology.choice import Choice, Demand
from rbops.topology.external import External, routes
from rbops.topology.external6 import ipv6
from rbops.topology.names import server_name

__all__ = ["assemble"]


def assemble(
    spec: Spec,
    demand: Demand,
    choice: Choice,
    ports: Sequence[External],
    built: Built,
    made: Forecast,
    additions: Additions,
) -> ClusterPlan:
    """The plan, with every violation of its rules that planning or its independent checker finds."""
    plan = ClusterPlan(
        name=spec.name,
        topology=_topology(spec, choice, made),
        links=built.links,
        servers=built.servers,
        forwarding=additions.forwarding(_forwarding(spec, choice)),
        routes=routes(spec, ports),
        violations=(*_breaches(built), *additions.breaches(built.servers)),
        warnings=(*warnings(spec, choice, demand, built, made), *unused_routes(spec, ports)),
        prediction=made.prediction,
        routing=routing(spec, ports, built.servers),
        ipv6=ipv6(spec, ports),
        exporter=_exporter(spec),
        sflow=_sflow(spec),
    )
    known = {(breach.rule, breach.server) for breach in plan.violations}
    found = tuple(breach for breach in check(plan) if (breach.rule, breach.server) not in known)
    return replace(plan, violations=plan.violations + found) if found else plan


def _forwarding(spec: Spec, choice: Choice) -> Forwarding:
    return Forwarding(
        dataplane=spec.dataplane,
        application=spec.router.application,
        routing=spec.interconnect.routing,
        direct_quota_bps=setting(spec, choice).quota_bps,
        flowlet_timeout_s=spec.interconnect.flowlet_timeout_s,
        tunnels=spec.ipsec,
        punts=spec.punts,
        separation=separation(spec),
        services=spec.router.services,
        probe_interval_s=spec.interconnect.probe_interval_s,
        probe_multiplier=spec.interconnect.probe_multiplier,
    )


def _exporter(spec: Spec) -> Exporter | None:
    wanted = spec.monitoring.exporter
    return None if wanted is None else Exporter(wanted.port, wanted.network)


def _sflow(spec: Spec) -> Sflow | None:
    wanted = spec.monitoring.sflow
    if wanted is None:
        return None
    return Sflow(wanted.collector, wanted.port, wanted.sampling, wanted.polling_s, wanted.network)


def _breaches(built: Built) -> Iterator[Violation]:
    """What cannot be kept, of each kind of server once; of all its servers where they differ in their ports' cores."""
    for kind in built.kinds:
        for breach in kind.assignment.violations:
            for member in kind.servers if kind.assignment.by_port else kind.servers[:1]:
                yield replace(breach, server=server_name(member))


def _topology(spec: Spec, choice: Choice, made: Forecast) -> Topology:
    trial = choice.trial
    rate = choice.most * spec.router.line_rate_bps
    return Topology(
        kind=trial.kind,
        degree=trial.fanout_needed,
        stages=choice.stages,
        ports_per_server=choice.most,
        port_servers=trial.port_servers,
        intermediate_servers=trial.servers - trial.port_servers,
        servers=trial.servers,
        internal_link=LinkRate(trial.required_bps, trial.rate_bps * trial.parallel),
        processing_bps=Processing(2 * rate, 3 * rate, made.app.rate_bps),
    )
