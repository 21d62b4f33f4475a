"""Servers of any make: they are planned within their ports, queues and CPUs, or refused with a reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.affinity.rules import check
from rbops.errors import SpecError
from rbops.planner import Planning, planning
from rbops.spec.document import Spec
from rbops.spec.hardware import Device, Hardware, Nic, Slot
from rbops.spec.hosts import Host, Servers
from rbops.spec.ports import PortSpec
from rbops.spec.router import Router

G = 10**9

NICS = st.builds(
    Nic,
    driver=st.sampled_from(["ixgbe", "igb", "ice", "i40e", "mlx5_core", "e1000e", "virtio_net", "veth", "unheard_of"]),
    ports=st.sampled_from([1, 2, 4, 8]),
    port_rate_bps=st.sampled_from([G, 10 * G, 25 * G, 40 * G, 100 * G]),
    queues=st.sampled_from([1, 2, 8, 64, 1024]),
    slot=st.sampled_from([None, "a", "b"]),
    numa_node=st.sampled_from([None, 0, 1]),
    achievable_bps=st.sampled_from([None, G // 1000, 12_300_000_000]),
    devices=st.sampled_from([(), (Device("eno1", management=True),)]),
)
HARDWARE = st.builds(
    Hardware,
    sockets=st.integers(1, 2),
    cores_per_socket=st.sampled_from([1, 2, 8, 65, 130]),
    clock_hz=st.sampled_from([10**6, 2_500_000_000, 100 * G]),
    nics=st.lists(NICS, min_size=1, max_size=8).map(tuple),
    threads_per_core=st.integers(1, 2),
    offline=st.sampled_from([(), (1,)]),
    slots=st.just((Slot("a", 1, 1), Slot("b", 5, 16, 0))),
)
SPECS = st.builds(
    Spec,
    name=st.just("x"),
    router=st.builds(
        Router,
        external_ports=st.integers(1, 24),
        line_rate_bps=st.sampled_from([10**6, G, 10 * G, 40 * G, 100 * G]),
        application=st.sampled_from(["forward", "route"]),
        traffic=st.sampled_from(["uniform", "worst-case"]),
        packets=st.sampled_from([64, 1518, "imix", "abilene"]),
        allow=st.sampled_from([(), ("shared-queues",)]),
    ),
    servers=st.builds(Servers, profile=st.none(), hardware=HARDWARE, numa=st.sampled_from(["prefer", "ignore"])),
    ports=st.lists(st.sampled_from(["n0", "n1", "n2"]), max_size=6).map(
        lambda servers: tuple(PortSpec(port, server=server) for port, server in enumerate(servers))
    ),
    dataplane=st.sampled_from(["xdp", "click"]),
    hosts=st.one_of(st.just({}), HARDWARE.map(lambda one: {"n1": Host(hardware=one)})),
)


@settings(max_examples=300, deadline=None)
@given(SPECS)
def test_any_hardware_is_planned_or_refused(spec: Spec) -> None:
    try:
        made = planning(spec)
    except SpecError:
        return
    within_the_hardware(made)
    plan = made.plan
    ends = Counter(end for link in plan.links for end in (link.a, link.b))
    internal = {f"{s.name}:{p.name}": p.rate_bps for s in plan.servers for p in s.ports if p.kind == "internal"}
    assert ends == Counter(dict.fromkeys(internal, 1))
    assert all(internal[link.a] == internal[link.b] == link.rate_bps for link in plan.links)
    assert plan.topology.internal_link.provided_bps >= plan.topology.internal_link.required_bps
    # A driver that refuses XDP forwards nothing, and that is said.
    assert plan.prediction.rate_bps > 0 or any(one.predicted_loss == 1 for one in plan.violations)
    assert plan.prediction.rate_bps <= spec.router.external_ports * spec.router.line_rate_bps
    reported = {(one.rule, one.server) for one in plan.violations}
    assert {(one.rule, one.server) for one in check(plan)} <= reported


def within_the_hardware(made: Planning) -> None:
    """No port twice, no more queues than the card has, no CPU that is offline, and no port slower than its line."""
    for kind in made.built.kinds:
        taken = Counter((seat.slot, seat.position) for seat in kind.card_ports)
        assert set(taken.values()) <= {1}
        online = {core.id for core in kind.machine.cores}
        for index in kind.servers:
            server = made.plan.servers[index]
            assert set(server.cores.dataplane) | set(server.cores.housekeeping) <= online
            assert server.cores.dataplane
            for port, seat in zip(server.ports, kind.card_ports, strict=True):
                assert seat.position < seat.card.ports
                assert port.rate_bps <= seat.card.port_rate_bps
                assert 1 <= len(port.queues) <= seat.card.queues


def test_a_cable_runs_at_the_fastest_rate_of_both_ends() -> None:
    """Two cards of 10 and 25 Gbps in all servers but n2 (25 only): all are joined, the slowed port is told."""
    ten, fast = Nic("ixgbe", 2, 10 * G, 16), Nic("ice", 2, 25 * G, 64)
    both = Hardware(sockets=1, cores_per_socket=8, clock_hz=3 * G, nics=(ten, fast))
    made = planning(
        Spec(
            name="x",
            router=Router(external_ports=4, line_rate_bps=10 * G),
            servers=Servers(profile=None, hardware=both),
            hosts={"n2": Host(hardware=replace(both, nics=(fast, fast)))},
        )
    )
    within_the_hardware(made)
    assert {(link.a, link.b): link.rate_bps // G for link in made.plan.links} == {
        ("n0:int1", "n1:int0"): 10,
        ("n0:int2", "n2:int0"): 25,
        ("n0:int3", "n3:int0"): 10,
        ("n1:int2", "n2:int1"): 25,
        ("n1:int3", "n3:int1"): 25,
        ("n2:int3", "n3:int2"): 25,
    }
    assert made.plan.topology.internal_link.provided_bps == 10 * G
    warning = "1 internal port of 25 Gbps: the other end has 10 Gbps"
    assert any(text.startswith(warning) for text in made.plan.warnings)
