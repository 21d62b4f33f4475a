"""Queues and cores: what was counted becomes a verdict on each queue, and a fault that names it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rbops.plan import ClusterPlan, Queue
from rbops.selftest.result import PortService
from rbops.selftest.serving import QueueCounts, affinity_faults, parse_queue_counts, service

from .conftest import make_plan

MOVED = "n0:ext0 queue 1 (core 1): it received 5,000 packets and core 1 handled 100; more than their own:"


def raw(
    packets: dict[str, int], cores: dict[str, int], irqs: dict[int, dict[str, int]] | None = None, port: str = "ext0"
) -> dict[str, Any]:
    """What rbops-node says of one port."""
    vectors = [{"number": 40 + q, "way": "both", "queue": q, "cpus": cpus} for q, cpus in (irqs or {}).items()]
    vectors.append({"number": 90, "way": "tx", "queue": 0, "cpus": {"9": 10**6}})
    return {
        "served": {port: cores},
        "queues": {"ports": {port: {"device": "eth0", "irqs": vectors, "packets": packets}}, "softirqs": {}},
    }


def parsed(*args: Any, **more: Any) -> QueueCounts:
    found = parse_queue_counts(raw(*args, **more))
    assert found is not None
    return found


def judged(after: QueueCounts, before: QueueCounts | None = None, plan: ClusterPlan | None = None) -> PortService:
    (found,) = service(plan or make_plan(), {"n0": after.since(before or QueueCounts())})
    return found


def texts(port: PortService) -> list[str]:
    return [fault.text for fault in affinity_faults((port,), "matrix")]


def test_as_planned() -> None:
    before = parsed({"0": 100, "1": 0}, {"0": 100, "1": 0}, {0: {"0": 5, "1": 900}, 1: {"1": 2}})
    after = parsed({"0": 10_100, "1": 20_000}, {"0": 10_080, "1": 20_030}, {0: {"0": 805, "1": 903}, 1: {"1": 902}})
    port = judged(after, before)
    assert texts(port) == [], "what was before the load does not count, nor the first interrupts after a move"
    assert [(queue.core, queue.packets, queue.interrupts) for queue in port.queues] == [
        (0, 10_000, ((0, 800), (1, 3))),
        (1, 20_000, ((1, 900),)),
    ]
    assert port.cores == ((0, 9_980), (1, 20_030))


def test_probes_are_no_packets_that_a_core_received() -> None:
    """A long phase with few packets has hundreds of them."""
    probes = {"ext0": {"asked": 300, "answered": 298, "sent": 300}}
    after = parse_queue_counts({**raw({"0": 1600, "1": 1000}, {"0": 1000, "1": 1000}), "probes": probes})
    assert after is not None
    assert texts(judged(after)) == []
    few = parse_queue_counts({**raw({"0": 2000, "1": 1000}, {"0": 1000, "1": 1000}), "probes": probes})
    assert few is not None
    assert texts(judged(few)) == ["n0:ext0 queue 0 (core 0): it received 2,000 packets and core 0 handled 1,000"]


def test_interrupts_on_another_core() -> None:
    port = judged(parsed({"0": 5000, "1": 5000}, {"0": 5000, "1": 5000}, {0: {"0": 10, "3": 790}, 1: {"1": 800}}))
    assert texts(port) == [
        "n0:ext0 queue 0 (core 0): 790 of its 800 interrupts were not on core 0: 790 on CPU 3",
    ]
    (fault,) = affinity_faults((port,), "matrix")
    assert (fault.kind, fault.server, fault.phase, fault.packets) == ("affinity", "n0", "matrix", 5000)


def test_packets_on_another_core() -> None:
    port = judged(parsed({"0": 5000, "1": 5000}, {"0": 9900, "1": 100}))
    assert texts(port) == [
        f"{MOVED} CPU 0 4,900",
    ]
    assert texts(judged(parsed({"0": 5000, "1": 5000}, {"0": 5000, "1": 100, "7": 4900}))) == [
        f"{MOVED} CPU 7 4,900",
    ]


def test_a_core_with_several_queues() -> None:
    plan = make_plan()
    server = plan.servers[0]
    queues = (Queue(0, 1, 0), Queue(1, 1, 1), Queue(2, 1, 1))
    owner = replace(server, ports=(replace(server.ports[0], queues=queues),))
    shared = replace(plan, servers=(owner, *plan.servers[1:]))
    assert texts(judged(parsed({"0": 10, "1": 4000, "2": 5000}, {"1": 9010}), plan=shared)) == []
    (text,) = texts(judged(parsed({"0": 10, "1": 4000, "2": 5000}, {"0": 9010}), plan=shared))
    assert "queue 2 (core 1): it received 9,010 packets and core 1 handled 0" in text


def test_a_driver_that_does_not_count_by_queue() -> None:
    assert texts(judged(parsed({}, {"0": 9000, "1": 10}))) == []
    assert texts(judged(parsed({}, {"0": 9000, "5": 900}))) == [
        "n0:ext0 queue 0 (core 0): CPUs that own no queue of the port handled packets: CPU 5 900"
    ]
    assert judged(parsed({}, {"0": 9})).queues[0].packets is None


def test_a_data_plane_that_does_not_count_by_core() -> None:
    found = raw({"0": 5000, "1": 5000}, {})
    del found["served"]
    served = parse_queue_counts(found)
    assert served is not None
    assert texts(judged(served)) == []


def test_counters_that_began_anew() -> None:
    before = parsed({"0": 9_000_000}, {"0": 9_000_000}, {0: {"1": 800}})
    port = judged(parsed({"0": 500}, {"0": 510}, {0: {"0": 30}}), before)
    assert texts(port) == []
    assert port.queues[0].packets == 500


def test_servers_without_counts_are_left_out() -> None:
    assert parse_queue_counts({"error": "no router is loaded"}) is None
    assert parse_queue_counts({"served": {}}) is None
    assert service(make_plan(), {}) == ()
