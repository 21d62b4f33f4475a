"""The choice of section 3.3: ports per server, servers, mesh or fly, and the internal links' rate.

First as many external ports go to each server as its processing and its slots allow; then a full
mesh if its fan-out suffices, otherwise a k-ary n-fly. Internal links get the slowest, hence
cheapest, port rate that carries what VLB puts on them; where no single port does, parallel ones. VLB
puts the same on each link, so all of them are made for one rate: faster ports may serve at it too.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

from rbops.hardware.model import Machine
from rbops.topology.names import server_name
from rbops.topology.slots import Layout, external_capacity, internal_rates, layout
from rbops.topology.wiring import fly_fanouts, imbalance

__all__ = ["Choice", "Demand", "Impossible", "Limits", "Trial", "choose"]

_NEAR = 16
"""So many numbers of ports below the one that fails are tried one by one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A kind of server and the rate it can process, in bps of the spec's packets."""

    machine: Machine
    available_bps: int


@dataclass(frozen=True, slots=True)
class Demand:
    """What the router must do.

    ``factor`` is c of the required processing cR per port: 2 uniform, 3 worst case. ``special``
    are servers unlike ``default``, by index; ``pins`` the servers that ports are fixed to, by port.
    """

    ports: int
    line_rate_bps: int
    factor: int
    default: Limits
    special: tuple[tuple[int, Limits], ...] = ()
    pins: tuple[tuple[int, int], ...] = ()
    kind: Literal["auto", "mesh", "fly"] = "auto"


@dataclass(frozen=True, slots=True)
class Trial:
    """One combination that was weighed: what it needs, what there is, and whether it serves.

    ``fanout`` is how many internal ports the server ``narrowest`` has left, the least of all.
    """

    kind: Literal["mesh", "fly"]
    ports_per_server: int
    port_servers: int
    rate_bps: int
    required_bps: int
    parallel: int
    fanout: int
    fanout_needed: int
    narrowest: int = 0
    fanouts: tuple[int, ...] = ()

    @property
    def works(self) -> bool:
        """Ports and their rate suffice."""
        return self.fanout >= self.fanout_needed and self.rate_bps * self.parallel >= self.required_bps

    @property
    def servers(self) -> int:
        """All servers, intermediate ones too."""
        return self.port_servers * max(1, len(self.fanouts))


@dataclass(frozen=True, slots=True)
class Choice:
    """The topology: ``owners[p]`` is the server of external port p; ``trial`` the combination taken.

    ``capacity`` is how many ports a server would take by its processing (may be 0), ``room`` by
    its slots; ``trials`` everything that was weighed.
    """

    trial: Trial
    owners: tuple[int, ...]
    capacity: int
    room: int
    trials: tuple[Trial, ...]

    @property
    def most(self) -> int:
        """The largest number of external ports on one server."""
        return max(Counter(self.owners).values())

    @property
    def stages(self) -> int:
        """N of the k-ary n-fly; 0 for a mesh."""
        return max(0, len(self.trial.fanouts) - 1)


class Impossible(Exception):
    """No topology serves the demand: ``field`` of the spec, what is short, and what would work.

    ``code`` is the error's stable name; ``also`` are further mistakes of the same kind.
    """

    def __init__(self, field: str, message: str, hint: str | None = None, *, code: str = "plan.no-topology") -> None:
        super().__init__(message)
        self.field = field
        self.hint = hint
        self.code = code
        self.also: tuple[Impossible, ...] = ()


def choose(demand: Demand, *, nearest: bool = True) -> Choice:
    """The topology with the fewest servers; of equal ones that with most ports per server.

    Raises Impossible, with the nearest router that works unless ``nearest`` is False.
    """
    capacity, room = _limits(demand)
    _check_pins(demand)
    trials: list[Trial] = []
    owners_of: dict[int, tuple[int, ...]] = {}
    for share in range(_largest_share(demand, capacity, room), 0, -1):
        owners = _place(demand, share)
        owners_of[share] = owners
        trials += _trials(demand, share, owners)
        if any(trial.works and trial.kind == "mesh" for trial in trials) and demand.kind != "fly":
            break
    working = [trial for trial in trials if trial.works and demand.kind in ("auto", trial.kind)]
    if not working:
        raise _impossible(demand, trials, nearest=nearest)
    best = min(working, key=_price)
    return Choice(best, owners_of[best.ports_per_server], capacity, room, tuple(trials))


def _price(trial: Trial) -> tuple[int, int, int, int]:
    return trial.servers, trial.parallel, trial.rate_bps, -trial.ports_per_server


