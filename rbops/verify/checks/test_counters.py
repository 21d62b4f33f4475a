"""The data plane sees packets: its counters move when one server reaches another over the fabric.

PYTEST_DONT_REWRITE: a check's own message is what users are shown, not pytest's account of the operands.
"""

from __future__ import annotations

from rbops.verify.plugin import Case


def test_counters_move(answer_case: Case) -> None:
    """Echo requests to another server's external address are answered, and its data plane counts them."""
    peer = answer_case.peer
    assert peer is not None
    answer = answer_case.server.reach.answer(answer_case.server, peer)
    assert answer.good, f"no answer from {peer.name} ({peer.external_address}) over the fabric: {answer.said}"
    counted, sent = answer_case.server.reach.counted(peer)
    assert counted >= sent, f"{peer.name}'s data plane counted {counted} of {sent} packets"
