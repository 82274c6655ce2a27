"""Packet protection: one object for each direction that seals or opens packets.

Knows: the binary packet (RFC 4253, section 6) and how each cipher and MAC wraps it.
Must not know: what a payload says, where keys come from, or sockets.

The wrappings, each with its source:

- ``aes*-gcm@openssh.com``: RFC 5647 with OpenSSH's names. The length is in clear
  and authenticated; 16 bytes of tag; the nonce counts by itself. No MAC.
- ``chacha20-poly1305@openssh.com``: OpenSSH PROTOCOL.chacha20poly1305. The length
  has a key of its own; the nonce is the sequence number. No MAC.
- ``aes*-ctr`` with ``*-etm@openssh.com``: OpenSSH PROTOCOL, section 1.6. The length is
  in clear, the MAC covers what is on the wire.
- ``aes*-ctr`` with a plain MAC: RFC 4253. The length is encrypted, the MAC covers
  the clear text, so the first block is decrypted before anything is verified.
- ``aes*-cbc`` with either: the same, but that each block is chained to the one before it, from one
  packet to the next. With a plain MAC an attacker can put a block that it has seen in the place of
  a length, and learn from our reply what the block says (Albrecht, Paterson, Watson: "Plaintext
  Recovery Attacks against SSH", 2009). So the reader must not show what a length said
  (`Opener.hides_length`).

With the first three, the length field does not belong to the bytes that are padded to blocks.

How often a payload's bytes are copied: to seal, once into the padded clear text and once by the
cipher; to open, once by the cipher. A plain MAC needs one more copy to seal, and two more to open.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.poly1305 import Poly1305

from sftpgw.model.units import Body

MIN_PADDING_BYTES = 4
_LENGTH_BYTES = 4
_LENGTH = struct.Struct(">L")
_PADDING_LENGTHS = tuple(bytes((length,)) for length in range(64))
_SEQUENCE = struct.Struct(">L")


class DamagedPacket(Exception):
    """A packet was changed on its way: its tag, MAC or padding is wrong."""


class Sealer(Protocol):
    """Protects the packets that we send."""

    def seal(self, fragments: Body, sequence: int) -> tuple[bytes, ...]:
        """Seal a payload.

        :param fragments: the payload.
        :param sequence: the packet's sequence number.
        :returns: the buffers that go over the wire, in order.
        """


class Opener(Protocol):
    """Opens the packets that we receive.

    :ivar block_bytes: packets are padded to a multiple of this.
    :ivar tail_bytes: the size of the tag or MAC behind the packet.
    :ivar length_is_padded: whether the length field counts towards the multiple of `block_bytes`.
    :ivar hides_length: whether a client must not learn what the length field of a damaged packet
        said: neither from how much is read before the reply, nor from the reply.
    """

    block_bytes: int
    tail_bytes: int
    length_is_padded: bool
    hides_length: bool

    def length(self, incoming: memoryview, sequence: int) -> int | None:
        """The length field at the beginning of `incoming`; None if it is not complete.

        :param incoming: the bytes from the beginning of the packet on; not changed.
        :param sequence: the packet's sequence number.
        """

    def open(self, packet: memoryview, sequence: int) -> bytes:
        """Padding length, payload and padding of a complete packet.

        :param packet: the packet from its length field to its tag.
        :param sequence: the packet's sequence number.
        :raises DamagedPacket: the packet was changed on its way.
        """

    def discard(self, rest: memoryview) -> None:
        """Spend the time on the bytes behind a damaged packet that they would take within it.

        Only where `hides_length` is True.

        :param rest: whole blocks.
        """


class PacketCiphers:
    """Both directions of one connection, from one key exchange to the next.

    Takes the place of Conch's `SSHCiphers`, whose attribute names and `setKeys` the inherited key
    exchange uses.

    :param out_cipher: the name of the cipher for the packets that we send.
    :param in_cipher: the same for those that we receive.
    :param out_mac: the name of the MAC for the packets that we send.
    :param in_mac: the same for those that we receive.
    """

    def __init__(self, out_cipher: bytes, in_cipher: bytes, out_mac: bytes, in_mac: bytes) -> None:
        self.outCipType = out_cipher
        self.inCipType = in_cipher
        self.outMACType = out_mac
        self.inMACType = in_mac
        self.sealer: Sealer = _Clear()
        self.opener: Opener = _Clear()

    def setKeys(  # noqa: PLR0917 - Conch's interface
        self,
        outIV: bytes,
        outKey: bytes,
        inIV: bytes,
        inKey: bytes,
        outInteg: bytes,
        inInteg: bytes,
    ) -> None:
        """Make `sealer` and `opener` from the keys of an exchange (RFC 4253, section 7.2)."""
        outgoing, incoming = _Keys(outIV, outKey, outInteg), _Keys(inIV, inKey, inInteg)
        self.sealer = _make("encryptor", self.outCipType, self.outMACType, outgoing)
        self.opener = _make("decryptor", self.inCipType, self.inMACType, incoming)


def payload_of(body: bytes) -> memoryview:
    """The payload between padding length and padding.

    :param body: a packet without its length field.
    :raises DamagedPacket: the padding length is not allowed.
    """
    padding_bytes = body[0]
    if not MIN_PADDING_BYTES <= padding_bytes < len(body) - 1:
        raise DamagedPacket("bad padding")
    return memoryview(body)[1 : len(body) - padding_bytes]


def _body(fragments: Body, block_bytes: int, *, beside_bytes: int = 0) -> bytes:
    """Padding length, payload and padding; `beside_bytes` count towards the blocks."""
    size_bytes = 1 + sum(map(len, fragments))
    padding_bytes = -(size_bytes + beside_bytes) % block_bytes
    if padding_bytes < MIN_PADDING_BYTES:
        padding_bytes += block_bytes
    return b"".join((_PADDING_LENGTHS[padding_bytes], *fragments, os.urandom(padding_bytes)))


def _clear_length(incoming: memoryview) -> int | None:
    if len(incoming) < _LENGTH_BYTES:
        return None
    (length,) = _LENGTH.unpack_from(incoming)
    return int(length)


class _ShowsLength:
    """What openers have in common that read a length which is clear, or authenticated by itself."""

    hides_length = False

    def discard(self, rest: memoryview) -> None:
        raise NotImplementedError("only an opener that hides the length")


class _Clear(_ShowsLength):
    """No protection, before the first keys."""

    block_bytes = 8
    tail_bytes = 0
    length_is_padded = True

    def seal(self, fragments: Body, sequence: int) -> tuple[bytes, ...]:
        body = _body(fragments, self.block_bytes, beside_bytes=_LENGTH_BYTES)
        return _LENGTH.pack(len(body)), body

    def length(self, incoming: memoryview, sequence: int) -> int | None:
        return _clear_length(incoming)

    def open(self, packet: memoryview, sequence: int) -> bytes:
        return bytes(packet[_LENGTH_BYTES:])


class _Gcm(_ShowsLength):
    """AES-GCM for one direction, to seal or to open."""

    block_bytes = 16
    tail_bytes = 16
    length_is_padded = False

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._cipher = AESGCM(key)
        self._fixed = iv[:4]
        self._count = int.from_bytes(iv[4:12], "big")

    def _nonce(self) -> bytes:
        nonce = self._fixed + self._count.to_bytes(8, "big")
        self._count = (self._count + 1) & 0xFFFFFFFFFFFFFFFF
        return nonce

    def seal(self, fragments: Body, sequence: int) -> tuple[bytes, ...]:
        # Not encrypt_into: the packet may wait for the socket, and needs a buffer of its own.
        body = _body(fragments, self.block_bytes)
        header = _LENGTH.pack(len(body))
        return header, self._cipher.encrypt(self._nonce(), body, header)

    def length(self, incoming: memoryview, sequence: int) -> int | None:
        return _clear_length(incoming)

    def open(self, packet: memoryview, sequence: int) -> bytes:
        # Not decrypt_into: the payload may be kept longer than until the next packet.
        header, sealed = packet[:_LENGTH_BYTES], packet[_LENGTH_BYTES:]
        try:
            return self._cipher.decrypt(self._nonce(), sealed, header)
        except InvalidTag:
            raise DamagedPacket("bad tag") from None


class _ChaCha(_ShowsLength):
    """OpenSSH's construction of ChaCha20 and Poly1305."""

    block_bytes = 8
    tail_bytes = 16
    length_is_padded = False

    def __init__(self, key: bytes) -> None:
        # Making a key stream costs as much as encrypting 16 KiB: these two are reset for each
        # packet.
        self._body_stream = self._stream(key[:32])
        self._length_stream = self._stream(key[32:64])

    @staticmethod
    def _stream(key: bytes) -> Any:
        return Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()

    def _crypt_length(self, length: bytes | memoryview, sequence: int) -> bytes:
        self._length_stream.reset_nonce(_from_block_0(sequence))
        crypted: bytes = self._length_stream.update(length)
        return crypted

    def _begin(self, sequence: int) -> Poly1305:
        """Move the body's stream to block 1; returns the authenticator with its key of block 0."""
        self._body_stream.reset_nonce(_from_block_0(sequence))
        return Poly1305(self._body_stream.update(_BLOCK_0)[:32])

    def seal(self, fragments: Body, sequence: int) -> tuple[bytes, ...]:
        body = _body(fragments, self.block_bytes)
        length = self._crypt_length(_LENGTH.pack(len(body)), sequence)
        authenticator = self._begin(sequence)
        sealed = self._body_stream.update(body)
        authenticator.update(length)
        authenticator.update(sealed)
        return length, sealed, authenticator.finalize()

    def length(self, incoming: memoryview, sequence: int) -> int | None:
        if len(incoming) < _LENGTH_BYTES:
            return None
        return int.from_bytes(self._crypt_length(incoming[:_LENGTH_BYTES], sequence), "big")

    def open(self, packet: memoryview, sequence: int) -> bytes:
        authenticator = self._begin(sequence)
        authenticator.update(packet[: -self.tail_bytes])
        try:
            authenticator.verify(bytes(packet[-self.tail_bytes :]))
        except InvalidSignature:
            raise DamagedPacket("bad tag") from None
        body: bytes = self._body_stream.update(packet[_LENGTH_BYTES : -self.tail_bytes])
        return body


