"""What the kernel was told beyond its NICs: boot parameters by value, modules, governor, irqbalance, huge pages.

PYTEST_DONT_REWRITE: a check's own message is what users are shown, not pytest's account of the operands.
"""

from __future__ import annotations

import json

import pytest

from rbops.common.cpulist import list_text, parse_list
from rbops.node import cmdline
from rbops.node.modules import same
from rbops.verify.host import ServerUnderTest
from rbops.verify.plugin import Case

_KIB = {"K": 1, "M": 1024, "G": 1024 * 1024}


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
    """The kernel itself says that the planned CPUs are apart (sysfs, not what it was told)."""
    server = isolated_case.server
    _no_container(server, "its CPUs are its host's")
    planned = cmdline.planned((name, value) for name, value in server.node["kernel"]["boot"])
    for name, parameter in (("isolated", "isolcpus"), ("nohz_full", "nohz_full")):
        want = [part for part in planned.get(parameter, "").split(",") if part[:1].isdigit()]
        text = server.output("cat %s", f"/sys/devices/system/cpu/{name}").strip()
        have = parse_list(text) if text[:1].isdigit() else frozenset()
        wanted = parse_list(",".join(want))
        assert have == wanted, f"{name} CPUs are {list_text(have) or 'none'}, planned {list_text(wanted) or 'none'}"


def test_hugepages(hugepages_case: Case) -> None:
    """At least the planned pages of the size are there."""
    _no_container(hugepages_case.server, "memory is its host's")
    size = hugepages_case.key
    folder = f"/sys/kernel/mm/hugepages/hugepages-{int(size[:-1]) * _KIB[size[-1]]}kB"
    have = int(hugepages_case.server.output("cat %s", f"{folder}/nr_hugepages"))
    assert have >= int(hugepages_case.want), f"{have} huge pages of {size}, planned {hugepages_case.want}"


def test_module_loaded(module_case: Case) -> None:
    """The module is loaded, or built in."""
    _no_container(module_case.server, "modules are its host's")
    path = f"/sys/module/{module_case.key.replace('-', '_')}"
    assert module_case.server.host.file(path).is_directory, f"module {module_case.key} is not loaded"


def test_module_parameter(parameter_case: Case) -> None:
    """The loaded module has the planned value in force."""
    _no_container(parameter_case.server, "modules are its host's")
    module, _, parameter = parameter_case.key.partition(".")
    path = f"/sys/module/{module.replace('-', '_')}/parameters/{parameter.replace('-', '_')}"
    text = parameter_case.server.output("cat %s 2>/dev/null || echo -", path).strip()
    if text == "-":
        pytest.skip("the kernel does not show this parameter's value")
    assert same(text, parameter_case.want), f"{parameter_case.key} is {text}, planned {parameter_case.want}"


def test_module_options(parameter_case: Case) -> None:
    """modprobe, asked as the next boot asks it, gives the planned value last of all options files."""
    server = parameter_case.server
    module, _, parameter = parameter_case.key.partition(".")
    names = {module, module.replace("-", "_")}
    words = [line.split() for line in server.output("modprobe --showconfig").splitlines()]
    given = [option for line in words if line[:1] == ["options"] and line[1] in names for option in line[2:]]
    values = [value for name, _, value in (option.partition("=") for option in given) if name == parameter]
    assert values[-1:] == [parameter_case.want], f"modprobe gives {values or 'nothing'}, planned {parameter_case.want}"


def test_governor(governor_case: Case) -> None:
    """Every data-plane core has the planned frequency governor."""
    server, want = governor_case.server, governor_case.want
    _no_container(server, "its CPUs are its host's")
    paths = [f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor" for cpu in server.node["cores"]["dataplane"]]
    text = server.output("grep -Hs '' " + " ".join(["%s"] * len(paths)) + " || true", *paths)
    found = dict(line.split(":", 1) for line in text.splitlines())
    if not found:
        pytest.skip("nothing scales these CPUs' frequency")
    wrong = {path.split("/")[5]: value for path, value in found.items() if value != want}
    assert not wrong, f"governors are {json.dumps(wrong)}, planned {want}"


def test_irqbalance(irqbalance_case: Case) -> None:
    """Irqbalance is off, or was told to leave the data-plane cores alone, as planned."""
    server = irqbalance_case.server
    active = server.host.run("systemctl is-active --quiet irqbalance.service").rc == 0
    if irqbalance_case.want == "off":
        assert not active, "irqbalance runs"
        # Prints nothing on stdout where there is no such unit.
        found = server.host.run("systemctl is-enabled irqbalance.service").stdout.strip()
        assert found != "enabled", "irqbalance starts at boot"
        return
    if not active:
        pytest.skip("irqbalance does not run")
    question = "tr '\\0' '\\n' </proc/$(systemctl show --value --property=MainPID irqbalance.service)/environ"
    lines = server.output(question).splitlines()
    told = next((line.partition("=")[2] for line in lines if line.startswith("IRQBALANCE_BANNED_CPULIST=")), "")
    want = frozenset(server.node["cores"]["dataplane"])
    assert parse_list(told) >= want, f"irqbalance leaves CPUs {told or 'none'} alone, planned {list_text(want)}"
