"""Offloads (``ethtool -K``): what the data plane needs on or off."""

from __future__ import annotations

from dataclasses import dataclass

from rbops.node.schema import NodePort
from rbops.node.settings import Run, Setting
from rbops.node.system import System
from rbops.node.tool import ask

__all__ = ["Feature", "is_on", "parse", "read", "settings"]

# The short names that ethtool -K takes, as ethtool -k prints them.
_LONG = {
    "gro": "generic-receive-offload",
    "gso": "generic-segmentation-offload",
    "lro": "large-receive-offload",
    "tso": "tcp-segmentation-offload",
    "rx": "rx-checksumming",
    "rxhash": "receive-hashing",
    "rxvlan": "rx-vlan-offload",
    "sg": "scatter-gather",
    "tx": "tx-checksumming",
    "txvlan": "tx-vlan-offload",
    "ntuple": "ntuple-filters",
}


@dataclass(frozen=True, slots=True)
class Feature:
    """Whether a feature is on, and whether the driver lets it be changed."""

    on: bool
    fixed: bool


def read(system: System, device: str) -> dict[str, Feature]:
    """Feature -> state, by ethtool's long names."""
    return parse(ask(system, "-k", device) or "")


def parse(text: str) -> dict[str, Feature]:
    """Facts from the text of ``ethtool -k``."""
    facts = {}
    for line in text.splitlines():
        key, _, value = line.strip().partition(": ")
        if value.split(" ")[0] in ("on", "off"):
            facts[key] = Feature(on=value.startswith("on"), fixed="[fixed]" in value)
    return facts


def is_on(facts: dict[str, Feature], short: str) -> bool:
    """Whether a feature, by ethtool's short name, is on; one that the driver does not know is off."""
    return facts.get(_LONG.get(short, short), Feature(on=False, fixed=True)).on


def settings(port: NodePort, device: str, facts: dict[str, Feature]) -> list[Setting]:
    """One setting a planned feature; a feature the driver does not know counts as off."""
    found = []
    for short, on in port.nic.offloads.items():
        feature = facts.get(_LONG.get(short, short), Feature(on=False, fixed=True))
        have, want = _word(on=feature.on), _word(on=on)
        name = f"offload {short}"
        if have != want and feature.fixed:
            reason = f"driver {port.driver} has {short} fixed {have}"
            found.append(Setting(port.subject, name, have, want, unsupported=reason))
            continue
        actions = (Run(("ethtool", "-K", device, short, want)),)
        undo = (Run(("ethtool", "-K", device, short, have)),)
        # What the data plane depends on it checks itself when it is attached.
        found.append(Setting(port.subject, name, have, want, actions, undo, tuning=True))
    return found


def _word(*, on: bool) -> str:
    return "on" if on else "off"
