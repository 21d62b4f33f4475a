"""Plans for labs, made by hand: a full mesh with one external port a server."""

from __future__ import annotations

from rbops.lab.manifest import System
from rbops.plan import ClusterPlan, Routes
from tests.support.plans import Mesh, connected_routes

GBPS = 1_000_000_000


def mesh(
    servers: int = 2, *, name: str = "labtest", cores: tuple[int, ...] = (0,), profile: str = "lab", names: str = "n"
) -> ClusterPlan:
    """``servers`` servers n0, n1, ... each with ext{i} and an internal port to every other one, a queue a core."""
    whole = Mesh(name, servers, GBPS, cores, profile, names)
    return whole.plan(Routes(connected_routes(servers, own=False, neighbours=False), ()))


def systems(plan: ClusterPlan, release: str = "bookworm", base: str = "/base") -> dict[str, System]:
    """One system for all servers."""
    return {server.name: System(release, base) for server in plan.servers}
