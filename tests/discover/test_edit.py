"""Changes to a spec's text: what was meant changes, and nothing else of what a person wrote."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.errors import UsageError
from rbops.spec.edit import Change, Value, edit, put_block, quoted
from rbops.spec.reader import parse
from tests.support.errors import raises

SPEC = """\
# top
name: x   # the name
router: {external_ports: 4, line_rate: 10Gbps}

hosts:  # real ones
  # first
  n0: {ports: {ext0: {pci: "0000:03:00.0"}}}  # zero
  n1:
    ports:
      int0:   # comment
        name: eth0  # why
      # deeper
  # after hosts

# routes
routes:
  - {prefix: 203.0.113.0/24, via: 198.18.3.2}
"""


def plain(text: str) -> Any:
    return parse(text, "x")[0].plain()


def test_values_are_replaced_where_they_stand() -> None:
    done = edit(
        SPEC,
        [
            Change(("hosts", "n0", "ports", "ext0"), {"mac": "3c:fd:fe:00:00:01"}),
            Change(("hosts", "n1", "ports", "int0"), {"pci": "0000:04:00.1"}),
        ],
        "x",
    )
    assert done == SPEC.replace('{pci: "0000:03:00.0"}', '{mac: "3c:fd:fe:00:00:01"}').replace(
        "name: eth0", 'pci: "0000:04:00.1"'
    )


def test_entries_are_added_behind_the_last_one_in_its_style() -> None:
    done = edit(
        SPEC,
        [
            Change(("hosts", "n0", "hardware"), "hardware/n0.yml"),
            Change(("hosts", "n1", "ports", "int2"), {"name": "eth2"}),
            Change(("hosts", "n2"), {"hardware": "n2.yml", "ports": {"int1": {"name": "off"}}}),
            Change(("servers", "profile"), "lab"),
        ],
        "x",
    )
    lines = done.splitlines()
    assert '  n0: {ports: {ext0: {pci: "0000:03:00.0"}}, hardware: hardware/n0.yml}  # zero' in lines
    start = lines.index("        name: eth0  # why")
    assert lines[start + 1 : start + 8] == [
        "      int2: {name: eth2}",
        "      # deeper",
        "  n2:",
        "    hardware: n2.yml",
        "    ports:",
        '      int1: {name: "off"}',
        "  # after hosts",
    ]
    assert lines[-1] == "servers: {profile: lab}"


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        ("a: 1\nhosts:\nb: 2", Change(("hosts", "n2", "ports", "int1"), {"name": "x"}),
         "a: 1\nhosts:\n  n2:\n    ports:\n      int1: {name: x}\nb: 2"),
        ("hosts: ~ # none\n", Change(("hosts", "n2"), {"profile": "lab"}), "hosts: {n2: {profile: lab}} # none\n"),
        ("{a: 1, hosts: {n0: {profile: lab}}}", Change(("hosts", "n0", "hardware"), "h", "profile"),
         "{a: 1, hosts: {n0: {hardware: h}}}"),
        ("hosts: {}", Change(("hosts", "n0"), {"profile": "lab"}), "hosts: {n0: {profile: lab}}"),
        ("hosts: {n0: {profile: a,},}", Change(("hosts", "n1", "profile"), "b"),
         "hosts: {n0: {profile: a}, n1: {profile: b},}".replace("a}", "a,}")),
        ("hosts:\r\n  n0: {}\r\n", Change(("hosts", "n1"), {"profile": "lab"}),
         "hosts:\r\n  n0: {}\r\n  n1: {profile: lab}\r\n"),
        ("a: |\n  text\n", Change(("b",), "c"), "a: |\n  text\nb: c\n"),
        ("hosts:\n  n0: {ports: {ext0: {name: \u00e4}}}  # \u65e5\u672c\n",
         Change(("hosts", "n0", "ports", "ext0"), {"name": "b"}),
         "hosts:\n  n0: {ports: {ext0: {name: b}}}  # \u65e5\u672c\n"),
        ("hosts:\n  n0:\n    profile: lab  # why\n", Change(("hosts", "n0", "hardware"), "h", "profile"),
         "hosts:\n  n0:\n    hardware: h  # why\n"),
    ],
)  # fmt: skip
def test_shapes(before: str, change: Change, after: str) -> None:
    assert edit(before, [change], "x") == after


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("hosts: {n0: &a {ports: {ext0: {name: x}}}, n1: *a}", "spec.edit-anchors"),
        ("b: &a {ports: {ext0: {name: x}}}\nhosts: {n1: *a}", "spec.edit-refused"),
        ("b: &p {name: x}\nhosts: {n1: {ports: {ext0: *p}}}", "spec.edit-refused"),
        ("hosts: {n1: lab}", "spec.edit-refused"),
        ("hosts: [n1]", "spec.edit-refused"),
        ("hosts:\n  n1:\n    ports:\n      ext0:\n        name: x\n        pci: y\n", "spec.edit-refused"),
    ],
)
def test_what_would_touch_more_is_refused(text: str, code: str) -> None:
    name = "n0" if "n0" in text else "n1"
    with raises(UsageError, code, file="x"):
        edit(text, [Change(("hosts", name, "ports", "ext0"), {"name": "b"})], "x")


def test_blocks_of_the_top_are_replaced_added_and_removed() -> None:
    text = "# a\nnics:  # old\n  - driver: x\n  # in\nclock: 1GHz # keep\n"
    done = put_block(text, "nics", "nics:\n  - driver: y\n")
    assert done == "# a\nnics:\n  - driver: y\n  # in\nclock: 1GHz # keep\n"
    assert put_block(done, "slots", "slots: []\n").endswith("keep\nslots: []\n")
    assert put_block(done, "nics", "") == "# a\n  # in\nclock: 1GHz # keep\n"


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=12)


@given(TEXTS)
def test_quoted_is_read_as_it_was(text: str) -> None:
    assert plain(f"a: {quoted(text)}") == {"a": text}
    assert plain(f"{{a: {quoted(text)}}}") == {"a": text}


def written(tree: Mapping[str, Value], dice: random.Random, comments: list[str], indent: int = 0) -> str:
    """A mapping as some person could have written it, with comments, blank lines, blocks and flows."""

    def comment() -> str:
        if dice.random() < 0.4:
            return ""
        comments.append(f"# note {len(comments)}: {{'x'}}, [y] *")
        return "  " + comments[-1]

    def as_flow(value: Value) -> str:
        if isinstance(value, str):
            return dice.choice([quoted(value), f'"{value}"'])
        return "{" + ", ".join(f"{key}: {as_flow(item)}" for key, item in value.items()) + dice.choice(["}", " }"])

    lines = []
    for key, value in tree.items():
        pad = " " * indent
        while dice.random() < 0.3:
            lines.append("" if dice.random() < 0.5 else pad + comment().strip())
        if isinstance(value, str) or not value or dice.random() < 0.4:
            lines.append(f"{pad}{key}: {as_flow(value)}{comment()}")
        else:
            lines.append(f"{pad}{key}:{comment()}")
            lines.append(written(value, dice, comments, indent + dice.choice([2, 4])).removesuffix("\n"))
    return "\n".join(lines) + "\n"


KEYS = st.sampled_from(["n0", "n1", "n2", "n10"])
PORTS = st.sampled_from(["ext0", "int0", "int1", "int2p1"])
WAYS = st.sampled_from(["name", "pci", "mac"])
VALUES = st.sampled_from(["eth0", "0000:03:00.0", "3c:fd:fe:00:00:01", "on", "1_0"])
SELECTORS = st.builds(lambda way, value: {way: value}, WAYS, VALUES)
HOSTS = st.dictionaries(KEYS, st.fixed_dictionaries({"ports": st.dictionaries(PORTS, SELECTORS)}))
CHANGES = st.lists(
    st.builds(lambda host, port, to: Change(("hosts", host, "ports", port), to), KEYS, PORTS, SELECTORS), max_size=6
)


@settings(max_examples=200, deadline=None)
@given(HOSTS, CHANGES, st.integers(0, 9999))
def test_comments_order_and_everything_else_survive(hosts: dict[str, Any], changes: list[Change], seed: int) -> None:
    comments: list[str] = []
    dice = random.Random(seed)  # noqa: S311 - repeatable
    tree = {"name": "x", "hosts": hosts, "routes": {"file": "r.csv"}}
    text = written(tree, dice, comments)
    assert plain(text) == tree
    done = edit(text, changes, "x")
    for change in changes:
        hosts.setdefault(change.path[1], {}).setdefault("ports", {})[change.path[3]] = change.value
    assert plain(done) == tree
    assert [f"{line}" for line in comments if line not in done] == []
    places = [done.index(line) for line in comments]
    assert places == sorted(places)
    assert edit(done, changes, "x") == done
