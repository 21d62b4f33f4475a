"""``apply --confirm-if``: what must hold before a change is confirmed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rbops.errors import CheckFailed, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from rbops.cli.servers import Servers
    from rbops.deploy.apply import Acceptance
    from rbops.deploy.inventory import Inventory
    from rbops.plan import ClusterPlan
    from rbops.selftest.options import SelftestOptions

__all__ = ["acceptance", "conditions"]

_SHOWN = 3
_BUT_CONFIRMED = "not confirmed"
"""All checks but the one that the change is confirmed."""


def conditions(text: str) -> tuple[str, ...]:
    """The names in ``verify,selftest``, in the order in which they are tried; UsageError for others."""
    names = tuple(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in _TRIED]
    if unknown:
        raise UsageError(
            f"--confirm-if: {unknown[0]!r} is neither {' nor '.join(_TRIED)}",
            code="apply.condition",
            hint="for example --confirm-if verify,selftest",
        )
    return tuple(name for name in _TRIED if name in names)


def acceptance(
    names: tuple[str, ...], spec: Path, servers: Servers, plan: ClusterPlan, found: Inventory
) -> Acceptance | None:
    """What raises RbopsError unless the new configuration passes; None without conditions.

    Raises what says that a condition cannot be tried, before anything changes: testers that are missing.
    """
    from rbops.selftest.setup import ports_with_testers

    if not names:
        return None
    if "selftest" in names:
        ports_with_testers(plan, found.testers, _quick())

    def accept() -> None:
        for name in names:
            _TRIED[name](spec, servers)

    return accept


def _quick() -> SelftestOptions:
    from rbops.cli.selftest import QUICK_S
    from rbops.selftest.options import SelftestOptions
    from rbops.selftest.phases import quick

    return SelftestOptions(duration_s=QUICK_S, phases=quick())


def _verify(spec: Path, servers: Servers) -> None:
    from rbops.cli.verify import run
    from rbops.report.words import counted

    result = run(spec, servers, _BUT_CONFIRMED)
    if not result.passed:
        first = "; ".join(f"{check.server} {check.name}: {check.detail}" for check in result.failures[:_SHOWN])
        raise CheckFailed(f"{counted(len(result.failures), 'check')} of verify failed: {first}", code="apply.verify")


def _selftest(spec: Path, servers: Servers) -> None:
    from rbops.cli.selftest import measure
    from rbops.report.words import counted

    result = measure(spec, servers, _quick())
    if not result.passed:
        faults = "; ".join(fault.text for fault in result.faults[:_SHOWN])
        raise CheckFailed(f"{counted(len(result.faults), 'fault')} in the self-test: {faults}", code="apply.selftest")


_TRIED: Mapping[str, Callable[[Path, Servers], None]] = {"verify": _verify, "selftest": _selftest}
