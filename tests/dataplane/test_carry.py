"""New memory, for another number of servers or other ports: what was counted, flowlets and dead cables outlive it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.dataplane.xdp import layout as shape
from rbops.dataplane.xdp.carry import about
from rbops.dataplane.xdp.counters import added
from tests.dataplane.frames import ethernet, fabric, ipv4
from tests.dataplane.router import Router, default_routes, fib_of, run

pytestmark = pytest.mark.root

MESH = {"routing": "vlb", "flowlet_timeout_s": 10}
FLOWS = [f"198.18.0.{number}" for number in range(10, 22)]


def resized(router: Router, servers: int, **changes: Any) -> list[str]:
    """Apply a mesh with so many servers."""
    have = {port["name"]: port for port in router.config["ports"]}
    cables = [
        {"name": f"int{peer}", "kind": "internal", "peer_server": peer, "rate_bps": 10**9} for peer in range(1, servers)
    ]
    there = {name for _, name in socket.if_nameindex()}
    for name in {str(port["name"]) for port in cables} - there:
        run("ip", "link", "add", name, "type", "veth", "peer", "name", f"far-{name}")
        run("ip", "link", "set", name, "up")
        run("ip", "link", "set", f"far-{name}", "up")
    mesh = {
        "servers": servers,
        "ports": [have["ext0"], *cables],
        "owners": list(range(servers)),
        "next_hop": {str(peer): f"int{peer}" for peer in range(1, servers)},
        "intermediates": list(range(1, servers)),
    }
    router.write("fib", fib_of(default_routes(servers)))
    router.reopen(**{**mesh, **changes})
    return router.plane.apply()


def ways(router: Router, destination: str = "198.18.1.2") -> dict[str, bytes]:
    """The port's MAC that each flow leaves with."""
    frames = {flow: ethernet(router.mac("ext0"), ipv4(destination, source=flow)) for flow in FLOWS}
    return {flow: router.receive("ext0", frame).frame[6:12] for flow, frame in frames.items()}


def balanced(total: dict[str, dict[str, int]]) -> bool:
    """Each received frame is in exactly one of the others."""
    counted = sum(sum(total[group].values()) for group in ("forwarded", "punted", "dropped"))
    return sum(total["received"].values()) == counted


def test_a_server_more_and_one_fewer(make_router: Callable[..., Router]) -> None:
    router = make_router(**MESH)
    router.set_tick(1000)
    router.plane.set_alive(3, alive=False)
    router.plane.set_drained(2, drained=True)
    router.plane.probing().note(2, 100, 5, 3, 1)
    first, before = ways(router), router.plane.counters()
    assert first == ways(router), "flowlets keep their path"
    before = router.plane.counters()

    assert any("loaded" in line for line in resized(router, 5))
    now = router.plane.counters()
    assert now["total"] == before["total"]
    assert now["cores"] == before["cores"]
    assert now["paths"] == before["paths"]
    assert {name: now["ports"][name] for name in before["ports"]} == before["ports"]
    assert ways(router) == first, "in the new memory too"
    assert (router.plane.status()["dead"], router.plane.status()["drained"]) == ([3], [])
    assert router.plane.probing().noted(2) == (100, 5, 3, 1)
    assert resized(router, 5) == []

    router.plane.set_alive(3, alive=True)
    assert len(set(ways(router, "198.18.3.2").values())) == 4, "new ones take them all, int4 too"
    largest = router.plane.counters()
    resized(router, 3)
    now = router.plane.counters()
    assert now["total"] == largest["total"]
    assert balanced(now["total"])
    assert set(now["ports"]) == {"ext0", "int1", "int2"}
    assert {path["to"] for path in now["paths"]} <= {1, 2}
    ways(router)
    assert sum(router.plane.counters()["total"]["forwarded"].values()) == (
        sum(largest["total"]["forwarded"].values()) + len(FLOWS)
    )
    resized(router, 5)
    again = router.plane.counters()
    assert again["ports"]["int4"]["tx_packets"] == largest["ports"]["int4"]["tx_packets"] > 0
    assert {path["to"] for path in again["paths"]} == {1, 3}


def test_a_flowlet_over_a_server_that_goes_takes_another_path(make_router: Callable[..., Router]) -> None:
    router = make_router(**MESH)
    router.set_tick(1000)
    first, gone = ways(router), router.mac("int3")
    assert gone in first.values()
    resized(router, 3)
    now = ways(router)
    assert gone not in now.values()
    assert {flow: mac for flow, mac in first.items() if mac != gone}.items() <= now.items()


