"""The section ``routing:``: routes that come and go, written to the router's table by a daemon or by hand."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from rbops.spec.scalars import number, one_of
from rbops.spec.section import CONFIG, Section

__all__ = ["Daemon", "Routing"]

Daemon = Literal["none"]


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Routing(Section):
    """Routes that come and go: the data planes follow the routing table 82 of their servers' kernels."""

    daemon: Annotated[Daemon, one_of(Daemon)]
    """none: whoever writes routes to table 82 of the servers is the user's own affair."""
    routes: Annotated[int, number(1, 8_000_000), Field(examples=[1_000_000])] = 1_000_000
    """For how many routes each server has memory: 24 bytes a route."""
