"""Puts back what another manager of the network took away: rules, routes, addresses, the VRF's ports.

The kernel tells what goes (rtnetlink's groups); whatever it is, this server's place in the network is then compared
with what was applied last. What others add beside it stays, for `rbops diff` to show.

Routes whose planned internal port has no carrier are left alone: rbops-fib leads the server's own packets over another
port meanwhile (``detour.py``), and where it does not run, none would arrive. They are compared again when the cable is
back.
"""

from __future__ import annotations

import errno
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from rbops.errors import RbopsError
from rbops.node import rules, table
from rbops.node.devices import PROTOCOL, resolve
from rbops.node.execute import execute
from rbops.node.files import planned_files
from rbops.node.network import Network
from rbops.node.schema import NodeConfig
from rbops.node.settings import Setting, differing
from rbops.node.socketfilter import attach
from rbops.node.state import State, read_json, write_whole
from rbops.node.system import System

__all__ = ["follow", "mended", "missing", "network", "record", "restore", "restored"]

_GROUPS = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18
"""Links; IPv4 addresses, routes, rules; those of IPv6 (RTMGRP_..., RTNLGRP_IPV6_RULE, linux/rtnetlink.h)."""
_TOLD = (16, 17, 21, 32, 33)  # RTM_NEWLINK, DELLINK, DELADDR, NEWRULE, DELRULE
_DELROUTE, _PROTOCOL_AT = 25, 21  # RTM_DELROUTE; rtm_protocol behind the header (linux/rtnetlink.h)
_KEPT = 20
_AGAIN_S = 1.0
_MORE = 100_000


def network(config: NodeConfig, system: System, state: State) -> Network:
    """As far as it can be known: without the planned table of routes, all but neighbours and routes.

    Raises Mismatch (3) where a device is not there.
    """
    right = config.routes.file not in {s.subject.removeprefix("file ") for s in differing(planned_files(config))}
    rows = tuple(table.rows(table.load(config))) if right else None
    return Network(system, config, state, resolve(config, system), rows, mends=True)


def missing(found: Network) -> list[Setting]:
    """What is planned and not there, in the order in which it can be made."""
    stages = [*found.before_ports(), *found.after_ports()]
    return [setting for _, stage in stages for setting in stage() if _lacks(setting)]


def _lacks(setting: Setting) -> bool:
    """A stranger is not restored to its absence, but among rules: there it decides in place of the planned ones."""
    return setting.differs and (setting.want != "absent" or setting.subject in (rules.SUBJECT, rules.SUBJECT6))


def restore(found: Network) -> list[Setting]:
    """Make what is missing, in order; CheckFailed (1) for what cannot be.

    Such as a route over an external port that is down.
    """
    done: list[Setting] = []
    for _, stage in (*found.before_ports(), *found.after_ports()):
        todo = [setting for setting in stage() if _lacks(setting)]
        execute(found.system, [action for setting in todo for action in setting.actions])
        done += todo
    if done:
        found.remember()
    return done


def record(state: State, done: list[Setting], now: float | None = None) -> None:
    """Keep what was restored, for `status`: the last twenty, and how many there were."""
    before = read_json(state.restored) or {"count": 0, "entries": []}
    at = time.time() if now is None else now
    entries = [*before["entries"], *({"at": at, **setting.to_json()} for setting in done)]
    value = {"schema_version": 1, "count": before["count"] + len(done), "entries": entries[-_KEPT:]}
    write_whole(state.restored, json.dumps(value).encode())


def restored(state: State, now: float | None = None) -> dict[str, Any] | None:
    """How many things were restored, the last of them and its age; None when none was."""
    known = read_json(state.restored)
    if not known or not known["entries"]:
        return None
    last = known["entries"][-1]
    age = int((time.time() if now is None else now) - last["at"])
    return {"count": known["count"], "age_s": max(0, age), "last": f"{last['subject']}: {last['setting']}"}


def follow(mend: Callable[[], bool], *, rounds: int | None = None) -> None:
    """Call ``mend`` at first and after every change, until killed (or ``rounds`` times); again when it says False."""
    for number, _ in enumerate(_changes(mend), 1):
        if rounds is not None and number >= rounds:
            return


def _changes(mend: Callable[[], bool]) -> Iterator[None]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        _listen(link)
        link.bind((0, _GROUPS))
        while True:
            done = mend()
            yield
            link.settimeout(None if done else _AGAIN_S)
            _wait(link)


def _wait(link: socket.socket) -> None:
    """Until something was told, and then all of it."""
    try:
        link.recv(1 << 16)
        link.setblocking(False)  # noqa: FBT003 - the name of the method says it
        for _ in range(_MORE):
            link.recv(1 << 16)
    except (TimeoutError, BlockingIOError):
        return
    except OSError as error:
        # Messages were lost in a storm of them: something did change.
        if error.errno != errno.ENOBUFS:
            raise


def _listen(link: socket.socket) -> None:
    """Let the kernel drop all messages of other kinds, and those about routes of others.

    So a table of 256K routes is made without waking this process, and a routing daemon withdraws its own without: each
    look at the network asks for links, rules and routes, and holds the lock that removing a route waits for.

    Classic BPF (linux/filter.h): load the half-word at 4, compare, of a route that went the byte of its protocol, keep
    or drop. It loads in network byte order.
    """
    most = len(_TOLD)
    lines = [(0x28, 0, 0, 4), (0x15, 0, 2, socket.htons(_DELROUTE))]
    lines += [(0x30, 0, 0, _PROTOCOL_AT), (0x15, most + 1, most, PROTOCOL)]
    lines += [(0x15, most - number, 0, socket.htons(kind)) for number, kind in enumerate(_TOLD)]
    attach(link, [*lines, (0x6, 0, 0, 0), (0x6, 0, 0, 0xFFFFFFFF)])


def mended(config: NodeConfig, system: System, state: State) -> None:
    """Restore, record and say it; what cannot be restored is said as well."""
    try:
        done = restore(network(config, system, state))
    except RbopsError as error:
        sys.stderr.write(f"rbops-node: cannot restore what another program took away: {error}\n")
        return
    for setting in done:
        sys.stderr.write(f"rbops-node: restored: {setting.subject}: {setting.name} (was {setting.have})\n")
    if done:
        record(state, done)
