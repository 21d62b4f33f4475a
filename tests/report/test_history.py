"""The history of several servers as a reader sees it."""

from __future__ import annotations

from rbops.deploy.history import Generation, ServerHistory
from rbops.report.history import history_blocks
from rbops.report.tables import Table

OLD, NEW = "a" * 64, "b" * 64


def server(name: str, *digests: str, present: str | None) -> ServerHistory:
    """With these plans, newest first."""
    kept = tuple(
        Generation(number, f"run-{digest[0]}", "c", name, digest, "ann@desk", 0.0, "why")
        for number, digest in enumerate(digests, 1)
    )
    return ServerHistory(name, present, kept)


def texts(*found: ServerHistory) -> list[str]:
    return [block.title if isinstance(block, Table) else str(block) for block in history_blocks(found)]


def test_servers_that_are_alike_share_a_table() -> None:
    assert texts(server("n0", NEW, OLD, present=NEW), server("n1", NEW, OLD, present=NEW)) == [
        "Configurations of n0, n1"
    ]


def test_mixed_generations_are_named() -> None:
    """As a run leaves them that was killed between the confirmations of two servers."""
    found = texts(server("n0", NEW, OLD, present=NEW), server("n1", OLD, present=OLD), server("n2", present=None))
    assert found[:3] == ["Configurations of n0", "Configurations of n1", "n2: no confirmed configuration"]
    assert found[3].startswith(f"the servers have different plans: n0 {NEW[:12]}, n1 {OLD[:12]}, n2 none")
