"""The data planes there are. Adding one is a line here and a folder."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from rbops.errors import Mismatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rbops.dataplane.base import Controller, NodeHalf

__all__ = ["KINDS", "controller", "controllers", "node_half", "node_halves"]

_FOLDERS = {"xdp": "rbops.dataplane.xdp", "click": "rbops.dataplane.click", "kernel": "rbops.dataplane.kernel"}

KINDS = tuple(_FOLDERS)
"""What ``dataplane:`` may be, the default first."""


def node_half(kind: str) -> NodeHalf:
    """What rbops-node runs of a data plane; imported when it is asked for. Mismatch (3) for one that is not known."""
    if kind not in _FOLDERS:
        raise Mismatch(
            f"data plane {kind!r} is unknown to this rbops-node, expected one of {', '.join(KINDS)}",
            hint=f"it knows {', '.join(KINDS)}",
            code="dataplane.unknown",
        )
    return cast("NodeHalf", import_module(f"{_FOLDERS[kind]}.node").HALF)


def node_halves() -> Iterator[NodeHalf]:
    """Those of all data planes."""
    return map(node_half, KINDS)


def controller(kind: str) -> Controller:
    """What rbops itself runs of a data plane; imported when it is asked for. ``kind`` is one of KINDS."""
    return cast("Controller", import_module(f"{_FOLDERS[kind]}.controller.half").HALF)


def controllers() -> Iterator[Controller]:
    """Those of all data planes."""
    return map(controller, KINDS)
