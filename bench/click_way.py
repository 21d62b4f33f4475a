"""Click's socket dialect as one more way to forward, for bench/dataplane.py."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rbops
from rbops.dataplane.click.control import Control, NoClick
from rbops.dataplane.click.controller.build import Click, build
from rbops.planner import load_plan
from rbops.render import render

__all__ = ["ClickWay", "click_way"]

_START_S = 60.0
# The fourth link is one to a fifth server: it has the same work to do for all of them.
_SPEC = """\
name: bench
router: {external_ports: 5, line_rate: 10Gbps}
servers:
  hardware:
    {sockets: 1, cores_per_socket: 1, clock: 3GHz, nics: [{driver: veth, ports: 16, port_rate: 10Gbps, queues: 1}]}
dataplane: click
click: {dialect: socket}
routes: {file: routes.csv}
"""


@dataclass(frozen=True)
class ClickWay:
    """A rendered server and the Click to run it, in the caller's network namespace and on its core."""

    click: Click
    folder: Path

    @contextmanager
    def running(self) -> Iterator[Callable[[], float]]:
        """Forward meanwhile; gives the CPU seconds of the process so far."""
        control = self.folder / "control"
        command = [str(self.click.program), "-u", str(control), str(self.folder / "router.click"), "INT4=ext4"]
        environment = {**os.environ, "CLICKPATH": f"{self.folder}:"}
        # The kernel would forward the same frames as well: rbops-node drops them behind Click's socket, so does this.
        _run("tc", "qdisc", "add", "dev", "ext0", "clsact")
        drop = ("bpf", "da", "bytecode", "1,6 0 0 2")
        _run("tc", "filter", "add", "dev", "ext0", "ingress", "protocol", "all", *drop)
        process = subprocess.Popen(command, env=environment)
        try:
            _wait(process, control)
            yield lambda: int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9
        finally:
            process.terminate()
            process.wait()
            _run("tc", "qdisc", "del", "dev", "ext0", "clsact")


def click_way(click: Click, folder: Path, table: tuple[Any, ...]) -> ClickWay:
    """Compile the elements, plan and render a server with ``table``'s routes, made for the caller's namespace."""
    folder.mkdir()
    build(click, Path(rbops.__file__).parent / "dataplane" / "click", folder)
    lines = ["prefix,via"]
    for prefix, length, value in zip(*(column.tolist() for column in table), strict=True):
        dotted = ".".join(str(prefix >> shift & 255) for shift in (24, 16, 8, 0))
        lines.append(f"{dotted}/{length},198.18.{value >> 16}.2")
    (folder / "routes.csv").write_text("\n".join(lines) + "\n")
    (folder / "router.yml").write_text(_SPEC)
    for file in render(load_plan(folder / "router.yml")).files_of("n0"):
        if file.path.endswith(".click"):
            (folder / Path(file.path).name).write_bytes(file.content)
    _run("ip", "tuntap", "add", "dev", "rbops0", "mode", "tap")
    return ClickWay(click, folder)


def _wait(process: subprocess.Popen[bytes], control: Path) -> None:
    """Until Click has read its routes and forwards."""
    deadline = time.monotonic() + _START_S
    while True:
        try:
            with Control(control) as opened:
                opened.read("version")
                return
        except NoClick:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("Click does not start") from None
            time.sleep(0.05)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
