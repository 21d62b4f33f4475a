"""What the server's Click has to be changed by, from states: hot swap, restart, nothing."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rbops.dataplane.base import Difference
from rbops.dataplane.click import keys, package, plane
from rbops.dataplane.click.config import ClickConfig
from rbops.dataplane.click.plane import ClickPlane
from rbops.errors import Mismatch
from rbops.node.schema import Fabric, PlannedFile
from tests.support.errors import raises

KEY, OTHER, AUTH = "00c1f2a3b4d5e6f708192a3b4c5d6e7f", "0f" * 16, "a0b1c2d3e4f5061728394a5b6c7d8e9f"
NEW, OLD = "a" * 64, "b" * 64
ROUTES = {"203.0.113.0/24": ("-", "3")}
FABRIC = Fabric(
    server=0, servers=1, cores=(0,), routing="vlb", flowlet_timeout_s=0.0, direct_quota_bps=0, ports=(), owners=(0,),
    next_hop={}, intermediates=(), adjacencies=(), probe_interval_s=0.01, probe_multiplier=3,
)  # fmt: skip


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A server whose Click ``command`` runs ``running`` with elements ``loaded``; its next start loads ``planned``."""
    command = ["/opt/click/bin/click", "-j", "1", "-R", "router.click"]
    state = SimpleNamespace(running=NEW, loaded="p1", planned="p1", command=command, done=[])

    def systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
        if arguments[0] == "restart":
            state.running, state.loaded = NEW, state.planned
            state.command = [word for word in state.plane._config.command if word[0] != "$"]
            state.command += (tmp_path / "run/environment").read_text().removeprefix("PARAMETERS=").split()
            state.done.append("restart")
        return subprocess.CompletedProcess(arguments, 0, "12\n" if arguments[0] == "show" else "", "")

    def swap(_: ClickPlane) -> list[str]:
        state.running = NEW
        state.done.append("swap")
        return ["swapped the configuration"]

    monkeypatch.setattr(plane, "systemctl", systemctl)
    monkeypatch.setattr(plane, "_ENVIRONMENT", tmp_path / "run/environment")
    monkeypatch.setattr(plane, "command_of", lambda pid: list(state.command) if pid == 12 else [])
    monkeypatch.setattr(package, "loaded", lambda pid: state.loaded if pid == 12 else "")
    monkeypatch.setattr(package, "planned", lambda: state.planned)
    monkeypatch.setattr(ClickPlane, "_running", lambda _: state.running)
    monkeypatch.setattr(ClickPlane, "_tables", lambda _: [ROUTES])
    monkeypatch.setattr(ClickPlane, "_swap", swap)
    monkeypatch.setattr(ClickPlane, "_running_keys", lambda _: state.loaded_keys)
    files = {}
    for name, text in (("config", "x"), ("library", "table :: DirectIPLookup(\n  203.0.113.0/24 3,\n);\n")):
        path = tmp_path / name
        path.write_text(text)
        files[name] = PlannedFile(str(path), hashlib.sha256(text.encode()).hexdigest())
    config = ClickConfig(
        fabric=FABRIC, dialect="socket", prefix=None, package=None, elements=(), ipsec_keys=(), marker=NEW,
        unit="rbops-click.service", command=(*command, "$PARAMETERS"), control=str(tmp_path / "control"),
        threads=(), parameters={"EXT0": "ext0"}, defaults={"EXT0": "ext0"}, queues={}, **files,
    )  # fmt: skip
    state.devices = {"ext0": "ext0"}
    state.plane = ClickPlane(config, state.devices)

    def change(**values: Any) -> None:
        state.plane = ClickPlane(replace(state.plane._config, **values), state.devices)

    state.change = change
    return state


def test_as_planned(server: SimpleNamespace) -> None:
    assert server.plane.diff() == []
    assert server.plane.apply() == []
    assert server.done == []


def test_other_elements_take_a_restart(server: SimpleNamespace) -> None:
    server.planned = "p2"
    assert server.plane.diff() == [
        Difference("data plane", "element package", "p1", "p2 (restart: element package changed)")
    ]
    assert server.plane.apply() == ["started rbops-click.service"]
    assert server.done == ["restart"]
    assert server.plane.diff() == []


def test_a_click_without_the_package_takes_a_restart(server: SimpleNamespace) -> None:
    server.loaded = ""
    assert [(found.setting, found.have) for found in server.plane.diff()] == [("element package", "none")]


@pytest.mark.parametrize(("planned", "way"), [("p1", "hot swap"), ("p2", "restart")])
def test_a_new_configuration_is_swapped_in_only_for_the_same_elements(
    server: SimpleNamespace, planned: str, way: str
) -> None:
    server.running, server.planned = OLD, planned
    assert f"{NEW} ({way})" in [found.want for found in server.plane.diff()]
    server.plane.apply()
    assert server.done == [way.removeprefix("hot ")]
    assert server.plane.diff() == []


def with_tunnel(server: SimpleNamespace, tmp_path: Path, running: str) -> None:
    """A configuration with a tunnel; ``running`` is the key that Click has."""
    text = "ipsec_c0 :: RadixIPsecLookup(\n    203.0.113.0/24 198.18.3.2 1 458752 $ESP_KEY0 $ESP_AUTH0 1 64);\n"
    (tmp_path / "config").write_text(text)
    (tmp_path / "ipsec.click").write_text(f"define($ESP_KEY0 \\<{KEY}>);\ndefine($ESP_AUTH0 \\<{AUTH}>);\n")
    config = PlannedFile(str(tmp_path / "config"), hashlib.sha256(text.encode()).hexdigest())
    server.change(config=config, ipsec_keys=("/srv/peer.keys",))
    server.loaded_keys = {458752: (running, AUTH)}


