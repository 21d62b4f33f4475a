"""The running kernel: release, what it can do, which CPUs it leaves alone. Reads only."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from rbops.node.facts import Feature, KernelFacts
from rbops.node.processors import ids
from rbops.node.system import System

__all__ = ["facts", "options", "virtualisation"]

_CPU = "/sys/devices/system/cpu"
_OPTION = re.compile(r"^(CONFIG_\w+)=(.*)$", re.MULTILINE)


def facts(system: System) -> KernelFacts:
    """From /proc/sys, /sys and, where it can be read, the kernel's configuration."""
    release = system.read("/proc/sys/kernel/osrelease") or ""
    configured = options(system, release)

    def built(*names: str) -> bool | None:
        return None if configured is None else all(configured.get(name) in {"y", "m"} for name in names)

    def there(path: str) -> bool | None:
        """A file that only a kernel with the feature has."""
        return True if system.read(path) is not None else None

    threaded = any(
        system.read(f"/sys/class/net/{name}/threaded") is not None for name in system.names("/sys/class/net")
    )
    features = (
        Feature("bpf", there("/proc/sys/kernel/unprivileged_bpf_disabled") or built("CONFIG_BPF_SYSCALL")),
        Feature("bpf jit", there("/proc/sys/net/core/bpf_jit_enable") or built("CONFIG_BPF_JIT")),
        Feature("btf", "vmlinux" in system.names("/sys/kernel/btf")),
        # XDP has no switch of its own: what attaches programs came with 4.8, redirect maps with 4.14.
        Feature("xdp", _at_least(release, 4, 14)),
        Feature("af_xdp", built("CONFIG_XDP_SOCKETS")),
        Feature("threaded napi", threaded),
        Feature("cpu isolation", there(f"{_CPU}/isolated") is True or built("CONFIG_CPU_ISOLATION")),
        Feature("nohz_full", there(f"{_CPU}/nohz_full") or built("CONFIG_NO_HZ_FULL")),
        Feature("rcu_nocbs", built("CONFIG_RCU_NOCB_CPU")),
        Feature("vfio", built("CONFIG_VFIO_PCI")),
    )
    return KernelFacts(
        release=release,
        architecture=system.read("/proc/sys/kernel/arch") or _architecture(system),
        command_line=system.read("/proc/cmdline") or "",
        features=features,
        isolated=ids(system, f"{_CPU}/isolated"),
        nohz_full=ids(system, f"{_CPU}/nohz_full"),
    )


def options(system: System, release: str) -> dict[str, str] | None:
    """The kernel's configuration from /boot, or from /proc/config.gz; None where neither can be read."""
    text = system.read(f"/boot/config-{release}")
    if text is None:
        try:
            text = gzip.decompress(Path(system.real("/proc/config.gz")).read_bytes()).decode("utf-8", "replace")
        except (OSError, EOFError, gzip.BadGzipFile):
            return None
    return dict(_OPTION.findall(text))


def virtualisation(system: System) -> str | None:
    """The kind of virtual machine, ``none`` on iron; None where systemd-detect-virt is not there."""
    done = system.run(("systemd-detect-virt", "--vm"))
    return done.stdout.strip() or None


def _architecture(system: System) -> str:
    # /proc/sys/kernel/arch came with Linux 6.1.
    return system.run(("uname", "-m")).stdout.strip()


def _at_least(release: str, major: int, minor: int) -> bool | None:
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) >= (major, minor) if match else None
