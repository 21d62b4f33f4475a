"""The process inside a tester's namespace: generator and sink, controlled by JSON lines over stdio.

    python -m rbops.selftest.agent --device ext0 [--netns NAME] --lifetime SECONDS [--parent PID]

One request a line, one answer a line: ``{"op": NAME, ...}`` -> ``{"ok": {...}}`` or ``{"error": text,
"kind": class}``. It ends when its standard input does, also in the middle of a request, when its parent dies, and at
the end of its lifetime whatever happens; its attachments are file descriptors, so they end with it, also when it is
killed.

Standard library only, and no import that takes long: there is one such process for every external port, also on other
machines (:mod:`rbops.selftest.travel`).
"""

from __future__ import annotations

import argparse
import base64
import ctypes
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rbops.errors import CheckFailed, RbopsError, UsageError
from rbops.resources import bpf_object
from rbops.selftest import floor
from rbops.selftest.device import TesterDevice, enter_namespace, resolve
from rbops.selftest.discovery import discover
from rbops.selftest.iperf import Iperf, counters
from rbops.selftest.programs import Generator, Sink
from rbops.selftest.raw import Raw
from rbops.selftest.wire import Epoch

__all__ = ["Agent", "main"]

_PR_SET_PDEATHSIG = 1
_UNLIMITED = 1 << 62
_LAST_WORDS_S = 1.0


class Agent:
    """What the requests act on; ``attach`` comes before ``expect``, ``prepare``, ``send`` and ``collect``."""

    def __init__(self, device: TesterDevice) -> None:
        self._device = device
        self._sink: Sink | None = None
        self._generator: Generator | None = None
        self._iperf = Iperf()
        self._raw = Raw(device)

    @property
    def operations(self) -> Mapping[str, Callable[..., dict[str, Any]]]:
        """The requests by name; their other members are keyword arguments."""
        return {
            "attach": self.attach,
            "collect": self.collect,
            "expect": self.expect,
            "floor": self.floor,
            "frames": self.frames,
            "frames_in": self.frames_in,
            "frames_out": self.frames_out,
            "hello": self.hello,
            "listen": self.listen,
            "pin": self.pin,
            "prepare": self.prepare,
            "resolve": self.resolve,
            "rest": self.rest,
            "send": self.send,
            "stamps": self.stamps,
            "tcp_counters": self.tcp_counters,
            "tcp_end": self.tcp_end,
            "tcp_listen": self.tcp_listen,
            "tcp_send": self.tcp_send,
        }

    def hello(self) -> dict[str, Any]:
        """The device's facts, the CPUs to choose from, and which boot's clock the times are by."""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return {**asdict(self._device), "cpus": sorted(os.sched_getaffinity(0)), "boot": boot}

    def pin(self, cpu: int) -> dict[str, Any]:
        """Stay on one core: veth's ring, and the router's queue behind it, follow the sender's."""
        os.sched_setaffinity(0, {cpu})
        return {}

    def resolve(self, address: str, own: str, wait_s: float) -> dict[str, Any]:
        """The MAC of the router's address on this wire, null without an answer."""
        find = discover if ":" in address else resolve
        return {"mac": find(self._device, address, own, wait_s)}

    def attach(self, testers: int, flows: int, words: int) -> dict[str, Any]:
        """Load generator and sink with room for so many flows a pair and words of bitmap; attach the sink.

        Whether both work in the driver: otherwise packets pass the kernel's stack, which takes far fewer.
        """
        self._sink = Sink(
            bpf_object("selftest", "sink.bpf.o"), self._device, testers=testers, entries=testers * flows, words=words
        )
        self._generator = Generator(
            bpf_object("selftest", "gen.bpf.o"), self._device, testers * flows, native=self._sink.native
        )
        return {"native": self._sink.native}

    def expect(
        self, epoch: dict[str, Any], own: int, words: int, entries: dict[str, str], sources: list[str]
    ) -> dict[str, Any]:
        """Start an epoch at the sink; ``entries`` by source."""
        packed = {int(source): base64.b64decode(text) for source, text in entries.items()}
        self._ready_sink().expect(_epoch(epoch), own, words, packed, sources)
        return {}

    def prepare(
        self,
        epoch: dict[str, Any],
        source: int,
        entries: str,
        active: int,
        burst: int,
        schedule: str = "",
        order: str = "",
    ) -> dict[str, Any]:
        """Start an epoch at the generator; ``schedule`` are the lengths of frames in turn, if they differ,
        ``order`` the frames one by one, where turns are not what is sent.
        """
        packed, lengths = base64.b64decode(entries), base64.b64decode(schedule)
        steps = base64.b64decode(order)
        self._ready_generator().prepare(_epoch(epoch), source, packed, active, burst, lengths, steps)
        return {}

    def send(
        self, frames: int | None, seconds: float, pps: float | None, chunk: int, *, timed: bool = False
    ) -> dict[str, Any]:
        """Send, and come back when it is done."""
        count = _UNLIMITED if frames is None else frames
        return asdict(self._ready_generator().send(count, seconds=seconds, pps=pps, chunk=chunk, timed=timed))

    def frames(self) -> dict[str, Any]:
        """How many test frames have arrived so far."""
        return {"frames": self._ready_sink().frames()}

    def collect(self) -> dict[str, Any]:
        """What the sink found in this epoch."""
        found = self._ready_sink().reception()
        since_1970 = time.time_ns() - time.monotonic_ns()
        return {
            "delivered": found.delivered,
            "faults": found.faults,
            "misdelivered": [[*pair, count] for pair, count in sorted(found.misdelivered.items())],
            "samples": {int(kind): frame.hex() for kind, (_, frame) in found.samples.items()},
            "sampled_ns": {int(kind): at + since_1970 for kind, (at, _) in found.samples.items()},
            "lateness": found.lateness,
            "stale": found.stale,
            "passed": found.passed,
            "lengths": found.lengths,
            "lengths_sent": self._ready_generator().lengths(),
        }

    def floor(self, length: int, seconds: float, pps: float, chunk: int, schedule: str = "") -> dict[str, Any]:
        """The stamps of packets sent over a cable without a router, as for ``stamps``."""
        try:
            sent, received = floor.measure(length, seconds, pps, chunk, base64.b64decode(schedule))
        except subprocess.CalledProcessError as error:
            raise CheckFailed(f"no cable for the testers alone: {error.stderr!r}", code="tester.floor") from error
        return {"sent": base64.b64encode(sent).decode(), "received": base64.b64encode(received).decode()}

    def stamps(self, sent: int, received: int) -> dict[str, Any]:
        """The times at generator and sink, so many of each, base64 of 64-bit little-endian nanoseconds."""
        return {
            "sent": base64.b64encode(self._ready_generator().stamps(sent)).decode(),
            "received": base64.b64encode(self._ready_sink().stamps(received)).decode(),
        }

    def listen(self) -> dict[str, Any]:
        """Hear frames for :meth:`frames_in` from now on."""
        if self._sink is not None:
            self._sink.rest()
        self._raw.listen()
        return {}

    def frames_out(self, frames: list[str], pps: float) -> dict[str, Any]:
        """Send whole frames, in hex digits, at a low rate, packets a second."""
        return {"taken": self._raw.send((bytes.fromhex(frame) for frame in frames), pps)}

    def frames_in(self, mark: str) -> dict[str, Any]:
        """What was heard since the last time: ESP, and frames with these hex digits in them."""
        return {"frames": [frame.hex() for frame in self._raw.heard(bytes.fromhex(mark))]}

    def rest(self) -> dict[str, Any]:
        """Hear no more."""
        self._raw.rest()
        return {}

    def tcp_listen(self, address: str, port: int) -> dict[str, Any]:
        """Be ready for one test by iperf3."""
        self._ready_sink().rest()
        self._iperf.listen(address, port)
        return {}

    def tcp_send(self, **arguments: Any) -> dict[str, Any]:
        """One test by iperf3, see :meth:`Iperf.send`."""
        self._ready_sink().rest()
        return self._iperf.send(**arguments)

    def tcp_end(self) -> dict[str, Any]:
        """Be ready no more."""
        self._iperf.end()
        return {}

    def tcp_counters(self) -> dict[str, Any]:
        """The TCP counters of the namespace's kernel."""
        return counters()

    def _ready_sink(self) -> Sink:
        if self._sink is None:
            raise RbopsError("the tester was not attached", code="tester.not-attached")
        return self._sink

    def _ready_generator(self) -> Generator:
        if self._generator is None:
            raise RbopsError("the tester was not attached", code="tester.not-attached")
        return self._generator


