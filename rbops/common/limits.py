"""How large a cluster and its parts may be, where more than one part of rbops has to know."""

from __future__ import annotations

__all__ = [
    "HIGHEST_CPU",
    "MAX_EXTERNAL_PORTS",
    "MAX_LAB_SERVERS",
    "MAX_SAMPLING",
    "MAX_XDP_BUNDLE",
    "MAX_XDP_DEVICES",
    "MAX_XDP_SERVERS",
]

HIGHEST_CPU = 8191
"""The highest CPU id: Linux is built for 8,192 CPUs at most (NR_CPUS_RANGE_END, arch/x86/Kconfig)."""

MAX_EXTERNAL_PORTS = 4096
"""External ports of a router: the generated next hops of the servers' kernels (``node/fabric.py``) hold as many."""

MAX_LAB_SERVERS = 245
"""Servers of one lab: its management network is a /24, and they count from .10."""

MAX_SAMPLING = 1 << 24
"""sFlow: one frame in so many at most."""

MAX_XDP_SERVERS = 256
"""Servers that the XDP data plane's tables hold (MAX_SERVERS of ``dataplane/xdp/layout.h``)."""

MAX_XDP_BUNDLE = 16
"""Cables between two servers that the XDP data plane balances (MAX_BUNDLE of ``dataplane/xdp/layout.h``)."""

MAX_XDP_DEVICES = 256
"""Ports of one server that the XDP data plane's tables hold (MAX_DEVICES of ``dataplane/xdp/layout.h``)."""
