"""Neighbours without an address: each is the router on its port, whatever its link-local address is."""

from __future__ import annotations

__all__ = ["ANY_LINK_LOCAL", "LINK_LOCAL"]

ANY_LINK_LOCAL = "fe80::"
"""What stands in the address's place: as an address it is that of all routers of a link (RFC 4291, 2.6.1)."""

LINK_LOCAL = "fe80::/10"
"""From where such a neighbour speaks (RFC 4291, 2.5.6)."""
