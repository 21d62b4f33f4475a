"""The state of servers beside a plan: healthy, or what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rbops.dataplane.base import NOT_LOADED
from rbops.deploy.status import ServerStatus
from rbops.report.tables import Block, Styled, Table
from rbops.report.words import duration

__all__ = ["problems", "status_blocks", "status_json"]

_SHORT = 12
_SHOWN = 3
_ALWAYS_ACTIVE = "rbops-watch.service"
_FOLLOWER = "rbops-fib.service"
_ANSWERS = "alive"
_ROUTES = (
    "server",
    "routes",
    "by protocol",
    "unresolved",
    "updates",
    "read anew",
    "overruns",
    "repaired",
    "memory",
)
_CABLES = ("server", "answer", "round trip", "longest", "probes", "missed", "changes", "not answering")
_SESSIONS = ("server", "session", "with", "AS", "state", "since", "accepted", "filtered", "announced")
_TUNNELS = ("server", "tunnel", "peer", "keys", "sent", "received", "replayed", "failed")
_SAMPLES = ("server", "one frame in", "from", "to", "samples", "dropped", "datagrams", "not sent")
_COLUMNS = ("server", "state", "plan", "data plane", "kept apart by", "kernel", "up", "open change", "locked by")


def status_blocks(found: Sequence[ServerStatus], digest: str) -> Iterator[Block]:
    """A row a server; below, what waits for a reboot."""
    yield Table(f"Servers, plan {digest[:_SHORT]}", _COLUMNS, tuple(_row(server, digest) for server in found))
    follow = [(server.name, server.node["routes"]) for server in found if server.node.get("routes")]
    if follow:
        yield Table("Routes", _ROUTES, tuple(_routes(name, routes) for name, routes in follow))
    probing = [(server.name, cables) for server in found if (cables := _cables_of(server))]
    if probing:
        yield Table("Cables, by the probes that far ends answer", _CABLES, tuple(_cables(*one) for one in probing))
    sessions = [
        _session(server.name, each)
        for server in found
        for each in (server.node.get("daemon") or {}).get("sessions", ())
    ]
    if sessions:
        yield Table("Sessions", _SESSIONS, tuple(sessions))
    tunnels = [_tunnel(server.name, each) for server in found for each in server.node.get("tunnels", ())]
    if tunnels:
        yield Table("Tunnels, since their associations are there", _TUNNELS, tuple(tunnels))
    sampling = [(server.name, sent) for server in found if (sent := server.node.get("sflow"))]
    if sampling:
        yield Table("Samples sent (sFlow)", _SAMPLES, tuple(_samples(*one) for one in sampling))
    waiting = [
        f"{server.name}: reboot required: {'; '.join(map(str, server.waiting))}" for server in found if server.waiting
    ]
    lines = [*waiting, *_drained(found), *_network(found)]
    if lines:
        yield "\n".join(lines)


def _samples(name: str, sent: Mapping[str, Any]) -> tuple[Styled | str, ...]:
    to = f"{sent['collector']} port {sent['port']}"
    failed = ", ".join(f"{count:,} ({reason})" for reason, count in sent["errors"].items())
    numbers = (f"{sent[key]:,}" for key in ("samples", "lost", "datagrams"))
    return name, f"{sent['sampling']:,}", sent["agent"], to, *numbers, failed or "0"


_NOT_READ = {
    "ssh.connection-lost": "unreachable",
    "ssh.host-key-changed": "other host key",
    "ssh.host-key-revoked": "revoked host key",
    "ssh.host-key-unknown": "unknown host key",
    "ssh.jump-host": "jump host fails",
    "ssh.jump-host-forward": "unreachable",
    "ssh.login-refused": "login refused",
    "ssh.no-answer": "unreachable",
    "ssh.no-command": "login refused",
    "ssh.no-connection": "unreachable",
    "ssh.sudo": "sudo refused",
    "ssh.timeout": "unreachable",
}
"""Why a server could not be read, in a word or two, by the error's code."""