@pytest.mark.parametrize(("dialect", "way"), [("socket", "hot swap"), ("dpdk", "restart")])
def test_other_keys_are_a_difference_that_does_not_tell_them(
    server: SimpleNamespace, tmp_path: Path, dialect: str, way: str
) -> None:
    server.change(dialect=dialect)
    with_tunnel(server, tmp_path, OTHER)
    want = f"those in {tmp_path}/ipsec.click ({way})"
    assert server.plane.diff() == [Difference("data plane", "keys of the tunnels", "others", want)]
    server.plane.apply()
    assert server.done == [way.removeprefix("hot ")]


def test_keys_as_planned(server: SimpleNamespace, tmp_path: Path) -> None:
    with_tunnel(server, tmp_path, KEY)
    assert server.plane.diff() == []
    assert server.plane.apply() == []


@pytest.mark.parametrize("text", [None, "", f"define($ESP_KEY0 \\<{'0' * 32}>);\n"])
def test_keys_that_are_not_there(server: SimpleNamespace, tmp_path: Path, text: str | None) -> None:
    with_tunnel(server, tmp_path, KEY)
    path = tmp_path / "ipsec.click"
    path.unlink()
    said = f"{path}: No such file or directory"
    if text is not None:
        path.write_text(text)
        said = f"{path}: no keys of tunnel 0"
    assert [found.have for found in server.plane.diff()] == [said]
    with raises(Mismatch, "click.keys"):
        server.plane.apply()
    assert server.done == []


def test_what_click_says_of_its_keys() -> None:
    text = (
        f"\n    10.0.0.0/8 198.18.3.2 1 458752 \\<{KEY.upper()}> \\<{AUTH}> 1 64,\n"
        f"    192.0.2.0/24 198.18.2.2 1 524288 \\<{AUTH}> \\<{KEY}> 1 64,\n    0.0.0.0/1 2, 198.18.0.1/32 2"
    )
    assert keys.running([text]) == {458752: (KEY, AUTH), 524288: (AUTH, KEY)}


@pytest.mark.parametrize("planned", ["", "p2"])
def test_what_does_not_run_is_started(server: SimpleNamespace, planned: str) -> None:
    """No package compiled (kernel mode, a check of a fresh server) is nothing to restart for."""
    server.running, server.planned, server.loaded = None, planned, ""
    assert [(found.setting, found.want) for found in server.plane.diff()] == [("configuration", f"{NEW} (start)")]


def test_no_package_is_planned(server: SimpleNamespace) -> None:
    server.planned = server.loaded = ""
    assert server.plane.diff() == []


def test_the_kernel_has_no_package_in_a_process(server: SimpleNamespace) -> None:
    server.planned, server.loaded, server.command = "left by the socket dialect", "", []
    server.change(dialect="kernel")
    assert server.plane.diff() == []


@pytest.mark.parametrize("running", [NEW, OLD])
def test_another_command_line_takes_a_restart(server: SimpleNamespace, running: str) -> None:
    server.running, server.command[2] = running, "2"
    command, *configuration = server.plane.diff()
    want = "1 -R router.click (restart: command line changed)"
    assert command == Difference("data plane", "command line", "2 -R router.click", want)
    assert [found.want for found in configuration] == ([] if running == NEW else [f"{NEW} (restart)"])
    server.plane.apply()
    assert server.done == ["restart"]
    assert server.plane.diff() == []


def test_a_device_of_another_name_takes_a_restart(server: SimpleNamespace) -> None:
    server.devices["ext0"] = "enp3s0"
    assert [(found.have, found.want) for found in server.plane.diff()] == [
        ("shorter", "EXT0=enp3s0 (restart: command line changed)")
    ]
    server.plane.apply()
    assert server.plane.diff() == []


def test_a_dpdk_process_is_no_socket_one(server: SimpleNamespace) -> None:
    """What runs without -R swaps nothing, whatever the plan says of the next one."""
    server.running, server.command = OLD, ["/opt/click/bin/click", "--dpdk", "-l", "0", "--", "router.click"]
    assert f"{NEW} (restart)" in [found.want for found in server.plane.diff()]


def test_a_program_from_path_is_known_by_its_name(server: SimpleNamespace) -> None:
    server.change(command=("click", *server.plane._config.command[1:]))
    server.command[0] = "/usr/bin/click"
    assert server.plane.diff() == []


@pytest.mark.parametrize(
    ("release", "runs"),
    [
        ("6.1.0-28-amd64", False),
        ("3.19.0", False),
        ("2.6.23.1", False),
        ("3.18.140", True),
        ("3.2.0-4-amd64", True),
        ("2.6.24", True),
    ],
)
def test_kernels_without_a_kernel_mode_click(
    server: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, release: str, *, runs: bool
) -> None:
    """Refused with what to write instead, and nothing was touched."""
    monkeypatch.setattr(plane.platform, "release", lambda: release)
    server.change(dialect="kernel")
    server.running = None
    if runs:
        assert server.plane.apply() == ["started rbops-click.service"]
        return
    with raises(Mismatch, "click.kernel-mode") as caught:
        server.plane.apply()
    assert (caught.value.exit_code, "dialect: socket" in caught.value.hint) == (3, True)
    assert server.done == []
    assert not plane._ENVIRONMENT.exists()
