"""Interrupts: each queue's vectors do go to the queue's core alone, whatever was configured.

PYTEST_DONT_REWRITE: a check's own message is what users are shown, not pytest's account of the operands.
"""

from __future__ import annotations

import pytest

from rbops.common.cpulist import list_text
from rbops.node.irq import places
from rbops.verify.plugin import Case


def test_effective_affinity(vector_case: Case) -> None:
    """effective_affinity_list of every vector of the queue names its core alone."""
    queue, server = vector_case.queue, vector_case.server
    vectors = places(server.interrupts(vector_case.port))
    if not vectors:
        pytest.skip("the device has no interrupts of its own")
    own = [(vector, way) for vector, way, index in vectors if index == queue.index]
    assert own, f"no interrupt of queue {queue.index} is in /proc/interrupts: is the port up?"
    for vector, way in own:
        core = queue.tx_core if way == "tx" else queue.rx_core
        if not vector.effective or vector.effective == {core}:
            continue
        text = f"interrupt {vector.number} ({vector.name}) goes to CPUs {list_text(vector.effective)}, planned {core}"
        # The kernel moves a vector at its next interrupt.
        if vector.affinity == {core}:
            pytest.skip(f"{text}: it moves with its next interrupt")
        name = f"irq {queue.index}" if way == "both" else f"irq {way} {queue.index}"
        reason = server.reason(vector_case.port.subject, name)
        if reason:
            pytest.skip(f"{text}: {reason}")
        pytest.fail(text, pytrace=False)
