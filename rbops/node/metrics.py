"""A reading of :mod:`rbops.node.sample` as metrics, named by Prometheus' conventions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from rbops.common.openmetrics import Family, Sample

__all__ = ["families"]

_US, _BITS = 1e6, 8
_TUNNEL_ERRORS = ("replayed", "failed")
_SESSION_ROUTES = ("imported", "filtered", "exported")
_PROTOCOLS = {"82": "static", "12": "bird", "11": "zebra", "186": "bgp", "188": "ospf", "3": "boot", "2": "kernel"}

_FORWARDED = (
    "Packets forwarded by a core: to a port of this server (local), directly or by VLB's phase 1 to another server, on "
    "for another (phase2), or out of a port for another (egress)."
)


def families(reading: Mapping[str, Any]) -> list[Family]:
    """Every metric of a server, those without samples included. All have the labels ``cluster`` and ``server``."""
    counted = reading.get("counters") or {}
    plane = reading.get("dataplane") or {}
    return [
        *_server(reading, plane),
        *_ports(reading, counted),
        *_samples(reading, plane, counted),
        *_cores(reading, counted),
        *_paths(reading, counted),
        *_queues(reading),
        *_peers(reading, plane),
        *_cables(reading, plane),
        *_routes(reading),
        *_sessions(reading),
        *_tunnels(reading),
    ]


def _family(
    reading: Mapping[str, Any],
    name: str,
    kind: Literal["counter", "gauge", "info"],
    about: str,
    samples: Iterable[Sample],
    unit: str = "",
) -> Family:
    server = {"cluster": str(reading["cluster"]), "server": str(reading["server"])}
    return Family(f"rbops_{name}", kind, about, tuple(({**server, **labels}, value) for labels, value in samples), unit)


def _server(reading: Mapping[str, Any], plane: Mapping[str, Any]) -> Iterator[Family]:
    about = {
        "digest": str(reading["digest"])[:12],
        "dataplane": str(plane.get("kind", "")),
        "version": str(reading["program"]),
    }
    yield _family(reading, "server", "info", "The plan, the data plane, rbops-node's version.", [(about, 1)])
    loaded = int(bool(plane.get("loaded")))
    yield _family(reading, "dataplane_loaded", "gauge", "Whether the data plane forwards.", [({}, loaded)])
    text = "Whether a change waits for its confirmation."
    yield _family(reading, "change_open", "gauge", text, [({}, int(reading["transaction"]))])
    text = "Settings of the network that another program took away and rbops-watch restored."
    yield _family(reading, "network_restored", "counter", text, [({}, reading["restored"])])


def _ports(reading: Mapping[str, Any], counted: Mapping[str, Any]) -> Iterator[Family]:
    ports = counted.get("ports", {})
    labels = {
        port["name"]: {"port": port["name"], "kind": port["kind"], "peer": port["peer"] or ""}
        for port in reading["ports"]
    }
    for way, short in (("receive", "rx"), ("transmit", "tx")):
        for unit in ("packets", "bytes"):
            verb = "received by" if short == "rx" else "sent by"
            yield _family(
                reading,
                f"port_{way}_{unit}",
                "counter",
                f"{unit.capitalize()} {verb} the data plane at a port.",
                [(labels[name], numbers[f"{short}_{unit}"]) for name, numbers in ports.items()],
                unit,
            )
    speeds = [(labels[port["name"]], port["rate_bps"] / _BITS) for port in reading["ports"]]
    yield _family(reading, "port_speed_bytes", "gauge", "Planned rate of a port, bytes a second.", speeds, "bytes")
    served = counted.get("served", {})
    yield _family(
        reading,
        "port_core_receive_packets",
        "counter",
        "Packets received at a port, by the core that took them.",
        [({"port": port, "core": core}, n) for port, cores in served.items() for core, n in cores.items()],
        "packets",
    )


def _samples(reading: Mapping[str, Any], plane: Mapping[str, Any], counted: Mapping[str, Any]) -> Iterator[Family]:
    rate = plane.get("sampling")
    rates: list[Sample] = [({}, rate)] if rate else []
    yield _family(reading, "sampling_rate", "gauge", "sFlow: one frame in so many is sampled.", rates)
    found = counted.get("sampled", {}) if rate else {}
    for key, name, about in (
        ("taken", "samples", "Frames of an external port that were sampled for sFlow."),
        ("lost", "samples_dropped", "Samples that were dropped: the sender was too slow, or did not run."),
    ):
        yield _family(reading, name, "counter", about, [({"port": port}, its[key]) for port, its in found.items()])


def _cores(reading: Mapping[str, Any], counted: Mapping[str, Any]) -> Iterator[Family]:
    cores = counted.get("cores", {})
    for key, name, label, about in (
        ("received", "receive", "kind", "Packets received by a core, from external or internal ports."),
        (
            "forwarded",
            "forwarded",
            "way",
            _FORWARDED,
        ),
        ("punted", "punted", "reason", "Packets given to the kernel, by reason."),
        ("dropped", "dropped", "reason", "Packets dropped by the data plane, by reason."),
    ):
        samples = [
            ({"core": core, label: word}, number) for core, its in cores.items() for word, number in its[key].items()
        ]
        yield _family(reading, f"core_{name}_packets", "counter", about, samples, "packets")
    sent = [({"core": core}, its["bytes"]) for core, its in cores.items()]
    yield _family(reading, "core_transmit_bytes", "counter", "Bytes sent by a core.", sent, "bytes")
    for key, name, about in (
        ("busy_s", "core_busy_seconds", "Time in which a data-plane core was not idle, by the kernel's account."),
        ("softirq_s", "core_softirq_seconds", "Time that a data-plane core spent in softirqs, where packets are."),
    ):
        samples = [({"core": cpu}, its[key]) for cpu, its in reading["cpus"].items()]
        yield _family(reading, name, "counter", about, samples, "seconds")


def _paths(reading: Mapping[str, Any], counted: Mapping[str, Any]) -> Iterator[Family]:
    for unit in ("packets", "bytes"):
        samples = [(_path(reading, path), path[unit]) for path in counted.get("paths", ())]
        text = f"{unit.capitalize()} sent to an output server, directly or over an intermediate one."
        yield _family(reading, f"path_{unit}", "counter", text, samples, unit)


def _path(reading: Mapping[str, Any], path: Mapping[str, Any]) -> dict[str, str]:
    via = "direct" if path["via"] is None else _name(reading, path["via"])
    return {"to": _name(reading, path["to"]), "via": via}


def _queues(reading: Mapping[str, Any]) -> Iterator[Family]:
    ports = (reading.get("queues") or {}).get("ports", {})
    samples = [
        ({"port": port, "queue": queue}, number)
        for port, found in ports.items()
        for queue, number in found["packets"].items()
    ]
    text = "Packets of a receive queue, as its driver counts them."
    yield _family(reading, "queue_receive_packets", "counter", text, samples, "packets")
    samples = [
        ({"port": port, "queue": str(irq["queue"]), "way": str(irq["way"]), "core": cpu}, number)
        for port, found in ports.items()
        for irq in found["irqs"]
        if irq["queue"] is not None
        for cpu, number in irq["cpus"].items()
    ]
    yield _family(reading, "queue_interrupts", "counter", "Interrupts of a queue, by the core that took them.", samples)


def _peers(reading: Mapping[str, Any], plane: Mapping[str, Any]) -> Iterator[Family]:
    peers = {index: name for index, name in reading["servers"].items() if int(index) != reading["index"]}
    loaded = plane.get("loaded")
    for key, name, about in (
        ("dead", "peer_dead", "Whether the cable to another server is left out: no carrier, or no answer."),
        ("drained", "peer_drained", "Whether another server is left out as an intermediate (rbops drain)."),
    ):
        found = plane.get(key, ())
        samples = [({"peer": peer}, int(int(index) in found)) for index, peer in peers.items()] if loaded else []
        yield _family(reading, name, "gauge", about, samples)


def _cables(reading: Mapping[str, Any], plane: Mapping[str, Any]) -> Iterator[Family]:
    ends = {port["name"]: {"port": port["name"], "peer": port["peer"] or ""} for port in reading["ports"]}
    cables = [(ends[port], cable) for port, cable in (plane.get("cables") or {}).items() if cable["sent"]]
    answers = [(ends_, int(cable["state"] == "alive")) for ends_, cable in cables]
    yield _family(reading, "cable_answers", "gauge", "Whether the far end of a cable answers probes.", answers)
    for key, name, about in (
        ("sent", "cable_probes", "Probes sent over a cable."),
        ("missed", "cable_probes_missed", "Probes over a cable that were not answered."),
        ("transitions", "cable_transitions", "Changes of a cable between alive and dead."),
    ):
        yield _family(reading, name, "counter", about, [(ends_, cable[key]) for ends_, cable in cables])
    times = [(ends_, cable["round_trip_us"] / _US) for ends_, cable in cables if cable["round_trip_us"] is not None]
    text = "Round trip of a cable's last probe that was answered."
    yield _family(reading, "cable_round_trip_seconds", "gauge", text, times, "seconds")


def _routes(reading: Mapping[str, Any]) -> Iterator[Family]:
    routes = reading.get("routes")
    protocols = (routes or {}).get("protocols", {})
    samples = [({"protocol": _PROTOCOLS.get(number, number)}, count) for number, count in protocols.items()]
    yield _family(reading, "routes", "gauge", "Routes that the data plane follows, by who wrote them.", samples)
    own = [] if routes is None else [routes]
    unresolved: list[Sample] = [({}, each["unresolved"]) for each in own]
    text = "Routes that lead nowhere: no next hop that works."
    yield _family(reading, "routes_unresolved", "gauge", text, unresolved)
    for key, name, about in (
        ("updates", "route_updates", "Changes of the forwarding table."),
        ("overruns", "route_overruns", "Times that messages of the kernel about routes were lost."),
        ("repaired", "route_repairs", "Differences from the kernel's table that an audit found."),
    ):
        yield _family(reading, name, "counter", about, [({}, each[key]) for each in own])
    used: list[Sample] = [({}, each["memory_bytes"]) for each in own if "memory_bytes" in each]
    yield _family(reading, "route_memory_bytes", "gauge", "Memory of the forwarding table in use.", used, "bytes")


def _sessions(reading: Mapping[str, Any]) -> Iterator[Family]:
    daemon = reading.get("daemon")
    sessions = (daemon or {}).get("sessions", ())
    labels = [
        {
            "session": str(each["name"]),
            "protocol": str(each["protocol"]),
            "neighbor": str(each.get("neighbor") or ""),
            "as": str(each.get("as") or ""),
        }
        for each in sessions
    ]
    runs: list[Sample] = [] if daemon is None else [({}, int(not daemon.get("error")))]
    yield _family(reading, "routing_daemon_running", "gauge", "Whether the routing daemon answers.", runs)
    up = [(its, int(each["up"])) for its, each in zip(labels, sessions, strict=True)]
    yield _family(reading, "session_up", "gauge", "Whether a routing daemon's session is established.", up)
    counts = [
        ({"session": its["session"], "what": what}, each[what])
        for its, each in zip(labels, sessions, strict=True)
        for what in _SESSION_ROUTES
        if each[what] is not None
    ]
    yield _family(reading, "session_routes", "gauge", "Routes of a session: imported, filtered, exported.", counts)


def _tunnels(reading: Mapping[str, Any]) -> Iterator[Family]:
    """Of the kernel's associations: one outward on every server, one inward where the tunnel's address is."""
    ends = [
        ({"tunnel": str(each["tunnel"]), "peer": str(each["peer"]), "way": way}, each[way])
        for each in reading.get("tunnels", ())
        for way in ("out", "in")
        if way in each
    ]
    for unit in ("packets", "bytes"):
        samples = [(labels, counted[unit]) for labels, counted in ends]
        text = f"{unit.capitalize()} that a tunnel's association encrypted (out) or decrypted (in)."
        yield _family(reading, f"tunnel_{unit}", "counter", text, samples, unit)
    states = [
        ({"tunnel": str(each["tunnel"]), "peer": str(each["peer"])}, int(each["ike"]["state"] == "up"))
        for each in reading.get("tunnels", ())
        if "ike" in each
    ]
    yield _family(reading, "tunnel_up", "gauge", "Whether IKE has negotiated a tunnel's keys.", states)
    errors = [
        ({**{name: labels[name] for name in ("tunnel", "peer")}, "reason": reason}, counted[reason])
        for labels, counted in ends
        for reason in _TUNNEL_ERRORS
        if reason in counted
    ]
    text = "Packets of a peer that were dropped: late or twice (replayed), or with a wrong check value (failed)."
    yield _family(reading, "tunnel_dropped_packets", "counter", text, errors, "packets")


def _name(reading: Mapping[str, Any], index: int) -> str:
    """The server's name, or its index where it is not a neighbour, as in a fly."""
    return str(reading["servers"].get(str(index), index))
