"""Ansible's vault: values and files encrypted with a password, and where the passwords come from.

The format is Ansible's own ("Vault format" in its guide): a header line, then hexadecimal text of salt, HMAC and
ciphertext. PBKDF2-HMAC-SHA256 makes the two keys and the counter of AES-256 from password and salt.
"""

from __future__ import annotations

import hmac
import os
import subprocess
import textwrap
from binascii import Error as NotHex
from binascii import hexlify, unhexlify
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from rbops.errors import UsageError, Where

__all__ = ["Vault", "encrypt", "is_vaulted", "read_passwords"]

_HEADER = "$ANSIBLE_VAULT;"
_ITERATIONS, _KEY, _COUNTER, _SALT = 10_000, 32, 16, 32
_BLOCK_BITS = 128
_LINE = 80
_SCRIPT_TIMEOUT_S = 60.0
DEFAULT_ID = "default"


def is_vaulted(text: str) -> bool:
    """Whether a text is encrypted."""
    return text.startswith(_HEADER)


def _keys(password: bytes, salt: bytes) -> tuple[bytes, bytes, bytes]:
    made = PBKDF2HMAC(hashes.SHA256(), 2 * _KEY + _COUNTER, salt, _ITERATIONS).derive(password)
    return made[:_KEY], made[_KEY : 2 * _KEY], made[2 * _KEY :]


def encrypt(text: str, password: str) -> str:
    """``text`` as Ansible decrypts it with ``password``."""
    salt = os.urandom(_SALT)
    key, check, counter = _keys(password.encode(), salt)
    padder = padding.PKCS7(_BLOCK_BITS).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor()
    data = encryptor.update(padder.update(text.encode()) + padder.finalize()) + encryptor.finalize()
    parts = (salt, hmac.digest(check, data, "sha256"), data)
    body = hexlify(b"\n".join(hexlify(part) for part in parts)).decode()
    return "\n".join([f"{_HEADER}1.1;AES256", *textwrap.wrap(body, _LINE), ""])


def _decrypt(body: bytes, password: bytes) -> str | None:
    """None when this is not the password."""
    salt, said, data = (unhexlify(part) for part in unhexlify(body).split(b"\n", 2))
    key, check, counter = _keys(password, salt)
    if not hmac.compare_digest(said, hmac.digest(check, data, "sha256")):
        return None
    decryptor = Cipher(algorithms.AES(key), modes.CTR(counter)).decryptor()
    unpadder = padding.PKCS7(_BLOCK_BITS).unpadder()
    plain = unpadder.update(decryptor.update(data) + decryptor.finalize()) + unpadder.finalize()
    return plain.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Vault:
    """The passwords that are known, each with its label (``default`` where none was given)."""

    passwords: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def decrypt(self, text: str, where: Where) -> str:
        """The text behind a vaulted one, by whichever password is right. UsageError (2) when none is."""
        lines = text.split()
        try:
            tried = [_decrypt("".join(lines[1:]).encode(), password.encode()) for _, password in self.passwords]
        except (NotHex, ValueError) as error:
            raise UsageError("the value is not valid vault text", code="vault.damaged", where=where) from error
        found = next((plain for plain in tried if plain is not None), None)
        if found is not None:
            return found
        raise UsageError(
            "no given vault password decrypts the value" if self.passwords else "the value is encrypted",
            code="vault.password",
            where=where,
            hint="give the password with --vault-password-file FILE, --vault-id LABEL@FILE or --ask-vault-pass, or set "
            "ANSIBLE_VAULT_PASSWORD_FILE",
        )


def read_passwords(sources: Iterable[str], ask: Callable[[str], str]) -> tuple[tuple[str, str], ...]:
    """The passwords behind ``[LABEL@]SOURCE`` as Ansible's ``--vault-id`` takes them.

    SOURCE is ``prompt`` (``ask`` is called with what to ask for), a file, or a program that prints the password.
    UsageError (2) when one cannot be read.
    """
    return tuple(_read(*_split(source), ask) for source in dict.fromkeys(sources))


def _split(source: str) -> tuple[str, str]:
    label, at, rest = source.partition("@")
    return (label, rest) if at else (DEFAULT_ID, source)


def _read(label: str, source: str, ask: Callable[[str], str]) -> tuple[str, str]:
    if source in {"prompt", "prompt_ask_vault_pass"}:
        named = "Vault password: " if label == DEFAULT_ID else f"Vault password ({label}): "
        return label, ask(named)
    path = Path(source).expanduser()
    try:
        if path.is_file() and os.access(path, os.X_OK):
            return label, _printed(path, ["--vault-id", label] if path.stem.endswith("-client") else [])
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read the vault password: {error}", code="vault.file", where=Where(file=source)
        ) from error
    if not text:
        raise UsageError("the vault password is empty", code="vault.file", where=Where(file=source))
    return label, text


def _printed(path: Path, options: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            [path.absolute(), *options],
            stdout=subprocess.PIPE,
            encoding="utf-8",
            timeout=_SCRIPT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UsageError(
            f"the program of the vault password did not finish in {_SCRIPT_TIMEOUT_S:.0f} s",
            code="vault.file",
            where=Where(file=str(path)),
        ) from error
    text = done.stdout.strip()
    if done.returncode or not text:
        raise UsageError(
            f"the program of the vault password failed (exit {done.returncode})",
            code="vault.file",
            where=Where(file=str(path)),
        )
    return text
