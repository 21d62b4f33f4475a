"""The direct quota of Direct VLB, and what the worst traffic matrix then puts on one link (docs/planning.md).

M servers take in and give out at most W = sR each; a link between two of them carries C. Of what S sends D up to the
quota q goes over their link, the rest in equal shares over the M - 2 others. All rates are in bps, per direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Mesh", "Policy", "direct_quota", "safe_quotas", "worst_link"]

Policy = Literal["surplus", "paper"]

_NO_INTERMEDIATE = 2
_ONE_INTERMEDIATE = 3
_EVEN = 4
"""So many intermediates, and the quota does not matter: q more on its own link is 4q/4 less of the two rests."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """The logical mesh of port servers: ``servers`` M, ``rate_bps`` W = sR of each, ``link_bps`` C between two.

    A fly is one too: C is then the rate at which all pairs may use it at once.
    """

    servers: int
    rate_bps: int
    link_bps: int

    @property
    def paper_bps(self) -> int:
        """The paper's quota sR/M, rounded down."""
        return self.rate_bps // self.servers


def worst_link(servers: int, rate_bps: float, quota_bps: float) -> float:
    """The most that any matrix of at most ``rate_bps`` a row and column puts on a link.

    From four servers on: q of what S sends D, and of both what else S sends and what else D gets at most W - 2q is
    above a quota, a share 1/(M - 2) of each. Of three servers the third is every intermediate: q, or without traffic
    from S to D both rests, W - q each. Two servers have no intermediate: W.
    """
    quota = min(quota_bps, rate_bps)
    if servers <= _NO_INTERMEDIATE:
        return rate_bps if servers == _NO_INTERMEDIATE else 0
    if servers == _ONE_INTERMEDIATE:
        return max(quota, 2 * (rate_bps - quota))
    return quota + 2 * max(0, rate_bps - 2 * quota) / (servers - 2)


def safe_quotas(mesh: Mesh) -> tuple[int, int] | None:
    """The smallest and the largest quota with which ``worst_link`` is at most C; None when every one overloads.

    ``worst_link`` is convex in q, so that all between them do too. Whole bits per second, rounded to the safe side.
    """
    rate, link, between = mesh.rate_bps, mesh.link_bps, mesh.servers - 2
    most = min(link, rate)
    if between < 1:
        return (0, rate) if rate <= link else None
    if between == 1:
        least = max(0, rate - link // 2)
        return (least, most) if least <= most else None
    if 2 * link >= rate:
        # From W/2 on nothing is above a quota beside q itself; below it, few intermediates mean large shares.
        few = _EVEN - between
        least = -(-(2 * rate - between * link) // few) if few > 0 else 0
        return max(0, least), most
    spare = between * link - 2 * rate
    if between > _EVEN and spare >= 0:
        return 0, spare // (between - _EVEN)
    return None


def direct_quota(mesh: Mesh, policy: Policy) -> int:
    """What one server may send another directly.

    ``paper``: sR/M. ``surplus``: that and what the link carries beyond the 2sR/M of plain VLB, C - sR/M, moved into
    ``safe_quotas``. Where no safe one is at least sR/M it is sR/M: less would send uniform traffic over two hops.
    """
    if policy == "paper" or mesh.servers == 1:
        return mesh.paper_bps
    safe = safe_quotas(mesh)
    if safe is None or safe[1] < mesh.paper_bps:
        return mesh.paper_bps
    if mesh.servers == _NO_INTERMEDIATE:
        return mesh.rate_bps
    least, most = safe
    wanted = mesh.link_bps + -mesh.rate_bps // mesh.servers
    return min(most, max(least, mesh.paper_bps, wanted))
