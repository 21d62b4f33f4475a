"""What a data plane is to everything else: the contract that each folder beside this file fulfils.

A folder has two halves. ``node.py`` and what is beside it run on servers, with Python's standard library only;
``controller/`` runs where rbops does. Outside of these folders nothing asks which data plane it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    from rbops.common.hops import Hop
    from rbops.errors import Diagnostic
    from rbops.node.reach import Said
    from rbops.node.rib import Rib
    from rbops.node.schema import Dataplane, Fabric, HostInterface, NodePort
    from rbops.node.schema.fields import Fields
    from rbops.node.ways import Ports
    from rbops.plan import ClusterPlan, Forwarding, Server, Violation
    from rbops.planning.servers import Built
    from rbops.render.files import File
    from rbops.render.routes import Table
    from rbops.spec import Spec
    from rbops.spec.source import Node
    from rbops.topology.choice import Choice
    from rbops.verify.case import Case
    from rbops.verify.host import ServerUnderTest

__all__ = [
    "NOT_LOADED",
    "Additions",
    "Bundling",
    "Controller",
    "Difference",
    "Drainable",
    "Followable",
    "NodeHalf",
    "Places",
    "Plane",
    "Probeable",
    "Probing",
    "Rendering",
    "RouteTable",
    "ServerPart",
]

NOT_LOADED = "not loaded"
"""What :meth:`Controller.status_line` says of a server that does not forward."""


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


class RouteTable(Protocol):
    """A data plane's forwarding table that follows the kernel's. Mismatch (3) while nothing is loaded that follows."""

    ports: Ports
    """The data ports."""

    def update(self, ribs: Sequence[Rib], changes: Sequence[Iterable[tuple[Hop | None, list[int]]]]) -> int:
        """Take changes (hop, its keys) of each family over, in place where it is possible; how many places changed."""

    def renew(self, ribs: Sequence[Rib]) -> None:
        """Write the whole table."""

    def is_current(self) -> bool:
        """Whether what is loaded is what was written here last."""

    def reclaim(self) -> None:
        """Use memory again that was given up, once no packet reads it."""

    def facts(self) -> dict[str, Any]:
        """Its size, for people."""

    def compare(self, ribs: Sequence[Rib], most: int = 100) -> tuple[int, list[dict[str, str]]]:
        """How many ranges of addresses go another way than ``ribs`` say, and the first of them."""

    def get(self, address: int) -> dict[str, Any]:
        """What is done with packets for an address."""

    def get6(self, address: int) -> dict[str, Any]:
        """What is done with packets for an IPv6 address."""


@runtime_checkable
class Followable(Protocol):
    """A data plane whose table can follow the kernel's."""

    follows: bool
    """Whether it is to: otherwise the plan has static routes alone."""

    def table(self) -> RouteTable:
        """The table, to be changed where it follows, and to be read in any case."""


class Probing(Protocol):
    """Probes that neighbours' data planes answer themselves. A port is its place in the fabric's list."""

    def frame(self, mac: bytes, sequence: int, now_ns: int, said: Said | None = None) -> bytes:
        """A probe that leaves by the device with that MAC; and what is said of any server."""

    def said(self, port: int) -> Said | None:
        """What the last probe by a port said of any server; None: nothing."""

    def cut(self) -> int:
        """The servers that this one cannot reach, a bit each."""

    def set_cut(self, server: int, cut: int) -> None:
        """Note which servers a remote server cannot reach, as a bit mask: no path to them goes through it."""

    def answered_ns(self, port: int) -> int:
        """When the last answer came, ns of the monotonic clock; 0: none yet."""

    def received(self, port: int) -> tuple[int, int]:
        """Packets that came in by a port, and probes of its neighbour's; both only grow."""

    def cut_of(self, server: int) -> int:
        """The servers that a neighbour's last probe said it cannot reach, a bit each."""

    def is_cut(self, server: int) -> bool:
        """Whether the last probe of a neighbour said that its cable to this server does not work."""

    def noted(self, port: int) -> tuple[int, int, int, int]:
        """(sent, missed, transitions, state) as they were noted last."""

    def note(self, port: int, sent: int, missed: int, transitions: int, state: int) -> None:
        """For status and counters, and for a prober that starts again."""

    def set_silent(self, server: int, *, silent: bool) -> None:
        """Leave the direct link towards ``server`` out of all choices, or use it again."""

    def set_cable_silent(self, port: int, *, silent: bool) -> None:
        """Leave one of several cables to a server out, or use it again."""

    def close(self) -> None:
        """No more probes are heard."""


@runtime_checkable
class Probeable(Protocol):
    """A data plane that answers its neighbours' probes."""

    def probing(self) -> Probing:
        """What it notes of probes; Mismatch while nothing is loaded."""

    def instance(self) -> object:
        """As :meth:`Plane.instance`."""


@runtime_checkable
class Bundling(Protocol):
    """A data plane that spreads load over several cables to one server."""

    def set_cable(self, name: str, *, alive: bool) -> None:
        """Use one of them, by its port's name, or leave it out at once; Mismatch while nothing is loaded."""


@runtime_checkable
class Drainable(Protocol):
    """A data plane that can leave a server out of its intermediates."""

    def set_drained(self, server: int, *, drained: bool) -> None:
        """Send nothing through ``server`` that is not for its own ports, or again; Mismatch while nothing is loaded."""

    def leave_out(self, servers: frozenset[int]) -> None:
        """What ``apply`` drains before the first packet where it starts with nothing said of any server."""


