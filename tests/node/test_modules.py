"""Module options, governor and irqbalance on recorded servers: facts in, exact files and commands out."""

from __future__ import annotations

import pytest

from rbops.errors import Mismatch
from rbops.node import governor, irqbalance, modules, pending
from rbops.node.execute import execute
from rbops.node.schema import KernelConfig
from rbops.node.schema.fields import Field, FieldError
from rbops.node.settings import Put, Run, Setting, action_from_json, action_to_json
from rbops.node.system import Done
from tests.node.recorded import Recorded
from tests.support.errors import raises

# `modinfo -F parm` of Linux 6.1's ixgbe and of Intel's own 5.19, cut.
IN_TREE = """\
max_vfs:Maximum number of virtual functions to allocate per physical function - default is zero (Deprecated) (uint)
allow_unsupported_sfp:Allow unsupported and untested SFP+ modules on 82599-based adapters (bool)
debug:Debug level (0=none,...,16=all) (int)
"""
OWN = """\
RSS:Number of Receive-Side Scaling Descriptor Queues, default 0=number of cpus (array of int)
MQ:Disable or enable Multiple Queues, default 1 (array of int)
"""
WANTED = {"ixgbe": {"allow_unsupported_sfp": "1"}, "vfio-pci": {}}


def machine(**files: str) -> Recorded:
    answers = {
        "modinfo -F parm ixgbe": IN_TREE,
        "modinfo -F parm vfio-pci": "",
        "modinfo -F filename ixgbe": "/lib/modules/6.1.0-28-amd64/kernel/drivers/net/ethernet/intel/ixgbe/ixgbe.ko\n",
        "modinfo -F parm ixgb": Done(1, "", "modinfo: ERROR: Module ixgb not found.\n"),
        "modinfo -F parm virtio_net": "napi_weight:int\nnapi_tx:bool\n",
        "modinfo -F filename virtio_net": "(builtin)\n",
        "modprobe vfio-pci": "",
    }
    return Recorded(answers=answers, files={"/proc/sys/kernel/osrelease": "6.1.0-28-amd64", **files})


def differing(settings: list[Setting]) -> dict[str, str]:
    return {f"{s.subject} {s.name}": f"{s.have} -> {s.want}" for s in settings if s.differs}


def test_options_and_modules_to_load() -> None:
    system = machine(**{"/sys/module/ixgbe/parameters/allow_unsupported_sfp": "N"})
    found = modules.settings(WANTED, system)
    assert differing(found) == {
        f"modules {pending.MODULES_LOAD}": "absent -> as planned",
        f"modules {pending.MODPROBE}": "absent -> as planned",
        "module vfio-pci loaded": "no -> yes",
    }
    (waiting,) = [s for s in found if s.unsupported]
    assert (waiting.subject, waiting.name, waiting.have, waiting.want) == (
        "module ixgbe",
        "allow_unsupported_sfp",
        "N",
        "1",
    )
    assert "next reboot" in str(waiting.unsupported)
    execute(system, [action for s in found if s.differs for action in s.actions])
    assert pending.MODPROBE not in system.files, "until the change is confirmed a reboot finds the old options"
    assert list(differing(modules.settings(WANTED, system))) == ["module vfio-pci loaded"]
    pending.commit(system)
    assert system.files[pending.MODPROBE].splitlines()[1:] == ["options ixgbe allow_unsupported_sfp=1"]
    assert system.files[pending.MODULES_LOAD].splitlines()[1:] == ["ixgbe", "vfio-pci"]


def test_removed_from_the_plan_they_are_removed() -> None:
    system = machine(**{"/sys/module/ixgbe/parameters/allow_unsupported_sfp": "Y"})
    found = modules.settings({"ixgbe": {"allow_unsupported_sfp": "1"}}, system)
    assert not [s for s in found if s.unsupported], "Y is what /sys shows for 1"
    undo = [action_from_json(action_to_json(action)) for s in found if s.differs for action in s.undo]
    execute(system, [action for s in found if s.differs for action in s.actions])
    pending.commit(system)
    execute(system, undo)
    pending.commit(system)
    assert pending.MODPROBE not in system.files
    assert pending.MODULES_LOAD not in system.files


