"""``scp -f``: files go to the client.

Knows: the source's half of the classic protocol, and the order of a tree.
Must not know: how a file is fetched, or the format of lines (`wire/scp`).

Rules

1. Each header and each file waits for the client's reply to the one before; the first reply asks
   for the first header. A warning skips a file or a directory, a fatal error ends the transfer.
2. A warning takes the place of a file that cannot be sent, and the next one follows.
3. A file has as many bytes as its header says. When reading fails, the missing bytes are sent as
   zeros, followed by a warning, if they are at most `MAX_PADDING_BYTES`. More would take longer
   than a new connection, so the transfer ends.
4. A directory is listed page by page while its entries are sent. One reader is open for each
   directory that has begun, at most `MAX_DEPTH`. A directory's time is sent if it has one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from sftpgw.errors import GatewayError, IsADirectory, LimitReached
from sftpgw.model.filesystem import (
    DirectoryEntry,
    DirectoryReader,
    FileAttributes,
    FileKind,
    FileReader,
    FileTree,
)
from sftpgw.model.units import KIB, MIB
from sftpgw.scp.console import Console, InputEnded, LineTooLong
from sftpgw.wire import scp as wire
from sftpgw.wire.scp import DirectoryHeader, EndOfDirectory, FileHeader, Times, UnfitName

READ_BYTES = 256 * KIB
MAX_PADDING_BYTES = 16 * MIB
MAX_DEPTH = 100
NAMES_BYTES = 4 * KIB
"""How long the names are together that are unpacked at once of each directory that has begun."""
UNTIMED = FileAttributes(FileKind.DIRECTORY)


@dataclass(eq=False, slots=True)
class _Directory:
    """A directory that has begun, and the entries of its page that were not sent yet."""

    path: bytes
    reader: DirectoryReader
    entries: deque[DirectoryEntry] = field(default_factory=deque)

    def path_of(self, entry: DirectoryEntry) -> bytes:
        return self.path.rstrip(b"/") + b"/" + entry.name.encode()


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """``-r``, ``-p``, and the modes that headers show."""

    is_recursive: bool = False
    preserves_times: bool = False
    file_mode: int = 0o644
    directory_mode: int = 0o755


class TransferEnded(Exception):
    """The client, or this side, has ended the transfer with a fatal error."""


_ENDING: tuple[type[Exception], ...] = (CancelledError, TransferEnded, InputEnded, LineTooLong)


class ScpSource:
    """Sends files and trees to one client.

    :param console: the command's input and output.
    :param tree: the user's files.
    :param options: the command's options, and the modes to show.
    """

    def __init__(self, console: Console, tree: FileTree, options: SourceOptions) -> None:
        self._console = console
        self._tree = tree
        self._options = options
        self._has_failed = False

    async def run(self, paths: AsyncIterator[bytes]) -> int:
        """Send the files and directories at `paths`.

        :returns: the exit status.
        """
        try:
            await self._read_reply()
            async for path in paths:
                await self._send(path)
                await self._console.ready_to_write()  # a warning waits for no reply
        except TransferEnded:
            return 1
        except InputEnded:
            return 1
        except CancelledError:
            raise
        except GatewayError as error:
            self.warn(self._console.explain(error))
        return int(self._has_failed)

    def warn(self, sentence: str) -> None:
        """Send a warning in the place of what the client expects next."""
        self._has_failed = True
        self._console.write(wire.message(sentence))

    async def _read_reply(self) -> bool:
        """Whether the client accepts what it was sent.

        :raises TransferEnded: it replied with a fatal error.
        """
        await self._console.ready_to_write()
        reply = await self._console.byte()
        if reply == wire.OK:
            return True
        self._has_failed = True
        await self._console.line(wire.MAX_LINE_BYTES)
        if reply != wire.WARNING:
            raise TransferEnded
        return False

    async def _send_header(self, header: wire.Header) -> bool:
        self._console.write(wire.encode(header))
        return await self._read_reply()

    # Trees.

    async def _send(self, path: bytes) -> None:
        """Send a file, or a tree from its root down."""
        begun: list[_Directory] = []
        try:
            await self._send_one(path, begun)
            while begun:
                await self._console.count_line()  # a warning waits for no reply
                await self._console.ready_to_write()
                entry = await self._next_entry(begun[-1])
                if entry is None:
                    begun.pop().reader.close()
                    await self._send_header(EndOfDirectory())
                    continue
                path = begun[-1].path_of(entry)
                if entry.attributes.kind is FileKind.DIRECTORY:
                    await self._warn_on_error(self._begin(path, begun, entry.attributes), path)
                else:
                    await self._warn_on_error(self._send_file(path), path)
        finally:
            for directory in begun:
                directory.reader.close()

    async def _send_one(self, path: bytes, begun: list[_Directory]) -> None:
        """Send a path whose kind is unknown. Opening it as a file tells, without a STAT."""
        try:
            await self._warn_on_error(self._send_file(path), path, (IsADirectory,))
        except IsADirectory as error:
            if self._options.is_recursive:
                await self._warn_on_error(self._begin_first(path, begun), path)
            else:
                self.warn(f"{error.message}; -r copies directories")

    async def _warn_on_error(
        self,
        sending: Coroutine[Any, Any, None],
        path: bytes,
        except_for: tuple[type[Exception], ...] = (),
    ) -> None:
        """Send a warning for an error, but for those that end the transfer."""
        try:
            await sending
        except _ENDING + except_for:
            raise
        except Exception as error:
            self.warn(self._console.explain(error, path))

    async def _begin_first(self, path: bytes, begun: list[_Directory]) -> None:
        preserves_times = self._options.preserves_times
        found = await self._tree.stat(path) if preserves_times else UNTIMED
        await self._begin(path, begun, found)

    async def _begin(
        self, path: bytes, begun: list[_Directory], attributes: FileAttributes
    ) -> None:
        """Send the header of a directory. If the client accepts it, its entries come next."""
        if len(begun) == MAX_DEPTH:
            raise LimitReached(f"over {MAX_DEPTH} directories inside each other")
        name = self._name(path)
        preserves_times = self._options.preserves_times
        reader = await self._tree.open_directory(path, with_times=preserves_times)
        is_wanted = False
        try:
            header = DirectoryHeader(self._options.directory_mode, name)
            wire.encode(header)
            is_wanted = await self._send_times(attributes) and await self._send_header(header)
        finally:
            if is_wanted:
                begun.append(_Directory(path, reader))
            else:
                reader.close()

    async def _next_entry(self, directory: _Directory) -> DirectoryEntry | None:
        """The next entry; None at the end, or after an error."""
        if not directory.entries:
            try:
                directory.entries.extend(await directory.reader.next_entries(NAMES_BYTES))
            except CancelledError:
                raise
            except Exception as error:
                self.warn(self._console.explain(error, directory.path))
        return directory.entries.popleft() if directory.entries else None

    def _name(self, path: bytes) -> bytes:
        """The last name of a path, for a header. :raises UnfitName: the root has none."""
        name = self._tree.canonical(path).rpartition(b"/")[2]
        if not name:
            raise UnfitName("/: scp has no name for this directory; copy what is in it: /*")
        return name

    # Files.

    async def _send_file(self, path: bytes) -> None:
        reader = await self._tree.open_reader(path)
        try:
            found = await reader.attributes()
            if await self._announce(self._name(path), found):
                await self._send_content(reader, found.size_bytes, path)
        finally:
            reader.close()

    async def _announce(self, name: bytes, found: FileAttributes) -> bool:
        """Send times and size.

        :returns: whether the client wants the file.
        """
        header = FileHeader(self._options.file_mode, found.size_bytes, name)
        wire.encode(header)  # raises for a name that no header can have, before anything is sent
        return await self._send_times(found) and await self._send_header(header)

    async def _send_times(self, found: FileAttributes) -> bool:
        """Send the times, if asked for and known.

        :returns: whether the client goes on.
        """
        if not self._options.preserves_times or found.modified_seconds is None:
            return True
        seconds, micros = divmod(int(found.modified_seconds * 1_000_000), 1_000_000)
        return await self._send_header(Times(seconds, seconds, micros, micros))

    async def _send_content(self, reader: FileReader, size_bytes: int, path: bytes) -> None:
        """Send every announced byte, then whether they are right, and read the client's reply."""
        sent_bytes, failure = await self._send_bytes(reader, size_bytes)
        if failure is None:
            self._console.write(wire.OK)
        else:
            sentence = self._console.explain(failure, path)
            await self._pad(size_bytes - sent_bytes, sentence)
            self.warn(sentence)
        await self._read_reply()

    async def _send_bytes(
        self, reader: FileReader, size_bytes: int
    ) -> tuple[int, Exception | None]:
        """Send bytes until all are sent or reading fails.

        :returns: how many were sent, and the error; None if there was none.
        """
        offset = 0
        while offset < size_bytes:
            await self._console.ready_to_write()
            try:
                data = reader.read(offset, min(READ_BYTES, size_bytes - offset))
                buffers = await data if isinstance(data, Deferred) else data
            except CancelledError:
                raise
            except Exception as error:
                return offset, error
            self._console.write(*buffers)
            offset += sum(map(len, buffers))
        return offset, None

    async def _pad(self, missing_bytes: int, sentence: str) -> None:
        """Send zeros for the missing bytes. :raises TransferEnded: there are too many."""
        if missing_bytes > MAX_PADDING_BYTES:
            self._console.complain(f"scp: {sentence}")
            raise TransferEnded
        while missing_bytes:
            await self._console.ready_to_write()
            zeros = bytes(min(READ_BYTES, missing_bytes))
            self._console.write(zeros)
            missing_bytes -= len(zeros)