class NodeHalf(Protocol):
    """What rbops-node asks of a kind of data plane. Each is a module-level value ``HALF`` of ``node.py``."""

    unit: str | None = None
    """The systemd unit that it runs as."""
    started_by: tuple[str, ...] = ()
    """What starts it besides /etc/rbops, as paths below the root: saved before a change, restored by a revert."""
    secrets: tuple[str, ...] = ()
    """Files below /etc/rbops with keys: kept in no generation, only a slow hash of them."""

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


class Additions:
    """What the data plane's own section of a spec adds to the plan: nothing."""

    def forwarding(self, common: Forwarding) -> Forwarding:
        """``common`` with the data plane's own values."""
        return common

    def breaches(self, servers: Sequence[Server]) -> Iterator[Violation]:
        """Breaches of the paper's two rules that it brings along."""
        yield from ()


class Controller(Protocol):
    """A kind of data plane where rbops runs. Each is a module-level value ``HALF`` of ``controller/half.py``.

    A data plane subclasses this one; what it does not define is as here. Methods import what they need.
    """

    kind: str
    """What ``dataplane:`` is in the spec."""
    applications: tuple[str, ...] = ("forward", "route")
    """What ``router.application`` may be."""
    own_element: bool = False
    """Whether ``router.click_element`` has a place in it."""
    balances: bool = True
    """Whether it balances load (VLB), on frames whose destination MAC is their output port."""
    answers_probes: bool = False
    """Whether it answers its neighbours' probes, so that one that does not forward is left out."""
    process: str | None = None
    """The unit whose process forwards: while that is stopped nothing is, though all carriers stay."""
    drains: bool = False
    """Whether a server can be left out as an intermediate."""
    compiles: bool = False
    """Whether its role does more on a server than to put files there: installs or compiles what it runs."""
    ipv6: bool = False
    """Whether it forwards IPv6."""
    kernel_ipsec: bool = False
    """Whether tunnels are the kernel's (XFRM), and not its own."""
    samples: bool = False
    """Whether it samples frames (sFlow)."""
    dynamic: bool = False
    """Whether it has routes that come and go (``routing:`` in the spec)."""
    follower: str | None = None
    """The systemd unit by which its table follows the kernel's, where it has one of its own."""
    rings_by_cpu: bool = False
    """Whether a core sends by the transmit ring that goes by its CPU id, as XDP's redirect does."""
    places: Places = Places()
    """Where its files are on servers."""
    checks: Path | None = None
    """A pytest file with its own checks for ``rbops verify``."""

    # The spec.

    def mistakes(self, root: Node) -> Iterator[Diagnostic]:
        """What contradicts itself in its own section; asked whatever the spec's data plane is."""
        yield from ()

    # Planning. ``spec.dataplane`` is this one.

    def one_queue(self, spec: Spec) -> bool:
        """Whether it has one queue a port, whatever the device has."""
        return False

    def packet_cycles(self, spec: Spec) -> float:
        """Cycles of a packet beyond the profile's costs, which are those of a program in the driver or with it."""
        return 0

    def hands_over(self, spec: Spec) -> bool:
        """Whether devices are handed to a program, and are no network devices of the kernel any more."""
        return False

    def no_steering(self, spec: Spec) -> str | None:
        """Why NICs get no rules by destination MAC; None: those that can do."""
        return None

    def offloads(self, spec: Spec, driver: str, *, steering: bool) -> Iterator[tuple[str, bool]]:
        """What is turned on or off in devices of ``driver`` (``ethtool -K``); ``steering``: they have rules by MAC."""
        yield from ()

    def detached(self, device: str) -> str | None:
        """The command by which one device's packets are not forwarded any more, though its carrier stays."""
        return None

    def additions(self, spec: Spec) -> Additions:
        """What its section adds to the plan. Raises SpecError, UsageError."""
        return Additions()

    def limits(self, spec: Spec, choice: Choice, built: Built) -> Iterator[str]:
        """What it cannot do of a plan, a sentence each."""
        yield from ()

    def batching(self, spec: Spec) -> Iterator[str]:
        """What it cannot express of the spec's batching, a sentence each."""
        yield from ()

    # The plan.

    def render(self, plan: ClusterPlan, digest: str, routes: Table) -> Rendering:
        """The files of ``plan``, whose digest is ``digest``. UsageError (2) for what cannot be rendered."""

    def hops(self, plan: ClusterPlan, source: str, target: str) -> int:
        """By how much a packet's TTL is less when it leaves server ``target``, having come in at ``source``."""
        return 1

    def loses_early(self, plan: ClusterPlan) -> bool:
        """Whether it loses packets long before line rate, so that the self-test begins with less."""
        return False

    # Servers.

    def status_line(self, status: Mapping[str, Any]) -> str:
        """What ``rbops status`` says of a running data plane; ``status`` is what rbops-node says."""
        return self.kind

    def cases(self) -> Mapping[str, Callable[[ServerUnderTest], Iterator[Case]]]:
        """Fixtures of its own checks, beside those that all have."""
        return {}

    # Labs and the demo.

    def lab_folder(self, plan: ClusterPlan) -> str | None:
        """A folder of this machine that a lab's servers must see. Mismatch (3) where a lab cannot run it."""
        return None

    def prepare_lab(self, folder: str, directory: Path, uppers: list[Path], progress: Callable[[str], None]) -> None:
        """Put into servers' writable layers what they need; ``folder`` as above, ``directory`` the lab's own."""
        return

    def prepare_demo(self, spec: Path, say: Callable[[str], None]) -> None:
        """Turn the starter spec into one for this data plane, as a user would. Mismatch (3) where it cannot run."""
        text = spec.read_text(encoding="utf-8")
        say(f"\nthe spec: `dataplane: {self.kind}`")
        spec.write_text(re.sub(r"(?m)^dataplane: .*$", f"dataplane: {self.kind}", text), encoding="utf-8")
