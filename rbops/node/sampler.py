"""``rbops-node sflow``: sends what the data plane samples, and its ports' counters, to an sFlow collector."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rbops.dataplane.base import Plane
from rbops.dataplane.sampled import Sample, Sampled, Sampling
from rbops.errors import CheckFailed, Mismatch, Where
from rbops.node import sflow
from rbops.node.matched import Matcher
from rbops.node.schema import SflowConfig
from rbops.node.state import read_running, write_whole
from rbops.node.system import System

__all__ = ["STATUS", "Sender", "agent", "read_status", "switch_off"]

STATUS = Path("/run/rbops-sflow/status.json")
"""What the sender says of itself, for ``rbops-node status``."""

_TURN_S, _STATUS_S, _LOOK_S = 0.1, 1.0, 15.0
_BUSY_TURN_S, _MANY = 0.01, 50
"""Where many samples come they are sent sooner, so that a collector's socket has room for those of one turn."""


def agent(config: SflowConfig, addresses: Sequence[str]) -> str:
    """The address that samples are sent from, the first of the collector's family.

    Mismatch (3) where the server has none.
    """
    wanted = ":" in config.collector
    found = [address for address in addresses if (":" in address) == wanted]
    if not found:
        where = f"in {config.network}" if config.network else "besides those of data ports"
        raise Mismatch(
            f"samples have no address to be sent from to {config.collector}: this server has none {where}",
            code="node.sflow-address",
            where=Where(field="sflow"),
            hint="write the management network as `monitoring: {sflow: {network: PREFIX}}` in the spec",
        )
    return found[0]


def switch_off(plane: Plane) -> None:
    """Sample nothing. Fine where nothing is loaded."""
    wanted = _sampled(plane)
    try:
        wanted.sampling().set_rate(0)
    except Mismatch:
        return


def read_status(path: Path = STATUS) -> dict[str, Any] | None:
    """What a sender that runs says of itself; None where none does."""
    return read_running(path)


def _sampled(plane: Plane) -> Sampled:
    if not isinstance(plane, Sampled):
        raise Mismatch("the data plane samples no frames", code="node.no-sampling", hint="write `dataplane: xdp`")
    return plane


@dataclass(slots=True)
class _Port:
    """What was sent about a port. Counts only grow, also where the data plane has begun anew."""

    interface: int
    speed_bps: int
    samples: int = 0
    polls: int = 0
    pool: int = 0
    drops: int = 0
    last: tuple[int, int] = (0, 0)


