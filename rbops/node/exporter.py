"""``rbops-node export``: answers Prometheus on the management addresses, and on no other."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rbops.common.openmetrics import OPENMETRICS, TEXT, text
from rbops.errors import CheckFailed, Mismatch, Where
from rbops.node import management
from rbops.node.metrics import families
from rbops.node.schema.exporter import ExporterConfig
from rbops.node.system import System

__all__ = ["addresses", "serve"]

_PATH = "/metrics"
_SLOW_S, _FRESH_S, _LOOK_S = 5.0, 1.0, 15.0
_INDEX = b"<html><head><title>rbops-node</title></head><body><a href='/metrics'>metrics</a></body></html>\n"

Read = Callable[[], Mapping[str, Any]]
"""Gives a reading of :mod:`rbops.node.sample`."""


def addresses(config: ExporterConfig, ports: Iterable[str], system: System) -> tuple[str, ...]:
    """Where to listen: the server's management addresses (:mod:`rbops.node.management`), never one of a data port.

    ``ports``: data ports' devices. Mismatch (3) where there is none.
    """
    chosen = management.addresses(config.network, ports, system)
    if not chosen:
        where = f"in {config.network}" if config.network else "besides those of data ports"
        raise Mismatch(
            f"the exporter has no address: this server has none {where}",
            code="node.exporter-address",
            where=Where(field="exporter"),
            hint="write the management network as `monitoring: {exporter: {network: PREFIX}}` in the spec",
        )
    return chosen


@dataclass(slots=True)
class _Source:
    """Readings, at most one a second: whoever asks more often is given the last one again."""

    read: Read
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _at: float = -_FRESH_S
    _last: Mapping[str, Any] | None = None

    def text(self, *, old: bool) -> str:
        with self._lock:
            if self._last is None or time.monotonic() - self._at >= _FRESH_S:
                self._last = self.read()
                self._at = time.monotonic()
            reading = self._last
        return text(families(reading), old=old)


class _Server(ThreadingHTTPServer):
    """One address. Each connection has a thread of its own; systemd limits their number (TasksMax)."""

    daemon_threads = True

    def __init__(self, address: str, port: int, source: _Source) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.source = source
        super().__init__((address, port), _Handler)

    def server_bind(self) -> None:
        """Without the look-up of a name that http.server makes."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.socket.getsockname()[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that disconnect or time out are not logged."""


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "rbops-node", ""
    timeout = _SLOW_S
    server: _Server

    def do_GET(self) -> None:
        """The metrics, or a page that leads there."""
        path = self.path.partition("?")[0]
        if path == _PATH:
            self._metrics()
        elif path == "/":
            self._answer(200, "text/html; charset=utf-8", _INDEX)
        else:
            self._answer(404, "text/plain; charset=utf-8", b"not found: metrics are at /metrics\n")

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def _metrics(self) -> None:
        old = "application/openmetrics-text" not in self.headers.get("Accept", "")
        try:
            body = self.server.source.text(old=old).encode()
        except Exception as error:  # noqa: BLE001 - Prometheus shall see that this scrape failed, whatever it was
            self._answer(500, "text/plain; charset=utf-8", f"{error}\n".encode())
            return
        self._answer(200, TEXT if old else OPENMETRICS, body)

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Nothing: a scrape every few seconds would fill the journal."""


def serve(
    port: int,
    read: Read,
    find: Callable[[], tuple[str, ...]],
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Answer until the addresses that ``find`` gives are others: systemd starts it again then.

    CheckFailed (1) where it cannot listen.
    """
    source, chosen = _Source(read), find()
    servers: list[_Server] = []
    try:
        for address in chosen:
            try:
                servers.append(_Server(address, port, source))
            except OSError as error:
                raise CheckFailed(
                    f"cannot listen on {address} port {port}: {error.strerror or error}",
                    code="node.exporter-listen",
                    hint="another program may have the port: `ss -ltnp`; choose another with monitoring.exporter.port",
                ) from error
        for server in servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        say(f"metrics at {', '.join(f'{_quoted(address)}:{port}' for address in chosen)}{_PATH}")
        while find() == chosen:
            sleep(_LOOK_S)
        say("the management addresses have changed")
    finally:
        for server in servers:
            server.server_close()


def _quoted(address: str) -> str:
    return f"[{address}]" if ":" in address else address
