"""What a verification found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Check", "VerifyResult"]

SCHEMA_VERSION = 1

Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Check:
    """One check on one server.

    ``subject`` is the suite's file (``queues``), ``name`` the check with its parameters,
    ``detail`` what was found instead when it failed, or why it was skipped.
    """

    server: str
    subject: str
    name: str
    outcome: Outcome
    detail: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """All checks of one run; no check at all is a failure."""

    plan_digest: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether checks were run and none of them failed."""
        return any(check.outcome == "passed" for check in self.checks) and not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """The failed checks, in the order they ran."""
        return tuple(check for check in self.checks if check.outcome == "failed")

    def count(self, *, server: str | None = None, subject: str | None = None) -> Counter[str]:
        """Outcome -> number of checks, of one server and subject where given."""
        return Counter(check.outcome for check in self._select(server, subject))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form (``schema_version`` 1)."""
        return {
            "schema_version": SCHEMA_VERSION,
            "plan_digest": self.plan_digest,
            "passed": self.passed,
            "counts": dict(self.count()),
            "checks": [asdict(check) for check in self.checks],
        }

    def _select(self, server: str | None, subject: str | None) -> Iterable[Check]:
        for check in self.checks:
            if server in (None, check.server) and subject in (None, check.subject):
                yield check
