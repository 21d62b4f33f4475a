"""The part of a port in node.json that says how its device is set: the plan's values, as they are (``rbops.nic``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rbops.nic.settings import ROWS, NicSetup
from rbops.node.schema.fields import Field, Fields

__all__ = ["MAC", "Rule", "parse_nic"]

MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_BIND = re.compile(r"vfio-pci|uio_pci_generic")
_OWN: Mapping[str, Callable[[Field], object]] = {
    "ring_fit": Field.flag,
    "rss_queues": Field.number,
    "steering": lambda field: field.choice("hardware", "software"),
    "steering_fallback": Field.flag,
    "bind": lambda field: field.text(_BIND),
}
_ROWS = {row.name: row for row in ROWS}


@dataclass(frozen=True, slots=True)
class Rule:
    """Frames for destination ``mac`` go to receive queue ``queue`` (ethtool -N)."""

    mac: str
    queue: int

    def to_json(self) -> dict[str, object]:
        """As in node.json."""
        return {"mac": self.mac, "queue": self.queue}


def parse_nic(driver: str, nic: Fields) -> NicSetup:
    """FieldError for what is wrong or not known: these become arguments of ethtool."""
    return NicSetup(driver, **{key: _value(key, field) for key, field in nic})


def _value(key: str, field: Field) -> Any:
    if key in _OWN:
        return _OWN[key](field)
    if key not in _ROWS:
        raise field.error("no such setting")
    try:
        return _ROWS[key].kind.check(field.value)
    except (TypeError, ValueError) as error:
        raise field.error(str(error)) from error
