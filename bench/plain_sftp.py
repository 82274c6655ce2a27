"""A client that sends one request at a time, and nothing that it was not told.

Knows: SFTP over ``ssh -s``. Must not know: what is measured.

OpenSSH's ``sftp`` asks more than its user does: it looks at what is there before it puts a file.
To count what an operation costs, the operation has to be alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from subprocess import Popen
from typing import Any

from bench.drivers import Client
from bench.processes import BenchError, running
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.wire import sftp as wire
from sftpgw.wire.frames import Frames
from sftpgw.wire.sftp import Kind, OpenFlag, Status

CREATE = OpenFlag.WRITE | OpenFlag.CREAT | OpenFlag.TRUNC
RECEIVED_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its kind, and what follows the request's id."""

    kind: Kind
    body: bytes

    @property
    def status(self) -> Status | None:
        """What a STATUS says; None if it is something else."""
        return Status(int.from_bytes(self.body[:4], "big")) if self.kind is Kind.STATUS else None

    @property
    def handle(self) -> bytes:
        """The handle of a HANDLE."""
        return self.body[4:]


class PlainSession:
    """One SFTP session. Whatever fails is a `BenchError`."""

    def __init__(self, process: Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._input, self._output = process.stdin, process.stdout
        self._frames = Frames(max_frame_bytes=1 << 20)
        self._ids = count(1)

    def greet(self) -> None:
        """INIT and VERSION."""
        self._send(wire.Init(wire.VERSION))
        self._next()

    def ask(self, request: Any, *, may: tuple[Status, ...] = ()) -> Reply:
        """The answer to a request. :raises BenchError: an error that it `may` not be"""
        self._send(replace(request, request_id=next(self._ids)))
        reply = self._next()
        if reply.status not in (None, Status.OK, *may):
            raise BenchError(f"{type(request).__name__}: {reply.body[8:].decode()!r}")
        return reply

    def _send(self, request: wire.Request) -> None:
        self._input.write(encode_request(request))
        self._input.flush()

    def _next(self) -> Reply:
        while (frame := self._frames.next()) is None:
            data = self._output.read1(RECEIVED_BYTES)  # type: ignore[attr-defined]
            if not data:
                raise BenchError("the session has ended")
            self._frames.feed(data)
        return Reply(Kind(frame.head[0]), frame.head[5:])

    # What a user asks for.

    def put(self, path: bytes, data: bytes) -> None:
        handle = self.ask(wire.Open(0, path, CREATE, {})).handle
        if data:
            self.ask(wire.Write(0, handle, 0, (data,)))
        self.close(handle)

    def get(self, path: bytes) -> int:
        """Read a file to its end; how many bytes that were."""
        handle = self.ask(wire.Open(0, path, OpenFlag.READ, {})).handle
        read_bytes = 0
        while True:
            reply = self.ask(
                wire.Read(0, handle, read_bytes, wire.MAX_READ_BYTES), may=(Status.EOF,)
            )
            if reply.kind is Kind.STATUS:
                break
            read_bytes += len(reply.body) - 4
        self.close(handle)
        return read_bytes

    def list(self, path: bytes) -> None:
        handle = self.on_path(Kind.OPENDIR, path).handle
        readdir = wire.OnHandle(Kind.READDIR, 0, handle)
        while self.ask(readdir, may=(Status.EOF,)).kind is not Kind.STATUS:
            pass
        self.close(handle)

    def on_path(self, kind: Kind, path: bytes, *, may: tuple[Status, ...] = ()) -> Reply:
        return self.ask(wire.OnPath(kind, 0, path), may=may)

    def mkdir(self, path: bytes) -> None:
        self.ask(wire.ChangePath(Kind.MKDIR, 0, path, {}))

    def rename(self, old: bytes, new: bytes) -> None:
        self.ask(wire.OnTwoPaths(Kind.RENAME, 0, old, new))

    def replace(self, old: bytes, new: bytes) -> None:
        """A rename over a file that exists, as OpenSSH asks for it."""
        names = wire.string(old) + wire.string(new)
        self.ask(wire.Extended(0, b"posix-rename@openssh.com", names))

    def close(self, handle: bytes) -> None:
        self.ask(wire.OnHandle(Kind.CLOSE, 0, handle))


@contextmanager
def plain_session(client: Client, user: str, port: int, case: str) -> Iterator[PlainSession]:
    """A session that has logged in. :raises BenchError: the login fails."""
    command = ["ssh", *client.options("-p", port, case), "-s", f"{user}@127.0.0.1", "sftp"]
    with running(command, client.log) as process:
        session = PlainSession(process)
        session.greet()
        yield session
