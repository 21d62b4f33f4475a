"""The section ``click:``: which Click runs, and where it comes from."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from rbops.spec.scalars import Package, ServerPath, one_of
from rbops.spec.section import CONFIG, Section

__all__ = ["Click", "ClickDialect"]

ClickDialect = Literal["socket", "dpdk", "fastclick", "kernel"]


@dataclass(frozen=True, slots=True, config=CONFIG)
class Click(Section):
    """Which Click runs, for `dataplane: click`."""

    dialect: Annotated[ClickDialect, one_of(ClickDialect)] = "socket"
    """socket: userlevel on AF_PACKET; dpdk: mainline with DPDK; fastclick; kernel: the multi-queue kernel module."""
    package: Package | None = None
    """The Debian package, .deb or archive to install."""
    prefix: ServerPath | None = Field(default=None, examples=["/usr/local"])
    """Where an installed Click is, an absolute path on the servers."""
