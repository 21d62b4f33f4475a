"""Links, addresses, neighbours, routes, threads, interrupts: facts in, lines for ip out."""

from __future__ import annotations

import dataclasses
import errno
import json

import pytest

from rbops.errors import CheckFailed, Mismatch
from rbops.node import addresses, ethtool, irq, links, napi, neighbors, routes, rules, table
from rbops.node.devices import Device
from rbops.node.execute import NotSupported, execute, undo
from rbops.node.fabric import next_hop
from rbops.node.netlink import BROADCAST, LOCAL, UNICAST, KernelRoute
from rbops.node.settings import Action, Ip, Run, Setting, Write, action_from_json, action_to_json, differing
from rbops.node.system import Done
from tests.node.recorded import Recorded, config, external, internal
from tests.support.errors import raises


def todo(settings: list[Setting]) -> list[str]:
    return [action.line for setting in differing(settings) for action in setting.actions if isinstance(action, Ip)]


def device(*flags: str, mtu: int = 1500) -> Device:
    return Device("eth7", 7, "02:00:00:00:00:07", "veth", None, mtu, frozenset(flags))


def test_links() -> None:
    (port,) = config(ports=[internal(mtu=9000)]).ports
    assert todo(links.settings(port, device("BROADCAST"))) == [
        "link set dev eth7 mtu 9000",
        "link set dev eth7 arp off",
        "link set dev eth7 promisc on",
        "link set dev eth7 up",
    ]
    assert todo(links.settings(port, device("UP", "NOARP", "PROMISC", mtu=9000))) == []


def test_addresses() -> None:
    (port,) = config(ports=[external()]).ports
    text = json.dumps([{}, {"ifname": "eth7", "addr_info": [{"family": "inet", "local": "10.0.0.1", "prefixlen": 8}]}])
    settings = addresses.settings(port, "eth7", addresses.parse(text))
    assert todo(settings) == ["address del 10.0.0.1/8 dev eth7", "address add 198.18.0.1/24 dev eth7"]
    assert settings[0].undo == (Ip("address add 10.0.0.1/8 dev eth7"),)
    assert todo(addresses.settings(port, "eth7", {"eth7": ("198.18.0.1/24",)})) == []


DEVICES = {"ext0": "eth7", "int1": "eth8"}
INDEXES = {"eth7": 7, "eth8": 8}
ROWS = b"""prefix,port,adjacency,via
198.18.0.0/24,0,0,
198.18.0.2/32,0,1,
198.18.1.0/24,1,0,
198.18.1.2/32,1,1,
203.0.113.0/24,0,1,198.18.0.2
203.0.114.0/24,3,1,198.18.3.2
"""


def test_neighbors() -> None:
    wanted = config(ports=[external(), internal()])
    want = table.neighbors(table.rows(ROWS), wanted, DEVICES)
    facts = {
        ("eth7", "198.18.0.2"): "02:4e:00:00:00:02",
        ("eth7", "198.18.0.9"): "02:00:00:00:00:09",
        ("lo", "1.1.1.1"): "x",
    }
    settings = neighbors.settings({"eth7": "ext0", "eth8": "int1"}, want, facts)
    assert todo(settings) == [
        "neighbour del 198.18.0.9 dev eth7",
        "neighbour replace 169.254.1.0 lladdr 02:52:00:01:00:00 dev eth8 nud permanent",
        "neighbour replace 169.254.1.1 lladdr 02:52:00:01:00:01 dev eth8 nud permanent",
        "neighbour replace 169.254.3.1 lladdr 02:52:00:03:00:01 dev eth8 nud permanent",
    ]


def test_routes() -> None:
    wanted = config(ports=[external(), internal()])
    want = table.hops(table.rows(ROWS), wanted, DEVICES)
    have = {
        (0xC6120100, 24, 0): KernelRoute(0xA9FE0100, 8, onlink=True, source=0xC6120001, metric=0),
        (0xC6120102, 32, 0): KernelRoute(0xA9FE0101, 7, onlink=True, source=0xC6120001, metric=0),
        (0x08080800, 24, 0): KernelRoute(0xA9FE0101, 99, onlink=True, source=None, metric=0),
        (0xCB007100, 24, 9): KernelRoute(0xC6120002, 7, onlink=False, source=None, metric=9),
    }
    assert todo(routes.settings(want, have, INDEXES)) == [
        "route del 8.8.8.0/24 proto 82 table 82 metric 0",
        "route del 203.0.113.0/24 proto 82 table 82 metric 9",
        "route replace 198.18.0.0/24 dev eth7 scope link src 198.18.0.1 proto 82 table 82",
        "route replace 198.18.1.2/32 via 169.254.1.1 dev eth8 onlink src 198.18.0.1 proto 82 table 82",
        "route replace 203.0.113.0/24 via 198.18.0.2 dev eth7 proto 82 table 82",
        "route replace 203.0.114.0/24 via 169.254.3.1 dev eth8 onlink src 198.18.0.1 proto 82 table 82",
        "route replace local 198.18.0.1/32 dev eth7 scope host src 198.18.0.1 proto 82 table 82",
        "route replace broadcast 198.18.0.255/32 dev eth7 scope link src 198.18.0.1 proto 82 table 82",
    ]


