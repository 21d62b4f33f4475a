"""What a packet costs: the paper's measured loads, and estimates for servers of today.

The paper prints Table 1, Table 2, Table 3 and the growth from 64 to 1024 bytes (5.3); Fig. 10's
per-packet loads are in it only as curves. The loads here follow from the printed numbers:

- I/O: Table 2's 117 Gbps is minimal forwarding of 1024-byte packets, which the NICs limit to
  24.6 Gbps, so one such packet moves 4,870 bytes; 64-byte packets move 11 times less.
- PCIe: in the same way 50.8 Gbps gives 2,115 bytes, twice the packet and 67 bytes more.
- Memory: the packet crosses it twice, and 1024 bytes load it 6 times as much as 64 do; that
  leaves 256 bytes of book-keeping.
- Between sockets: 23 % of memory accesses are remote (4.2).
"""

from __future__ import annotations

from rbops.hardware.model import AppCost, BatchingCost, LatencyTerms, Load, Loads

__all__ = [
    "DESCRIPTORS_PER_TRANSACTION",
    "REFERENCE_KN",
    "REFERENCE_KP",
    "fit_batching",
    "modern_batching",
    "modern_costs",
    "modern_latency",
    "paper_batching",
    "paper_costs",
    "paper_latency",
    "paper_loads",
]

REFERENCE_KP = 32
REFERENCE_KN = 16
SOCKET_CYCLES = 20_000.0
"""The additional cost of a packet through AF_PACKET: two system calls and the kernel's path of a buffer in and out.

Measured: a core of 2.5 GHz forwards 0.1 to 0.15 Mpps with Click's FromDevice and ToDevice on veth.
"""
KERNEL_CYCLES = 5_000.0
"""The additional cost of a packet that the kernel itself routes: a buffer, netfilter's hooks, a longer look-up.

Measured by bench/dataplane.py: on veth the kernel forwards 3.5 times what Click does on sockets.
"""

DESCRIPTORS_PER_TRANSACTION = 256 // 16
"""A PCIe transaction's payload over a descriptor, in bytes: the largest kn (paper 4.2, Table 1)."""

_PAPER_CYCLES = 8 * 2.8e9
_MIN_BITS = 64 * 8
_CPU_GROWTH = 1.6
_GROWTH_SPAN = 1024 - 64


def paper_loads() -> Loads:
    """Bytes per packet over the buses, derived as the module says."""
    pps = 24.6e9 / (1024 * 8)
    io_large = 117e9 / 8 / pps
    io_per_byte = (io_large - io_large / 11) / _GROWTH_SPAN
    pcie_large = 50.8e9 / 8 / pps
    memory = Load((2 * 1024 - 6 * 2 * 64) / 5, 2.0)
    return Loads(
        memory=memory,
        io=Load(io_large - 1024 * io_per_byte, io_per_byte),
        inter_socket=Load(0.23 * memory.fixed, 0.23 * memory.per_byte),
        pcie=Load(pcie_large - 2 * 1024, 2.0),
    )


def paper_costs() -> tuple[AppCost, ...]:
    """Table 3 and the loss-free rates of 5.2; the cycles are those the server spent at these rates.

    Instructions times cycles per instruction give 3 to 5 % more or less: 4.7 % at most. Forwarding
    and routing grow 1.6-fold to 1024 bytes (5.3). Encryption grows with every byte: its slope joins
    1.4 Gbps at 64 bytes and 4.45 Gbps of Abilene packets (5.2), of 720 bytes on average.
    """
    forward = _PAPER_CYCLES * _MIN_BITS / 9.7e9
    slope = forward * (_CPU_GROWTH - 1) / _GROWTH_SPAN
    ipsec = _PAPER_CYCLES * _MIN_BITS / 1.4e9
    ipsec_abilene = _PAPER_CYCLES * 720 * 8 / 4.45e9
    return (
        AppCost("forward", forward, slope, 1033, 1.19, 9_700_000_000),
        AppCost("route", _PAPER_CYCLES * _MIN_BITS / 6.35e9, slope, 1512, 1.23, 6_350_000_000),
        AppCost("ipsec", ipsec, (ipsec_abilene - ipsec) / (720 - 64), 14221, 0.55, 1_400_000_000),
    )


def fit_batching(unbatched: float, polled: float, both: float, kp: int, kn: int) -> BatchingCost:
    """The ``a + b/kp + d/kn`` through three measurements, in cycles per packet.

    ``unbatched`` is for (1, 1), ``polled`` for (kp, 1), ``both`` for (kp, kn). Raises ValueError
    when kp or kn is below 2, where three measurements do not determine three terms.
    """
    if min(kp, kn) < 2:  # noqa: PLR2004
        raise ValueError(f"batching cannot be fitted through kp={kp}, kn={kn}: both must exceed 1")
    per_poll = (unbatched - polled) / (1 - 1 / kp)
    per_transaction = (polled - both) / (1 - 1 / kn)
    return BatchingCost(unbatched - per_poll - per_transaction, per_poll, per_transaction)


def paper_batching() -> BatchingCost:
    """The fit to Table 1: 1.46, 4.97 and 9.77 Gbps of 64-byte packets on eight 2.8 GHz cores."""
    unbatched, polled, both = (_PAPER_CYCLES * _MIN_BITS / rate for rate in (1.46e9, 4.97e9, 9.77e9))
    return fit_batching(unbatched, polled, both, REFERENCE_KP, REFERENCE_KN)


def paper_latency() -> LatencyTerms:
    """Section 6.2: four DMA transfers of 2.56 us, 0.8 us to route a packet."""
    return LatencyTerms(dma_transfers=4, dma_s=2.56e-6, cpu_s=0.8e-6)


def modern_costs() -> tuple[AppCost, ...]:
    """Estimates for XDP on a core of today, to be calibrated by a self-test.

    Forwarding: 8.65 Mpps of XDP_REDIRECT on one 3 GHz core is 350 cycles (Hoiland-Jorgensen et al.,
    "The eXpress Data Path", CoNEXT 2018). Routing adds header checks, flow hash and lookup: 0.7 of
    that rate. IPsec is the paper's, since Click's cipher is the same software.
    """
    paper = {cost.app: cost for cost in paper_costs()}
    return (
        AppCost("forward", 350.0, 0.05),
        AppCost("route", 500.0, 0.05),
        AppCost("ipsec", paper["ipsec"].cycles, paper["ipsec"].cycles_per_byte),
    )


def modern_batching() -> BatchingCost:
    """The paper's shape scaled to 350 cycles at the reference, to be calibrated by a self-test."""
    paper = paper_batching()
    scale = 350.0 / paper.cycles(REFERENCE_KP, REFERENCE_KN)
    return BatchingCost(paper.base * scale, paper.per_poll * scale, paper.per_transaction * scale)


def modern_latency() -> LatencyTerms:
    """About 0.9 us per PCIe round trip (Neugebauer et al., "Understanding PCIe performance", SIGCOMM 2018)."""
    return LatencyTerms(dma_transfers=4, dma_s=0.9e-6, cpu_s=0.17e-6)
