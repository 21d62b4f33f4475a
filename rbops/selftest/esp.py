"""ESP in tunnel mode as a peer does it (RFC 4303), apart from any kernel: AES-GCM (RFC 4106) and AES-CBC with HMAC.

For some thousand packets, not for a rate.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["Association", "Unopened"]

_HEADER = struct.Struct("!II")
_ICV, _GCM_IV, _CBC_IV = 16, 8, 16
_IPV4_INSIDE = 4
"""Next header of an IPv4 packet in a tunnel (IANA's protocol numbers)."""


class Unopened(Exception):
    """An ESP packet that does not hold what its association says; the text says which part."""


@dataclass(frozen=True, slots=True)
class Association:
    """One direction of a tunnel. ``keys``: AES-GCM's with its salt behind, or those of AES and HMAC-SHA-256.

    ``esn``: sequence numbers have 64 bits, of which the check value covers the upper 32 too (RFC 4303, 2.2.1).
    """

    spi: int
    keys: tuple[bytes, ...] = field(repr=False)
    esn: bool = True

    @property
    def _aead(self) -> bool:
        return len(self.keys) == 1

    def seal(self, packet: bytes, sequence: int) -> bytes:
        """An IPv4 packet as an ESP packet, without the outer IP header."""
        low, high = sequence & 0xFFFFFFFF, sequence >> 32
        block = 4 if self._aead else 16
        padding = -(len(packet) + 2) % block
        text = packet + bytes(range(1, padding + 1)) + bytes((padding, _IPV4_INSIDE))
        head = _HEADER.pack(self.spi, low)
        if self._aead:
            iv = os.urandom(_GCM_IV)
            return head + iv + self._gcm().encrypt(self.keys[0][-4:] + iv, text, self._covered(low, high))
        iv = os.urandom(_CBC_IV)
        encryptor = self._cbc(iv).encryptor()
        body = head + iv + encryptor.update(text) + encryptor.finalize()
        return body + self._mac(body, high)

    def open(self, packet: bytes, high: int = 0) -> bytes:
        """What is inside an ESP packet; ``high``: the upper half of its sequence number. Unopened."""
        if len(packet) < _HEADER.size + _CBC_IV + _ICV:
            raise Unopened("it is too short")
        spi, low = _HEADER.unpack_from(packet)
        if spi != self.spi:
            raise Unopened(f"its SPI is {spi:#x}")
        text = self._open_gcm(packet, low, high) if self._aead else self._open_cbc(packet, high)
        padding, following = text[-2], text[-1]
        if following != _IPV4_INSIDE:
            raise Unopened(f"what is inside is protocol {following}")
        end = len(text) - 2 - padding
        if end < 0 or text[end:-2] != bytes(range(1, padding + 1)):
            raise Unopened("its padding is wrong")
        return text[:end]

    def _open_gcm(self, packet: bytes, low: int, high: int) -> bytes:
        start = _HEADER.size + _GCM_IV
        nonce = self.keys[0][-4:] + packet[_HEADER.size : start]
        try:
            return self._gcm().decrypt(nonce, packet[start:], self._covered(low, high))
        except InvalidTag:
            raise Unopened("its check value is wrong") from None

    def _open_cbc(self, packet: bytes, high: int) -> bytes:
        body, said = packet[:-_ICV], packet[-_ICV:]
        if not hmac.compare_digest(self._mac(body, high), said):
            raise Unopened("its check value is wrong")
        start = _HEADER.size + _CBC_IV
        if (len(body) - start) % _CBC_IV or len(body) == start:
            raise Unopened("its length is not a multiple of the cipher's block size")
        decryptor = self._cbc(body[_HEADER.size : start]).decryptor()
        return decryptor.update(body[start:]) + decryptor.finalize()

    def _covered(self, low: int, high: int) -> bytes:
        """RFC 4106, 5: SPI and sequence number, the upper half first."""
        if self.esn:
            return struct.pack("!III", self.spi, high, low)
        return _HEADER.pack(self.spi, low)

    def _mac(self, body: bytes, high: int) -> bytes:
        """RFC 4868: the first 128 bits."""
        more = struct.pack("!I", high) if self.esn else b""
        return hmac.digest(self.keys[1], body + more, hashlib.sha256)[:_ICV]

    def _gcm(self) -> AESGCM:
        return AESGCM(self.keys[0][:-4])

    def _cbc(self, iv: bytes) -> Cipher[modes.CBC]:
        return Cipher(algorithms.AES(self.keys[0]), modes.CBC(iv))
