from __future__ import annotations

import ipaddress

import pytest

from rbops.common.limits import MAX_LAB_SERVERS
from rbops.errors import Mismatch, UsageError
from rbops.lab import names
from tests.support.errors import raises


@pytest.mark.parametrize("name", ["rb4", "RB_4.x-1", "0", "a" * 32])
def test_lab_names_that_are_taken(name: str) -> None:
    assert names.check_lab_name(name) == name


@pytest.mark.parametrize("name", ["", "../x", "/x", "-x", ".x", "a b", "a\n", "a\0", "a;b", "a" * 33, "ü"])
def test_lab_names_that_are_refused(name: str) -> None:
    with raises(UsageError, "lab.name"):
        names.check_lab_name(name)


@pytest.mark.parametrize("name", ["n0", "rack-1.row-2"])
def test_server_names_that_are_taken(name: str) -> None:
    assert names.check_server_name(name) == name


@pytest.mark.parametrize("name", ["", "n_0", "-n0", "n0-", "n0..x", "n0\nreboot", "a" * 65, "../n0"])
def test_server_names_that_are_refused(name: str) -> None:
    with raises(Mismatch, "lab.host-name"):
        names.check_server_name(name)


@pytest.mark.parametrize("name", ["", "lo", "mgmt0", "all", "int 1", "a" * 16, "-1", "x;reboot", "x\nlink del eth0"])
def test_device_names_that_are_refused(name: str) -> None:
    with raises(Mismatch, "lab.port-name"):
        names.check_device_name(name)


def test_device_macs_carry_server_and_position() -> None:
    assert names.device_mac(0, 0) == "02:4c:00:00:00:00"
    assert names.device_mac(0x123, 0x45) == "02:4c:01:23:00:45"


def test_names_on_the_host_fit_a_device_name() -> None:
    assert max(len(names.bridge(254)), len(names.management_port(254, 244)), len(names.panel_device(244, 9999))) <= 15


def test_namespaces_of_two_labs_never_meet() -> None:
    labs = ["a", "a-s0", "a-t0", "a-panel", "a-s0-t1"]
    found = [
        made
        for lab in labs
        for made in (names.panel(lab), *(f(lab, i) for i in range(3) for f in (names.server_netns, names.tester_netns)))
    ]
    assert len(found) == len(set(found))


def test_management_addresses() -> None:
    assert names.gateway(7) == "10.82.7.1"
    assert names.management_address(7, 3) == "10.82.7.13"
    last = ipaddress.ip_address(names.management_address(7, MAX_LAB_SERVERS - 1))
    assert last in names.management_network(7)
    assert last != names.management_network(7).broadcast_address


def test_the_subnet_depends_on_the_name_alone_when_all_are_free() -> None:
    assert names.choose_subnet("rb4", []) == names.choose_subnet("rb4", [])
    assert 1 <= names.choose_subnet("rb4", []) <= 254


def test_a_taken_subnet_is_passed_over() -> None:
    first = names.choose_subnet("rb4", [])
    second = names.choose_subnet("rb4", [names.management_network(first)])
    assert second == first % 254 + 1
    inside = ipaddress.ip_network((int(names.management_network(first).network_address) + 64, 26))
    assert names.choose_subnet("rb4", [inside]) == second


def test_a_vpn_that_routes_all_of_ten_does_not_keep_labs_away() -> None:
    assert names.choose_subnet("rb4", [ipaddress.ip_network("10.0.0.0/8")]) == names.choose_subnet("rb4", [])


def test_no_subnet_left() -> None:
    with raises(Mismatch, "lab.no-network"):
        names.choose_subnet("rb4", [names.MANAGEMENT])
