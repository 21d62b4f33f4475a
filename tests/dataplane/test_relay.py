"""VLB's phases in a fly: what the source MAC says, and where a server on the way sends a frame."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rbops.dataplane.xdp.libbpf import XDP_DROP, XDP_REDIRECT, XDP_TX
from rbops.node.reach import Said
from rbops.vlb.phases import NONE, relay
from tests.dataplane.frames import ethernet, fabric, ipv4, ipv6
from tests.dataplane.router import Router, route

pytestmark = pytest.mark.root

HOPS = {"1": "int4", "2": "int4", "3": "int5"}
"""Server 0 of a fly: servers 1 to 3 own ports as it does, 4 to 6 lie between; two cables to 4."""


def source(via: int, entry: int) -> bytes:
    return b"\x02\x56" + via.to_bytes(2, "big") + entry.to_bytes(2, "big")


@pytest.fixture
def fly(make_router: Callable[..., Router]) -> Router:
    peers = {"int4": 4, "int4b": 4, "int5": 5, "int6": 6}
    inside = [
        {"name": name, "kind": "internal", "peer_server": peer, "rate_bps": 10**9} for name, peer in peers.items()
    ]
    return make_router(
        servers=7,
        routes=[route(f"198.18.{port}.0/24", port, 1) for port in range(4)],
        ports=[{"name": "ext0", "kind": "external", "id": 0, "rate_bps": 10**9}, *inside],
        owners=[0, 1, 2, 3],
        next_hop=HOPS,
        intermediates=[1, 2, 3],
        relays=True,
        direct_quota_bps=1,
    )


def leaves(router: Router, port: str, frame: bytes) -> tuple[str, bytes]:
    """The neighbour that a frame leaves for, and its source MAC."""
    before = {name: count["tx_packets"] for name, count in router.plane.counters()["ports"].items()}
    ran = router.receive(port, frame)
    assert ran.verdict == XDP_REDIRECT
    after = {name: count["tx_packets"] for name, count in router.plane.counters()["ports"].items()}
    (out,) = [name for name in after if after[name] > before[name]]
    return out.removesuffix("b"), ran.frame[6:12]


def test_the_input_server_writes_the_intermediate(fly: Router) -> None:
    """No quota: flows to 1 take turns over 2 and 3. Where none is left they go directly, and no server is named."""
    packet = ethernet(fly.mac("ext0"), ipv4("198.18.1.2"))
    fly.set_tick(1000)
    flows = [ethernet(fly.mac("ext0"), ipv4("198.18.1.2", source=f"198.18.0.{number}")) for number in range(10, 19)]
    found = {leaves(fly, "ext0", flow) for flow in flows}
    assert found == {("int4", source(2, 0)), ("int5", source(3, 0))}
    assert {path["via"] for path in fly.plane.counters()["paths"] if path["packets"]} == {2, 3}
    fly.plane.set_alive(2, alive=False)
    fly.plane.set_alive(3, alive=False)
    assert leaves(fly, "ext0", packet) == ("int4", source(NONE, 0))
    assert {path["via"] for path in fly.plane.counters()["paths"] if path["packets"]} == {None, 2, 3}


def test_what_is_broken_behind_an_intermediate_is_left_out(fly: Router) -> None:
    """2 is no neighbour. Neighbours' probes say that it cannot reach 1: flows to 1 take 3, those to 3 may take 2."""
    fly.set_tick(1000)
    probing = fly.plane.probing()
    said = Said(2, 7, 1 << 1)
    assert probing.said(1) is None
    assert fly.receive("int4", probing.frame(fly.mac("int4"), 1, 0, said)).verdict == XDP_TX
    assert (probing.said(1), probing.said(2)) == (said, None)
    assert len(probing.frame(fly.mac("int4"), 1, 0, said)) == len(probing.frame(fly.mac("int4"), 1, 0)) + 40

    def over(port: int) -> set[bytes]:
        flows = [ethernet(fly.mac("ext0"), ipv4(f"198.18.{port}.2", source=f"198.18.0.{n}")) for n in range(10, 19)]
        return {leaves(fly, "ext0", flow)[1] for flow in flows}

    probing.set_cut(2, said.cut)
    assert (over(1), over(3)) == ({source(3, 0)}, {source(1, 0), source(2, 0)})
    probing.set_cut(2, 0)
    fly.set_tick(60_000)
    assert over(1) == {source(2, 0), source(3, 0)}


def test_a_server_on_the_way_does_as_the_model(fly: Router) -> None:
    servers = st.sampled_from([1, 2, 3])

    @given(
        st.sampled_from([0, 1, 2, 3, 6, 300, NONE]),
        servers,
        st.integers(0, NONE),
        st.sets(servers),
        st.sampled_from([4, 6]),
    )
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def check(via: int, owner: int, entry: int, dead: set[int], family: int) -> None:
        for server in (1, 2, 3):
            fly.plane.set_alive(server, alive=server not in dead)
        packet, protocol = (ipv4("198.18.9.9"), 0x0800) if family == 4 else (ipv6("2001:db8::9"), 0x86DD)
        frame = ethernet(fabric(owner, 1), packet, source=source(via, entry), protocol=protocol)
        goal, left = relay(0, via, owner, {1, 2, 3} - dead)
        if goal in dead:
            assert fly.receive("int6", frame).verdict == XDP_DROP
        else:
            assert leaves(fly, "int6", frame) == (HOPS[str(goal)], source(left, entry))

    check()


def test_a_frame_for_a_port_of_its_own_leaves_whoever_is_named(fly: Router) -> None:
    for via in (0, 2, NONE):
        assert leaves(fly, "int6", ethernet(fabric(0, 1), ipv4("198.18.0.2"), source=source(via, 3)))[0] == "ext0"


def test_a_kernels_own_frame_has_no_intermediate_and_a_strangers_is_refused(fly: Router) -> None:
    near = bytes.fromhex("024f00000006")
    frame = ethernet(fabric(1, 0), ipv4("198.18.1.1"), source=near)
    assert leaves(fly, "int6", frame) == ("int4", source(NONE, NONE))
    stranger = ethernet(fabric(1, 0), ipv4("198.18.1.1"), source=b"\x02\x4f\0\0\0\x66")
    assert fly.receive("int6", stranger).verdict == XDP_DROP
    assert fly.counted()["dropped.unknown_neighbor"] == 1


def test_flows_of_both_families_keep_to_a_cable_of_a_bundle(fly: Router) -> None:
    def cables(packets: list[bytes], protocol: int) -> list[str]:
        found = []
        for packet in packets:
            before = fly.plane.counters()["ports"]
            fly.receive("int6", ethernet(fabric(1, 1), packet, source=source(NONE, 3), protocol=protocol))
            after = fly.plane.counters()["ports"]
            found += [name for name in after if after[name]["tx_packets"] > before[name]["tx_packets"]]
        return found

    old = [ipv4("198.18.1.2", source=f"198.18.3.{number}") for number in range(16)]
    new = [ipv6(f"2001:db8::{number:x}") for number in range(16)]
    for packets, protocol in ((old, 0x0800), (new, 0x86DD)):
        first = cables(packets, protocol)
        assert set(first) == {"int4", "int4b"}
        assert cables(packets, protocol) == first
