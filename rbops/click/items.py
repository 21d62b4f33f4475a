"""Items of chains: elements named or declared, compound elements and groups, each with its ports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from rbops.click.chains import Item, Ports
from rbops.click.lexer import Token, TokenKind
from rbops.click.reader import Reader
from rbops.click.source import Span
from rbops.click.tree import Base, ClassRef, Compound, Element

__all__ = ["ARROWS", "ItemReader"]

ARROWS = (TokenKind.ARROW, TokenKind.DOUBLE_ARROW)
_HIGHEST_PORT = 1023
_NO_PORTS = Ports()


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


class ItemReader(Reader, ABC):
    """Reads the items between two arrows; braces and parentheses are the parser's."""

    @abstractmethod
    def _compound(self, name: str, span: Span) -> Compound:
        """The bodies after an opening brace."""

    @abstractmethod
    def _statements(self, closing: str = "", opening: Span | None = None) -> Token:
        """Statements up to what ends them."""

    def _items(self, *, first: bool) -> list[Item] | None:
        """Items up to an arrow or the chain's end; None when there is none."""
        chain = _Chain(first)
        while True:
            entry = self._entry(chain)
            if entry is None:
                break
            chain.entries.append(entry)
            if self._lexer.take(TokenKind.SYMBOL, ",") is None:
                break
        if not chain.entries:
            return None
        token = self._lexer.next()
        self._lexer.push_back(token)
        arrow = token.kind in ARROWS
        if arrow and not first and any(entry.implicit for entry in chain.entries):
            self._add_error(
                chain.entries[0].span, "implied ports can only be at the ends of a chain", code="click.chain"
            )
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
        if token.kind is TokenKind.IDENT:
            name = token.string
            kind = self._scope.classes.get(name)
            if kind is None and name not in self._scope.named and self._known(name):
                kind = Base(name)
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
        arrow = token.kind in ARROWS
        if nested and arrow:
            implied = chain.first and (bool(inputs.numbers) or only)
        elif nested and token.symbol(","):
            implied = bool(inputs.numbers)
        else:
            implied = (
                nested
                and token.kind is not TokenKind.DOUBLE_COLON
                and not chain.first
                and (bool(inputs.numbers) or only)
            )
        if not implied:
            if inputs.numbers:
                self._add_error(span, "ports without an element", code="click.chain")
            if only and nested and chain.first:
                self._lexer.push_back(token)
            elif only:
                self._syntax(token)
                if token.kind is TokenKind.END or token.symbol("})"):
                    self._lexer.push_back(token)
            elif token.kind is TokenKind.END:
                self._lexer.push_back(token)
            # Click takes any word after a trailing comma for the comma's own.
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
            self._add_error(opening.span, f"group: {message}", code="click.ports")
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
        if self._lexer.take(TokenKind.DOUBLE_COLON) is None:
            return
        entry.bare = False
        token = self._lexer.next()
        if token.kind is TokenKind.IDENT:
            entry.declared = self._class(token)
        elif token.symbol("{"):
            entry.declared = self._compound("", token.span)
        else:
            self._add_error(token.span, f"expected the element class of {entry.name} after '::'", code="click.syntax")
            self._lexer.push_back(token)
            entry.declared = Base("Error")
        entry.span = entry.span.to(token.span)

    def _configuration(self, entry: _Entry) -> None:
        """``(configuration)`` and the output ports."""
        opening = self._lexer.take(TokenKind.SYMBOL, "(")
        if opening is not None:
            if entry.kind is None and entry.name in self._scope.named:
                hint = "configure it where it is declared"
                self._add_error(
                    opening.span,
                    f"{_quoted(entry.name)} is already an element; this is ignored",
                    hint,
                    code="click.duplicate",
                )
            entry.bare = False
            entry.configuration, inside = self._lexer.configuration(opening.span)
            self._lexer.take(TokenKind.SYMBOL, ")")
            entry.span = entry.span.to(inside)
        ports, span = self._ports()
        if span is not None:
            entry.outputs = ports

    def _ports(self) -> tuple[Ports, Span | None]:
        """``[0]``, ``[0, 3-5]``, ``[]``, ``[1, ]``."""
        opening = self._lexer.take(TokenKind.SYMBOL, "[")
        if opening is None:
            return Ports(), None
        numbers: list[int] = []
        dash = False
        while True:
            token = self._lexer.next()
            if token.symbol("]"):
                return Ports(tuple(numbers) or (0,), open=True), opening.span.to(token.span)
            if token.kind is not TokenKind.IDENT:
                self._add_error(token.span, "expected a port number", code="click.syntax")
                self._lexer.push_back(token)
                break
            number = self._port(token)
            numbers += range(numbers[-1] + 1, number + 1) if dash and numbers else [number]
            token = self._lexer.next()
            if token.symbol("]"):
                return Ports(tuple(numbers)), opening.span.to(token.span)
            if not token.symbol("-,") or (dash and token.symbol("-")):
                self._add_error(token.span, "expected ',' or ']' after a port number", code="click.syntax")
                self._lexer.push_back(token)
                if token.kind is not TokenKind.IDENT:
                    break
            dash = token.symbol("-")
        return Ports(tuple(numbers)), opening.span

    def _port(self, token: Token) -> int:
        text = token.string
        base = 16 if text[:2].lower() == "0x" else 8 if text.startswith("0") else 10
        try:
            number = int(text.replace("_", "?"), base)
        except ValueError:
            self._add_error(token.span, f"{text} is not a valid port number", code="click.port-number")
            return 0
        if number > _HIGHEST_PORT:
            self._add_error(
                token.span, f"port number {text}, expected at most {_HIGHEST_PORT}", code="click.port-number"
            )
            return 0
        return number

    def _item(self, entry: _Entry) -> Item:
        """The element an entry names or declares."""
        scope = self._scope
        index = scope.named.get(entry.name) if entry.kind is None else None
        if index is None:
            index = self._element(entry)
        elif entry.declared is not None:
            there = scope.elements[index].span
            self._add_error(
                entry.span,
                f"element {_quoted(entry.name)} is declared twice",
                f"it is declared at {there}",
                code="click.duplicate",
            )
        return Item(index, entry.inputs, entry.outputs, entry.span)

    def _element(self, entry: _Entry) -> int:
        own = entry.kind
        if entry.declared is not None and isinstance(own, Base) and entry.name not in self._scope.classes:
            # Whether it is a class depends on the driver: the checker says so when it knows that.
            self._named_like_classes.append((entry.name, entry.span))
            own = None
        elif entry.declared is not None and own is not None:
            self._add_error(
                entry.span,
                f"{_quoted(entry.name)} is an element class and cannot name an element",
                code="click.class-name",
            )
        name, kind = entry.name, own or entry.declared
        if kind is None:
            kind = self._base(entry.name, entry.span, guessed=True)
        elif isinstance(own, Base):
            kind = self._base(own.name, entry.span)
        if entry.declared is None or own is not None:
            name = self._scope.anonymous(kind.name if isinstance(kind, Base | Compound) else "")
        elif any(part.isdigit() for part in name.split("/")):
            self._add_error(
                entry.span, f"the name {_quoted(name)} has a part of only digits", code="click.element-name"
            )
        return self._scope.add(Element(name, kind, entry.configuration, entry.span))


def _quoted(name: str) -> str:
    if name.startswith("("):
        return "a group"
    return f"'{name}'" if name else "a compound element"
