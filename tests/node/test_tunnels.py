"""Tunnels of the kernel: what they ask of it, how its answers are read, and that no key is said."""

from __future__ import annotations

import dataclasses
import json
import socket
import time
from pathlib import Path

import pytest

from rbops.errors import CheckFailed, Mismatch
from rbops.node import espsocket, tunnelcounts, tunnels, xfrm
from rbops.node.netlink import attributes
from rbops.node.schema.fields import FieldError, Fields
from rbops.node.schema.ipsec import NodeTunnel, TunnelConfig
from rbops.node.settings import Setting, Xfrm, action_from_json, action_to_json
from tests.support.esp import CBC, GCM, key_file

KEYS = tuple(bytes.fromhex(word) for word in GCM)


def tunnel(**changes: object) -> NodeTunnel:
    words: dict[str, object] = {
        "number": 7, "local": "198.18.1.1", "peer": "198.18.1.2", "own": True, "prefixes": ("10.9.0.0/16",),
        "sources": ("198.18.0.0/16",), "cipher": "aes128gcm16", "spi_out": 0x70100, "spi_in": 0x70000, "salt": 1,
        "replay_window": 1024, "esn": True, "keys": "peer.keys",
    }  # fmt: skip
    return NodeTunnel(**{**words, **changes})  # type: ignore[arg-type]


def state(**changes: object) -> xfrm.State:
    words: dict[str, object] = {
        "source": "198.18.1.2", "destination": "198.18.1.1", "spi": 0x70000, "number": 7, "keys": KEYS[1:],
        "window": 1024, "esn": True,
    }  # fmt: skip
    return xfrm.State(**{**words, **changes})  # type: ignore[arg-type]


def read_back(message: bytes, size: int) -> tuple[bytes, dict[int, bytes]]:
    return message[:size], dict(attributes(message, size, len(message)))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"keys": (bytes(36),)},
        {"keys": tuple(bytes.fromhex(word) for word in CBC[:2])},
        {"window": 4096, "spi": 0xFFFFFFFF},
        {"esn": False},
        {"udp": True},
        {"udp": True, "keys": tuple(bytes.fromhex(word) for word in CBC[:2])},
        {"esn": False, "window": 0},
    ],
)
def test_an_association_is_read_as_it_is_written(changes: dict[str, object]) -> None:
    wanted = state(**changes)
    assert xfrm._state(*read_back(xfrm._state_message(wanted), xfrm._STATE.size)) == wanted


def test_a_policy_is_read_as_it_is_written() -> None:
    for direction in (xfrm.OUTWARD, xfrm.INWARD, xfrm.FORWARDED):
        wanted = xfrm.Policy(direction, "198.18.0.0/16", "10.9.0.0/16", 7, "198.18.1.1", "198.18.1.2")
        assert xfrm._policy(*read_back(xfrm._policy_message(wanted), xfrm._POLICY.size)) == wanted


def test_others_are_not_taken_for_ours() -> None:
    """Of another mode, cut short, and with another algorithm."""
    body, rest = read_back(xfrm._state_message(state()), xfrm._STATE.size)
    mode = 56 + 24 + 16 + 64 + 32 + 12 + 4 + 4 + 2
    assert xfrm._state(body[:mode] + b"\0" + body[mode + 1 :], rest) is None
    assert xfrm._state(body[:100], rest) is None
    other = rest | {18: b"rfc4543(gcm(aes))".ljust(64, b"\0") + rest[18][64:]}
    found = xfrm._state(body, other)
    assert found is not None
    assert found.keys == ()


def settings(config: TunnelConfig, facts: tunnels.Facts) -> dict[str, Setting]:
    return {setting.name: setting for setting in tunnels.protection(config, facts)}


@pytest.fixture
def config(tmp_path: Path) -> TunnelConfig:
    path = tmp_path / "ipsec.keys"
    path.write_text(" ".join(GCM) + "\n")
    return TunnelConfig(str(path), (tunnel(),))


NOTHING = tunnels.Facts((), (), frozenset())


def as_planned(config: TunnelConfig) -> tunnels.Facts:
    """What the kernel has after every action was carried out."""
    ((out, inward),) = (tuple(tunnels._states(each, KEYS).values()) for each in config.tunnels)
    policies = [
        xfrm.Policy("out", "198.18.0.0/16", "10.9.0.0/16", 7, "198.18.1.1", "198.18.1.2"),
        *(xfrm.Policy(way, "10.9.0.0/16", "198.18.0.0/16", 7, "198.18.1.2", "198.18.1.1") for way in ("in", "fwd")),
    ]
    return tunnels.Facts((out, inward), tuple(policies), frozenset({"10.9.0.0/16"}))


