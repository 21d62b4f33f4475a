"""``application: ipsec``: a real Click encrypts what the rendered tunnels say, and keys stay where they belong."""

from __future__ import annotations

import os
import re
import runpy
import struct
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail
from typer.testing import CliRunner, Result

from rbops.cli.app import build
from rbops.dataplane.click.controller.build import Click
from rbops.errors import Mismatch, SpecError, UsageError
from rbops.planner import load_plan
from rbops.render import render, write
from rbops.spec import load_spec
from rbops.spec.keyfile import click_keys
from tests.click.esp import decrypted
from tests.render.test_click import breaches, files, spec
from tests.spec.test_numbers import BAD
from tests.support.errors import raises

ACTION = Path(__file__).parents[2] / "playbooks" / "action_plugins" / "rbops_keys.py"
KEY, AUTH = "00c1f2a3b4d5e6f708192a3b4c5d6e7f", "a0b1c2d3e4f5061728394a5b6c7d8e9f"
TUNNEL = "[{peer: 198.18.3.2, prefixes: [203.0.113.0/24], spi: 7, keys: peer.keys}]"
SIZES = (20, 21, 27, 28, 40, 64, 100, 576, 1400)


def written(folder: Path, tunnel: str = TUNNEL, dialect: str = "socket", application: str = "ipsec") -> Path:
    """A spec with a tunnel and its key file."""
    keys = folder / "peer.keys"
    keys.touch(0o600)
    keys.write_text(f"{KEY}\n{AUTH}\n")
    return spec(folder, dialect, application, ipsec=tunnel)


def keys_library(key_files: list[str]) -> str:
    """What the role puts onto the server."""
    definitions = runpy.run_path(str(ACTION))["_definitions"]
    return "".join(definitions(number, name) for number, name in enumerate(key_files))


def datagram(number: int, destination: str, size: int, ttl: int = 64) -> bytes:
    """A UDP-like IPv4 packet with a right header checksum."""
    source = IPv4Address("198.18.0.2").packed
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, size, number, 0, ttl, 17, 0, source, IPv4Address(destination).packed)
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return head[:10] + struct.pack("!H", total) + head[12:] + bytes((number + at) & 255 for at in range(size - 20))


def pcap(packets: list[bytes]) -> bytes:
    """Raw IP packets as a file."""
    records = (struct.pack("<IIII", 1, 0, len(packet), len(packet)) + packet for packet in packets)
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 12) + b"".join(records)


def packets_of(data: bytes) -> list[bytes]:
    found, at = [], 24
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at + 8)
        found.append(data[at + 16 : at + 16 + size])
        at += 16 + size
    return found


