"""What a router does now: the rates between two readings of its servers (``rbops-node sample``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rbops.deploy.live import Answer
from rbops.plan import ClusterPlan

__all__ = ["Rates", "rates"]

Reading = Mapping[str, Any]
Rates = dict[str, Any]
"""Lists of rows by what they are of, as they are printed with ``--format json``; packets and bits a second."""

_BITS = 8


def rates(plan: ClusterPlan, before: Mapping[str, Reading], answers: Sequence[Answer]) -> Rates:
    """A row for each server, port, core, queue, reason, path and session that there is.

    ``before``: the reading that a server gave last; without one it has a row among ``servers`` alone. ``share`` is of
    the planned rate, or of the packets to the same server; None where nothing was sent. A counter that began anew
    counts from zero.
    """
    found: Rates = {key: [] for key in ("servers", "ports", "cores", "queues", "reasons", "paths", "sessions")}
    names = {server.index: server.name for server in plan.servers}
    for answer in answers:
        new, old = answer.reading, before.get(answer.server)
        found["servers"].append(_server(answer, old, names))
        if new is not None:
            daemon = new.get("daemon") or {}
            found["sessions"] += [{"server": answer.server, **each} for each in daemon.get("sessions", ())]
        if new is None or old is None or new["at_s"] <= old["at_s"]:
            continue
        pair = _Pair(answer.server, old, new)
        found["ports"] += pair.ports()
        found["cores"] += pair.cores()
        found["queues"] += pair.queues()
        found["reasons"] += pair.reasons()
        found["paths"] += pair.paths(names)
    return found


def _server(answer: Answer, old: Reading | None, names: Mapping[int, str]) -> dict[str, Any]:
    new = answer.reading
    if new is None:
        said = str(answer.error) if answer.error else None
        return {"server": answer.server, "state": "not readable" if said else "no answer", "error": said}
    plane = new["dataplane"]
    row: dict[str, Any] = {
        "server": answer.server,
        "state": "forwards" if plane.get("loaded") else "not loaded",
        "error": new.get("error"),
        "dead": [names.get(index, str(index)) for index in plane.get("dead", ())],
        "drained": [names.get(index, str(index)) for index in plane.get("drained", ())],
        "transaction": new["transaction"],
    }
    if old is None or new["at_s"] <= old["at_s"]:
        return row
    pair = _Pair(answer.server, old, new)
    return {**row, **pair.total()}


class _Pair:
    """Two readings of one server."""

    def __init__(self, server: str, old: Reading, new: Reading) -> None:
        self._server, self._old, self._new = server, old, new
        self._seconds: float = new["at_s"] - old["at_s"]
        self._before: Mapping[str, Any] = old.get("counters") or {}
        self._after: Mapping[str, Any] = new.get("counters") or {}

    def rate(self, before: float | None, after: float) -> float:
        """A second; from zero where the counter began anew."""
        gone = after - (before or 0)
        return round((gone if gone >= 0 else after) / self._seconds, 3)

    def total(self) -> dict[str, Any]:
        """What a server did, all its cores together."""
        before, after = self._before.get("total") or {}, self._after.get("total") or {}

        def of(kind: str, names: Sequence[str] | None = None) -> float:
            numbers, earlier = after.get(kind, {}), before.get(kind, {})
            chosen = numbers if names is None else [name for name in names if name in numbers]
            return round(sum(self.rate(earlier.get(name), numbers[name]) for name in chosen), 3)

        return {
            "seconds": round(self._seconds, 3),
            "received_pps": of("received", ("external",)),
            "fabric_pps": of("received", ("internal",)),
            "dropped_pps": of("dropped"),
            "punted_pps": of("punted"),
        }

    def ports(self) -> Iterator[dict[str, Any]]:
        known = {port["name"]: port for port in self._new["ports"]}
        for name, numbers in self._after.get("ports", {}).items():
            port, earlier = known[name], self._before.get("ports", {}).get(name, {})
            row = {"server": self._server, "port": name, "kind": port["kind"], "id": port["id"], "peer": port["peer"]}
            for way in ("rx", "tx"):
                packets, size = f"{way}_packets", f"{way}_bytes"
                bits = self.rate(earlier.get(size), numbers[size]) * _BITS
                row[f"{way}_pps"] = self.rate(earlier.get(packets), numbers[packets])
                row[f"{way}_bps"] = round(bits, 3)
                row[f"{way}_share"] = round(bits / port["rate_bps"], 6)
            yield row

    def cores(self) -> Iterator[dict[str, Any]]:
        for core in sorted({*self._after.get("cores", {}), *self._new["cpus"]}, key=int):
            numbers = self._after.get("cores", {}).get(core)
            earlier = self._before.get("cores", {}).get(core, {})
            row: dict[str, Any] = {"server": self._server, "core": int(core)}
            for kind, name in (("received", "received_pps"), ("dropped", "dropped_pps"), ("punted", "punted_pps")):
                each = {} if numbers is None else numbers[kind]
                row[name] = round(sum(self.rate(earlier.get(kind, {}).get(key), each[key]) for key in each), 3)
            time, was = self._new["cpus"].get(core), self._old["cpus"].get(core)
            for key in ("busy", "softirq"):
                row[key] = None if time is None or was is None else self.rate(was[f"{key}_s"], time[f"{key}_s"])
            yield row

    def queues(self) -> Iterator[dict[str, Any]]:
        ports = self._new["queues"]["ports"]
        for name, port in ports.items():
            earlier = self._old["queues"]["ports"].get(name, {"packets": {}, "irqs": []})
            vectors = {(irq["queue"], irq["number"]): irq["cpus"] for irq in earlier["irqs"]}
            for queue, packets in port["packets"].items():
                cpus: set[str] = set()
                for irq in port["irqs"]:
                    was = vectors.get((irq["queue"], irq["number"]), {})
                    if str(irq["queue"]) == queue:
                        cpus |= {cpu for cpu, count in irq["cpus"].items() if count > was.get(cpu, 0)}
                yield {
                    "server": self._server,
                    "port": name,
                    "queue": int(queue),
                    "rx_pps": self.rate(earlier["packets"].get(queue), packets),
                    "cores": sorted(map(int, cpus)),
                }

    def reasons(self) -> Iterator[dict[str, Any]]:
        """Those that ever occurred."""
        for kind in ("dropped", "punted"):
            earlier = (self._before.get("total") or {}).get(kind, {})
            for reason, number in ((self._after.get("total") or {}).get(kind, {})).items():
                if number:
                    pps = self.rate(earlier.get(reason), number)
                    yield {"server": self._server, "what": kind, "reason": reason, "pps": pps, "total": number}

    def paths(self, names: Mapping[int, str]) -> Iterator[dict[str, Any]]:
        """For each output server how what is sent to it is shared among the paths."""
        earlier = {(path["to"], path["via"]): path["packets"] for path in self._before.get("paths", ())}
        by_target: dict[int, dict[str, float]] = {}
        for path in self._after.get("paths", ()):
            via = "direct" if path["via"] is None else names.get(path["via"], str(path["via"]))
            pps = self.rate(earlier.get((path["to"], path["via"])), path["packets"])
            by_target.setdefault(path["to"], {})[via] = pps
        for to, over in sorted(by_target.items()):
            total = sum(over.values())
            shares = {via: round(pps / total, 4) for via, pps in over.items()} if total else None
            yield {"server": self._server, "to": names.get(to, str(to)), "pps": round(total, 3), "shares": shares}
