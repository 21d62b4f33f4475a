"""Click's kernel dialect: all that is different about it. No current kernel runs it.

The module of kernel-mode Click is known to work on Linux 2.6.24 to 3.18, and preflight asks for later kernels. What
it needs is rendered and checked all the same: the paper's own router was made of it. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rbops.errors import Mismatch

__all__ = [
    "DIALECT",
    "LOOKUP",
    "MODULES_LOAD",
    "MODULE_OPTIONS",
    "NO_IPSEC",
    "WARNING",
    "check",
    "command",
    "options",
    "stop",
]

DIALECT = "kernel"
LOOKUP = "RadixIPLookup"
"""The look-up that is left there: DirectIPLookup is userlevel's."""
MODULES_LOAD, MODULE_OPTIONS = "/etc/modules-load.d/rbops-click.conf", "/etc/modprobe.d/zz-rbops-click.conf"
NO_IPSEC = "Click's kernel dialect has no ipsec"
WARNING = (
    "no current kernel runs the kernel dialect: kernel-mode Click runs on Linux 2.6.24 to 3.18, and a core for each "
    "queue needs RouteBricks's multi-queue elements (MQPollDevice); other servers are refused at apply"
)
_OLDEST, _NEWER = (2, 6, 24), (3, 19)


def check(release: str) -> None:
    """Mismatch (3) for a kernel whose release (``uname -r``) is none that kernel-mode Click runs on."""
    found = tuple(int(number) for number in re.findall(r"\d+", release)[:3])
    if not _OLDEST <= found < _NEWER:
        raise Mismatch(
            f"kernel-mode Click supports Linux 2.6.24 to 3.18, this is Linux {release}",
            hint="write `click: {dialect: socket}` or `dpdk`, or `dataplane: xdp`",
            code="click.kernel-mode",
        )


def command(prefix: str | None, path: str, config: str, threads: int, cpu: int) -> list[str]:
    """The words that install a configuration: ``threads`` on CPUs from ``cpu`` on, ``path``: where files are."""
    program = f"{prefix}/sbin/click-install" if prefix else "click-install"
    return [program, "-C", path, "-j", str(threads), "--cpu", str(cpu), config, "$PARAMETERS"]


def stop(words: Sequence[str]) -> str:
    """The command that takes it out again."""
    return words[0].replace("click-install", "click-uninstall")


def options(threads: int, cpu: int) -> bytes:
    """The modules' file for modprobe, with the threads that click-install would ask for."""
    return f"options click threads={threads} cpu={cpu}\n".encode()