def test_what_a_server_cannot_have_is_refused() -> None:
    system = machine()
    modules.check(WANTED, system, "n0")
    with raises(Mismatch, "node.no-module", server="n0"):
        modules.check({"ixgb": {}}, system, "n0")
    with raises(Mismatch, "node.no-parameter", server="n0"):
        modules.check({"ixgbe": {"RSS": "8,8"}}, system, "n0")
    with raises(Mismatch, "node.built-in", server="n0") as caught:
        modules.check({"virtio_net": {"napi_tx": "0"}}, system, "n0")
    assert "virtio_net.napi_tx: 0" in str(caught.value.hint)
    system.answers["modinfo -F parm ixgbe"] = OWN
    modules.check({"ixgbe": {"RSS": "8,8"}}, system, "n0")


@pytest.mark.parametrize(
    ("have", "want", "same"),
    [("Y", "1", True), ("N", "0", True), ("Y", "0", False), ("8,8", "8,8", True), ("8", "0x8", True),
     ("8,4", "8,8", False), ("always", "always", True), ("", "1", False)],
)  # fmt: skip
def test_values_of_sys_module(have: str, want: str, same: bool) -> None:  # noqa: FBT001 - a table's column
    assert modules.same(have, want) is same


def test_a_containers_modules_are_its_hosts() -> None:
    system = Recorded(files={"/run/systemd/container": "systemd-nspawn"})
    modules.check({"nonsense": {}}, system, "n0")
    found = modules.settings(WANTED, system)
    assert [s.name for s in found if s.differs] == [pending.MODULES_LOAD, pending.MODPROBE]
    assert system.ran == []


def cpus(*governors: str) -> Recorded:
    files = {}
    for cpu, one in enumerate(governors):
        base = f"/sys/devices/system/cpu/cpu{cpu}/cpufreq"
        files |= {f"{base}/scaling_governor": one, f"{base}/scaling_available_governors": "performance powersave"}
    return Recorded(files=files)


def test_governor() -> None:
    system = cpus("powersave", "powersave", "performance")
    found = governor.settings("performance", (1, 2), system)
    assert differing(found) == {"CPU 1 governor": "powersave -> performance"}
    execute(system, found[0].actions)
    assert system.written == [("/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance")]
    execute(system, found[0].undo)
    assert system.files["/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor"] == "powersave"
    with raises(Mismatch, "node.governor", server="n3") as caught:
        governor.check("schedutil", (1, 2), system, "n3")
    assert "performance, powersave" in caught.value.message


def test_cpus_that_nothing_scales() -> None:
    system = Recorded()
    governor.check("performance", (1,), system, "n0")
    (found,) = governor.settings("performance", (1,), system)
    assert not found.differs
    assert "no cpufreq driver" in str(found.unsupported)
    assert governor.settings(None, (1,), system) == []


SHOW = "systemctl show irqbalance.service --property=LoadState,ActiveState,UnitFileState,MainPID"
RUNNING = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nMainPID=812\n"


def balanced(state: str = RUNNING, **files: str) -> Recorded:
    own = {
        "/run/systemd/system/x": "",
        "/proc/812/environ": "LANG=C\0PATH=/usr/bin\0",
        "/proc/812/cmdline": "/usr/sbin/irqbalance\0--foreground\0",
        "/sys/class/net/eth0/device/msi_irqs/24": "msix",
        "/sys/class/net/eth0/device/msi_irqs/25": "msix",
        "/proc/interrupts": "  24: 0 PCI-MSIX eth0-TxRx-0\n  25: 0 PCI-MSIX eth0-TxRx-1\n",
    }
    quiet = dict.fromkeys(("systemctl daemon-reload", "systemctl try-restart irqbalance.service"), "")
    return Recorded(answers={SHOW: state, **quiet}, files={**own, **files})