_BLOCK_0 = bytes(64)


def _from_block_0(sequence: int) -> bytes:
    """Block counter and nonce of a packet, in the form that ChaCha20 takes."""
    return bytes(8) + sequence.to_bytes(8, "big")


class _Mac:
    """HMAC over the sequence number and the packet (RFC 4253, section 6.4)."""

    def __init__(self, digest: str, key: bytes) -> None:
        self.size_bytes = hashlib.new(digest).digest_size
        self._keyed = hmac.new(key[: self.size_bytes], digestmod=digest)

    def of(self, sequence: int, *fragments: bytes | memoryview) -> bytes:
        mac = self._keyed.copy()
        mac.update(_SEQUENCE.pack(sequence))
        for fragment in fragments:
            mac.update(fragment)
        return mac.digest()

    def verify(self, found: memoryview, sequence: int, *fragments: bytes | memoryview) -> None:
        """:raises DamagedPacket: the MAC `found` is wrong."""
        if not hmac.compare_digest(self.of(sequence, *fragments), found):
            raise DamagedPacket("bad MAC")


class _Aes(_ShowsLength):
    """AES-CTR or AES-CBC with a MAC: what both orders have in common.

    Packets are whole blocks, and the chain of CBC goes on from one to the next (RFC 4253, section
    6.3). So both modes are a stream here.
    """

    block_bytes = 16

    def __init__(self, stream: Any, mac: _Mac) -> None:
        self._stream = stream
        self._mac = mac
        self.tail_bytes = mac.size_bytes


