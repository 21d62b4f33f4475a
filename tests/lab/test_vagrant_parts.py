"""What the Vagrant provider writes and refuses; no virtual machine is made."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rbops.errors import Mismatch, UsageError
from rbops.lab import manifest as manifests
from rbops.lab import names, providers
from rbops.lab.manifest import LabServer, Manifest
from rbops.lab.vagrant import box, cables, fit, guest, kvm
from rbops.lab.vagrant import provider as vagrant
from rbops.plan import ClusterPlan
from rbops.planner import plan_spec
from rbops.spec import load_spec
from tests.lab.plans import mesh, systems
from tests.support.errors import raises

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def plan(tmp_path: Path) -> ClusterPlan:
    spec = tmp_path / "vm.yml"
    spec.write_text(
        "name: vm2\nrouter: {external_ports: 2, line_rate: 10Gbps}\nservers: {profile: vagrant}\n", encoding="utf-8"
    )
    return plan_spec(load_spec(spec))


@pytest.fixture
def manifest(plan: ClusterPlan) -> Manifest:
    made = vagrant._manifest(plan, "vm2", 7, systems(plan, base="/box"), emulated=True)
    return dataclasses.replace(made, plan_digest="0" * 64)


def test_the_vagrantfile(manifest: Manifest, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / "Vagrantfile", vagrant._vagrantfile(manifest).decode())


@pytest.mark.skipif(not shutil.which("ruby"), reason="ruby is not installed")
def test_ruby_can_read_the_vagrantfile_whatever_a_server_is_called(manifest: Manifest, tmp_path: Path) -> None:
    odd = "n0'#{exit 1}\\"
    server = dataclasses.replace(manifest.servers[0], name=odd)
    path = tmp_path / "Vagrantfile"
    path.write_bytes(vagrant._vagrantfile(dataclasses.replace(manifest, servers=(server,))))
    stub = (
        "names = []; box = Object.new; box.define_singleton_method(:method_missing) { |*a, **k, &b| "
        "names << a[1] if a[0] == :define; b&.call(box, box); box }; "
        "Vagrant = Object.new; Vagrant.define_singleton_method(:configure) { |_, &b| b.call(box) }; "
        "load ARGV[0]; print names[0]"
    )
    done = subprocess.run(["ruby", "-e", stub, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, odd), done.stderr


def test_both_ends_of_a_cable_are_on_one_network_of_two(manifest: Manifest) -> None:
    ends: dict[str, list[str]] = {}
    for server in manifest.servers:
        for port in server.ports:
            ends.setdefault(cables.network_of(server, port), []).append(f"{server.name}:{port.name}")
    assert ends == {"n0-ext0": ["n0:ext0"], "n0-int1": ["n0:int1", "n1:int0"], "n1-ext1": ["n1:ext1"]}


def test_ports_have_slots_of_their_own(manifest: Manifest) -> None:
    slots = [port.slot for port in cables.vagrant_ports(manifest.servers[0])]
    assert len(set(slots)) == len(slots)
    assert all(0x08 <= slot <= 0x1B for slot in slots)


def test_a_machine_has_the_cpus_of_its_plan(manifest: Manifest) -> None:
    assert [server.cpus for server in manifest.servers] == [4, 4]


def test_the_manifest_is_read_back_whole(manifest: Manifest, tmp_path: Path) -> None:
    manifests.write(manifest, tmp_path)
    assert manifests.read(tmp_path) == manifest


def test_the_first_boots_script_is_shell_with_every_value_quoted(manifest: Manifest, tmp_path: Path) -> None:
    server: LabServer = manifest.servers[0]
    key = "-----BEGIN\n$(touch /tmp/never) 'quoted'\n-----END\n"
    script = tmp_path / "provision.sh"
    script.write_text(guest.provision_script(server, "ssh-ed25519 AAAA it's", key, "public\n"), encoding="utf-8")
    subprocess.run(["sh", "-n", str(script)], check=True)
    # Run for its writing only: what it calls besides is a no-op, and every path is below the test's folder.
    stubs = "hostname() { :; }; udevadm() { :; }; systemctl() { :; }\n"
    text = (
        script.read_text(encoding="utf-8").replace("/etc/", f"{tmp_path}/etc/").replace("/root/", f"{tmp_path}/root/")
    )
    (tmp_path / "etc/ssh").mkdir(parents=True)
    subprocess.run(["sh", "-c", stubs + text], check=True)
    assert (tmp_path / "etc/ssh/ssh_host_ed25519_key").read_text(encoding="utf-8") == key
    assert (tmp_path / "etc/ssh/ssh_host_ed25519_key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "root/.ssh/authorized_keys").read_text(encoding="utf-8") == "ssh-ed25519 AAAA it's\n"
    link = (tmp_path / "etc/systemd/network/20-ext0.link").read_text(encoding="utf-8")
    assert link == "[Match]\nMACAddress=02:4c:00:00:00:00\nType=ether\n\n[Link]\nName=ext0\n"


def test_a_plan_for_containers_is_refused_with_what_to_write() -> None:
    with raises(Mismatch, "lab.profile", server="n0") as caught:
        fit.check_fit(mesh(2), 768)
    assert "profile: vagrant" in (caught.value.hint or "")


def test_too_little_memory_is_refused_with_both_numbers(plan: ClusterPlan) -> None:
    with raises(Mismatch, "lab.memory") as caught:
        fit.check_fit(plan, 10_000_000)
    assert "20,001,024 MB" in str(caught.value)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 33", None),
        ("echo 'error: failed to set MSR 0x10a' >&2; exit 134", "QEMU cannot use .*: error: failed to set MSR 0x10a"),
        ("exec sleep 60", "a virtual machine hangs on it"),
    ],
)
def test_kvm_is_asked_by_running_on_it(
    script: str, reason: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kvm, "_TIMEOUT_S", 1.0)
    monkeypatch.setattr(kvm, "_DEVICE", tmp_path)
    qemu = tmp_path / "qemu-system-x86_64"
    qemu.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = kvm.why_not()
    assert found is None if reason is None else re.search(reason, found or "")


def test_without_the_device_there_is_no_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm, "_DEVICE", tmp_path / "kvm")
    assert kvm.why_not() == f"{tmp_path / 'kvm'} is not there"


def test_a_box_wants_its_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with raises(Mismatch, "lab.tools") as caught:
        box.ensure(lambda _step, /: None, "bookworm", cache=tmp_path / "cache")
    assert {"mmdebstrap", "qemu-utils", "vagrant-libvirt"} <= set((caught.value.hint or "").split())


def test_a_box_that_is_there_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path / f"box-bookworm-{box.recipe_digest('bookworm')}"
    folder.mkdir()
    assert box.ensure(lambda _step, /: None, "bookworm", cache=tmp_path) == folder


def test_a_lab_knows_who_made_it(manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "STATE", tmp_path)
    assert providers.made_by("vm2") is None
    (tmp_path / "vm2").mkdir()
    manifests.write(manifest, tmp_path / "vm2")
    assert providers.made_by("vm2") == "vagrant"
    assert json.loads((tmp_path / "vm2/lab.json").read_text(encoding="utf-8"))["emulated"] is True


def test_root_is_asked_for(tmp_path: Path, plan: ClusterPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "STATE", tmp_path / "labs")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    machines = providers.provider("vagrant")
    for call in (lambda: machines.up(plan, "x"), lambda: machines.down("x"), lambda: machines.kill("x", "n0")):
        with raises(UsageError, "lab.root"):
            call()
    assert not (tmp_path / "labs").exists()


def test_vagrants_failure_is_shown_without_its_traces(tmp_path: Path) -> None:
    log = tmp_path / "vagrant.log"
    log.write_text("==> n0: Starting domain.\nboom (Libvirt::Error)\nlib/x.rb:3:in `call'\n", encoding="utf-8")
    assert vagrant._last_lines(log) == ":\n==> n0: Starting domain.\nboom (Libvirt::Error)"
