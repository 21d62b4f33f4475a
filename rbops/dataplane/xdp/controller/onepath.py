"""What one path between two servers means for the cables of a fly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rbops.planning.servers import Built
from rbops.render.paths import loads, neighbors
from rbops.spec.document import Spec
from rbops.topology.choice import Choice
from rbops.topology.names import server_index

__all__ = ["one_path"]

_COUNTED = 64
"""Of so many servers each path is looked at."""


def one_path(who: str, spec: Spec, choice: Choice, built: Built) -> Iterator[str]:
    """A warning where ``who`` takes one shortest path between two servers of a fly, and some cables then have more to
    carry than they can. Nothing where there is no fly.
    """
    trial = choice.trial
    if trial.kind != "fly":
        return
    text = f"the {who} takes one shortest path between each two servers of a fly"
    if trial.servers > _COUNTED:
        yield f"{text}: its busiest cables carry more than planned here, up to three times as much"
        return
    cables = {
        server.index: Counter(
            server_index((port.peer or "").partition(":")[0]) or 0 for port in server.ports if port.kind == "internal"
        )
        for server in built.servers
    }
    most = max(loads(cables, neighbors(cables, frozenset(choice.owners))).values(), default=0)
    busiest = most * 2 * choice.most * spec.router.line_rate_bps / trial.port_servers
    if busiest > trial.rate_bps:
        yield (
            f"{text}: with the worst traffic matrix up to {busiest / 1e9:.4g} Gbps are for one cable, "
            f"which carries {trial.rate_bps / 1e9:.4g}"
        )
