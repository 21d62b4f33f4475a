"""The Click language of Click 2.1, read into a ``Tree``.

    statement   chain | elementclass NAME body | elementclass NAME NAME | require(...) | define(...) | ;
    chain       items (-> items | => items)*
    items       item (, item)*
    item        [ports] NAME|body|( statements ) [:: NAME|body] [( configuration )] [ports]
    body        { [KEY] $name, ... | statements || ... || ... }

Every error is collected, as Click does it, so that one run shows them all. Depth, ports, connections and
errors have limits, so that no text takes more time and memory than its size justifies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from rbops.click.chains import Item, Ports, pairs
from rbops.click.config import REST, Formal, argvec, unquote, words
from rbops.click.items import ARROWS, ItemReader
from rbops.click.lexer import Lexer, Token, TokenKind
from rbops.click.reader import MOST_ERRORS, StopReading
from rbops.click.scope import Scope
from rbops.click.source import ClickText, Span
from rbops.click.tree import Base, ClassRef, Compound, Connection, Requirement, Tree
from rbops.errors import Diagnostic

__all__ = ["Library", "Parsed", "parse", "parse_body"]

Library = Callable[[str, ClickText], ClickText | None]
"""The text that ``require(library NAME)`` in a file means; None: there is none."""

_MOST_CONNECTIONS = 200_000
_BEGINS_CHAIN = (TokenKind.IDENT, *ARROWS)
_ENDS_CHAIN = (
    TokenKind.IDENT,
    TokenKind.DOUBLE_BAR,
    TokenKind.ELEMENTCLASS,
    TokenKind.REQUIRE,
    TokenKind.PROVIDE,
    TokenKind.DEFINE,
)


@dataclass(frozen=True, slots=True)
class Parsed:
    """``tree`` is as good as the text allows; without ``errors`` it is all of it."""

    tree: Tree
    errors: tuple[Diagnostic, ...]


def parse(text: ClickText, known: Callable[[str], bool], library: Library | None = None) -> Parsed:
    """Read a configuration; ``known`` says which names are element classes without being declared."""
    parser = _Parser(text, known, library)
    return parser.file()


def parse_body(text: ClickText, known: Callable[[str], bool]) -> Parsed:
    """Read the text between the braces of an ``elementclass``; it is the tree's only class, without a name."""
    return _Parser(text, known, None).body()


