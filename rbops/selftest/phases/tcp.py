"""TCP connections from the first port to the last one of another server, by iperf3 on the testers; only when asked for.

All of a row together are allowed ``PART`` of what one core may put on one path: each of them fits a path then, and
what arrives out of order is the router's doing. Both testers keep to one CPU, so that their own kernels keep order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rbops.errors import CheckFailed, Mismatch
from rbops.plan import ClusterPlan
from rbops.selftest.ports import AttachedTester
from rbops.selftest.result import Fault
from rbops.selftest.session import Session
from rbops.selftest.tcprun import TcpRun
from rbops.selftest.tester import TesterAgent

__all__ = ["CONNECTIONS", "NAME", "measure", "run"]

NAME = "tcp"
CONNECTIONS = (1, 8, 64)
PART = 0.9
_SECONDS, _SLACK_S, _PORT = 3.0, 15.0, 5201


def run(session: Session, seconds: float) -> None:
    """A row for each number of connections: the session's ``tcp_runs``. ``seconds`` is not used."""
    del seconds
    if session.bench.family != 4:  # noqa: PLR2004  the family
        session.notes.append(f"{NAME}: not measured, its connections are of IPv4")
        return
    testers, agents = session.bench.testers, session.bench.agents.all
    source = testers[0]
    sink = next((tester for tester in reversed(testers) if tester.at.server != source.at.server), testers[-1])
    offered = session.options.tcp_bps or PART * path_bps(session.plan, source)
    for connections in CONNECTIONS:
        session.say(f"{NAME}: {connections} at once, {offered / 1e9:.3g} Gbps together, for {_SECONDS:.0f} s")
        asked = TcpRun(connections, source.at.port, sink.at.port, offered)
        addresses = source.at.address, sink.at.address
        found, failed = measure(asked, agents[source.index], agents[sink.index], *addresses)
        session.tcp_runs.append(found)
        if failed:
            text = f"{connections} TCP connections from port {found.source} to {found.destination}: {found.failure}"
            session.faults.append(Fault("TCP", text, NAME, 0, found.source, found.destination))


def path_bps(plan: ClusterPlan, source: AttachedTester) -> float:
    """What one core of the input server may put on one path, or what its port takes in, whichever is less."""
    server = plan.server(source.at.server)
    cables = [port.rate_bps for port in server.ports if port.kind == "internal"]
    return min([source.at.rate_bps, *(rate / max(1, len(server.cores.dataplane)) for rate in cables)])


def measure(asked: TcpRun, sender: TesterAgent, receiver: TesterAgent, own: str, address: str) -> tuple[TcpRun, bool]:
    """The row that was asked for, from ``own`` of one tester to ``address`` of another, and whether it failed.

    Where iperf3 is not installed nothing is measured, and nothing failed.
    """
    try:
        found = _measure(asked, sender, receiver, own, address)
    except Mismatch as error:
        return replace(asked, failure=error.message), False
    except CheckFailed as error:
        return replace(asked, failure=error.message), True
    return replace(asked, **found), False


def _measure(asked: TcpRun, sender: TesterAgent, receiver: TesterAgent, own: str, address: str) -> dict[str, Any]:
    receiver.call("tcp_listen", address=address, port=_PORT)
    try:
        before = sender.call("tcp_counters"), receiver.call("tcp_counters")
        found = sender.call(
            "tcp_send", timeout_s=_SECONDS + _SLACK_S, address=address, own=own, port=_PORT,
            connections=asked.connections, seconds=_SECONDS, bps=asked.offered_bps,
        )  # fmt: skip
        after = sender.call("tcp_counters"), receiver.call("tcp_counters")
    finally:
        receiver.call("tcp_end")

    def counted(end: int, name: str) -> int:
        return int(after[end].get(name, 0)) - int(before[end].get(name, 0))

    return {
        **found,
        "spurious": counted(0, "TCPDSACKRecv") + counted(0, "TCPDSACKOfoRecv"),
        "segments": counted(1, "InSegs"),
        "out_of_order": counted(1, "TCPOFOQueue"),
    }
