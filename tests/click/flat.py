"""A flat router as text, to compare with."""

from __future__ import annotations

from rbops.click.flatten import FlatRouter

__all__ = ["flat_text"]


def flat_text(router: FlatRouter) -> str:
    """One element or connection a line: elements in order, then connections."""
    lines = [f"{e.name} :: {e.kind}({', '.join(e.arguments)})" for e in router.elements]
    names = [e.name for e in router.elements]
    lines += [f"{names[c.source]}[{c.output}] -> [{c.input}]{names[c.target]}" for c in router.connections]
    return "".join(f"{line}\n" for line in lines)