class Sender:
    """Sends until the agent's address changes or a signal ends it; systemd starts it again then.

    ``names``: planned port -> device; ``speeds``: planned port -> bps. ``find`` gives the agent's address, ``matcher``
    the routes of sampled packets. CheckFailed (1) where it cannot send from it.
    """

    def __init__(
        self,
        config: SflowConfig,
        speeds: Mapping[str, int],
        names: Mapping[str, str],
        plane: Plane,
        system: System,
        find: Callable[[], str],
        status: Path = STATUS,
        matcher: Matcher | None = None,
    ) -> None:
        self._sflow, self._names, self._plane, self._system = config, names, _sampled(plane), system
        self._counted, self._find, self._status_path = plane.counters, find, status
        self._speeds, self._matcher = speeds, matcher
        self._ports: dict[str, _Port] = {}
        self._sampling: Sampling | None = None
        self._instance: object = None
        self._began = time.monotonic()
        self._next = dict.fromkeys(("poll", "status", "look"), 0.0)
        self.counts = Counts()
        self.agent = find()
        self._socket = _bound(self.agent, self._sflow)

    def run(self, say: Callable[[str], None]) -> None:
        """Send. What is sampled stops with it."""
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
        say(f"samples of one frame in {self._sflow.sampling} from {self.agent} to {self._sflow.collector}")
        try:
            while not (self._due("look", _LOOK_S) and self._find() != self.agent):
                time.sleep(_BUSY_TURN_S if self.turn() >= _MANY else _TURN_S)
            say("the management address has changed")
        except KeyboardInterrupt:
            return
        finally:
            self.close()

    def turn(self) -> int:
        """Send what has come since the last one, and what is due; how many samples there were."""
        came = 0
        sampling = self._current()
        if sampling is not None:
            sampling.set_rate(self._sflow.sampling)
            samples = sampling.take()
            self._renew(sampling)
            self._send([self._flow(sample) for sample in samples])
            came = len(samples)
            self.counts.samples += came
            if self._due("poll", self._sflow.polling_s):
                self._send(self._counters())
        if self._due("status", _STATUS_S):
            write_whole(self._status_path, json.dumps(self.status()).encode())
        return came

    def status(self) -> dict[str, Any]:
        """As it is in the status file."""
        return {
            "schema_version": 1,
            "pid": os.getpid(),
            "agent": self.agent,
            "collector": self._sflow.collector,
            "port": self._sflow.port,
            "sampling": self._sflow.sampling,
            "samples": self.counts.samples,
            "lost": sum(port.drops for port in self._ports.values()),
            "datagrams": self.counts.datagrams,
            "errors": dict(self.counts.errors),
        }

    def close(self) -> None:
        """Sample and send no more."""
        self._socket.close()
        if self._matcher is not None:
            self._matcher.close()
        if self._sampling is not None and self._plane.instance() == self._instance:
            self._sampling.set_rate(0)

    def _current(self) -> Sampling | None:
        """That of the data plane that is loaded now; None while none is."""
        instance = self._plane.instance()
        if self._sampling is None or instance != self._instance:
            try:
                self._sampling, self._instance = self._plane.sampling(), instance
            except Mismatch:
                self._sampling = None
                return None
            # Its frames before this moment were nobody's to sample, or are in the pool already.
            for port in self._sampling.ports():
                self._port(port.name).last = (port.received, port.lost)
        return self._sampling

    def _renew(self, sampling: Sampling) -> None:
        for port in sampling.ports():
            kept = self._port(port.name)
            received, lost = kept.last
            kept.pool += port.received - received
            kept.drops += port.lost - lost
            kept.last = (port.received, port.lost)

    def _port(self, name: str) -> _Port:
        if name not in self._ports:
            index = self._system.read(f"/sys/class/net/{self._names[name]}/ifindex")
            self._ports[name] = _Port(int(index or 0), self._speeds[name])
        return self._ports[name]

    def _flow(self, sample: Sample) -> bytes:
        port = self._port(sample.port)
        port.samples += 1
        router = None if self._matcher is None else self._matcher.router(sample.header)
        counts = (port.interface, port.samples, sample.rate, port.pool, port.drops)
        return sflow.flow_sample(sflow.FlowSample(*counts, sample.size, sample.header, router))

    def _counters(self) -> list[bytes]:
        """Of all ports, those of internal cables too."""
        found = []
        for name, counted in self._counted()["ports"].items():
            port = self._port(name)
            port.polls += 1
            counters = sflow.Counters(
                port.interface,
                port.polls,
                port.speed_bps,
                self._up(name),
                counted["rx_bytes"],
                counted["rx_packets"],
                counted["tx_bytes"],
                counted["tx_packets"],
            )
            found.append(sflow.counter_sample(counters))
        return found

    def _up(self, name: str) -> tuple[bool, bool]:
        """(administratively, by its carrier); IFF_UP is the lowest of the flags."""
        folder = f"/sys/class/net/{self._names[name]}"
        flags, carrier = self._system.read(f"{folder}/flags"), self._system.read(f"{folder}/carrier")
        return bool(int(flags or "0", 16) & 1), carrier == "1"

    def _send(self, samples: Sequence[bytes]) -> None:
        """Datagrams that cannot be sent are lost, as others on their way are; numbers tell the collector."""
        uptime = int((time.monotonic() - self._began) * 1000)
        for datagram in sflow.datagrams(self.agent, self.counts.datagrams + 1, uptime, samples):
            self.counts.datagrams += 1
            try:
                self._socket.send(datagram)
            except OSError as error:  # no route, or nobody listens: the collector may come later
                reason = error.strerror or "unknown"
                self.counts.errors[reason] = self.counts.errors.get(reason, 0) + 1

    def _due(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now < self._next[what]:
            return False
        self._next[what] = now + every_s
        return True


@dataclass(slots=True)
class Counts:
    """What was sent since the start; ``errors``: datagrams that were not, by the kernel's reason."""

    samples: int = 0
    datagrams: int = 0
    errors: dict[str, int] = field(default_factory=dict)


def _bound(address: str, config: SflowConfig) -> socket.socket:
    """From the management address alone: the kernel's choice could be one of the router's."""
    made = socket.socket(
        socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    )
    try:
        made.bind((address, 0))
        made.connect((config.collector, config.port))
    except OSError as error:
        made.close()
        raise CheckFailed(
            f"cannot send from {address} to {config.collector}: {error.strerror or error}",
            code="node.sflow-send",
            hint=f"the collector must be reached by the management network: `ip route get {config.collector}`",
        ) from error
    return made