def _epoch(value: dict[str, Any]) -> Epoch:
    return Epoch(
        value["magic"],
        (value["keys"][0], value["keys"][1]),
        value["length"],
        value["flows"],
        value.get("shift", 0),
        value.get("room", 0),
        value.get("family", 4),
        value.get("mixed", False),
    )


def _answer(agent: Agent, line: str) -> dict[str, Any]:
    try:
        operation, arguments = _request(agent, line)
        return {"ok": operation(**arguments)}
    except (RbopsError, OSError) as error:
        return {"error": _as_json(error)}
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
        # Arguments of other types than the operation takes.
        return {"error": _as_json(UsageError(f"{error!r}", code="tester.argument"))}


def _request(agent: Agent, line: str) -> tuple[Callable[..., dict[str, Any]], dict[str, Any]]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the request is not JSON: {error}", code="tester.request") from error
    name = request.pop("op", None) if isinstance(request, dict) else None
    if not isinstance(name, str) or name not in agent.operations:
        raise UsageError(f"{name!r} is no operation of a tester", code="tester.request")
    return agent.operations[name], request


def _as_json(error: RbopsError | OSError) -> dict[str, object]:
    if isinstance(error, PermissionError):
        error = UsageError(str(error), code="tester.permission")
    elif isinstance(error, OSError):
        error = CheckFailed(str(error), code="tester.system-call")
    return error.to_json()


def _bound(lifetime_s: float, parent: int | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the controller's to act on
    signal.setitimer(signal.ITIMER_REAL, lifetime_s)  # SIGALRM ends the process
    threading.Thread(target=_end_with_input, daemon=True).start()
    if parent is None:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the signal was set
        os.kill(os.getpid(), signal.SIGKILL)


def _end_with_input() -> None:
    """Do not go on sending when nobody is there for the answer any more."""
    waiting = select.poll()
    waiting.register(0, select.POLLRDHUP)
    waiting.poll()
    time.sleep(_LAST_WORDS_S)
    os._exit(1)


def main(arguments: list[str] | None = None) -> int:
    """Serve requests until standard input ends."""
    parser = argparse.ArgumentParser(prog="rbops.selftest.agent")
    parser.add_argument("--device", required=True)
    parser.add_argument("--netns")
    parser.add_argument("--lifetime", type=float, required=True)
    parser.add_argument("--parent", type=int)
    options = parser.parse_args(arguments)
    _bound(options.lifetime, options.parent)
    try:
        if options.netns:
            enter_namespace(options.netns)
        agent = Agent(TesterDevice.named(options.device))
    except (RbopsError, OSError) as error:
        sys.stdout.write(json.dumps({"error": _as_json(error)}) + "\n")
        return 1
    sys.stdout.write('{"ok": {}}\n')
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_answer(agent, line)) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
