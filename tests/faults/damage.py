"""What can go wrong on servers and on the operator's machine, as functions of a lab: strike, and mend afterwards.

All reach the servers through their namespaces, never over the management network.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rbops.lab import layout
from rbops.lab.cgroup import lab_cgroup
from rbops.lab.command import run
from rbops.lab.manifest import LabPort, LabServer
from rbops.lab.model import Lab
from tests.deploy.serverstate import inside, state
from tests.faults.verb import Verb

__all__ = ["DAMAGES", "KILLS", "Damage", "Ground"]

_HANG_S = 3.0


@dataclass(frozen=True)
class Ground:
    """Where damage is done: the lab, the verb that runs, and the servers concerned."""

    lab: Lab
    verb: Verb
    servers: Sequence[str]
    second: Callable[[], int]
    """Runs another operator's apply to its end; its exit code."""

    def on_each(self, script: str) -> None:
        """Run a shell script on each server concerned; ``{i}`` in it is the server's number."""
        for server in self.servers:
            inside(self.lab, server, "sh", "-euc", script.replace("{i}", server.removeprefix("n")))


@dataclass(frozen=True)
class Damage:
    """``lasts``: it has to be mended before the servers answer or can be written to again.

    ``fires``: the servers' timers work meanwhile. ``cripples``: not even the revert can succeed before it is mended.
    """

    name: str
    strike: Callable[[Ground], None]
    mend: Callable[[Ground], None] = lambda _: None
    lasts: bool = False
    fires: bool = True
    cripples: bool = False


def _kill(signum: signal.Signals) -> Callable[[Ground], None]:
    return lambda ground: ground.verb.send(signum)


def _script(text: str) -> Callable[[Ground], None]:
    return lambda ground: ground.on_each(text)


def _management(verb: str) -> Callable[[Ground], None]:
    def change(ground: Ground) -> None:
        for server in ground.servers:
            device = state(ground.lab, server)["management"][0]  # an address stays on a link that is down
            inside(ground.lab, server, "ip", "link", "set", device, verb)

    return change


def _power_off(ground: Ground) -> None:
    for server in ground.servers:
        ground.lab.kill(server)


def _power_on(ground: Ground) -> None:
    for server in ground.servers:
        ground.lab.restart(server)


def _reboot(ground: Ground) -> None:
    for server in ground.servers:
        ground.lab.reboot(server)


def _hang(ground: Ground) -> None:
    """Everything on the server stands still for some seconds; its clocks go on."""
    groups = [layout.server_cgroup(lab_cgroup(ground.lab.name), ground.lab.manifest.server(s)) for s in ground.servers]
    for frozen in ("1", "0"):
        for group in groups:
            (group.path / "cgroup.freeze").write_text(frozen, encoding="ascii")
        time.sleep(_HANG_S if frozen == "1" else 0)


def _pull(ground: Ground) -> None:
    """A port goes as a NIC does that is taken out: with all its settings."""
    for server, port in _external(ground):
        item = f"{port.device},{port.mac},{port.queues},{port.mtu}"
        run(["ip", "netns", "exec", server.netns, sys.executable, "-P", "-m", "rbops.lab.reset", item])
        panel = ground.lab.manifest.panel
        run(["ip", "-n", server.netns, "link", "set", port.device, "netns", panel, "name", port.panel])


def _plug(ground: Ground) -> None:
    panel = ground.lab.manifest.panel
    for server, port in _external(ground):
        run(["ip", "-n", panel, "link", "set", port.panel, "netns", server.netns, "name", port.device], check=False)
    ground.on_each(_APPLY)


def _external(ground: Ground) -> list[tuple[LabServer, LabPort]]:
    servers = [ground.lab.manifest.server(name) for name in ground.servers]
    return [(server, port) for server in servers for port in server.ports if port.device.startswith("ext")]


def _second(ground: Ground) -> None:
    code = ground.second()
    assert code == 7, f"the second operator ended with {code}"


