"""The validated section ``kernel:`` -> its model."""

from __future__ import annotations

from rbops.spec import kernel_model as model
from rbops.spec.kernel_document import KernelSection

__all__ = ["kernel"]


def kernel(written: KernelSection) -> model.Kernel:
    """What ``kernel:`` asks for."""
    pages = written.hugepages
    return model.Kernel(
        isolate=written.isolate == "on",
        hugepages=model.Hugepages(pages.size, pages.count) if pages else None,
        parameters=tuple(written.parameters.items()),
        governor=written.governor,
        irqbalance=written.irqbalance,
        modules=tuple(model.KernelModule(name, tuple(params.items())) for name, params in written.modules.items()),
        sysctl=tuple(written.sysctl.items()),
    )
