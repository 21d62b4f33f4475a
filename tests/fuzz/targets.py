"""What is fuzzed: readers of what others write. Each target takes any bytes and may only fail as the reader says.

A target lets through what is no ``RbopsError``: that is a bug. Seeds are made from the tests' own inputs.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rbops.capture import read_capture
from rbops.click import ClickText, bundled, check, fragment_of
from rbops.errors import RbopsError
from rbops.hardware.facts import describe
from rbops.node import gather, netlink, queues
from rbops.node.facts import from_json, to_json
from rbops.node.schema import parse
from rbops.node.system import Done
from rbops.selftest.agent import Agent, _answer
from rbops.selftest.device import TesterDevice
from rbops.selftest.tester import read_answer
from rbops.spec.load import load_bytes
from rbops.spec.routefile import read_route_file
from rbops.vlb.replay import packets_of
from tests.discover import machines
from tests.node.recorded import BASE, external, internal
from tests.support.captures import pcap_head, pcap_record

__all__ = ["TARGETS", "Target"]

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent


@dataclass(frozen=True)
class Target:
    """``run`` takes any bytes; ``seeds`` are inputs that it takes well."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


@cache
def folder() -> Path:
    """A folder in memory where there is one, for readers that take files; the fuzzer names its own."""
    given = os.environ.get("RBOPS_FUZZ_FOLDER")
    if given:
        return Path(given)
    shared = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="rbops-fuzz-", dir=shared if shared.is_dir() else None))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def spec(data: bytes) -> None:
    """A spec, and after a zero octet its route file. A spec may name files, but none that never end."""
    text, _, rows = data.partition(b"\0")
    text = text.replace(b"/dev", b"dev").replace(b"/proc", b"proc").replace(b"/sys", b"sys").replace(b"..", b"")
    with suppress(RbopsError):
        load_bytes(text, folder() / "router.yml", {})
    if rows:
        (folder() / "routes.csv").write_bytes(rows)
        with suppress(RbopsError):
            read_route_file(folder() / "routes.csv", None)


def spec_seeds() -> list[bytes]:
    files = [*(ROOT / "rbops/spec/presets").glob("*.yml"), *(TESTS / "spec/errors").glob("*.yml")]
    rows = [path.read_bytes() for path in (TESTS / "spec/errors/files").glob("*.csv")]
    found = [path.read_bytes() for path in sorted(files)]
    return [text for text in found if len(text) < 4000] + [b"\0" + text for text in rows]


TABLE = bundled()


def click(data: bytes) -> None:
    """A Click configuration, and the same as an element of a router."""
    text = ClickText("x.click", data.decode("utf-8", "surrogateescape"))
    report = check(text, TABLE)
    for item in (*report.errors, *report.notes):
        item.render()
    with suppress(RbopsError):
        fragment_of(text, TABLE)


def click_seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted((TESTS / "click").glob("*/*.click"))]


@dataclass
class Changed:
    """A recorded machine some of whose texts are others."""

    machine: machines.FakeRoot
    texts: Mapping[str, str]

    def run(self, argv: tuple[str, ...], stdin: str = "") -> Done:
        done = self.machine.run(argv, stdin)
        text = self.texts.get(" ".join(argv))
        return done if text is None else Done(0, text, "")

    def read(self, path: str) -> str | None:
        text = self.texts.get(path)
        return remembered("read", path) if text is None else text.strip()

    def names(self, path: str) -> list[str]:
        return list(remembered("names", path))

    def real(self, path: str) -> str:
        return str(remembered("real", path))

    def driver(self, device: str) -> str | None:
        return self.machine.driver(device)


@cache
def remembered(what: str, path: str) -> Any:
    """What the recorded machine has at a path, looked up once."""
    return getattr(machine()[0], what)(path)


@cache
def machine() -> tuple[machines.FakeRoot, tuple[str, ...]]:
    """The recorded machine, and what can be changed of it: its files and the answers of its commands."""
    made = machines.intel(folder() / "machine")
    files = sorted(path for path in made.root.rglob("*") if path.is_file() and not path.is_symlink())
    return made, (*sorted(made.answers), *(f"/{path.relative_to(made.root)}" for path in files))


def facts(data: bytes) -> None:
    """Pieces between zero octets: the number of a text of the machine (two octets), and what it is instead."""
    made, names = machine()
    texts = {}
    for piece in data.split(b"\0"):
        if len(piece) > 2:
            number = int.from_bytes(piece[:2], "big") % len(names)
            texts[names[number]] = piece[2:].decode("utf-8", "replace")
    with suppress(RbopsError):
        found = gather.gather(Changed(made, texts), {})  # type: ignore[arg-type]
        describe("n0", from_json(json.loads(json.dumps(to_json(found)))))
    text = data.decode("utf-8", "replace")
    queues.packets(text)
    queues.per_cpu(text)


def facts_seeds() -> list[bytes]:
    made, names = machine()
    found = []
    for number, name in enumerate(names):
        text = made.answers.get(name) or made.read(name) or ""
        if len(text) < 2000 and 0 not in number.to_bytes(2, "big"):
            found.append(number.to_bytes(2, "big") + text.encode())
    return found[:: max(1, len(found) // 40)]


def messages(data: bytes) -> None:
    """Answers of the kernel over netlink."""
    with suppress(RbopsError):
        netlink.parse_routes(data)
    with suppress(RbopsError):
        for _, start, end in netlink.messages(data):
            dict(netlink.attributes(data, start, end))
    netlink._last(data)


def messages_seeds() -> list[bytes]:
    def message(kind: int, *attributes: tuple[int, bytes]) -> bytes:
        body = struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 82, 82, 0, 1, 4)
        body += b"".join(struct.pack("=HH", 4 + len(value), number) + value for number, value in attributes)
        return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 7) + body

    table, to = (15, struct.pack("=I", 82)), (1, bytes([203, 0, 113, 0]))
    route = message(24, table, to, (5, bytes([198, 18, 3, 2])), (4, struct.pack("=I", 3)), (6, struct.pack("=I", 20)))
    return [route, route + route + struct.pack("=IHHIIi", 20, 3, 2, 1, 7, 0), message(16, (3, b"eth0\0\0\0\0"))]


