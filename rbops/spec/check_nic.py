"""What cannot be meant within a section ``nic:``."""

from __future__ import annotations

from collections.abc import Iterator

from rbops.errors import Diagnostic
from rbops.spec.source import Node, Path
from rbops.spec.validate import Parts, located

__all__ = ["check_nic"]


def check_nic(parts: Parts) -> Iterator[Diagnostic]:
    """The spec's own section, and each host's as far as that host says it itself."""
    yield from _section(parts, ("nic",))
    for name in parts.hosts:
        yield from _section(parts, ("hosts", name, "nic"))


def _section(parts: Parts, path: Path) -> Iterator[Diagnostic]:
    times = _text(parts.root, (*path, "coalescing", "rx"))
    adaptive = _text(parts.root, (*path, "coalescing", "adaptive")) or _text(
        parts.root, ("nic", "coalescing", "adaptive")
    )
    if adaptive == "true" and times not in {None, "keep"}:
        message = "an adaptive driver chooses the time itself"
        yield located(parts.root, (*path, "coalescing", "rx"), message, "leave out one of adaptive and rx")
    deferred = _text(parts.root, (*path, "defer_hard_irqs"))
    if deferred not in {None, "0"}:
        wait = _text(parts.root, (*path, "flush_timeout")) or _text(parts.root, ("nic", "flush_timeout"))
        if wait in {None, "0"}:
            message = "without a flush_timeout it has no effect"
            yield located(parts.root, (*path, "defer_hard_irqs"), message, "add flush_timeout, for example 200us")


def _text(root: Node, path: Path) -> str | None:
    """What was written at ``path``, as text."""
    node: Node | None = root
    for step in path:
        node = node.child(step) if node else None
    return node.value if node and isinstance(node.value, str) else None
