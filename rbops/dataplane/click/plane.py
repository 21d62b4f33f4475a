"""The Click data plane of this server: started, changed and read over its control socket. Standard library only.

What runs says itself what it is: the configuration carries the digest of its own text, and the look-up lists its
routes. Routes change through handlers; another configuration comes by hot swap where Click can, by a restart of
the service where it cannot, where other elements were compiled than those in its memory, and where its command
line is another one (threads, program, devices).
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from rbops.dataplane.base import Difference
from rbops.dataplane.click import kernel_mode, keys, package
from rbops.dataplane.click.config import ClickConfig
from rbops.dataplane.click.control import Control, HandlerError, NoClick
from rbops.dataplane.click.counters import read_counters
from rbops.dataplane.click.links import Links, said
from rbops.dataplane.click.lookup import Routes, changes, chunks, digest, planned_routes, table
from rbops.dataplane.click.probing import ClickProbing, read_probes
from rbops.dataplane.click.process import command_of, systemctl, threads
from rbops.errors import CheckFailed, Mismatch, Where
from rbops.node.schema.dataplane import PlannedFile

__all__ = ["ClickPlane"]

_START_S = 30.0
_POLL_S = 0.05
_BY_SWAP = frozenset({"configuration", "routes", keys.SETTING})
"""What a hot swap mends: all that Click reads from its files."""

_MARKER = re.compile(r"return ([0-9a-f]{64})")
_VLB, _TABLE = re.compile(r"vlb_c\d+"), re.compile(r"rt_c\d+/table")
_RUN = Path("/run/rbops-click")
_ENVIRONMENT = _RUN / "environment"
_PROBES = _RUN / "probes"
_PARAMETERS = "$PARAMETERS"
_NOT_LOADED = 5
"""systemctl's exit code for a unit that is not there."""