@pytest.mark.click
def test_click_encrypts(tmp_path: Path, installed: Click) -> None:
    plan = load_plan(written(tmp_path))
    text = files(plan, "n2")["/etc/rbops/click/router.click"]
    chain = text[text.index("ipsec_c0 :: ") : text.index("ipsec_c0[2]")]
    (tmp_path / "ipsec.click").write_text(keys_library([tunnel.keys for tunnel in plan.forwarding.tunnels]))
    (tmp_path / "run.click").write_text(
        "require(library ipsec.click);\n"
        "rt_c0 :: ToDump(out.pcap, ENCAP IP, SNAPLEN 0);\n"
        f"{chain}ipsec_c0[2] -> ToDump(clear.pcap, ENCAP IP, SNAPLEN 0);\n"
        "inner_c0[1] -> ToDump(expired.pcap, ENCAP IP, SNAPLEN 0);\n"
        "FromDump(in.pcap, STOP true, FORCE_IP true) -> CheckIPHeader -> ipsec_c0;\n"
    )
    sent = [datagram(number, "203.0.113.9", size) for number, size in enumerate(SIZES)]
    clear = [datagram(50, "192.0.2.1", 60), datagram(51, "198.18.1.1", 60)]
    late = datagram(60, "203.0.113.9", 60, ttl=1)
    (tmp_path / "in.pcap").write_bytes(pcap([*sent[:4], *clear, late, *sent[4:]]))
    environment = {**os.environ, "CLICKPATH": f"{tmp_path}:"}
    done = subprocess.run(
        [str(installed.program), "run.click"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = packets_of((tmp_path / "out.pcap").read_bytes())
    assert len(found) == len(sent)
    for number, (outer, before) in enumerate(zip(found, sent, strict=True)):
        assert outer[0] == 0x45
        assert outer[9] == 50
        assert struct.unpack_from("!H", outer, 2)[0] == len(outer)
        assert outer[12:16] == IPv4Address("198.18.2.1").packed
        assert outer[16:20] == IPv4Address("198.18.3.2").packed
        total = sum(struct.unpack("!10H", outer[:20]))
        assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
        assert struct.unpack_from("!II", outer, 20) == (7 << 16 | 2 << 8, number + 1)
        inner, following = decrypted(outer[20:], KEY, AUTH)
        assert following == 4
        assert inner == datagram(number, "203.0.113.9", len(before), ttl=63)
    assert packets_of((tmp_path / "clear.pcap").read_bytes()) == clear
    assert packets_of((tmp_path / "expired.pcap").read_bytes()) == [late]


@pytest.mark.parametrize("dialect", ["socket", "dpdk", "fastclick"])
def test_rules_hold(dialect: str, tmp_path: Path) -> None:
    plan = load_plan(written(tmp_path, dialect=dialect))
    text = files(plan)["/etc/rbops/click/router.click"]
    for core in range(len(plan.server("n0").cores.dataplane)):
        assert f" {(7 << 16) + core} $ESP_KEY0" in text
    assert breaches(plan) == []


def test_keys_are_in_no_rendered_file(tmp_path: Path) -> None:
    plan = load_plan(written(tmp_path))
    rendered = render(plan)
    everything = b"".join(file.content for file in rendered.tree()).lower() + plan.to_json().encode()
    for key in (KEY, AUTH):
        assert key.encode() not in everything
        assert bytes.fromhex(key) not in everything
    assert KEY in keys_library([plan.forwarding.tunnels[0].keys])


def click_check(path: Path) -> Result:
    return CliRunner().invoke(build(), ["click-check", str(path)])


def test_a_rendered_configuration_is_checked_without_keys(tmp_path: Path) -> None:
    """On a server they would be beside it: even then they are not read."""
    out = tmp_path / "out"
    write(render(load_plan(written(tmp_path))), out)
    config = out / "hosts/n0/etc/rbops/click/router.click"
    beside = config.with_name("ipsec.click")
    for there in (False, True):
        if there:
            beside.write_text("define($ESP_KEY0 \\<00>;\n")
        done = click_check(config)
        assert done.exit_code == 0, done.stderr
        lines = config.read_text().splitlines()
        line = next(number for number, text in enumerate(lines, 1) if "ipsec.click" in text)
        assert f"{config}:{line}:1: note: the tunnels' keys are on servers only: placeholders are" in done.stderr
        assert "rule2 holds" in done.stdout
    beside.unlink()
    for text, lost in (
        (config.read_text().replace("routes.click", "other.click"), "other.click"),
        ("require(library ipsec.click);\nIdle -> Discard;\n", "ipsec.click"),
        ("// Written by rbops from the plan\nrequire(library ipsec.click);\n", "ipsec.click"),
    ):
        config.write_text(text)
        done = click_check(config)
        assert done.exit_code == 1
        assert f"library '{lost}' not found" in done.stderr


def test_the_role_writes_what_rbops_expects_there(tmp_path: Path) -> None:
    plan = load_plan(written(tmp_path))
    (tmp_path / "other.keys").touch(0o600)
    (tmp_path / "other.keys").write_text(f" {AUTH.upper()}\t{KEY}")
    names = [plan.forwarding.tunnels[0].keys, str(tmp_path / "other.keys")]
    assert keys_library(names).encode() == click_keys(names)
    assert f"define($ESP_KEY1 \\<{AUTH.upper()}>);" in keys_library(names)


@pytest.mark.parametrize(
    ("mode", "text", "said"),
    [
        (0o640, f"{KEY} {AUTH}", r"others than its owner may use .*\(mode 0640\): chmod 600"),
        (0o600, KEY, "does not hold two words of 32 hex digits"),
        (None, "", "No such file or directory"),
    ],
)
def test_the_role_refuses_a_key_file(mode: int | None, text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "peer.keys"
    if mode is not None:
        path.write_text(text)
        path.chmod(mode)
    with pytest.raises(AnsibleActionFail, match=said) as caught:
        keys_library([str(path)])
    assert KEY not in str(caught.value)
    with raises(Mismatch, "spec.key-file") as refused:
        click_keys([str(path)])
    assert KEY not in f"{refused.value}{refused.value.hint}"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_key_file_of_others(mode: int, tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "peer.keys").chmod(mode)
    with raises(SpecError, "spec.key-file", field="ipsec[0].keys"):
        load_spec(path)


@pytest.mark.parametrize("text", ["", KEY, f"{KEY} {AUTH[:-1]}", f"{KEY} {AUTH} {KEY}", f"{KEY} {AUTH[:-1]}g"])
def test_key_file_that_holds_no_keys(text: str, tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "peer.keys").write_text(text)
    with raises(SpecError, "spec.key-file", field="ipsec[0].keys") as caught:
        load_spec(path)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("tunnel", "said"),
    [
        ("[{peer: 198.18.3.2, spi: 0, keys: peer.keys}]", "spi"),
        ("[{peer: 198.18.3.2, spi: 65536, keys: peer.keys}]", "spi"),
        ("[{peer: 198.18.3.300, spi: 1, keys: peer.keys}]", "peer"),
        ("[{peer: 198.18.3.2, prefixes: [], spi: 1, keys: peer.keys}]", "prefixes"),
        ("[{peer: 198.18.3.2, spi: 1, keys: none.keys}]", "No such file"),
        ("[{peer: 198.18.3.2, spi: 1, keys: .}]", "not a regular file"),
        (
            "[{peer: 198.18.3.2, spi: 1, keys: peer.keys}, {peer: 198.18.2.2, spi: 1, keys: peer.keys}]",
            "earlier tunnel",
        ),
    ],
)
def test_mistakes(tunnel: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=rf"router\.yml:9:\d+: .*{said}"):
        load_spec(written(tmp_path, tunnel))


@pytest.mark.parametrize("number", BAD)
def test_no_number(number: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"router\.yml:9:\d+: .*spi"):
        load_spec(written(tmp_path, TUNNEL.replace("spi: 7", f"spi: '{number}'")))


HALVES = ("0.0.0.0/1", "128.0.0.0/1")


def pair(*prefixes: tuple[str, ...]) -> str:
    """Tunnels with these prefixes."""
    tunnels = (
        f"{{peer: 198.18.{number}.2, prefixes: [{', '.join(each)}], spi: {number + 1}, keys: peer.keys}}"
        for number, each in enumerate(prefixes)
    )
    return f"[{', '.join(tunnels)}]"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("203.0.113.0/24",), ("203.0.113.0/24",)),
        (("203.0.113.0/24", "203.0.113.0/24"), ("192.0.2.0/24",)),
        (("10.0.0.0/8",), ("10.0.0.0/9", "10.128.0.0/9")),
        (HALVES, ("0.0.0.0/0",)),
        (("192.0.2.0/24",), ("192.0.2.0/25", "192.0.2.128/26", "192.0.2.192/27", "192.0.2.224/27")),
    ],
)
def test_prefixes_that_contradict(one: tuple[str, ...], other: tuple[str, ...], tmp_path: Path) -> None:
    for tunnels in (pair(one, other), pair(other, one)):
        with raises(SpecError, "spec.tunnel-prefix"):
            load_spec(written(tmp_path, tunnels))


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        (("0.0.0.0/0",), ("0.0.0.0/1",), {"128.0.0.0/1": 0, "0.0.0.0/1": 1}),
        (("128.0.0.0/1",), ("0.0.0.0/0",), {"128.0.0.0/1": 0, "0.0.0.0/1": 1}),
        (("0.0.0.0/0", "0.0.0.0/1"), ("192.0.2.0/24",), {"128.0.0.0/1": 0, "0.0.0.0/1": 0, "192.0.2.0/24": 1}),
        (("10.0.0.0/8", "10.0.0.0/9"), ("10.128.0.0/9",), {"10.0.0.0/8": 0, "10.0.0.0/9": 0, "10.128.0.0/9": 1}),
    ],
)
def test_the_longest_prefix_counts(
    one: tuple[str, ...], other: tuple[str, ...], found: dict[str, int], tmp_path: Path
) -> None:
    text = files(load_plan(written(tmp_path, pair(one, other))))["/etc/rbops/click/router.click"]
    lines = re.findall(r"^    (\S+) 198\.18\.(\d)\.2 1 \d+ \$ESP_KEY(\d) ", text, re.MULTILINE)
    assert sorted(lines) == sorted((prefix, str(number), str(number)) for prefix, number in found.items())


