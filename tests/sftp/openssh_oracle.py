"""OpenSSH's own sftp-server as an oracle: what a client is told on a disk.

Knows: how to drive the program over a pipe, in a directory of its own.
Must not know: SSH, the gateway.

    with Oracle() as server:
        server.ask(wire.OnPath(Kind.STAT, 0, server.path(b"f/")))   # Status.FAILURE or a reply
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import IO

from sftpgw.testing.sftp_requests import encode_request
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, Status
from tests.needs import SFTP_SERVER


@dataclass(frozen=True)
class OracleReply:
    """A reply of the server's; `code` is None unless it is a STATUS."""

    kind: Kind
    code: Status | None = None
    body: bytes = b""
    names: tuple[tuple[bytes, bytes], ...] = ()
    attributes: dict[str, int] = field(default_factory=dict)


class Oracle:
    """A running sftp-server, and the directory that its client may use."""

    def __enter__(self) -> Oracle:
        self.home = Path(tempfile.mkdtemp(prefix="oracle-"))
        self._process = subprocess.Popen(
            [SFTP_SERVER, "-u", "0022"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self.home,
        )
        self._ids: Iterator[int] = count(1)
        self._send(encode_request(wire.Init(3)))
        assert self._receive()[0] == Kind.VERSION
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait(10)
        shutil.rmtree(self.home)

    def empty(self) -> None:
        """Remove all that is in its directory."""
        for each in self.home.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()

    def ask(self, request: wire.Request) -> OracleReply:
        """The reply to a request, whatever it is. Paths are relative to the directory."""
        assert not isinstance(request, wire.Init)
        self._send(encode_request(replace(request, request_id=next(self._ids))))
        return _parsed(self._receive())

    def _send(self, data: bytes) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        pipe.write(data)
        pipe.flush()

    def _receive(self) -> bytes:
        pipe = self._process.stdout
        assert pipe is not None
        return _exactly(pipe, int.from_bytes(_exactly(pipe, 4), "big"))


def _exactly(pipe: IO[bytes], size_bytes: int) -> bytes:
    data = pipe.read(size_bytes)
    assert len(data) == size_bytes, "sftp-server has ended"
    return data


def _parsed(frame: bytes) -> OracleReply:
    kind, fields = Kind(frame[0]), wire.SftpFields(frame, 5, 0)
    match kind:
        case Kind.STATUS:
            return OracleReply(kind, code=Status(fields.uint32()))
        case Kind.HANDLE | Kind.DATA:
            return OracleReply(kind, body=fields.string())
        case Kind.ATTRS:
            return OracleReply(kind, attributes=fields.attributes())
        case Kind.NAME:
            names = []
            for _ in range(fields.uint32()):
                names.append((fields.string(), fields.string()))
                fields.attributes()
            return OracleReply(kind, names=tuple(names))
    raise AssertionError(f"{kind.name} was not expected")