class _Parser(ItemReader):
    def __init__(self, text: ClickText, known: Callable[[str], bool], library: Library | None) -> None:
        super().__init__(text, known)
        self._library = library
        self._read: set[str] = {text.name}
        self._requirements: list[Requirement] = []

    def file(self) -> Parsed:
        outermost = self._scope
        with suppress(StopReading):  # it may be raised within a compound element
            self._statements()
        return self._parsed(outermost.finished(), tuple(outermost.classes.items()))

    def body(self) -> Parsed:
        root = self._scope
        first = self._lexer.next()
        self._lexer.push_back(first)
        own = self._scope = Scope.inside(root, "", first.span)
        self._depth += 1
        with suppress(StopReading):
            self._statements()
        inputs, outputs, wrong = own.pseudo(0, 1)
        self._errors += (first.span.diagnostic(message, code="click.ports") for message in wrong)
        body = own.finished(inputs, outputs)
        return self._parsed(root.finished(), (("", body),))

    def _parsed(self, root: Compound, classes: tuple[tuple[str, ClassRef], ...]) -> Parsed:
        used, clashes = tuple(self._used.values()), tuple(self._named_like_classes)
        tree = Tree(root, tuple(self._requirements), classes, used, clashes)
        return Parsed(tree, tuple(self._errors[:MOST_ERRORS]))

    def _statements(self, closing: str = "", opening: Span | None = None) -> Token:
        """Statements up to ``}`` or ``||``, ``)``, or with no ``closing`` the end; the word that ended them."""
        while True:
            token = self._lexer.next()
            if token.kind in _BEGINS_CHAIN or token.symbol("[{("):
                self._lexer.push_back(token)
                self._chain()
            elif token.kind is TokenKind.ELEMENTCLASS:
                self._elementclass()
            elif token.kind is TokenKind.REQUIRE:
                self._require()
            elif token.kind is TokenKind.DEFINE:
                self._define()
            elif token.symbol(";"):
                continue
            elif self._closes(token, closing, opening):
                return token
            else:
                self._syntax(token)

    def _closes(self, token: Token, closing: str, opening: Span | None) -> bool:
        if token.kind is TokenKind.END:
            if closing:
                hint = f"what it closes begins at {opening}"
                self._add_error(
                    token.span, f"expected '{closing}' before the end of the text", hint, code="click.syntax"
                )
            return True
        if closing == "}":
            return token.symbol("}") or token.kind is TokenKind.DOUBLE_BAR
        if closing == ")" and (token.symbol("}") or token.kind is TokenKind.DOUBLE_BAR):
            self._syntax(token)
            self._lexer.push_back(token)
            return True
        return closing == ")" and token.symbol(")")

    def _elementclass(self) -> None:
        named = self._lexer.next()
        if named.kind is not TokenKind.IDENT:
            self._add_error(named.span, "expected the name of an element class", code="click.syntax")
            self._lexer.push_back(named)
        name = named.string if named.kind is TokenKind.IDENT else ""
        token = self._lexer.next()
        if token.symbol("{"):
            kind: ClassRef = self._compound(name, named.span)
        elif token.kind is TokenKind.IDENT:
            kind = self._class(token)
        else:
            self._syntax(token)
            return
        if name:
            self._scope.classes[name] = kind

    def _arguments(self, keyword: str) -> list[tuple[str, Span]]:
        """The arguments in the parentheses after ``keyword``."""
        opening = self._lexer.take(TokenKind.SYMBOL, "(")
        if opening is None:
            token = self._lexer.next()
            self._add_error(token.span, f"expected '(' after {keyword}", code="click.syntax")
            self._lexer.push_back(token)
            return []
        text, span = self._lexer.configuration(opening.span)
        self._lexer.take(TokenKind.SYMBOL, ")")
        return [(argument, opening.span.to(span)) for argument in argvec(text)]

    def _define(self) -> None:
        for argument, span in self._arguments("define"):
            if not argument:
                continue
            name = words(argument)[0]
            variable = name[1:]
            if not name.startswith("$") or not variable.replace("_", "a").isalnum() or not variable.isascii():
                self._add_error(
                    span, f"define: {name} is not a variable", "write `define($NAME value)`", code="click.define"
                )
            elif variable in self._scope.defines or any(f.name == variable for f in self._scope.formals):
                self._add_error(span, f"${variable} is defined twice", code="click.duplicate")
            else:
                self._scope.defines[variable] = argument[len(name) :].strip()

    def _require(self) -> None:
        arguments = self._arguments("require")
        self._lexer.take(TokenKind.SYMBOL, ";")
        for argument, span in arguments:
            match [unquote(word) for word in words(argument)]:
                case []:
                    continue
                case ["compact_config"]:
                    self._requirements.append(Requirement("compact_config", "", span))
                case ["library", name]:
                    self._library_file(name, span)
                case ["package", name] | [name]:
                    self._requirements.append(Requirement("package", name, span))
                case _:
                    self._add_error(
                        span, f"not a requirement: {argument}", 'write `require(package "NAME")`', code="click.require"
                    )

    def _library_file(self, name: str, span: Span) -> None:
        if self._scope.depth:
            self._add_error(span, "a library can only be required at file scope", code="click.require")
            return
        text = self._library(name, span.text) if self._library else None
        if text is None:
            self._add_error(
                span,
                f"library {name!r} not found",
                "the file's folder and CLICKPATH/conf are searched",
                code="click.library",
            )
        elif text.name not in self._read:
            self._read.add(text.name)
            outer, self._lexer = self._lexer, Lexer(text, self._errors)
            self._enter(span)
            self._statements()
            self._depth -= 1
            self._lexer = outer

    def _compound(self, name: str, span: Span) -> Compound:
        """A body, or several, after the opening brace."""
        self._enter(span)
        bodies: list[Compound] = []
        extended: ClassRef | None = None
        while True:
            token = self._lexer.next()
            if token.kind is TokenKind.ELLIPSIS:
                extended = self._extended(name, token, after_body=bool(bodies))
                if self._lexer.take(TokenKind.SYMBOL, "}") is None:
                    self._add_error(token.span, "'...' must be the last of the bodies", code="click.syntax")
                break
            self._lexer.push_back(token)
            body, end = self._body(name, span if not bodies else token.span)
            bodies.append(body)
            if end.kind is not TokenKind.DOUBLE_BAR:
                break
        self._depth -= 1
        if not bodies:
            bodies.append(Scope.inside(self._scope, name, span).finished())
        first = bodies.pop()
        first = replace(first, overload=extended)
        while bodies:
            first = replace(bodies.pop(), overload=first)
        return first

    def _extended(self, name: str, token: Token, *, after_body: bool) -> ClassRef | None:
        if not after_body:
            self._add_error(token.span, "'...' must be the last of the bodies", code="click.syntax")
        if name in self._scope.classes:
            return self._scope.classes[name]
        if self._known(name):
            return Base(name)
        self._add_error(
            token.span,
            f"'...' extends {name or 'an anonymous class'}, which is not an element class",
            code="click.unknown-class",
        )
        return None

    def _body(self, name: str, span: Span) -> tuple[Compound, Token]:
        outer, self._scope = self._scope, Scope.inside(self._scope, name, span)
        self._formals()
        end = self._statements("}", span)
        inputs, outputs, wrong = self._scope.pseudo(0, 1)
        for message in wrong:
            self._add_error(span, f"{name or 'compound element'}: {message}", code="click.ports")
        body = self._scope.finished(inputs, outputs)
        self._scope = outer
        return body, end

    def _formals(self) -> None:
        """``$a, KEY $b |`` at a body's beginning."""
        while True:
            token = self._lexer.next()
            keyword = ""
            if token.kind is TokenKind.IDENT:
                variable = self._lexer.next()
                if variable.kind is not TokenKind.VARIABLE:
                    if self._scope.formals:
                        self._add_error(variable.span, "expected a variable", code="click.syntax")
                    self._lexer.push_back(variable)
                    self._lexer.push_back(token)
                    return
                keyword = token.string
            elif token.symbol("|"):
                return
            elif token.kind is TokenKind.VARIABLE:
                variable = token
            else:
                if self._scope.formals:
                    self._add_error(token.span, "expected a variable", code="click.syntax")
                self._lexer.push_back(token)
                return
            self._formal(variable, keyword)
            separator = self._lexer.next()
            if separator.symbol("|"):
                return
            if not separator.symbol(","):
                self._add_error(separator.span, "expected ',' or '|' after a parameter", code="click.syntax")
                self._lexer.push_back(separator)
                return

    def _formal(self, variable: Token, keyword: str) -> None:
        formals = self._scope.formals
        if any(formal.name == variable.string for formal in formals):
            self._add_error(variable.span, f"parameter ${variable.string} is declared twice", code="click.duplicate")
            return
        if keyword and any(formal.keyword == keyword for formal in formals):
            self._add_error(variable.span, f"keyword {keyword} is declared twice", code="click.duplicate")
        if formals and ((formals[-1].keyword and not keyword) or formals[-1].keyword == REST):
            hint = "positional ones come first, then keywords, then __REST__"
            self._add_error(variable.span, "parameters out of order", hint, code="click.parameters")
        formals.append(Formal(variable.string, keyword))

    def _chain(self) -> None:
        """Items, arrow, items, ..."""
        previous: list[Item] = []
        arrow: Token | None = None
        while True:
            items = self._items(first=arrow is None)
            if items is None:
                break
            if arrow is None:
                self._useless("input", ((item.span, item.inputs) for item in items))
            else:
                self._connect(previous, items, arrow)
            previous = items
            token = self._lexer.next()
            while token.symbol(",") or token.kind is TokenKind.DOUBLE_COLON:
                self._syntax(token)
                token = self._lexer.next()
            if token.kind not in ARROWS:
                self._end_of_chain(token)
                break
            arrow = token
        self._useless("output", ((item.span, item.outputs) for item in previous))

    def _useless(self, what: str, written: Iterable[tuple[Span, Ports]]) -> None:
        """Ports before the first or after the last item of a chain."""
        at = "start" if what == "input" else "end"
        for span, ports in written:
            if ports.numbers:
                hint = None if ports.implied else "remove the brackets"
                whose = "a group's" if ports.implied else "these"
                self._add_error(
                    span, f"{whose} {what} ports are at the {at} of a chain and lead nowhere", hint, code="click.chain"
                )
                return

    def _end_of_chain(self, token: Token) -> None:
        if token.kind is TokenKind.END or token.symbol("{}[)") or token.kind in _ENDS_CHAIN:
            self._lexer.push_back(token)
        elif not token.symbol(";"):
            self._syntax(token)
            if token.kind is not TokenKind.SYMBOL:
                self._lexer.push_back(token)

    def _connect(self, sources: list[Item], targets: list[Item], arrow: Token) -> None:
        span = sources[0].span.to(targets[-1].span)
        wrong: list[str] = []
        for source, output, target, entry in pairs(
            sources, targets, many=arrow.kind is TokenKind.DOUBLE_ARROW, errors=wrong
        ):
            own = source.span.to(target.span)
            self._scope.connect(Connection(source.element, output, target.element, entry, own))
            if len(self._scope.connections) > _MOST_CONNECTIONS:
                self._add_error(span, f"more than {_MOST_CONNECTIONS:,} connections", code="click.limit")
                raise StopReading
        for message in wrong:
            self._add_error(span, message, code="click.ports")
