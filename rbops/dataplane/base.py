"""What a data plane is to everything else: the contract that each folder beside this file fulfils.

A folder has two halves. ``node.py`` and what is beside it run on servers, with Python's standard library only;
``controller/`` runs where rbops does. Outside of these folders nothing asks which data plane it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rbops.node.schema import Dataplane, Fabric, HostInterface, NodePort
    from rbops.node.schema.fields import Fields
    from rbops.plan import ClusterPlan, Server
    from rbops.render.files import File
    from rbops.render.routes import Table

__all__ = ["Controller", "Difference", "NodeHalf", "Places", "Plane", "Rendering", "ServerPart"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as planned: ``subject`` is "data plane" or "port NAME"."""

    subject: str
    setting: str
    have: str
    want: str


class Plane(Protocol):
    """A data plane of this server, opened: compared, changed and read.

    All methods raise Mismatch (exit code 3) when the server cannot do what is planned, CheckFailed (1) when the data
    plane refuses something.
    """

    def diff(self) -> Sequence[Difference]:
        """What ``apply`` would change, in its order; empty when all is as planned. Changes nothing."""

    def apply(self) -> Sequence[str]:
        """Make everything as planned and say what was done; an empty list when nothing was to do."""

    def detach(self) -> None:
        """Take it off its devices and leave nothing of it. Fine when it does not run."""

    def counters(self) -> dict[str, Any]:
        """What was counted since it was started, as ``rbops-node counters`` prints it."""

    def status(self) -> dict[str, Any]:
        """What runs, as ``rbops-node status`` prints it; ``loaded`` False when nothing does."""

    def set_alive(self, server: int, *, alive: bool) -> None:
        """Use, or leave out at once, the direct link towards ``server``; Mismatch while nothing is loaded."""

    def instance(self) -> object:
        """Another value after each start, since when all links are believed alive; None while nothing is loaded."""


class NodeHalf(Protocol):
    """What rbops-node asks of a kind of data plane."""

    def parse(self, fields: Fields) -> Dataplane:
        """Its part of node.json. FieldError for what is wrong."""

    def open(self, config: Dataplane, devices: Mapping[str, str]) -> Plane:
        """The data plane that ``config`` plans; ``devices``: planned port -> device. Touches nothing."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a data plane's files are on servers: files, or folders with all in them.

    ``own`` go when another data plane is applied. ``stale``: what is there and not planned goes when this one is.
    ``beside``, outside of /etc/rbops: the same with every data plane.
    """

    own: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerPart:
    """What a data plane adds to one server: its part of node.json, files, the interface between it and the kernel
    where it has the ports for itself, and sysctls beside those of every router.
    """

    config: Dataplane
    files: tuple[File, ...] = ()
    host: HostInterface | None = None
    sysctl: Mapping[str, str] = field(default_factory=dict)


class Rendering(Protocol):
    """A plan's files, as one data plane makes them."""

    @property
    def common(self) -> tuple[File, ...]:
        """What every server gets."""

    def server(self, server: Server, fabric: Fabric) -> ServerPart:
        """What one server gets. UsageError (2) for what cannot be rendered."""

    def port(self, server: Server, port: NodePort) -> NodePort:
        """A port as this data plane wants it set."""


class Controller(Protocol):
    """A kind of data plane where rbops runs. Each is a module-level value ``HALF`` of ``controller/half.py``."""

    @property
    def kind(self) -> str:
        """What ``dataplane:`` is in the spec."""

    @property
    def places(self) -> Places:
        """Where its files are on servers."""

    def render(self, plan: ClusterPlan, digest: str, routes: Table) -> Rendering:
        """The files of ``plan``, whose digest is ``digest``. UsageError (2) for what cannot be rendered."""