def test_routes_of_a_cut_cable() -> None:
    """Led over another internal port with the planned next hop they are right; others are compared as ever."""
    want = table.hops(table.rows(ROWS), config(ports=[external(), internal()]), DEVICES)
    planned = KernelRoute(0xA9FE0101, 8, onlink=True, source=0xC6120001, metric=0)
    here = (0xC6120102, 32)
    places = {"inside": frozenset({8, 9}), "cut": frozenset({8})}
    for now, left in (
        (dataclasses.replace(planned, device=9), True),
        (dataclasses.replace(planned, device=7), False),
        (dataclasses.replace(planned, device=9, gateway=0xA9FE0301), False),
        (planned, False),
    ):
        some, have = routes.without_cut(want, {(*here, 0): now}, INDEXES, absent=False, **places)
        assert (here not in some, not have) == (left, left), now
        assert want.keys() - some.keys() <= {here}
    some, have = routes.without_cut(want, {(*here, 0): planned}, INDEXES, absent=True, **places)
    assert not have
    assert {hop.device for hop in some.values()} == {"eth7"}, "what leaves by other ports is looked at"
    places["cut"] = frozenset()
    assert routes.without_cut(want, {}, INDEXES, absent=True, **places) == (want, {})


def test_the_routers_addresses_are_in_its_own_table() -> None:
    """Once, also where internal ports have one too; the host interface of a data plane has none of a network."""
    wanted = config(ports=[internal(addresses=["198.18.0.1/32"]), external()])
    hops = table.hops(table.rows(b"prefix,port,adjacency,via\n"), wanted, DEVICES)
    own = {key: (hop.device, hop.kind) for key, hop in hops.items() if hop.kind != UNICAST}
    assert own == {(0xC6120001, 32): ("eth7", LOCAL), (0xC61200FF, 32): ("eth7", BROADCAST)}
    host = {"device": "rb0", "mac": "02:00:00:00:00:01", "mtu": 1500, "addresses": ["198.18.0.1/32"]}
    wanted = config(ports=[], host=host)
    hops = table.hops(table.rows(b"prefix,port,adjacency,via\n198.18.0.1/32,0,0,\n"), wanted, {})
    assert {key: (hop.device, hop.kind) for key, hop in hops.items()} == {(0xC6120001, 32): ("rb0", LOCAL)}


def test_rules() -> None:
    made = config(ports=[external(), internal()])
    shown = [
        {"priority": 0, "src": "all", "table": "local"},
        {"priority": 82, "src": "198.18.0.1", "table": "82"},
        {"priority": 82, "src": "10.0.0.0", "srclen": 8, "table": "82"},
        {"priority": 83, "src": "all", "iif": "eth7", "action": "unreachable"},
        {"priority": 85, "src": "all", "iif": "lo", "table": "82", "suppress_prefixlen": 0},
        {"priority": 32766, "src": "all", "table": "main"},
    ]
    found = rules.settings(made, DEVICES, rules.parse(json.dumps(shown)))
    assert todo(found) == [
        "rule del pref 82 from 10.0.0.0/8 lookup 82",
        "rule add pref 82 iif eth7 lookup 82",
        "rule add pref 82 iif eth8 lookup 82",
        "rule add pref 83 from 198.18.0.1 unreachable",
        "rule add pref 83 iif eth8 unreachable",
        # Never without a rule for the local table: the server would be cut off.
        "rule add pref 84 lookup local protocol kernel",
        "rule del pref 0 lookup local",
    ]
    assert found[-1].undo == (Ip("rule add pref 0 lookup local protocol kernel"),)


def test_many_routes_are_one_difference() -> None:
    rows = [(f"20.0.{i}.0/24", table.RouteTarget(1, 1, "")) for i in range(200)]
    want = table.hops(rows, config(ports=[external(), internal()]), DEVICES)
    (setting,) = routes.settings(want, {}, INDEXES)
    assert (setting.have, setting.want) == ("0 routes", "203 routes, 203 to change")
    assert len(setting.actions) == 203


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        (b"", "node.route", 1),
        (b"a,b\n", "node.route", 1),
        (ROWS + b"1.2.3.0/24,1\n", "node.route", 8),
        (ROWS + b"1.2.3.0/24,9,1,\n", "node.route-port", None),
    ],
)
def test_bad_table(text: bytes, code: str, line: int | None) -> None:
    with raises(Mismatch, code, file="routes.csv", line=line):
        table.hops(table.rows(text), config(ports=[external(), internal()]), DEVICES)


def test_next_hops_are_unique() -> None:
    some = [(port, adjacency) for port in (0, 1, 255, 256, 4095) for adjacency in (0, 1, 255, 256, 65535)]
    assert len({next_hop(*pair).address for pair in some}) == len(some)
    with pytest.raises(Mismatch):
        next_hop(4096, 0)


