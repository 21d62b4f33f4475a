"""Latency per server and per path (paper 6.2)."""

from __future__ import annotations

from rbops.hardware.model import Machine
from rbops.plan import Latency

__all__ = ["cluster_latency", "server_latency_s"]


def server_latency_s(machine: Machine, app: str, poll_nic: int, timeout_s: float) -> float:
    """Seconds through one server: DMA transfers, the wait for a full transaction, and the CPU.

    The wait is ``poll_nic`` packets' processing, and the batching timeout at most. 23.84 us on the
    paper's server, which the paper rounds to 24.
    """
    terms = machine.latency
    cpu = terms.cpu_s * machine.cost(app).cycles / machine.cost("route").cycles
    wait = min(poll_nic * cpu, timeout_s)
    return terms.dma_transfers * terms.dma_s + wait + cpu


def cluster_latency(per_server_s: float, stages: int) -> Latency:
    """Direct: input and output server and the n between them; indirect: through one port server more, and n again."""
    return Latency(
        direct=round(per_server_s * (2 + stages), 9),
        indirect=round(per_server_s * (3 + 2 * stages), 9),
    )
