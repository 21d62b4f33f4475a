"""Names of servers and ports.

Server n0..n{M-1}; external port P is ``ext{P}``; the internal port towards server b is ``int{b}``,
its parallel cables ``int{b}p{j}``.
"""

from __future__ import annotations

import re

__all__ = ["external_port", "internal_port", "server_index", "server_name"]

_SERVER = re.compile(r"n(0|[1-9][0-9]{0,5})")


def server_name(index: int) -> str:
    """``n3`` for 3."""
    return f"n{index}"


def server_index(name: str) -> int | None:
    """3 for ``n3``; None when ``name`` is not a planned server's name."""
    match = _SERVER.fullmatch(name)
    return int(match[1]) if match else None


def external_port(port: int) -> str:
    """``ext3`` for external port 3."""
    return f"ext{port}"


def internal_port(peer: int, cable: int, cables: int) -> str:
    """The port towards server ``peer``: ``int1``, or ``int1p0`` where ``cables`` run in parallel."""
    return f"int{peer}" if cables == 1 else f"int{peer}p{cable}"
