"""The data plane sees packets: its counters move when one server reaches another over the fabric.

PYTEST_DONT_REWRITE: a check's own message is what users are shown, not pytest's account of the operands.
"""

from __future__ import annotations

from typing import Any

from rbops.verify.plugin import Case

_COUNTERS = "rbops-node counters --json"
_PINGS = 3


def test_counters_move(peer_case: Case) -> None:
    """Echo requests to another server's external address are answered, and its data plane counts them."""
    peer = peer_case.peer
    assert peer is not None
    address = peer.external_address
    # What was read last, after the pings of the check before: counters only grow.
    before = _received(peer.json(_COUNTERS))
    ping = peer_case.server.host.run("ping -n -q -i 0.01 -W 1 -c %s %s", str(_PINGS), address)
    after = _received(peer.fresh_json(_COUNTERS))
    answered = next((line for line in ping.stdout.splitlines() if "received" in line), ping.stderr.strip())
    assert ping.rc == 0, f"no answer from {peer.name} ({address}) over the fabric: {answered}"
    assert after - before >= _PINGS, f"{peer.name}'s data plane counted {after - before} of {_PINGS} packets"


def _received(counters: dict[str, Any]) -> int:
    return int(counters["total"]["received"]["internal"])
