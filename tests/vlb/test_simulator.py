from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.predict.packets import mix
from rbops.vlb import matrix as matrices
from rbops.vlb import simulator
from rbops.vlb.model import InputServer, VlbConfig, flowlet_ticks
from rbops.vlb.network import Forwarder, Network, fly, mesh
from rbops.vlb.paths import LOCAL, Chosen, choose_paths
from rbops.vlb.result import SimulationResult
from rbops.vlb.simulator import simulate
from rbops.vlb.trace import TICK_NS, Trace, Workload, synthetic

R = 10_000_000_000
ABILENE = Workload(mix=mix("abilene").shares)
RB4 = mesh(4, line_rate_bps=R, link_bps=R)


def run(network: Network, name: str, packets: int = 200_000, load: float = 1.0, seed: int = 0) -> SimulationResult:
    offered = matrices.make(name, network.owners, R, load=load, seed=seed)
    return simulate(network, synthetic(offered, R, packets, ABILENE, seed))


def test_reordering_falls_by_ten_with_flowlets() -> None:
    """The paper's experiment (6.2): 0.15 % with flowlets, 5.5 % without."""
    plain = run(RB4.with_forwarder(flowlet_timeout_s=0.0), "pair", 600_000)
    flowlets = run(RB4, "pair", 600_000)
    assert 0.02 < plain.reordered.fraction < 0.15
    assert flowlets.reordered.fraction * 10 <= plain.reordered.fraction
    assert flowlets.direct_share < 0.30
    assert flowlets.delivered == plain.delivered == 1


def test_uniform_is_all_direct_below_the_quota_and_takes_2r() -> None:
    result = run(RB4, "uniform", load=0.5)
    assert result.direct_share > 0.99
    assert 2 <= result.processing_factor < 2.02
    assert result.reordered.fraction < 1e-4


@pytest.mark.parametrize("name", ["uniform", "permutation", "gravity", "adversarial", "hotspot"])
@pytest.mark.parametrize("routing", ["vlb", "direct-vlb"])
@pytest.mark.parametrize("timeout", [0.0, 0.1])
def test_every_server_processes_between_2r_and_3r(name: str, routing: str, timeout: float) -> None:
    result = run(RB4.with_forwarder(routing=routing, flowlet_timeout_s=timeout), name, 60_000)
    assert 2 - 1e-9 <= result.processing_factor <= 3 + 1e-9
    assert result.fairness > 0.99
    if name != "hotspot":
        assert result.delivered == 1
        assert all(server.processed_bps <= 3 * R * 1.02 for server in result.servers)


def test_hotspot_shares_the_output_fairly() -> None:
    result = run(RB4, "hotspot")
    assert 0.85 < result.delivered < 0.9  # 15 of 10 Gbps are wanted at one port of 40 in all
    assert result.fairness > 0.999
    assert result.latency_s.maximum > 1e-3


def test_vlb_links_follow_the_fluid() -> None:
    result = run(RB4.with_forwarder(routing="vlb", flowlet_timeout_s=0.0), "gravity")
    for link in result.links:
        assert link.load_bps == pytest.approx(link.fluid_bps, rel=0.02)


