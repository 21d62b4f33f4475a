"""What Click's section of a spec adds to a plan: where Click is, and the user's own element in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rbops.click import Fragment as Parsed
from rbops.click import bundled, fragment
from rbops.dataplane.base import Additions
from rbops.dataplane.click import kernel_mode
from rbops.plan import Forwarding, Fragment, Server, Violation
from rbops.spec.document import Spec

__all__ = ["ClickAdditions", "additions", "driver", "spreads"]

_ARCHIVE = re.compile(r".*\.(?:tar(?:\.[a-z0-9]+)?|t[gx]z)")
_UNPACKED = "/opt/rbops-click"
"""Where the role click makes a link to an archive that it unpacked; the same names are archives there."""


@dataclass(frozen=True, slots=True)
class ClickAdditions(Additions):
    """``element`` is the user's own, read and checked."""

    dialect: str
    prefix: str | None
    package: str | None
    element: Parsed | None

    def forwarding(self, common: Forwarding) -> Forwarding:
        """Which Click, where it is, and the element's text."""
        own = self.element
        written = None if own is None else Fragment(own.text, own.name, own.outputs, own.tasks)
        return replace(
            common,
            click_dialect=self.dialect,
            click_prefix=self.prefix,
            click_package=self.package,
            fragment=written,
        )

    def breaches(self, servers: Sequence[Server]) -> Iterator[Violation]:
        """The allowed breaches of the user's element, on every server that packets come in at."""
        for breach in self.element.breaches if self.element else ():
            text = f"router.click_element, line {breach.place.line}: {breach.place.message}"
            for server in servers:
                if server.external_ports:
                    yield Violation(breach.rule, server.name, text, round(breach.predicted_loss, 3))


def additions(spec: Spec) -> ClickAdditions:
    """Raises SpecError, UsageError for an element that cannot be used."""
    own = None
    if spec.router.click_element is not None:
        own = fragment(Path(spec.router.click_element), bundled(), driver(spec), spec.router.allowed_rules)
    return ClickAdditions(spec.click.dialect, _prefix(spec), spec.click.package, own)


def driver(spec: Spec) -> Literal["linuxmodule", "userlevel"]:
    """For which of Click's drivers elements must be."""
    return "linuxmodule" if spec.click.dialect == kernel_mode.DIALECT else "userlevel"


def spreads(spec: Spec) -> bool:
    """Whether devices are spread over threads as FastClick's do."""
    return spec.click.dialect == "fastclick"


def _prefix(spec: Spec) -> str | None:
    """Where Click is on the servers: the role unpacks an archive and makes a link lead to it."""
    if spec.click.package and _ARCHIVE.fullmatch(spec.click.package):
        return _UNPACKED
    return spec.click.prefix
