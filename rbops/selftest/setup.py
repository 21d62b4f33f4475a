"""Puts an agent on every external port and learns what it needs to know there."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from typing import Protocol

from rbops.errors import Mismatch, UsageError
from rbops.plan import ClusterPlan, Route
from rbops.selftest.bench import CAPACITY_WORDS, Bench
from rbops.selftest.options import OVERALL_S, Options
from rbops.selftest.result import Fault
from rbops.selftest.stations import Site, Station, sites
from rbops.selftest.tester import Agents, TesterProcess

__all__ = ["Place", "TesterLike", "launch", "make_bench", "places"]

_RESOLVE_S = 3.0
_NOBODY = "02:00:00:00:00:00"


class TesterLike(Protocol):
    """What is needed of an inventory's tester (``rbops.deploy.inventory.Tester``)."""

    @property
    def port(self) -> int:
        """The external port it is on."""

    @property
    def netns(self) -> str | None:
        """Its network namespace; None: the initial one."""

    @property
    def device(self) -> str:
        """Its device."""

    @property
    def target(self) -> object | None:
        """None: on this machine."""


Place = tuple[Site, TesterLike]
"""An external port, and who stands there."""


def places(
    plan: ClusterPlan, testers: Iterable[TesterLike], options: Options, routes: Iterable[Route] = ()
) -> tuple[Place, ...]:
    """The external ports to test between, each with its tester; nothing is touched.

    Raises Mismatch (3) when a port has no usable tester, UsageError (2) without root.
    """
    found = sites(plan, seed=options.seed, routes=routes)
    if options.servers is not None:
        found = tuple(site for site in found if site.server in options.servers)
    by_port = {tester.port: tester for tester in testers}
    missing = [site.port for site in found if site.port not in by_port]
    if missing:
        raise Mismatch(
            f"no tester in the inventory for external port {', '.join(map(str, missing))}",
            hint="put one host for each external port into the group rbops_testers; `rbops lab up` does",
        )
    if len(found) < 2:  # noqa: PLR2004  from one port to another
        raise Mismatch("a self-test needs two external ports: from one to the other")
    remote = [site.port for site in found if by_port[site.port].target is not None]
    if remote:
        raise Mismatch(
            f"the tester of external port {', '.join(map(str, remote))} is on another machine",
            hint="testers are run on this machine: ansible_connection local, with rbops_netns and rbops_device",
        )
    if os.geteuid() != 0:
        raise UsageError("the self-test sends and checks packets with XDP: it needs root", hint="run it with sudo")
    return tuple((site, by_port[site.port]) for site in found)


def launch(where: Sequence[Place]) -> Agents:
    """Start an agent for every place; they end with the context they are used in, or with this process."""
    agents = Agents([])
    try:
        for site, tester in where:
            agents.all.append(TesterProcess(site.port, tester.device, tester.netns, lifetime_s=4 * OVERALL_S))
    except BaseException:
        agents.__exit__()
        raise
    return agents


def make_bench(where: Sequence[Place], agents: Agents, options: Options, flows: int, faults: list[Fault]) -> Bench:
    """Attach generators and sinks, with room for ``flows`` a pair; a port without a router is added to ``faults``."""
    agents.start()
    facts = agents.call("hello")
    # As many cores as every device has queues: a queue then has one sender (paper 4.2, rule 1).
    queues = min(min(site.queues, fact["rx_queues"]) for (site, _), fact in zip(where, facts, strict=True))
    cores = sorted(os.sched_getaffinity(0))[:queues]
    agents.each("pin", [{"cpu": cores[index % len(cores)]} for index in range(len(where))])
    agents.call("attach", testers=len(where), flows=flows, words=CAPACITY_WORDS)
    answers = agents.each(
        "resolve", [{"address": site.router_address, "own": site.address, "wait_s": _RESOLVE_S} for site, _ in where]
    )
    stations = []
    for index, ((site, _), fact, answer) in enumerate(zip(where, facts, answers, strict=True)):
        if answer["mac"] is None:
            faults.append(_silent(site))
        stations.append(Station(index, site, fact["mac"], answer["mac"] or _NOBODY))
    choose = random.Random(options.seed)  # noqa: S311  tells runs apart, keeps no secret
    keys = (choose.getrandbits(64), choose.getrandbits(64))
    return Bench(agents, stations, random.SystemRandom().getrandbits(20), keys)


def _silent(site: Site) -> Fault:
    """A port on which the router does not answer is a fault; the test goes on, to find what else is wrong."""
    text = f"{site.server} does not answer ARP for {site.router_address} on port {site.port}: is {site.server} up?"
    return Fault("nothing arrived", text, "start", 0, site.port, None, site.server)
