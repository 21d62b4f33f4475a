"""The section ``kernel:`` of the spec: what the servers' kernels are told beyond their NICs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Governor", "HugepageSize", "Hugepages", "IrqBalance", "Isolate", "Kernel", "KernelModule"]

Isolate = Literal["off", "on"]
HugepageSize = Literal["2MB", "1GB", "64kB", "32MB", "512MB", "16GB"]
Governor = Literal["performance", "schedutil", "ondemand", "conservative", "powersave"]
IrqBalance = Literal["keep", "ban", "off"]


@dataclass(frozen=True, slots=True)
class Hugepages:
    """``count`` pages of ``size`` reserved at boot, when memory is not fragmented yet."""

    size: HugepageSize
    count: int

    @property
    def kernel_size(self) -> str:
        """The size as the boot parameter writes it: ``1G``."""
        return self.size.removesuffix("B").upper()


@dataclass(frozen=True, slots=True)
class KernelModule:
    """A module to load at boot, with its parameters as name and value in the order of the file."""

    name: str
    parameters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Kernel:
    """Nothing is asked of a kernel by default.

    ``isolate``: data-plane cores carry packets and nothing else. ``parameters`` are further boot
    parameters, an empty value being one that has none (``nosmt``).
    """

    isolate: bool = False
    hugepages: Hugepages | None = None
    parameters: tuple[tuple[str, str], ...] = ()
    governor: Governor | None = None
    irqbalance: IrqBalance = "keep"
    modules: tuple[KernelModule, ...] = ()
    sysctl: tuple[tuple[str, str], ...] = ()
