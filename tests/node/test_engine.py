"""The engine's order and its second look, on a machine that forgets what real ones forget."""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from rbops.errors import CheckFailed, Mismatch
from rbops.nic.settings import ROWS, STAGES
from rbops.node.engine import Engine, prepare
from rbops.node.prior import Prior
from rbops.node.schema import NodeConfig, PlannedFile
from rbops.node.state import State
from rbops.node.system import Done
from tests.node.recorded import Recorded, config, external
from tests.node.recorded import plane as planned_plane
from tests.support.errors import raises

BASE = "/sys/class/net/eth0"
OFF = {"/sys/devices/system/cpu/online": "0-3", "/sys/devices/system/cpu/present": "0-3"}
REFUSED = Done(1, "", "netlink error: Invalid argument\n")


@dataclass
class Plane:
    """Attached by apply, which resets the queues of the machine."""

    machine: Machine
    attached: bool = False

    def diff(self) -> Sequence[Any]:
        if self.attached:
            return []
        return [type("D", (), {"subject": "data plane", "setting": "program", "have": "none", "want": "x"})()]

    def apply(self) -> Sequence[str]:
        self.attached = True
        self.machine.reset()
        return ["attached"]

    def detach(self) -> None:
        self.attached = False


@dataclass
class Machine(Recorded):
    """One NIC whose vectors exist while the link is up, numbered anew by every reset."""

    up: bool = False
    first: int = 40
    managed: bool = False
    refuse: tuple[str, ...] = ()
    even: bool = False
    usecs: int = 50
    numa: str = "0"
    log: list[str] = field(default_factory=list)

    def reset(self) -> None:
        """New vectors on all CPUs, no XPS, no RPS: as drivers do when they make their queues anew."""
        self.first += 10
        for path in [path for path in self.files if "msi_irqs" in path or path.startswith("/proc/irq/")]:
            del self.files[path]
        rows = []
        for queue in range(2 if self.up else 0):
            number = self.first + queue
            self.files[f"{BASE}/device/msi_irqs/{number}"] = "msix"
            self.files[f"/proc/irq/{number}/smp_affinity_list"] = "0-3"
            self.files[f"/proc/irq/{number}/effective_affinity_list"] = "0"
            rows.append(f" {number}:  1 2 3 4  IR-PCI-MSIX-0000:03:00.0  {queue}-edge  eth0-TxRx-{queue}")
        self.files["/proc/interrupts"] = "  CPU0 CPU1 CPU2 CPU3\n" + "\n".join(rows)
        for queue in range(2):
            self.files[f"{BASE}/queues/tx-{queue}/xps_cpus"] = "0"
            self.files[f"{BASE}/queues/rx-{queue}/rps_cpus"] = "0"

    def run(self, argv: tuple[str, ...], stdin: str = "") -> Done:
        text = " ".join(argv)
        if argv[0] == "ip" and argv[1] == "-batch":
            self.log += [f"ip {line}" for line in stdin.splitlines()]
            if "link set dev eth0 up" in stdin:
                self.up = True
                self.reset()
            return Done(0, "", "")
        if argv[:2] == ("ethtool", "-C"):
            self.log.append(text)
            if argv[3] in self.refuse:
                return REFUSED
            if argv[3] == "rx-usecs":
                self.usecs = int(argv[4]) // 2 * 2 if self.even else int(argv[4])
            return Done(0, "", "")
        return super().run(argv, stdin)

    def write(self, path: str, value: str) -> None:
        self.log.append(f"write {value} {path}")
        if path.startswith("/proc/irq/"):
            if self.managed:
                raise OSError(errno.EIO, "Input/output error", path)
            self.files[path.replace("smp_affinity_list", "effective_affinity_list")] = value
        super().write(path, value)


