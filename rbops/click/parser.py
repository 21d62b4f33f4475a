"""The Click language of Click 2.1, read into a ``Tree``.

    statement   chain | elementclass NAME body | elementclass NAME NAME | require(...) | define(...) | ;
    chain       items (-> items | => items)*
    items       item (, item)*
    item        [ports] NAME|body|( statements ) [:: NAME|body] [( configuration )] [ports]
    body        { [KEY] $name, ... | statements || ... || ... }

Every mistake is collected, as Click does it, so that one run shows them all. Depth, ports, connections and
mistakes have limits, so that no text can take more than its size is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from rbops.click.chains import Item, Ports, pairs
from rbops.click.config import REST, Formal, argvec, unquote, words
from rbops.click.lexer import Kind, Lexer, Token
from rbops.click.scope import Scope
from rbops.click.source import ClickText, Span
from rbops.click.tree import Base, ClassRef, Compound, Connection, Element, Requirement, Tree, Use
from rbops.errors import Diagnostic

__all__ = ["Library", "Parsed", "parse", "parse_body"]

Library = Callable[[str, ClickText], ClickText | None]
"""The text that ``require(library NAME)`` in a file means; None: there is none."""

_DEEPEST = 50
_HIGHEST_PORT = 1023
_MOST_CONNECTIONS = 200_000
_MOST_ERRORS = 100
_NO_PORTS = Ports()
_ARROWS = (Kind.ARROW, Kind.DOUBLE_ARROW)
_BEGINS_CHAIN = (Kind.IDENT, *_ARROWS)
_ENDS_CHAIN = (Kind.IDENT, Kind.DOUBLE_BAR, Kind.ELEMENTCLASS, Kind.REQUIRE, Kind.PROVIDE, Kind.DEFINE)


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
    """Read what stands between the braces of an ``elementclass``; it is the tree's only class, without a name."""
    return _Parser(text, known, None).body()


class _StopError(Exception):
    """Reading on is of no use: too many mistakes, or one that hides what follows."""


@dataclass(slots=True)
class _Entry:
    """An item of a chain before it is known whether it declares an element or names one."""

    name: str
    kind: ClassRef | None
    bare: bool
    span: Span
    inputs: Ports = _NO_PORTS
    outputs: Ports = _NO_PORTS
    declared: ClassRef | None = None
    configuration: str = ""
    implicit: bool = False


@dataclass(slots=True)
class _Chain:
    """The items between two arrows."""

    first: bool
    entries: list[_Entry] = field(default_factory=list)

    def plain(self) -> bool:
        """No ports anywhere, as in a declaration of several elements."""
        return not any(e.inputs.numbers or e.outputs.numbers or e.implicit for e in self.entries)


