"""Which Debian release each server of a lab runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rbops.errors import Mismatch, UsageError
from rbops.plan import ClusterPlan

__all__ = ["DEFAULT", "RELEASES", "Releases"]

RELEASES = ("bookworm", "trixie")
"""Debian 12 and 13, by the names of their suites."""

DEFAULT = "bookworm"


@dataclass(frozen=True, slots=True)
class Releases:
    """``default`` for every server but those in ``servers``, which have one of their own."""

    default: str = DEFAULT
    servers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, words: Iterable[str]) -> Releases:
        """From ``RELEASE`` and ``SERVER=RELEASE``, the last one counts; UsageError for any other release."""
        default, servers = DEFAULT, {}
        for word in words:
            server, equals, release = word.rpartition("=")
            if release not in RELEASES or (equals and not server):
                raise UsageError(
                    f"--release {word}: not a Debian release that labs support",
                    code="lab.release",
                    hint=f"--release {'|'.join(RELEASES)} for all servers, --release n1={RELEASES[-1]} for one of them",
                )
            if server:
                servers[server] = release
            else:
                default = release
        return cls(default, servers)

    def of(self, server: str) -> str:
        """The release of ``server``."""
        return self.servers.get(server, self.default)

    def of_plan(self, plan: ClusterPlan) -> dict[str, str]:
        """Each server's release. Raises Mismatch when one is given for a server that the plan does not have."""
        names = [server.name for server in plan.servers]
        unknown = [name for name in self.servers if name not in names]
        if unknown:
            raise Mismatch(
                f"--release names {', '.join(unknown)}, not in the plan",
                code="lab.release-server",
                hint=f"its servers: {', '.join(names)}",
            )
        return {name: self.of(name) for name in names}
