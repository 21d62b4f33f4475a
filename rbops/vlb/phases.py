"""VLB's two phases where servers are more than one cable apart, as in a fly: what each server on the way does.

The input server S writes into a frame's source MAC, ``02:56:VV:VV:SS:SS``, which intermediate V it chose (``NONE`` for
the direct path). A server that is V, or sees ``NONE``, sends it on towards the server that owns its output port; any
other one towards V, unless it owns the port itself. From V on there is no intermediate any more, so that the frame
does not turn back. Each server knows one neighbour towards each other server, one cable nearer: a frame takes at most
twice as many hops as the longest path has. An intermediate that a server cannot reach is left out there.

``rbops/dataplane/xdp/relay.h`` does the same.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

__all__ = ["NONE", "relay", "walk"]

NONE = 0xFFFF
"""In place of an intermediate."""


def relay(here: int, via: int, owner: int, reachable: Container[int]) -> tuple[int, int]:
    """Of a frame that reached server ``here``, not ``owner``: the server it goes towards, and ``via`` as it leaves."""
    if via in (here, owner) or via not in reachable:
        return owner, NONE
    return via, via


def walk(towards: Mapping[int, Mapping[int, int]], source: int, via: int, owner: int) -> list[int]:
    """The servers that a frame passes, first and last ones too; ``towards[to][here]``: the neighbour of ``here``."""
    passed, here, goal = [source], source, owner if via == NONE else via
    while True:
        here = towards[goal][here]
        passed.append(here)
        if here == owner:
            return passed
        goal, via = relay(here, via, owner, towards)
