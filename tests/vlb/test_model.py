from __future__ import annotations

from typing import Any

import pytest
import vlb_vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.vlb.model import Bucket, Flow, InputServer, VlbConfig, flow_hash, flowlet_ticks, refill_bytes

VECTORS = vlb_vectors.load()


def config(**changes: Any) -> VlbConfig:
    values: dict[str, Any] = {
        "server": 0,
        "next_hop": {1: "int1", 2: "int2", 3: "int3"},
        "link_bps": {"int1": 10**9, "int2": 10**9, "int3": 10**9},
        "intermediates": (1, 2, 3),
        "direct_quota_bps": 250_000_000,
        **changes,
    }
    return VlbConfig(**values)


@pytest.mark.parametrize("name", VECTORS)
def test_vector(name: str) -> None:
    vector = VECTORS[name]
    expected = [(step["via"], step["how"]) for step in vector["steps"] if "flow" in step]
    played = vlb_vectors.play(vector)
    assert [(choice.via, choice.how) for choice in played] == expected
    packets = [step for step in vector["steps"] if "flow" in step]
    assert all(step.get("port", choice.port) == choice.port for step, choice in zip(packets, played, strict=True))
    for flow, hashed in vector["hashes"].items():
        assert f"{flow_hash(Flow(*map(int, flow.split(','))))}" == str(int(hashed, 16))


def test_vectors_by_hand_are_there() -> None:
    assert sum(name.startswith("hand-") for name in VECTORS) >= 10


def test_hash_spreads_flows_that_differ_in_one_bit() -> None:
    hashes = [flow_hash(Flow(0x0A000000 + i, 0xC6120002, 17, 1000, 53)) for i in range(1 << 12)]
    assert len({value & 0xFFFF for value in hashes}) > 3900  # 3,969 expected of random ones
    base = Flow(1, 2, 6, 3, 4)
    others = [Flow(2, 1, 6, 3, 4), Flow(1, 2, 17, 3, 4), Flow(1, 2, 6, 4, 3), Flow(1, 2, 6, 3, 5)]
    assert all(bin(flow_hash(base) ^ flow_hash(other)).count("1") > 12 for other in others)


def test_units() -> None:
    assert refill_bytes(10_000_000_000, 1) == 1_250_000
    assert refill_bytes(10_000_000_000, 3) == 416_666
    assert [flowlet_ticks(value) for value in (0, 0.0001, 0.1, 3600)] == [0, 1, 100, 60_000]
    assert Bucket(0).tokens == 0
    assert Bucket(0).join == 1
    assert Bucket(1).depth == 3028


@pytest.mark.parametrize(
    "changes",
    [
        {"cores": 0},
        {"flowlet_entries": 1000},
        {"flowlet_ticks": 70_000},
        {"intermediates": (0, 1)},
        {"intermediates": (1, 4)},
        {"link_bps": {"int1": 1}},
    ],
)
def test_refuses(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|own next hop|no next hop|no rate"):
        config(**changes)


packets = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 12), st.integers(1, 3), st.integers(60, 1514)),
    min_size=1,
    max_size=200,
)


@settings(max_examples=60, deadline=None)
@given(packets, st.sampled_from(["direct-vlb", "vlb"]), st.sampled_from([0, 2, 100]), st.integers(0, 40_000_000))
def test_conservation(sequence: Any, routing: Any, ticks: int, quota: int) -> None:
    """No bucket below zero or above its depth; what goes direct is within quota and initial depth."""
    rates = {"int1": 20_000_000, "int2": 30_000_000, "int3": 10_000_000}
    server = InputServer(
        config(cores=2, routing=routing, flowlet_ticks=ticks, direct_quota_bps=quota, link_bps=rates), 7
    )
    tick, direct = 7, {(core, dest): 0 for core in (0, 1) for dest in (1, 2, 3)}
    for step, core, flow, dest, size in sequence:
        tick += step
        choice = server.choose(tick, core, Flow(flow, 9), dest, size)
        assert choice.via in (1, 2, 3)
        direct[core, dest] += size * (choice.via == dest)
        for bucket in (*server.cores[core].links.values(), *server.cores[core].direct.values()):
            assert 0 <= bucket.tokens <= bucket.depth
    if routing == "direct-vlb":
        for (core, dest), taken in direct.items():
            bucket = server.cores[core].direct[dest]
            assert taken <= bucket.depth + bucket.refill * (tick - 7)


@settings(max_examples=60, deadline=None)
@given(packets)
def test_flowlets_never_split_under_the_limits(sequence: Any) -> None:
    """With links and quota far above the traffic every packet of a flow keeps its path."""
    rates = dict.fromkeys(("int1", "int2", "int3"), 10**11)
    server = InputServer(config(direct_quota_bps=10**11, link_bps=rates, cores=2))
    paths: dict[tuple[int, int], int | None] = {}
    tick = 0
    for step, core, flow, dest, size in sequence:
        tick += step
        choice = server.choose(tick, core, Flow(flow, dest), dest, size)
        assert choice.how in ("new", "kept")
        assert paths.setdefault((core, flow * 10 + dest), choice.via) == choice.via


@given(st.integers(0, 10**12), st.integers(1, 64))
def test_shares_of_all_cores_are_at_most_the_rate(rate: int, cores: int) -> None:
    total = refill_bytes(rate, cores) * 8000 * cores
    assert rate - 8000 * cores < total <= rate


def test_rotation_shares_are_equal_per_destination() -> None:
    """Interleaved destinations do not disturb each other's equal shares."""
    server = InputServer(config(direct_quota_bps=0, flowlet_ticks=0))
    counts: dict[tuple[int, int | None], int] = {}
    for number in range(3000):
        dest = 1 + number % 3
        via = server.choose(number, 0, Flow(1, 1), dest, 60).via
        counts[dest, via] = counts.get((dest, via), 0) + 1
    assert set(counts.values()) == {500}
    assert len(counts) == 6
