"""The section ``kernel:`` as it is written."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from rbops.spec import kernel_model as model
from rbops.spec import kernel_words as words
from rbops.spec.scalars import Scalar, number, one_of
from rbops.spec.section import BaseSection

__all__ = ["HugepagesSection", "KernelSection"]


def _text(pattern: str, *examples: str) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern, "examples": list(examples)}


def _value(*examples: str | int) -> dict[str, Any]:
    """An editor reads numbers and booleans where the file has text."""
    one = {"not": {"anyOf": [{"type": "array"}, {"type": "object"}]}}
    return {**one, "pattern": "^[A-Za-z0-9.,:/_+=@% -]*$", "examples": list(examples)}


def _nothing_is_empty(value: object) -> object:
    """``vfio-pci:`` alone is a module without parameters."""
    return {} if value is None else value


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


class HugepagesSection(BaseSection):
    """Huge pages reserved at boot."""

    size: Annotated[model.HugepageSize, one_of(model.HugepageSize)]
    """The size of each: 2MB and 1GB on x86."""
    count: Annotated[int, number(1, 1_048_576)] = Field(examples=[8])
    """How many."""


class KernelSection(BaseSection):
    """What the servers' kernels are told at boot, and what else of them is set; nothing unless it is written."""

    isolate: Annotated[str, one_of(model.Isolate)] = Field(default="off")
    """on: nothing but packets runs on data-plane cores (isolcpus, nohz_full, rcu_nocbs, irqaffinity by the plan)."""
    hugepages: HugepagesSection | None = None
    """Huge pages to reserve at boot."""
    parameters: dict[ParameterName, ParameterValue] = Field(default={}, examples=[{"intel_iommu": "on", "nosmt": ""}])
    """Further boot parameters; "" for one without a value."""
    governor: Annotated[model.Governor, one_of(model.Governor)] | None = None
    """The CPU frequency governor of data-plane cores; left out: as it is."""
    irqbalance: Annotated[model.IrqBalance, one_of(model.IrqBalance)] = "keep"
    """off: the service is disabled; ban: it leaves data-plane cores and data ports alone; keep: as it is."""
    modules: dict[ModuleName, Annotated[dict[ModuleParameter, ModuleValue], BeforeValidator(_nothing_is_empty)]] = (
        Field(default={}, examples=[{"ixgbe": {"allow_unsupported_sfp": 1}}])
    )
    """Modules to load at boot, with their parameters."""
    sysctl: dict[SysctlKey, SysctlValue] = Field(default={}, examples=[{"net.core.rmem_max": 16777216}])
    """Kernel parameters beyond those that rbops sets; a part that is a planned port stands for its device."""
