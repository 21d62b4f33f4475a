"""Interrupts: each queue's vectors may go, and do go, to the queue's core alone.

PYTEST_DONT_REWRITE: a check's own message is what users are shown, not pytest's account of the operands.
"""

from __future__ import annotations

import pytest

from rbops.node.cpus import list_text
from rbops.node.irq import places
from rbops.verify.plugin import Case


def test_affinity(vector_case: Case) -> None:
    """smp_affinity_list and effective_affinity_list of every vector of the queue name its core alone."""
    queue, server = vector_case.queue, vector_case.server
    vectors = places(server.interrupts(vector_case.port))
    if not vectors:
        pytest.skip("the device has no interrupts of its own")
    own = [(vector, way) for vector, way, index in vectors if index == queue["index"]]
    assert own, f"no interrupt of queue {queue['index']} is in /proc/interrupts: is the port up?"
    for vector, way in own:
        core = queue["tx_core"] if way == "tx" else queue["rx_core"]
        name = f"irq {queue['index']}" if way == "both" else f"irq {way} {queue['index']}"
        said = f"interrupt {vector.number} ({vector.name})"
        if vector.affinity != {core}:
            reason = server.excuse(f"port {vector_case.port['name']}", name)
            text = f"{said} may go to CPUs {list_text(vector.affinity)}, planned {core}"
            if reason:
                pytest.skip(f"{text}: {reason}")
            pytest.fail(text, pytrace=False)
        # The kernel moves a vector at its next interrupt: an idle one may still stand elsewhere.
        moved = not vector.effective or vector.effective == {core}
        if not moved:
            pytest.skip(f"{said} still goes to CPU {list_text(vector.effective)}: it moves with its next interrupt")
