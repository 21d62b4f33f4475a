"""What contradicts itself in a section ``nic:``, of the spec and of each host over the spec's."""

from __future__ import annotations

from collections.abc import Iterator

from rbops.errors import Diagnostic
from rbops.spec.source import Path
from rbops.spec.validate import Parts, located, text_at

__all__ = ["check_nic"]

_GENERAL: Path = ("nic",)


def check_nic(parts: Parts) -> Iterator[Diagnostic]:
    """The spec's own section, and what each host's makes of it."""
    yield from _section(parts, _GENERAL)
    for name in parts.hosts:
        yield from _section(parts, ("hosts", name, "nic"))


def _section(parts: Parts, section: Path) -> Iterator[Diagnostic]:
    """Only mistakes in which ``section`` itself has a part."""
    adaptive, usecs = ("coalescing", "adaptive"), ("coalescing", "rx")
    if _value(parts, section, adaptive) == "true" and _value(parts, section, usecs) not in {None, "keep"}:
        message = "an adaptive driver chooses the time itself"
        if _own(parts, section, usecs):
            yield located(
                parts.root, (*section, *usecs), message, "leave out one of adaptive and rx", code="spec.adaptive-time"
            )
        elif _own(parts, section, adaptive):
            text = f"{message}, and `nic: coalescing: rx` is {_value(parts, section, usecs)}"
            yield located(parts.root, (*section, *adaptive), text, "add `rx: keep`", code="spec.adaptive-time")
    defer, timeout = ("defer_hard_irqs",), ("flush_timeout",)
    deferred, wait = _value(parts, section, defer), _value(parts, section, timeout)
    if deferred not in {None, "0"} and wait in {None, "0"}:
        message = "without a flush_timeout it has no effect"
        if _own(parts, section, defer):
            yield located(
                parts.root,
                (*section, *defer),
                message,
                "add flush_timeout, for example 200us",
                code="spec.defer-without-timeout",
            )
        elif _own(parts, section, timeout):
            text = f"without it `nic: defer_hard_irqs` ({deferred}) has no effect"
            yield located(
                parts.root, (*section, *timeout), text, "add `defer_hard_irqs: 0`", code="spec.defer-without-timeout"
            )


def _value(parts: Parts, section: Path, key: Path) -> str | None:
    """What holds for ``section``: its own text, or that of the spec's section."""
    return _own(parts, section, key) or _own(parts, _GENERAL, key)


def _own(parts: Parts, section: Path, key: Path) -> str | None:
    """What was written at ``key`` of ``section``, as text."""
    return text_at(parts.root, *section, *key)
