"""What changes are said to do: each setting that servers are compared by has a line in the table."""

from __future__ import annotations

import pytest

from rbops.deploy.effect import Effect, effect
from rbops.deploy.status import Change, ServerDiff
from rbops.nic.settings import ROWS
from rbops.report.apply import diff_json, diff_lines


@pytest.mark.parametrize(
    ("subject", "setting", "said"),
    [
        ("file", "/etc/rbops/node.json", Effect.HITLESS),
        ("kernel routes", "203.0.113.0/24", Effect.HITLESS),
        ("CPU 3", "governor", Effect.HITLESS),
        ("data plane", "program", Effect.HITLESS),
        ("data plane", "forwarding table", Effect.HITLESS),
        ("data plane", "configuration", Effect.MOVES),
        ("data plane", "kind", Effect.RESETS),
        ("port ext0", "channels", Effect.RESETS),
        ("port ext0", "mtu", Effect.RESETS),
        ("port int1", "XDP program", Effect.RESETS),
        ("port int1", "steering 02:52:00:01:00:00", Effect.MOVES),
        ("port int1", "rss indirection", Effect.MOVES),
        ("port int1", "irq 3", Effect.HITLESS),
        ("port int1", "xps tx-0", Effect.HITLESS),
        ("port ext0", "neighbor 198.18.0.2", Effect.HITLESS),
        ("port ext0", "something that is new", Effect.MOVES),
        ("boot", "next boot", Effect.REBOOT),
        ("server", "configuration", Effect.RESETS),
    ],
)
def test_effects(subject: str, setting: str, said: Effect) -> None:
    assert effect(subject, setting) is said


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_every_setting_of_devices_is_in_the_table(row: object) -> None:
    """By its stage: rings and offloads reset most drivers' ports, hashing moves flows, the rest does neither."""
    tool = row.tool  # type: ignore[attr-defined]
    expected = {"rings": Effect.RESETS, "offloads": Effect.RESETS, "rss": Effect.MOVES}
    label = tool.label.format(name=(row.parameters or (row.name,))[0])  # type: ignore[attr-defined]
    assert effect("port ext0", label) is expected.get(tool.stage, Effect.HITLESS), label


def test_diff_says_them_and_counts_them() -> None:
    changes = (Change("file", "/x", "a", "b"), Change("port ext0", "mtu", "1500", "9000"))
    lines = list(diff_lines([ServerDiff("n0", changes)]))
    assert lines == [
        "n0: 2 differences",
        "  file: /x: a -> b - hitless",
        "  port ext0: mtu: 1500 -> 9000 - resets the port",
        "of 2 differences: 1 hitless, 1 resetting a port (packets in it are lost)",
    ]
    servers = diff_json([ServerDiff("n0", changes)], "d")["servers"]
    assert [change["effect"] for change in servers["n0"]] == ["hitless", "resets the port"]
    assert list(diff_lines([ServerDiff("n0", ())])) == ["n0: as planned"]
