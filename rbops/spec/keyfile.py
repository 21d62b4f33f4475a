"""Files with keys and passwords on this machine. What is in them is never shown."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from rbops.errors import Mismatch
from rbops.spec.ipsec import CIPHERS
from rbops.spec.units import InvalidValue

__all__ = [
    "check_esp_keys",
    "check_keys",
    "check_password",
    "check_psk",
    "check_secret",
    "click_keys",
    "daemon_keys",
    "esp_keys",
    "ike_keys",
]

_KEYS = re.compile(rb"\s*([0-9a-fA-F]{32})\s+([0-9a-fA-F]{32})\s*")
_PASSWORD = re.compile(rb"([!#-\[\]-~]{1,80})\r?\n?")
_PSK = re.compile(rb"([ -~]{20,200})\r?\n?")
_LONGEST = 200
_HEX = re.compile(rb"[0-9a-f]+")
_FEW_DIGITS, _LONG_RUN = 4, 8
"""So few different digits, or so many of one in a row, are in no key that was drawn at random: one in a million."""
_FEW_CHARACTERS = 8
"""Who draws 20 characters at random, even of 16 (hex), has fewer different ones once in 200 thousand."""
_SALT = 8
"""Hex digits of an AES-GCM salt, behind the key in the same word (RFC 4106, 8.1)."""
_MOST_BYTES = 65536


def check_keys(path: Path) -> None:
    """Raises InvalidValue with what is wrong with the file, and what to do."""
    _words(path)


def click_keys(paths: Iterable[str]) -> bytes:
    """What the role ``click`` makes of these key files for Click; Mismatch (3) for one that cannot be used.

    In memory, to compare with what a server has: it belongs into no file and no message.
    """
    text = b""
    for number, path in enumerate(paths):
        with _usable():
            key, authentication = _words(Path(path))
        text += b"define($ESP_KEY%d \\<%b>);\ndefine($ESP_AUTH%d \\<%b>);\n" % (number, key, number, authentication)
    return text


def check_esp_keys(path: Path, cipher: str) -> frozenset[bytes]:
    """The same of a file with both directions' keys for one of ``CIPHERS``.

    What it returns, the keys without salts, is to compare with other tunnels': it belongs into no file and no message.
    """
    return frozenset(_secrets(_esp_words(path, cipher)))


def esp_keys(files: Iterable[tuple[str, str]]) -> bytes:
    """What servers have of (cipher, key file) of each tunnel: its words in one line; Mismatch (3) as above.

    In memory, to compare with what a server has: it belongs into no file and no message.
    """
    text = b""
    for cipher, path in files:
        with _usable():
            text += b" ".join(_esp_words(Path(path), cipher)) + b"\n"
    return text


def check_psk(path: Path) -> None:
    """Raises InvalidValue with what is wrong with a file that holds one pre-shared key of IKE."""
    _psk(path)


def ike_keys(files: Iterable[tuple[int, str]]) -> bytes:
    """What servers have of (tunnel's number, file with its pre-shared key); Mismatch (3) as above.

    In memory, to compare with what a server has: it belongs into no file and no message.
    """
    text = b""
    for number, path in files:
        with _usable():
            text += b"%d psk %b\n" % (number, _psk(Path(path)).hex().encode())
    return text


def check_password(path: Path) -> None:
    """Raises InvalidValue with what is wrong with a file that holds one password."""
    _password(path)


def check_secret(path: Path) -> None:
    """Raises InvalidValue for a file with secrets that cannot be read, or that others may use."""
    if len(_read(path, _MOST_BYTES + 1)) > _MOST_BYTES:
        raise InvalidValue(f"{path} has more than {_MOST_BYTES} bytes", code="spec.key-file")


def daemon_keys(files: Iterable[tuple[str, str]]) -> bytes:
    """What the role ``bird`` makes of (name, password file), or ("", any file); Mismatch (3) where one cannot be used.

    In memory, to compare with what a server has: it belongs into no file and no message.
    """
    text = b""
    for name, path in files:
        with _usable():
            if not name:
                check_secret(Path(path))
                text += _read(Path(path), _MOST_BYTES)
            else:
                text += b'define %b = "%b";\n' % (name.encode(), _password(Path(path)))
    return text


@contextmanager
def _usable() -> Iterator[None]:
    """After planning a file that cannot be used any more is Mismatch (3)."""
    try:
        yield
    except InvalidValue as wrong:
        raise Mismatch(f"key file: {wrong.message}", hint=wrong.hint, code="spec.key-file") from None


def _psk(path: Path) -> bytes:
    hint = "for example: (umask 077; openssl rand -base64 32 > FILE)"
    found = _PSK.fullmatch(_read(path, _LONGEST + 3))
    if not found:
        message = f"{path} does not hold one pre-shared key: 20 to 200 printable characters of ASCII on one line"
        raise InvalidValue(message, hint, code="spec.key-file")
    if len(set(found[1])) < _FEW_CHARACTERS:
        message = f"the pre-shared key in {path} is not random: it has {len(set(found[1]))} different characters"
        raise InvalidValue(message, hint, code="spec.weak-key")
    return found[1]


def _password(path: Path) -> bytes:
    found = _PASSWORD.fullmatch(_read(path, _LONGEST))
    if not found:
        raise InvalidValue(
            f"{path} does not hold one password: 1 to 80 characters of ASCII but space, quote and backslash",
            "for example: (umask 077; openssl rand -hex 16 > FILE)",
            code="spec.key-file",
        )
    return found[1]


def _words(path: Path) -> tuple[bytes, bytes]:
    found = _KEYS.fullmatch(_read(path, _LONGEST))
    if not found:
        raise InvalidValue(
            f"{path} does not hold two words of 32 hex digits",
            "for example: (umask 077; openssl rand -hex 32 | fold -w 32 > FILE)",
            code="spec.key-file",
        )
    return found[1], found[2]


def _esp_words(path: Path, cipher: str) -> list[bytes]:
    """Keys of what this router sends, then of what the peer sends, in lower case."""
    sizes = CIPHERS[cipher] * 2
    found = _read(path, 2 * _LONGEST).lower().split()
    octets = " ".join(str(size // 2) for size in sizes)
    hint = f"for example: (umask 077; for n in {octets}; do openssl rand -hex $n; done > FILE)"
    if [len(word) for word in found] != list(sizes) or not all(_HEX.fullmatch(word) for word in found):
        raise InvalidValue(
            f"{path} does not hold {len(sizes)} words of {', '.join(map(str, sizes))} hex digits, as {cipher} asks for",
            hint,
            code="spec.key-file",
        )
    own = _secrets(found)
    if any(_is_pattern(word) for word in own):
        raise InvalidValue(f"a key in {path} is not random: its hex digits repeat or count", hint, code="spec.weak-key")
    if len(set(own)) < len(own):
        raise InvalidValue(f"two keys in {path} are the same: each direction has its own", hint, code="spec.weak-key")
    return found


def _secrets(words: Sequence[bytes]) -> list[bytes]:
    """The words' keys alone: another salt does not make another key."""
    aead = len(words) == 2  # noqa: PLR2004 - one word each direction
    return [word[:-_SALT] if aead else word for word in words]


def _is_pattern(word: bytes) -> bool:
    """Whether a key was typed: few digits, a run of one, a part that repeats, or octets that count up or down."""
    if len(set(word)) <= _FEW_DIGITS or any(word.count(bytes((digit,)) * _LONG_RUN) for digit in set(word)):
        return True
    if any(word == (word[:size] * len(word))[: len(word)] for size in range(1, len(word) // 2 + 1)):
        return True
    octets = bytes.fromhex(word.decode())
    return len({(after - before) % 256 for before, after in pairwise(octets)}) == 1


def _read(path: Path, most: int) -> bytes:
    """Its first bytes. InvalidValue where others than its owner may use it."""
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise InvalidValue(f"not a regular file: {path}", code="spec.key-file")
        mode = stat.S_IMODE(info.st_mode)
        if mode & 0o077:
            raise InvalidValue(
                f"others than its owner may use {path} (mode {mode:04o})",
                f"chmod 600 {path}, or new keys if others did",
                code="spec.key-file",
            )
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise InvalidValue(f"{path}: {error.strerror}", code="spec.key-file") from None
