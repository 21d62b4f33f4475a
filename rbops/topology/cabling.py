"""The chosen topology's cables, numbered: which port of which server each one joins to which."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from rbops.topology.choice import Choice
from rbops.topology.names import internal_port, server_name
from rbops.topology.wiring import Cable, fly_cables, mesh_cables

__all__ = ["Joint", "degrees", "joints"]


class Joint(NamedTuple):
    """A cable between servers ``a`` and ``b`` (indexes, ``a`` the lower), with the names of the ports that it joins."""

    a: int
    b: int
    a_port: str
    b_port: str

    @property
    def a_end(self) -> str:
        """``server:port`` at the lower server."""
        return f"{server_name(self.a)}:{self.a_port}"

    @property
    def b_end(self) -> str:
        """``server:port`` at the higher server."""
        return f"{server_name(self.b)}:{self.b_port}"


def joints(choice: Choice) -> tuple[Joint, ...]:
    """All cables by servers, parallel ones by number.

    In this order each server meets its own cables by peer, then by number: so its ports are placed.
    """
    pairs = sorted((min(cable), max(cable)) for cable in _cables(choice))
    parallel = Counter(pairs)
    found: list[Joint] = []
    last, number = None, 0
    for pair in pairs:
        number = number + 1 if pair == last else 0
        last = pair
        a, b = pair
        total = parallel[pair]
        found.append(Joint(a, b, internal_port(b, number, total), internal_port(a, number, total)))
    return tuple(found)


def degrees(servers: int, cables: tuple[Joint, ...]) -> list[int]:
    """How many cables end at each server."""
    found = [0] * servers
    for joint in cables:
        found[joint.a] += 1
        found[joint.b] += 1
    return found


def _cables(choice: Choice) -> tuple[Cable, ...]:
    trial = choice.trial
    if trial.kind == "mesh":
        return tuple(mesh_cables(trial.port_servers, trial.parallel))
    return tuple(fly_cables(trial.port_servers, trial.fanouts))
