"""Words of the Click language.

Comments and ``#line`` directives are skipped; an element's configuration string, whatever is between
its parentheses, is one piece of text that ``rbops.click.config`` takes apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from rbops.click.config import unquote
from rbops.click.source import ClickText, Span
from rbops.errors import Diagnostic

__all__ = ["Lexer", "Token", "TokenKind"]


class TokenKind(Enum):
    """What a word is; the value is how a message names it."""

    IDENT = "identifier"
    VARIABLE = "variable"
    ARROW = "'->'"
    DOUBLE_ARROW = "'=>'"
    DOUBLE_COLON = "'::'"
    DOUBLE_BAR = "'||'"
    ELLIPSIS = "'...'"
    ELEMENTCLASS = "'elementclass'"
    REQUIRE = "'require'"
    PROVIDE = "'provide'"
    DEFINE = "'define'"
    SYMBOL = "symbol"
    END = "end of file"


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its position; a variable's ``string`` is without the ``$``."""

    kind: TokenKind
    string: str
    span: Span

    def symbol(self, characters: str) -> bool:
        """Whether it is one of these single characters."""
        return self.kind is TokenKind.SYMBOL and self.string in characters


_KEYWORDS = {
    "elementclass": TokenKind.ELEMENTCLASS,
    "require": TokenKind.REQUIRE,
    "provide": TokenKind.PROVIDE,
    "define": TokenKind.DEFINE,
}
_MARKS = {
    "->": TokenKind.ARROW,
    "=>": TokenKind.DOUBLE_ARROW,
    "::": TokenKind.DOUBLE_COLON,
    "||": TokenKind.DOUBLE_BAR,
    "...": TokenKind.ELLIPSIS,
}
_SPACE = re.compile(r"[ \t\n\v\f\r]+|//[^\n\r]*|/\*(?s:.*?)(?:\*/|\Z)")
_WORD = re.compile(
    r"(?P<ident>[A-Za-z0-9_@]+(?:/[A-Za-z0-9_@]+)*)|\$(?P<variable>[A-Za-z0-9_]*)|(?P<mark>->|=>|::|\|\||\.\.\.)|(?s:.)"
)
_LINE = re.compile(r'#[ \t]*(?:line[ \t]+)?(?P<line>\d{1,9})[ \t]*(?P<file>"(?:\\[^\n\r]|[^"\\\n\r])*"?)?[^\n\r]*')
_REST = re.compile(r"[^\n\r]*")
_ORDINARY = r"[^()'\"/\\#]"
# A table of routes is one such piece: `(?:X|/)++` would take six times as long as this. No (?!...) in the group that
# repeats: where it fails there, Python before 3.11.5 goes on behind what it looked at (gh-106052).
_PLAIN = re.compile(rf"(?:{_ORDINARY}|/(?![/*])){_ORDINARY}*+(?:/[^()'\"/\\#*]{_ORDINARY}*+)*+")
_SINGLE = re.compile(r"'[^']*(?:'|\Z)")
# Inside double quotes a backslash keeps the next character; \<...> is hexadecimal with comments.
_HEX = r"\\<(?://[^\n\r]*|/\*(?s:.*?)(?:\*/|\Z)|[^>])*(?:>|\Z)"
_DOUBLE = re.compile(rf'"(?:{_HEX}|\\(?s:.)|[^"\\]+)*(?:"|\Z|\\\Z)')
_ANGLE = re.compile(_HEX)
_COMMENT = re.compile(r"//[^\n\r]*|/\*(?s:.*?)(?:\*/|\Z)")


class Lexer:
    """Reads ``text`` from its start; adds to ``errors``."""

    def __init__(self, text: ClickText, errors: list[Diagnostic]) -> None:
        self.text = text
        self._errors = errors
        self._position = 0
        self._back: list[Token] = []

    def next(self) -> Token:
        """The next word, END again and again at the end."""
        if self._back:
            return self._back.pop()
        start = self._skip()
        characters = self.text.characters
        match = _WORD.match(characters, start)
        if match is None:
            return Token(TokenKind.END, "", Span(self.text, start, start))
        self._position = match.end()
        span = Span(self.text, start, match.end())
        if match["ident"] is not None:
            return Token(_KEYWORDS.get(match["ident"], TokenKind.IDENT), match["ident"], span)
        if match["variable"] is not None:
            return Token(TokenKind.VARIABLE, match["variable"], span)
        if match["mark"] is not None:
            return Token(_MARKS[match["mark"]], match["mark"], span)
        return Token(TokenKind.SYMBOL, match[0], span)

    def push_back(self, token: Token) -> None:
        """Let ``next`` give this word again."""
        self._back.append(token)

    def take(self, kind: TokenKind, symbol: str = "") -> Token | None:
        """The next word if it is this one; else it stays where it is."""
        token = self.next()
        if token.kind is kind and (kind is not TokenKind.SYMBOL or token.string == symbol):
            return token
        self.push_back(token)
        return None

    def configuration(self, opening: Span) -> tuple[str, Span]:
        """The text from here to the parenthesis that closes ``opening`` (not consumed), without directives."""
        characters, start = self.text.characters, self._position
        known = self.text.closings.get(start)
        if known is not None:
            self._position = known
            return characters[start:known], Span(self.text, start, known)
        position, depth, end = start, 1, len(characters)
        kept: list[str] = []
        since = start
        while position < end:
            character = characters[position]
            if character == "(":
                depth += 1
            elif character == ")":
                depth -= 1
                if depth == 0:
                    if not kept:
                        self.text.closings[start] = position
                    break
            elif character == "#" and characters[position - 1] in "\n\r":
                kept.append(characters[since:position])
                position = since = self._directive(position)
                continue
            position = self._piece(position)
        else:
            self._errors.append(
                opening.diagnostic("this parenthesis is never closed", "add the missing ')'", code="click.syntax")
            )
        self._position = position
        kept.append(characters[since:position])
        return "".join(kept), Span(self.text, start, position)

    def _piece(self, position: int) -> int:
        """The end of the piece of a configuration string that begins at ``position``."""
        characters = self.text.characters
        for pattern in (_PLAIN, _SINGLE, _DOUBLE, _ANGLE, _COMMENT):
            match = pattern.match(characters, position)
            if match is not None:
                return match.end()
        return position + 1

    def _skip(self) -> int:
        """The place of the next word, after spaces, comments and directives."""
        characters, position = self.text.characters, self._position
        while True:
            match = _SPACE.match(characters, position)
            if match is not None:
                position = match.end()
            elif characters.startswith("#", position) and (position == 0 or characters[position - 1] in "\n\r"):
                position = self._directive(position)
            else:
                self._position = position
                return position

    def _directive(self, position: int) -> int:
        """Obey the directive at ``position``; where it ends."""
        match = _LINE.match(self.text.characters, position)
        if match is None:
            rest = _REST.match(self.text.characters, position)
            end = rest.end() if rest else position
            message = "unknown preprocessor directive"
            self._errors.append(
                self.text.diagnostic(
                    position, end, message, 'a directive is `#line 12 "file.click"`', code="click.directive"
                )
            )
            return end
        file = unquote(match["file"].removesuffix('"') + '"') if match["file"] else None
        self.text.rename_from(position, int(match["line"]), file)
        return match.end()
