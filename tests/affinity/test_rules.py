"""The checker finds each breach, knowing nothing of how plans are made."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rbops.affinity.rules import check, check_server
from rbops.affinity.steering import steering
from rbops.plan import ClusterPlan, Cores, Port, Queue, Server
from rbops.planner import plan_spec
from rbops.spec.document import Spec
from rbops.spec.hosts import Servers
from rbops.spec.router import Router

QUEUES = (Queue(0, 0, 0), Queue(1, 1, 1))


@pytest.fixture(scope="module")
def plan() -> ClusterPlan:
    return plan_spec(Spec("rb4", Router(4, 10_000_000_000), Servers("lab")))


def broken(plan: ClusterPlan, queues: tuple[Queue, ...], cores: Cores | None = None) -> Server:
    server = plan.servers[0]
    ports = (replace(server.ports[0], queues=queues), *server.ports[1:])
    return replace(server, ports=ports, cores=cores or server.cores)


def test_a_plan_keeps_both_rules(plan: ClusterPlan) -> None:
    assert check(plan) == ()


@pytest.mark.parametrize(
    ("queues", "rule", "text"),
    [
        ((Queue(0, 0, 0), Queue(0, 1, 1)), "rule1", "numbered"),
        ((), "rule1", "numbered"),
        ((Queue(0, 0, 0), Queue(1, 7, 1)), "rule1", "not in the data plane"),
        ((Queue(0, 0, 0),), "rule2", "own no transmit queue"),
        ((Queue(0, 0, 0), Queue(1, 0, 0)), "rule2", "own no transmit queue"),
    ],
)
def test_breaches_are_found(plan: ClusterPlan, queues: tuple[Queue, ...], rule: str, text: str) -> None:
    found = list(check_server(broken(plan, queues)))
    assert any(one.rule == rule and text in one.detail for one in found), found


@pytest.mark.parametrize("cores", [Cores((0, 1), (1,)), Cores((0, 1, 1), ())])
def test_a_cpu_has_one_task(plan: ClusterPlan, cores: Cores) -> None:
    assert any(one.rule == "rule2" for one in check_server(broken(plan, QUEUES, cores)))


@pytest.mark.parametrize(
    ("queues", "text"),
    [
        (tuple(Queue(i, 70, 70) for i in range(64)), "redirect fails on CPUs [70]"),
        ((Queue(0, 0, 1), Queue(1, 1, 0)), "CPUs [0, 1] use transmit rings that others own"),
    ],
)
def test_xdp_takes_the_ring_of_its_cpu(plan: ClusterPlan, queues: tuple[Queue, ...], text: str) -> None:
    cores = Cores(tuple(sorted({queue.rx_core for queue in queues})), ())
    server = plan.servers[0]
    changed = tuple(replace(port, queues=queues, driver="ice") for port in server.ports)
    bad = replace(server, ports=changed, cores=cores)
    assert any(text in one.detail for one in check_server(bad, rings_by_cpu=True))
    assert list(check_server(bad)) == []


def test_a_broken_server_among_equals_is_found(plan: ClusterPlan) -> None:
    bad = replace(broken(plan, (Queue(0, 0, 0),)), name="n3")
    found = check(replace(plan, servers=(*plan.servers[:3], bad)))
    assert {one.server for one in found} == {"n3"}


def ports(driver: str, queues: int) -> tuple[Port, ...]:
    return tuple(
        Port(name, "internal", f"n{peer}:int0", 1, tuple(Queue(i, i, i) for i in range(queues)), driver=driver)
        for peer, name in ((1, "int1"), (2, "int2"))
    )


def test_steering_gives_each_output_port_a_queue() -> None:
    rules = list(steering(ports("mlx5_core", 2), [(0, 1), (2, 1)], 3))
    assert [(rule.mac, rule.queue) for rule in rules if rule.port == "int1"] == [
        ("02:52:00:00:00:00", 0),
        ("02:52:00:00:00:01", 0),
        ("02:52:00:01:00:00", 1),
        ("02:52:00:02:00:00", 0),
        ("02:52:00:02:00:01", 0),
    ]
    assert {rule.port for rule in rules} == {"int1", "int2"}


def test_more_than_64_ports_are_not_steered() -> None:
    assert list(steering(ports("ice", 64), [], 65)) == []
