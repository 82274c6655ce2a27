"""An SSH client that sends any message at any time.

Knows: one suite of its own (curve25519-sha256, ssh-ed25519, aes128-gcm@openssh.com), on a
blocking socket where every wait has a limit. Must not know: the gateway's code, which
it tests, or SFTP.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG, SERVICE_REQUEST, SERVICE_ACCEPT, EXT_INFO = range(1, 8)
KEXINIT, NEWKEYS, KEX_INIT, KEX_REPLY = 20, 21, 30, 31
USERAUTH_REQUEST, USERAUTH_FAILURE, USERAUTH_SUCCESS = 50, 51, 52
USERAUTH_INFO_REQUEST, USERAUTH_INFO_RESPONSE = 60, 61
GLOBAL_REQUEST, REQUEST_FAILURE = 80, 82
CHANNEL_OPEN, CHANNEL_CONFIRMATION, CHANNEL_OPEN_FAILURE, WINDOW_ADJUST = 90, 91, 92, 93
CHANNEL_DATA, CHANNEL_EOF, CHANNEL_CLOSE = 94, 96, 97
CHANNEL_REQUEST, CHANNEL_SUCCESS, CHANNEL_FAILURE = 98, 99, 100

WAIT_SECONDS = 20.0
VERSION = b"SSH-2.0-raw"
SUITE = {
    "kex": b"curve25519-sha256",
    "host_key": b"ssh-ed25519",
    "cipher": b"aes128-gcm@openssh.com",
    "mac": b"hmac-sha2-256-etm@openssh.com",
    "compression": b"none",
}
_ALWAYS_IGNORED = frozenset((IGNORE, DEBUG, EXT_INFO, GLOBAL_REQUEST))


class Ended(Exception):
    """The gateway has closed the connection; with the text of its DISCONNECT, if there was one."""


def string(data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + data


def uint32(number: int) -> bytes:
    return struct.pack(">L", number)


def mpint(number: bytes) -> bytes:
    """An mpint without leading zeros, except for the sign (RFC 4251, section 5)."""
    number = number.lstrip(b"\0")
    return string(b"\0" + number if number and number[0] & 0x80 else number)


def strings(payload: bytes, count: int, at: int) -> list[bytes]:
    """The `count` strings of a payload that begin at `at`."""
    found = []
    for _ in range(count):
        (size,) = struct.unpack_from(">L", payload, at)
        found.append(payload[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def kexinit(**suite: bytes) -> bytes:
    """A KEXINIT that offers `SUITE`, except for the lists that are given."""
    names = {**SUITE, **suite}
    lists = [names["kex"], names["host_key"]]
    for kind in ("cipher", "mac", "compression"):
        lists += [names[kind]] * 2
    return (
        bytes([KEXINIT]) + bytes(range(16)) + b"".join(map(string, [*lists, b"", b""])) + bytes(5)
    )


def userauth(user: bytes, method: bytes, details: bytes = b"") -> bytes:
    """A USERAUTH_REQUEST (RFC 4252, section 5)."""
    common = b"".join(map(string, (user, b"ssh-connection", method)))
    return bytes([USERAUTH_REQUEST]) + common + details


def password(user: bytes, guess: bytes) -> bytes:
    return userauth(user, b"password", b"\0" + string(guess))


def answer(guess: bytes) -> bytes:
    """A USERAUTH_INFO_RESPONSE (RFC 4256, section 3.4)."""
    return bytes([USERAUTH_INFO_RESPONSE]) + uint32(1) + string(guess)


def channel_open(number: int, window_bytes: int = 2**21, max_packet_bytes: int = 2**15) -> bytes:
    numbers = struct.pack(">3L", number, window_bytes, max_packet_bytes)
    return bytes([CHANNEL_OPEN]) + string(b"session") + numbers


class _Seal:
    """AES-GCM in one direction (RFC 5647); no protection before the first keys."""

    block_bytes = 8
    tag_bytes = 0
    beside_bytes = 4
    """What the length field counts towards the blocks."""

    def seal(self, length: bytes, body: bytes) -> bytes:
        return length + body

    def open(self, length: bytes, sealed: bytes) -> bytes:
        return sealed


class _Gcm(_Seal):
    block_bytes = 16
    tag_bytes = 16
    beside_bytes = 0

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._cipher = AESGCM(key)
        self._salt, self._count = iv[:4], int.from_bytes(iv[4:12], "big")

    def _nonce(self) -> bytes:
        self._count += 1
        return self._salt + ((self._count - 1) % 2**64).to_bytes(8, "big")

    def seal(self, length: bytes, body: bytes) -> bytes:
        return length + self._cipher.encrypt(self._nonce(), body, length)

    def open(self, length: bytes, sealed: bytes) -> bytes:
        return self._cipher.decrypt(self._nonce(), sealed, length)


class RawClient:
    """A connection on which nothing was sent yet.

    :param source: the client's address, in 127.0.0.0/8.
    """

    def __init__(self, port: int, source: str = "127.0.0.2", receive_bytes: int = 0) -> None:
        self.socket = socket.socket()
        try:
            self.socket.settimeout(WAIT_SECONDS)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if receive_bytes:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            self.socket.bind((source, 0))
            self.socket.connect(("127.0.0.1", port))
        except BaseException:
            self.socket.close()
            raise
        self.sent_bytes = 0
        self._arrived = bytearray()
        self._inbox: deque[bytes] = deque()
        self._outgoing, self._incoming = _Seal(), _Seal()
        self._server_version = b""
        self._session_id = b""
        self._packet_of = self._packet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    # Bytes and packets.

    def transmit(self, data: bytes) -> None:
        """Send raw bytes. :raises Ended: the gateway has closed the connection."""
        self.sent_bytes += len(data)
        try:
            self.socket.sendall(data)
        except (ConnectionError, BrokenPipeError) as problem:
            raise Ended(str(problem)) from None

    def send(self, *payloads: bytes) -> None:
        """Send packets, all at once."""
        self.transmit(b"".join(map(self._packet_of, payloads)))

    def sealed(self, payload: bytes) -> bytes:
        """Seal a payload; the caller must send the packet before others."""
        return self._packet_of(payload)

    def pad_to_the_limit(self) -> None:
        """From now on use the most padding that is allowed."""
        self._packet_of = lambda payload: self._packet(payload, most_padding=True)

    def _packet(self, payload: bytes, most_padding: bool = False) -> bytes:
        seal = self._outgoing
        padding_bytes = -(len(payload) + 1 + seal.beside_bytes) % seal.block_bytes
        padding_bytes += 0 if padding_bytes >= 4 else seal.block_bytes
        if most_padding:
            padding_bytes += (255 - padding_bytes) // seal.block_bytes * seal.block_bytes
        body = bytes([padding_bytes]) + payload + bytes(padding_bytes)
        return seal.seal(uint32(len(body)), body)

    def _take(self, size_bytes: int) -> bytes:
        while len(self._arrived) < size_bytes:
            try:
                data = self.socket.recv(2**18)
            except ConnectionError as problem:
                raise Ended(str(problem)) from None
            if not data:
                raise Ended("closed without a word")
            self._arrived += data
        taken = bytes(self._arrived[:size_bytes])
        del self._arrived[:size_bytes]
        return taken

    def _receive_from_wire(self) -> bytes:
        seal = self._incoming
        length = self._take(4)
        (size,) = struct.unpack(">L", length)
        body = seal.open(length, self._take(size + seal.tag_bytes))
        payload = body[1 : len(body) - body[0]]
        if payload[0] == DISCONNECT:
            raise Ended(strings(payload, 1, 5)[0].decode())
        return payload

    def receive(self) -> bytes:
        """The next payload, apart from IGNORE and DEBUG. :raises Ended: there is none."""
        while True:
            payload = self._inbox.popleft() if self._inbox else self._receive_from_wire()
            if payload[0] not in _ALWAYS_IGNORED:
                return payload

    def expect(self, *numbers: int) -> bytes:
        """The next payload, which must be one of these messages."""
        payload = self.receive()
        assert payload[0] in numbers, payload[:60]
        return payload

    def wait_for_the_end(self) -> str:
        """Read until the gateway closes the connection; returns its text."""
        try:
            while True:
                self._receive_from_wire()
        except Ended as end:
            return str(end)

    # Key exchange.

    def greet(self) -> Self:
        """Exchange version lines."""
        self.transmit(VERSION + b"\r\n")
        while not self._server_version.endswith(b"\n"):
            self._server_version += self._take(1)
        return self

    def start(self) -> Self:
        """Exchange version lines and the first keys."""
        self.greet()
        self.exchange_keys()
        return self

    def exchange_keys(self, between: Callable[[], Any] = lambda: None) -> None:
        """Exchange keys at the client's request. Other messages are kept for later.

        :param between: called when the gateway has sent its part.
        """
        ours = kexinit()
        self.send(ours)
        theirs = self.wait_for(KEXINIT)
        private = X25519PrivateKey.generate()
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.send(bytes([KEX_INIT]) + string(public))
        host_key, their_public, _ = strings(self.wait_for(KEX_REPLY), 3, 1)
        secret = mpint(private.exchange(X25519PublicKey.from_public_bytes(their_public)))
        versions = VERSION, self._server_version.rstrip()
        parts = (*versions, ours, theirs, host_key, public, their_public)
        self.wait_for(NEWKEYS)
        between()
        self.send(bytes([NEWKEYS]))
        self._change_keys(secret, sha256(b"".join(map(string, parts)) + secret).digest())

    def wait_for(self, number: int) -> bytes:
        """The next payload with this number; others are kept for later."""
        while (payload := self._receive_from_wire())[0] != number:
            self._inbox.append(payload)
        return payload

    def _change_keys(self, secret: bytes, exchange_hash: bytes) -> None:
        self._session_id = self._session_id or exchange_hash

        def derived(letter: bytes) -> bytes:
            return sha256(secret + exchange_hash + letter + self._session_id).digest()

        self._outgoing = _Gcm(derived(b"C")[:16], derived(b"A"))
        self._incoming = _Gcm(derived(b"D")[:16], derived(b"B"))

    # Login.

    def request_login(self) -> Self:
        """Request ssh-userauth, so that USERAUTH_REQUESTs may be sent."""
        self.send(bytes([SERVICE_REQUEST]) + string(b"ssh-userauth"))
        self.expect(SERVICE_ACCEPT)
        return self

    def key_login(self, user: bytes, key: Ed25519PrivateKey) -> bytes:
        """The payload of a login by key."""
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        blob = string(b"ssh-ed25519") + string(public)
        request = userauth(user, b"publickey", b"\x01" + string(b"ssh-ed25519") + string(blob))
        signature = string(b"ssh-ed25519") + string(key.sign(string(self._session_id) + request))
        return request + string(signature)

    def log_in(self, user: bytes, key: Ed25519PrivateKey) -> Self:
        """Exchange versions and keys, and log in. :raises Ended: the gateway has refused."""
        return self.start().request_login().finish_login(user, key)

    def finish_login(self, user: bytes, key: Ed25519PrivateKey) -> Self:
        """Log in, once ssh-userauth was granted."""
        self.send(self.key_login(user, key))
        self.expect(USERAUTH_SUCCESS)
        return self
