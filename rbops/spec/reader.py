"""YAML text -> ``Node`` tree, in bounded time and memory whatever the text holds.

The C parser's events are read one by one, so that depth, size and aliases are limited while the
tree grows and nothing recurses. Tags are refused: every scalar is text, and the spec's fields know
what it means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rbops.errors import Diagnostic, SpecError
from rbops.spec.source import Node, Place, Text
from rbops.spec.units import InvalidValue, shown

__all__ = ["MAX_DEPTH", "MAX_NODES", "MAX_SPEC_BYTES", "decode", "parse", "read_bytes"]

MAX_SPEC_BYTES = 16 * 2**20
MAX_DEPTH = 32
MAX_NODES = 2_000_000
MAX_ALIASED = 100_000
"""How many values aliases may repeat in all; a bomb asks for billions."""

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


def read_bytes(path: Path, limit: int) -> bytes:
    """The bytes of the file ``path``; InvalidValue when it cannot be read or holds more than ``limit``."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise InvalidValue("there is no such file", code="spec.file") from None
    except IsADirectoryError:
        raise InvalidValue("this is a directory, not a file", code="spec.file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else None
        raise InvalidValue(f"the file cannot be read: {reason or error}", code="spec.file") from None
    if len(data) > limit:
        raise InvalidValue(f"the file is larger than the limit of {limit // 2**20} MiB", code="spec.limit")
    return data


def decode(data: bytes, file: str) -> str:
    """``data`` as UTF-8 without byte order mark; SpecError naming the first byte that is not."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        before = data[:start].decode("utf-8-sig", "replace")
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
        message = f"the file is not UTF-8: byte 0x{data[start]:02x} at offset {start}"
        hint = "save the file as UTF-8"
        raise SpecError([Diagnostic(file, line, column, message, hint, code="spec.encoding")]) from None


def parse(text: str, file: str) -> tuple[Node, list[Diagnostic]]:
    """The document's root, and the mistakes that leave it readable (duplicate keys).

    Raises SpecError for text that is no YAML document at all, has tags, or exceeds a limit.
    """
    builder = _Builder(Text(file, text))
    try:
        for event in _events(text):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise SpecError([*builder.errors, _malformed(builder.text, error)]) from None
    except yaml.YAMLError as error:
        raise SpecError([_unacceptable(builder.text, text, error)]) from None
    if builder.root is None:
        raise SpecError(
            [
                builder.text.diagnostic(
                    Place(), "the file is empty", "`rbops init` writes a starter spec", code="spec.empty"
                )
            ]
        )
    return builder.root, builder.errors


def _events(text: str) -> Iterator[Any]:
    if text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text):
        yield from yaml.parse(text, Loader=yaml.CSafeLoader)
        return
    raise yaml.YAMLError("surrogate characters are not text")


def _malformed(text: Text, error: yaml.MarkedYAMLError) -> Diagnostic:
    mark = error.problem_mark or error.context_mark
    place = Place(mark.line + 1, mark.column + 1) if mark else Place()
    problem, hint = error.problem or "not YAML", None
    line = text.line(place.line)
    if "\t" in line[: place.column] and not line[: place.column].strip():
        problem, hint = "a tab cannot indent YAML", "indent with spaces"
    elif "did not find expected key" in problem:
        hint = "keys of one mapping start in the same column"
    elif "mapping values are not allowed" in problem:
        hint = "a value that holds `: ` must be quoted; a key starts on a line of its own"
    return text.diagnostic(place, f"malformed YAML: {problem}", hint, code="spec.yaml")


def _unacceptable(text: Text, source: str, error: yaml.YAMLError) -> Diagnostic:
    """The parser's complaint about a character, which comes without line and column."""
    bad = next((i for i, char in enumerate(source) if not (char.isprintable() or char.isspace())), 0)
    before = source[:bad]
    place = Place(before.count("\n") + 1, bad - (before.rfind("\n") + 1) + 1)
    reason = getattr(error, "reason", None) or str(error).splitlines()[0]
    name = f" (U+{ord(source[bad]):04X})" if source else ""
    return text.diagnostic(place, f"malformed YAML: {reason}{name}", code="spec.yaml")


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet; ``key`` is a mapping's key that waits for its value."""

    node: Node
    anchor: str | None
    key: tuple[str, Place] | None = None


@dataclass(slots=True)
class _Builder:
    """Takes events, grows the tree; ``stack`` holds what is open, innermost last."""

    text: Text
    root: Node | None = None
    errors: list[Diagnostic] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, Node] = field(default_factory=dict)
    nodes: int = 0
    aliased: int = 0

    def take(self, event: Any) -> None:
        """Add what ``event`` says; raises SpecError when a limit is passed."""
        match event:
            case yaml.ScalarEvent():
                self._untagged(event)
                empty = not event.style and event.value in _NULLS
                self._put(Node(None if empty else event.value, _place(event), self.text), event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._untagged(event)
                self._open(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close()
            case yaml.AliasEvent():
                self._put(self._alias(event), event)
            case yaml.DocumentStartEvent() if self.root is not None:
                raise self._refuse(
                    event,
                    "expected one document, found a second one",
                    "a spec is one document: remove the `---`",
                    code="spec.several-documents",
                )

    def _refuse(self, event: Any, message: str, hint: str | None = None, *, code: str) -> SpecError:
        return SpecError([*self.errors, self.text.diagnostic(_place(event), message, hint, code=code)])

    def _untagged(self, event: Any) -> None:
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise self._refuse(
                event,
                f"tags are not supported, found {shown(tag)}",
                "a spec is plain text values: leave the tag out",
                code="spec.tag",
            )

    def _open(self, event: Any) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise self._refuse(event, f"nested deeper than {MAX_DEPTH} levels", code="spec.limit")
        start: dict[str, Node] | list[Node] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._count(event)
        node = Node(start, _place(event), self.text)
        opened = _Open(node, event.anchor)
        parent = self.stack[-1] if self.stack else None
        if parent and isinstance(parent.node.value, dict) and parent.key is None:
            raise self._refuse(
                event,
                "a key must be text, not a list or mapping",
                "quote text that begins with { or [",
                code="spec.key-type",
            )
        self.stack.append(opened)
        if event.anchor:
            self.anchors.pop(event.anchor, None)

    def _close(self) -> None:
        opened = self.stack.pop()
        if opened.anchor:
            self.anchors[opened.anchor] = opened.node
        self._attach(opened.node)

    def _put(self, node: Node, event: Any) -> None:
        self._count(event)
        parent = self.stack[-1] if self.stack else None
        if parent and isinstance(parent.node.value, dict) and parent.key is None:
            if isinstance(node.value, (list, dict)):
                raise self._refuse(event, "a key must be text, not a list or mapping", code="spec.key-type")
            # A key is always text: `null:` and `~:` name something too.
            parent.key = (node.value if node.value is not None else getattr(event, "value", ""), _place(event))
            return
        if isinstance(event, yaml.ScalarEvent) and event.anchor:
            self.anchors[event.anchor] = node
        self._attach(node)

    def _count(self, event: Any) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self._refuse(
                event,
                f"more than {MAX_NODES:,} values",
                "put long route lists into a file: routes.file",
                code="spec.limit",
            )

    def _alias(self, event: Any) -> Node:
        node = self.anchors.get(event.anchor)
        if node is None:
            open_anchors = {opened.anchor for opened in self.stack}
            why = "refers to what it stands in" if event.anchor in open_anchors else "refers to nothing above it"
            raise self._refuse(event, f"the alias *{event.anchor} {why}", code="spec.alias")
        self.aliased += node.size
        if self.aliased > MAX_ALIASED:
            raise self._refuse(
                event, f"aliases repeat more than {MAX_ALIASED:,} values", "write the values out", code="spec.limit"
            )
        return node

    def _attach(self, node: Node) -> None:
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        parent.node.size += node.size
        if isinstance(parent.node.value, list):
            parent.node.value.append(node)
        elif isinstance(parent.node.value, dict) and parent.key is not None:
            (key, place), parent.key = parent.key, None
            self._entry(parent.node.value, key, node.under(place))

    def _entry(self, mapping: dict[str, Node], key: str, node: Node) -> None:
        if key == "<<" and node.key is not None:
            hint = "write the keys out here; anchors and aliases of whole values work"
            said = self.text.diagnostic(node.key, "YAML's merge key << is not supported", hint, code="spec.merge-key")
            self.errors.append(said)
            return
        first = mapping.get(key)
        if first is None or first.key is None or node.key is None:
            mapping[key] = node
            return
        message = f"duplicate key {shown(key)}, first on line {first.key.line}"
        self.errors.append(
            self.text.diagnostic(node.key, message, "remove or rename one of the two", code="spec.duplicate")
        )


def _place(event: Any) -> Place:
    start, end = event.start_mark, event.end_mark
    length = end.column - start.column if end.line == start.line else 1
    return Place(start.line + 1, start.column + 1, max(1, length))
