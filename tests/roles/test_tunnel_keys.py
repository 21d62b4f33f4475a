"""The controller's half of rbops_keys for the kernel's tunnels: what servers get is what rbops expects there."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail  # type: ignore[import-untyped]

from rbops.resources import shared
from rbops.spec.ipsec import CIPHERS
from rbops.spec.keyfile import esp_keys
from tests.support.esp import CBC, GCM, key_file


@pytest.fixture(scope="module")
def action() -> dict[str, Callable[..., str]]:
    return runpy.run_path(str(shared("playbooks", "action_plugins", "rbops_keys.py")))


def written(folder: Path, keys: tuple[str, ...], mode: int = 0o600) -> str:
    path = folder / "peer.keys"
    path.write_text(key_file(keys).upper())
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(("cipher", "keys"), [("aes128gcm16", GCM), ("aes128-sha256", CBC)])
def test_the_role_writes_what_rbops_expects_there(
    action: dict[str, Callable[..., str]], cipher: str, keys: tuple[str, ...], tmp_path: Path
) -> None:
    path = written(tmp_path, keys)
    wanted = f"{' '.join(keys)}\n".encode()
    assert action["_esp_line"](cipher, path).encode() == esp_keys([(cipher, path)]) == wanted


def test_both_know_the_same_ciphers(action: dict[str, Callable[..., str]]) -> None:
    known = dict(action["_ESP"])  # type: ignore[call-overload]
    assert {cipher: tuple(sizes) for cipher, sizes in known.items()} == {c: sizes * 2 for c, sizes in CIPHERS.items()}


@pytest.mark.parametrize(
    ("cipher", "mode", "said"),
    [
        ("aes256gcm16", 0o600, "does not hold the keys that aes256gcm16"),
        ("aes128gcm16", 0o640, "others than its owner"),
    ],
)
def test_the_role_refuses_a_key_file(
    action: dict[str, Callable[..., str]], cipher: str, mode: int, said: str, tmp_path: Path
) -> None:
    with pytest.raises(AnsibleActionFail, match=said) as caught:
        action["_esp_line"](cipher, written(tmp_path, GCM, mode))
    assert not any(word[:8] in str(caught.value).lower() for word in GCM)
