"""The verb's exit codes for what is wrong before any packet is sent, and its whole way with a fake run."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from rbops.capture.records import records
from rbops.cli.app import build
from rbops.deploy.inventory import load_inventory
from rbops.selftest import run as run_module
from rbops.selftest import servers as servers_module
from rbops.selftest.conversations import Conversations
from rbops.selftest.options import SelftestOptions
from rbops.selftest.result import Fault, Pair, Phase, SelftestResult, Source
from rbops.selftest.sizes import Captured

SPEC = "name: tiny\nrouter: {external_ports: 2, line_rate: 1Gbps}\nservers: {profile: lab}\n"
SERVERS = "rbops_servers: {hosts: {n0: {ansible_host: 192.0.2.1}, n1: {ansible_host: 192.0.2.2}}}"
TESTERS = (
    "rbops_testers: {hosts: {t0: {ansible_connection: local, rbops_netns: a, rbops_device: ext0, rbops_port: 0},"
    " t1: {ansible_connection: local, rbops_netns: b, rbops_device: ext1, rbops_port: 1}}}"
)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "spec.yml").write_text(SPEC)
    (tmp_path / "without.yml").write_text(f"all: {{children: {{{SERVERS}}}}}\n")
    (tmp_path / "with.yml").write_text(f"all: {{children: {{{SERVERS}, {TESTERS}}}}}\n")
    return tmp_path


def invoke(files: Path, *arguments: str, inventory: str = "with.yml") -> Any:
    command = ["selftest", str(files / "spec.yml"), "-i", str(files / inventory), *arguments]
    return CliRunner().invoke(build(), command)


def test_an_inventory_without_testers_is_3(files: Path) -> None:
    done = invoke(files, inventory="without.yml")
    assert done.exit_code == 3
    assert "no tester in the inventory for external port 0, 1" in done.stderr


def test_a_size_that_no_frame_has_is_2(files: Path) -> None:
    done = invoke(files, "--size", "63")
    assert done.exit_code == 2
    assert "64 to 1518 bytes" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--size", "imx"),
            "imx is not a valid frame size, expected 64 to 1518 bytes with FCS, imix, abilene, or a capture",
        ),
        (("--rates", "--sizes", "64,huge"), "huge is not a valid list of frame sizes"),
        (("--ports", "0,x"), "--ports: '0,x' is not a list of external ports"),
        (("--ports", "0,7"), "--ports: 7: not an external port of the plan, which has 0, 1"),
        (("--ports", "7", "--family", "6"), "--ports: 7: not an external port of the plan"),
        (("--soak", "30"), "--soak: '30' is not a time"),
        (("--soak", "4s"), "4 s is not a valid time for a soak, expected 5 s to 8 h"),
        (("--soak", "1min", "--soak-load", "0"), "0% is not a valid load for a soak"),
        (("--soak", "1min", "--quick"), "--soak needs a rate, which --quick does not search"),
        (("--matrix", "hotpot"), "'hotpot' is not a traffic matrix"),
        (("--matrix", ","), "--matrix names none"),
        (("--matrix", "uniform", "--matrix-load", "0"), "0% is not a valid load for a matrix"),
    ],
)
def test_sizes_and_soaks_that_cannot_be_are_2(files: Path, arguments: tuple[str, ...], words: str) -> None:
    done = invoke(files, *arguments)
    assert done.exit_code == 2
    assert words in done.stderr.replace("\n", " ")


class _NoServers:
    """Stands for the SSH connections."""

    def __init__(self, targets: Any) -> None:
        self.names = [target.name for target in targets]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def incomplete(self) -> tuple[Fault, ...]:
        return ()

    def run_on(self, server: str, argv: Any) -> str:
        raise AssertionError(f"{server}: {argv}")

    def facts(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the verb passed on; it gets a result with one fault, or with none where ``healthy`` is set."""
    passed: dict[str, Any] = {"healthy": True}

    def fake(plan: Any, testers: Any, counters: Any, options: SelftestOptions, **more: Any) -> SelftestResult:
        passed.update(plan=plan, testers=testers, counters=counters, options=options, **more)
        fault = Fault("loss", "loss 1 of 5 from port 0 to port 1 [n1 dropped 1: mtu]", "matrix", 1, 0, 1, "n1")
        pair = Pair(0, 1, 5, 5 if passed["healthy"] else 4)
        return SelftestResult(
            plan.name, plan.digest, options.seed, ((0, "n0"), (1, "n1")),
            (Phase("matrix", 64, 1.0, (Source(0, 5, 0, 1.0),), (pair,)),), None,
            () if passed["healthy"] else (fault,), 1.0,
        )  # fmt: skip

    monkeypatch.setattr(run_module, "run_selftest", fake)
    monkeypatch.setattr(servers_module, "CounterReader", _NoServers)
    monkeypatch.setattr(run_module, "ports_to_test", lambda *_: ((), (), []))
    return passed


def test_a_passed_run_is_0_and_a_table(files: Path, seen: dict[str, Any]) -> None:
    done = invoke(files, "--seed", "7", "--packets", "5")
    assert done.exit_code == 0, done.stderr
    assert "self-test of tiny passed: 5 packets checked" in done.stdout
    assert (seen["options"].seed, seen["options"].packets, seen["options"].servers) == (7, 5, None)
    assert [tester.netns for tester in seen["testers"]] == ["a", "b"]
    assert seen["counters"].names == ["n0", "n1"]
    assert load_inventory(files / "with.yml").testers == seen["testers"]