class _AesEtm(_Aes):
    """AES, and a MAC of the encrypted packet."""

    length_is_padded = False

    def seal(self, fragments: Body, sequence: int) -> tuple[bytes, ...]:
        body = _body(fragments, self.block_bytes)
        header, sealed = _LENGTH.pack(len(body)), self._stream.update(body)
        return header, sealed, self._mac.of(sequence, header, sealed)

    def length(self, incoming: memoryview, sequence: int) -> int | None:
        return _clear_length(incoming)

    def open(self, packet: memoryview, sequence: int) -> bytes:
        sealed = packet[: -self.tail_bytes]
        self._mac.verify(packet[-self.tail_bytes :], sequence, sealed)
        body: bytes = self._stream.update(sealed[_LENGTH_BYTES:])
        return body


class _AesAndMac(_Aes):
    """AES, and a MAC of the clear text: for old clients."""

    length_is_padded = True

    def __init__(self, stream: Any, mac: _Mac) -> None:
        super().__init__(stream, mac)
        self._first_block: bytes | None = None

    def seal(self, fragments: Body, sequence: int) -> tuple[bytes, ...]:
        body = _body(fragments, self.block_bytes, beside_bytes=_LENGTH_BYTES)
        packet = _LENGTH.pack(len(body)) + body
        return self._stream.update(packet), self._mac.of(sequence, packet)

    def length(self, incoming: memoryview, sequence: int) -> int | None:
        if self._first_block is None:
            if len(incoming) < self.block_bytes:
                return None
            self._first_block = self._stream.update(incoming[: self.block_bytes])
        return int.from_bytes(self._first_block[:_LENGTH_BYTES], "big")

    def open(self, packet: memoryview, sequence: int) -> bytes:
        assert self._first_block is not None, "length() comes first"
        rest = self._stream.update(packet[self.block_bytes : -self.tail_bytes])
        clear: bytes = self._first_block + rest
        self._first_block = None
        self._mac.verify(packet[-self.tail_bytes :], sequence, clear)
        return clear[_LENGTH_BYTES:]


