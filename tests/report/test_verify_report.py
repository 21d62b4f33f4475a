"""A verification as people read it."""

from __future__ import annotations

from rbops.report.tables import plain
from rbops.report.verify import verify_blocks
from rbops.verify.result import Check, VerifyResult

DIGEST = "49f2b13f2ac2" + "0" * 52


def text(*checks: Check) -> list[str]:
    return plain(verify_blocks(VerifyResult(DIGEST, checks))).splitlines()


def test_servers_by_subjects() -> None:
    lines = text(Check("n0", "network", "up[n0:ext0]", "passed", "", 0.1))
    assert lines[0] == "Verification of plan 49f2b13f2ac2"
    assert "  n0          1/1" in lines
    assert lines[-1] == "1 passed, 0 failed, 0 skipped"


def test_each_failure_is_said_below_the_table() -> None:
    lines = text(
        Check("n0", "network", "up[n0:int1]", "failed", "the port is administratively down\nmore", 0.1),
        Check("n1", "queues", "xps[n1:ext1:0]", "passed", "", 0.1),
    )
    assert "  n0          0/1       -" in lines
    assert "FAILED network up[n0:int1]: the port is administratively down (+1 lines)" in lines
    assert lines[-1] == "1 passed, 1 failed, 0 skipped"
