"""What contradicts itself in the spec's section ``click:``."""

from __future__ import annotations

from collections.abc import Iterator

from rbops.errors import Diagnostic
from rbops.spec.source import Node
from rbops.spec.validate import located

__all__ = ["mistakes"]


def mistakes(root: Node) -> Iterator[Diagnostic]:
    """Where Click comes from is said twice, or no path on a server."""
    click = root.child("click")
    if click is None:
        return
    if click.child("package") and click.child("prefix"):
        message = "Click is installed from a package or is there under a prefix, not both"
        yield located(root, ("click", "prefix"), message)
    prefix = click.child("prefix")
    if prefix and isinstance(prefix.value, str) and not prefix.value.startswith("/"):
        yield located(root, ("click", "prefix"), "a path on the servers is absolute", "for example /usr/local")
