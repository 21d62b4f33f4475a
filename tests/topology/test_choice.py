"""Section 3.3's choice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbops import hardware
from rbops.hardware.model import Card, Machine, Slot
from rbops.topology.choice import Demand, Impossible, Limits, choose
from rbops.topology.slots import common_rate, layout

G = 1_000_000_000
R = 10 * G


def demand(profile: str, ports: int, *, gbps: int | None = None, factor: int = 3, **more: object) -> Demand:
    machine = hardware.profile(profile)
    available = gbps * G if gbps is not None else machine.processing_bps or 0
    return replace(Demand(ports, R, factor, Limits(machine, available)), **more)  # type: ignore[arg-type]


def test_rb4_is_a_mesh_of_four_nehalems() -> None:
    choice = choose(demand("nehalem", 4, gbps=6))
    trial = choice.trial
    assert (trial.kind, trial.port_servers, trial.required_bps, trial.rate_bps) == ("mesh", 4, 5 * G, 10 * G)
    assert choice.owners == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("profile", "ports", "kind", "servers", "stages"),
    [
        ("current", 32, "mesh", 32, 0),
        ("current", 64, "fly", 192, 2),
        ("current", 1024, "fly", 3072, 2),
        ("more_nics", 128, "mesh", 128, 0),
        ("more_nics", 256, "fly", 768, 2),
        ("faster", 256, "mesh", 128, 0),
        ("faster", 512, "fly", 768, 2),
        ("lab", 4, "mesh", 4, 0),
        ("lab", 64, "mesh", 64, 0),
    ],
)
def test_fig3(profile: str, ports: int, kind: str, servers: int, stages: int) -> None:
    choice = choose(demand(profile, ports))
    assert (choice.trial.kind, choice.trial.servers, choice.stages) == (kind, servers, stages)


def test_internal_ports_are_the_cheapest_that_carry_the_rate() -> None:
    assert choose(demand("current", 8)).trial.rate_bps == 10 * G
    assert choose(demand("current", 32)).trial.rate_bps == G


def test_parallel_cables_where_one_is_too_slow() -> None:
    trial = choose(demand("current", 16)).trial
    assert (trial.rate_bps, trial.parallel, trial.required_bps) == (G, 2, 1_250_000_000)


@pytest.mark.parametrize(("factor", "share"), [(2, 3), (3, 2)])
def test_processing_sets_the_ports_per_server(factor: int, share: int) -> None:
    many = replace(hardware.profile("faster"), external_ports=None)
    choice = choose(Demand(12, R, factor, Limits(many, 60 * G)))
    assert choice.trial.ports_per_server == share


def test_pins_place_ports() -> None:
    pinned = demand("lab", 4, gbps=5, pins=((0, 1), (1, 1), (2, 0), (3, 0)))
    assert choose(pinned).owners == (1, 1, 0, 0)


def test_a_pin_that_leaves_servers_out_is_refused() -> None:
    with pytest.raises(Impossible, match="pinned to n9, but 4 ports take only the servers n0 to n3"):
        choose(demand("lab", 4, pins=((2, 9),)))


def test_the_fan_out_that_lacks_is_named_with_what_works() -> None:
    with pytest.raises(Impossible) as caught:
        choose(demand("nehalem", 5, gbps=6))
    assert str(caught.value) == (
        "no topology joins the 5 servers that 5 ports need: a mesh needs 4 internal ports of 10 Gbps on each, and 3 "
        "are left beside the external ones, 1 short; a fly's links must carry 16 Gbps, 6 Gbps more than a port does"
    )
    assert caught.value.hint == "external_ports: 4"


def test_a_forced_mesh_points_to_the_fly_that_would_work() -> None:
    with pytest.raises(Impossible) as caught:
        choose(demand("current", 64, kind="mesh"))
    assert caught.value.hint == "topology: auto"


def test_a_line_rate_above_every_card_is_refused() -> None:
    with pytest.raises(Impossible, match="30 Gbps short") as caught:
        choose(replace(demand("nehalem", 4, gbps=6), line_rate_bps=40 * G))
    assert (caught.value.field, caught.value.hint) == ("router.line_rate", "line_rate: 10Gbps")


def test_a_bigger_server_among_others_takes_more_ports() -> None:
    special = ((1, Limits(hardware.profile("faster"), 60 * G)),)
    choice = choose(demand("more_nics", 5, special=special))
    assert [choice.owners.count(server) for server in range(4)] == [1, 2, 1, 1]


@given(st.integers(1, 400), st.sampled_from(("current", "more_nics", "faster")))
@settings(max_examples=60, deadline=None)
def test_choices_fit_the_hardware(ports: int, profile: str) -> None:
    machine = hardware.profile(profile)
    try:
        choice = choose(demand(profile, ports), nearest=False)
    except Impossible:
        assert ports == 1
        return
    trial = choice.trial
    assert len(choice.owners) == ports
    assert set(choice.owners) == set(range(trial.port_servers))
    most = max(choice.owners.count(server) for server in set(choice.owners))
    assert most <= (machine.external_ports or 0)
    seats = layout(machine, most, R, trial.rate_bps) if trial.servers > 1 else None
    if seats is not None:
        assert trial.fanout_needed <= len(seats.internal)
        assert trial.rate_bps * trial.parallel >= trial.required_bps
        if trial.kind == "mesh":
            assert trial.required_bps >= 2 * most * R / trial.port_servers


def test_external_ports_leave_whole_slots_to_slower_internal_ones() -> None:
    seats = layout(hardware.profile("current"), 1, R, G)
    assert seats is not None
    assert [seat.card.port_rate_bps for seat in seats.external] == [R]
    assert len(seats.internal) == 32


def test_a_half_used_card_serves_internal_links_of_its_rate() -> None:
    seats = layout(hardware.profile("nehalem"), 1, R, R)
    assert seats is not None
    assert len(seats.internal) == 3
    assert {seat.slot for seat in seats.internal} == {0, 1}


def test_ports_spread_over_cards_that_carry_less_than_their_ports() -> None:
    card = Card("ice", 2, 100 * G, 64, achievable_bps=100 * G)
    machine = replace(hardware.profile("nehalem"), slots=(Slot((card,)),) * 4)
    seats = layout(machine, 2, 100 * G, 100 * G)
    assert seats is not None
    assert [seat.slot for seat in seats.external] == [0, 1]
    assert [seat.slot for seat in seats.internal[:2]] == [2, 3]


def with_cards(*cards: tuple[int, int]) -> Machine:
    """A server with cards of so many ports of so many Gbps."""
    slots = tuple(Slot((Card("mlx5_core", ports, rate * G, 64),)) for ports, rate in cards)
    return replace(hardware.profile("nehalem"), slots=slots, external_ports=None)


def test_faster_ports_run_at_the_rate_of_slower_ones() -> None:
    """A server with four ports of 10 Gbps and four of 25 has eight for links of 10 Gbps: one external, seven peers."""
    mixed = with_cards((4, 10), (4, 25))
    choice = choose(Demand(8, R, 3, Limits(mixed, 30 * G)))
    assert (choice.trial.kind, choice.trial.rate_bps, choice.trial.fanout, choice.trial.parallel) == ("mesh", R, 7, 1)
    seats = layout(mixed, 1, R, R)
    assert seats is not None
    assert [seat.card.port_rate_bps // G for seat in seats.internal] == [10, 10, 10, 25, 25, 25, 25]


def test_servers_with_unlike_cards_are_joined_at_the_slower_rate() -> None:
    choice = choose(Demand(4, R, 3, Limits(with_cards((4, 10)), 30 * G), ((1, Limits(with_cards((4, 25)), 30 * G)),)))
    assert (choice.trial.kind, choice.trial.rate_bps, choice.trial.port_servers) == ("mesh", R, 4)


def test_ports_without_a_common_rate_join_nothing() -> None:
    with pytest.raises(Impossible, match="internal ports of"):
        choose(Demand(4, G, 3, Limits(with_cards((8, 1)), 3 * G), ((1, Limits(with_cards((8, 10)), 3 * G)),)))
    with pytest.raises(ValueError, match="no cable"):
        common_rate(Card("igb", 1, G, 8), Card("ixgbe", 1, R, 8))
    assert common_rate(Card("ice", 1, 25 * G, 8), Card("ixgbe", 1, R, 8)) == R


def test_far_too_many_ports_get_a_number_that_works() -> None:
    """The nearest router is found by halves, not by a search through thousands."""
    with pytest.raises(Impossible) as caught:
        choose(Demand(4096, R, 3, Limits(with_cards((2, 10)), 30 * G)))
    assert caught.value.hint == "external_ports: 2"
    with pytest.raises(Impossible) as caught:
        choose(demand("nehalem", 1000, gbps=6))
    assert caught.value.hint == "external_ports: 512"
