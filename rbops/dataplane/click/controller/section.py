"""What contradicts itself in the spec's section ``click:``."""

from __future__ import annotations

from collections.abc import Iterator

from rbops.errors import Diagnostic
from rbops.spec.source import Node
from rbops.spec.validate import located

__all__ = ["mistakes"]


def mistakes(root: Node) -> Iterator[Diagnostic]:
    """Click has two origins, or a prefix that is not an absolute path."""
    click = root.child("click")
    if click is None:
        return
    if click.child("package") and click.child("prefix"):
        message = "expected either a package or a prefix of Click, not both"
        yield located(root, ("click", "prefix"), message, code="click.prefix")
    prefix = click.child("prefix")
    if prefix and isinstance(prefix.value, str) and not prefix.value.startswith("/"):
        yield located(
            root,
            ("click", "prefix"),
            "not a valid prefix, expected an absolute path on the servers",
            "for example /usr/local",
            code="click.prefix",
        )
