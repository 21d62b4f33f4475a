"""From the words of the spec to the table that nft reads, and back from what it lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbops.common.services import Service, services
from rbops.errors import UsageError
from rbops.node import services as table
from rbops.node.settings import Nft, action_from_json, action_to_json
from rbops.node.state import State
from rbops.node.system import Done, NotInstalled
from tests.node.recorded import Recorded, config
from tests.support.errors import raises

LIST = "nft -s list table ip rbops"


def test_words() -> None:
    assert services("bgp") == (Service("tcp", 179),)
    assert services("tcp/8080") == (Service("tcp", 8080),)
    assert services("ip/112") == (Service("ip", 112),)


@pytest.mark.parametrize("word", ["http", "tcp/0", "tcp/65536", "ip/256", "tcp/1; drop", "tcp/", "TCP/1", ""])
def test_what_is_no_service(word: str) -> None:
    with pytest.raises(ValueError, match="is no service"):
        services(word)
    with raises(UsageError, "node.config-field"):
        config(services=[word])


def test_the_table() -> None:
    text = table.ruleset([*services("ssh"), *services("tcp/8080"), *services("ospf")], ["eth7", "rbops"])
    assert 'elements = { "eth7", "rbops" }' in text
    assert "    tcp dport { 22, 8080 } accept\n    ip protocol { 89 } accept\n" in text
    assert "udp dport" not in text
    assert text.startswith(table.GONE), "one transaction: never without it"
    action = Nft(text)
    assert action_from_json(action_to_json(action)) == action


def test_a_daemons_sessions_are_open_for_their_sources_alone() -> None:
    given = [(each, "198.18.0.2/32") for word in ("bgp", "udp/3784") for each in services(word)]
    text = table.ruleset([], ["eth7"], [*given, (*services("ospf"), "198.18.0.0/24")])
    assert (
        "    ip saddr 198.18.0.2/32 tcp dport 179 accept\n"
        "    ip saddr 198.18.0.2/32 udp dport 3784 accept\n"
        "    ip saddr 198.18.0.0/24 ip protocol 89 accept\n"
        "    ip daddr 224.0.0.0/3 drop\n"
    ) in text


def test_a_table_is_known_by_its_text_and_its_listing(tmp_path: Path) -> None:
    wanted, state = config(services=["ssh"]), State(tmp_path)
    system = Recorded({LIST: Done(1, "", "No such file or directory")})
    (setting,) = table.settings(wanted, ["eth7"], state, system)
    assert (setting.have, setting.want) == ("not limited", "ssh")
    (action,) = setting.actions
    assert isinstance(action, Nft)
    listed = f"as nft shows it: {action.text}"
    system.answers[LIST] = listed
    (setting,) = table.settings(wanted, ["eth7"], state, system)
    assert setting.have == "ssh", "just made"
    table.remember(wanted, state, system)
    system.answers[LIST] = listed.replace("tcp dport { 22 } accept", "")
    (setting,) = table.settings(wanted, ["eth7"], state, system)
    assert setting.have == "another table ip rbops", "a rule went"
    system.answers[LIST] = listed
    (setting,) = table.settings(config(services=[]), ["eth7"], state, system)
    assert (setting.have, setting.want) == ("another table ip rbops", "none but ICMP")
    assert table.settings(config(), ["eth7"], state, system) == []


def test_without_nft_it_is_a_difference(tmp_path: Path) -> None:
    class Without(Recorded):
        def run(self, argv: tuple[str, ...], stdin: str = "") -> Done:
            del stdin
            raise NotInstalled(f"{argv[0]} is not installed", code="node.not-installed")

    (setting,) = table.settings(config(services=[]), ["eth7"], State(tmp_path), Without())
    assert setting.differs
