"""Every error code of rbops with what its message and hint say, read from the places that raise it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rbops import errors

__all__ = ["Raised", "found"]

_CODE = Path(errors.__file__).parent
_MESSAGE_AT = {
    "located": 2,
    "Diagnostic": 3,
    "mistake": 1,
    "_add_error": 1,
    "_refuse": 1,
    "Impossible": 1,
    "_at_key": 3,
}
"""Where the message is among the arguments, the hint behind it; for errors themselves it is the first."""

_WORD = re.compile(r"[A-Za-z_]\w*$")


@dataclass(frozen=True, slots=True)
class Raised:
    """One place that makes an error: ``message`` and ``hint`` with values as capitals (``SERVER``) or ``...``.

    ``exit_code`` is None where a helper makes the error and its class cannot be seen.
    """

    code: str
    exit_code: int | None
    module: str
    message: str
    hint: str


@cache
def found() -> tuple[Raised, ...]:
    """All of them, by code and module."""
    places = [place for path in sorted(_CODE.rglob("*.py")) for place in _in(path)]
    return tuple(sorted(places, key=lambda place: (place.code, place.module)))


def _in(path: Path) -> Iterator[Raised]:
    module, tree = path.relative_to(_CODE.parent).as_posix(), ast.parse(path.read_text(encoding="utf-8"))
    seen: set[int] = set()
    # Inner functions come after those around them, and have the nearer variables.
    scopes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for scope in (*reversed(scopes), tree):
        for node in ast.walk(scope):
            if isinstance(node, ast.Call) and id(node) not in seen:
                seen.add(id(node))
                yield from _call(node, scope, module)


def _assigned(scope: ast.AST, line: int) -> dict[str, ast.expr]:
    """What the variables of a function are set to above a line."""
    found = [node for node in ast.walk(scope) if isinstance(node, ast.Assign) and node.lineno < line]
    names = ((node.targets[0], node.value) for node in sorted(found, key=lambda node: node.lineno))
    return {target.id: value for target, value in names if isinstance(target, ast.Name)}


def _call(node: ast.Call, scope: ast.AST, module: str) -> Iterator[Raised]:
    words = {keyword.arg: keyword.value for keyword in node.keywords}
    code = words.get("code")
    if isinstance(code, ast.Constant) and isinstance(code.value, str):
        name = ast.unparse(node.func).rpartition(".")[2]
        at = _MESSAGE_AT.get(name, 1 if ast.unparse(node.func).endswith("text.diagnostic") else 0)
        message, hint = (*node.args[at : at + 2], None, None)[:2]
        variables = _assigned(scope, node.lineno)
        texts = [_text(variables.get(part.id) if isinstance(part, ast.Name) else part) for part in (message, hint)]
        yield Raised(code.value, _exit_code(node.func), module, texts[0], _text(words.get("hint")) or texts[1])


def _exit_code(function: ast.expr) -> int | None:
    kind = getattr(errors, ast.unparse(function), None)
    if kind is errors.Diagnostic:
        return errors.SpecError.exit_code
    return kind.exit_code if isinstance(kind, type) and issubclass(kind, errors.RbopsError) else None


def _text(node: ast.expr | None) -> str:
    """A string as it is written, its values in capitals; empty for anything that is not one."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.FormattedValue):
        return _value(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + (_text(node.right) or "...")
    if isinstance(node, ast.IfExp):
        return _text(node.body) or _text(node.orelse)
    return ""


def _value(node: ast.expr) -> str:
    """``target.name`` is NAME; what has no short name is an ellipsis."""
    name = _WORD.search(ast.unparse(node))
    return name[0].strip("_").upper() if name else "..."
