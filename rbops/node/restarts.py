"""Which services have to start again after an apply: those whose input is another one than they read at their start.

A service reads node.json once. It then keeps a digest of what it reads: its program, its unit, and its part of
node.json. Whatever else changes (routes, neighbours, quotas, sysctls) it runs on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rbops.node.schema import NodeConfig
from rbops.node.state import write_whole

__all__ = ["EXPORTER", "FIB", "SFLOW", "UNREAD", "WATCH", "Started"]

WATCH, FIB, EXPORTER = "rbops-watch.service", "rbops-fib.service", "rbops-exporter.service"
SFLOW = "rbops-sflow.service"

UNREAD = frozenset(
    {
        "addresses",
        "adjacencies",
        "answer_from",
        "answer_from6",
        "direct_quota_bps",
        "flowlet_timeout_s",
        "follow",
        "marker",
        "owners",
        "punts",
        "urpf",
    }
)
"""Keys of a data plane that the watch does not need: what is done with packets, and how a configuration is known."""


@dataclass(frozen=True, slots=True)
class Started:
    """Where services keep what they have read: folders that systemd makes and takes away with them.

    Tests put others in.
    """

    run: Path = Path("/run")
    units: Path = Path("/etc/systemd/system")
    program: Path = Path("/usr/sbin/rbops-node")

    def keep(self, unit: str, config: NodeConfig, names: Mapping[str, str]) -> None:
        """At the start of a service; ``names``: planned port -> device."""
        path = self._file(unit)
        if path.parent.is_dir():  # by hand, outside of its unit, it has none
            write_whole(path, self._digest(unit, config, names).encode())

    def outdated(self, config: NodeConfig, names: Mapping[str, str]) -> list[str]:
        """The services that would read something else now, or never said what they read."""
        optional = {EXPORTER: config.exporter, SFLOW: config.sflow}
        units = (WATCH, FIB, *(unit for unit, wanted in optional.items() if wanted is not None))
        return [unit for unit in units if self._kept(unit) != self._digest(unit, config, names)]

    def _kept(self, unit: str) -> str:
        try:
            return self._file(unit).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return ""

    def _file(self, unit: str) -> Path:
        return self.run / unit.removesuffix(".service") / "input"

    def _digest(self, unit: str, config: NodeConfig, names: Mapping[str, str]) -> str:
        read = hashlib.sha256(_bytes(self.program))
        # A unit's comments name the plan, which is another one after every change.
        lines = [line for line in _bytes(self.units / unit).splitlines() if not line.startswith(b"#")]
        read.update(b"\n".join(lines))
        read.update(json.dumps([_part(unit, config), dict(names)], sort_keys=True).encode())
        return read.hexdigest()


def _part(unit: str, config: NodeConfig) -> object:
    """What a service reads of node.json. Files of the data plane are not opened by it."""
    if unit == EXPORTER:
        # All else it reads anew for each reading.
        return None if config.exporter is None else config.exporter.to_json()
    if unit == SFLOW:
        ports = [[port.name, port.rate_bps, port.addresses] for port in config.ports]
        return [None if config.sflow is None else config.sflow.to_json(), ports]
    unread = {key for key in config.dataplane.to_json() if key.endswith("_sha256")}
    if unit == WATCH:
        unread |= UNREAD
    plane = {key: value for key, value in config.dataplane.to_json().items() if key not in unread}
    ports = [[port.name, port.kind, port.peer_server, port.nic.bind] for port in config.ports]
    return [config.server, plane, ports]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
