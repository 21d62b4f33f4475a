"""Direct VLB and flowlets: packet by packet what rbops/vlb/model.py decides."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rbops.dataplane.xdp import layout as shape
from rbops.dataplane.xdp.libbpf import XDP_DROP, XDP_REDIRECT
from rbops.vlb.model import MAX_FRAME, Flow, InputServer, VlbConfig
from tests.dataplane.frames import ethernet, fabric, ipv4
from tests.dataplane.router import Router, route

pytestmark = pytest.mark.root

VECTORS = {
    path.stem: json.loads(path.read_text()) for path in sorted(Path(__file__).parent.parent.glob("vlb/vectors/*.json"))
}
HEADERS = 14 + 20


def router_of(make_router: Callable[..., Router], config: dict[str, Any]) -> Router:
    """The input server of a vector: a port a server, server 0."""
    assert (config["server"], config["max_frame"]) == (0, MAX_FRAME)
    servers = max(int(server) for server in config["next_hop"]) + 1
    far = {port: int(server) for server, ports in config.get("bundles", {}).items() for port in ports}
    internal = [
        {"name": name, "kind": "internal", "rate_bps": rate, **({"peer_server": far[name]} if name in far else {})}
        for name, rate in config["link_bps"].items()
    ]
    return make_router(
        servers=servers,
        routes=[route("0.0.0.0/0", 1, 1)],
        flowlet_entries=config["flowlet_entries"],
        cores=list(range(config["cores"])),
        routing=config["routing"],
        flowlet_timeout_s=config["flowlet_ticks"] / 1000,
        direct_quota_bps=config["direct_quota_bps"],
        ports=[{"name": "ext0", "kind": "external", "id": 0, "rate_bps": 10**9}, *internal],
        next_hop=config["next_hop"],
        intermediates=config["intermediates"],
    )


class Player:
    """Plays steps on a router. The only route is pointed at each step's destination in place."""

    def __init__(self, router: Router, config: dict[str, Any]) -> None:
        self.router, self.config = router, config
        loaded = router.plane._pins.load()
        self.arena, self.active = loaded.memory("arena"), loaded.active * loaded.layout.generation
        self.macs = {name: router.mac(name) for name in ("ext0", *config["link_bps"])}

    def choose(self, tick: int, core: int, flow: list[int], dest: int, size: int) -> str | None:
        """The port that a packet leaves by; None: dropped."""
        self.router.set_tick(tick)
        return self.send(core, flow, dest, size)

    def send(self, core: int, flow: list[int], dest: int, size: int) -> str | None:
        """The same at the time that the clock says."""
        os.sched_setaffinity(0, {core})
        at = self.active + shape.NEXT_HOPS_AT + shape.NEXT_HOP.size
        mac = shape.mac_number(fabric(dest, 1))
        shape.NEXT_HOP.pack_into(self.arena, at, mac, shape.REMOTE, dest, 0, 0)
        source, destination, protocol, *ports = flow
        dotted = [".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0)) for number in (source, destination)]
        payload = b"".join(port.to_bytes(2, "big") for port in ports) + bytes(size - HEADERS - 4)
        packet = ipv4(dotted[1], source=dotted[0], protocol=protocol, payload=payload)
        ran = self.router.receive("ext0", ethernet(self.macs["ext0"], packet))
        assert ran.frame[:6] in (fabric(dest, 1), self.macs["ext0"])
        return self._out(ran.verdict, ran.frame)

    def forward(self, tick: int, core: int, dest: int, size: int) -> str | None:
        os.sched_setaffinity(0, {core})
        self.router.set_tick(tick)
        came_by = next(iter(self.config["link_bps"]))
        ran = self.router.receive(came_by, ethernet(fabric(dest, 1), bytes(size - 14)))
        return self._out(ran.verdict, ran.frame)

    def set_alive(self, via: int, *, alive: bool) -> None:
        self.router.plane.set_alive(via, alive=alive)

    def set_cable(self, port: str, *, alive: bool) -> None:
        self.router.plane.set_cable(port, alive=alive)

    def _out(self, verdict: int, frame: bytes) -> str | None:
        if verdict == XDP_DROP:
            return None
        assert verdict == XDP_REDIRECT
        return next(name for name, mac in self.macs.items() if mac == frame[6:12])


@pytest.mark.parametrize("name", VECTORS)
def test_vector(name: str, make_router: Callable[..., Router]) -> None:
    vector = VECTORS[name]
    config = vector["config"]
    if config["cores"] > (os.cpu_count() or 1):
        pytest.skip(f"needs {config['cores']} CPUs")
    player = Player(router_of(make_router, config), config)
    cut: set[str] = set()
    for number, step in enumerate(vector["steps"]):
        if "alive" in step:
            for via, alive in step["alive"].items():
                player.set_alive(int(via), alive=alive)
        elif "cable" in step:
            cut = cut - {port for port, alive in step["cable"].items() if alive} | {
                port for port, alive in step["cable"].items() if not alive
            }
            for port, alive in step["cable"].items():
                player.set_cable(port, alive=alive)
            for server, ports in config["bundles"].items():
                player.set_alive(int(server), alive=not cut.issuperset(ports))
        elif "forward" in step:
            out = player.forward(step["tick"], step["core"], step["forward"], step["size"])
            assert out == step.get("port", config["next_hop"][str(step["forward"])]), (number, step)
        else:
            out = player.choose(step["tick"], step["core"], step["flow"], step["dest"], step["size"])
            wanted = None if step["via"] is None else step.get("port", config["next_hop"][str(step["via"])])
            assert out == wanted, (number, step)


steps = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 5), st.sampled_from([1, 2, 3]), st.sampled_from([60, 700, 1514])),
    max_size=80,
)


def test_does_as_the_model(make_router: Callable[..., Router]) -> None:
    """Any packets at any times, a link down now and then; the state goes on from one example to the next."""
    config = {
        "server": 0,
        "cores": 1,
        "routing": "direct-vlb",
        "direct_quota_bps": 8_000_000,
        "flowlet_ticks": 20,
        "flowlet_entries": 4,
        "max_frame": MAX_FRAME,
        "intermediates": [1, 2, 3],
        "next_hop": {"1": "int1", "2": "int2", "3": "int3"},
        "link_bps": {"int1": 10_000_000, "int2": 3_000_000, "int3": 10_000_000},
    }
    player = Player(router_of(make_router, config), config)
    fields = {**config, "next_hop": {1: "int1", 2: "int2", 3: "int3"}, "intermediates": (1, 2, 3)}
    model, now = InputServer(VlbConfig(**fields), 1000), [1000]

    @given(steps, st.sampled_from([None, 1, 2, 3]))
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def check(drawn: list[tuple[int, int, int, int]], down: int | None) -> None:
        for via in (1, 2, 3):
            model.set_alive(via, alive=via != down)
            player.set_alive(via, alive=via != down)
        for later, number, dest, size in drawn:
            now[0] += later
            flow = [0xC6120002, 0xC6120100 + number, 17, 1000 + number, 53]
            via = model.choose(now[0], 0, Flow(*flow), dest, size).via
            assert player.choose(now[0], 0, flow, dest, size) == (None if via is None else f"int{via}")

    check()