class _Parser:
    def __init__(self, text: ClickText, known: Callable[[str], bool], library: Library | None) -> None:
        self._errors: list[Diagnostic] = []
        self._lexer = Lexer(text, self._errors)
        self._known = known
        self._library = library
        self._read: set[str] = {text.name}
        self._scope = Scope("", Span(text, 0, 0), 0, {})
        self._requirements: list[Requirement] = []
        self._used: dict[str, Use] = {}
        self._depth = 0

    def file(self) -> Parsed:
        with suppress(_StopError):
            self._statements()
        root = self._scope.finished()
        tree = Tree(root, tuple(self._requirements), tuple(self._scope.classes.items()), tuple(self._used.values()))
        return Parsed(tree, tuple(self._errors[:_MOST_ERRORS]))

    def body(self) -> Parsed:
        root = self._scope
        first = self._lexer.next()
        self._lexer.push_back(first)
        self._scope = Scope.inside(root, "", first.span)
        self._depth += 1
        with suppress(_StopError):
            self._statements()
        inputs, outputs, wrong = self._scope.pseudo(0, 1)
        self._errors += (first.span.diagnostic(message) for message in wrong)
        body = self._scope.finished(inputs, outputs)
        tree = Tree(root.finished(), tuple(self._requirements), (("", body),), tuple(self._used.values()))
        return Parsed(tree, tuple(self._errors[:_MOST_ERRORS]))

    # mistakes

    def _error(self, span: Span, message: str, hint: str | None = None) -> None:
        self._errors.append(span.diagnostic(message, hint))
        if len(self._errors) >= _MOST_ERRORS:
            raise _StopError

    def _syntax(self, token: Token) -> None:
        if token.kind is Kind.END:
            self._error(token.span, "the text ends in the middle of a statement")
        else:
            self._error(token.span, f"syntax error near {_shown(token)}")

    def _enter(self, span: Span) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._error(span, f"nested more than {_DEEPEST} deep")
            raise _StopError

    # statements

    def _statements(self, closing: str = "", opening: Span | None = None) -> Token:
        """Statements up to ``}`` or ``||``, ``)``, or with no ``closing`` the end; the word that ended them."""
        while True:
            token = self._lexer.next()
            if token.kind in _BEGINS_CHAIN or token.symbol("[{("):
                self._lexer.push_back(token)
                self._chain()
            elif token.kind is Kind.ELEMENTCLASS:
                self._elementclass()
            elif token.kind is Kind.REQUIRE:
                self._require()
            elif token.kind is Kind.DEFINE:
                self._define()
            elif token.symbol(";"):
                continue
            elif self._closes(token, closing, opening):
                return token
            else:
                self._syntax(token)

    def _closes(self, token: Token, closing: str, opening: Span | None) -> bool:
        if token.kind is Kind.END:
            if closing:
                hint = f"what it closes begins at {opening}"
                self._error(token.span, f"expected '{closing}' before the end of the text", hint)
            return True
        if closing == "}":
            return token.symbol("}") or token.kind is Kind.DOUBLE_BAR
        if closing == ")" and (token.symbol("}") or token.kind is Kind.DOUBLE_BAR):
            self._syntax(token)
            self._lexer.push_back(token)
            return True
        return closing == ")" and token.symbol(")")

    def _elementclass(self) -> None:
        named = self._lexer.next()
        if named.kind is not Kind.IDENT:
            self._error(named.span, "expected the name of an element class")
            self._lexer.push_back(named)
        name = named.string if named.kind is Kind.IDENT else ""
        token = self._lexer.next()
        if token.symbol("{"):
            kind: ClassRef = self._compound(name, named.span)
        elif token.kind is Kind.IDENT:
            kind = self._class(token)
        else:
            self._syntax(token)
            return
        if name:
            self._scope.classes[name] = kind

    def _arguments(self, keyword: str) -> list[tuple[str, Span]]:
        """The arguments in the parentheses after ``keyword``."""
        opening = self._lexer.take(Kind.SYMBOL, "(")
        if opening is None:
            token = self._lexer.next()
            self._error(token.span, f"expected '(' after {keyword}")
            self._lexer.push_back(token)
            return []
        text, span = self._lexer.configuration(opening.span)
        self._lexer.take(Kind.SYMBOL, ")")
        return [(argument, opening.span.to(span)) for argument in argvec(text)]

    def _define(self) -> None:
        for argument, span in self._arguments("define"):
            if not argument:
                continue
            name = words(argument)[0]
            variable = name[1:]
            if not name.startswith("$") or not variable.replace("_", "a").isalnum() or not variable.isascii():
                self._error(span, f"define: {name} is not a variable", "write `define($NAME value)`")
            elif variable in self._scope.defines or any(f.name == variable for f in self._scope.formals):
                self._error(span, f"${variable} is defined twice")
            else:
                self._scope.defines[variable] = argument[len(name) :].strip()

    def _require(self) -> None:
        arguments = self._arguments("require")
        self._lexer.take(Kind.SYMBOL, ";")
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
                    self._error(span, f"not a requirement: {argument}", 'write `require(package "NAME")`')

    def _library_file(self, name: str, span: Span) -> None:
        if self._scope.depth:
            self._error(span, "a library can only be required at file scope")
            return
        text = self._library(name, span.text) if self._library else None
        if text is None:
            self._error(span, f"library {name!r} not found", "it is looked for beside the file and in CLICKPATH/conf")
        elif text.name not in self._read:
            self._read.add(text.name)
            outer, self._lexer = self._lexer, Lexer(text, self._errors)
            self._enter(span)
            self._statements()
            self._depth -= 1
            self._lexer = outer

    # classes

    def _class(self, token: Token) -> ClassRef:
        declared = self._scope.classes.get(token.string)
        return self._base(token.string, token.span) if declared is None else declared

    def _base(self, name: str, span: Span, *, guessed: bool = False) -> Base:
        self._used.setdefault(name, Use(name, span, guessed))
        return Base(name)

    def _compound(self, name: str, span: Span) -> Compound:
        """A body, or several, after the opening brace."""
        self._enter(span)
        bodies: list[Compound] = []
        extended: ClassRef | None = None
        while True:
            token = self._lexer.next()
            if token.kind is Kind.ELLIPSIS:
                extended = self._extended(name, token, after_body=bool(bodies))
                if self._lexer.take(Kind.SYMBOL, "}") is None:
                    self._error(token.span, "'...' must be the last of the bodies")
                break
            self._lexer.push_back(token)
            body, end = self._body(name, span if not bodies else token.span)
            bodies.append(body)
            if end.kind is not Kind.DOUBLE_BAR:
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
            self._error(token.span, "'...' must be the last of the bodies")
        if name in self._scope.classes:
            return self._scope.classes[name]
        if self._known(name):
            return Base(name)
        self._error(token.span, f"'...' extends {name or 'an anonymous class'}, which is no element class")
        return None

    def _body(self, name: str, span: Span) -> tuple[Compound, Token]:
        outer, self._scope = self._scope, Scope.inside(self._scope, name, span)
        self._formals()
        end = self._statements("}", span)
        inputs, outputs, wrong = self._scope.pseudo(0, 1)
        for message in wrong:
            self._error(span, f"{name or 'compound element'}: {message}")
        body = self._scope.finished(inputs, outputs)
        self._scope = outer
        return body, end

    def _formals(self) -> None:
        """``$a, KEY $b |`` at a body's beginning."""
        while True:
            token = self._lexer.next()
            keyword = ""
            if token.kind is Kind.IDENT:
                variable = self._lexer.next()
                if variable.kind is not Kind.VARIABLE:
                    if self._scope.formals:
                        self._error(variable.span, "expected a variable")
                    self._lexer.push_back(variable)
                    self._lexer.push_back(token)
                    return
                keyword = token.string
            elif token.symbol("|"):
                return
            elif token.kind is Kind.VARIABLE:
                variable = token
            else:
                if self._scope.formals:
                    self._error(token.span, "expected a variable")
                self._lexer.push_back(token)
                return
            self._formal(variable, keyword)
            separator = self._lexer.next()
            if separator.symbol("|"):
                return
            if not separator.symbol(","):
                self._error(separator.span, "expected ',' or '|' after a parameter")
                self._lexer.push_back(separator)
                return

    def _formal(self, variable: Token, keyword: str) -> None:
        formals = self._scope.formals
        if any(formal.name == variable.string for formal in formals):
            self._error(variable.span, f"parameter ${variable.string} is there twice")
            return
        if keyword and any(formal.keyword == keyword for formal in formals):
            self._error(variable.span, f"keyword {keyword} is there twice")
        if formals and ((formals[-1].keyword and not keyword) or formals[-1].keyword == REST):
            hint = "positional ones come first, then keywords, then __REST__"
            self._error(variable.span, "parameters out of order", hint)
        formals.append(Formal(variable.string, keyword))

    # chains

    def _chain(self) -> None:
        """Items, arrow, items, ..."""
        previous: list[Item] = []
        arrow: Token | None = None
        while True:
            items = self._items(first=arrow is None)
            if items is None:
                break
            if arrow is None:
                self._useless(item.span for item in items if item.inputs.numbers and not item.inputs.implied)
            else:
                self._connect(previous, items, arrow)
            previous = items
            token = self._lexer.next()
            while token.symbol(",") or token.kind is Kind.DOUBLE_COLON:
                self._syntax(token)
                token = self._lexer.next()
            if token.kind not in _ARROWS:
                self._end_of_chain(token)
                break
            arrow = token
        self._useless((item.span for item in previous if item.outputs.numbers and not item.outputs.implied), at="end")

    def _useless(self, spans: Iterable[Span], at: str = "start") -> None:
        for span in spans:
            what = "input" if at == "start" else "output"
            self._error(span, f"{what} ports at the {at} of a chain lead nowhere", "remove the brackets")
            return

    def _end_of_chain(self, token: Token) -> None:
        if token.kind is Kind.END or token.symbol("{}[)") or token.kind in _ENDS_CHAIN:
            self._lexer.push_back(token)
        elif not token.symbol(";"):
            self._syntax(token)
            if token.kind is not Kind.SYMBOL:
                self._lexer.push_back(token)

    def _connect(self, sources: list[Item], targets: list[Item], arrow: Token) -> None:
        span = sources[0].span.to(targets[-1].span)
        wrong: list[str] = []
        for source, output, target, entry in pairs(
            sources, targets, many=arrow.kind is Kind.DOUBLE_ARROW, errors=wrong
        ):
            own = source.span.to(target.span)
            self._scope.connect(Connection(source.element, output, target.element, entry, own))
            if len(self._scope.connections) > _MOST_CONNECTIONS:
                self._error(span, f"more than {_MOST_CONNECTIONS:,} connections")
                raise _StopError
        for message in wrong:
            self._error(span, message)

    def _items(self, *, first: bool) -> list[Item] | None:
        """Items up to an arrow or the chain's end; None when there is none."""
        chain = _Chain(first)
        while True:
            entry = self._entry(chain)
            if entry is None:
                break
            chain.entries.append(entry)
            if self._lexer.take(Kind.SYMBOL, ",") is None:
                break
        if not chain.entries:
            return None
        token = self._lexer.next()
        self._lexer.push_back(token)
        arrow = token.kind in _ARROWS
        if arrow and not first and any(entry.implicit for entry in chain.entries):
            self._error(chain.entries[0].span, "implied ports can only be at the ends of a chain")
        if len(chain.entries) > 1 and first and not arrow and chain.plain():
            self._spread(chain.entries)
        return [self._item(entry) for entry in chain.entries]

    def _spread(self, entries: list[_Entry]) -> None:
        """``a, b :: Queue(10)`` declares both."""
        last = entries[-1]
        if last.declared is not None and all(entry.bare for entry in entries[:-1]):
            for entry in entries[:-1]:
                entry.declared, entry.configuration = last.declared, last.configuration

    def _entry(self, chain: _Chain) -> _Entry | None:
        inputs, port_span = self._ports()
        token = self._lexer.next()
        span = port_span.to(token.span) if port_span else token.span
        if token.kind is Kind.IDENT:
            name = token.string
            kind = self._scope.classes.get(name)
            if kind is None and name not in self._scope.named and self._known(name):
                kind = self._base(name, token.span)
            entry = _Entry(name, kind, bare=True, span=span, inputs=inputs)
        elif token.symbol("{"):
            entry = _Entry("", self._compound("", token.span), bare=False, span=span, inputs=inputs)
        elif token.symbol("("):
            entry = self._group(token, inputs)
        else:
            return self._implied(chain, token, inputs, span)
        self._declaration(entry)
        self._configuration(entry)
        return entry

    def _implied(self, chain: _Chain, token: Token, inputs: Ports, span: Span) -> _Entry | None:
        """``-> x`` in a compound element means ``input -> x``, and ``x ->`` means ``x -> output``."""
        nested = self._depth > 0 and (self._scope.depth > 0 or "input" in self._scope.named)
        only = not chain.entries
        arrow = token.kind in _ARROWS
        if nested and arrow:
            implied = chain.first and (bool(inputs.numbers) or only)
        elif nested and token.symbol(","):
            implied = bool(inputs.numbers)
        else:
            implied = (
                nested and token.kind is not Kind.DOUBLE_COLON and not chain.first and (bool(inputs.numbers) or only)
            )
        if not implied:
            if inputs.numbers:
                self._error(span, "these ports belong to no element")
            if only and not (nested and chain.first):
                self._syntax(token)
                if token.kind is Kind.END or token.symbol("})"):
                    self._lexer.push_back(token)
            else:
                self._lexer.push_back(token)
            return None
        self._lexer.push_back(token)
        name = "input" if chain.first else "output"
        before, after = (Ports(), inputs) if chain.first else (inputs, Ports())
        return _Entry(name, None, bare=False, span=span, inputs=before, outputs=after, implicit=True)

    def _group(self, opening: Token, inputs: Ports) -> _Entry:
        """``( ... )``: statements that see an ``input`` and ``output`` of their own."""
        self._enter(opening.span)
        scope = self._scope
        name = f"({len(scope.elements)})"
        scope.groups.append(scope.tunnel(name, opening.span))
        outer = {end: scope.named.get(end) for end in ("input", "output")}
        entry, leave = (scope.tunnel(f"{name}/{end}", opening.span) for end in ("input", "output"))
        scope.named |= {"input": entry, "output": leave}
        self._statements(")", opening.span)
        counts = scope.pseudo(entry, leave)
        for message in counts[2]:
            self._error(opening.span, f"group: {message}")
        for end, index in outer.items():
            if index is None:
                del scope.named[end]
            else:
                scope.named[end] = index
        self._depth -= 1
        before = inputs if inputs.numbers else Ports(tuple(range(counts[0])), implied=True)
        after = Ports(tuple(range(counts[1])), implied=True)
        return _Entry(name, None, bare=False, span=opening.span, inputs=before, outputs=after)

    def _declaration(self, entry: _Entry) -> None:
        """``:: Class``."""
        if self._lexer.take(Kind.DOUBLE_COLON) is None:
            return
        entry.bare = False
        token = self._lexer.next()
        if token.kind is Kind.IDENT:
            entry.declared = self._class(token)
        elif token.symbol("{"):
            entry.declared = self._compound("", token.span)
        else:
            self._error(token.span, f"expected the element class of {entry.name} after '::'")
            self._lexer.push_back(token)
            entry.declared = Base("Error")
        entry.span = entry.span.to(token.span)

    def _configuration(self, entry: _Entry) -> None:
        """``(configuration)`` and the output ports."""
        opening = self._lexer.take(Kind.SYMBOL, "(")
        if opening is not None:
            if entry.kind is None and entry.name in self._scope.named:
                hint = "configure it where it is declared"
                self._error(opening.span, f"{_quoted(entry.name)} is already an element; this is ignored", hint)
            entry.bare = False
            entry.configuration, inside = self._lexer.configuration(opening.span)
            self._lexer.take(Kind.SYMBOL, ")")
            entry.span = entry.span.to(inside)
        ports, span = self._ports()
        if span is not None:
            entry.outputs = ports

    def _ports(self) -> tuple[Ports, Span | None]:
        """``[0]``, ``[0, 3-5]``, ``[]``, ``[1, ]``."""
        opening = self._lexer.take(Kind.SYMBOL, "[")
        if opening is None:
            return Ports(), None
        numbers: list[int] = []
        dash = False
        while True:
            token = self._lexer.next()
            if token.symbol("]"):
                return Ports(tuple(numbers) or (0,), open=True), opening.span.to(token.span)
            if token.kind is not Kind.IDENT:
                self._error(token.span, "expected a port number")
                self._lexer.push_back(token)
                break
            number = self._port(token)
            numbers += range(numbers[-1] + 1, number + 1) if dash and numbers else [number]
            token = self._lexer.next()
            if token.symbol("]"):
                return Ports(tuple(numbers)), opening.span.to(token.span)
            if not token.symbol("-,") or (dash and token.symbol("-")):
                self._error(token.span, "expected ',' or ']' after a port number")
                self._lexer.push_back(token)
                if token.kind is not Kind.IDENT:
                    break
            dash = token.symbol("-")
        return Ports(tuple(numbers)), opening.span

    def _port(self, token: Token) -> int:
        text = token.string
        base = 16 if text[:2].lower() == "0x" else 8 if text.startswith("0") else 10
        try:
            number = int(text.replace("_", "?"), base)
        except ValueError:
            self._error(token.span, f"port number {text} is no integer")
            return 0
        if number > _HIGHEST_PORT:
            self._error(token.span, f"port number {text} is higher than {_HIGHEST_PORT}")
            return 0
        return number

    # elements

    def _item(self, entry: _Entry) -> Item:
        """The element an entry names or declares."""
        scope = self._scope
        index = scope.named.get(entry.name) if entry.kind is None else None
        if index is None:
            index = self._element(entry)
        elif entry.declared is not None:
            there = scope.elements[index].span
            self._error(entry.span, f"element {_quoted(entry.name)} is declared twice", f"it is declared at {there}")
        return Item(index, entry.inputs, entry.outputs, entry.span)

    def _element(self, entry: _Entry) -> int:
        if entry.declared is not None and entry.kind is not None:
            self._error(entry.span, f"{_quoted(entry.name)} is an element class and cannot name an element")
        name, kind = entry.name, entry.kind or entry.declared
        if kind is None:
            kind = self._base(entry.name, entry.span, guessed=True)
        if entry.declared is None or entry.kind is not None:
            name = self._scope.anonymous(kind.name if isinstance(kind, Base | Compound) else "")
        elif any(part.isdigit() for part in name.split("/")):
            self._error(entry.span, f"the name {_quoted(name)} has a part of only digits")
        return self._scope.add(Element(name, kind, entry.configuration, entry.span))


def _quoted(name: str) -> str:
    return f"'{name}'" if not name.startswith("(") else "a group"


def _shown(token: Token) -> str:
    string = token.string if token.kind is not Kind.VARIABLE else f"${token.string}"
    return f"'{string}'" if string.isprintable() else ascii(string)