def _limits(demand: Demand) -> tuple[int, int]:
    capacity = demand.default.available_bps // (demand.factor * demand.line_rate_bps)
    room = external_capacity(demand.default.machine, demand.line_rate_bps)
    if room == 0:
        fastest = max(internal_rates(demand.default.machine), default=0)
        raise Impossible(
            "router.line_rate",
            f"no card of {demand.default.machine.name} servers has a port of {_gbps(demand.line_rate_bps)} or more: "
            f"its fastest has {_gbps(fastest)}, {_gbps(demand.line_rate_bps - fastest)} short",
            f"line_rate: {_spelled(fastest)}" if fastest else "give the servers a NIC",
            code="plan.slow-nics",
        )
    return capacity, room


def _largest_share(demand: Demand, capacity: int, room: int) -> int:
    cap = demand.default.machine.external_ports
    return min(max(1, capacity), room, demand.ports, cap if cap is not None else room)


def _share_of(demand: Demand, server: int, share: int) -> int:
    """How many ports ``server`` takes when ordinary ones take ``share``."""
    special = dict(demand.special).get(server)
    if special is None:
        return share
    if external_capacity(special.machine, demand.line_rate_bps) == 0:
        return 0
    return _largest_share(
        replace(demand, default=special),
        special.available_bps // (demand.factor * demand.line_rate_bps),
        external_capacity(special.machine, demand.line_rate_bps),
    )


def _place(demand: Demand, share: int) -> tuple[int, ...]:
    """Pinned ports go where they are pinned, the others in order to the first server with room."""
    owners: dict[int, int] = dict(demand.pins)
    load: dict[int, int] = {}
    for server in owners.values():
        load[server] = load.get(server, 0) + 1
    server = 0
    for port in range(demand.ports):
        if port in owners:
            continue
        while load.get(server, 0) >= _share_of(demand, server, share):
            server += 1
        owners[port] = server
        load[server] = load.get(server, 0) + 1
    return _without_gaps(demand, tuple(owners[port] for port in range(demand.ports)))


def _without_gaps(demand: Demand, owners: tuple[int, ...]) -> tuple[int, ...]:
    """``owners``, when the servers with ports are n0 to the last; else Impossible for the pins that leave some out."""
    last = len(set(owners)) - 1
    wrong = [
        Impossible(
            f"port {port}",
            f"port {port} is pinned to {server_name(server)}, but {demand.ports} ports take only the servers "
            f"{server_name(0)} to {server_name(last)}",
            f"server: {server_name(last)}",
            code="plan.pin-beyond-servers",
        )
        for port, server in demand.pins
        if server > last
    ]
    _raise(wrong)
    return owners


def _check_pins(demand: Demand) -> None:
    """Raises Impossible for the pins that are more than their server has room for."""
    special = dict(demand.special)
    load: Counter[int] = Counter()
    wrong: list[Impossible] = []
    for port, server in demand.pins:
        load[server] += 1
        room = external_capacity(special.get(server, demand.default).machine, demand.line_rate_bps)
        if load[server] > room:
            text = f"port {port} is pinned to {server_name(server)}, whose cards have room for {room} external ports"
            text += f", {load[server] - room} short"
            wrong.append(Impossible(f"port {port}", text, "pin it to another server", code="plan.pin-without-room"))
    _raise(wrong)


def _raise(wrong: list[Impossible]) -> None:
    if wrong:
        first, *also = wrong
        first.also = tuple(also)
        raise first


