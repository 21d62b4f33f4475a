"""Questions to the ``ethtool`` program, and what its answers say of settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rbops.errors import CheckFailed, Where
from rbops.node.system import System, unsupported

__all__ = ["Fact", "ask", "facts", "first_context", "sections"]

_ASKED = re.compile(r"\[requested (on|off)\]")
_ADAPTIVE = re.compile(r"Adaptive RX:\s*(\S+)\s+TX:\s*(\S+)")
_KEY = re.compile(r"^RSS hash key:\s*\n\s*([0-9a-f]{2}(?::[0-9a-f]{2})+)\s*$", re.MULTILINE | re.IGNORECASE)
# ethtool prints two names otherwise than -C takes them.
_WRITTEN = {f"{way}-frame-{edge}": f"{way}-frames-{edge}" for way in ("rx", "tx") for edge in ("low", "high")}
# The short names that ethtool -K takes, as ethtool -k prints them.
_SHORT = {
    "generic-receive-offload": "gro",
    "generic-segmentation-offload": "gso",
    "large-receive-offload": "lro",
    "tcp-segmentation-offload": "tso",
    "rx-checksumming": "rx",
    "receive-hashing": "rxhash",
    "rx-vlan-offload": "rxvlan",
    "scatter-gather": "sg",
    "tx-checksumming": "tx",
    "tx-vlan-offload": "txvlan",
    "ntuple-filters": "ntuple",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """What a device says of a setting: its value, the most it can be (None: it does not say), whether it is fixed.

    ``asked``: what it was asked for where it cannot have that now, as a veth has no TSO while its far end has XDP.
    """

    have: str
    most: int | None = None
    fixed: bool = False
    asked: str | None = None

    @property
    def own(self) -> str:
        """What it comes back to once nobody forbids it."""
        return self.asked or self.have


def ask(system: System, flag: str, device: str) -> str | None:
    """The answer to ``ethtool FLAG DEVICE``; None when the driver has no such operation."""
    done = system.run(("ethtool", flag, device))
    if done.returncode == 0:
        return done.stdout
    if unsupported(done):
        return None
    raise CheckFailed(
        f"ethtool {flag}: {done.stderr.strip() or f'exit {done.returncode}'}",
        code="nic.ethtool",
        where=Where(device=device),
    )


def facts(system: System, option: str, device: str) -> Mapping[str, Fact]:
    """What ``ethtool OPTION DEVICE`` says, by the names that the option for setting takes; empty: no such operation."""
    text = ask(system, option, device)
    return {} if text is None else _READERS[option](text)


def sections(text: str) -> tuple[dict[str, int], dict[str, int]]:
    """``-l`` and ``-g``: (maximums, current) as name -> number; without what is ``n/a``."""
    parts: tuple[dict[str, int], dict[str, int]] = ({}, {})
    part = parts[0]
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.startswith("Pre-set"):
            part = parts[0]
        elif key.startswith("Current"):
            part = parts[1]
        elif value.strip().isdigit():
            part[key.strip().lower()] = int(value)
    return parts


def first_context(text: str) -> str:
    """The part of ``-x`` that is about all of the device: further RSS contexts are below it."""
    return re.split(r"^RX flow hash indirection table .*, context \d+:$", text, maxsplit=1, flags=re.MULTILINE)[0]


def _rings(text: str) -> dict[str, Fact]:
    most, now = sections(text)
    return {kind: Fact(str(count), most.get(kind)) for kind, count in now.items()}


def _coalescing(text: str) -> dict[str, Fact]:
    """Without what is ``n/a``."""
    found: dict[str, str] = {}
    adaptive = _ADAPTIVE.search(text)
    if adaptive:
        found = {"adaptive-rx": adaptive[1], "adaptive-tx": adaptive[2]}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if value.strip().isdigit():
            found[key.strip()] = value.strip()
    return {_WRITTEN.get(key, key): Fact(value) for key, value in found.items() if value != "n/a"}


def _features(text: str) -> dict[str, Fact]:
    found = {}
    for line in text.splitlines():
        key, _, value = line.strip().partition(": ")
        word = value.split(" ")[0]
        if word in ("on", "off"):
            asked = _ASKED.search(value)
            found[_SHORT.get(key, key)] = Fact(word, fixed="[fixed]" in value, asked=asked[1] if asked else None)
    return found


def _hash(text: str) -> dict[str, Fact]:
    key = _KEY.search(first_context(text))
    return {"hkey": Fact(key[1].lower())} if key else {}


_READERS: Mapping[str, Callable[[str], Mapping[str, Fact]]] = {
    "-g": _rings,
    "-c": _coalescing,
    "-k": _features,
    "-x": _hash,
}
