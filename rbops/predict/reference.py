"""What the paper measured, and where its text does not follow from its own constraints.

Measured values are printed beside rbops's own; disputed ones appear in ``rbops explain`` with both
values and the reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from rbops import hardware
from rbops.hardware.model import Machine
from rbops.hardware.scaling import next_generation
from rbops.predict.bottleneck import server_rate
from rbops.predict.latency import cluster_latency, server_latency_s
from rbops.predict.packets import mix
from rbops.predict.scale import mesh_limit

__all__ = ["Disputed", "Measured", "disputed", "measured_router", "measured_server"]


@dataclass(frozen=True, slots=True)
class Measured:
    """A measurement of the paper, in bps."""

    what: str
    value_bps: int
    section: str


@dataclass(frozen=True, slots=True)
class Disputed:
    """A number of the paper, rbops's, and why they differ."""

    what: str
    paper: str
    rbops: str
    why: str
    section: str


def measured_server(app: str, packets: str) -> Measured | None:
    """The paper's loss-free rate of one Nehalem server; ``packets`` is the mix's name (``64B``, ``abilene``)."""
    known = {
        ("forward", "64B"): 9_700_000_000,
        ("route", "64B"): 6_350_000_000,
        ("ipsec", "64B"): 1_400_000_000,
        ("forward", "abilene"): 24_600_000_000,
        ("route", "abilene"): 24_600_000_000,
        ("ipsec", "abilene"): 4_450_000_000,
    }
    value = known.get((app, packets))
    return Measured(f"one server, {app}, {packets}", value, "5.2") if value is not None else None


def measured_router(profile: str, ports: int, app: str, packets: str) -> Measured | None:
    """The paper's RB4: four Nehalem servers that route."""
    known = {"64B": 12_000_000_000, "abilene": 35_000_000_000}
    if (profile, ports, app) != ("nehalem", 4, "route") or packets not in known:
        return None
    return Measured(f"RB4, {packets}", known[packets], "6.2")


def disputed() -> tuple[Disputed, ...]:
    """Every disputed number, with rbops's value computed now."""
    nehalem = hardware.profile("nehalem")
    return (_next_generation(nehalem), _link_capacity(), _faster_mesh(), _three_hops(nehalem))


def _next_generation(nehalem: Machine) -> Disputed:
    later = next_generation(nehalem)
    rate = server_rate(later, "route", mix(64), poll=32, nic=16, cores=len(later.cores), nic_bps=None)
    return Disputed(
        "next-generation server, IP routing, 64 B",
        "19.9 Gbps",
        f"{rate.rate_bps / 1e9:.1f} Gbps",
        f"four times the CPU is 4 x 6.35 = 25.4, and the {rate.bottleneck} is the first bound that is met; "
        "forwarding (38.8) and IPsec (5.8) of the same sentence do follow",
        "5.3",
    )


def _link_capacity() -> Disputed:
    return Disputed(
        "internal link rate with s ports per server",
        "2sR/N",
        "2sR/M, which is 2 s^2 R/N with M = N/s servers",
        "a server takes in sR and spreads it over M servers, not over N ports, once in each of VLB's two phases; "
        "with s = 1 both are 2R/N",
        "3.3",
    )


def _faster_mesh() -> Disputed:
    faster = hardware.profile("faster")
    limit = mesh_limit(faster, 10_000_000_000)
    power = 1 << (limit.bit_length() - 1)
    return Disputed(
        "largest full mesh of `faster` servers",
        "2048 ports",
        f"{limit} ports, {power} as a power of two",
        "19 NICs of 8 ports beside the external one are 152 internal ports, so 153 servers of two external ports each",
        "3.3, Fig. 3",
    )


def _three_hops(nehalem: Machine) -> Disputed:
    per_server = server_latency_s(nehalem, "route", 16, 1.0)
    three = cluster_latency(per_server, 0).indirect
    return Disputed(
        "latency over an intermediate server",
        "66.4 us",
        f"{three * 1e6:.1f} us",
        f"each of the three servers adds 4 x 2.56 + 12.8 + 0.8 = {per_server * 1e6:.2f} us; two make the paper's "
        "47.6, three do not make 66.4",
        "6.2",
    )
