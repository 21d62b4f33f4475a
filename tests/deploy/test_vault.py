"""Ansible's vault, against Ansible's own program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbops.deploy.handover import Handover
from rbops.deploy.vault import Vault, encrypt, is_vaulted, read_passwords
from rbops.errors import UsageError, Where
from tests.support.errors import raises


def never(prompt: str) -> str:
    raise AssertionError(f"asked: {prompt}")


@given(st.text(), st.text(min_size=1))
@settings(max_examples=20, deadline=None)
def test_what_is_encrypted_comes_back(text: str, password: str) -> None:
    made = encrypt(text, password)
    assert is_vaulted(made)
    assert Vault((("a", "other" + password), ("b", password))).decrypt(made, Where()) == text


def _ansible_vault(*arguments: str, stdin: str, password: Path) -> str:
    command = [sys.executable, "-m", "ansible.cli.vault", *arguments, "--vault-password-file", str(password)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout


def test_ansible_reads_ours_and_we_read_ansibles() -> None:
    with Handover("pass word") as handover:
        ours = encrypt("ä\nb", "pass word")
        assert _ansible_vault("decrypt", "--output", "-", "-", stdin=ours, password=handover.path) == "ä\nb"
        theirs = _ansible_vault("encrypt", "--output", "-", "-", stdin="geheim", password=handover.path)
    assert Vault((("default", "pass word"),)).decrypt(theirs, Where()) == "geheim"


def test_what_cannot_be_decrypted() -> None:
    made = encrypt("x", "right")
    with raises(UsageError, "vault.password", field="n0.a"):
        Vault((("default", "wrong"),)).decrypt(made, Where(field="n0.a"))
    with raises(UsageError, "vault.password"):
        Vault().decrypt(made, Where())
    with raises(UsageError, "vault.damaged"):
        Vault((("default", "right"),)).decrypt(made[:-9] + "\n", Where())
    with raises(UsageError, "vault.damaged"):
        Vault((("default", "right"),)).decrypt("$ANSIBLE_VAULT;1.1;AES256\n  zz", Where())


def test_where_passwords_come_from(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("from a file \n")
    program = tmp_path / "keys-client"
    program.write_text('#!/bin/sh\necho "from a program: $*"\n')
    program.chmod(0o700)
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return "typed"

    found = read_passwords([str(plain), f"lab@{program}", "prompt", "other@prompt"], ask)
    assert found == (
        ("default", "from a file"),
        ("lab", "from a program: --vault-id lab"),
        ("default", "typed"),
        ("other", "typed"),
    )
    assert asked == ["Vault password: ", "Vault password (other): "]


@pytest.mark.parametrize("content", [None, "", "#!/bin/sh\nexit 3\n"], ids=["absent", "empty", "failing program"])
def test_a_source_that_gives_no_password(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "source"
    if content is not None:
        path.write_text(content)
        path.chmod(0o700 if content else 0o600)
    with raises(UsageError, "vault.file", file=str(path)):
        read_passwords([str(path)], never)


def test_a_secret_is_handed_over_in_memory_only(tmp_path: Path) -> None:
    with Handover("canary-93") as handover:
        script = handover.script(tmp_path / "print")
        assert "canary" not in script.read_text()
        assert subprocess.run([script], capture_output=True, text=True, check=True).stdout == "canary-93\n"
        assert handover.path.stat().st_mode & 0o777 == 0o600
    assert not script.exists()
