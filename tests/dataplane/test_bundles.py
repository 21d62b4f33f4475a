"""Several cables to one server: flowlet by flowlet what rbops/vlb/model.py decides, and what a dead cable changes."""

from __future__ import annotations

import dataclasses
import os
import random
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rbops.dataplane.xdp import layout as shape
from rbops.dataplane.xdp.libbpf import XDP_REDIRECT
from rbops.errors import Mismatch
from rbops.vlb.model import MAX_FRAME, Flow, InputServer, VlbConfig
from tests.dataplane.frames import ethernet, fabric, ipv4
from tests.dataplane.router import Router, route
from tests.dataplane.test_shares import Clock
from tests.dataplane.test_vlb import Player
from tests.support.errors import raises

pytestmark = pytest.mark.root

CABLES = {"int1p0": 1, "int1p1": 1, "int1p2": 1, "int2p0": 2, "int2p1": 2, "int3": 3}
RATES = {"int1p0": 4_000_000, "int1p1": 6_000_000, "int1p2": 4_000_000, "int2p0": 3_000_000, "int2p1": 3_000_000}
RATES |= {"int3": 8_000_000}
QUOTA = 9_000_000


@pytest.fixture
def bundled(make_router: Callable[..., Router]) -> Router:
    return bundled_router(make_router)


def bundled_router(make_router: Callable[..., Router], cores: int = 1) -> Router:
    internal = [
        {"name": name, "kind": "internal", "peer_server": peer, "rate_bps": RATES[name]}
        for name, peer in CABLES.items()
    ]
    return make_router(
        servers=4,
        cores=list(range(cores)),
        routes=[route("0.0.0.0/0", 1, 1)],
        flowlet_entries=4,
        flowlet_timeout_s=0.02,
        direct_quota_bps=QUOTA,
        ports=[{"name": "ext0", "kind": "external", "id": 0, "rate_bps": 10**9}, *internal],
        next_hop={"1": "int1p0", "2": "int2p0", "3": "int3"},
        intermediates=[1, 2, 3],
    )


def model(tick: int, cores: int = 1) -> InputServer:
    bundles = {1: ("int1p0", "int1p1", "int1p2"), 2: ("int2p0", "int2p1")}
    return InputServer(
        VlbConfig(
            0, {1: "int1p0", 2: "int2p0", 3: "int3"}, RATES, (1, 2, 3), direct_quota_bps=QUOTA, flowlet_ticks=20,
            flowlet_entries=4, max_frame=MAX_FRAME, bundles=bundles, cores=cores,
        ),
        tick,
    )  # fmt: skip


def player_of(router: Router) -> Player:
    return Player(router, {"link_bps": RATES})


def flow_of(number: int) -> list[int]:
    return [0xC6120002, 0xC6120100 + number, 17, 1000 + number, 53]


class Both:
    """The router and the model, told the same."""

    def __init__(self, router: Router, cores: int = 1) -> None:
        self.plane, self.player, self.model = router.plane, player_of(router), model(1000, cores)

    def set_cable(self, port: str, *, alive: bool) -> None:
        self.plane.set_cable(port, alive=alive)
        self.model.set_cable(port, alive=alive)
        server = CABLES[port]
        self.plane.set_alive(server, alive=self.model.alive[server])


steps = st.lists(
    st.tuples(st.integers(0, 15), st.integers(0, 5), st.sampled_from([1, 2, 3]), st.sampled_from([60, 700, 1514])),
    max_size=80,
)


