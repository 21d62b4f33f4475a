"""``application: ipsec``: a real Click encrypts what the rendered tunnels say, and keys stay where they belong."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import jinja2
import pytest
import yaml
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from rbops.dataplane.click.build import Click
from rbops.errors import SpecError, UsageError
from rbops.planner import load_plan
from rbops.render import render
from rbops.spec import load_spec
from tests.render.test_click import breaches, files, spec
from tests.spec.test_numbers import BAD

GOLDEN = Path(__file__).parents[1] / "render" / "golden" / "click"
ROLE = Path(__file__).parents[2] / "roles" / "click" / "tasks" / "main.yml"
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
    tasks = yaml.safe_load(ROLE.read_text())
    content = next(
        task["ansible.builtin.copy"]["content"] for task in tasks if task["name"] == "The keys of the tunnels"
    )
    template = jinja2.Environment(autoescape=False, trim_blocks=True).from_string(content)  # noqa: S701 - no HTML
    return template.render(
        click_plane={"ipsec_keys": key_files}, lookup=lambda _kind, name: Path(name).read_text(encoding="ascii")
    )


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


def decrypted(esp: bytes) -> tuple[bytes, int]:
    """The inner packet and the next header. Click chains the first half of each block only (IPsecAES, aes.cc)."""
    whole, tail = esp[16:], 12
    covered = len(whole) - tail
    # Payloads are multiples of 8; an odd half block is filled with the digest's first half.
    covered += covered % 16
    blocks = Cipher(algorithms.AES(bytes.fromhex(KEY)), modes.ECB()).decryptor()  # noqa: S305 - what Click does
    raw, before, plain = blocks.update(whole[:covered]), esp[8:16], b""
    for at in range(0, covered, 16):
        plain += bytes(a ^ b for a, b in zip(raw[at : at + 8], before, strict=True)) + raw[at + 8 : at + 16]
        before = whole[at : at + 8]
    plain += whole[covered:]
    check = hmac.HMAC(bytes.fromhex(AUTH), hashes.SHA1())  # noqa: S303 - what Click does
    check.update(esp[:16] + plain[:-tail])
    assert check.finalize()[:tail] == plain[-tail:]
    padding, following = plain[-tail - 2], plain[-tail - 1]
    assert plain[: -tail - 2][len(plain) - tail - 2 - padding :] == bytes(range(1, padding + 1))
    return plain[: -tail - 2 - padding], following


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
        inner, following = decrypted(outer[20:])
        assert following == 4
        assert inner == datagram(number, "203.0.113.9", len(before), ttl=63)
    assert packets_of((tmp_path / "clear.pcap").read_bytes()) == clear
    assert packets_of((tmp_path / "expired.pcap").read_bytes()) == [late]


@pytest.mark.parametrize("dialect", ["socket", "dpdk", "fastclick"])
def test_rules_hold(dialect: str, tmp_path: Path, golden: Callable[[Path, str], None]) -> None:
    plan = load_plan(written(tmp_path, dialect=dialect))
    text = files(plan)["/etc/rbops/click/router.click"]
    if dialect == "socket":
        golden(GOLDEN / "ipsec.click", text)
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


def test_role_hides_and_restricts() -> None:
    task = next(t for t in yaml.safe_load(ROLE.read_text()) if t["name"] == "The keys of the tunnels")
    assert task["no_log"] is True
    assert task["diff"] is False
    assert task["ansible.builtin.copy"]["mode"] == "0600"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_key_file_of_others(mode: int, tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "peer.keys").chmod(mode)
    with pytest.raises(SpecError, match=rf"router\.yml:9:\d+: .*peer\.keys \(mode {mode:04o}\)"):
        load_spec(path)


@pytest.mark.parametrize("text", ["", KEY, f"{KEY} {AUTH[:-1]}", f"{KEY} {AUTH} {KEY}", f"{KEY} {AUTH[:-1]}g"])
def test_key_file_that_holds_no_keys(text: str, tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "peer.keys").write_text(text)
    with pytest.raises(SpecError, match="does not hold two words of 32 hex digits") as caught:
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
        ("[{peer: 198.18.3.2, spi: 1, keys: .}]", "this is no file"),
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


def test_tunnels_without_the_application(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"ipsec: tunnels are for `application: ipsec`"):
        load_spec(written(tmp_path, application="route"))


def test_application_without_tunnels(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no tunnel"):
        render(load_plan(spec(tmp_path, application="ipsec")))


def test_kernel_dialect(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="kernel dialect has no ipsec"):
        render(load_plan(written(tmp_path, dialect="kernel")))
