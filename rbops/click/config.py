r"""Configuration strings: arguments, words, quotes and variables, as Click takes them apart.

    argvec    "a, b /* c */"   ->  ["a", "b"]        at commas
    words     "DEV 'a b' 3"    ->  ["DEV", "'a b'", "3"]    at spaces
    unquote   'a b'"\n"       ->  a b and a newline
    expand    "$a ${b-2}"      with an Environment
    assign    arguments to a compound element's parameters

Quotes: ``"..."`` with backslash escapes, ``'...'`` without, ``\<68 69>`` hexadecimal anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = [
    "Environment",
    "Formal",
    "TooLong",
    "argvec",
    "assign",
    "expand",
    "keywords",
    "quote",
    "unquote",
    "unset",
    "words",
]

REST = "__REST__"
_LIMIT = 1 << 20
_DEEPEST = 10
_HEX = r"\\<(?://[^\n\r]*|/\*(?s:.*?)(?:\*/|\Z)|[^>])*(?:>|\Z)"
_COMMENT = r"//[^\n\r]*(?:\r\n|[\n\r])?|/\*(?s:.*?)(?:\*/|\Z)"
_QUOTED = rf"'[^']*(?:'|\Z)|\"(?:{_HEX}|\\(?s:.)|[^\"\\]+)*(?:\"|\Z|\\\Z)|{_HEX}"
_PIECE = re.compile(rf"(?P<gap>(?:[ \t\n\v\f\r]+|{_COMMENT})+)|(?P<comma>,)|{_QUOTED}|[^ \t\n\v\f\r,/'\"\\]+|(?s:.)")
_WORD = re.compile(rf"(?:{_QUOTED}|(?!//|/\*)[^ \t\n\v\f\r'\"])+")
_GAP = re.compile(rf"(?:[ \t\n\v\f\r]+|{_COMMENT})*")
_QUOTES = re.compile(
    rf"'(?P<single>[^']*)(?:'|\Z)|\"(?P<double>(?:{_HEX}|\\(?s:.)|[^\"\\]+)*)(?:\"|\Z|(?=\\\Z))|(?P<hex>{_HEX})"
)
_ESCAPE = re.compile(
    rf"\\(?:(?P<newline>\r\n|[\n\r])|(?P<octal>[0-7]{{1,3}})|x(?P<byte>[0-9A-Fa-f]*)|(?P<other>(?s:[^<])))|(?P<hex>{_HEX})"
)
_CONTROL = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_BRACED = re.compile(
    r"[ \t\n\v\f\r]*(?P<name>\w*)[ \t\n\v\f\r]*(?:\[[ \t]*(?P<index>\d{1,4})[ \t]*\])?\s*(?P<default>-)?", re.A
)
_NAME = re.compile(r"[A-Za-z0-9_]+|[?#$]")
_KEYWORD = re.compile(r"[A-Z0-9_][A-Za-z0-9_]*\Z")


class TooLong(ValueError):
    """Variables that expand to more than a configuration string may hold (1 MiB)."""


def argvec(text: str) -> list[str]:
    """The arguments of a configuration string: split at commas, comments out; an empty last one is none."""
    arguments: list[str] = []
    parts: list[str] = []
    gap = ""
    for match in _PIECE.finditer(text):
        if match.lastgroup == "comma":
            arguments.append("".join(parts))
            parts, gap = [], ""
        elif match.lastgroup == "gap":
            # Space is kept as it is; a comment makes one space of all that is around it.
            gap = match[0] if match[0].isspace() else " "
        else:
            parts += [gap, match[0]] if parts else [match[0]]
            gap = ""
    last = "".join(parts)
    return [*arguments, last] if last else arguments


def words(text: str) -> list[str]:
    """The words of an argument, still quoted."""
    found: list[str] = []
    position = 0
    while True:
        gap = _GAP.match(text, position)
        position = gap.end() if gap else position
        word = _WORD.match(text, position)
        if word is None:
            return found
        found.append(word[0])
        position = word.end()


def unquote(text: str) -> str:
    """One level of quotes off: what an element sees."""
    return _QUOTES.sub(_bare, text)


def _bare(match: re.Match[str]) -> str:
    if match["single"] is not None:
        return match["single"]
    return _ESCAPE.sub(_character, match["double"] if match["double"] is not None else match["hex"])


def _character(match: re.Match[str]) -> str:
    if match["newline"]:
        return ""
    if match["octal"]:
        return chr(int(match["octal"], 8) & 0xFF)
    if match["byte"] is not None:
        return chr(int(match["byte"][-2:] or "0", 16))
    if match["hex"] is not None:
        digits = re.sub(r"[^0-9A-Fa-f]", "", re.sub(_COMMENT, "", match["hex"][2:]))
        return "".join(chr(int(digits[i : i + 2], 16)) for i in range(0, len(digits) - 1, 2))
    return _CONTROL.get(match["other"], match["other"])


def quote(text: str) -> str:
    """``text`` in double quotes, so that ``unquote`` gives it back."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'.replace("\t", "\\t").replace("\r", "\\r").replace("\n", "\\n")


