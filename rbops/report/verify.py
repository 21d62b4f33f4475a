"""A verification as tables: what was checked per server and subject, then each failure with its reason."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rbops.verify.result import Check, VerifyResult

__all__ = ["failure_line", "verify_report"]


def verify_report(result: VerifyResult) -> RenderableType:
    """Servers by subjects, ``passed/all`` in each cell, and the failures below."""
    servers = list(dict.fromkeys(check.server for check in result.checks))
    subjects = list(dict.fromkeys(check.subject for check in result.checks))
    # Not the table's own title, which wraps at the width of a table with few subjects.
    title = Text(f"Verification of plan {result.plan_digest[:12]}")
    table = Table()
    table.add_column("server")
    for subject in subjects:
        table.add_column(subject, justify="right")
    for server in servers:
        table.add_row(server, *(_cell(result, server, subject) for subject in subjects))
    failures = [Text(failure_line(check), style="red") for check in result.failures]
    return Group(title, table, *failures, _summary(result))


def failure_line(check: Check) -> str:
    """One failed check on one line: subject, check with its parameters, what was found."""
    first, *rest = check.detail.splitlines() or [""]
    return f"FAILED {check.subject} {check.name}: {first}" + (f" (+{len(rest)} lines)" if rest else "")


def _cell(result: VerifyResult, server: str, subject: str) -> Text:
    counts = result.count(server=server, subject=subject)
    total = sum(counts.values())
    if not total:
        return Text("-", style="dim")
    style = "red" if counts["failed"] else "green"
    return Text(f"{counts['passed']}/{total}", style=style)


def _summary(result: VerifyResult) -> Text:
    counts = result.count()
    text = f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} left out"
    return Text(text, style="green" if result.passed else "red")
