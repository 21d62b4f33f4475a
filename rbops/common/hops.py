"""Where a route leads, in the router's own words: what the routes' follower hands to a data plane."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BLACKHOLE", "KERNEL", "UNREACHABLE", "Answer", "Far", "Hop", "Near", "Spread"]


@dataclass(frozen=True, slots=True)
class Near:
    """A neighbour on an external port of this server; ``address`` is a number (IPv6: above 32 bits)."""

    port: int
    address: int


@dataclass(frozen=True, slots=True)
class Far:
    """An adjacency of another server's external port (0: that server's kernel)."""

    port: int
    adjacency: int


@dataclass(frozen=True, slots=True)
class Answer:
    """No next hop: ``kernel`` (this server's delivers or answers), ``blackhole``, ``unreachable``.

    ``port``: the kernel finds neighbours on this external port of the server, whose network it is.
    """

    kind: str
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """Several next hops with their weights (multipath), the same one for all packets of a flow.

    ``down`` are those whose link is down: left out while another is up.
    """

    members: tuple[tuple[Near | Far | Answer, int], ...]
    down: frozenset[Near | Far | Answer] = frozenset()


Hop = Near | Far | Answer | Spread

KERNEL, BLACKHOLE, UNREACHABLE = Answer("kernel"), Answer("blackhole"), Answer("unreachable")
