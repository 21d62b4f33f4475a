"""Queues and cores: as many queues as planned, each with its one core (rule 1 of the paper's 4.2).

PYTEST_DONT_REWRITE: a check's own message is what users are shown, not pytest's account of the operands.
"""

from __future__ import annotations

from rbops.verify.plugin import Case


def _cpus(mask: str) -> set[int]:
    """CPU ids of a sysfs mask such as ``00000000,00000003``."""
    number = int(mask.replace(",", "") or "0", 16)
    return {bit for bit in range(number.bit_length()) if number >> bit & 1}


def test_count(port_case: Case) -> None:
    """The port has exactly the planned number of active receive and transmit queues."""
    sysfs = port_case.server.sysfs(port_case.port)
    want = len(port_case.port["queues"])
    for direction in ("rx", "tx"):
        found = len({path.split("/")[1] for path in sysfs if path.startswith(f"queues/{direction}-")})
        assert found == want, f"{found} {direction} queues are active, planned {want}"


def test_xps(queue_case: Case) -> None:
    """What the kernel sends from the queue's core leaves by this queue (Documentation/networking/scaling.rst)."""
    index, core = queue_case.queue["index"], queue_case.queue["tx_core"]
    text = queue_case.server.sysfs(queue_case.port).get(f"queues/tx-{index}/xps_cpus")
    if text is None and len(queue_case.port["queues"]) == 1:
        return  # the only queue is every CPU's, and the kernel has no mask for it
    found = _cpus(text or "0")
    assert found == {core}, f"XPS of tx-{index} is CPUs {sorted(found)}, planned CPU {core}"


def test_rps(queue_case: Case) -> None:
    """RPS is off: a packet stays on the core that received it (rule 2)."""
    index = queue_case.queue["index"]
    found = _cpus(queue_case.server.sysfs(queue_case.port).get(f"queues/rx-{index}/rps_cpus", "0"))
    assert not found, f"RPS hands packets of rx-{index} to CPUs {sorted(found)}"