def test_direct_vlb_links_follow_the_fluid() -> None:
    forwarder = Forwarder(direct_quota_bps=R // 4, flowlet_timeout_s=0.0)
    network = mesh(4, line_rate_bps=R, link_bps=R, forwarder=forwarder)
    offered = matrices.make("permutation", network.owners, R)
    result = simulate(network, synthetic(offered, R, 1_000_000, Workload(mix=((1518, 1.0),))))
    for link in result.links:
        assert link.load_bps == pytest.approx(link.fluid_bps, rel=0.05, abs=1e8)


def test_links_at_the_required_rate_carry_vlb_without_loss() -> None:
    for name in ("permutation", "adversarial", "uniform"):
        network = mesh(6, line_rate_bps=R).with_forwarder(routing="vlb", flowlet_timeout_s=0.0)
        assert run(network, name, 120_000, load=0.98).delivered > 0.9999


def test_links_at_the_required_rate_do_not_carry_direct_vlb_at_its_worst() -> None:
    network = mesh(8, line_rate_bps=R).with_forwarder(flowlet_timeout_s=0.0)
    result = run(network, "adversarial", 400_000)
    assert max(link.fluid_bps for link in result.links) > 1.4 * result.required_link_bps


def test_fly_carries_what_a_mesh_does() -> None:
    fanouts = (2, 2, 2)
    network = fly(8, fanouts, line_rate_bps=R, link_bps=R)
    result = run(network, "uniform", load=0.9)
    assert result.delivered == 1
    assert len(result.servers) == 24
    # One hop of the mesh is one round of three links: slower by two more servers and links at least.
    assert (
        result.latency_s.median
        > run(mesh(8, line_rate_bps=R, link_bps=R), "uniform", load=0.9).latency_s.median + 22e-6
    )


def models_paths(network: Network, trace: Trace) -> list[int]:
    """The first server of each packet as the reference decides, packet by packet, on all servers."""
    forwarder, count = network.forwarder, network.port_servers
    servers = []
    for index in range(count):
        ports = {other: f"int{other}" for other in range(count) if other != index}
        links = {port: int(network.link_bps[network.routes[index * count + to, 0]]) for to, port in ports.items()}
        behind = tuple((index + distance) % count for distance in range(1, count))
        ticks = flowlet_ticks(forwarder.flowlet_timeout_s)
        quota = forwarder.direct_quota_bps
        config = VlbConfig(index, ports, links, behind, forwarder.routing, forwarder.cores, quota, ticks)
        servers.append(InputServer(config))
    chosen = []
    for at, flow, size in zip(trace.time.tolist(), trace.flow.tolist(), trace.size.tolist(), strict=True):
        source, dest = (int(network.owners[side[flow]]) for side in (trace.flow_in, trace.flow_out))
        if source == dest:
            chosen.append(LOCAL)
            continue
        hashed, tick = int(trace.flow_hash[flow]), at // TICK_NS
        core = (hashed >> 40) % forwarder.cores
        via = servers[source].cores[core].choose(tick, hashed, dest, size).via
        assert via is not None
        chosen.append(via)
        if via != dest:
            servers[via].forward(tick, core, dest, size)
    return chosen


@settings(max_examples=25, deadline=None)
@given(
    forwarder=st.builds(
        Forwarder,
        st.sampled_from(["direct-vlb", "vlb"]),
        st.sampled_from([0, R // 8, R // 3]),
        st.sampled_from([0.0, 0.001, 0.1]),
        st.integers(1, 3),
    ),
    count=st.integers(2, 6),
    ports=st.integers(1, 2),
    link=st.sampled_from([R // 50, R // 4, R]),
    name=st.sampled_from(matrices.NAMES),
    seed=st.integers(0, 1000),
)
def test_paths_are_the_models(forwarder: Forwarder, count: int, ports: int, link: int, name: str, seed: int) -> None:
    """Packet by packet, with dry buckets, moved and split flowlets, and collisions in the flowlet tables."""
    network = mesh(count, line_rate_bps=R, ports=ports, link_bps=link, forwarder=forwarder)
    trace = synthetic(matrices.make(name, network.owners, R, seed=seed), R, 2500, ABILENE, seed)
    # Few hashes: flows meet in the entries of the tables.
    hashes = (trace.flow_hash & np.uint64((1 << 63) | (3 << 40) | 15)) | (
        np.arange(len(trace.flow_hash), dtype=np.uint64) << np.uint64(44)
    )
    trace = replace(trace, flow_hash=hashes)
    chosen = choose_paths(network, trace)
    assert chosen.via[chosen.codes].tolist() == models_paths(network, trace)


@pytest.mark.parametrize("name", ["gravity", "hotspot", "adversarial"])
def test_a_path_is_fifo(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flows that keep one path leave in order, whatever the queues: also when all of them are looked at."""
    forwarder = Forwarder("direct-vlb", R // 8, 60.0, batch_timeout_s=1e-4)
    network = mesh(4, line_rate_bps=R, link_bps=R // 2, forwarder=forwarder)
    looked_at = 0

    def all_of_one_path(network: Network, trace: Trace) -> Chosen:
        nonlocal looked_at
        chosen = choose_paths(network, trace)
        for flow in np.flatnonzero(chosen.several):  # these get the path of their first packet
            mine = np.flatnonzero(trace.flow == flow)
            chosen.codes[mine] = chosen.codes[mine[0]]
        looked_at = len(chosen.several)
        return Chosen(chosen.codes, chosen.via, chosen.row, np.ones_like(chosen.several))

    monkeypatch.setattr(simulator, "choose_paths", all_of_one_path)
    result = run(network, name, 100_000)
    assert looked_at > 1000
    assert result.latency_s.maximum > 1.5e-4
    assert result.reordered.late == 0


def test_the_same_seed_gives_the_same_result() -> None:
    first, again, other = (run(RB4, "gravity", 30_000, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_two_servers_and_several_ports_on_one() -> None:
    network = mesh(2, ports=2, line_rate_bps=R, link_bps=2 * R)
    result = run(network, "uniform", 40_000)
    assert result.direct_share == 1
    assert result.delivered == 1
    # A third of the traffic stays on its server, and is processed once.
    assert result.processing_factor == pytest.approx(5 / 3, rel=0.02)


def test_an_empty_trace_is_refused() -> None:
    empty = np.empty(0, dtype=np.int64)
    trace = Trace(empty, empty.astype(np.int32), empty.astype(np.int32), empty, empty, empty.astype(np.uint64), 1)
    with pytest.raises(ValueError, match="empty"):
        simulate(RB4, trace)


def test_synthetic_traffic_offers_the_matrix() -> None:
    offered = matrices.make("gravity", RB4.owners, R, load=0.8)
    trace = synthetic(offered, R, 300_000, ABILENE)
    wire = np.bincount(trace.flow_in[trace.flow] * 4 + trace.flow_out[trace.flow], trace.size + 24, 16).reshape(4, 4)
    measured = wire * 8 / (trace.duration_ns / 1e9)
    assert measured == pytest.approx(offered, rel=0.05, abs=5e7)
    assert all(before <= after for before, after in pairwise(trace.time[:1000].tolist()))
    lengths = np.sort(np.bincount(trace.flow))[::-1]
    assert lengths[: len(lengths) // 10].sum() > 0.4 * lengths.sum()  # heavy-tailed: a tenth has most
