"""One address family of the table that is followed: what the kernel has, what was moved, what is held for a while."""

from __future__ import annotations

import time
from collections.abc import Callable

from rbops.common.hops import Hop
from rbops.node.detour import Detour
from rbops.node.rib import Rib
from rbops.node.rtnetlink import Message
from rbops.node.ways import Ports

__all__ = ["Side"]

_HOLD_S = 5.0


class Side:
    """``held``: prefixes that stay as they are until the kernel has them again, or their time is over."""

    def __init__(self, ports: Ports, family: int) -> None:
        self.rib = Rib(ports, family)
        self._detour = Detour(ports)
        self.held: dict[int, float] = {}

    def take(self, message: Message, say: Callable[[str], None]) -> int:
        """Take a message over; how many routes were moved."""
        self.rib.take(message)
        return self.move(say) if self.rib.lost_links else 0

    def move(self, say: Callable[[str], None]) -> int:
        """Routes over cables that are cut go over others, in the kernel too; meanwhile the data plane keeps them."""
        before = self.rib.changed.copy() if self.rib.lost_links else set()
        moved = self._detour.move(self.rib)
        if moved:
            say(f"{moved} routes of the kernel moved to other internal ports")
        if self.rib.lost_links:
            held = self.rib.drop_lost(keep=self._detour.is_behind_fabric)
            until = time.monotonic() + _HOLD_S
            self.held.update(dict.fromkeys(held - before, until))
        if not self.held:
            return moved
        for key in self.rib.changed & self.held.keys():
            if key in self.rib.routes:
                del self.held[key]
        # IPv6 routes are said to be gone one by one, after their link.
        self.rib.changed -= self.held.keys()
        now = time.monotonic()
        over = {key for key, until in self.held.items() if until < now}
        self.rib.changed |= over
        for key in over:
            del self.held[key]
        return moved

    def begin(self, fresh: Rib) -> None:
        """Start anew with what the kernel lists; held prefixes stay."""
        fresh.changed |= self.rib.all()
        held = {key: self.rib.routes[key] for key in self.held if key in self.rib.routes}
        fresh.routes.update({key: route for key, route in held.items() if key not in fresh.routes})
        self.rib = fresh

    def derive(self) -> list[tuple[Hop | None, list[int]]]:
        """What changed: see :meth:`Rib.derive`. Routes that were written over a cut cable are moved."""
        self._detour.move_changed(self.rib)
        return self.rib.derive()
