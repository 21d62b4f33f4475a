"""Who reaches whom: pings that are late are no lack of a path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import pytest

from rbops.verify.host import ServerUnderTest
from rbops.verify.reach import PINGS, Reach


class Server:
    """Answers for pings: how many rounds each address lets go unanswered."""

    def __init__(self, name: str, address: str, late: Mapping[str, int] | None = None) -> None:
        self.name = name
        self.external_address = address
        self.external_addresses = [f"{address}/24"]
        self.asked: list[list[str]] = []
        self._late = dict(late or {})

    def fresh(self, command: str, *addresses: str) -> str:
        if command.startswith("rbops-node counters"):
            return json.dumps({"total": {"received": {"internal": PINGS * len(self.asked)}}, "probes": {}})
        self.asked.append(list(addresses))
        return "".join(self._line(address) for address in addresses)

    def _line(self, address: str) -> str:
        silent = self._late.get(address, 0) > 0
        self._late[address] = self._late.get(address, 0) - 1
        return f"{address} {int(silent)} {PINGS} packets transmitted, {0 if silent else PINGS} received\n"


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_who_does_not_answer_is_asked_once_more(rounds: int) -> None:
    near = Server("n0", "198.18.0.1", {"198.18.1.1": rounds})
    late, other = Server("n1", "198.18.1.1"), Server("n2", "198.18.2.1")
    servers: list[Any] = [near, late, other]
    reach = Reach(cast("list[ServerUnderTest]", servers))
    answers = [reach.answer(servers[0], peer) for peer in servers[1:]]
    assert [answer.good for answer in answers] == [rounds < 2, True]
    assert near.asked == [["198.18.1.1", "198.18.2.1"], *([["198.18.1.1"]] if rounds else [])]
    assert len(late.asked) == len(other.asked) == 1