def test_a_running_irqbalance_is_found() -> None:
    (found,) = irqbalance.settings("keep", (1,), ("eth0",), balanced())
    assert not found.differs
    assert "irqbalance: ban" in str(found.unsupported)
    assert irqbalance.settings("keep", (1,), ("veth0",), balanced()) == [], "no interrupts of ours to move"
    assert irqbalance.settings("keep", (1,), ("eth0",), balanced("LoadState=not-found\nActiveState=inactive\n")) == []
    assert irqbalance.settings("keep", (1,), ("eth0",), Recorded()) == [], "no systemd"


def test_irqbalance_is_told_what_to_leave_alone() -> None:
    system = balanced()
    (found,) = irqbalance.settings("ban", (1, 2, 3), ("eth0",), system)
    assert (found.have, found.want) == ("CPUs none, interrupts none", "CPUs 1-3, interrupts 24-25")
    execute(system, found.actions)
    text = system.files[irqbalance.DROP_IN]
    start = "ExecStart=/usr/bin/env -u IRQBALANCE_BANNED_CPUS IRQBALANCE_BANNED_CPULIST=1-3 /usr/sbin/irqbalance"
    started = f"{start} --foreground $IRQBALANCE_ARGS --banirq=24 --banirq=25"
    assert text.splitlines()[1:] == ["[Service]", "ExecStart=", started]
    ran = [line for line, _ in system.ran]
    assert ran[-2:] == ["systemctl daemon-reload", "systemctl try-restart irqbalance.service"]
    # As the process is now, the unit having been started with the drop-in.
    system.files["/proc/812/environ"] = "IRQBALANCE_BANNED_CPULIST=1-3\0"
    system.files["/proc/812/cmdline"] = "/usr/sbin/irqbalance\0--foreground\0--banirq=24\0--banirq=25\0"
    (again,) = irqbalance.settings("ban", (1, 2, 3), ("eth0",), system)
    assert not again.differs
    # The NIC was reset and its interrupts have other numbers.
    system.files["/proc/interrupts"] = system.files["/proc/interrupts"].replace("24:", "31:").replace("25:", "32:")
    for number in ("24", "25"):
        del system.files[f"/sys/class/net/eth0/device/msi_irqs/{number}"]
    system.files |= {f"/sys/class/net/eth0/device/msi_irqs/{number}": "msix" for number in ("31", "32")}
    assert irqbalance.settings("ban", (1, 2, 3), ("eth0",), system)[0].want == "CPUs 1-3, interrupts 31-32"
    execute(system, found.undo)
    assert irqbalance.DROP_IN not in system.files


def test_irqbalance_is_switched_off_and_comes_back() -> None:
    (found,) = irqbalance.settings("off", (1,), (), balanced())
    assert found.differs
    assert found.actions == (Run(("systemctl", "disable", "--now", "irqbalance.service")),)
    assert [action.argv[1] for action in found.undo if isinstance(action, Run)] == ["enable", "start"]
    off = balanced("LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\nMainPID=0\n")
    assert not irqbalance.settings("off", (1,), (), off)[0].differs
    assert not irqbalance.settings("off", (1,), (), balanced("LoadState=not-found\nActiveState=inactive\n"))[0].differs


def test_ban_without_irqbalance() -> None:
    (found,) = irqbalance.settings("ban", (1,), (), balanced("LoadState=not-found\nActiveState=inactive\n"))
    assert found.unsupported == "nothing moves interrupts here"


@pytest.mark.parametrize(
    "data",
    [
        {"boot": [["isolcpus", "1\nlinux"]]},
        {"boot": [["a b", "1"]]},
        {"boot": [["a", "$(reboot)"]]},
        {"modules": {"ixgbe": {"a": "1\ninstall x /bin/sh"}}},
        {"modules": {"ixgbe\noptions": {}}},
        {"modules": {"../x": {}}},
        {"governor": "x;y"},
        {"irqbalance": "maybe"},
    ],
)
def test_node_json_cannot_bring_second_lines(data: dict[str, object]) -> None:
    with pytest.raises(FieldError) as caught:
        KernelConfig.parse(Field("kernel", data))
    assert caught.value.place.startswith("kernel.")


def test_a_file_is_put_or_removed() -> None:
    for action in (Put("/etc/x", "a\n"), Put("/etc/x", None)):
        assert action_from_json(action_to_json(action)) == action
