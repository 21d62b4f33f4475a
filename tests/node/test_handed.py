"""Devices handed to a program, and the huge pages it needs: facts in, exact writes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rbops.errors import Mismatch, UsageError
from rbops.node import binding, hugepages
from rbops.node.devices import resolve
from rbops.node.prior import Prior
from rbops.node.schema import NodeConfig
from rbops.node.settings import Run, Setting, Write
from rbops.node.table import hops, neighbors, rows
from tests.node.recorded import Recorded, config, external, internal
from tests.node.test_devices import DEFAULT, server
from tests.support.errors import raises

ADDRESS = "0000:3b:00.0"
PLACE = f"/sys/bus/pci/devices/{ADDRESS}"
GROUP = f"{PLACE}/iommu_group/devices"


def planned(**more: object) -> NodeConfig:
    return config(ports=[external("ext0", select={"pci": ADDRESS}, driver="i40e", nic={"bind": "vfio-pci"})], **more)


def machine(driver: str | None = "i40e", **group: str) -> Recorded:
    """A card in an IOMMU group with the devices of ``group`` (address with _ -> driver)."""
    made = Recorded()
    made.files[f"{PLACE}/vendor"] = "0x8086"
    made.files[f"{GROUP}/{ADDRESS}/vendor"] = "0x8086"
    if driver:
        made.links[f"{PLACE}/driver"] = f"/sys/bus/pci/drivers/{driver}"
    for name, near in group.items():
        address = name.replace("pci", "0000:").replace("_", ":", 1).replace("_", ".")
        made.files[f"{GROUP}/{address}/vendor"] = "0x8086"
        if near:
            made.links[f"/sys/bus/pci/devices/{address}/driver"] = f"/sys/bus/pci/drivers/{near}"
    return made


def lines(setting: Setting) -> list[str]:
    return [
        " ".join(action.argv) if isinstance(action, Run) else f"{action.value.strip() or 'nothing'} > {action.path}"
        for action in setting.actions
        if isinstance(action, Run | Write)
    ]


def test_binding() -> None:
    (setting,) = binding.settings(planned(), machine())
    assert (setting.have, setting.want) == ("i40e", "vfio-pci")
    assert lines(setting) == [
        "modprobe vfio-pci",
        f"vfio-pci > {PLACE}/driver_override",
        f"{ADDRESS} > {PLACE}/driver/unbind",
        f"{ADDRESS} > /sys/bus/pci/drivers_probe",
    ]
    assert lines(replace(setting, actions=setting.undo)) == [
        f"nothing > {PLACE}/driver_override",
        f"{ADDRESS} > {PLACE}/driver/unbind",
        f"{ADDRESS} > /sys/bus/pci/drivers_probe",
    ]


def test_a_device_without_a_driver_is_left_without_one() -> None:
    (setting,) = binding.settings(planned(), machine(None))
    assert lines(setting) == [
        "modprobe vfio-pci",
        f"vfio-pci > {PLACE}/driver_override",
        f"{ADDRESS} > /sys/bus/pci/drivers_probe",
    ]
    assert f"{ADDRESS} > /sys/bus/pci/drivers_probe" not in lines(replace(setting, actions=setting.undo))


def test_bound_already() -> None:
    (setting,) = binding.settings(planned(), machine("vfio-pci", pci3b_00_1="vfio-pci", pci3a_00_0="pcieport"))
    assert not setting.differs


def test_the_whole_group_must_be_free() -> None:
    with raises(Mismatch, "node.iommu-group", server="n0", device="0000:3b:00.0"):
        binding.settings(planned(), machine(pci3b_00_1="ice"))


def test_absent_or_without_iommu() -> None:
    with raises(Mismatch, "node.no-pci-device", server="n0", device="0000:3b:00.0"):
        binding.settings(planned(), Recorded())
    bare = machine()
    bare.files = {path: text for path, text in bare.files.items() if "iommu" not in path}
    with raises(Mismatch, "node.no-iommu", server="n0", device="0000:3b:00.0"):
        binding.settings(planned(), bare)
    (setting,) = binding.settings(planned(noiommu=True), bare)
    assert lines(setting)[1] == "Y > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode"


def test_handed_back_when_no_longer_planned(tmp_path: Path) -> None:
    """Before the devices are looked for: the kernel has none of them until then."""
    prior = Prior(tmp_path / "undo.json")
    prior.remember(binding.settings(planned(), machine()))
    later = config(ports=[external("ext0", select={"pci": ADDRESS}, driver="i40e")])
    system = machine("vfio-pci")
    with raises(Mismatch, "node.still-bound", server="n0"):
        binding.hand_back(later, system, prior, check=True)
    binding.hand_back(planned(), system, prior, check=False)
    assert system.written == [], "it is still planned"
    binding.hand_back(later, system, prior, check=False)
    assert system.written == [
        (f"{PLACE}/driver_override", "\n"),
        (f"{PLACE}/driver/unbind", ADDRESS),
        ("/sys/bus/pci/drivers_probe", ADDRESS),
    ]
    assert system.ran == [("udevadm settle --timeout=10", "")]
    assert prior.leftovers([]) == []


def test_only_by_pci_address() -> None:
    with raises(UsageError, "node.config-field", field="ports[0].nic.bind"):
        config(ports=[external("ext0", nic={"bind": "vfio-pci"})])


def test_the_management_nic_is_not_handed_over() -> None:
    wanted = config(ports=[external("ext0", select={"pci": "0000:03:00.0"}, driver="ixgbe", nic={"bind": "vfio-pci"})])
    with raises(Mismatch, "node.management", server="n0", device="eth0"):
        resolve(wanted, server(default=DEFAULT % "eth0"))
    assert resolve(wanted, server()) == {}, "the kernel has no device of it to set"


def test_the_kernel_routes_over_what_it_has() -> None:
    text = (
        b"prefix,port,adjacency,via\n198.18.0.2/32,0,1,\n203.0.113.0/24,0,1,198.18.0.2\n203.0.114.0/24,1,1,198.18.1.2\n"
    )
    ports = [
        external("ext0", select={"pci": ADDRESS}, nic={"bind": "vfio-pci"}),
        internal(select={"pci": "0000:3b:00.1"}, nic={"bind": "vfio-pci"}),
    ]
    wanted = config(ports=ports)
    assert hops(rows(text), wanted, {}) == {}
    assert neighbors(rows(text), wanted, {}) == {}
    half = config(ports=[ports[0], internal()])
    found = hops(rows(text), half, {"int1": "eth8"})
    assert {hop.device for hop in found.values()} == {"eth8"}
    assert len(found) == 1


NODE = "/sys/devices/system/node/node{}/hugepages/hugepages-2048kB/nr_hugepages"


def pages(*have: int, mounts: str = "") -> Recorded:
    made = Recorded(files={"/proc/mounts": mounts})
    for node, count in enumerate(have):
        made.files[NODE.format(node)] = str(count)
        for cpu in (node * 2, node * 2 + 1):
            made.files[f"/sys/devices/system/cpu/cpu{cpu}/node{node}/cpulist"] = ""
    return made


def test_huge_pages_on_the_nodes_of_the_cores() -> None:
    wanted = config(hugepages={"2048": 512}, cores={"dataplane": [2, 3], "housekeeping": [0]})
    first, mount = hugepages.settings(wanted, pages(0, 100))
    assert (first.name, first.have, first.want) == ("2048 kB, node 1", "100", "at least 512")
    assert lines(first) == [f"512 > {NODE.format(1)}"]
    assert lines(mount) == ["mkdir -p /dev/hugepages", "mount -t hugetlbfs -o pagesize=2M none /dev/hugepages"]
    system = pages(0, 600, mounts="hugetlbfs /dev/hugepages hugetlbfs rw,pagesize=2M 0 0")
    assert [setting.differs for setting in hugepages.settings(wanted, system)] == [False, False]


def test_huge_pages_without_numa_and_of_a_size_that_is_not_there() -> None:
    wanted = config(hugepages={"1048576": 4})
    first, mount = hugepages.settings(wanted, Recorded(files={"/proc/mounts": ""}))
    assert first.unsupported
    assert mount.want == "/dev/hugepages1G"
    assert hugepages.settings(config(), Recorded()) == []