class _CbcAndMac(_AesAndMac):
    """AES-CBC, and a MAC of the clear text."""

    hides_length = True

    def discard(self, rest: memoryview) -> None:
        self._mac.of(0, self._stream.update(rest))


AEAD_CIPHERS = frozenset(
    (b"aes128-gcm@openssh.com", b"aes256-gcm@openssh.com", b"chacha20-poly1305@openssh.com")
)
_KEY_BYTES = {
    b"aes128-gcm@openssh.com": 16,
    b"aes256-gcm@openssh.com": 32,
    b"aes128-ctr": 16,
    b"aes192-ctr": 24,
    b"aes256-ctr": 32,
    b"aes128-cbc": 16,
    b"aes192-cbc": 24,
    b"aes256-cbc": 32,
}
_DIGESTS = {b"hmac-sha2-256": "sha256", b"hmac-sha2-512": "sha512", b"hmac-sha1": "sha1"}
_ETM_SUFFIX = b"-etm@openssh.com"
_CBC_SUFFIX = b"-cbc"


@dataclass(frozen=True, slots=True, repr=False)
class _Keys:
    """The keys of one direction (RFC 4253, section 7.2)."""

    iv: bytes
    cipher: bytes
    mac: bytes


def _make(direction: str, cipher: bytes, mac: bytes, keys: _Keys) -> Any:
    """The sealer or opener for a cipher and a MAC by their names; an AEAD cipher needs no MAC."""
    if cipher == b"none":
        return _Clear()
    if cipher == b"chacha20-poly1305@openssh.com":
        return _ChaCha(keys.cipher)
    key = keys.cipher[: _KEY_BYTES[cipher]]
    if cipher in AEAD_CIPHERS:
        return _Gcm(key, keys.iv)
    is_cbc = cipher.endswith(_CBC_SUFFIX)
    mode = (modes.CBC if is_cbc else modes.CTR)(keys.iv[:16])
    stream = getattr(Cipher(algorithms.AES(key), mode), direction)()
    keyed = _Mac(_DIGESTS[mac.removesuffix(_ETM_SUFFIX)], keys.mac)
    if mac.endswith(_ETM_SUFFIX):
        return _AesEtm(stream, keyed)
    return (_CbcAndMac if is_cbc else _AesAndMac)(stream, keyed)