def test_ports_in_another_order_keep_what_is_theirs(make_router: Callable[..., Router]) -> None:
    router = make_router(**MESH)
    router.set_tick(1000)
    router.receive("int3", ethernet(fabric(0, 1), ipv4("198.18.0.2")))
    router.plane.probing().note(3, 100, 5, 3, 1)
    first, before = ways(router), router.plane.counters()
    ext0, *cables = router.config["ports"]
    router.reopen(ports=[ext0, *reversed(cables)])
    router.plane.apply()
    now = router.plane.counters()
    assert now == {**before, "probes": now["probes"]}
    assert now["ports"]["int3"]["rx_packets"] == 1
    assert router.plane.probing().noted(1) == (100, 5, 3, 1)
    assert ways(router) == first


def test_other_numbers_keep_the_sums_alone(make_router: Callable[..., Router]) -> None:
    """This server was number 0 and is 1: paths and flowlets of before mean others now."""
    router = make_router(**MESH)
    ways(router)
    before = router.plane.counters()
    cables = [{**port, "peer_server": (0, 2, 3)[at]} for at, port in enumerate(router.config["ports"][1:])]
    router.reopen(
        server=1,
        servers=5,
        ports=[router.config["ports"][0], *cables],
        owners=[1, 0, 2, 3],
        next_hop={"0": "int1", "2": "int2", "3": "int3"},
        intermediates=[2, 3, 0],
    )
    router.plane.apply()
    now = router.plane.counters()
    assert (now["total"], now["paths"]) == (before["total"], [])
    loaded = router.plane._pins.load()
    assert loaded is not None
    block = bytes(loaded.memory("cores")[: loaded.layout.core])
    flowlets = shape.PATHS_AT + shape.TRAFFIC.size * loaded.layout.servers**2
    assert not any(block[flowlets:])


def test_memory_of_a_version_that_kept_nothing_begins_anew(make_router: Callable[..., Router]) -> None:
    router = make_router(**MESH)
    ways(router)
    (router.folder / "bpf" / "rbops" / "live" / "about").unlink()
    resized(router, 5)
    assert router.counted() == {}
    ways(router)
    before = router.plane.counters()["total"]
    resized(router, 4)
    assert router.plane.counters()["total"] == before


def test_what_is_kept_is_whole(make_router: Callable[..., Router]) -> None:
    """It is read back as it was written, however long it is."""
    router = make_router(**MESH)
    ways(router)
    loaded = router.plane._pins.load()
    assert loaded is not None
    kept = about(router.plane._config.fabric, loaded)
    text = json.loads(bytes(kept.memory()[: kept.value_size]))
    assert text["ports"][0] == ["ext0", "external"]
    assert text["carried"]["ports"]["ext0"]["rx_packets"] == len(FLOWS)


counts = st.integers(0, 2**40)
cpus = st.sampled_from(["0", "1", "2"])
reasons = st.dictionaries(st.sampled_from(["a", "b", "c"]), counts)
paths = st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 3)), st.tuples(counts, counts))


@st.composite
def counted(draw: st.DrawFn) -> dict[str, Any]:
    taken = sorted(draw(paths).items())
    return {
        "cores": draw(st.dictionaries(cpus, st.fixed_dictionaries({"dropped": reasons, "bytes": counts}))),
        "paths": [
            {"to": to, "via": None if to == via else via, "packets": packets, "bytes": size}
            for (to, via), (packets, size) in taken
        ],
        "ports": draw(st.dictionaries(st.sampled_from(["ext0", "int1"]), reasons)),
        "served": draw(st.dictionaries(st.sampled_from(["ext0", "int1"]), st.dictionaries(cpus, counts))),
    }


def numbers(found: Any) -> int:
    if isinstance(found, dict):
        return sum(numbers(value) for key, value in found.items() if key not in ("to", "via"))
    return sum(map(numbers, found)) if isinstance(found, list) else found


@given(counted(), counted())
@settings(deadline=None, max_examples=30)
def test_sums_are_of_both_and_in_any_order(one: dict[str, Any], other: dict[str, Any]) -> None:
    both = added(one, other)
    assert numbers(both) == numbers(one) + numbers(other)
    assert both == added(other, one)
    assert added(one, {}) == added({}, one) == one
