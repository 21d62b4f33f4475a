"""How devices are set by driver, by the spec and by a host of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbops.errors import SpecError
from rbops.nic.settings import NicSetup
from rbops.plan import ClusterPlan, Server
from rbops.planner import plan_spec
from rbops.spec.load import load_bytes

SPEC = """
router: {{external_ports: 4, line_rate: 10Gbps}}
servers:
  hardware:
    sockets: 1
    cores_per_socket: {cores}
    clock: 3GHz
    nics: [{{driver: {driver}, ports: 4, port_rate: {rate}, queues: {queues}}}]
{more}
"""


def planned(driver: str, more: str = "", *, cores: int = 5, queues: int = 16, rate: str = "10Gbps") -> ClusterPlan:
    text = SPEC.format(driver=driver, more=more, cores=cores, queues=queues, rate=rate)
    return plan_spec(load_bytes(text.encode(), Path("router.yml"), {}))


def setup(driver: str, more: str = "", *, cores: int = 5, server: str = "n0", rate: str = "10Gbps") -> NicSetup:
    (found,) = planned(driver, more, cores=cores, rate=rate).server(server).nics
    return found


@pytest.mark.parametrize(
    ("driver", "expected"),
    [
        ("ixgbe", (1024, None, 100, None)),
        ("i40e", (1024, False, 100, None)),
        ("ice", (1024, False, 100, None)),
        ("mlx5_core", (1024, False, 100, 16)),
        ("vmxnet3", (1024, None, 100, None)),
        ("virtio_net", (None, False, 100, 16)),
        ("veth", (None, None, None, None)),
        ("r8169", (None, None, None, None)),
    ],
)
def test_what_each_driver_has_words_for(driver: str, expected: tuple[int | bool | None, ...]) -> None:
    found = setup(driver)
    assert (found.rx_ring, found.adaptive, found.rx_usecs, found.rx_frames) == expected
    assert found.ring_fit


@pytest.mark.parametrize(
    ("more", "cores", "rate", "ring"),
    [
        ("batching: {timeout: 0}", 5, "10Gbps", 512),
        ("batching: {timeout: 400us}", 5, "10Gbps", 4096),
        ("batching: {timeout: 100us}", 2, "10Gbps", 4096),
        ("batching: {timeout: 100us}", 9, "25Gbps", 1024),
        ("nic: {coalescing: {rx: 50us}}", 5, "10Gbps", 512),
        ("nic: {coalescing: {rx: keep}}", 5, "10Gbps", 512),
    ],
)
def test_a_ring_holds_twice_what_comes_while_the_interrupt_waits(more: str, cores: int, rate: str, ring: int) -> None:
    assert setup("i40e", more, cores=cores, rate=rate).rx_ring == ring


def test_the_spec_goes_before_what_rbops_chooses() -> None:
    more = """
nic:
  rings: {rx: 2048, tx: keep}
  coalescing: {adaptive: false, rx: 20us, tx: 40us, tx_frames: 8}
  rss_key: symmetric
  threaded_napi: true
  defer_hard_irqs: 2
  flush_timeout: 200us
  offloads: {gro: false, tso: false}
  steering: software
"""
    found = setup("ice", more)
    assert (found.rx_ring, found.tx_ring, found.ring_fit) == (2048, None, False)
    assert (found.rx_usecs, found.tx_usecs, found.tx_frames, found.rx_frames) == (20, 40, 8, None)
    assert (found.rss_key, found.threaded_napi) == ("symmetric", True)
    assert (found.defer_hard_irqs, found.flush_timeout_ns) == (2, 200_000)
    tags = {"rxvlan": False, "rx-vlan-stag-hw-parse": False}
    assert dict(found.offloads) == {"gro": False, "lro": False, "rx-gro-hw": False, "tso": False, **tags}
    assert planned("ice", more).servers[0].steering == ()


def test_a_host_goes_before_the_spec_key_by_key() -> None:
    more = """
