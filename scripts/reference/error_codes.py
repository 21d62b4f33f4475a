"""Every error code of rbops with what its message and hint say, read from the places that raise it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rbops import errors

__all__ = ["Raised", "found"]

_CODE = Path(errors.__file__).parent
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


def found() -> tuple[Raised, ...]:
    """All of them, by code and module."""
    places = [place for path in sorted(_CODE.rglob("*.py")) for place in _in(path)]
    return tuple(sorted(places, key=lambda place: (place.code, place.module)))


def _in(path: Path) -> Iterator[Raised]:
    module = path.relative_to(_CODE.parent).as_posix()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            words = {keyword.arg: keyword.value for keyword in node.keywords}
            code = words.get("code")
            if isinstance(code, ast.Constant) and isinstance(code.value, str):
                texts = [_text(argument) for argument in (*node.args, words.get("message"))]
                hint = _text(words.get("hint"))
                yield Raised(code.value, _exit_code(node.func), module, max(texts, key=len, default=""), hint)


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