# A file system of its own over the folder, with its content and not a page more.
_FILL = """
mkdir -p {folder} /run/full /run/under
mount -t tmpfs -o size=16m,mode=0755 tmpfs /run/full
cp -a {folder}/. /run/full/
mount --bind /run/full {folder}
dd if=/dev/zero of=/run/full/filler bs=64k status=none 2>/dev/null || true
dd if=/dev/zero of=/run/full/filler.rest bs=4k status=none 2>/dev/null || true
"""
_EMPTY = """
mountpoint -q {folder} || exit 0
rm -f /run/full/filler /run/full/filler.rest
mount --bind / /run/under
mkdir -p /run/under{folder}
find /run/under{folder} -mindepth 1 -delete
cp -a /run/full/. /run/under{folder}/
umount /run/under
umount -l {folder}
umount -l /run/full
rmdir /run/full /run/under
"""
_READ_ONLY = "mount --bind {folder} {folder}; mount -o remount,bind,ro {folder}"
_WRITABLE = "while mountpoint -q {folder}; do umount -l {folder}; done"
_NO_TIMER = "mount --bind /bin/false /usr/bin/systemd-run"
_TIMER = "while mountpoint -q /usr/bin/systemd-run; do umount /usr/bin/systemd-run; done"
_CUT_FILE = "f=/etc/rbops/node.json; [ ! -e $f ] || truncate -s 100 $f"
# What is written there is accepted, and nothing of it is there afterwards.
_NO_EFFECT = "mount --bind /dev/null /proc/sys/net/ipv4/conf/ext{i}/log_martians"
_EFFECT = "while umount /proc/sys/net/ipv4/conf/ext{i}/log_martians 2>/dev/null; do :; done"
# Every Python that starts on the server from now on sees another day.
_CLOCK = """
printf 'import time\nt = time.time\ntime.time = lambda: t() {days} * 86400\n' > /run/another-day.py
mount --bind /run/another-day.py $(readlink -f /etc/python3*/sitecustomize.py)
"""
_CLOCK_BACK = """
f=$(readlink -f /etc/python3*/sitecustomize.py)
while mountpoint -q $f; do umount $f; done
rm -f /run/another-day.py
"""
# Where no change is open nothing but an apply gives a port its settings again.
_APPLY = "[ -e /var/lib/rbops/snapshot ] || [ ! -e /etc/rbops/node.json ] || rbops-node apply"

KILLS = (
    Damage("TERM", _kill(signal.SIGTERM)),
    Damage("HUP", _kill(signal.SIGHUP)),
    Damage("KILL", _kill(signal.SIGKILL)),
)
"""Signals to rbops itself."""


def _folder(script: str, folder: str) -> Callable[[Ground], None]:
    return _script(script.format(folder=folder))


DAMAGES = (
    Damage("management-cut", _management("down"), _management("up"), lasts=True),
    Damage("power-cut", _power_off, _power_on, lasts=True, fires=False),
    Damage("reboot", _reboot),
    Damage("hang", _hang),
    Damage("disk-full-var", _folder(_FILL, "/var/lib/rbops"), _folder(_EMPTY, "/var/lib/rbops")),
    Damage("disk-full-etc", _folder(_FILL, "/etc"), _folder(_EMPTY, "/etc")),
    Damage("read-only-etc", _folder(_READ_ONLY, "/etc"), _folder(_WRITABLE, "/etc"), cripples=True),
    Damage("cut-file", _script(_CUT_FILE)),
    Damage("no-timer", _script(_NO_TIMER), _script(_TIMER)),
    Damage("no-effect", _script(_NO_EFFECT), _script(_EFFECT), cripples=True),
    Damage("clock-ahead", _script(_CLOCK.replace("{days}", "+ 400")), _script(_CLOCK_BACK)),
    Damage("clock-back", _script(_CLOCK.replace("{days}", "- 400")), _script(_CLOCK_BACK)),
    Damage("port-lost", _pull, _plug, cripples=True),
    Damage("sshd-restarted", _script("systemctl restart ssh")),
    Damage("second-operator", _second),
)
"""What happens to servers, or beside rbops."""
