"""What only the planning of Click's data plane knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from rbops.hardware.costs import SOCKET_CYCLES
from rbops.hardware.model import AppCost, Machine
from rbops.plan import Fragment, Violation
from rbops.spec.model import Spec

if TYPE_CHECKING:
    from rbops.click import Fragment as Parsed
    from rbops.planning.servers import Built

__all__ = ["breaches", "costs", "on_sockets", "own_element", "planned", "prefix"]

_ARCHIVE = re.compile(r".*\.(?:tar(?:\.[a-z0-9]+)?|t[gx]z)")
_UNPACKED = "/opt/rbops-click"
"""Where the role click makes a link to an archive that it unpacked; the same names are archives there."""


def on_sockets(spec: Spec) -> bool:
    """Whether packets come through AF_PACKET: one queue a device, and more cycles a packet."""
    return spec.dataplane == "click" and spec.click.dialect == "socket"


def costs(spec: Spec, machine: Machine) -> tuple[AppCost, ...]:
    """What a packet costs on ``machine``: on packet sockets more than the profile says."""
    if not on_sockets(spec):
        return machine.costs
    return tuple(replace(cost, cycles=cost.cycles + SOCKET_CYCLES) for cost in machine.costs)


def prefix(spec: Spec) -> str | None:
    """Where Click is on the servers: the role unpacks an archive and makes a link lead to it."""
    if spec.dataplane != "click":
        return None
    if spec.click.package and _ARCHIVE.fullmatch(spec.click.package):
        return _UNPACKED
    return spec.click.prefix


def own_element(spec: Spec) -> Parsed | None:
    """The user's Click element, read and checked. Raises SpecError, UsageError."""
    if spec.dataplane != "click" or spec.router.fragment is None:
        return None
    from rbops.click import bundled, fragment

    driver: Literal["linuxmodule", "userlevel"] = "linuxmodule" if spec.click.dialect == "kernel" else "userlevel"
    return fragment(spec.router.fragment, bundled(), driver, spec.router.allow)


def planned(own: Parsed | None) -> Fragment | None:
    """The user's element as the plan holds it."""
    return None if own is None else Fragment(own.text, own.name, own.outputs, own.tasks)


def breaches(own: Parsed | None, built: Built) -> Iterator[Violation]:
    """The allowed breaches of the user's element, on every server that packets come in at."""
    for breach in own.breaches if own else ():
        text = f"router.fragment, line {breach.place.line}: {breach.place.message}"
        for server in built.servers:
            if server.external_ports:
                yield Violation(breach.rule, server.name, text, round(breach.predicted_loss, 3))
