"""A verification's result: what was checked per server and subject, then each failure with its reason."""

from __future__ import annotations

from collections.abc import Iterator

from rbops.report.tables import Block, Cell, Styled, Table
from rbops.verify.result import Check, VerifyResult

__all__ = ["failure_line", "verify_blocks"]


def verify_blocks(result: VerifyResult) -> Iterator[Block]:
    """Servers by subjects, ``passed/all`` in each cell, and the failures below."""
    servers = list(dict.fromkeys(check.server for check in result.checks))
    subjects = list(dict.fromkeys(check.subject for check in result.checks))
    rows = tuple((server, *(_cell(result, server, subject) for subject in subjects)) for server in servers)
    yield Table(f"Verification of plan {result.plan_digest[:12]}", ("server", *subjects), rows)
    if result.failures:
        yield Styled("\n".join(failure_line(check) for check in result.failures), "bad")
    counts = result.count()
    text = f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped"
    yield Styled(text, "good" if result.passed else "bad")


def failure_line(check: Check) -> str:
    """One failed check on one line: subject, check with its parameters, what was found."""
    first, *rest = check.detail.splitlines() or [""]
    return f"FAILED {check.subject} {check.name}: {first}" + (f" (+{len(rest)} lines)" if rest else "")


def _cell(result: VerifyResult, server: str, subject: str) -> Cell:
    counts = result.count(server=server, subject=subject)
    total = sum(counts.values())
    if not total:
        return Styled("-", "dim")
    return Styled(f"{counts['passed']}/{total}", "bad" if counts["failed"] else "good")
