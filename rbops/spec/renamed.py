"""Keys and values that once were called otherwise: they are still read, with a warning that names the new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rbops.errors import Diagnostic
from rbops.spec.source import Node, Path

__all__ = ["KEYS", "VALUES", "modern_path", "modernize"]

KEYS: Mapping[tuple[str, str], str] = {
    ("router", "fragment"): "click_element",
    ("batching", "poll"): "rx_burst",
    ("batching", "nic"): "tx_burst",
}
"""Old path -> new key."""

VALUES: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("router", "allow"): {"rule1": "shared-queues", "rule2": "cross-core"}
}
"""Path of a list -> old value -> new value."""

_KEY_DEPTH = 2


def modernize(root: Node) -> tuple[list[Diagnostic], list[Diagnostic]]:
    """Rename what ``root`` has of them; errors where both names are given, and warnings."""
    errors: list[Diagnostic] = []
    warnings: list[Diagnostic] = []
    for (section, old), new in KEYS.items():
        node = root.child(section)
        if node is None or not isinstance(node.value, dict) or old not in node.value:
            continue
        given, today = node.value[old], node.value.get(new)
        if given.value is not None and today is not None and today.value is not None:
            message = f"{section}: {old} is the former name of {new}, which is given too"
            errors.append(_at_key(given, section, old, message, "remove one of the two", code="spec.duplicate"))
            del node.value[old]
            continue
        dropped = old if given.value is None else new
        node.value = {new if name == old else name: item for name, item in node.value.items() if name != dropped}
        message = f"{section}.{old} is deprecated"
        warnings.append(_at_key(given, section, old, message, f"write {new}", code="spec.deprecated"))
    return errors, [*warnings, *_values(root)]


def modern_path(path: Path) -> tuple[Path, str | None]:
    """``path`` with the new name of its key, and that name where it is another one."""
    section, key = path if len(path) == _KEY_DEPTH else (None, None)
    new = KEYS.get((section, key)) if isinstance(section, str) and isinstance(key, str) else None
    return ((*path[:-1], new) if new else path), new


def _values(root: Node) -> list[Diagnostic]:
    warnings: list[Diagnostic] = []
    for (section, key), names in VALUES.items():
        holder = root.child(section)
        node = holder.child(key) if holder else None
        for place, item in enumerate(node.value if node and isinstance(node.value, list) else ()):
            new = names.get(item.value) if isinstance(item.value, str) else None
            if new is None or node is None or not isinstance(node.value, list):
                continue
            node.value[place] = replace(item, value=new)
            message = f"{section}.{key}: {item.value} is deprecated"
            field = f"{section}.{key}[{place}]"
            warnings.append(item.diagnostic(message, f"write {new}", code="spec.deprecated", field=field))
    return warnings


def _at_key(node: Node, section: str, key: str, message: str, hint: str, *, code: str) -> Diagnostic:
    return node.diagnostic_at_key(message, hint, code=code, field=f"{section}.{key}")