def test_does_as_the_model(bundled: Router) -> None:
    """Any packets at any times, some cables down; the state goes on from one example to the next."""
    both, now = Both(bundled), [1000]

    @given(steps, st.sets(st.sampled_from(sorted(set(CABLES) - {"int3"}))))
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def check(drawn: list[tuple[int, int, int, int]], down: set[str]) -> None:
        for port in CABLES:
            if port != "int3":
                both.set_cable(port, alive=port not in down)
        for later, number, dest, size in drawn:
            now[0] += later
            flow = flow_of(number)
            wanted = both.model.choose(now[0], 0, Flow(*flow), dest, size)
            assert both.player.choose(now[0], 0, flow, dest, size) == wanted.port

    check()


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs 2 CPUs")
def test_cores_share_each_cable(make_router: Callable[..., Router]) -> None:
    """The clock deals every cable's bucket by itself: what one core does not need of it the other one gets."""
    cpus, draw = os.sched_getaffinity(0), random.Random(3)  # noqa: S311 (a test's packets)
    router = bundled_router(make_router, 2)
    both, clock, tick, beyond = Both(router, 2), Clock(router), 1000, set()
    try:
        for number in range(400):
            tick += draw.choice([0, 1, 1, 1, 2, 30])
            if number % 50 == 25:
                both.set_cable("int1p1", alive=number % 100 == 75)
            for _ in range(draw.randrange(6)):
                core, flow = draw.choice([0, 0, 0, 0, 1]), draw.randrange(8)
                five, dest, size = flow_of(flow), draw.choice([1, 1, 1, 2]), draw.choice([60, 700, 1514])
                wanted = both.model.choose(tick, core, Flow(*five), dest, size)
                assert both.player.choose(tick, core, five, dest, size) == wanted.port, number
            both.model.deal()
            clock.tick()
            own, base = both.model.cores[0].links, {name: rate // 16000 for name, rate in RATES.items()}
            beyond |= {name for name, bucket in own.items() if bucket.refill > base[name]}
    finally:
        os.sched_setaffinity(0, cpus)
    assert {"int1p0", "int1p1"} <= beyond, "shares of single cables were dealt"


def test_frames_of_other_servers_spread_by_flow_over_the_cables_that_are_up(bundled: Router) -> None:
    both = Both(bundled)

    def leaves_by(number: int) -> str:
        flow = Flow(*flow_of(number))
        ports = struct.pack(">HH", flow.source_port, flow.destination_port)
        packet = ipv4(f"198.18.1.{number}", source="198.18.0.2", protocol=17, payload=ports + bytes(40))
        ran = bundled.receive("int3", ethernet(fabric(1, 1), packet))
        assert ran.verdict == XDP_REDIRECT
        port = next(name for name, mac in both.player.macs.items() if mac == ran.frame[6:12])
        assert port == both.model.forward(1000, 0, 1, len(ran.frame), flow)
        return port

    bundled.set_tick(1000)
    assert {leaves_by(number) for number in range(32)} == {"int1p0", "int1p1", "int1p2"}
    both.set_cable("int1p1", alive=False)
    assert {leaves_by(number) for number in range(32)} == {"int1p0", "int1p2"}
    both.set_cable("int1p1", alive=True)
    assert {leaves_by(number) for number in range(32)} == {"int1p0", "int1p1", "int1p2"}


def test_a_silent_cable_is_left_out_alone(bundled: Router) -> None:
    player, probing = player_of(bundled), bundled.plane.probing()
    flow = flow_of(1)
    assert player.choose(1000, 0, flow, 1, 60) == "int1p1"  # it holds the most
    number = ["ext0", *CABLES].index("int1p1")
    probing.set_cable_silent(number, silent=True)
    assert player.choose(1001, 0, flow, 1, 60) == "int1p0"
    probing.set_cable_silent(number, silent=False)
    assert player.choose(1002, 0, flow, 1, 60) == "int1p0"  # the flowlet stays


def test_more_cables_than_the_program_looks_at_are_refused(bundled: Router) -> None:
    many = [f"int1p{number}" for number in range(shape.MAX_XDP_BUNDLE + 1)]
    fabric_of: Any = bundled.plane._config.fabric
    port = fabric_of.ports[1]
    crowded = dataclasses.replace(
        fabric_of, ports=tuple(dataclasses.replace(port, name=name) for name in many), next_hop={1: "int1p0"}
    )
    with raises(Mismatch, "xdp.capacity"):
        shape._check_sizes(crowded, [])
