"""A router of four servers whose table follows the kernel's, changed by ``ip`` as a routing daemon changes it."""

from __future__ import annotations

from pathlib import Path

from rbops.dataplane.xdp.follow import XdpTable
from rbops.node.fib import Follower, audit
from rbops.node.rtsocket import Socket
from tests.dataplane.router import Router, run

__all__ = ["Following"]


class Following:
    """What is the same for both families: ``prepare`` gives the ports addresses, neighbours and routes."""

    family = 4

    def __init__(self, router: Router, folder: Path) -> None:
        self.router, self.said = router, []  # type: tuple[Router, list[str]]
        self.prepare()
        router.plane.apply()
        self.events = Socket(ipv6=self.family == 6)
        self.follower = Follower(self.table, self.said.append, folder / "fib.json", audits=False)
        self.follower.resync()

    def prepare(self) -> None:
        """Before the data plane is loaded."""
        raise NotImplementedError

    @property
    def table(self) -> XdpTable:
        return self.router.plane.table()

    def ip(self, line: str) -> None:
        # IPv4 is the default of ip, which takes no family with groups of next hops.
        run("ip", *(["-6"] if self.family == 6 else []), *line.split())

    def route(self, line: str) -> None:
        verb, prefix, rest = [*line.split(" ", 2), ""][:3]
        if prefix in ("blackhole", "unreachable", "prohibit", "throw", "multicast"):
            prefix, rest = f"{prefix} {rest.partition(' ')[0]}", rest.partition(" ")[2]
        self.ip(f"route {verb} {prefix} table 82 {rest}")

    def settle(self) -> None:
        for _ in range(4):
            self.follower.step(self.events, 0.05)
        for _ in range(100):
            if not any(rib.pending for rib in self.follower._ribs):
                break
            self.follower.step(self.events, 0.05)

    def fate(self, frame: bytes) -> str:
        """What a frame is addressed to that leaves for this one, or what became of it."""
        ran = self.router.receive("ext0", frame)
        return {1: "drop", 2: "kernel", 4: ran.frame[:6].hex(":")}[ran.verdict]

    def differences(self) -> int:
        return int(audit(self.table)["differences"])

    def close(self) -> None:
        self.events.close()
        self.follower.close()