def test_a_fault_is_1_and_stands_in_json_and_junit(files: Path, seen: dict[str, Any]) -> None:
    seen["healthy"] = False
    done = invoke(files, "--quick", "--format", "json", "--junit", str(files / "out.xml"))
    assert done.exit_code == 1
    assert "1 fault in the self-test: loss 1 of 5 from port 0 to port 1\n" in done.stderr
    assert json.loads(done.stdout)["faults"][0]["server"] == "n1"
    assert seen["options"].phases == ("matrix", "pair", "tunnels")
    suite = ET.parse(files / "out.xml").getroot()[0]
    assert suite.get("failures") == "1"


def test_limit_leaves_the_ports_of_those_servers(files: Path, seen: dict[str, Any]) -> None:
    assert invoke(files, "--limit", "n0").exit_code == 0
    assert seen["options"].servers == ("n0",)


@pytest.mark.parametrize(("word", "family"), [("4", 4), ("6", 6), ("both", None)])
def test_the_family_is_handed_on(files: Path, seen: dict[str, Any], word: str, family: int | None) -> None:
    assert invoke(files, "--family", word).exit_code == 0
    assert seen["options"].family == family


def test_a_family_that_the_spec_has_not_is_2(files: Path) -> None:
    done = invoke(files, "--family", "6")
    assert done.exit_code == 2
    assert "the spec has no IPv6, nothing to test with --family 6" in done.stderr
    assert invoke(files, "--family", "5").exit_code == 2


def test_a_soak_and_mixes_are_handed_on(files: Path, seen: dict[str, Any]) -> None:
    done = invoke(files, "--rates", "--sizes", "64,imix", "--size", "abilene", "--soak", "1.5min", "--soak-load", "50")
    assert done.exit_code == 0, done.stderr
    options = seen["options"]
    assert (options.size, options.rates.sizes) == ("abilene", (64, "imix"))
    assert (options.soak.seconds, options.soak.part) == (90.0, 0.5)
    assert options.phases == ("matrix", "pair", "tunnels", "rates", "soak")


def test_the_sizes_of_a_capture_are_handed_on(files: Path, seen: dict[str, Any]) -> None:
    header = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    frames = b"".join(struct.pack("<IIII", 1, at, 14, size) + bytes(14) for at, size in enumerate((60, 1514, 60)))
    (files / "site.pcap").write_bytes(header + frames)
    done = invoke(files, "--size", str(files / "site.pcap"), "--rates", "--sizes", f"imix,{files / 'site.pcap'}")
    assert done.exit_code == 0, done.stderr
    options = seen["options"]
    assert options.size == Captured("site.pcap", (64, 1518, 64))
    assert options.rates.sizes == ("imix", options.size)
    done = invoke(files, "--size", str(files / "not.pcap"))
    assert done.exit_code == 2
    assert "not.pcap: No such file" in done.stderr.replace("\n", " ")


def test_the_flows_of_a_capture_are_handed_on(files: Path, seen: dict[str, Any]) -> None:
    header = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    ip = bytes.fromhex("4500002800000000401100000a0000010a000002") + bytes(26)
    record = bytes(12) + b"\x08\x00" + ip
    (files / "site.pcap").write_bytes(header + struct.pack("<IIII", 1, 0, len(record), len(record)) + record)
    done = invoke(files, "--quick", "--capture", str(files / "site.pcap"))
    assert done.exit_code == 0, done.stderr
    options = seen["options"]
    assert options.phases == ("matrix", "pair", "tunnels", "capture")
    assert options.capture == Conversations("site.pcap", ((0, 1, 0, 60),))
    done = invoke(files, "--capture", str(files / "not.pcap"))
    assert done.exit_code == 2
    assert "not.pcap: No such file" in done.stderr.replace("\n", " ")


def test_matrices_are_handed_on(files: Path, seen: dict[str, Any]) -> None:
    done = invoke(files, "--quick", "--matrix", "uniform,hotspot,uniform", "--matrix-load", "40")
    assert done.exit_code == 0, done.stderr
    options = seen["options"]
    assert (options.matrices.names, options.matrices.load) == (("uniform", "hotspot"), 0.4)
    assert options.phases == ("matrix", "pair", "tunnels", "matrices")


def test_the_wrong_packets_are_written_as_asked(files: Path, seen: dict[str, Any]) -> None:
    target = files / "wrong.pcapng"
    assert invoke(files, "--examples", str(target)).exit_code == 0
    assert seen["healthy"]
    assert list(records(target.read_bytes())) == []
    done = invoke(files, "--examples", str(files / "not" / "there.pcapng"))
    assert done.exit_code == 2
    assert "there.pcapng: cannot be written: " in done.stderr


def test_a_junit_file_that_cannot_be_written_is_2(files: Path, seen: dict[str, Any]) -> None:
    assert seen["healthy"]
    done = invoke(files, "--junit", str(files / "not" / "there.xml"))
    assert done.exit_code == 2
    assert "there.xml: cannot be written: " in done.stderr
