"""What WinSCP sends, request by request; it needs Windows, so that the tests send it in its place.

Knows: the order of its requests, from its documentation (Transfer resume, Preferences) and from
what its source says of SFTP version 3.
Must not know: the gateway.

An upload of more than 100 KiB, unless that is switched off (Preferences, Endurance)::

    LSTAT NAME, and then LSTAT NAME.filepart     is there a file, is there a half one?
    OPEN NAME.filepart                           WRITE CREAT TRUNC, with the size as an attribute;
                                                 WRITE CREAT where it goes on with a half one
    WRITE ... WRITE                              as many ahead as its queue has
    CLOSE                                        at once, while answers to WRITEs are outstanding
    REMOVE NAME                                  if there was a file
    RENAME NAME.filepart NAME                    new versions: posix-rename, without a REMOVE
    SETSTAT NAME                                 times, and the mode of the file before

A smaller one has OPEN NAME, WRITEs, CLOSE, and SETSTAT NAME without a wait for the answer to CLOSE.
A download has OPEN, FSTAT, READs ahead, and CLOSE at the first EOF while READs are outstanding. A
comparison of folders has READDIRs, two ahead, and compares size and time of modification.
"""

from __future__ import annotations

from collections.abc import Iterator

from sftpgw.model.units import KIB
from sftpgw.testing.sftp_sessions import SftpClient, SftpFailure
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag, Status

RESUMABLE_BYTES = 100 * KIB
STEP_BYTES = 32 * KIB - 64
UPLOAD_QUEUE, DOWNLOAD_QUEUE, LISTING_QUEUE = 4, 4, 2
"""How many requests it sends ahead where nothing is set."""

NEW = OpenFlag.WRITE | OpenFlag.CREAT | OpenFlag.TRUNC
GO_ON = OpenFlag.WRITE | OpenFlag.CREAT


class WinScp:
    """One session.

    :param queue: how many requests go ahead of their answers.
    :param renames_over: as new versions do it: posix-rename, and no REMOVE before it.
    """

    def __init__(
        self, client: SftpClient, *, queue: int = UPLOAD_QUEUE, renames_over: bool = False
    ) -> None:
        self._client = client
        self._queue = queue
        self._renames_over = renames_over

    def upload(self, name: bytes, data: bytes, seconds: int) -> None:
        """Upload with the time of modification. :raises SftpFailure:"""
        if len(data) < RESUMABLE_BYTES:
            self._upload_small(name, data, seconds)
            return
        part = name + b".filepart"
        before = self._lstat(name)
        half = self._lstat(part)
        self._write(part, data, half["size"] if half and half["size"] <= len(data) else 0)
        self._take_the_place(part, name, before is not None)
        mode = {"permissions": before["permissions"]} if before else {}
        self._client.ask(wire.ChangePath(Kind.SETSTAT, 0, name, {**_times(seconds), **mode}))

    def begin(self, name: bytes, data: bytes, sent_bytes: int) -> None:
        """Send the first bytes of a resumable upload, and lose the connection."""
        part = name + b".filepart"
        assert self._lstat(name) is None
        assert self._lstat(part) is None
        handle = self._client.open(part, NEW, size=len(data))
        self._answered(self._writes(handle, data[:sent_bytes], 0))
        self._client.drop()

    def download(self, name: bytes) -> bytes:
        """:raises SftpFailure:"""
        handle = self._client.open(name)
        size_bytes = self._client.ask(wire.OnHandle(Kind.FSTAT, 0, handle)).attributes["size"]
        found = b""
        offset = 0
        while len(found) < size_bytes:
            steps = range(offset, offset + DOWNLOAD_QUEUE * STEP_BYTES, STEP_BYTES)
            reads = (wire.Read(0, handle, each, STEP_BYTES) for each in steps)
            for request_id in self._client.send_together(*reads):
                found += self._read(request_id)
            offset = steps.stop
        late = self._client.send_together(
            wire.Read(0, handle, offset, STEP_BYTES),
            wire.OnHandle(Kind.CLOSE, 0, handle),
            wire.Read(0, handle, offset + STEP_BYTES, STEP_BYTES),
        )
        assert self._read(late[0]) == b""
        self._client.answer(late[1])
        return found

    def compare(self, folder: bytes) -> dict[bytes, tuple[int, int]]:
        """Of each name the size and the time of modification."""
        handle = self._client.on_path(Kind.OPENDIR, folder).body
        found: dict[bytes, tuple[int, int]] = {}
        while True:
            ahead = [wire.OnHandle(Kind.READDIR, 0, handle)] * LISTING_QUEUE
            listed = [dict(self._entries(each)) for each in self._client.send_together(*ahead)]
            for each in listed:
                found |= each
            if not listed[-1]:
                self._client.close(handle)
                return found

    def _entries(self, request_id: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
        try:
            reply = self._client.answer(request_id)
        except SftpFailure as failure:
            if failure.code is not Status.EOF:
                raise
            return
        for (name, _), attributes in zip(reply.names, reply.listed, strict=True):
            if name not in (b".", b".."):
                yield name, (attributes["size"], attributes["mtime"])

    def _lstat(self, name: bytes) -> dict[str, int] | None:
        try:
            return self._client.on_path(Kind.LSTAT, name).attributes
        except SftpFailure as failure:
            if failure.code is not Status.NO_SUCH_FILE:
                raise
            return None

    def _upload_small(self, name: bytes, data: bytes, seconds: int) -> None:
        handle = self._client.open(name, NEW, size=len(data))
        self._answered(
            [
                *self._writes(handle, data, 0),
                wire.OnHandle(Kind.CLOSE, 0, handle),
                wire.ChangePath(Kind.SETSTAT, 0, name, _times(seconds)),
            ]
        )

    def _write(self, part: bytes, data: bytes, offset: int) -> None:
        attributes = {} if offset else {"size": len(data)}
        handle = self._client.open(part, GO_ON if offset else NEW, **attributes)
        close = wire.OnHandle(Kind.CLOSE, 0, handle)
        self._answered([*self._writes(handle, data[offset:], offset), close])

    def _writes(self, handle: bytes, data: bytes, offset: int) -> list[wire.Request]:
        steps = range(0, len(data), STEP_BYTES)
        return [wire.Write(0, handle, offset + at, (data[at : at + STEP_BYTES],)) for at in steps]

    def _answered(self, requests: list[wire.Request]) -> None:
        """Send these, so many in one flight, and have an answer to each.

        CLOSE and what is behind it do not wait for the answers to the last WRITEs.
        """
        writes = [each for each in requests if isinstance(each, wire.Write)]
        last = max(len(writes) - self._queue, 0)
        flights = [requests[at : at + self._queue] for at in range(0, last, self._queue)]
        sent = sum(map(len, flights))
        for flight in [*flights, requests[sent:]]:
            for request_id in self._client.send_together(*flight):
                self._client.answer(request_id)

    def _take_the_place(self, part: bytes, name: bytes, is_there: bool) -> None:
        if self._renames_over:
            self._client.posix_rename(part, name)
            return
        if is_there:
            self._client.remove(name)
        self._client.rename(part, name)

    def _read(self, request_id: int) -> bytes:
        try:
            return self._client.answer(request_id).body
        except SftpFailure as failure:
            if failure.code is not Status.EOF:
                raise
            return b""


def _times(seconds: int) -> dict[str, int]:
    return {"atime": seconds, "mtime": seconds}