def _drained(found: Sequence[ServerStatus]) -> Iterator[str]:
    """Which servers are no intermediates, and of whom."""
    names = {server.node["index"]: server.name for server in found if "index" in server.node}
    by: dict[int, list[str]] = {}
    for server in found:
        for index in (server.node.get("dataplane") or {}).get("drained", ()):
            by.setdefault(index, []).append(server.name)
    for index, told in sorted(by.items()):
        yield f"{names.get(index, f'server {index}')} is drained: {', '.join(told)} send nothing through it"


def _network(found: Sequence[ServerStatus]) -> Iterator[str]:
    """What is missing of rules, routes and addresses, and what the watch has put back."""
    for server in found:
        missing = [f"{one['subject']}: {one['setting']}" for one in server.node.get("missing", ())]
        if missing:
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            yield f"{server.name}: missing: {'; '.join(missing[:_SHOWN])}{more}"
        back = server.node.get("restored")
        if back:
            ago = duration(back["age_s"])
            last = f"{back['last']}, {ago} ago ({back['count']} in all)"
            yield f"{server.name}: restored after another program took it away: {last}"


def status_json(found: Sequence[ServerStatus], digest: str) -> dict[str, Any]:
    """The same as an object; ``problems`` of a healthy server is empty."""
    servers = {server.name: {**server.to_dict(), "problems": problems(server, digest)} for server in found}
    return {"schema_version": 1, "digest": digest, "servers": servers}


def problems(server: ServerStatus, digest: str) -> tuple[str, ...]:
    """Why ``server`` is not healthy with the plan ``digest``, most important first; empty when it is.

    Units that only run at boot, and those of the data plane that is not planned, are inactive on a healthy server.
    """
    if server.error:
        return (_NOT_READ.get(server.error_code or "", "not readable"),)
    if server.digest is None:
        return ("no plan",)
    return tuple(_problems(server, digest))


def _problems(server: ServerStatus, digest: str) -> Iterator[str]:
    if server.digest != digest:
        yield "other plan"
    if server.dataplane in {None, NOT_LOADED}:
        yield "data plane not loaded"
    for unit, state in server.services.items():
        if state == "failed" or (unit == _ALWAYS_ACTIVE and state != "active"):
            yield f"{unit.removesuffix('.service')} {state}"
    yield from _network_problems(server)
    if "sflow" in server.node and server.node["sflow"] is None:
        yield "no samples sent"
    if server.waiting:
        yield "reboot required"
    if server.transaction:
        yield "change not confirmed"


def _network_problems(server: ServerStatus) -> Iterator[str]:
    """Of routes, rules and cables."""
    yield from _routing_problems(server)
    if server.node.get("missing"):
        yield "network incomplete"
    down = [each for each in server.node.get("tunnels", ()) if each.get("ike", {"state": "up"})["state"] != "up"]
    for each in down[:_SHOWN]:
        why = each["ike"].get("error")
        yield f"tunnel {each['tunnel']} {each['ike']['state']}" + (f" ({why})" if why else "")
    silent = [port for port, cable in _cables_of(server).items() if cable["state"] != _ANSWERS]
    if silent:
        more = f" and {len(silent) - _SHOWN} more" if len(silent) > _SHOWN else ""
        yield f"no answer on {', '.join(silent[:_SHOWN])}{more}"


def _cables_of(server: ServerStatus) -> Mapping[str, Any]:
    """What the data plane knows of cables that are probed, by port."""
    cables: Mapping[str, Any] = (server.node.get("dataplane") or {}).get("cables") or {}
    return {port: cable for port, cable in cables.items() if cable["sent"]}


def _cables(name: str, cables: Mapping[str, Any]) -> tuple[str | Styled, ...]:
    times = sorted(cable["round_trip_us"] for cable in cables.values() if cable["round_trip_us"] is not None)
    silent = [f"{port} ({cable['state']})" for port, cable in cables.items() if cable["state"] != _ANSWERS]
    totals = [sum(cable[key] for cable in cables.values()) for key in ("sent", "missed", "transitions")]
    return (
        name,
        f"{len(cables) - len(silent)} of {len(cables)}",
        f"{times[len(times) // 2]:,.0f} us" if times else "-",
        f"{times[-1]:,.0f} us" if times else "-",
        *(f"{total:,}" for total in totals),
        Styled(", ".join(silent), "bad") if silent else "-",
    )


