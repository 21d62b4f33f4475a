"""The cases of the checks of the kernel's boot: what the spec asks for; none where it asks for nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rbops.node import cmdline
from rbops.verify.case import Case

if TYPE_CHECKING:
    from rbops.verify.host import ServerUnderTest

__all__ = ["kernel_cases"]


def kernel_cases() -> dict[str, Callable[[ServerUnderTest], Iterator[Case]]]:
    """Fixture name -> its cases of a server."""
    return {"boot_case": _boot, "isolated_case": _isolated, "parameter_case": _parameters}


def _boot(server: ServerUnderTest) -> Iterator[Case]:
    for name, value in _planned(server).items():
        yield Case(server, f"{server.name}:{name}", key=name, want=value)


def _isolated(server: ServerUnderTest) -> Iterator[Case]:
    if "isolcpus" in _planned(server):
        yield Case(server, server.name)


def _parameters(server: ServerUnderTest) -> Iterator[Case]:
    for module, options in server.node.kernel.modules.items():
        for name, value in options.items():
            yield Case(server, f"{server.name}:{module}.{name}", key=f"{module}.{name}", want=value)


def _planned(server: ServerUnderTest) -> dict[str, str]:
    return cmdline.planned(server.node.kernel.boot)
