"""Files that a spec names, and values given on the command line, put into the document's tree.

From then on they are ordinary parts of it, whose nodes remember the file they came from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rbops.errors import Diagnostic, SpecError
from rbops.spec import words
from rbops.spec.reader import MAX_SPEC_BYTES, decode, parse, read_bytes
from rbops.spec.renamed import modern_path
from rbops.spec.source import Node, Place, Text, dotted, path_of
from rbops.spec.units import InvalidValue

__all__ = ["attach_hardware", "override", "parse_file"]

_OVERRIDE = re.compile(r"[^.\[\]]+(\.[^.\[\]]+|\[\d{1,6}\])*")


def parse_file(path: Path) -> tuple[Node, list[Diagnostic]]:
    """The tree of a YAML file and the mistakes that leave it readable; raises SpecError and InvalidValue."""
    return parse(decode(read_bytes(path, MAX_SPEC_BYTES), str(path)), str(path))


def attach_hardware(root: Node, base: Path) -> list[Diagnostic]:
    """Put the files that ``servers.hardware`` and ``hosts.*.hardware`` name in their places."""
    errors: list[Diagnostic] = []
    seen: dict[str, Node] = {}
    hosts = root.child("hosts")
    holders = [root.child("servers")]
    if hosts is not None and isinstance(hosts.value, dict):
        holders += list(hosts.value.values())
    for holder in holders:
        node = holder.child("hardware") if holder else None
        if holder is None or node is None or not isinstance(node.value, str):
            continue
        if node.value not in seen:
            seen[node.value] = _read(node, base, errors)
        _put(holder, "hardware", seen[node.value].under(node.key or node.place))
    return errors


def override(root: Node, values: Mapping[str, str]) -> tuple[list[Diagnostic], list[Diagnostic]]:
    """Write ``values`` (``{"router.line_rate": "40Gbps"}``) over those of the document, whose keys are today's.

    Returns errors, and warnings about former names.
    """
    errors: list[Diagnostic] = []
    warnings: list[Diagnostic] = []
    for name, value in values.items():
        label = f"--set {name}"
        if not _OVERRIDE.fullmatch(name):
            hint = "name a value of the spec, for example router.line_rate=40Gbps"
            errors.append(Diagnostic(label, 1, 1, "expected the path of a value", hint, code="spec.override"))
            continue
        try:
            node, found = parse(value, label)
        except SpecError as error:
            errors += error.diagnostics
            continue
        errors += found
        path, new = modern_path(path_of(name))
        if new:
            message = f"{name} is deprecated"
            warnings.append(
                Diagnostic(label, 1, 1, message, f"write {dotted(path)}", code="spec.deprecated", field=name)
            )
        holder = _holder(root, path[:-1], node.text)
        if holder is None or not _put(holder, path[-1], node):
            errors.append(
                node.text.diagnostic(Place(), "there is no such path in the spec", None, code="spec.override")
            )
    return errors, warnings


def _read(node: Node, base: Path, errors: list[Diagnostic]) -> Node:
    """The tree of the file that ``node`` names; an empty node, and errors, when there is none to be had."""
    nothing = replace(node, value=None)
    try:
        path = base / words.file_path(str(node.value))
    except InvalidValue as wrong:
        errors.append(node.diagnostic(wrong.message, wrong.hint, code=wrong.code))
        return nothing
    try:
        root, found = parse_file(path)
    except InvalidValue as wrong:
        errors.append(node.diagnostic(f"{wrong.message}: {path}", wrong.hint, code=wrong.code))
        return nothing
    except SpecError as error:
        errors += error.diagnostics
        return nothing
    errors += found
    if not isinstance(root.value, dict):
        errors.append(root.diagnostic("expected a mapping, as the section `hardware` has", code="spec.shape"))
        return nothing
    return root


def _put(holder: Node, step: str | int, node: Node) -> bool:
    if isinstance(holder.value, dict) and isinstance(step, str):
        before = holder.value.get(step)
        holder.value[step] = node if node.key else node.under(node.place)
        return before is not node
    if isinstance(holder.value, list) and isinstance(step, int) and step < len(holder.value):
        holder.value[step] = node
        return True
    return False


def _holder(root: Node, path: tuple[str | int, ...], text: Text) -> Node | None:
    """The node at ``path``; mappings that the document lacks are made."""
    node = root
    for step in path:
        child = node.child(step)
        if child is None or child.value is None:
            child = Node({}, Place(), text)
            if not _put(node, step, child):
                return None
            child = node.child(step)
        if child is None:
            return None
        node = child
    return node
