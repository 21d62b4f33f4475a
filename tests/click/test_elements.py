"""The element table, and how an installed Click's map changes it."""

from __future__ import annotations

import re

import pytest

from rbops.click import CheckOptions, ClickText, bundled, check, with_elementmap
from rbops.click.codes import counts, flows, processing
from rbops.click.elements import Driver
from rbops.errors import UsageError
from tests.support.errors import raises

MAP = """<?xml version="1.0"?>
<elementmap xmlns="http://www.lcdf.org/click/xml/" provides="linux" drivers="userlevel">
<entry name="Idle" portcount="-/-" processing="a/a" flowcode="x/y" />
<entry name='Mine' portcount="1/1" processing="a/a" flowcode="x/x" docname="a &lt;b&gt;" />
<entry name="IPRewriter" processing="" />
<entry cxxclass="Helper" />
</elementmap>"""


def test_every_line_of_the_table_can_be_read() -> None:
    table = bundled()
    for classes in table.classes.values():
        for known in classes.values():
            assert counts(known.ports, 1) is not None, known.name
            assert re.fullmatch(r"[hla@]+(/[hla@]+)?", known.processing), known.name
            flows(known.flow, 3, 3)


@pytest.mark.parametrize(
    "name",
    [
        *("FromDevice", "ToDevice", "FromDPDKDevice", "ToDPDKDevice", "FromHost", "ToHost", "KernelTap", "PollDevice"),
        *(
            "MQPollDevice",
            "MQToDevice",
            "MQPushToDevice",
            "DirectVLB",
            "HostTap",
            "MACDispatch",
            "Queue",
            "ThreadSafeQueue",
        ),
        *("Unqueue", "StaticThreadSched", "DirectIPLookup"),
    ],
)
def test_what_rbops_renders_is_in_it(name: str) -> None:
    assert bundled().has(name)


def test_the_kernels_devices_differ_from_the_users() -> None:
    table = bundled()
    user, kernel = table.get("ToDevice", "userlevel"), table.get("ToDevice", "linuxmodule")
    assert user is not None
    assert kernel is not None
    assert (user.ports, kernel.ports) == ("1/0-2", "1/0")
    assert table.get("PollDevice", "userlevel") is None


def test_an_element_map_says_what_an_installed_click_has() -> None:
    table = with_elementmap(bundled(), MAP, "the Click at /x")
    assert {"Mine", "Idle", "DirectVLB"} <= set(table.classes["userlevel"])
    assert table.get("Queue", "userlevel") is None
    assert table.get("PollDevice", "linuxmodule") is not None
    rewriter = table.get("IPRewriter", "userlevel")
    assert rewriter is not None
    assert (rewriter.ports, rewriter.processing) == ("1-/1-", "h/h")
    report = check(ClickText("x.click", "Idle -> Queue -> Idle"), table, CheckOptions("userlevel"))
    assert [error.message for error in report.errors] == ["element class Queue exists only in the Linux kernel"]
    report = check(ClickText("x.click", "Idle -> Quux(1) -> Idle"), table, CheckOptions("userlevel"))
    assert ["the Click at /x" in error.message for error in report.errors] == [True]


def test_no_element_map() -> None:
    with raises(UsageError, "click.element-map", file="page.html"):
        with_elementmap(bundled(), "<html>", "page.html")


def test_a_package_brings_its_classes() -> None:
    text = ClickText("x.click", 'require(package "mine"); InfiniteSource -> Special -> Discard')
    report = check(text, bundled(), CheckOptions(package=lambda _: MAP.replace("Mine", "Special")))
    assert report.errors == ()
    assert report.notes == ()
    # Without its map, nothing of the class is known, and it may well exist.
    report = check(text, bundled())
    assert report.errors == ()
    assert ["Special" in note.message for note in report.notes] == [True]


@pytest.mark.parametrize(
    ("code", "inputs", "expected"),
    [
        ("1/1", 1, "1 1"),
        ("-/-", 0, "at least 0 at least 0"),
        ("1-2/1-", 1, "1 to 2 at least 1"),
        ("1-/=", 3, "at least 1 3"),
        ("-/=+", 2, "at least 0 3"),
        ("2", 1, "2 2"),
        ("-2/0", 1, "0 to 2 0"),
    ],
)
def test_port_counts(code: str, inputs: int, expected: str) -> None:
    found = counts(code, inputs)
    assert found is not None
    assert " ".join(map(str, found)) == expected


def test_codes_of_ports() -> None:
    assert processing("h/lh", 2, 3) == ("hh", "lhh")
    assert processing("a", 1, 2) == ("a", "aa")
    assert [list(ports) for ports in flows("xy/x[xy]", 2, 3)] == [[0, 1, 2], [1, 2]]
    assert [list(ports) for ports in flows("#/#", 3, 3)] == [[0], [1], [2]]
    assert [list(ports) for ports in flows("#/[^#]", 2, 2)] == [[1], [0]]
    assert [list(ports) for ports in flows("x/y", 2, 2)] == [[], []]


CLASH = "'PollDevice' is an element class and cannot name an element"


@pytest.mark.parametrize(("driver", "wrong"), [("userlevel", []), ("linuxmodule", [CLASH])])
def test_a_name_is_a_class_only_where_the_driver_has_it(driver: Driver, wrong: list[str]) -> None:
    text = ClickText("x.click", "PollDevice, b :: Idle; Search :: Idle; PollDevice -> Discard; Idle -> Search")
    assert [error.message for error in check(text, bundled(), CheckOptions(driver)).errors] == wrong