def test_what_is_missing_is_made_and_what_is_there_stays(config: TunnelConfig) -> None:
    missing = settings(config, NOTHING)
    assert list(missing) == [
        "10.9.0.0/16 without its interface",
        "outbound association 0x70100",
        "inbound association 0x70000",
        "policy out 198.18.0.0/16 to 10.9.0.0/16",
        "policy in 10.9.0.0/16 to 198.18.0.0/16",
        "policy fwd 10.9.0.0/16 to 198.18.0.0/16",
    ]
    assert all(setting.differs and setting.undo for setting in missing.values())
    assert [setting for setting in settings(config, as_planned(config)).values() if setting.differs] == []


def test_no_key_is_in_an_action_or_a_text(config: TunnelConfig) -> None:
    """They are kept on the disk, and shown."""
    for setting in settings(config, NOTHING).values():
        actions = [*setting.actions, *setting.undo]
        stored = json.dumps([action_to_json(action) for action in actions])
        assert [action_from_json(each) for each in json.loads(stored)] == actions
        assert not any(word[:8] in f"{setting!r} {stored}" for word in GCM)
    assert GCM[1][:8] not in repr(state())


def test_other_keys_are_told_apart_from_another_association(config: TunnelConfig) -> None:
    have = as_planned(config)
    out, inward = have.states
    other = xfrm.State(**{**{name: getattr(inward, name) for name in inward.__slots__}, "keys": (bytes(20),)})
    found = settings(config, tunnels.Facts((out, other), have.policies, have.refused))
    assert found["inbound association 0x70000"].have == "other keys"
    smaller = state(window=32)
    found = settings(config, tunnels.Facts((out, smaller), have.policies, have.refused))
    assert found["inbound association 0x70000"].have == "another one"
    assert found["inbound association 0x70000"].differs


def test_strangers_go(config: TunnelConfig) -> None:
    have = as_planned(config)
    more = xfrm.Policy("out", "198.18.0.0/16", "10.8.0.0/16", 7, "198.18.1.1", "198.18.1.2")
    facts = tunnels.Facts((*have.states, state(spi=0x999)), (*have.policies, more), have.refused)
    gone = [setting for setting in settings(config, facts).values() if setting.differs]
    assert [(setting.name, setting.want) for setting in gone] == [
        ("association 0x999", "absent"),
        ("policy out 198.18.0.0/16 to 10.8.0.0/16", "absent"),
    ]


def test_servers_differ_by_salt_and_spi_alone() -> None:
    """A nonce is never used twice with a key (RFC 4106, 4)."""
    seen = {tunnels._states(tunnel(salt=n, spi_out=7 << 16 | n << 8), KEYS)["outbound association"] for n in range(256)}
    assert len({each.keys[0][-4:] for each in seen}) == len({each.spi for each in seen}) == 256
    assert {each.keys[0][:-4] for each in seen} == {KEYS[0][:-4]}


def test_keys_that_are_not_here_yet_are_a_difference(config: TunnelConfig) -> None:
    facts = as_planned(config)
    Path(config.file).unlink()
    found = [setting.name for setting in settings(config, facts).values() if setting.differs]
    assert found == ["outbound association 0x70100", "inbound association 0x70000"]
    action = settings(config, NOTHING)["inbound association 0x70000"].actions[0]
    assert isinstance(action, Xfrm)
    with pytest.raises(CheckFailed, match="keys cannot be read"):
        tunnels.carry_out(action.text)


def test_a_server_without_the_address_only_sends(config: TunnelConfig) -> None:
    far = TunnelConfig(config.file, (tunnel(own=False),))
    assert not [name for name in settings(far, NOTHING) if "inbound" in name or " in " in name or "fwd" in name]


@pytest.mark.parametrize(
    ("said", "option"),
    [
        ("RTNETLINK answers: Operation not supported\nCommand failed -:1", "CONFIG_XFRM_INTERFACE"),
        ("Error: Unknown device type.\nCommand failed -:1", "CONFIG_XFRM_INTERFACE"),
        ("Cannot open netlink socket: Protocol not supported\nCommand failed -:2", "CONFIG_XFRM_USER"),
        ("RTNETLINK answers: Protocol not supported\nCommand failed -:2", "CONFIG_INET_ESP"),
        ("RTNETLINK answers: Function not implemented\nCommand failed -:2", "CONFIG_CRYPTO_GCM"),
    ],
)
def test_the_option_that_a_kernel_lacks_is_named(said: str, option: str) -> None:
    assert option in tunnels.lacking(said, "rfc4106(gcm(aes))")


def test_what_is_written_is_read(config: TunnelConfig) -> None:
    assert TunnelConfig.parse(Fields("", json.loads(json.dumps(config.to_json())))) == config


@pytest.mark.parametrize(
    ("key", "value"),
    [("spi_in", 1 << 32), ("number", 65536), ("salt", 256), ("replay_window", 4097), ("replay_window", -1),
     ("prefixes", ["10.9.0.1/16"]), ("sources", ["2001:db8::/32"]), ("sources", [7]), ("cipher", "null"), ("own", 1)],
)  # fmt: skip
def test_what_a_tunnel_cannot_be_is_refused_at_its_place(config: TunnelConfig, key: str, value: object) -> None:
    """Before anything is changed: node.json may have come from anywhere."""
    text = json.loads(json.dumps(config.to_json()))
    text["tunnels"][0][key] = value
    with pytest.raises(FieldError) as caught:
        TunnelConfig.parse(Fields("", text))
    assert f"tunnels[0].{key}" in caught.value.place


