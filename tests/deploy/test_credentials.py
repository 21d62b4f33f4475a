from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rbops.deploy.credentials import Asking, obtain
from rbops.deploy.settings import Settings
from rbops.errors import UsageError
from tests.support.errors import raises


class Terminal:
    """Answers, and remembers what was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, prompt: str) -> str:
        self.asked.append(prompt)
        return self.answers.pop(0)


def test_nothing_is_asked_without_an_option() -> None:
    found = obtain(Asking(), Settings(), Terminal())
    assert (found.login, found.become, found.vault.passwords) == (None, None, ())


def test_what_is_asked_in_ansibles_order_and_words() -> None:
    terminal = Terminal("login", "", "vault")
    found = obtain(Asking(ask_pass=True, ask_become_pass=True, ask_vault_pass=True), Settings(), terminal)
    assert terminal.asked == ["SSH password: ", "BECOME password[defaults to SSH password]: ", "Vault password: "]
    assert (found.login, found.become, found.vault.passwords) == ("login", "login", (("default", "vault"),))
    terminal = Terminal("sudo")
    assert obtain(Asking(ask_become_pass=True), Settings(), terminal).become == "sudo"
    assert terminal.asked == ["BECOME password: "]


def test_the_users_own_settings_ask_too(tmp_path: Path) -> None:
    password = tmp_path / "vault"
    password.write_text("from the file")
    terminal = Terminal("sudo")
    found = obtain(Asking(), Settings(become_ask_pass=True, vault_sources=(str(password),)), terminal)
    assert (found.become, found.vault.passwords) == ("sudo", (("default", "from the file"),))


def test_password_files(tmp_path: Path) -> None:
    path = tmp_path / "sudo"
    path.write_text("s3cret\n")
    asking = Asking(ask_become_pass=True, become_password_file=path, connection_password_file=path)
    found = obtain(asking, Settings(), Terminal())
    assert (found.login, found.become) == ("s3cret", "s3cret")
    with raises(UsageError, "login.password-file", file=str(tmp_path / "absent")):
        obtain(Asking(become_password_file=tmp_path / "absent"), Settings(), Terminal())


def test_passwords_are_not_shown() -> None:
    found = obtain(Asking(ask_become_pass=True, ask_vault_pass=True), Settings(), Terminal("canary-1", "canary-2"))
    assert "canary" not in repr(found)


def test_without_a_terminal_lines_of_standard_input_are_taken() -> None:
    script = (
        "from rbops.deploy.credentials import Asking, obtain\n"
        "from rbops.deploy.settings import Settings\n"
        "found = obtain(Asking(ask_become_pass=True, ask_vault_pass=True), Settings())\n"
        "print(found.become, found.vault.passwords)\n"
    )

    def run(typed: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script]
        return subprocess.run(command, input=typed, capture_output=True, text=True, check=False, start_new_session=True)

    assert run("one\ntwo\n").stdout == "one (('default', 'two'),)\n"
    assert "login.no-password" not in run("one\n").stdout
    assert "standard input has ended" in run("one\n").stderr
