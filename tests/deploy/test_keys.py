"""The keys of tunnels against what a server has."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from rbops.deploy.keys import ESP_PATH, PATH, Keys, keys_of, keys_of_project
from rbops.errors import Mismatch
from rbops.spec.keyfile import click_keys
from tests.support.errors import raises
from tests.support.esp import GCM, key_file

KEY, OTHER = "00c1f2a3b4d5e6f708192a3b4c5d6e7f", "a0b1c2d3e4f5061728394a5b6c7d8e9f"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return keys_of([str(write(tmp_path / "peer.keys", KEY))])


def write(path: Path, key: str) -> Path:
    path.touch(0o600)
    path.write_text(f"{key} {OTHER}\n")
    return path


def server(path: Path, mode: str = "0o600") -> dict[str, tuple[str, str]]:
    return {PATH: (mode, hashlib.sha256(click_keys([str(path)])).hexdigest())}


def test_what_a_server_has(keys: Keys, tmp_path: Path) -> None:
    want = f"the keys in {tmp_path}/peer.keys"
    assert keys.difference(server(tmp_path / "peer.keys")) is None
    assert keys.difference({}) == ("absent", want)
    assert keys.difference(server(write(tmp_path / "other.keys", OTHER))) == ("other keys", want)
    assert keys.difference(server(tmp_path / "peer.keys", "0o640")) == ("mode 0o640", "mode 0o600")
    assert keys_of([]).difference(server(tmp_path / "peer.keys")) == ("keys of no tunnel", "absent")
    assert keys_of([]).difference({}) is None
    assert KEY not in repr(keys)


def test_key_files_of_a_rendered_folder(tmp_path: Path) -> None:
    path = tmp_path / "hosts/n0/etc/rbops/node.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"dataplane": {"ipsec_keys": [str(tmp_path / "peer.keys")]}}))
    with raises(Mismatch, "spec.key-file"):
        keys_of_project(tmp_path)
    write(tmp_path / "peer.keys", KEY)
    assert [each.files for each in keys_of_project(tmp_path)["n0"]] == [(str(tmp_path / "peer.keys"),), (), (), (), ()]
    path.write_text(json.dumps({"dataplane": {"kind": "xdp"}}))
    assert [each.files for each in keys_of_project(tmp_path)["n0"]] == [(), (), (), (), ()]
    tunnels = [{"cipher": "aes128gcm16", "keys": str(tmp_path / "gcm.keys")}]
    path.write_text(json.dumps({"dataplane": {"kind": "xdp"}, "ipsec": {"file": ESP_PATH, "tunnels": tunnels}}))
    (tmp_path / "gcm.keys").touch(0o600)
    (tmp_path / "gcm.keys").write_text(key_file(GCM))
    _, kernels, *_ = keys_of_project(tmp_path)["n0"]
    assert (kernels.path, kernels.files) == (ESP_PATH, (str(tmp_path / "gcm.keys"),))
    assert kernels.difference({ESP_PATH: ("0o600", hashlib.sha256(" ".join(GCM).encode() + b"\n").hexdigest())}) is None
    assert keys_of_project(tmp_path / "empty") == {}