def keywords(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Positional arguments and keyword ones of an element, unquoted; a keyword argument is ``NAME value``."""
    positional: list[str] = []
    named: dict[str, str] = {}
    for argument in arguments:
        head, _, rest = argument.partition(" ")
        if _KEYWORD.match(head) and head.isupper() and (rest.strip() or not positional):
            named[head] = unquote(rest.strip())
        else:
            positional.append(unquote(argument))
    return positional, named


@dataclass(frozen=True, slots=True)
class Formal:
    """A compound element's parameter; ``keyword`` empty: positional; ``__REST__``: what is left."""

    name: str
    keyword: str = ""


def assign(arguments: Sequence[str], formals: Sequence[Formal]) -> list[str] | None:
    """A value for every parameter; None when arguments are missing, too many or of unknown names."""
    if not formals or not formals[-1].keyword:
        return list(arguments) if len(arguments) == len(formals) else None
    rest = formals[-1].keyword == REST
    named = [formal.keyword for formal in formals[: len(formals) - rest]]
    positional = sum(1 for keyword in named if not keyword)
    values: list[str | None] = [None] * len(named)
    left: list[str] = []
    supplied = 0
    for argument in arguments:
        head = _WORD.match(argument)
        if supplied < positional:
            values[supplied] = argument
            supplied += 1
        elif head is not None and head[0] in named[positional:]:
            values[named.index(head[0])] = argument[head.end() :].strip()
        else:
            left.append(argument)
    if any(value is None for value in values) or (left and not rest):
        return None
    known = [value for value in values if value is not None]
    return [*known, ", ".join(left)] if rest else known


@dataclass(slots=True)
class Environment:
    """Variables of a scope; what it does not have is looked for in the scopes around it."""

    parent: Environment | None = None
    values: dict[str, str] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """0 for the file's own scope."""
        return 0 if self.parent is None else self.parent.depth + 1

    def outside(self, depth: int) -> Environment | None:
        """The innermost scope that encloses one of ``depth``."""
        scope: Environment | None = self
        while scope is not None and scope.depth >= depth:
            scope = scope.parent
        return scope

    def value(self, name: str) -> str | None:
        """What ``$name`` is defined as, unexpanded; None: not defined."""
        scope: Environment | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.parent
        return None


def expand(text: str, scope: Environment) -> str:
    """``$name``, ``${name}``, ``${name[1]}``, ``${name-default}`` replaced where defined, ``$(...)`` left for handlers.

    Raises TooLong.
    """
    return text if "$" not in text else _Expansion(scope).expand(text, 0)


def unset(text: str) -> list[str]:
    """The variables that ``text``, expanded, still names: Click hands them to the element as they are written."""
    seen = _Asked()
    if "$" in text:
        expand(text, seen)
    return list(dict.fromkeys(seen.names))


@dataclass(slots=True)
class _Asked(Environment):
    """A scope without variables that notes what it is asked for."""

    names: list[str] = field(default_factory=list)

    def value(self, name: str) -> str | None:
        self.names.append(name)
        return None


class _Expansion:
    def __init__(self, scope: Environment) -> None:
        self._scope = scope
        self._left = _LIMIT

    def expand(self, text: str, depth: int) -> str:
        if "$" not in text or depth > _DEEPEST:
            return text
        output: list[str] = []
        position, quoted = 0, ""
        while position < len(text):
            character = text[position]
            end = position + 1
            if character == "\\" and quoted == '"':
                end += 1
            elif character in "'\"" and quoted in ("", character):
                quoted = "" if quoted else character
            elif character == "/" and not quoted:
                gap = _GAP.match(text, position)
                end = max(end, gap.end() if gap else end)
            elif character == "$" and quoted != "'":
                end, value = self._variable(text, position, depth)
                if value is not None:
                    self._spend(len(value))
                    output.append(quote(value)[1:-1] if quoted else value)
                    position = end
                    continue
            self._spend(end - position)
            output.append(text[position:end])
            position = end
        return "".join(output)

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise TooLong

    def _variable(self, text: str, position: int, depth: int) -> tuple[int, str | None]:
        """Where the variable at ``position`` ends, and its value; None: it stays as it is written."""
        if text.startswith("{", position + 1):
            close = text.find("}", position)
            if close < 0:
                return len(text), None
            return close + 1, self._braced(text[position + 2 : close], depth)
        name = _NAME.match(text, position + 1)
        if name is None:
            return position + 1, None
        value = self._scope.value(name[0])
        return name.end(), None if value is None else self.expand(value, depth + 1)

    def _braced(self, inside: str, depth: int) -> str | None:
        inside = self.expand(inside, depth + 1)
        parsed = _BRACED.match(inside)
        if parsed is None:
            return None
        value = self._scope.value(parsed["name"])
        if value is not None:
            value = self.expand(value, depth + 1)
            if parsed["index"] is None:
                return value
            found = words(value)
            return found[int(parsed["index"])] if int(parsed["index"]) < len(found) else ""
        return None if parsed["default"] is None else self.expand(inside[parsed.end() :], depth + 1)