def captures(data: bytes) -> None:
    """A capture, as predict and as simulate read it."""
    path = folder() / "x.pcap"
    path.write_bytes(data)
    with suppress(RbopsError):
        found = read_capture(path)
        assert len(found.size) < 1_000_000
        packets_of(found, "x")


def captures_seeds() -> list[bytes]:
    ip = bytes([0x45, 0, 0, 32]) + bytes(5) + bytes([6, 0, 0]) + bytes([10, 0, 0, 1, 10, 0, 0, 2]) + bytes(24)
    frame = bytes(12) + b"\x08\x00" + ip
    tagged = bytes(12) + b"\x81\x00\x00\x07\x08\x00" + ip
    classic = pcap_head() + pcap_record(frame) + pcap_record(tagged, 20_000) + pcap_record(frame[:20], 60)

    def block(kind: int, body: bytes) -> bytes:
        padded = body + bytes(-len(body) % 4)
        return struct.pack("<II", kind, len(padded) + 12) + padded + struct.pack("<I", len(padded) + 12)

    section = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = block(1, struct.pack("<HHI", 1, 0, 96) + struct.pack("<HHBxxx", 9, 1, 6))
    packet = block(6, struct.pack("<IIIII", 0, 1, 5, len(frame), 60) + frame)
    simple = block(3, struct.pack("<I", len(frame)) + frame)
    return [classic, pcap_head(">", 0xA1B23C4D, 0x44000001), section + interface + packet + simple]


class StubAgent(Agent):
    """An agent whose programs only take their arguments."""

    def __init__(self) -> None:
        super().__init__(TesterDevice("ext0", 2, "02:00:00:00:00:01", 1500, 1))
        self._sink = self._generator = Program()  # type: ignore[assignment]

    def pin(self, cpu: int) -> dict[str, Any]:
        return {"cpu": 0 + cpu}

    def resolve(self, address: str, own: str, wait_s: float) -> dict[str, Any]:
        return {"mac": f"{address.encode().hex()} {own} {wait_s + 0.0}"}

    def attach(self, testers: int, flows: int, words: int) -> dict[str, Any]:
        return {"room": testers * flows + words}


class Program:
    def expect(self, *arguments: object) -> None:
        del arguments

    def prepare(self, *arguments: object) -> None:
        del arguments

    def frames(self) -> int:
        return 0


def agent(data: bytes) -> None:
    """A request to a tester's agent, and an answer of it."""
    text = data.decode("utf-8", "replace")
    for line in text.splitlines():
        answer = _answer(StubAgent(), line)
        assert set(answer) in ({"ok"}, {"error"})
        json.dumps(answer)
    for line in data.splitlines():
        with suppress(RbopsError):
            read_answer(line, 0)


def agent_seeds() -> list[bytes]:
    epoch = {"magic": 7, "keys": [1, 2], "length": 60, "flows": 8}
    requests: list[dict[str, object]] = [
        {"op": "hello"},
        {"op": "pin", "cpu": 1},
        {"op": "resolve", "address": "198.18.0.1", "own": "198.18.0.2", "wait_s": 0.5},
        {"op": "attach", "testers": 4, "flows": 8, "words": 2},
        {"op": "expect", "epoch": epoch, "own": 1, "words": 2, "entries": {"0": "AAAA"}, "sources": ["02:4e::"]},
        {"op": "prepare", "epoch": epoch, "source": 1, "entries": "AAAA", "active": 4, "burst": 32},
        {"op": "frames"},
    ]
    where = {"server": None, "file": None, "line": 1, "column": None, "device": "ext0", "field": None}
    error = {"exit_code": 1, "message": "no", "code": "tester.timeout", "where": where, "hint": None}
    answers: list[dict[str, object]] = [{"ok": {"frames": 3}}, {"error": error}]
    return [json.dumps(value).encode() for value in (*requests, *answers)]


def node(data: bytes) -> None:
    """A server's node.json."""
    with suppress(RbopsError):
        made = parse(data.decode("utf-8", "replace"), Path("/etc/rbops/node.json"))
        assert parse(made.to_text(), Path("/etc/rbops/node.json")) == made


def node_seeds() -> list[bytes]:
    small = {**BASE, "ports": [external(), internal()]}
    golden = [path.read_bytes() for path in (TESTS / "render/golden").glob("n*.json")]
    return [json.dumps(small).encode(), *(text for text in golden if len(text) < 30_000)]


def _targets() -> Iterator[tuple[str, Target]]:
    yield "spec", Target(spec, spec_seeds)
    yield "click", Target(click, click_seeds)
    yield "facts", Target(facts, facts_seeds)
    yield "netlink", Target(messages, messages_seeds)
    yield "capture", Target(captures, captures_seeds)
    yield "agent", Target(agent, agent_seeds)
    yield "node", Target(node, node_seeds)


TARGETS = dict(_targets())
