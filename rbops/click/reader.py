"""The state that all parts of the parser share: the tokens, the scope being read, and the errors found."""

from __future__ import annotations

from collections.abc import Callable

from rbops.click.lexer import Lexer, Token, TokenKind
from rbops.click.scope import Scope
from rbops.click.source import ClickText, Span
from rbops.click.tree import Base, ClassRef, Use
from rbops.errors import Diagnostic

__all__ = ["MOST_ERRORS", "Reader", "StopReading"]

MOST_ERRORS = 100
_DEEPEST = 50


class StopReading(Exception):
    """Parsing stops: too many errors, or one that hides what follows."""


class Reader:
    """Reads ``text``; ``known`` says which names are element classes without being declared."""

    def __init__(self, text: ClickText, known: Callable[[str], bool]) -> None:
        self._errors: list[Diagnostic] = []
        self._lexer = Lexer(text, self._errors)
        self._known = known
        self._scope = Scope("", Span(text, 0, 0), 0, {})
        self._used: dict[str, Use] = {}
        self._named_like_classes: list[tuple[str, Span]] = []
        self._depth = 0

    def _add_error(self, span: Span, message: str, hint: str | None = None, *, code: str) -> None:
        self._errors.append(span.diagnostic(message, hint, code=code))
        if len(self._errors) >= MOST_ERRORS:
            raise StopReading

    def _syntax(self, token: Token) -> None:
        if token.kind is TokenKind.END:
            self._add_error(token.span, "the text ends in the middle of a statement", code="click.syntax")
        else:
            self._add_error(token.span, f"syntax error near {_shown(token)}", code="click.syntax")

    def _enter(self, span: Span) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._add_error(span, f"nested more than {_DEEPEST} deep", code="click.limit")
            raise StopReading

    def _class(self, token: Token) -> ClassRef:
        declared = self._scope.classes.get(token.string)
        return self._base(token.string, token.span) if declared is None else declared

    def _base(self, name: str, span: Span, *, guessed: bool = False) -> Base:
        self._used.setdefault(name, Use(name, span, guessed))
        return Base(name)


def _shown(token: Token) -> str:
    string = token.string if token.kind is not TokenKind.VARIABLE else f"${token.string}"
    return f"'{string}'" if string.isprintable() else ascii(string)
