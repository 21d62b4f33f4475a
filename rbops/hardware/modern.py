"""Profiles of servers that can be bought today, with where each figure is from.

Processors: cores, base clock, memory channels and their fastest memory, PCIe lanes, UPI links and TDP
as in Intel's (ARK) and AMD's product specifications. Estimated, and so said in each ``source``:
- memory and inter-socket bounds: nominal, times the share that the paper's benchmarks reached (Table 2);
- links between AMD sockets: four of 16 lanes at 18 GT/s (AnandTech, "AMD 3rd Gen EPYC Milan Review", has
  the rate; boards with three links have 3/4 of that);
- PCIe: the standard's rate per slot, times 0.8 for protocol headers (paper 4.1: 12.8 of 16 Gbps);
- queues: 64 a port, fewer than these drivers take;
- cycles per packet (``rbops.hardware.costs``), until a self-test calibrates them;
- power: the processors' TDP, 100 W for the board and 20 W a card. Prices change by the week and are not given.
Bandwidths of links between sockets and of PCIe count both directions, as the paper's Table 2 does.
"""

from __future__ import annotations

from rbops.hardware import costs
from rbops.hardware.model import Card, Component, Components, Core, Machine, Slot
from rbops.hardware.pcie import PCIE_SHARE, slot_bps

__all__ = ["logical_cores", "modern_profiles"]

GBPS = 1_000_000_000
_RANDOM_ACCESS = 262 / 410


def modern_profiles() -> tuple[Machine, ...]:
    """Single and dual socket, Intel and AMD, 10, 25 and 100 Gbps."""
    x710 = Card("i40e", ports=4, port_rate_bps=10 * GBPS, queues=64)
    e810_25 = Card("ice", ports=4, port_rate_bps=25 * GBPS, queues=64)
    e810_100 = Card("ice", ports=2, port_rate_bps=100 * GBPS, queues=64, achievable_bps=100 * GBPS)
    cx6 = Card("mlx5_core", ports=2, port_rate_bps=100 * GBPS, queues=64)
    cx6_lx = Card("mlx5_core", ports=2, port_rate_bps=25 * GBPS, queues=64)
    return (
        _machine(
            "xeon-e2388g-10g",
            "Intel ARK: Xeon E-2388G (8 cores, 3.2 GHz, 2 x DDR4-3200, 20 lanes PCIe 4.0 as 2 x 8 + 4, 95 W); "
            "cards: Intel X710-DA4 (4 x 10 Gbps, PCIe 3.0 x8: what Linux's i40e wants of its slot, i40e_probe); "
            "bounds, costs and power estimated",
            sockets=1, cores=8, clock_mhz=3200, memory_gbps=410, pcie=(2, 3, 8), cards=(x710, x710), tdp_w=95,
        ),
        _machine(
            "epyc-7313p-25g",
            "AMD product specifications: EPYC 7313P (16 cores, 3.0 GHz, 8 x DDR4-3200, 128 lanes PCIe 4.0, 155 W); "
            "cards: Intel E810-XXVDA4 (4 x 25 Gbps; PCIe 4.0 x16 as the E810-CQDA2, which has the same controller); "
            "bounds, costs and power estimated",
            sockets=1, cores=16, clock_mhz=3000, memory_gbps=1638, pcie=(4, 4, 16), cards=(e810_25,) * 4, tdp_w=155,
        ),
        _machine(
            "xeon-6338n-2s-100g",
            "Intel ARK: 2 x Xeon Gold 6338N (32 cores, 2.2 GHz, 8 x DDR4-2667, 64 lanes PCIe 4.0, 3 UPI links at 11.2 "
            "GT/s, 185 W); cards: Intel E810-CQDA2 (2 x 100 Gbps, 100 Gbps a card: Intel support article 000093702 "
            "and E810 Datasheet 3.2; PCIe 4.0 x16: ServeTheHome, \"Intel E810-CQDA2 Dual-Port 100GbE NIC Review\"); "
            "bounds, costs and power estimated",
            sockets=2, cores=32, clock_mhz=2200, memory_gbps=2730, pcie=(6, 4, 16),
            cards=(e810_100,) * 6, tdp_w=370, link_gbps=1075,
        ),
        _machine(
            "epyc-7543-2s-25g",
            "AMD product specifications: 2 x EPYC 7543 (32 cores, 2.8 GHz, 8 x DDR4-3200, 128 lanes PCIe 4.0, 225 W); "
            "cards: NVIDIA ConnectX-6 Lx MCX631102AN (2 x 25 Gbps, PCIe 4.0 x8: DPDK release notes, tested platforms); "
            "bounds, costs and power estimated",
            sockets=2, cores=32, clock_mhz=2800, memory_gbps=3277, pcie=(6, 4, 8), cards=(cx6_lx,) * 6, tdp_w=450,
            link_gbps=2304,
        ),
        _machine(
            "epyc-9354p-100g",
            "AMD product specifications: EPYC 9354P (32 cores, 3.25 GHz, 12 x DDR5-4800, 128 lanes PCIe 5.0, 280 W); "
            "cards: NVIDIA ConnectX-6 Dx MCX623106AN (2 x 100 Gbps, PCIe 4.0 x16: DPDK release notes, tested "
            "platforms); bounds, costs and power estimated",
            sockets=1, cores=32, clock_mhz=3250, memory_gbps=3686, pcie=(5, 4, 16), cards=(cx6,) * 5, tdp_w=280,
        ),
    )  # fmt: skip


def logical_cores(sockets: int, cores: int, threads: int, nodes: int | None = None) -> tuple[Core, ...]:
    """CPU ids in Linux's usual order: first thread of every core, socket by socket, then the second threads."""
    per_socket = max(1, (nodes or sockets) // sockets)
    return tuple(
        Core(
            id=thread * sockets * cores + socket * cores + core,
            socket=socket,
            core=core,
            numa_node=socket * per_socket + core * per_socket // cores,
        )
        for thread in range(threads)
        for socket in range(sockets)
        for core in range(cores)
    )


def _machine(
    name: str,
    source: str,
    *,
    sockets: int,
    cores: int,
    clock_mhz: int,
    memory_gbps: int,
    pcie: tuple[int, int, int],
    cards: tuple[Card, ...],
    tdp_w: int,
    link_gbps: int | None = None,
) -> Machine:
    """``pcie``: how many slots, and the generation and lanes of each card's link."""
    slots, generation, lanes = pcie
    buses = 2 * slots * slot_bps(generation, lanes)
    return Machine(
        name=name,
        source=source,
        cores=logical_cores(sockets, cores, threads=2),
        clock_hz=clock_mhz * 1_000_000,
        slots=tuple(Slot((card,), numa_node=index * sockets // len(cards)) for index, card in enumerate(cards)),
        components=Components(
            memory=_share(memory_gbps * GBPS, _RANDOM_ACCESS, "nominal x 262/410, the random-access share of Table 2"),
            inter_socket=_share(link_gbps * GBPS, 144.34 / 200, "nominal x 144/200, the share of Table 2")
            if link_gbps
            else None,
            pcie=_share(buses, PCIE_SHARE, "80 % of nominal: protocol headers (paper 4.1)"),
        ),
        loads=costs.paper_loads(),
        costs=costs.modern_costs(),
        batching=costs.modern_batching(),
        latency=costs.modern_latency(),
        calibrated=False,
        reserve=1,
        possible_cpus=2 * sockets * cores,
        power_w=float(tdp_w + 100 + 20 * len(cards)),
    )


def _share(nominal: int, share: float, reason: str) -> Component:
    return Component(nominal, None, round(nominal * share), reason)
