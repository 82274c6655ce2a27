"""``scp -f``: files go to the client.

Knows: the source's half of the classic protocol, and the order of a tree.
Must not know: how a file is fetched, or how lines are laid out (`wire/scp`).

Rules

1. Nothing is sent before the client has answered what was sent before: its first answer asks
   for the first header. A warning skips a file or a directory, a fatal one ends everything.
2. What cannot be sent is told by a warning in its place, and the next one follows.
3. A file has as many bytes as its header says. When reading fails, what is missing is sent as
   zeros, followed by a warning, if it is at most `MAX_PADDING_BYTES`; beyond that the
   connection is worth less than the wait, and ends.
4. A directory is listed page by page while its entries are sent; one reader is open for each
   directory that has begun, at most `MAX_DEPTH`. The times of directories are told if they
   have any.
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
UNTIMED = FileAttributes(FileKind.DIRECTORY)


@dataclass(eq=False, slots=True)
class _Directory:
    """A directory that has begun, and what of its page was not sent yet."""

    path: bytes
    reader: DirectoryReader
    entries: deque[DirectoryEntry] = field(default_factory=deque)

    def path_of(self, entry: DirectoryEntry) -> bytes:
        return self.path.rstrip(b"/") + b"/" + entry.name.encode()


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """``-r``, ``-p``, and the modes to show."""

    is_recursive: bool = False
    keeps_times: bool = False
    file_mode: int = 0o644
    directory_mode: int = 0o755


class GivenUp(Exception):
    """The client has said that nothing more is of use, or we have to."""


_ENDING: tuple[type[Exception], ...] = (CancelledError, GivenUp, InputEnded, LineTooLong)


class ScpSource:
    """Sends files and trees to one client."""

    def __init__(self, console: Console, tree: FileTree, options: SourceOptions) -> None:
        self._console = console
        self._tree = tree
        self._options = options
        self._has_failed = False

    async def run(self, paths: AsyncIterator[bytes]) -> int:
        """Send what `paths` name; the exit status."""
        try:
            await self._hear_client()
            async for path in paths:
                await self._send(path)
        except GivenUp:
            return 1
        except InputEnded:
            return 1
        except CancelledError:
            raise
        except GatewayError as error:
            self.warn(self._console.explained(error))
        return int(self._has_failed)

    def warn(self, sentence: str) -> None:
        """Tell the client what is wrong with what it expects next."""
        self._has_failed = True
        self._console.write(wire.message(sentence))

    async def _hear_client(self) -> bool:
        """Whether the client agrees to what it was sent. :raises GivenUp:"""
        await self._console.ready_to_write()
        word = await self._console.byte()
        if word == wire.OK:
            return True
        self._has_failed = True
        await self._console.line(wire.MAX_LINE_BYTES)
        if word != wire.WARNING:
            raise GivenUp
        return False

    async def _say(self, header: wire.Header) -> bool:
        self._console.write(wire.encode(header))
        return await self._hear_client()

    # Trees.

    async def _send(self, path: bytes) -> None:
        """A file, or a tree from its root down."""
        begun: list[_Directory] = []
        try:
            await self._send_one(path, begun)
            while begun:
                entry = await self._next_entry(begun[-1])
                if entry is None:
                    begun.pop().reader.close()
                    await self._say(EndOfDirectory())
                    continue
                path = begun[-1].path_of(entry)
                if entry.attributes.kind is FileKind.DIRECTORY:
                    await self._skipping_errors(self._begin(path, begun, entry.attributes), path)
                else:
                    await self._skipping_errors(self._send_file(path), path)
        finally:
            for directory in begun:
                directory.reader.close()

    async def _send_one(self, path: bytes, begun: list[_Directory]) -> None:
        """Send a path that was not looked at yet; a file needs no look."""
        try:
            await self._skipping_errors(self._send_file(path), path, (IsADirectory,))
        except IsADirectory as error:
            if self._options.is_recursive:
                await self._skipping_errors(self._begin_first(path, begun), path)
            else:
                self.warn(f"{error.message}; -r copies those")

    async def _skipping_errors(
        self,
        sending: Coroutine[Any, Any, None],
        path: bytes,
        passed_on: tuple[type[Exception], ...] = (),
    ) -> None:
        """Errors become a warning, but for those that end everything."""
        try:
            await sending
        except _ENDING + passed_on:
            raise
        except Exception as error:
            self.warn(self._console.explained(error, path))

    async def _begin_first(self, path: bytes, begun: list[_Directory]) -> None:
        keeps_times = self._options.keeps_times
        found = await self._tree.stat(path) if keeps_times else UNTIMED
        await self._begin(path, begun, found)

    async def _begin(
        self, path: bytes, begun: list[_Directory], attributes: FileAttributes
    ) -> None:
        """Announce a directory; if the client agrees, its entries come next."""
        if len(begun) == MAX_DEPTH:
            raise LimitReached(f"over {MAX_DEPTH} directories inside each other")
        name = self._name(path)
        reader = await self._tree.open_directory(path)
        is_wanted = False
        try:
            header = DirectoryHeader(self._options.directory_mode, name)
            wire.encode(header)
            is_wanted = await self._say_times(attributes) and await self._say(header)
        finally:
            if is_wanted:
                begun.append(_Directory(path, reader))
            else:
                reader.close()

    async def _next_entry(self, directory: _Directory) -> DirectoryEntry | None:
        """None at the end, which an error is, too."""
        if not directory.entries:
            try:
                directory.entries.extend(await directory.reader.next_entries())
            except CancelledError:
                raise
            except Exception as error:
                self.warn(self._console.explained(error, directory.path))
        return directory.entries.popleft() if directory.entries else None

    def _name(self, path: bytes) -> bytes:
        """What the client is to call it. :raises UnfitName:"""
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
        """Tell times and size; whether the client wants the file."""
        header = FileHeader(self._options.file_mode, found.size_bytes, name)
        wire.encode(header)  # a name that cannot be sent is found out before anything is said
        return await self._say_times(found) and await self._say(header)

    async def _say_times(self, found: FileAttributes) -> bool:
        """Whether the client agrees, which it also does if there is nothing to say."""
        if not self._options.keeps_times or found.modified_seconds is None:
            return True
        seconds, micros = divmod(int(found.modified_seconds * 1_000_000), 1_000_000)
        return await self._say(Times(seconds, seconds, micros, micros))

    async def _send_content(self, reader: FileReader, size_bytes: int, path: bytes) -> None:
        """Every byte that was announced, then whether they are right, then the client's word."""
        sent_bytes, failure = await self._send_bytes(reader, size_bytes)
        if failure is None:
            self._console.write(wire.OK)
        else:
            sentence = self._console.explained(failure, path)
            await self._pad(size_bytes - sent_bytes, sentence)
            self.warn(sentence)
        await self._hear_client()

    async def _send_bytes(
        self, reader: FileReader, size_bytes: int
    ) -> tuple[int, Exception | None]:
        """How many bytes were sent, and what kept us from sending the others."""
        offset = 0
        while offset < size_bytes:
            await self._console.ready_to_write()
            try:
                data = reader.read(offset, min(READ_BYTES, size_bytes - offset))
                pieces = await data if isinstance(data, Deferred) else data
            except CancelledError:
                raise
            except Exception as error:
                return offset, error
            self._console.write(*pieces)
            offset += sum(map(len, pieces))
        return offset, None

    async def _pad(self, missing_bytes: int, sentence: str) -> None:
        """:raises GivenUp: too much is missing."""
        if missing_bytes > MAX_PADDING_BYTES:
            self._console.complain(f"scp: {sentence}")
            raise GivenUp
        while missing_bytes:
            await self._console.ready_to_write()
            piece = bytes(min(READ_BYTES, missing_bytes))
            self._console.write(piece)
            missing_bytes -= len(piece)
