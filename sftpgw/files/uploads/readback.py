"""Reads a file through the handle that writes it.

Knows: which bytes are here and which the base object has; how the base object is read.
Must not know: SFTP, and when bytes are sent.

The base object is read as any file is (`files/downloads/download`), with read-ahead and a part of
the memory, from the first READ that needs it on; but only in the version that was there when the
file was opened. If it is renamed meanwhile, READs that wait are asked for again under the new name.
READs of bytes that are here never wait.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sftpgw.aio.notifier import Notifier
from sftpgw.errors import EndOfFile, FileError, GatewayError, again
from sftpgw.files.downloads.download import Download
from sftpgw.files.traffic import FileTraffic
from sftpgw.files.uploads.plan.read_sources import Source
from sftpgw.files.uploads.plan.upload_plan import UploadPlan
from sftpgw.model.store import ByteRange, ObjectInfo
from sftpgw.model.units import Body, Buffer


class NoReadback:
    """The reads of a file that was not opened for reading: they fail.

    :param reason: why.
    """

    def __init__(self, reason: FileError) -> None:
        self._reason = reason

    def read(self, offset: int, length: int) -> Body | Deferred[Body]:
        raise again(self._reason)

    def rebase(self, base: ObjectInfo) -> None:
        """The base object is not read."""

    def close(self) -> None:
        """There is nothing to close."""


class Readback:
    """The reads of a file that is being written.

    :param plan: knows where the bytes are.
    :param base: the base object; None if there is none.
    :param new_reader: makes a reader of an object, not opened yet; it counts its own bytes.
    :param traffic: counts the bytes that are read from memory.
    """

    def __init__(
        self,
        plan: UploadPlan,
        base: ObjectInfo | None,
        new_reader: Callable[[ObjectInfo], Download],
        *,
        traffic: FileTraffic | None = None,
    ) -> None:
        self._plan = plan
        self._base = base
        self._new_reader = new_reader
        self._traffic = traffic or FileTraffic()
        self._reader: Download | None = None
        self._is_open = False
        self._is_closed = False
        self._opening_ended = Notifier()

    def read(self, offset: int, length: int) -> Body | Deferred[Body]:
        """As `FileWriter.read`."""
        wanted = ByteRange(offset, min(offset + length, self._plan.size_bytes))
        if wanted.size_bytes <= 0:
            raise EndOfFile("end of file")
        found = self._plan.sources(wanted)
        if len(found) == 1:
            return self._start_read(found[0])
        if any(isinstance(source, ByteRange) for source in found):
            return Deferred.fromCoroutine(self._joined(found))
        return tuple(fragment for source in found for fragment in self._in_memory(source))

    def rebase(self, base: ObjectInfo) -> None:
        """The base object has another name or ETag now, and the same bytes."""
        self._base = base
        if self._is_open:
            self._drop_reader()

    def close(self) -> None:
        """Release the bytes that were read ahead; READs that wait for more fail."""
        self._is_closed = True
        if self._reader is not None and self._is_open:
            self._reader.close()

    def _drop_reader(self) -> None:
        reader, self._reader, self._is_open = self._reader, None, False
        if reader is not None:
            reader.close()

    def _start_read(self, source: Source) -> Body | Deferred[Body]:
        if not isinstance(source, ByteRange):
            return self._in_memory(source)
        if self._reader is None or not self._is_open:
            return Deferred.fromCoroutine(self._read_base(source, None))
        started = self._reader.read(source.start, source.size_bytes)
        if not isinstance(started, Deferred):
            return started
        return Deferred.fromCoroutine(self._read_base(source, started))

    async def _joined(self, found: tuple[Source, ...]) -> Body:
        fragments: list[Buffer] = []
        for source in found:
            started = self._start_read(source)
            fragments += await started if isinstance(started, Deferred) else started
        return tuple(fragments)

    async def _read_base(self, wanted: ByteRange, started: Deferred[Body] | None) -> Body:
        """A read that fails since the object was renamed is started again."""
        while True:
            base = self._base
            try:
                return await (started or self._read_opened(wanted))
            except GatewayError:
                if base is self._base or self._is_closed:
                    raise
                started = None

    async def _read_opened(self, wanted: ByteRange) -> Body:
        reader = await self._opened()
        body = reader.read(wanted.start, wanted.size_bytes)
        return await body if isinstance(body, Deferred) else body

    async def _opened(self) -> Download:
        """The reader; READs that come while it is being opened wait for that."""
        while (reader := self._reader) is None or not self._is_open:
            await (self._open_reader() if reader is None else self._opening_ended.wait())
        return reader

    async def _open_reader(self) -> None:
        base = self._base
        assert base is not None, "there is something to read"
        reader = self._reader = self._new_reader(base)
        try:
            await reader.open(may_wait=False)  # the upload may hold that memory
        except BaseException:
            self._reader = None
            self._opening_ended.notify_all(Failure())
            raise
        self._is_open = True
        if base is not self._base:
            self._drop_reader()
        elif self._is_closed:
            reader.close()
        self._opening_ended.notify_all()

    def _in_memory(self, source: Source) -> Body:
        assert not isinstance(source, ByteRange), "bytes in the base object are read from there"
        self._traffic.read_bytes += sum(map(len, source))
        return source
