"""Interrupt coalescing (``ethtool -C``): adaptive modes, microseconds, frames."""

from __future__ import annotations

import re

from rbops.node.schema import NodePort
from rbops.node.settings import Run, Setting
from rbops.node.system import System
from rbops.node.tool import ask

__all__ = ["parse", "read", "settings"]

_ADAPTIVE = re.compile(r"Adaptive RX:\s*(\S+)\s+TX:\s*(\S+)")
# ethtool prints two names otherwise than -C takes them.
_WRITTEN = {f"{way}-frame-{edge}": f"{way}-frames-{edge}" for way in ("rx", "tx") for edge in ("low", "high")}


def read(system: System, device: str) -> dict[str, str] | None:
    """Parameter -> value (``on``/``off`` or a number); None when the driver has no coalescing."""
    text = ask(system, "-c", device)
    return None if text is None else parse(text)


def parse(text: str) -> dict[str, str]:
    """Facts from the text of ``ethtool -c``; what is ``n/a`` is left out."""
    facts: dict[str, str] = {}
    adaptive = _ADAPTIVE.search(text)
    if adaptive:
        facts = {"adaptive-rx": adaptive[1], "adaptive-tx": adaptive[2]}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if value.strip().isdigit():
            facts[key.strip()] = value.strip()
    return {_WRITTEN.get(key, key): value for key, value in facts.items() if value != "n/a"}


def settings(port: NodePort, device: str, facts: dict[str, str] | None) -> list[Setting]:
    """One setting a planned parameter, the adaptive modes first: they override the numbers."""
    found = []
    planned = port.nic.coalesce or {}
    for key in sorted(planned, key=lambda key: (not key.startswith("adaptive"), key)):
        value = planned[key]
        want = ("on" if value else "off") if isinstance(value, bool) else str(value)
        have = (facts or {}).get(key)
        name = f"coalesce {key}"
        # A driver without the adaptive mode has it off.
        if have is None and want == "off":
            found.append(Setting(port.subject, name, want, want))
        elif have is None:
            reason = f"driver {port.driver} has no {key}"
            found.append(Setting(port.subject, name, "none", want, unsupported=reason))
        else:
            actions = (Run(("ethtool", "-C", device, key, want)),)
            undo = (Run(("ethtool", "-C", device, key, have)),)
            found.append(Setting(port.subject, name, have, want, actions, undo, tuning=True))
    return found
