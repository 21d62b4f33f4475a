"""Starts an agent for every external port and reads what the phases need to know of it."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Protocol

from rbops.deploy.inventory import Target
from rbops.errors import Mismatch, UsageError
from rbops.plan import ClusterPlan, Route
from rbops.selftest.bench import CAPACITY_WORDS, Bench
from rbops.selftest.local import local_tester
from rbops.selftest.options import OVERALL_S, SelftestOptions
from rbops.selftest.ports import AttachedTester, PortUnderTest, ports_under_test, ports_under_test6
from rbops.selftest.result import Fault
from rbops.selftest.tester import Agents
from rbops.selftest.travel import open_sessions, remote_tester

__all__ = [
    "PortWithTester",
    "TesterLike",
    "cores_of",
    "launch",
    "make_benches",
    "ports_with_testers",
    "ports_with_testers6",
    "slow_testers",
]

_RESOLVE_S = 3.0
_NO_MAC = "02:00:00:00:00:00"


class TesterLike(Protocol):
    """The attributes used of an inventory's tester (``rbops.deploy.inventory.Tester``)."""

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
    def target(self) -> Target | None:
        """The machine that it is on; None: this one."""


PortWithTester = tuple[PortUnderTest, TesterLike]
"""An external port, and its tester."""


def ports_with_testers(
    plan: ClusterPlan, testers: Iterable[TesterLike], options: SelftestOptions, routes: Iterable[Route] = ()
) -> tuple[PortWithTester, ...]:
    """The external ports to test between, each with its tester; changes nothing.

    Raises Mismatch (3) when a port has no usable tester, UsageError (2) without root.
    """
    return _with_testers(ports_under_test(plan, seed=options.seed, routes=routes, only=options.ports), testers, options)


def ports_with_testers6(
    plan: ClusterPlan, testers: Iterable[TesterLike], options: SelftestOptions
) -> tuple[tuple[PortWithTester, ...], str | None]:
    """Those that are tested with IPv6, and a note on ports that have IPv6 and are not; raises as for IPv4.

    None where the spec has no IPv6, or not two ports whose IPv6 neighbour has a MAC in it.
    """
    found = ports_under_test6(plan, seed=options.seed)
    have = [port.port for port in plan.ports6 if options.ports is None or port.port in options.ports]
    left = [str(port) for port in have if port not in {one.port for one in found}]
    note = f"IPv6 is not tested on port {', '.join(left)}: no neighbour with a MAC in the spec" if left else None
    found = _chosen(found, options)
    if len(found) < 2:  # noqa: PLR2004  from one port to another
        if have:
            note = "IPv6 is not tested: no two of the ports have an IPv6 neighbour with a MAC in the spec"
        return (), note
    return _with_testers(found, testers, options), note


def _with_testers(
    found: tuple[PortUnderTest, ...], testers: Iterable[TesterLike], options: SelftestOptions
) -> tuple[PortWithTester, ...]:
    found = _chosen(found, options)
    by_port = {tester.port: tester for tester in testers}
    missing = [port.port for port in found if port.port not in by_port]
    if missing:
        raise Mismatch(
            f"no tester in the inventory for external port {', '.join(map(str, missing))}",
            code="selftest.no-tester",
            hint="add one host for each external port to the group rbops_testers, as `rbops lab up` does, or test "
            "between the others alone with --ports",
        )
    if len(found) < 2:  # noqa: PLR2004  from one port to another
        raise Mismatch(
            "a self-test sends from one external port to another, expected two or more", code="selftest.one-port"
        )
    if os.geteuid() != 0 and any(by_port[port.port].target is None for port in found):
        raise UsageError(
            "the self-test needs root, to send and check packets with XDP",
            code="selftest.needs-root",
            hint="run it with sudo",
        )
    return tuple((port, by_port[port.port]) for port in found)


def _chosen(found: tuple[PortUnderTest, ...], options: SelftestOptions) -> tuple[PortUnderTest, ...]:
    """Those that --limit and --ports leave."""
    return tuple(
        port
        for port in found
        if (options.servers is None or port.server in options.servers)
        and (options.ports is None or port.port in options.ports)
    )


