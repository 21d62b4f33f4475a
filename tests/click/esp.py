"""ESP as Click makes it, taken apart without Click."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["decrypted"]


def decrypted(esp: bytes, key: str, authentication: str) -> tuple[bytes, int]:
    """The inner packet and the next header. Click chains the first half of each block only (IPsecAES, aes.cc)."""
    whole, tail = esp[16:], 12
    covered = len(whole) - tail
    # Payloads are multiples of 8; an odd half block is filled with the digest's first half.
    covered += covered % 16
    blocks = Cipher(algorithms.AES(bytes.fromhex(key)), modes.ECB()).decryptor()  # noqa: S305 - what Click does
    raw, before, plain = blocks.update(whole[:covered]), esp[8:16], b""
    for at in range(0, covered, 16):
        plain += bytes(a ^ b for a, b in zip(raw[at : at + 8], before, strict=True)) + raw[at + 8 : at + 16]
        before = whole[at : at + 8]
    plain += whole[covered:]
    check = hmac.HMAC(bytes.fromhex(authentication), hashes.SHA1())  # noqa: S303 - what Click does
    check.update(esp[:16] + plain[:-tail])
    assert check.finalize()[:tail] == plain[-tail:]
    padding, following = plain[-tail - 2], plain[-tail - 1]
    assert plain[: -tail - 2][len(plain) - tail - 2 - padding :] == bytes(range(1, padding + 1))
    return plain[: -tail - 2 - padding], following
