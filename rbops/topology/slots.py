"""Which card goes into which slot, and how many internal ports that leaves (paper 3.3).

External ports are placed first, in the cards with the slowest ports that carry the line rate. A
card that is only partly used by them serves internal links as well, as in RB4.

A port also runs at the rate of the slower module that its cage takes (SFP28 takes SFP+, QSFP28 takes
QSFP+: SFF-8402, SFF-8665), so that servers with unlike cards, and unlike cards in one server, join.
A 10 Gbps port is not counted on for 1 Gbps: those are copper in the paper, and in most servers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rbops.hardware.model import Card, Machine, Slot

__all__ = ["CardPort", "Layout", "common_rate", "external_capacity", "internal_rates", "layout", "runs_at"]

_GBPS = 1_000_000_000
_SLOWER = {25 * _GBPS: 10 * _GBPS, 100 * _GBPS: 40 * _GBPS}


@dataclass(frozen=True, slots=True)
class CardPort:
    """One port of a card: ``slot`` counts from 0, ``position`` within the card."""

    slot: int
    position: int
    card: Card
    numa_node: int | None


@dataclass(frozen=True, slots=True)
class Layout:
    """Card ports of one server's external ports, and all that internal links may use."""

    external: tuple[CardPort, ...]
    internal: tuple[CardPort, ...]

    @property
    def achievable_bps(self) -> int:
        """What all cards together carry per direction."""
        cards = {one.slot: one.card for one in self.external + self.internal}
        return sum(card.rate_bps for card in cards.values())


def runs_at(card: Card, rate_bps: int) -> bool:
    """Whether the card's ports can be used at ``rate_bps``."""
    return rate_bps in (card.port_rate_bps, _SLOWER.get(card.port_rate_bps))


def common_rate(one: Card, other: Card) -> int:
    """The fastest rate of a cable between ports of both; ValueError when there is none."""
    if one is other:
        return one.port_rate_bps
    rates = [rate for rate in {one.port_rate_bps, other.port_rate_bps} if runs_at(one, rate) and runs_at(other, rate)]
    if not rates:
        raise ValueError(f"no cable joins ports of {one.port_rate_bps} and {other.port_rate_bps} bps")
    return max(rates)


def external_capacity(machine: Machine, line_rate_bps: int) -> int:
    """How many external ports the slots hold when nothing else is in them."""
    cards = [_external_card(slot, line_rate_bps) for slot in machine.slots]
    return sum(card.ports for card in cards if card is not None)


def internal_rates(machine: Machine) -> tuple[int, ...]:
    """The port rates that the machine's cards have, slowest first."""
    return tuple(sorted({card.port_rate_bps for slot in machine.slots for card in slot.options}))


def layout(machine: Machine, external: int, line_rate_bps: int, internal_rate_bps: int) -> Layout | None:
    """Card ports for ``external`` ports, the rest for internal ports at ``internal_rate_bps``; None: they do not fit.

    External ports fill as few cards as possible where internal ones need others; where both use the
    same cards they spread over all of them, since a card may carry less than its ports. Of the internal
    card ports those come first whose cards are of that rate, not faster.
    """
    offered: list[CardPort] = []
    for index, card in _external_order(machine, line_rate_bps):
        offered += _card_ports(index, card, machine.slots[index])
    if len(offered) < external:
        return None
    if offered and runs_at(offered[0].card, internal_rate_bps):
        fitting = [one for one in offered if runs_at(one.card, internal_rate_bps)]
        offered = sorted(fitting, key=_spread) + [one for one in offered if one not in fitting]
    taken = offered[:external]
    used = {one.slot for one in taken}
    free = [one for one in offered[external:] if one.slot in used and runs_at(one.card, internal_rate_bps)]
    for index, slot in enumerate(machine.slots):
        cards = [card for card in slot.options if runs_at(card, internal_rate_bps)]
        if index not in used and cards:
            free += _card_ports(index, max(cards, key=lambda card: (card.ports, -card.port_rate_bps)), slot)
    loads = Counter(one.slot for one in taken)
    free.sort(key=lambda one: (one.card.port_rate_bps, loads[one.slot] + one.position, one.slot))
    return Layout(tuple(taken), tuple(free))


def _spread(one: CardPort) -> tuple[int, int]:
    return one.position, one.slot


def _external_order(machine: Machine, line_rate_bps: int) -> list[tuple[int, Card]]:
    cards = [(index, _external_card(slot, line_rate_bps)) for index, slot in enumerate(machine.slots)]
    fitting = [(index, card) for index, card in cards if card is not None]
    return sorted(fitting, key=lambda item: (item[1].port_rate_bps, item[0]))


def _external_card(slot: Slot, line_rate_bps: int) -> Card | None:
    fitting = [card for card in slot.options if card.port_rate_bps >= line_rate_bps]
    return min(fitting, key=lambda card: (card.port_rate_bps, -card.ports), default=None)


def _card_ports(index: int, card: Card, slot: Slot) -> list[CardPort]:
    return [CardPort(index, position, card, slot.numa_node) for position in range(card.ports)]
