"""Kernel modules: loaded at boot, parameters in modprobe.d, checked against modinfo, compared with /sys/module."""

from __future__ import annotations

from collections.abc import Mapping

from rbops.errors import Mismatch, Where
from rbops.node.boot import in_container
from rbops.node.pending import MODPROBE, MODULES_LOAD, coming, prepared
from rbops.node.settings import Put, Run, Setting
from rbops.node.system import System

__all__ = ["RELOAD", "SUBJECT", "check", "known_parameters", "load_text", "options_text", "same", "settings"]

SUBJECT = "modules"
RELOAD = "takes effect when the module is loaded again: at the next reboot"

_HEAD = "# Written by rbops from the plan.\n"
_TRUE, _FALSE = frozenset({"Y", "y", "1"}), frozenset({"N", "n", "0"})

Modules = Mapping[str, Mapping[str, str]]


def check(wanted: Modules, system: System, server: str) -> None:
    """Mismatch (3) for a module that this kernel lacks or has built in, and for a parameter that the module lacks."""
    if in_container(system):
        return
    for module, options in wanted.items():
        known = known_parameters(system, module)
        if known is None:
            release = system.read("/proc/sys/kernel/osrelease")
            raise Mismatch(
                f"kernel {release} has no module {module}",
                code="node.no-module",
                where=Where(server=server),
                hint=f"install its package, so that `modinfo {module}` finds it, or remove it from `kernel: modules:`",
            )
        unknown = [name for name in options if name.replace("-", "_") not in known]
        if unknown:
            there = ", ".join(sorted(known)) or "none"
            raise Mismatch(
                f"module {module} has no parameter {', '.join(unknown)}, expected one of: {there}",
                code="node.no-parameter",
                where=Where(server=server),
                hint="parameters differ between builds of a driver: `modinfo -F parm` lists them",
            )
        if options and _built_in(system, module):
            said = ", ".join(f"{module}.{name}: {value}" for name, value in options.items())
            raise Mismatch(
                f"{module} is built into the kernel, modprobe.d does not apply to it",
                code="node.built-in",
                where=Where(server=server),
                hint=f"write `kernel: {{parameters: {{{said}}}}}`",
            )


def known_parameters(system: System, module: str) -> frozenset[str] | None:
    """The parameters that modinfo knows, None for a module that it does not."""
    done = system.run(("modinfo", "-F", "parm", module))
    if done.returncode:
        return None
    return frozenset(line.partition(":")[0].strip() for line in done.stdout.splitlines() if ":" in line)


def _built_in(system: System, module: str) -> bool:
    done = system.run(("modinfo", "-F", "filename", module))
    return done.stdout.strip() in ("(builtin)", "")


def settings(wanted: Modules, system: System) -> list[Setting]:
    """The two files as the next boot has them, what is loaded, and the active parameters."""
    if not wanted:
        return []
    options, names = options_text(wanted), load_text(wanted)
    found = [_file(MODULES_LOAD, names, system)]
    if options:
        found.append(_file(MODPROBE, options, system))
    if in_container(system):
        reason = "a container's modules are its host's"
        return [*found, Setting(SUBJECT, "in force", "the host's", ", ".join(wanted), unsupported=reason)]
    for module, values in wanted.items():
        found += _loaded(module, values, system)
    return found


def options_text(wanted: Modules) -> str:
    """The text of the file in modprobe.d; empty without any parameter. Its name sorts last, so that it wins."""
    lines = [
        f"options {module} {' '.join(f'{name}={value}' for name, value in values.items())}\n"
        for module, values in sorted(wanted.items())
        if values
    ]
    return _HEAD + "".join(lines) if lines else ""


def load_text(wanted: Modules) -> str:
    """The text of the file in modules-load.d."""
    return _HEAD + "".join(f"{module}\n" for module in sorted(wanted))


def same(have: str, want: str) -> bool:
    """Whether /sys/module shows what was asked: it writes booleans as Y and N, and numbers in decimal."""
    if have == want or {have, want} <= _TRUE or {have, want} <= _FALSE:
        return True
    try:
        return [int(part, 0) for part in have.split(",")] == [int(part, 0) for part in want.split(",")]
    except ValueError:
        return False


def _file(path: str, text: str, system: System) -> Setting:
    present = coming(system, path)
    have = "as planned" if present == text.strip() else "absent" if present is None else "differs"
    # An empty one means removal when the change is confirmed.
    before = "" if present is None else f"{present}\n"
    return Setting(SUBJECT, path, have, "as planned", (Put(prepared(path), text),), (Put(prepared(path), before),))


def _loaded(module: str, values: Mapping[str, str], system: System) -> list[Setting]:
    base = f"/sys/module/{module.replace('-', '_')}"
    subject = f"module {module}"
    there = bool(system.names(base))
    # Its file is only prepared yet: the parameters are given here too.
    load = Run(("modprobe", module, *(f"{name}={value}" for name, value in values.items())))
    found = [Setting(subject, "loaded", "yes" if there else "no", "yes", (load,))]
    for name, want in values.items() if there else ():
        have = system.read(f"{base}/parameters/{name.replace('-', '_')}")
        if have is None:
            reason = "the kernel does not show this parameter's value"
            found.append(Setting(subject, name, "not shown", want, unsupported=reason))
        elif same(have, want):
            found.append(Setting(subject, name, want, want))
        else:
            found.append(Setting(subject, name, have, want, unsupported=RELOAD))
    return found
