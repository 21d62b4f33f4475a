"""Server profiles and hardware facts, as ``Machine`` values."""

from __future__ import annotations

from rbops.hardware.convert import machine
from rbops.hardware.model import Card, Core, Machine, Slot
from rbops.hardware.profiles import names, profile

__all__ = ["Card", "Core", "Machine", "Slot", "machine", "names", "profile"]
