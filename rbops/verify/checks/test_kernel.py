"""What the kernel was booted with and will be booted with: parameters by value, isolated CPUs, module options.

PYTEST_DONT_REWRITE: a check's own message is what users are shown, not pytest's account of the operands.
"""

from __future__ import annotations

import pytest

from rbops.common.cpulist import list_text, parse_list
from rbops.node import cmdline
from rbops.verify.host import ServerUnderTest
from rbops.verify.plugin import Case


def _no_container(server: ServerUnderTest, what: str) -> None:
    """Leave a check out where the kernel is the host's."""
    if server.in_container:
        pytest.skip(f"not in a container: {what}")


def test_boot_parameter(boot_case: Case) -> None:
    """The running kernel was booted with the planned value."""
    _no_container(boot_case.server, "it boots with its host's parameters")
    now = cmdline.parse(boot_case.server.output("cat /proc/cmdline"))
    have, want = now.get(boot_case.key), boot_case.want
    found = cmdline.shown(have)
    assert cmdline.equal(boot_case.key, have, want), f"{boot_case.key} is {found}, planned {cmdline.shown(want)}"


def test_next_boot(boot_case: Case) -> None:
    """GRUB passes the planned value on at the next boot too."""
    from rbops.node.boot import menu_line
    from rbops.node.pending import MENU

    _no_container(boot_case.server, "it has no boot loader")
    following = cmdline.parse(menu_line(boot_case.server.output("cat %s", MENU)))
    have, want = following.get(boot_case.key), boot_case.want
    found = cmdline.shown(have)
    assert cmdline.equal(boot_case.key, have, want), f"{boot_case.key} would be {found}, planned {cmdline.shown(want)}"


def test_isolated(isolated_case: Case) -> None:
    """The kernel itself says that the planned CPUs are apart (sysfs, not its parameters)."""
    server = isolated_case.server
    _no_container(server, "its CPUs are its host's")
    planned = cmdline.planned(server.node.kernel.boot)
    for name, parameter in (("isolated", "isolcpus"), ("nohz_full", "nohz_full")):
        want = [part for part in planned.get(parameter, "").split(",") if part[:1].isdigit()]
        text = server.output("cat %s", f"/sys/devices/system/cpu/{name}").strip()
        have = parse_list(text) if text[:1].isdigit() else frozenset()
        wanted = parse_list(",".join(want))
        assert have == wanted, f"{name} CPUs are {list_text(have) or 'none'}, planned {list_text(wanted) or 'none'}"


def test_module_options(parameter_case: Case) -> None:
    """modprobe, asked as the next boot asks it, gives the planned value last of all options files."""
    server = parameter_case.server
    module, _, parameter = parameter_case.key.partition(".")
    names = {module, module.replace("-", "_")}
    words = [line.split() for line in server.output("modprobe --showconfig").splitlines()]
    given = [option for line in words if line[:1] == ["options"] and line[1] in names for option in line[2:]]
    values = [value for name, _, value in (option.partition("=") for option in given) if name == parameter]
    assert values[-1:] == [parameter_case.want], f"modprobe gives {values or 'nothing'}, planned {parameter_case.want}"
