"""The part of node.json about the kernel beyond its NICs, read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["KernelConfig", "parse"]

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


def parse(data: Mapping[str, Any]) -> KernelConfig:
    """Check the part; ValueError naming what is wrong: these become files that a boot loader and modprobe read."""
    mode = data.get("irqbalance", "keep")
    if mode not in ("keep", "ban", "off"):
        raise ValueError(f"kernel: irqbalance {mode!r}")
    wanted = data.get("governor")
    return KernelConfig(
        boot=tuple(
            (_word(_PARAMETER, name), _word(_WORD, value) if value else "") for name, value in data.get("boot", ())
        ),
        governor=None if wanted is None else _word(_GOVERNOR, wanted),
        irqbalance=mode,
        modules={
            _word(_MODULE, name): {_word(_OPTION, key): _word(_WORD, value) for key, value in options.items()}
            for name, options in data.get("modules", {}).items()
        },
    )


def _word(pattern: re.Pattern[str], value: object) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"kernel: {value!r} is not allowed")
    return value
