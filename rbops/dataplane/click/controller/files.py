"""What the Click data plane adds to a server's files."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import rbops
from rbops.dataplane.click import kernel_mode
from rbops.dataplane.click.controller.command import command, threads
from rbops.dataplane.click.controller.hops import outputs
from rbops.dataplane.click.controller.library import library
from rbops.dataplane.click.controller.model import Core
from rbops.dataplane.click.controller.router import first_cpu, router
from rbops.dataplane.click.keys import NAME as KEYS
from rbops.node.schema import Fabric
from rbops.plan import ClusterPlan, Server
from rbops.render.files import File
from rbops.render.routes import Table
from rbops.render.templates import template

__all__ = [
    "ETC",
    "KEYS",
    "UNIT",
    "ClickFiles",
    "click_files",
    "element_files",
    "keyless",
    "library_file",
    "stand_ins",
]

ETC = "/etc/rbops/click"
UNIT = "rbops-click.service"
_KEY = re.compile(r"\$ESP_(?:KEY|AUTH)[0-9]+")
_COMMENT = re.compile(r"//.*")
_DECLARED = re.compile(r"^elementclass ([A-Za-z0-9_]+)", re.MULTILINE)
_USED = re.compile(r"(?:::|->) (?:\[\d+\])?([A-Z][A-Za-z0-9]+)\b")
_PACKAGE = ("DirectVLB", "HostTap", "MACDispatch")
_SOCKET = "socket"
_DEVICES = b"// Devices:"
_NO_MARKER = "0" * 64


@dataclass(frozen=True, slots=True)
class ClickFiles:
    """A server's files, and what rbops-node has to know of them.

    ``config`` is the configuration's path, ``sha256`` that of its bytes, ``marker`` the digest by which it is known
    while it runs, ``command`` the words that start it, ``parameters`` the planned port of each of its parameters,
    ``defaults`` their values there, ``elements`` the classes that Click itself must have,
    ``key_files`` those on the controller with the tunnels' keys, in the order of the tunnels.
    """

    files: tuple[File, ...]
    config: str
    sha256: str
    marker: str
    command: tuple[str, ...]
    cores: tuple[Core, ...]
    parameters: dict[str, str]
    defaults: dict[str, str]
    elements: tuple[str, ...]
    key_files: tuple[str, ...]


def library_file(plan: ClusterPlan, table: Table) -> File:
    """The look-up that all servers share. UsageError (2) for routes that Click cannot hold."""
    return File(f"{ETC}/routes.click", library(table, outputs(plan), plan.forwarding.click_dialect))


def element_files() -> tuple[File, ...]:
    """The sources of the element package, which is compiled on the servers."""
    folder = Path(rbops.__file__).parent / "dataplane" / "click"
    names = sorted(path.name for path in folder.iterdir() if path.suffix in (".cc", ".hh"))
    return tuple(File(f"{ETC}/elements/{name}", (folder / name).read_bytes()) for name in names)


def keyless(plan: ClusterPlan) -> tuple[File, ...]:
    """What stands in for the tunnels' keys where a configuration is only checked: Click would refuse such keys.

    The keys themselves are no rendered file: the role ``click`` takes them from the key files to the servers.
    """
    text = stand_ins("".join(f"$ESP_KEY{number} $ESP_AUTH{number} " for number in range(len(plan.forwarding.tunnels))))
    return (File(f"{ETC}/{KEYS}", text.encode()),) if text else ()


def stand_ins(configuration: str) -> str:
    """Definitions of the tunnels' keys that a configuration names, without keys; empty where it names none."""
    return "".join(f"define({name} none);\n" for name in dict.fromkeys(_KEY.findall(configuration)))


def click_files(plan: ClusterPlan, digest: str, server: Server, fabric: Fabric) -> ClickFiles:
    """Configuration and unit of ``server``; ``fabric`` as for :func:`router`, ``digest`` the plan's."""
    values = router(plan, server, outputs(plan), fabric)
    text = template("click/router.click", router=values, marker=_NO_MARKER)
    if values.fragment is not None:
        # Beside the template: the user's text is Click source and may have as many lines as it likes.
        own = f"// The spec's fragment, in the packets' way behind the checks.\n{values.fragment.text}\n"
        text = text.replace(_DEVICES, own.encode() + _DEVICES, 1)
    marker = hashlib.sha256(text).hexdigest()
    text = text.replace(_NO_MARKER.encode(), marker.encode())
    config = File(f"{ETC}/router.click", text)
    words = tuple(command(plan, server, plan.forwarding.click_prefix))
    line = " ".join(words)
    kernel = plan.forwarding.click_dialect == kernel_mode.DIALECT
    dpdk = not kernel and plan.forwarding.click_dialect != _SOCKET
    stop = kernel_mode.stop(words)
    names = {"cluster": plan.name, "digest": digest, "command": line, "stop": stop}
    unit = template(f"systemd/{UNIT}", **names, kernel=kernel, dpdk=dpdk)
    return ClickFiles(
        files=(config, File(f"/etc/systemd/system/{UNIT}", unit), *(_modules(server) if kernel else ())),
        config=config.path,
        sha256=config.sha256,
        marker=marker,
        command=words,
        cores=values.cores,
        parameters={port.device.removeprefix("$"): port.name for port in values.ports},
        elements=_elements(text.decode(), plan),
        key_files=tuple(str(tunnel.keys) for tunnel in plan.forwarding.tunnels) if values.associations else (),
        defaults={port.device.removeprefix("$"): port.default for port in values.ports},
    )


def _modules(server: Server) -> tuple[File, ...]:
    """Kernel-mode Click's modules at boot, with the threads that click-install would ask for."""
    return (
        File(kernel_mode.MODULES_LOAD, b"proclikefs\nclick\n"),
        # The last file's options count: after the distribution's own.
        File(kernel_mode.MODULE_OPTIONS, kernel_mode.options(threads(server), first_cpu(server))),
    )


def _elements(text: str, plan: ClusterPlan) -> tuple[str, ...]:
    """Element classes behind ``::`` or ``->`` that are neither declared here nor of our package."""
    text = _COMMENT.sub("", text)
    own = {*_DECLARED.findall(text), "Routes", *_PACKAGE}
    look_up = kernel_mode.LOOKUP if plan.forwarding.click_dialect == kernel_mode.DIALECT else "DirectIPLookup"
    return tuple(sorted({*_USED.findall(text), look_up, "StaticThreadSched"} - own))
