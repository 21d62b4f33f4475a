"""A verification as people read it."""

from __future__ import annotations

import io

from rich.console import Console

from rbops.report.verify import verify_report
from rbops.verify.result import Check, VerifyResult

DIGEST = "49f2b13f2ac2" + "0" * 52


def text(*checks: Check) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=100).print(verify_report(VerifyResult(DIGEST, checks)))
    return out.getvalue().splitlines()


def test_a_narrow_table_has_its_heading_on_one_line() -> None:
    lines = text(Check("n0", "network", "up[n0:ext0]", "passed", "", 0.1))
    assert lines[0] == "Verification of plan 49f2b13f2ac2"
    assert "│ n0     │     1/1 │" in lines
    assert lines[-1] == "1 passed, 0 failed, 0 left out"


def test_each_failure_is_said_below_the_table() -> None:
    lines = text(
        Check("n0", "network", "up[n0:int1]", "failed", "the port is administratively down\nmore", 0.1),
        Check("n1", "queues", "xps[n1:ext1:0]", "passed", "", 0.1),
    )
    assert "│ n0     │     0/1 │      - │" in lines
    assert "FAILED network up[n0:int1]: the port is administratively down (+1 lines)" in lines
    assert lines[-1] == "1 passed, 1 failed, 0 left out"
