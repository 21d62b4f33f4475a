"""The part of node.json about the kernel beyond its NICs: only what the spec asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from rbops.node.schema.fields import Field

__all__ = ["KernelConfig"]

_PARAMETER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MODULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_OPTION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
_WORD = re.compile(r"[A-Za-z0-9.,:/_+=@%-]{1,1024}")
_GOVERNOR = re.compile(r"[a-z]{1,32}")


@dataclass(frozen=True, slots=True)
class KernelConfig:
    """What is asked; nothing by default. ``boot``: (name, value), an empty value being none."""

    boot: tuple[tuple[str, str], ...] = ()
    governor: str | None = None
    irqbalance: str = "keep"
    modules: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def parse(cls, part: Field | None) -> KernelConfig:
        """FieldError for what is wrong: these become files that a boot loader and modprobe read."""
        if part is None:
            return cls()
        kernel = part.fields()
        boot, governor, balance, modules = (kernel.find(key) for key in ("boot", "governor", "irqbalance", "modules"))
        return cls(
            boot=() if boot is None else tuple(_parameter(entry) for entry in boot.items()),
            governor=None if governor is None else governor.text(_GOVERNOR),
            irqbalance="keep" if balance is None else balance.choice("keep", "ban", "off"),
            modules={} if modules is None else {name: _options(m) for name, m in modules.fields().keys(_MODULE)},
        )

    def to_json(self) -> dict[str, object]:
        """``{"kernel": {...}}``, or nothing where nothing is asked."""
        found: dict[str, object] = {}
        if self.boot:
            found["boot"] = [list(parameter) for parameter in self.boot]
        if self.governor:
            found["governor"] = self.governor
        if self.irqbalance != "keep":
            found["irqbalance"] = self.irqbalance
        if self.modules:
            found["modules"] = {name: dict(options) for name, options in self.modules.items()}
        return {"kernel": found} if found else {}


def _parameter(entry: Field) -> tuple[str, str]:
    name, value = entry.pair()
    return name.text(_PARAMETER), value.text(_WORD) if value.value else ""


def _options(module: Field) -> dict[str, str]:
    return {name: value.text(_WORD) for name, value in module.fields().keys(_OPTION)}