class Answers(dict[str, Done | str]):
    """Texts made from the machine's state."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine

    def get(self, key: str, default: Any = None) -> Any:
        flags = ["BROADCAST", *(["UP"] if self._machine.up else [])]
        link = {"ifname": "eth0", "ifindex": 2, "address": "02:00:00:00:00:01", "mtu": 1500, "flags": flags}
        made = {
            "ip -json -details link show": json.dumps([link]),
            "ip -json -4 address show": json.dumps([{"ifname": "eth0", "addr_info": []}]),
            "ip -json -4 rule show": "[]",
            "ip -json -4 neighbour show nud permanent": "[]",
            "ethtool -l eth0": _channels(),
            "ethtool -c eth0": f"Adaptive RX: n/a  TX: n/a\nrx-usecs:\t{self._machine.usecs}\n",
        }
        return made.get(key, default)


def _channels() -> str:
    block = "RX:\t\tn/a\nTX:\t\tn/a\nOther:\t\t1\nCombined:\t2\n"
    return f"Channel parameters for eth0:\nPre-set maximums:\n{block}Current hardware settings:\n{block}"


def machine(**changes: Any) -> Machine:
    made = Machine(**changes)
    made.files.update(OFF)
    made.links[f"{BASE}/device"] = "/sys/devices/pci0000:00/0000:00:1c.0/0000:03:00.0"
    made.files[f"{BASE}/device/vendor"] = "0x8086"
    made.drivers["eth0"] = "ixgbe"
    made.reset()
    made.answers = Answers(made)
    return made


def planned(*, steering: Sequence[object] = (), **nic: Any) -> NodeConfig:
    selected = {"select": {"name": "eth0"}, "driver": "ixgbe", "addresses": [], "neighbors": []}
    port = external("ext0", **selected, nic=nic, steering=list(steering))
    return config(ports=[port], dataplane=planned_plane(owners=[0], next_hop={}, intermediates=[]))


def engine(made: Machine, tmp_path: Path, wanted: NodeConfig, plane: Plane | None = None) -> Engine:
    loaded = plane or Plane(made)
    text = "prefix,port,adjacency,via\n"
    routes = tmp_path / "routes.csv"
    routes.write_text(text)
    digest = sha256(text.encode()).hexdigest()
    table = replace(wanted.routes, file=str(routes), sha256=digest)
    file = PlannedFile(str(routes), digest)
    whole = replace(wanted, routes=table, dataplane=replace(wanted.dataplane, program=file, fib=file))
    return prepare(whole, made, State(tmp_path / "state"), lambda *_: loaded)  # type: ignore[arg-type,return-value]


@pytest.fixture(autouse=True)
def no_kernel_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is made up: nothing is asked of this one's kernel, and no rule is set in it."""
    monkeypatch.setattr("rbops.node.netlink.dump_routes", lambda *_: b"")
    monkeypatch.setattr("rbops.node.rules.settings", lambda *_, **__: [])


def test_interrupts_are_placed_when_the_link_is_up_and_again_after_the_program(tmp_path: Path) -> None:
    made, plane = machine(), None
    plane = Plane(made)
    applied = engine(made, tmp_path, planned(), plane).apply()
    order = [line for line in made.log if line.startswith("write") and "smp_affinity" in line]
    assert order == [
        f"write {core} /proc/irq/{number + core}/smp_affinity_list" for number in (60, 70) for core in (0, 1)
    ]
    assert made.log.index("ip link set dev eth0 up") < made.log.index(order[0])
    assert made.files[f"{BASE}/queues/tx-1/xps_cpus"] == "2", "set again after the program's reset"
    irqs = [change for change in applied.changes if change["setting"] == "irq 1"]
    assert irqs == [{"subject": "port ext0", "setting": "irq 1", "have": "0-3", "want": "1"}], "told once"
    again = engine(made, tmp_path, planned(), plane)
    assert again.apply().changes == ()
    assert [setting for setting in again.settings() if setting.differs] == []


