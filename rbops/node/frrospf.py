"""What FRR's ospfd and zebra say of OSPF, as one session: that of all neighbours together, as BIRD has it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["ospf_session"]

_NAME = "rbops_ospf"


def ospf_session(said: Mapping[str, Any], summary: Mapping[str, Any], now_s: float) -> dict[str, Any]:
    """``said``: ``show ip ospf vrf all neighbor json``; ``summary``: ``show ip route vrf NAME summary json``.

    ``now_s``: the time since the epoch, from which neighbours' ages count. Imported are the routes in the kernel. FRR
    counts neither what it announces nor what filters refuse.
    """
    ages = [each["upTimeInMsec"] / 1000 for each in _neighbors(said) if each.get("converged") == "Full"]
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now_s - max(ages))) if ages else "-"
    routes = summary.get("routes", [])
    return {
        "name": _NAME,
        "protocol": "ospf",
        "up": True,
        "since": since,
        # As BIRD calls it.
        "info": "Running" if ages else "Alone",
        "imported": sum(int(each.get("fib", 0)) for each in routes if each.get("type") == "ospf"),
        "filtered": None,
        "exported": None,
    }


def _neighbors(said: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Of each VRF; one may be several times there, by more than one port."""
    for part in said.values():
        if isinstance(part, Mapping):
            for known in part.get("neighbors", {}).values():
                yield from known
