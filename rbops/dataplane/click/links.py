"""What is said of servers and cables to the DirectVLBs of a running Click. Standard library only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rbops.dataplane.click.control import Control
from rbops.node.schema.dataplane import Fabric

__all__ = ["Links", "said"]


class Links:
    """What is said of servers and cables to every DirectVLB of a running Click. Lines are as its handlers want them."""

    def __init__(self, path: Path, cores: int, fabric: Fabric, timeout_s: float = 30.0) -> None:
        self._path, self._cores, self._timeout_s = path, range(cores), timeout_s
        internal = [port for port in fabric.ports if port.kind == "internal"]
        self._outputs = {port.name: output for output, port in enumerate(internal)}
        self._near = frozenset(port.peer_server for port in internal) | frozenset(fabric.next_hop)

    def server(self, handler: str, server: int, *, is_so: bool) -> None:
        """``alive``, ``answers`` or ``drained`` of a server. Nothing where no cable leads to it."""
        if server in self._near:
            self._write(handler, f"{server} {_word(is_so)}")

    def cable(self, handler: str, port: str, *, is_so: bool) -> None:
        """``cable`` or ``cable_answers`` of an internal port."""
        self._write(handler, f"{self._outputs[port]} {_word(is_so)}")

    def cut(self, server: int, row: bytes) -> None:
        """The servers that ``server`` cannot reach, a bit each."""
        self._write("cut", f"{server} {row.hex() or '00'}")

    def dead(self) -> int:
        """The servers that no link which works leads to, a bit each. NoClick (3) while Click does not answer."""
        with Control(self._path, self._timeout_s) as control:
            return sum(1 << server for server in _servers(control.read("vlb_c0.alive"), "false"))

    def _write(self, handler: str, line: str) -> None:
        with Control(self._path, self._timeout_s) as control:
            for core in self._cores:
                control.write(f"vlb_c{core}.{handler}", line)


def said(control: Control, elements: list[str]) -> dict[str, Any]:
    """What is said of servers, to any DirectVLB."""

    def servers(handler: str, word: str) -> list[int]:
        return sorted({server for name in elements for server in _servers(control.read(f"{name}.{handler}"), word)})

    cut = {tuple(map(int, line.split())) for name in elements for line in control.read(f"{name}.cut").splitlines()}
    return {
        "dead": servers("alive", "false"),
        "silent": servers("answers", "false"),
        "drained": servers("drained", "true"),
        "out_of_reach": [{"through": through, "to": to} for through, to in sorted(cut)],
    }


def _servers(text: str, word: str) -> list[int]:
    """Of lines ``SERVER true|false`` those with that word."""
    return [int(line.split()[0]) for line in text.splitlines() if line.split()[1:] == [word]]


def _word(is_so: bool) -> str:  # noqa: FBT001 - a value, not a switch
    return "true" if is_so else "false"
