"""Changes to a spec's text that leave everything else as it was written: comments, order, quotes, line ends.

PyYAML's events say where each value stands; a change replaces those characters and no others. What cannot be
changed so without touching more than was asked (an alias, a tag) is refused, and every result is read again
and compared with what was meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from rbops.errors import UsageError, Where
from rbops.spec.reader import parse

__all__ = ["Change", "Value", "edit", "flow", "put_block", "quoted"]

Value = str | Mapping[str, "Value"]
"""Text, or a mapping of values."""

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_STEP = 2


@dataclass(frozen=True, slots=True)
class Change:
    """``value`` is to stand at ``path``; with ``instead_of`` it takes the place of that key of the same mapping."""

    path: tuple[str, ...]
    value: Value
    instead_of: str | None = None


@dataclass(slots=True)
class _Node:
    """A value of the text from ``start`` to ``end`` (indexes); ``items`` are a mapping's (key, value)s or a list's."""

    kind: str
    start: int
    end: int
    column: int = 0
    flow: bool = False
    style: str | None = None
    text: str = ""
    items: list[_Node] = field(default_factory=list)

    @property
    def entries(self) -> list[tuple[_Node, _Node]]:
        """A mapping's keys and values."""
        return list(zip(self.items[::2], self.items[1::2], strict=True))

    def entry(self, key: str) -> tuple[_Node, _Node] | None:
        """The key called ``key``, and its value."""
        return next((pair for pair in self.entries if pair[0].text == key), None)

    @property
    def empty(self) -> bool:
        """Whether nothing is written here: ``key:`` and the end of the line."""
        return self.kind == "scalar" and self.start == self.end

    @property
    def last(self) -> int:
        """Where what is written ends; a block's own end lies behind comments that follow it."""
        node = self
        while not node.flow and node.items:
            node = next(item for item in reversed(node.items) if not item.empty)
        return node.end


def edit(text: str, changes: Sequence[Change], file: str) -> str:
    """``text`` with the changes made, in order.

    Raises SpecError when it cannot be read, UsageError when a change would touch more than was asked.
    """
    wanted = parse(text, file)[0].plain()
    for change in changes:
        text = _put(text, change, file)
        _note(wanted, change)
    if parse(text, file)[0].plain() != wanted:
        where = ", ".join(sorted({".".join(change.path[:2]) for change in changes}))
        raise UsageError(
            "the value cannot be edited without changing other values",
            hint="replace its anchors and aliases by their values",
            code="spec.edit-anchors",
            where=Where(file=file, field=where),
        )
    return text


def put_block(text: str, key: str, lines: str) -> str:
    """``lines`` (``key: ...``, ending in a newline) in place of a top-level key's, or behind all of them."""
    root = _tree(text)
    found = root.entry(key)
    if found is None:
        return _behind(text, _line_end(text, root.last), lines)
    start, end = found[0].start, _line_end(text, max(found[0].end, found[1].last))
    return text[:start] + lines.replace("\n", _newline(text)) + text[end:]


def quoted(value: str) -> str:
    """``value`` as a YAML scalar that every reader takes for text."""
    plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    return value if plain else json.dumps(value, ensure_ascii=False)


def flow(value: Value) -> str:
    """``value`` on one line."""
    if isinstance(value, str):
        return quoted(value)
    return "{" + ", ".join(f"{quoted(key)}: {flow(item)}" for key, item in value.items()) + "}"


def _note(tree: Any, change: Change) -> None:
    """The same change to plain values."""
    for step in change.path[:-1]:
        if tree.get(step) is None:
            tree[step] = {}
        tree = tree[step]
    if change.instead_of is not None:
        del tree[change.instead_of]
    tree[change.path[-1]] = _plain(change.value)


def _plain(value: Value) -> Any:
    return value if isinstance(value, str) else {key: _plain(item) for key, item in value.items()}


def _put(text: str, change: Change, file: str) -> str:
    node = _tree(text)
    path = list(change.path)
    while True:
        if node.kind != "mapping":
            raise _refused(file, change, "expected a mapping around it that is not shared")
        key = path.pop(0)
        found = node.entry(change.instead_of if not path and change.instead_of else key)
        value = change.value
        for step in reversed(path):
            value = {step: value}
        if found is None:
            return _insert(text, node, key, value)
        if not path or found[1].empty or _is_null(found[1]):
            if change.instead_of and not path:
                return _replace_entry(text, found, key, value, file, change)
            return _replace(text, node, found, value, file, change)
        node = found[1]


def _is_null(node: _Node) -> bool:
    return node.kind == "scalar" and not node.style and node.text in {"", "~", "null", "Null", "NULL"}


def _refused(file: str, change: Change, why: str) -> UsageError:
    return UsageError(
        f"the value cannot be edited: {why}",
        hint="change it by hand",
        code="spec.edit-refused",
        where=Where(file=file, field=".".join(map(str, change.path))),
    )


