"""The section ``kernel:``: what is set at boot and by sysctl, beyond what the router needs."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from rbops.spec import kernel_words as words
from rbops.spec.scalars import Scalar, number, one_of
from rbops.spec.section import CONFIG, Section, default
from rbops.spec.units import choice

__all__ = ["Governor", "HugepageSize", "Hugepages", "IrqBalance", "Kernel"]

HugepageSize = Literal["2MB", "1GB", "64kB", "32MB", "512MB", "16GB"]
Governor = Literal["performance", "schedutil", "ondemand", "conservative", "powersave"]
IrqBalance = Literal["keep", "ban", "off"]

_SWITCH = ("off", "on")


def _text(pattern: str, *examples: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern, "examples": list(examples)}


def _value(*examples: str | int) -> dict[str, Any]:
    """An editor reads numbers and booleans where the file has text."""
    one = {"not": {"anyOf": [{"type": "array"}, {"type": "object"}]}}
    return {**one, "pattern": "^[A-Za-z0-9.,:/_+=@% -]*$", "examples": list(examples)}


def _switch(text: str) -> bool:
    return choice(_SWITCH)(text) == "on"


def _nothing_is_empty(value: object) -> object:
    """``vfio-pci:`` alone is a module without parameters."""
    return {} if value is None else value


Switch = Annotated[bool, Scalar(_switch, {"enum": list(_SWITCH)})]
ParameterName = Annotated[
    str, Scalar(words.parameter_name, _text("^[A-Za-z0-9][A-Za-z0-9_.-]*$", "intel_iommu", "processor.max_cstate"))
]
ParameterValue = Annotated[str, Scalar(words.parameter_value, _value("on", 1))]
ModuleName = Annotated[str, Scalar(words.module_name, _text("^[A-Za-z0-9][A-Za-z0-9_-]*$", "ixgbe"))]
ModuleParameter = Annotated[str, Scalar(words.module_parameter, _text("^[A-Za-z0-9_][A-Za-z0-9_-]*$", "max_vfs"))]
ModuleValue = Annotated[str, Scalar(words.module_value, _value(1, "8,8"))]
SysctlKey = Annotated[
    str, Scalar(words.sysctl_key, _text("^[a-z][a-z0-9_]*([.][A-Za-z0-9_-]+)+$", "net.core.rmem_max"))
]
SysctlValue = Annotated[str, Scalar(words.sysctl_value, _value(16777216, "4096 87380 6291456"))]


@dataclass(frozen=True, slots=True, config=CONFIG)
class Hugepages(Section):
    """Huge pages reserved at boot."""

    size: Annotated[HugepageSize, one_of(HugepageSize)]
    """The size of each: 2MB and 1GB on x86."""
    count: Annotated[int, number(1, 1_048_576), Field(examples=[8])]
    """How many."""

    @property
    def kernel_size(self) -> str:
        """The size as the boot parameter writes it: ``1G``."""
        return self.size.removesuffix("B").upper()


@dataclass(frozen=True, slots=True, config=CONFIG)
class Kernel(Section):
    """What the servers' kernels are told at boot, and what else of them is set; nothing unless it is written."""

    isolate: Switch = default(value=False, written="off")
    """on: nothing but packets runs on data-plane cores (isolcpus, nohz_full, rcu_nocbs, irqaffinity by the plan)."""
    hugepages: Hugepages | None = None
    """Huge pages to reserve at boot."""
    parameters: Mapping[ParameterName, ParameterValue] = Field(
        default_factory=dict, examples=[{"intel_iommu": "on", "nosmt": ""}]
    )
    """Further boot parameters; "" for one without a value."""
    governor: Annotated[Governor, one_of(Governor)] | None = None
    """The CPU frequency governor of data-plane cores; left out: as it is."""
    irqbalance: Annotated[IrqBalance, one_of(IrqBalance)] = "keep"
    """off: the service is disabled; ban: it leaves data-plane cores and data ports alone; keep: as it is."""
    modules: Mapping[
        ModuleName, Annotated[Mapping[ModuleParameter, ModuleValue], BeforeValidator(_nothing_is_empty)]
    ] = Field(default_factory=dict, examples=[{"ixgbe": {"allow_unsupported_sfp": 1}}])
    """Modules to load at boot, with their parameters."""
    sysctl: Mapping[SysctlKey, SysctlValue] = Field(default_factory=dict, examples=[{"net.core.rmem_max": 16777216}])
    """Kernel parameters beyond those that rbops sets; a part that is a planned port stands for its device."""