def test_key_files(tmp_path: Path) -> None:
    from rbops.spec.keyfile import check_esp_keys, esp_keys
    from rbops.spec.units import InvalidValue

    path = tmp_path / "peer.keys"
    for cipher, words, fine in (
        ("aes128gcm16", GCM, True),
        ("aes128-sha256", CBC, True),
        ("aes256gcm16", GCM, False),
        ("aes128gcm16", CBC, False),
        ("aes128gcm16", (GCM[0], GCM[0]), False),
        ("aes128gcm16", ("0" * 40, GCM[1]), False),
        ("aes128gcm16", (*GCM, "00"), False),
    ):
        path.write_text(key_file(words))
        path.chmod(0o600)
        if fine:
            check_esp_keys(path, cipher)
            assert esp_keys([(cipher, str(path))]).decode() == " ".join(words) + "\n"
        else:
            with pytest.raises(InvalidValue) as wrong:
                check_esp_keys(path, cipher)
            assert not any(word[:8] in f"{wrong.value.message} {wrong.value.hint}" for word in GCM)
    path.chmod(0o640)
    with pytest.raises(Mismatch, match="others than its owner"):
        esp_keys([("aes128gcm16", str(path))])


def test_who_may_not_ask_the_kernel_reads_what_the_watch_wrote(
    config: TunnelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the exporter: not for ever, and without keys."""
    path = tmp_path / "kept.json"
    monkeypatch.setattr(xfrm, "states", lambda: [state(packets=3, octets=300, failed=1)])
    tunnelcounts.keep(config, path, rounds=1)
    assert path.stat().st_mode & 0o777 == 0o600
    assert not any(word[:8] in path.read_text() for word in GCM)

    def refused() -> list[xfrm.State]:
        raise CheckFailed("Operation not permitted", code="node.xfrm")

    monkeypatch.setattr(xfrm, "states", refused)
    inward = {"packets": 3, "bytes": 300, "sequence": 0, "replayed": 0, "failed": 1}
    assert tunnelcounts.read(config, path) == [{"tunnel": 7, "peer": "198.18.1.2", "in": inward}]
    old = json.loads(path.read_text())
    path.write_text(json.dumps({**old, "at_s": old["at_s"] - 60}))
    assert tunnelcounts.read(config, path) == []
    path.unlink()
    assert tunnelcounts.read(config, path) == []


def test_configurations_and_records_of_earlier_versions_have_no_udp(config: TunnelConfig) -> None:
    text = config.to_json()
    tunnels_ = [{key: value for key, value in each.items() if key != "udp"} for each in text["tunnels"]]  # type: ignore[attr-defined]
    assert TunnelConfig.parse(Fields("ipsec", {**text, "tunnels": tunnels_})) == config
    written = {"source": "a", "destination": "b", "spi": 7, "number": 7, "window": 1, "esn": True}
    assert tunnels._keyed({**written, "file": config.file, "line": 0, "out": True}).udp is False


def test_another_form_is_another_association(config: TunnelConfig) -> None:
    (planned,) = config.tunnels
    wanted = TunnelConfig(config.file, (dataclasses.replace(planned, udp=True),))
    found = settings(wanted, as_planned(config))
    assert found["inbound association 0x70000"].have == "another one"
    assert found["inbound association 0x70000"].want.endswith(", in UDP")


@pytest.mark.root
def test_the_socket_takes_nothing_and_is_held_where_the_tunnel_ends(capsys: pytest.CaptureFixture[str]) -> None:
    """On loopback; a port that is taken is said, and tried again."""
    here = tunnel(local="127.0.0.7", peer="127.0.0.8", udp=True)
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    waited: list[float] = []

    class Enough(Exception):
        pass

    def wait(seconds: float) -> None:
        """The port is free after the first time, or a little later: a process that is just started may share it."""
        waited.append(seconds)
        taken.close()
        if waited.count(20.0) == 2:
            raise Enough
        if seconds == 20.0:
            sender.sendto(b"\xff", ("127.0.0.7", 4500))
            assert peer.recv(10) == b"\xff", "its own keepalive"
        elif len(waited) > 1:
            time.sleep(0.1)

    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        taken.bind(("127.0.0.7", 4500))
        peer.bind(("127.0.0.8", 4500))
        peer.settimeout(10)
        with pytest.raises(Enough):
            espsocket.hold(TunnelConfig("none", (here,)), in_vrf=False, wait=wait)
    said = capsys.readouterr().err.splitlines()
    assert set(said) == {"rbops-node: no ESP in UDP at port 4500: Address already in use"}
    assert waited == [*[5.0] * len(said), 20.0, 20.0]
    espsocket.hold(TunnelConfig("none", (tunnel(), tunnel(own=False, udp=True))), in_vrf=False)
