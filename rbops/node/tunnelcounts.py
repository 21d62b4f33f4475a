"""What a server's tunnels have counted, for who may not ask the kernel: the exporter has no CAP_NET_ADMIN.

Who may list the kernel's associations sees their keys too. So the watch, which may change the network anyway, writes
their counters down, and the exporter, which answers at a port, reads them.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from rbops.errors import CheckFailed
from rbops.node import tunnels, xfrm
from rbops.node.ike import Ike
from rbops.node.schema.ipsec import TunnelConfig
from rbops.node.state import write_whole

__all__ = ["KEPT", "keep", "look", "read"]

KEPT = Path("/run/rbops-watch/tunnels.json")
"""In the unit's RuntimeDirectory: gone with it. At most two seconds old while the watch runs."""
_EVERY_S = 1.0
_OLD_S = 15.0


def look(config: TunnelConfig, ike: Ike | None = None) -> list[dict[str, Any]]:
    """Each tunnel's counters, and of one by IKE its state as ``ike``. CheckFailed where the kernel may not be asked."""
    found = tunnels.counted(xfrm.states(), config)
    states = (ike or Ike()).status(config)
    return [{**each, **({"ike": states[each["tunnel"]]} if each["tunnel"] in states else {})} for each in found]


def keep(config: TunnelConfig, path: Path = KEPT, *, rounds: int | None = None) -> None:
    """Write the counters every second until killed, or so many times."""
    done, ike = 0, Ike()
    while rounds is None or done < rounds:
        done += 1
        # A kernel that does not answer now may do so later; what is old is not shown.
        with suppress(CheckFailed, OSError):
            found = {"at_s": time.monotonic(), "tunnels": look(config, ike)}
            write_whole(path, json.dumps(found).encode())
        if rounds is None or done < rounds:
            time.sleep(_EVERY_S)


def read(config: TunnelConfig, path: Path = KEPT) -> list[dict[str, Any]]:
    """The kernel's answer; what the watch wrote for who may not ask. Nothing where neither is there."""
    try:
        return look(config)
    except CheckFailed:
        return _kept(path)


def _kept(path: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads(path.read_text("utf-8"))
        recent = 0 <= time.monotonic() - found["at_s"] < _OLD_S
        return list(found["tunnels"]) if recent else []
    except (OSError, ValueError, KeyError, TypeError):
        return []