nic: {threaded_napi: true, rss_key: symmetric, offloads: {gro: false}}
hosts:
  n1: {nic: {threaded_napi: false, offloads: {tso: false}, rss_key: keep}}
"""
    general, own = setup("i40e", more), setup("i40e", more, server="n1")
    assert (general.threaded_napi, general.rss_key) == (True, "symmetric")
    assert (own.threaded_napi, own.rss_key) == (False, None)
    assert dict(own.offloads)["gro"] is False
    assert dict(own.offloads)["tso"] is False


def test_a_hosts_settings_are_checked_over_the_specs() -> None:
    more = """
nic: {coalescing: {rx: 50us}, defer_hard_irqs: 2, flush_timeout: 200us}
hosts: {n1: {nic: {coalescing: {adaptive: true}, flush_timeout: 0}}}
"""
    with pytest.raises(SpecError) as caught:
        planned("mlx5_core", more)
    assert [(error.code, error.field) for error in caught.value.diagnostics] == [
        ("spec.adaptive-time", "hosts.n1.nic.coalescing.adaptive"),
        ("spec.defer-without-timeout", "hosts.n1.nic.flush_timeout"),
    ]


def test_an_adaptive_driver_chooses_the_time() -> None:
    found = setup("mlx5_core", "nic: {coalescing: {adaptive: true}}")
    assert (found.adaptive, found.rx_usecs, found.rx_frames) == (True, None, None)


@pytest.mark.parametrize(
    ("driver", "more", "rules"),
    [
        ("veth", "", False),
        ("i40e", "", False),
        ("ixgbe", "", False),
        ("i40e", "dataplane: click", False),
        ("ice", "", True),
        ("mlx5_core", "", True),
        ("igb", "nic: {steering: hardware}", True),
        ("mlx5_core", "nic: {steering: software}", False),
    ],
)
def test_steering_is_where_the_driver_can(driver: str, more: str, *, rules: bool) -> None:
    assert bool(planned(driver, more).servers[0].steering) is rules


def test_steering_that_is_insisted_on_has_no_fallback() -> None:
    assert not setup("ice", "nic: {steering: hardware}").steering_fallback
    assert setup("ice").steering_fallback
    with pytest.raises(SpecError) as caught:
        planned("ixgbe", "nic: {steering: hardware}")
    assert [(e.code, e.field, e.line) for e in caught.value.diagnostics] == [("nic.steering-driver", "nic.steering", 9)]
    with pytest.raises(SpecError) as caught:
        planned("ice", "dataplane: click\nclick: {dialect: dpdk}\nnic: {steering: hardware}")
    assert [error.code for error in caught.value.diagnostics] == ["nic.steering-dataplane"]


def test_hashing_of_ixgbe_ends_at_16_queues() -> None:
    assert setup("ixgbe").rss_queues == 16
    assert setup("i40e").rss_queues is None


def test_click_on_dpdk_gets_the_devices() -> None:
    def of(driver: str, more: str) -> Server:
        return planned(driver, more).servers[0]

    dpdk = "dataplane: click\nclick: {dialect: dpdk}"
    found = of("i40e", dpdk)
    assert found.nics[0].bind == "vfio-pci"
    assert found.userspace is not None
    assert (found.userspace.hugepage_kb, found.userspace.hugepages) == (2048, 512)
    assert found.nics[0].offloads == ()
    assert of("mlx5_core", dpdk).nics[0].bind is None, "its DPDK driver works through the kernel's"
    own = of("i40e", f"{dpdk}\nnic: {{hugepages: {{size: 1GB, count: 2}}, unsafe_noiommu: true}}")
    assert own.userspace is not None
    assert (own.userspace.hugepage_kb, own.userspace.hugepages, own.userspace.unsafe_noiommu) == (1048576, 2, True)
    assert of("i40e", "dataplane: click").userspace is None


def test_click_on_sockets_gets_frames_as_they_came() -> None:
    offloads = dict(setup("i40e", "dataplane: click").offloads)
    assert not any(offloads[name] for name in ("gro", "lro", "gso", "tso", "rx-gro-hw", "rxvlan"))
