"""Who reaches whom: each server's pings and routes to all others in one command, the data planes' counters around them.

A command for each pair would be one for every server and every other: 240 of each kind with 16 servers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rbops.verify.host import ServerUnderTest

__all__ = ["PINGS", "Answer", "Reach"]

PINGS = 3

_AT_ONCE = 16
_COUNTERS = "rbops-node counters --json"
# A line for each address: address, exit code, what ping says of how many were received.
_PING = """\
printf '%%s\\n' {places} | xargs -P 8 -n 1 sh -c 'said=$(ping -n -q -i 0.01 -W {wait} -c {count} "$0" 2>&1); code=$?
printf "%%s %%s %%s\\n" "$0" "$code" "$(echo "$said" | grep received || echo "$said" | tail -n 1)"' || true"""
_ROUTES = "for address in {}; do printf '%%s ' $address; ip -j route get $address | tr -d '\\n'; echo; done"

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one server's pings to another: whether all were answered, and ping's words."""

    good: bool
    said: str


class Reach:
    """Between the servers of one verification; measured when it is first asked for."""

    def __init__(self, servers: Sequence[ServerUnderTest]) -> None:
        self._servers = servers
        self._pings: Mapping[str, Mapping[str, Answer] | AssertionError] | None = None
        self._before: Mapping[str, dict[str, Any] | AssertionError] = {}
        self._after: Mapping[str, dict[str, Any] | AssertionError] = {}
        self._routes: Mapping[str, Mapping[str, Any] | AssertionError] | None = None

    def answer(self, server: ServerUnderTest, peer: ServerUnderTest) -> Answer:
        """What came of the pings. AssertionError when the server could not be asked."""
        found = _given(self._all_pings(), server.name)
        return found.get(peer.external_address, Answer(good=False, said="ping was not run"))

    def counted(self, peer: ServerUnderTest) -> tuple[int, int]:
        """How many packets its data plane received over the fabric meanwhile, and how many of the pings at least."""
        pings = self._all_pings()
        answers = [
            found.get(peer.external_address) for found in pings.values() if not isinstance(found, AssertionError)
        ]
        before, after = (_received(_given(counters, peer.name)) for counters in (self._before, self._after))
        return after - before, PINGS * sum(1 for answer in answers if answer and answer.good)

    def silent(self, server: ServerUnderTest) -> frozenset[str]:
        """Its internal ports whose far ends' data planes answered once and do not answer now."""
        self._all_pings()
        cables: Mapping[str, Any] = _given(self._after, server.name).get("probes") or {}
        return frozenset(port for port, cable in cables.items() if cable["state"] == "dead")

    def device(self, server: ServerUnderTest, peer: ServerUnderTest) -> str:
        """The device by which a server's kernel sends to another one."""
        if self._routes is None:
            self._routes = self._on_all(self._routes_of)
        route = _given(self._routes, server.name).get(peer.external_address)
        return str(route[0]["dev"]) if route else "no route at all"

    def _all_pings(self) -> Mapping[str, Mapping[str, Answer] | AssertionError]:
        if self._pings is None:
            self._before = self._on_all(_counters)
            self._pings = self._on_all(self._ping)
            self._after = self._on_all(_counters)
        return self._pings

    def _others(self, server: ServerUnderTest) -> list[str]:
        peers = (peer for peer in self._servers if peer is not server and peer.external_addresses)
        return [peer.external_address for peer in peers]

    def _ping(self, server: ServerUnderTest) -> dict[str, Answer]:
        """Who did not answer is asked once more: where all servers share two processors, hundreds at once take long."""
        found = _pinged(server, self._others(server), wait=1)
        silent = [address for address, answer in found.items() if not answer.good]
        return found | _pinged(server, silent, wait=3)

    def _routes_of(self, server: ServerUnderTest) -> dict[str, Any]:
        addresses = self._others(server)
        text = server.output(_ROUTES.format(_places(addresses)), *addresses) if addresses else ""
        lines = (line.split(" ", 1) for line in text.splitlines())
        # Fails, with a message instead of JSON, where the kernel has no route at all.
        return {address: json.loads(route or "null") for address, route in lines}

    def _on_all(self, ask: Callable[[ServerUnderTest], _Result]) -> dict[str, _Result | AssertionError]:
        def attempt(server: ServerUnderTest) -> _Result | AssertionError:
            try:
                return ask(server)
            except AssertionError as error:
                return error

        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            return dict(zip((server.name for server in self._servers), pool.map(attempt, self._servers), strict=True))


def _pinged(server: ServerUnderTest, addresses: Sequence[str], *, wait: int) -> dict[str, Answer]:
    """What came of the pings to some addresses, with ``wait`` seconds for the last answer."""
    if not addresses:
        return {}
    command = _PING.format(places=_places(addresses), wait=wait, count=PINGS)
    lines = (line.split(" ", 2) for line in server.fresh(command, *addresses).splitlines())
    return {words[0]: Answer(words[1] == "0", words[2]) for words in lines}


def _places(addresses: Sequence[str]) -> str:
    return " ".join("%s" for _ in addresses)


def _counters(server: ServerUnderTest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(server.fresh(_COUNTERS))
    return found


def _received(counters: Mapping[str, Any]) -> int:
    return int(counters["total"]["received"]["internal"])


def _given(found: Mapping[str, _Result | AssertionError], name: str) -> _Result:
    result = found[name]
    if not isinstance(result, AssertionError):
        return result
    raise AssertionError(str(result)) from result