class ClickPlane:
    """``devices`` maps planned port names to devices.

    All methods raise Mismatch (exit code 3) when the server cannot do what is planned, CheckFailed (1) when Click
    refuses something.
    """

    def __init__(self, config: ClickConfig, devices: Mapping[str, str]) -> None:
        self._config = config
        self._devices = devices
        self._unit = config.unit
        self._control = Path(config.control)
        self._left_out: frozenset[int] = frozenset()

    def diff(self) -> list[Difference]:
        """What ``apply`` would change, and how (hot swap, restart or handlers). Changes nothing."""
        running = self._running()
        want = self._config.marker
        if running is None:
            return [_difference("configuration", "none", f"{want} (start)")]
        found = self._restarts()
        if running != want:
            way = "hot swap" if self._swappable() and not found else "restart"
            found.append(_difference("configuration", running, f"{want} ({way})"))
        elif not found:
            found += self._key_differences()
            found += self._route_differences()
            found += self._thread_differences()
        return found

    def apply(self) -> list[str]:
        """Make everything as planned and say what was done; nothing was to do: an empty list."""
        todo = self.diff()
        if not todo:
            return []
        settings = {difference.setting for difference in todo}
        if settings == {"routes"}:
            return self._change_routes()
        self._check_kernel()
        text = self._check_file(self._config.config).decode("utf-8", "surrogateescape")
        self._check_file(self._config.library)
        keys.planned(text, self._key_file())
        if settings <= _BY_SWAP and self._running() and self._swappable():
            try:
                return self._swap()
            except HandlerError as error:
                raise CheckFailed(
                    f"Click refused the new configuration and still runs the old one: {error}",
                    hint=f"`click-check {self._config.config.path}` shows the errors",
                    code="click.swap-refused",
                ) from error
        return self._restart()

    def detach(self) -> None:
        """Stop Click and leave nothing of it in memory; nothing forwards then. Fine when it does not run."""
        done = systemctl("stop", self._unit)
        if done.returncode not in (0, _NOT_LOADED):
            raise CheckFailed(
                f"{self._unit} does not stop: {done.stderr.strip()}",
                hint=f"journalctl -u {self._unit}",
                code="click.stop",
            )
        systemctl("reset-failed", self._unit)
        shutil.rmtree(_RUN, ignore_errors=True)

    def set_alive(self, server: int, *, alive: bool) -> None:
        """Use, or leave out at once, the link towards ``server`` on every core. Mismatch while Click does not run."""
        self._links().server("alive", server, is_so=alive)

    def set_cable(self, name: str, *, alive: bool) -> None:
        """Use a cable of several to one server, by the name of its port, or leave it out. Mismatch as set_alive()."""
        self._links().cable("cable", name, is_so=alive)

    def set_drained(self, server: int, *, drained: bool) -> None:
        """Leave ``server`` out as an intermediate, or use it again; kept over a hot swap. Mismatch as set_alive()."""
        self._links().server("drained", server, is_so=drained)

    def leave_out(self, servers: frozenset[int]) -> None:
        """What ``apply`` drains as soon as another Click or another configuration answers."""
        self._left_out = servers

    def probing(self) -> ClickProbing:
        """What is heard of probes. Mismatch while Click does not run, and where the kernel does not have the ports."""
        if self._config.dialect != "socket":
            raise Mismatch("probes need ports that the kernel has: dialect socket", code="click.no-probes")
        return ClickProbing(self._config.fabric, self._devices, self._links(timeout_s=0.5), _PROBES)

    def instance(self) -> object:
        """Another value for each start of Click, which then believes all links alive; None while none runs."""
        try:
            found = self._control.stat()
        except OSError:
            return None
        return found.st_ino, found.st_ctime_ns

    def counters(self) -> dict[str, Any]:
        """What was counted since Click started, or was last hot-swapped where an element does not keep its counts."""
        with self._open() as control:
            found = read_counters(self._config, control)
        return {**found, "probes": read_probes(self._config.fabric, _PROBES)}

    def status(self) -> dict[str, Any]:
        """What runs: digests, process, threads with the CPUs they may run on; ``loaded`` False when nothing does."""
        result: dict[str, Any] = {"loaded": False, "kind": "click", "dialect": self._config.dialect}
        try:
            return result | self._status()
        except NoClick:
            return result

    def _status(self) -> dict[str, Any]:
        """Of the configuration that runs, which may have other cores than the planned one. NoClick when none does."""
        with self._open() as control:
            version = control.read("version").strip()
            elements = control.read("list").split()[1:]
            links = said(control, [name for name in elements if _VLB.fullmatch(name)])
            tables = [table(control, name) for name in sorted(elements, key=_natural) if _TABLE.fullmatch(name)]
        pid = self._pid()
        return {
            "loaded": True,
            "marker": self._running(),
            "version": version,
            "pid": pid,
            "elements": len(elements),
            "routes_sha256": [digest(routes) for routes in tables],
            "library_routes_sha256": self._library_digest(),
            "stale_keys": any(self._key_differences()),
            "threads": threads(pid),
            **links,
            "cables": read_probes(self._config.fabric, _PROBES),
        }

    def _open(self) -> Control:
        return Control(self._control)

    def _links(self, timeout_s: float = 30.0) -> Links:
        return Links(self._control, len(self._config.fabric.cores), self._config.fabric, timeout_s)

    def _drain(self) -> None:
        """Tell what runs since a moment; of a cluster with as many servers as before, a hot swap keeps it."""
        for server in self._left_out:
            self.set_drained(server, drained=True)

    def _running(self) -> str | None:
        """The digest of the configuration that runs; None when no Click answers, ``unknown`` for a foreign one."""
        try:
            with self._open() as control:
                match = _MARKER.search(control.read("configuration.config"))
        except NoClick:
            return None
        except HandlerError:
            return "unknown"
        return match[1] if match else "unknown"

    def _swappable(self) -> bool:
        """DPDK's queues cannot be made anew in a running Click; the kernel's module swaps by click-install."""
        return self._config.dialect == "socket"

    def _restarts(self) -> list[Difference]:
        """What another configuration in the same process would not change: its elements, its command line."""
        found = (self._stale_package(), self._other_command())
        return [difference for difference in found if difference]

    def _stale_package(self) -> Difference | None:
        """Whether other elements run than the next start loads: from other sources, or for another Click."""
        # In the kernel the package is a module; a process of another dialect may have left its package here.
        planned = package.planned() if self._config.dialect != kernel_mode.DIALECT else ""
        have = package.loaded(self._pid()) if planned else ""
        if have == planned:
            return None
        return _difference("element package", have or "none", f"{planned} (restart: element package changed)")

    def _other_command(self) -> Difference | None:
        """Whether Click was started by another command than the unit has, or for devices of other names."""
        want = [word for word in self._config.command if word != _PARAMETERS] + self._environment().split()
        have = command_of(self._pid())
        if not have or not self._config.command:
            # The kernel's module has no process that tells.
            want, have = self._environment().split(), self._stored_environment().split()
        elif "/" not in want[0]:
            have[0] = have[0].rpartition("/")[2]
        if have == want:
            return None
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(have, want, strict=False)))
        was, shall = " ".join(have[same:]), " ".join(want[same:])
        return _difference("command line", was or "shorter", f"{shall or 'shorter'} (restart: command line changed)")

    def _environment(self) -> str:
        """Click's parameters for devices that are called otherwise than the configuration says."""
        words = [
            f"{name}={self._devices[port]}"
            for name, port in sorted(self._config.parameters.items())
            if port in self._devices and self._devices[port] != self._config.defaults[name]
        ]
        return " ".join(words)

    def _stored_environment(self) -> str:
        try:
            text = _ENVIRONMENT.read_text(encoding="ascii")
        except FileNotFoundError:
            return ""
        return text.strip().removeprefix("PARAMETERS=")

    def _restart(self) -> list[str]:
        _ENVIRONMENT.parent.mkdir(mode=0o700, exist_ok=True)
        _ENVIRONMENT.write_text(f"PARAMETERS={self._environment()}\n", encoding="ascii")
        systemctl("daemon-reload")
        systemctl("reset-failed", self._unit)
        done = systemctl("restart", self._unit)
        if done.returncode:
            raise CheckFailed(
                f"{self._unit} does not start: {done.stderr.strip()}",
                hint=f"journalctl -u {self._unit}",
                code="click.start",
            )
        deadline = time.monotonic() + _START_S
        while self._running() != self._config.marker:
            if time.monotonic() > deadline or systemctl("is-active", "--quiet", self._unit).returncode:
                raise CheckFailed(
                    f"Click does not run: {self._last_words()}",
                    hint=f"journalctl -u {self._unit}",
                    code="click.not-running",
                )
            time.sleep(_POLL_S)
        self._drain()
        return [f"started {self._unit}"]

    def _last_words(self) -> str:
        systemctl("stop", self._unit)
        done = subprocess.run(
            ["journalctl", "-u", self._unit, "-n", "8", "-o", "cat", "--no-pager"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return "; ".join(line.strip() for line in done.stdout.splitlines() if line.strip()) or "it says nothing"

    def _swap(self) -> list[str]:
        """Click reads the new files while the old configuration forwards, then changes between two packets."""
        systemctl("daemon-reload")
        with self._open() as control:
            control.write("hotconfig", f"require(library {self._config.config.path});")
        deadline = time.monotonic() + _START_S
        while not self._swapped():
            if time.monotonic() > deadline:
                raise CheckFailed("Click accepted the new configuration, but still runs the old one", code="click.swap")
            time.sleep(_POLL_S)
        self._drain()
        return ["swapped the configuration"]

    def _swapped(self) -> bool:
        """The configuration may have been the same, with other keys or routes in the files that it reads."""
        same = self._running() == self._config.marker
        return same and not any(self._key_differences()) and not any(self._route_differences())

    def _check_kernel(self) -> None:
        if self._config.dialect == kernel_mode.DIALECT:
            kernel_mode.check(platform.release())

    def _check_file(self, planned: PlannedFile) -> bytes:
        path = Path(planned.path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise Mismatch(
                str(error.strerror),
                hint="push the configuration again",
                code="click.file",
                where=Where(file=str(path)),
            ) from error
        if hashlib.sha256(data).hexdigest() != planned.sha256:
            raise Mismatch("not the planned file", hint="push it again", code="click.file", where=Where(file=str(path)))
        return data

    def _planned(self) -> Routes:
        return planned_routes(self._check_file(self._config.library).decode("ascii"))

    def _library_digest(self) -> str | None:
        """None before the planned file was pushed."""
        try:
            return digest(self._planned())
        except Mismatch:
            return None

    def _tables(self) -> list[Routes]:
        with self._open() as control:
            return [table(control, f"rt_c{number}/table") for number in range(len(self._config.fabric.cores))]

    def _route_differences(self) -> Iterator[Difference]:
        try:
            want = self._planned()
        except Mismatch:
            return  # a check before the push: that the file is not the planned one is a difference of its own
        changed = [sum(1 for _ in changes(have, want)) for have in self._tables()]
        if any(changed):
            way = "handlers" if self._by_handlers() else "hot swap" if self._swappable() else "restart"
            have = f"{len(want)} routes, {max(changed)} differ"
            yield _difference("routes", have, f"{len(want)} routes (by {way})")

    def _key_file(self) -> Path:
        return Path(self._config.config.path).with_name(keys.NAME)

    def _key_differences(self) -> Iterator[Difference]:
        """Whether Click encrypts with other keys than those in its file, told without them."""
        if not self._config.ipsec_keys:
            return
        path = self._key_file()
        want = f"those in {path} ({'hot swap' if self._swappable() else 'restart'})"
        try:
            planned = keys.planned(self._check_file(self._config.config).decode("utf-8", "surrogateescape"), path)
        except Mismatch as error:
            yield _difference(keys.SETTING, str(error), want)
            return
        if self._running_keys() != planned:
            yield _difference(keys.SETTING, "others", want)

    def _running_keys(self) -> keys.Keys:
        try:
            with self._open() as control:
                numbers = range(len(self._config.fabric.cores))
                return keys.running(control.read(f"ipsec_c{number}.config") for number in numbers)
        except HandlerError:
            return {}  # another configuration runs, without tunnels

    def _thread_differences(self) -> Iterator[Difference]:
        found = threads(self._pid())
        for planned in self._config.threads:
            number = planned.thread
            have = found[number] if number < len(found) else "none"
            if have != str(planned.cpu):
                yield _difference(f"CPU of thread {number}", have, str(planned.cpu))

    def _by_handlers(self) -> bool:
        """Write handlers run on one thread and do not stop the others: a table that grows must not be searched then."""
        return len(self._config.fabric.cores) == 1

    def _change_routes(self) -> list[str]:
        if not self._by_handlers():
            return self._swap() if self._swappable() else self._restart()
        want = self._planned()
        count = 0
        for number, have in enumerate(self._tables()):
            with self._open() as control:
                for lines in chunks(changes(have, want)):
                    control.write(f"rt_c{number}/table.ctrl", "\n".join(lines))
                    count += len(lines)
        return [f"changed {count} routes"]

    def _pid(self) -> int:
        done = systemctl("show", "--property=MainPID", "--value", self._unit)
        return int(done.stdout.strip() or 0)


def _difference(setting: str, have: str, want: str) -> Difference:
    return Difference("data plane", setting, have, want)


def _natural(name: str) -> tuple[int, str]:
    """An order in which c2 comes before c10."""
    return len(name), name
