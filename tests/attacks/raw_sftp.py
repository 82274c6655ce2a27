"""SFTP requests on a `RawClient`, and a well-behaved session.

Knows: channels, windows, and the format of requests (`wire`).
Must not know: any attack.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from sftpgw.testing.sftp_requests import encode_request
from sftpgw.wire import frames
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag, Status
from tests.attacks.raw_ssh import (
    CHANNEL_CLOSE,
    CHANNEL_CONFIRMATION,
    CHANNEL_DATA,
    CHANNEL_EOF,
    CHANNEL_REQUEST,
    CHANNEL_SUCCESS,
    WINDOW_ADJUST,
    Ended,
    RawClient,
    channel_open,
    string,
    uint32,
)

CREATE = OpenFlag.WRITE | OpenFlag.CREAT | OpenFlag.TRUNC
PACKET_BYTES = 32 * 1024
STEP_BYTES = 32 * 1024


class RawSftp:
    """An SFTP session on a channel of its own.

    :param window_bytes: how much the gateway may send before it gets more of the window.
    :ivar before_each: called before each packet that is sent.
    """

    def __init__(self, client: RawClient, *, window_bytes: int = 2**21, greet: bool = True) -> None:
        self.client = client
        self.before_each: Callable[[], Any] = lambda: None
        self.remote_window_bytes = 0
        self._received_bytes = self._unread_bytes = 0
        self._frames = frames.Frames()
        self._replies: dict[int, bytes] = {}
        self._ids = count(1)
        client.send(channel_open(0, window_bytes, PACKET_BYTES))
        opened = client.expect(CHANNEL_CONFIRMATION)
        self.number, self.remote_window_bytes = struct.unpack_from(">2L", opened, 5)
        self._request_subsystem()
        if greet:
            self.transmit(encode_request(wire.Init(3)))
            self.reply(wire.VERSION)

    def _request_subsystem(self) -> None:
        request = string(b"subsystem") + b"\x01" + string(b"sftp")
        self.client.send(bytes([CHANNEL_REQUEST]) + uint32(self.number) + request)
        self.client.expect(CHANNEL_SUCCESS)

    # The channel.

    def data(self, data: bytes) -> bytes:
        """The payload that carries `data`."""
        return bytes([CHANNEL_DATA]) + uint32(self.number) + string(data)

    def widen(self, size_bytes: int) -> bytes:
        """The payload that gives the gateway more of the window."""
        return bytes([WINDOW_ADJUST]) + uint32(self.number) + uint32(size_bytes)

    def transmit(self, data: bytes, packet_bytes: int = PACKET_BYTES) -> None:
        """Send all data, as soon as the window allows."""
        for start in range(0, len(data), packet_bytes):
            piece = data[start : start + packet_bytes]
            while self.remote_window_bytes < len(piece):
                self._listen()
            self.before_each()
            self.remote_window_bytes -= len(piece)
            self.client.send(self.data(piece))

    def listen_to_answers(self, count: int) -> None:
        """Receive messages until so many replies are there."""
        while len(self._replies) < count:
            self._listen()

    def listen_until(self, size_bytes: int) -> None:
        """Receive messages until the channel has brought exactly so many bytes."""
        while self._received_bytes < size_bytes:
            self._listen()
        assert self._received_bytes == size_bytes

    def _listen(self) -> None:
        """Receive one message."""
        payload = self.client.receive()
        if payload[0] == WINDOW_ADJUST:
            self.remote_window_bytes += struct.unpack_from(">L", payload, 5)[0]
        elif payload[0] == CHANNEL_DATA:
            self._take_data(payload[9:])
        elif payload[0] in (CHANNEL_EOF, CHANNEL_CLOSE):
            raise Ended("the channel was closed")

    def _take_data(self, data: bytes) -> None:
        self._frames.feed(data)
        while (frame := self._frames.next()) is not None:
            request_id = int.from_bytes(frame.head[1:5], "big")
            assert request_id not in self._replies, "two answers"
            self._replies[request_id] = frame.head
        self._received_bytes += len(data)
        self._unread_bytes += len(data)
        if self._unread_bytes > 2**19:
            self.client.send(self.widen(self._unread_bytes))
            self._unread_bytes = 0

    # Requests.

    def send(self, request: wire.Request) -> int:
        """Send a request with a new id; returns the id."""
        assert not isinstance(request, wire.Init)
        request_id = next(self._ids)
        self.transmit(encode_request(replace(request, request_id=request_id)))
        return request_id

    def reply(self, request_id: int) -> bytes:
        """The reply to a request: type, id, body."""
        while request_id not in self._replies:
            self._listen()
        return self._replies.pop(request_id)

    def status(self, request_id: int) -> Status | None:
        """The code of the reply, if it is a STATUS."""
        frame = self.reply(request_id)
        return Status(int.from_bytes(frame[5:9], "big")) if frame[0] == Kind.STATUS else None

    def ask(self, request: wire.Request) -> wire.SftpFields:
        """The body of the reply, which must be a success."""
        frame = self.reply(self.send(request))
        is_error = frame[0] == Kind.STATUS and frame[5:9] != bytes(4)
        assert not is_error, (request, frame)
        return wire.SftpFields(frame, 5, 0)

    def open(self, path: bytes, flags: int = OpenFlag.READ) -> bytes:
        return self.ask(wire.Open(0, path, flags, {})).string()

    def close(self, handle: bytes) -> None:
        self.ask(wire.OnHandle(Kind.CLOSE, 0, handle))

    def put(self, path: bytes, data: bytes) -> None:
        """OPEN, pipelined WRITEs, CLOSE."""
        handle = self.open(path, CREATE)
        starts = range(0, len(data), STEP_BYTES)
        ids = [self.send(wire.Write(0, handle, at, (data[at : at + STEP_BYTES],))) for at in starts]
        assert {self.status(each) for each in ids} <= {Status.OK}
        self.close(handle)

    def put_many(self, paths: Sequence[bytes]) -> None:
        """Files of one byte, a hundred at once."""
        for start in range(0, len(paths), 100):
            opens = [self.send(wire.Open(0, path, CREATE, {})) for path in paths[start:][:100]]
            handles = [wire.SftpFields(self.reply(each), 5, 0).string() for each in opens]
            asked = [self.send(wire.Write(0, handle, 0, (b"x",))) for handle in handles]
            asked += [self.send(wire.OnHandle(Kind.CLOSE, 0, handle)) for handle in handles]
            assert {self.status(each) for each in asked} <= {Status.OK}

    def get(self, path: bytes) -> bytes:
        """STAT, OPEN, pipelined READs, CLOSE."""
        size = self.stat(path)
        handle = self.open(path)
        ids = [self.send(wire.Read(0, handle, at, STEP_BYTES)) for at in range(0, size, STEP_BYTES)]
        frames = [self.reply(each) for each in ids]
        assert {frame[0] for frame in frames} <= {Kind.DATA}
        self.close(handle)
        return b"".join(wire.SftpFields(frame, 5, 0).string() for frame in frames)

    def stat(self, path: bytes) -> int:
        """The size of a file."""
        return self.ask(wire.OnPath(Kind.STAT, 0, path)).attributes()["size"]

    def entries(self, path: bytes) -> int:
        """How many names a directory has, besides ``.`` and ``..``."""
        handle, found = self.ask(wire.OnPath(Kind.OPENDIR, 0, path)).string(), 0
        while True:
            frame = self.reply(self.send(wire.OnHandle(Kind.READDIR, 0, handle)))
            if frame[0] == Kind.STATUS:
                self.close(handle)
                return found - 2
            found += int.from_bytes(frame[5:9], "big")