def launch(where: Sequence[PortWithTester], lifetime_s: float = 4 * OVERALL_S) -> Agents:
    """Start an agent for every tester; they end with their context, with this process, and after that time.

    Raises Unreachable (4) for machines that cannot be logged in to.
    """
    held = ExitStack()
    agents = Agents([], held.close)
    try:
        sessions = open_sessions((tester.target for _, tester in where if tester.target is not None), held)
        for port, tester in where:
            what = (port.port, tester.device, tester.netns)
            if tester.target is None:
                agents.all.append(local_tester(*what, lifetime_s=lifetime_s))
            else:
                agents.all.append(remote_tester(*what, sessions[tester.target.name], lifetime_s=lifetime_s))
    except BaseException:
        agents.__exit__()
        raise
    return agents


def make_benches(
    where: Sequence[PortWithTester],
    agents: Agents,
    options: SelftestOptions,
    flows: int,
    faults: list[Fault],
    hops: Callable[[str, str], int] = lambda *_: 1,
    others: Sequence[PortUnderTest] = (),
) -> list[Bench]:
    """Attach generators and sinks, with room for ``flows`` a pair: a bench of the ports of ``where``, and one of the
    ``others``, which are some of them in another family; of no ports none is made.

    A port without a router is added to ``faults``. ``hops``: by how much the TTL of a packet from one server to
    another becomes less.
    """
    agents.start()
    facts = agents.call("hello")
    # As many cores as every device has queues: a queue then has one sender (paper 4.2, rule 1).
    queues = min(min(port.queues, fact["rx_queues"]) for (port, _), fact in zip(where, facts, strict=True))
    agents.each("pin", [{"cpu": cpu} for cpu in cores_of(facts, queues)])
    attached = agents.call("attach", testers=len(where), flows=flows, words=CAPACITY_WORDS)
    facts = [fact | native for fact, native in zip(facts, attached, strict=True)]
    choose = random.Random(options.seed)  # noqa: S311  identifies a run, not a secret
    keys = (choose.getrandbits(64), choose.getrandbits(64))
    run, found = random.SystemRandom().getrandbits(20), list[Bench]()
    places = {port.port: at for at, (port, _) in enumerate(where)}
    for ports in ([port for port, _ in where], list(others)):
        if not ports:
            continue
        own = [places[port.port] for port in ports]
        some = agents if len(own) == len(where) else Agents([agents.all[at] for at in own])
        testers = _attached(ports, [facts[at] for at in own], some, faults, hops)
        made = Bench(some, testers, run, keys, ports[0].family, len(where))
        found.append(replace(made, epochs=found[0].epochs) if found else made)
    return found


def _attached(
    ports: Sequence[PortUnderTest],
    facts: Sequence[Mapping[str, Any]],
    agents: Agents,
    faults: list[Fault],
    hops: Callable[[str, str], int],
) -> list[AttachedTester]:
    """The testers, after the router was asked for its MAC on each port."""
    asked = [{"address": port.router_address, "own": port.address, "wait_s": _RESOLVE_S} for port in ports]
    testers = []
    for index, (port, fact, answer) in enumerate(zip(ports, facts, agents.each("resolve", asked), strict=True)):
        if answer["mac"] is None:
            faults.append(_silent(port))
        longer = {to.server: n for to in ports if (n := hops(port.server, to.server)) != 1}
        testers.append(
            AttachedTester(index, port, fact["mac"], answer["mac"] or _NO_MAC, longer, fact["boot"], fact["native"])
        )
    return testers


def cores_of(facts: Sequence[Mapping[str, Any]], queues: int) -> Iterator[int]:
    """A core for each agent, of those of its machine in turn: a machine is one boot, under whichever names."""
    seen: Counter[str] = Counter()
    for fact in facts:
        cores = fact["cpus"][:queues]
        yield cores[seen[fact["boot"]] % len(cores)]
        seen[fact["boot"]] += 1


def slow_testers(bench: Bench) -> list[str]:
    """A note about ports whose tester's driver has no XDP, if there are any."""
    ports = [str(tester.at.port) for tester in bench.testers if not tester.native]
    text = (
        f"the driver of the tester of port {', '.join(ports)} has no XDP: it sends through a packet socket, so rates "
        "are the tester's, not the router's"
    )
    return [text] if ports else []


def _silent(port: PortUnderTest) -> Fault:
    """A port on which the router does not answer is a fault; the test continues, to find others."""
    way = "ARP" if port.family == 4 else "neighbour discovery"  # noqa: PLR2004  the family
    text = f"{port.server} does not answer {way} for {port.router_address} on port {port.port}: is {port.server} up?"
    return Fault("nothing arrived", text, "start", 0, port.port, None, port.server)
