"""From one FRR configuration to another: what has to be said, and that it leads there."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.node.frrchange import change, parse

OLD = """\
! a comment
frr defaults traditional
ip prefix-list a permit 10.0.0.0/8
route-map a-in permit 10
 match ip address prefix-list a
exit
router bgp 1
 no bgp default ipv4-unicast
 neighbor 10.0.0.2 remote-as 2
 neighbor 10.0.0.2 timers connect 10
 neighbor 10.0.0.3 remote-as 3
 address-family ipv4 unicast
  network 192.0.2.0/24
  neighbor 10.0.0.2 activate
  neighbor 10.0.0.3 activate
  neighbor 10.0.0.2 route-map a-in in
 exit-address-family
exit
"""


def test_lines_and_where_they_are() -> None:
    assert parse("a\n b\n  c\n exit\n d\nexit\n!\ne\n") == [("a",), ("a", "b"), ("a", "b", "c"), ("a", "d"), ("e",)]


def test_nothing_is_said_where_nothing_differs() -> None:
    assert change(OLD, OLD.replace("! a comment", "! another")) == ""


def test_a_prefix_comes_and_another_goes() -> None:
    new = OLD.replace("network 192.0.2.0/24", "network 198.51.100.0/24")
    place = "router bgp 1\n address-family ipv4 unicast\n"
    assert change(OLD, new) == f"{place}  no network 192.0.2.0/24\n  network 198.51.100.0/24\n"


def test_a_neighbour_goes_before_what_it_uses() -> None:
    lines = [line for line in OLD.splitlines(keepends=True) if "10.0.0.2" not in line and "a-in" not in line]
    new = "".join(line for line in lines if "prefix-list" not in line)
    assert change(OLD, new).splitlines() == [
        "router bgp 1",
        " no neighbor 10.0.0.2 remote-as 2",
        "exit",
        "no route-map a-in permit 10",
        "no ip prefix-list a permit 10.0.0.0/8",
    ]


def test_a_port_and_a_vrf_stay_where_their_lines_go() -> None:
    """They are the kernel's: FRR refuses to take them back, with exit status 0."""
    old = "vrf rbops\n ip route 192.0.2.0/24 reject\nexit-vrf\ninterface ext0\n ip ospf area 0\n ip ospf cost 7\nexit\n"
    assert change(old, old.replace("cost 7", "cost 8")).splitlines() == [
        "interface ext0", " no ip ospf cost 7", " ip ospf cost 8",
    ]  # fmt: skip
    assert change(old, "").splitlines() == [
        "interface ext0", " no ip ospf cost 7", " no ip ospf area 0", "exit",
        "vrf rbops", " no ip route 192.0.2.0/24 reject",
    ]  # fmt: skip


def test_a_neighbour_by_its_port_gets_a_new_as() -> None:
    old = "router bgp 1\n neighbor ext0 interface remote-as 2\n neighbor ext0 timers connect 10\n"
    assert change(old, old.replace("remote-as 2", "remote-as 3")).splitlines() == [
        "router bgp 1",
        " no neighbor ext0 interface remote-as 2",
        " neighbor ext0 interface remote-as 3",
        " neighbor ext0 timers connect 10",
    ]


def test_a_neighbours_new_as_brings_all_that_is_said_of_it() -> None:
    said = change(OLD, OLD.replace("remote-as 2", "remote-as 22")).splitlines()
    assert said[:2] == ["router bgp 1", " no neighbor 10.0.0.2 remote-as 2"]
    assert " neighbor 10.0.0.2 timers connect 10" in said
    assert "  neighbor 10.0.0.2 route-map a-in in" in said
    assert not [line for line in said if "10.0.0.3" in line]


def test_what_was_off_is_on() -> None:
    assert change(OLD, OLD.replace(" no bgp default ipv4-unicast\n", "")) == "router bgp 1\n bgp default ipv4-unicast\n"


NAMES = st.sampled_from(["a", "b", "c"])
TREES = st.dictionaries(NAMES, st.dictionaries(NAMES, st.sets(NAMES)))


def text(tree: dict[str, dict[str, set[str]]]) -> str:
    lines = []
    for outer, inner in tree.items():
        lines.append(f"place {outer}")
        for name, leaves in inner.items():
            lines += [f" at {name}", *(f"  is {leaf}" for leaf in sorted(leaves)), " exit"]
        lines.append("exit")
    return "".join(f"{line}\n" for line in lines)


@settings(deadline=None)
@given(TREES, TREES)
def test_it_leads_there(old: dict[str, dict[str, set[str]]], new: dict[str, dict[str, set[str]]]) -> None:
    """What a daemon has when it has done what is said, is what the new configuration says."""
    has, now = set(parse(text(old))), ()
    for line in change(text(old), text(new)).splitlines():
        depth, word = len(line) - len(line.lstrip()), line.strip()
        assert depth <= len(now), line
        if word == "exit":
            now = now[:depth]
            continue
        now = now[:depth]
        if word.startswith("no "):
            gone = (*now, word.removeprefix("no "))
            assert gone in has, line
            has = {path for path in has if path[: len(gone)] != gone}
            continue
        now = (*now, word)
        has.add(now)
    assert has == set(parse(text(new)))
