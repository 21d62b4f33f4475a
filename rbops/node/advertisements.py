"""Default routes that the management network's routers advertise: a kernel that forwards IPv6 would drop them.

With forwarding on, Linux takes router advertisements only where ``accept_ra`` is 2 (kernel: ip-sysctl). A server that
is reached by such a route would be lost.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from rbops.errors import CheckFailed
from rbops.node.settings import Setting, Write
from rbops.node.system import System

__all__ = ["settings"]

_WANT = "2"


def settings(ports: Collection[str], system: System) -> list[Setting]:
    """One for each device with an advertised default route that is none of ``ports``."""
    done = system.run(("ip", "-6", "-json", "route", "show", "default", "proto", "ra"))
    if done.returncode:
        raise CheckFailed(f"ip route show: {done.stderr.strip()}", code="node.ip")
    found = []
    routes = json.loads(done.stdout or "[]")
    hops = [hop for route in routes for hop in route.get("nexthops") or [route]]
    for device in sorted({hop["dev"] for hop in hops if "dev" in hop} - set(ports)):
        path = f"/proc/sys/net/ipv6/conf/{device}/accept_ra"
        have = (system.read(path) or "").strip()
        if have not in ("1", _WANT):
            continue  # something else listens, as networkd does
        write, back = Write(path, _WANT), Write(path, "1")
        found.append(Setting("sysctl", f"net.ipv6.conf.{device}.accept_ra", have, _WANT, (write,), (back,)))
    return found