@pytest.mark.click
def test_click_looks_up_the_longest_prefix(tmp_path: Path, installed: Click) -> None:
    """The default and one of its halves: Click's own answer, for both orders of the tunnels."""
    for tunnels, here in ((pair(("0.0.0.0/0",), ("0.0.0.0/1",)), 1), (pair(("0.0.0.0/1",), ("0.0.0.0/0",)), 0)):
        plan = load_plan(written(tmp_path, tunnels))
        text = files(plan)["/etc/rbops/click/router.click"]
        look_up = text[text.index("ipsec_c0 :: ") : text.index("ipsec_c0[0]")]
        keys = keys_library([tunnel.keys for tunnel in plan.forwarding.tunnels])
        handlers = ("8.8.8.8", "203.0.113.1", "198.18.1.1")
        asked = "".join(f'print "$(ipsec_c0.lookup {address})", ' for address in handlers)
        script = f"{keys}{look_up}Idle -> ipsec_c0 => Discard, Discard, Discard;\nScript({asked}stop);\n"
        done = subprocess.run(
            [str(installed.program), "-e", script], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [f"1 198.18.{here}.2", f"1 198.18.{1 - here}.2", "2"]


@pytest.mark.parametrize("tunnel", ["[{peer: 198.18.3.1, spi: 1, keys: peer.keys}]", pair(("198.18.1.1/32",))])
def test_no_tunnel_leads_to_the_router_itself(tunnel: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load_plan(written(tmp_path, tunnel))
    assert [one.code for one in caught.value.diagnostics] == ["plan.tunnel-own"]


@pytest.mark.parametrize(("peer", "leads"), [("198.51.100.7", False), ("203.0.113.200", True), ("198.18.3.77", True)])
def test_a_route_leads_to_the_peer(peer: str, leads: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a table's column
    path = written(tmp_path, TUNNEL.replace("198.18.3.2", peer))
    if leads:
        assert f" {peer} 1 " in files(load_plan(path))["/etc/rbops/click/router.click"]
        return
    with pytest.raises(SpecError) as caught:
        load_plan(path)
    assert [one.code for one in caught.value.diagnostics] == ["plan.tunnel-route"]


def test_a_route_of_a_file_leads_to_the_peer(tmp_path: Path) -> None:
    (tmp_path / "routes.csv").write_text("198.51.100.0/24,198.18.3.2\n")
    for peer, leads in (("198.51.100.7", True), ("198.51.101.7", False)):
        path = written(tmp_path, TUNNEL.replace("198.18.3.2", peer))
        lines = path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(("routes:", "  - {prefix"))]
        path.write_text("".join(kept) + "routes: {file: routes.csv}\n")
        if leads:
            load_plan(path)
        else:
            with pytest.raises(SpecError):
                load_plan(path)


def test_tunnels_without_the_application(tmp_path: Path) -> None:
    with raises(SpecError, "spec.conflict", field="ipsec"):
        load_spec(written(tmp_path, application="route"))


def test_application_without_tunnels(tmp_path: Path) -> None:
    with raises(UsageError, "click.no-tunnel", field="ipsec"):
        render(load_plan(spec(tmp_path, application="ipsec")))


def test_kernel_dialect(tmp_path: Path) -> None:
    with raises(UsageError, "click.kernel-ipsec", field="click.dialect"):
        render(load_plan(written(tmp_path, dialect="kernel")))
