"""Floods: one user's many connections and channels, all of them at full speed.

Knows: how to seal packets beforehand, so that the attacker's CPU does not slow the flood down, and
how to measure what an honest user notices meanwhile. Must not know: what the packets are for.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterable

from sftpgw.testing.sftp_requests import encode_request
from sftpgw.wire import sftp as wire
from tests.attacks.gateway import KEY
from tests.attacks.raw_sftp import RawSftp
from tests.attacks.raw_ssh import (
    CHANNEL_CONFIRMATION,
    CHANNEL_DATA,
    CHANNEL_REQUEST,
    CHANNEL_SUCCESS,
    RawClient,
    channel_open,
    string,
    uint32,
)

PACKET_BYTES = 32_000
FIRST_WINDOW_BYTES = 336_000
"""What each channel may send without being granted more."""

HONEST = "127.0.0.1"


class Flood:
    """Sends what was sealed beforehand on many connections, and throws away what comes back."""

    def __init__(self) -> None:
        self._sealed: list[tuple[RawClient, bytes]] = []
        self._threads: list[threading.Thread] = []

    def add(self, client: RawClient, payloads: Iterable[bytes]) -> None:
        """Seal the payloads of one connection."""
        self._sealed.append((client, b"".join(map(client.sealed, payloads))))

    def start(self) -> None:
        for client, data in self._sealed:
            for target in (lambda c=client, d=data: _send(c, d), lambda c=client: _drain(c)):
                thread = threading.Thread(target=target, daemon=True)
                thread.start()
                self._threads.append(thread)


def _send(client: RawClient, data: bytes) -> None:
    client.socket.settimeout(None)
    try:
        client.socket.sendall(data)
    except OSError:
        return  # the test is over


def _drain(client: RawClient) -> None:
    try:
        while client.socket.recv(2**18):
            pass
    except OSError:
        return  # the test is over


def open_channels(client: RawClient, count: int) -> list[int]:
    """Open SFTP channels, up to VERSION; returns the gateway's numbers of them."""
    numbers = []
    for number in range(count):
        client.send(channel_open(number, 2**21, PACKET_BYTES))
        opened = client.expect(CHANNEL_CONFIRMATION)
        (theirs,) = struct.unpack_from(">L", opened, 5)
        request = string(b"subsystem") + b"\x01" + string(b"sftp")
        client.send(bytes([CHANNEL_REQUEST]) + uint32(theirs) + request)
        client.expect(CHANNEL_SUCCESS)
        client.send(data(theirs, encode_request(wire.Init(3))))
        client.expect(CHANNEL_DATA)
        numbers.append(theirs)
    return numbers


def data(number: int, content: bytes) -> bytes:
    """The payload that brings bytes to a channel."""
    return bytes([CHANNEL_DATA]) + uint32(number) + string(content)


def filled(number: int, request: bytes, size_bytes: int = FIRST_WINDOW_BYTES) -> list[bytes]:
    """Payloads that fill a channel's first window with one request."""
    full = request * (PACKET_BYTES // len(request))
    return [data(number, full) for _ in range((size_bytes - 4096) // len(full))]


def login_seconds(port: int, user: bytes = b"honest") -> float:
    """How long a login and a STAT take."""
    began = time.monotonic()
    client = RawClient(port, HONEST)
    try:
        client.log_in(user, KEY)
        sftp = RawSftp(client)
        sftp.stat(b"/")
        return time.monotonic() - began
    finally:
        client.close()
