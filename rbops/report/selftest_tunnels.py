"""Tunnels in the report of a self-test: a row for each tunnel, direction and port."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping

from rbops.report.junit import Case
from rbops.report.tables import Table
from rbops.selftest.tunnelrun import TunnelRun

__all__ = ["tunnel_cases", "tunnels_table"]

_COLUMNS = (
    "tunnel", "peer", "direction", "server", "port", "sent", "received", "lost", "twice", "elsewhere", "wrong", "clear",
)  # fmt: skip


def tunnels_table(runs: Iterable[TunnelRun]) -> Table:
    """What went through, opened with the keys."""
    rows = [
        (
            str(run.tunnel),
            run.peer,
            "encrypted" if run.way == "out" else "decrypted",
            run.server,
            str(run.port),
            *(f"{count:,}" for count in _counts(run)),
        )
        for run in runs
    ]
    return Table("Tunnels, opened with their keys", _COLUMNS, tuple(rows))


def tunnel_cases(
    runs: Iterable[TunnelRun], by_pair: MutableMapping[tuple[str, int | None, int | None], list[str]]
) -> Iterator[Case]:
    """A case for each row; the texts of its faults are taken out of ``by_pair``."""
    for run in runs:
        texts = by_pair.get(("tunnels", run.port, None), [])
        own = [text for text in texts if text.startswith(run.head) and f" packets {run.side} " in text]
        by_pair["tunnels", run.port, None] = [text for text in texts if text not in own]
        text = f"sent {run.sent}, received {run.received}, lost {run.lost}, duplicates {run.duplicates}"
        name = f"tunnel {run.tunnel}, {run.side}"
        yield Case("selftest.tunnels", name, 0.0, tuple(own), output=text)


def _counts(run: TunnelRun) -> tuple[int, ...]:
    return run.sent, run.received, run.lost, run.duplicates, run.misdelivered, run.wrong, run.clear