def test_managed_interrupts_are_said_and_not_undone(tmp_path: Path) -> None:
    made = machine(managed=True)
    plane = Plane(made)
    applied = engine(made, tmp_path, planned(), plane).apply()
    assert {note.setting for note in applied.notes if "manages this interrupt" in note.reason} == {"irq 0", "irq 1"}
    later = engine(made, tmp_path, planned(), plane)
    assert [setting for setting in later.settings() if setting.differs] == []
    assert "manages" in str(next(s.unsupported for s in later.settings() if s.name == "irq 1"))
    made.log.clear()
    assert Prior(State(tmp_path / "state").undo).restore(made) == []
    assert not [line for line in made.log if "smp_affinity" in line]


def test_refused_tuning_is_said(tmp_path: Path) -> None:
    made = machine(refuse=("rx-usecs",))
    plane = Plane(made)
    wanted = planned(rx_usecs=100)
    applied = engine(made, tmp_path, wanted, plane).apply()
    (note,) = applied.notes
    assert (note.setting, note.reason) == (
        "coalesce rx-usecs",
        "refused: ethtool -C eth0 rx-usecs 100: netlink error: Invalid argument",
    )
    assert [s.name for s in engine(made, tmp_path, wanted, plane).settings() if s.differs] == []
    other = planned(rx_usecs=40)
    differing = [s.name for s in engine(made, tmp_path, other, plane).settings() if s.differs]
    assert differing == ["coalesce rx-usecs"], "another value was not tried yet"


def test_a_rounded_value_is_said_and_not_tried_for_ever(tmp_path: Path) -> None:
    made = machine(even=True)
    plane = Plane(made)
    wanted = planned(rx_usecs=101)
    applied = engine(made, tmp_path, wanted, plane).apply()
    assert [note.reason for note in applied.notes] == ["the driver made it 100"]
    made.log.clear()
    for _ in range(2):
        again = engine(made, tmp_path, wanted, plane).apply()
        assert (again.changes, made.log) == ((), [])
        assert [note.reason for note in again.notes] == ["the driver made it 100"]


def test_without_any_effect_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = machine()
    monkeypatch.setattr(Machine, "write", lambda *_: None)
    with raises(CheckFailed, "node.no-effect", server="n0"):
        engine(made, tmp_path, planned()).apply()


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("-1", "the kernel does not know the node of eth0 (-1)"),
        ("1", "eth0 is on node 1, its cores 0-1 are not"),
        ("0", None),
    ],
)
def test_numa_is_said(node: str, said: str | None, tmp_path: Path) -> None:
    made = machine()
    for number in (0, 1):
        made.files[f"/sys/devices/system/node/node{number}/cpulist"] = "0-1" if number == 0 else "2-3"
    for cpu in range(4):
        made.files[f"/sys/devices/system/cpu/cpu{cpu}/node{cpu // 2}/cpulist"] = ""
    made.files["/sys/bus/pci/devices/0000:03:00.0/numa_node"] = node
    notes = [note.reason for note in engine(made, tmp_path, planned()).apply().notes if note.setting == "NUMA node"]
    assert notes == ([said] if said else [])


def test_every_stage_of_a_device_has_settings(tmp_path: Path) -> None:
    computed = engine(machine(), tmp_path, planned())._computed()
    assert computed.keys() | {row.tool.stage for row in ROWS} == set(STAGES)


def test_a_steering_that_is_insisted_on(tmp_path: Path) -> None:
    rules = [{"mac": "02:52:00:01:00:01", "queue": 1}]
    applied = engine(machine(), tmp_path, planned(steering=rules)).apply()
    assert any("dispatches in software" in note.reason for note in applied.notes)
    made = machine()
    with pytest.raises(Mismatch) as caught:
        engine(made, tmp_path, planned(steering=rules, steering_fallback=False)).apply()
    assert (caught.value.code, str(caught.value.where)) == ("nic.no-mac-rules", "n0: eth0")
    assert made.log == [], "nothing was changed"