def _replace_entry(text: str, entry: tuple[_Node, _Node], key: str, value: Value, file: str, change: Change) -> str:
    old_key, old = entry
    if old.kind in {"mapping", "sequence"} and not old.flow:
        raise _refused(file, change, f"{old_key.text} is a block")
    end = max(old_key.end, old.end)
    if old.empty:
        end = text.index(":", old_key.end) + 1
    return text[: old_key.start] + f"{quoted(key)}: {flow(value)}" + text[end:]


def _replace(text: str, parent: _Node, entry: tuple[_Node, _Node], value: Value, file: str, change: Change) -> str:
    key, old = entry
    if old.kind == "alias":
        raise _refused(file, change, "it is an alias")
    if old.empty:
        colon = text.index(":", key.end) + 1
        if isinstance(value, str) or parent.flow:
            return f"{text[:colon]} {flow(value)}{text[colon:]}"
        lines = _block(value, _indent(parent) + _STEP)
        return _behind(text, _line_end(text, colon), lines)
    if old.flow or (old.kind == "scalar" and old.style not in {"|", ">"}):
        return text[: old.start] + flow(value) + text[old.end :]
    if old.kind == "mapping" and not isinstance(value, str) and len(value) == len(old.entries) == 1:
        # A selector written over two lines: its way and its value.
        ((way, item),) = value.items()
        return _replace_entry(text, old.entries[0], way, item, file, change)
    raise _refused(file, change, "it is written as a block")


def _insert(text: str, node: _Node, key: str, value: Value) -> str:
    """A new entry behind the last one of a mapping."""
    if node.flow:
        pair = f"{quoted(key)}: {flow(value)}"
        if not node.items:
            return text[: node.start + 1] + pair + text[node.start + 1 :]
        last_key, last = node.entries[-1]
        at = last.end if not last.empty else max(last_key.end, text.find(":", last_key.end, node.end) + 1)
        return f"{text[:at]}, {pair}{text[at:]}"
    indent = _indent(node)
    at = _line_end(text, node.last)
    # Comments further in belong to the entry above them.
    while deeper := re.compile(rf" {{{indent + 1},}}#.*(?:\r?\n|$)").match(text, at):
        at = deeper.end()
    return _behind(text, at, _block({key: value}, indent))


def _indent(mapping: _Node) -> int:
    return mapping.items[0].column


def _behind(text: str, at: int, lines: str) -> str:
    """``lines`` as lines of their own at ``at``, the end of a line or of the text."""
    newline = _newline(text)
    start = "" if at == 0 or _BREAK.fullmatch(text[at - 1 : at]) else newline
    return text[:at] + start + lines.replace("\n", newline) + text[at:]


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _line_end(text: str, at: int) -> int:
    """Behind the line break that follows ``at``, or at it when it begins a line already (a block scalar's end)."""
    if at > 0 and _BREAK.fullmatch(text[at - 1]):
        return at
    found = _BREAK.search(text, at)
    return found.end() if found else len(text)


def _block(value: Value, indent: int) -> str:
    """A mapping's lines; the innermost mappings on one line each."""
    lines = []
    for key, item in value.items() if not isinstance(value, str) else ():
        pad = " " * indent + quoted(key) + ":"
        if isinstance(item, str) or not any(isinstance(inner, Mapping) for inner in item.values()):
            lines.append(f"{pad} {flow(item)}\n")
        else:
            lines.append(f"{pad}\n{_block(item, indent + _STEP)}")
    return "".join(lines)


def _mark(mark: Any) -> tuple[int, int]:
    """Index and column; the types of PyYAML allow an event without a place, its C parser makes none."""
    return mark.index, mark.column


def _tree(text: str) -> _Node:
    """The document's root; ``text`` was read once already, so it is YAML within the reader's limits."""
    top = _Node("sequence", 0, len(text))
    stack = [top]
    shift = 1 if text.startswith("\ufeff") else 0
    for event in yaml.parse(text[shift:], Loader=yaml.CSafeLoader):
        (start, column), (end, _) = _mark(event.start_mark), _mark(event.end_mark)
        start, end = start + shift, end + shift
        if isinstance(event, yaml.ScalarEvent):
            node = _Node("scalar", start, end, column, style=event.style, text=event.value)
            stack[-1].items.append(node)
        elif isinstance(event, yaml.AliasEvent):
            stack[-1].items.append(_Node("alias", start, end))
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            kind = "mapping" if isinstance(event, yaml.MappingStartEvent) else "sequence"
            node = _Node(kind, start, end, column, flow=bool(event.flow_style))
            stack[-1].items.append(node)
            stack.append(node)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            stack.pop().end = end
    return top.items[0]
