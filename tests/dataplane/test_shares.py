"""Cores share the direct quota and the links: what one does not need another one gets, and all together hold to it."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from rbops.dataplane.xdp import layout as shape
from rbops.dataplane.xdp.libbpf import Object
from rbops.dataplane.xdp.memory import MAP_OF
from rbops.vlb.model import MAX_FRAME, Flow, InputServer, VlbConfig
from tests.dataplane.router import Router
from tests.dataplane.test_vlb import Player, router_of

pytestmark = [pytest.mark.root, pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs 2 CPUs")]

QUOTA = 2500
"""Bytes a tick, of both cores together; the links to 1 and 3 carry 3,000."""


CONFIG: dict[str, Any] = {
    "server": 0,
    "cores": 2,
    "routing": "direct-vlb",
    "direct_quota_bps": 8000 * QUOTA,
    "flowlet_ticks": 100,
    "flowlet_entries": 1024,
    "max_frame": MAX_FRAME,
    "intermediates": [1, 2, 3],
    "next_hop": {"1": "int1", "2": "int2", "3": "int3"},
    "link_bps": {"int1": 24_000_000, "int2": 10**9, "int3": 24_000_000},
}


class Clock:
    """The program's clock, a tick at a call: on the maps of a router that has none of its own."""

    def __init__(self, router: Router) -> None:
        loaded = router.plane._pins.load()
        assert loaded is not None
        layout = loaded.layout
        constants = {
            "generation_bytes": layout.generation, "body_bytes": layout.body, "core_bytes": layout.core,
            "cpus": layout.cpus, "servers": layout.servers, "flowlet_mask": layout.flowlets - 1,
        }  # fmt: skip
        self._object = Object(router.config["object"])
        for name, number in constants.items():
            self._object.set_variable(name, number.to_bytes(4, "little"))
        for name, entry in loaded.maps.items():
            self._object.reuse(MAP_OF[name], entry)
        self._object.load()
        self._deal = self._object.program("deal_once")

    def tick(self) -> None:
        assert self._deal.call() == 0


@pytest.fixture
def shared(make_router: Callable[..., Router]) -> Iterator[tuple[Player, Clock]]:
    """Server 0 of four, two cores, 2,500 bytes a tick."""
    cpus = os.sched_getaffinity(0)
    router = router_of(make_router, CONFIG)
    clock = Clock(router)
    yield Player(router, CONFIG), clock
    os.sched_setaffinity(0, cpus)


def flow(number: int) -> list[int]:
    return [0xC6120002, 0xC6120100 + number, 17, 1000 + number, 53]


def test_one_core_may_use_all_of_the_quota(shared: tuple[Player, Clock]) -> None:
    """A flow of 0.95 of the quota on one core: with an equal share nearly half of it would take two hops."""
    player, clock = shared
    for tick in range(1000, 1100):
        for size in (1400, 975):
            assert player.choose(tick, 0, flow(1), 1, size) == "int1", tick
        clock.tick()


def test_many_servers_take_turns(make_router: Callable[..., Router]) -> None:
    """Of 256 servers half are looked at in a tick; a flow on one core gets what it needs all the same."""
    cpus = os.sched_getaffinity(0)
    hops = {"1": "int1", "2": "int2", "255": "int3"}
    config = {**CONFIG, "next_hop": hops, "intermediates": [1, 2]}
    router = router_of(make_router, config)
    clock, player = Clock(router), Player(router, config)
    try:
        for tick in range(1000, 1080):
            for size in (1400, 975):
                assert player.choose(tick, 0, flow(1), 255, size) == "int3", tick
            clock.tick()
    finally:
        os.sched_setaffinity(0, cpus)


def test_a_core_that_comes_back_has_its_part_again(shared: tuple[Player, Clock]) -> None:
    """Two cores that each want 0.8 of the quota: both get half, after one had all."""
    player, clock = shared
    direct = [0, 0]
    for tick in range(1000, 1160):
        for core in (0, 1) if tick >= 1040 else (0,):
            for size in (1200, 800):
                took = player.choose(tick, core, flow(2 * tick + core), 1, size)
                if tick >= 1100:
                    direct[core] += size * (took == "int1")
        clock.tick()
    assert sum(direct) == pytest.approx(60 * QUOTA, rel=0.1)
    assert min(direct) > 0.4 * sum(direct)


def test_all_cores_together_hold_to_the_quota(shared: tuple[Player, Clock]) -> None:
    """Whatever each wants and when: no more than one bucket of the quota would let through, and a tick."""
    player, clock = shared
    draw = random.Random(7)  # noqa: S311 (a test's packets)
    sent, depth = 0, 10 * QUOTA + 2 * 2 * MAX_FRAME
    for tick in range(1000, 1200):
        busy = draw.choice([(), (0,), (1,), (0, 1)])
        for core in busy:
            for _ in range(draw.randrange(6)):
                size = draw.choice([200, 800, 1500])
                sent += size * (player.choose(tick, core, flow(draw.randrange(1000)), 1, size) == "int1")
        assert sent <= depth + QUOTA * (tick - 1000 + 2)
        clock.tick()
    assert sent > 0.45 * 200 * QUOTA, "the quota is used"


def test_the_clock_deals(make_router: Callable[..., Router]) -> None:
    """A core that is offered more than its part of 100 bytes a tick gets what the other one does not need."""
    cpus = os.sched_getaffinity(0)
    router = router_of(partial(make_router, clock=True), {**CONFIG, "direct_quota_bps": 8000 * 200})
    player = Player(router, CONFIG)
    loaded = router.plane._pins.load()
    assert loaded is not None
    cores, deadline = loaded.memory("cores"), time.monotonic() + 60

    def more() -> list[int]:
        """What each core refills towards server 1 beyond an equal part."""
        at = shape.DESTS_AT + shape.BUCKET.size
        return [shape.BUCKET.unpack_from(cores, at + core * loaded.layout.core)[3] for core in (0, 1)]

    assert more() == [0, 0]
    try:
        while more() != [100, -100]:
            assert time.monotonic() < deadline, more()
            player.send(0, flow(1), 1, 1500)
    finally:
        os.sched_setaffinity(0, cpus)


@pytest.mark.parametrize("seed", range(2))
def test_does_as_the_model(seed: int, shared: tuple[Player, Clock]) -> None:
    player, clock = shared
    draw = random.Random(seed)  # noqa: S311 (a test's packets)
    hops = {int(server): name for server, name in CONFIG["next_hop"].items()}
    model = InputServer(VlbConfig(**{**CONFIG, "next_hop": hops, "intermediates": (1, 2, 3)}), 1000)
    tick = 1000
    for _ in range(150):
        tick += draw.choice([0, 1, 1, 1, 2, 30])
        for _ in range(draw.randrange(4)):
            core, number = draw.choice([0, 0, 0, 1]), draw.randrange(8)
            dest, size = draw.choice([1, 1, 1, 2]), draw.choice([60, 700, 1514])
            wanted = model.choose(tick, core, Flow(*flow(number)), dest, size).via
            assert player.choose(tick, core, flow(number), dest, size) == f"int{wanted}"
        model.deal()
        clock.tick()