def test_napi_threads_are_pinned_in_order() -> None:
    (port,) = config(ports=[internal(nic={"threaded_napi": True})]).ports
    files = {
        "/proc/90/comm": "napi/eth7-8194",
        "/proc/90/status": "Name:\tnapi\nCpus_allowed_list:\t0-3\n",
        "/proc/91/comm": "napi/eth7-8193",
        "/proc/91/status": "Cpus_allowed_list:\t0\n",
        "/proc/92/comm": "napi/eth77-1",
    }
    settings = napi.settings(port, napi.read(Recorded(files=files), "eth7"))
    assert [(s.name, s.have, s.want) for s in settings] == [
        ("napi thread 0", "0", "0"),
        ("napi thread 1", "0-3", "1"),
    ]
    assert settings[1].actions == (Run(("taskset", "-pc", "1", "90")),)


def test_interrupt_that_moves_later_is_said() -> None:
    (port,) = config(ports=[internal()]).ports
    (setting,) = irq.settings(port, (irq.Interrupt(40, "eth7-TxRx-1", frozenset({1}), frozenset({0})),))
    assert not setting.differs
    assert setting.unsupported == "takes effect with the next interrupt"


class Refusing(Recorded):
    """A kernel that refuses writes."""

    error = errno.EIO

    def write(self, path: str, value: str) -> None:
        raise OSError(self.error, f"refused {value}", path)


def test_managed_interrupt() -> None:
    action = Write("/proc/irq/40/smp_affinity_list", "1")
    with raises(NotSupported, "node.not-supported"):
        execute(Refusing(), [action])
    with raises(CheckFailed, "node.write"):
        execute(Refusing(), [Write("/sys/class/net/x/threaded", "1")])


def test_lines_share_a_process() -> None:
    system = Recorded({"ip -batch -": "", "ethtool -L x rx 1": ""})
    execute(system, [Ip("a"), Ip("b"), Run(("ethtool", "-L", "x", "rx", "1")), Ip("c")])
    assert system.ran == [("ip -batch -", "a\nb\n"), ("ethtool -L x rx 1", ""), ("ip -batch -", "c\n")]


def test_failing_line_is_named() -> None:
    system = Recorded({"ip -batch -": Done(1, "", "RTNETLINK answers: File exists\nCommand failed -:2\n")})
    with raises(CheckFailed, "node.command"):
        execute(system, [Ip("a"), Ip("b"), Ip("c")])
    with pytest.raises(NotSupported):
        execute(system, [Run(("ethtool", "-G", "x", "rx", "1"))])


def test_undo_takes_what_is_gone_as_done() -> None:
    gone = Recorded({"ip -batch -": Done(1, "", 'Cannot find device "eth7"\nCommand failed -:1\n')})
    assert undo(gone, [Ip("link set dev eth7 down")]) == []
    stuck = Recorded({"ip -batch -": Done(1, "", "RTNETLINK answers: Operation not permitted\nCommand failed -:1\n")})
    assert len(undo(stuck, [Ip("link set dev eth7 down")])) == 1


class Deaf(Recorded):
    """Accepts what is written to a file and changes nothing."""

    def write(self, path: str, value: str) -> None:
        self.written.append((path, value))


@pytest.mark.parametrize(("found", "failures"), [("1\t2\n", 0), ("0\n", 1), ("", 1), (None, 0)])
def test_undo_reads_a_kernel_parameter_back(found: str | None, failures: int) -> None:
    """What the plan no longer names is in no comparison with it: nobody else would see that it stayed."""
    path = "/proc/sys/net/ipv4/conf/ext1/log_martians"
    system = Deaf(files={} if found is None else {path: found})
    assert len(undo(system, [Write(path, "1 2")])) == failures
    assert system.written == [(path, "1 2")]


@pytest.mark.parametrize("action", [Ip("a b"), Run(("a", "b c")), Write("/proc/x", "1")])
def test_actions_are_stored(action: Action) -> None:
    assert action_from_json(json.loads(json.dumps(action_to_json(action)))) == action


def test_what_an_offload_was_asked_for_is_what_comes_back() -> None:
    """Read while the far end has an XDP program already, a veth's TSO is off, and was on before."""
    text = "Features for int1:\ntcp-segmentation-offload: off [requested on]\ngeneric-receive-offload: on\n"
    found = ethtool.facts(Recorded({"ethtool -k int1": text}), "-k", "int1")
    assert [(found[name].have, found[name].own) for name in ("tso", "gro")] == [("off", "on"), ("on", "on")]


def test_undo_of_an_offload_that_the_other_end_forbids_now() -> None:
    """A veth's TSO comes back by itself when the far end's XDP program goes: the kernel keeps what was asked for."""
    refused = Done(1, "", "Could not change any device features\n")
    asked = Recorded({"ethtool -K int1 tso on": refused})
    assert undo(asked, [Run(("ethtool", "-K", "int1", "tso", "on"))]) == []
    assert ("ethtool -K int1 tso on", "") in asked.ran