def _trials(demand: Demand, share: int, owners: tuple[int, ...]) -> list[Trial]:
    servers = max(owners) + 1
    counts = [0] * servers
    for owner in owners:
        counts[owner] += 1
    most = max(counts)
    if servers == 1:
        return [Trial("mesh", share, 1, 0, 0, 1, 0, 0)]
    found: list[Trial] = []
    for rate in _rates(demand, servers):
        least = _fanout(demand, counts, rate)
        if least is None:
            continue
        fanout, narrowest = least
        total = 2 * most * demand.line_rate_bps
        required = -(-total // servers)
        parallel = max(1, -(-required // rate))
        needed = (servers - 1) * parallel
        found.append(Trial("mesh", share, servers, rate, required, parallel, fanout, needed, narrowest))
        fanouts = fly_fanouts(servers, fanout)
        if fanouts is not None:
            degree = min(a + b for a, b in zip(fanouts, fanouts[1:] + fanouts[:1], strict=True))
            # Half of what a server takes in goes each way round, over the narrower of its two sides.
            load = math.ceil(total / 2 / min(fanouts) * imbalance(servers, fanouts))
            found.append(Trial("fly", share, servers, rate, load, 1, fanout, degree, narrowest, fanouts))
    return found


def _rates(demand: Demand, servers: int) -> tuple[int, ...]:
    """The rates of all cards, slowest first: faster ports may run at the slower ones' rate."""
    machines = [demand.default.machine, *(limits.machine for server, limits in demand.special if server < servers)]
    return tuple(sorted({rate for machine in machines for rate in internal_rates(machine)}))


def _fanout(demand: Demand, counts: list[int], rate: int) -> tuple[int, int] | None:
    """The smallest number of internal ports that any server has left, and the first such server."""
    special = dict(demand.special)
    found: list[tuple[int, int]] = []
    layouts: dict[tuple[int, int], Layout | None] = {}
    for server, count in enumerate(counts):
        machine = special[server].machine if server in special else demand.default.machine
        kind = (id(machine), count)
        if kind not in layouts:
            layouts[kind] = layout(machine, count, demand.line_rate_bps, rate)
            fitted = layouts[kind]
            if fitted is None:
                return None
            found.append((len(fitted.internal), server))
    return min(found)


def _impossible(demand: Demand, trials: list[Trial], *, nearest: bool) -> Impossible:
    hint = _nearest(demand) if nearest else None
    weighed = [trial for trial in trials if demand.kind in ("auto", trial.kind)]
    if not weighed:
        if demand.kind == "fly":
            needs = "a fly needs two servers or more, and at least 3 internal ports on each"
            return Impossible("interconnect.topology", needs, hint)
        text = f"{demand.ports} ports do not fit: no internal port is left beside the external ones"
        return Impossible("router.external_ports", text, hint, code="plan.no-internal-ports")
    shortfalls = [_shortfall(trial, named=bool(demand.special)) for trial in _closest(weighed)]
    servers = weighed[0].port_servers
    text = f"no topology joins the {servers} servers that {demand.ports} ports need: {'; '.join(shortfalls)}"
    return Impossible("router.external_ports", text, hint)


def _closest(trials: list[Trial]) -> list[Trial]:
    """The mesh and the fly that fail by the least."""
    found = []
    for kind in ("mesh", "fly"):
        same = [trial for trial in trials if trial.kind == kind]
        if same:
            found.append(min(same, key=lambda trial: (trial.fanout_needed - trial.fanout, trial.required_bps)))
    return found


def _shortfall(trial: Trial, *, named: bool) -> str:
    short = trial.fanout_needed - trial.fanout
    if short > 0:
        where = f" on {server_name(trial.narrowest)}" if named else ""
        return (
            f"a {trial.kind} needs {trial.fanout_needed} internal ports of {_gbps(trial.rate_bps)} on each, and "
            f"{trial.fanout} are left{where} beside the external ones, {short} short"
        )
    missing = trial.required_bps - trial.rate_bps * trial.parallel
    return f"a {trial.kind}'s links must carry {_gbps(trial.required_bps)}, {_gbps(missing)} more than a port does"


def _nearest(demand: Demand) -> str | None:
    """The least change that works: the other topology, else fewer ports."""
    if demand.kind != "auto" and _serves(replace(demand, kind="auto")):
        return "topology: auto"
    high = max(1, demand.ports - _NEAR)
    for ports in range(demand.ports - 1, high - 1, -1):
        if _serves(_fewer(demand, ports)):
            return f"external_ports: {ports}"
    # From here on the range is halved: fewer ports need fewer of everything, but for flies, which like powers of two.
    powers = (1 << exponent for exponent in range((high - 1).bit_length() - 1, -1, -1))
    low = next((power for power in powers if _serves(_fewer(demand, power))), 0)
    while high - low > 1:
        middle = (low + high) // 2
        if _serves(_fewer(demand, middle)):
            low = middle
        else:
            high = middle
    return f"external_ports: {low}" if low else None


def _fewer(demand: Demand, ports: int) -> Demand:
    return replace(demand, ports=ports, pins=tuple(pin for pin in demand.pins if pin[0] < ports))


def _serves(demand: Demand) -> bool:
    try:
        choose(demand, nearest=False)
    except Impossible:
        return False
    return True


def _gbps(rate: int) -> str:
    return f"{rate / 1e9:g} Gbps"


def _spelled(rate: int) -> str:
    return f"{rate / 1e9:g}Gbps"