def _routing_problems(server: ServerStatus) -> Iterator[str]:
    if (server.node.get("dataplane") or {}).get("follows") and server.services.get(_FOLLOWER) != "active":
        yield f"{_FOLLOWER.removesuffix('.service')} {server.services.get(_FOLLOWER)}: routes are not followed"
    if (routes := server.node.get("routes") or {}).get("full"):
        yield f"no memory for the routes of {routes['full']} /16s"
    if error := (server.node.get("daemon") or {}).get("error"):
        yield f"{server.node['daemon']['daemon']}: {error}"


def _routes(name: str, routes: Mapping[str, Any]) -> tuple[str | Styled, ...]:
    """What follows the routes of a server says of itself."""
    known = {"82": "static", "12": "bird", "11": "zebra", "186": "bgp", "188": "ospf", "3": "by hand", "2": "kernel"}
    protocols = ", ".join(f"{count:,} {known.get(number, number)}" for number, count in routes["protocols"].items())
    unresolved = routes["unresolved"]
    return (
        name,
        f"{routes['routes']:,}",
        protocols or "-",
        Styled(f"{unresolved:,}", "bad") if unresolved else "0",
        f"{routes['updates']:,}",
        str(routes["resyncs"]),
        str(routes["overruns"]),
        Styled(str(routes["repaired"]), "bad") if routes["repaired"] else "0",
        f"{routes['memory_bytes'] >> 10:,} of {routes['room_bytes'] >> 10:,} KiB" if "room_bytes" in routes else "-",
    )


def _tunnel(name: str, tunnel: Mapping[str, Any]) -> tuple[str | Styled, ...]:
    """Packets; where the peer's are decrypted elsewhere only those that were sent. Failed: a wrong key, or tampered."""
    out, inward = tunnel.get("out"), tunnel.get("in")
    sent = f"{out['packets']:,}" if out else Styled("no association", "bad")
    head = (name, str(tunnel["tunnel"]), str(tunnel["peer"]), _keys(tunnel.get("ike")), sent)
    if inward is None:
        return (*head, "-", "-", "-")
    failed = f"{inward['failed']:,}"
    return (
        *head,
        f"{inward['packets']:,}",
        f"{inward['replayed']:,}",
        Styled(failed, "bad") if inward["failed"] else failed,
    )


def _keys(ike: Mapping[str, Any] | None) -> str | Styled:
    """Where a tunnel's keys are from; of IKE since when, until when, or why not."""
    if ike is None:
        return "from a file"
    if ike["state"] != "up":
        return Styled(f"IKE {ike['state']}" + (f": {ike['error']}" if "error" in ike else ""), "bad")
    rekey = f", new keys in {duration(ike['rekey_s'])}" if "rekey_s" in ike else ""
    return f"IKE, up for {duration(ike['established_s'])}{rekey}"


def _session(name: str, session: Mapping[str, Any]) -> tuple[str | Styled, ...]:
    """A routing daemon's session; of OSPF all neighbours together."""
    return (
        name,
        str(session["name"]),
        str(session.get("description") or session.get("neighbor") or "-"),
        str(session.get("as", "-")),
        str(session["info"]) if session["up"] else Styled(str(session["info"] or "down"), "bad"),
        str(session["since"]),
        *("-" if session[what] is None else f"{session[what]:,}" for what in ("imported", "filtered", "exported")),
    )


def _row(server: ServerStatus, digest: str) -> tuple[str | Styled, ...]:
    found = problems(server, digest)
    state = Styled(", ".join(found), "bad") if found else Styled("healthy", "good")
    if server.error:
        return (server.name, state, *("-" for _ in _COLUMNS[2:]))
    return (
        server.name,
        state,
        _plan(server.digest, digest),
        server.dataplane or "-",
        str(server.node.get("separation", "-")),
        server.kernel or "-",
        duration(server.uptime_s),
        server.transaction or "-",
        server.lock or "-",
    )


def _plan(has: str | None, planned: str) -> str:
    if has is None:
        return "none"
    return "this one" if has == planned else has[:_SHORT]
