"""Which card goes into which slot, and how many internal ports that leaves (paper 3.3).

External ports are placed first, in the cards with the slowest ports that carry the line rate. A
card that is only partly used by them serves internal links of its own port rate as well, as in RB4.
"""

from __future__ import annotations

from dataclasses import dataclass

from rbops.hardware.model import Card, Machine, Slot

__all__ = ["Layout", "Seat", "external_capacity", "internal_rates", "layout"]


@dataclass(frozen=True, slots=True)
class Seat:
    """One port of a card: ``slot`` counts from 0, ``position`` within the card."""

    slot: int
    position: int
    card: Card
    numa_node: int | None


@dataclass(frozen=True, slots=True)
class Layout:
    """The seats of one server's external ports, and all that internal links may use."""

    external: tuple[Seat, ...]
    internal: tuple[Seat, ...]

    @property
    def achievable_bps(self) -> int:
        """What all cards together carry per direction."""
        cards = {seat.slot: seat.card for seat in self.external + self.internal}
        return sum(card.rate_bps for card in cards.values())


def external_capacity(machine: Machine, line_rate_bps: int) -> int:
    """How many external ports the slots hold when nothing else is in them."""
    cards = [_external_card(slot, line_rate_bps) for slot in machine.slots]
    return sum(card.ports for card in cards if card is not None)


def internal_rates(machine: Machine) -> tuple[int, ...]:
    """The port rates that internal links can have, slowest first."""
    return tuple(sorted({card.port_rate_bps for slot in machine.slots for card in slot.options}))


def layout(machine: Machine, external: int, line_rate_bps: int, internal_rate_bps: int) -> Layout | None:
    """Seats for ``external`` ports, the rest for internal ports of ``internal_rate_bps``; None when they do not fit."""
    taken: list[Seat] = []
    free: list[Seat] = []
    used: set[int] = set()
    for index, card in _external_order(machine, line_rate_bps):
        if len(taken) == external:
            break
        seats = _seats(index, card, machine.slots[index])
        wanted = external - len(taken)
        taken += seats[:wanted]
        used.add(index)
        if card.port_rate_bps == internal_rate_bps:
            free += seats[wanted:]
    if len(taken) < external:
        return None
    for index, slot in enumerate(machine.slots):
        fitting = [card for card in slot.options if card.port_rate_bps == internal_rate_bps]
        if index not in used and fitting:
            free += _seats(index, max(fitting, key=lambda card: card.ports), slot)
    return Layout(tuple(taken), tuple(free))


def _external_order(machine: Machine, line_rate_bps: int) -> list[tuple[int, Card]]:
    cards = [(index, _external_card(slot, line_rate_bps)) for index, slot in enumerate(machine.slots)]
    fitting = [(index, card) for index, card in cards if card is not None]
    return sorted(fitting, key=lambda item: (item[1].port_rate_bps, item[0]))


def _external_card(slot: Slot, line_rate_bps: int) -> Card | None:
    fitting = [card for card in slot.options if card.port_rate_bps >= line_rate_bps]
    return min(fitting, key=lambda card: (card.port_rate_bps, -card.ports), default=None)


def _seats(index: int, card: Card, slot: Slot) -> list[Seat]:
    return [Seat(index, position, card, slot.numa_node) for position in range(card.ports)]
