"""``scp -t``: files come from the client.

Knows: the sink's half of the classic protocol, and which path a header means.
Must not know: how a file is uploaded, or how lines are laid out (`wire/scp`).

Rules

1. The target is a directory if it is one, and then headers name what comes into it; else it
   is the name of the one file or tree that comes. With ``-d`` it has to be a directory.
2. Every header and every file gets one answer. What goes wrong with one file or directory is
   its answer, a warning, and the next one follows; a malformed line ends the command, since
   the bytes behind it may be anything.
3. A file is published when every announced byte is here and the source says that it could read
   them all. Otherwise it is abandoned: with the client's loss, its EOF, or an error of either
   side. Once publishing has begun, a client's loss does not stop it.
   libssh2, and so curl, says nothing behind its one file but EOF: with every byte here, and
   neither ``-r`` nor ``-d``, that counts as its word.
4. When an upload has failed, the rest of the file is read and dropped: the protocol has no
   other way to the next file.
5. The announced size goes to the upload, which picks its parts by it, and refuses at once what
   can never be stored. A file that exists is not truncated at its opening, as OpenSSH's sink does
   it: it stays the same file (`files/uploads/open_mode`), and is cut or lengthened to that size at
   its end.
6. Directories nest as deep as keys can be long; what the sink keeps is their path.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass

from twisted.internet.defer import CancelledError

from sftpgw.errors import (
    AccessDenied,
    AlreadyExists,
    FileError,
    GatewayError,
    NoSuchFile,
    NotADirectory,
    PermissionDenied,
)
from sftpgw.model.filesystem import AttributeChanges, FileKind, FileTree, FileWriter, WriteIntent
from sftpgw.scp.console import Console, InputEnded, LineTooLong
from sftpgw.wire import scp as wire
from sftpgw.wire.scp import (
    DirectoryHeader,
    EndOfDirectory,
    FileHeader,
    MalformedLine,
    Message,
    Times,
)

SHORT = "the client could not read the file to its end; nothing was stored"


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """``-r``, and ``-d``: several sources are on their way."""

    is_recursive: bool = False
    must_be_directory: bool = False


class ScpSink:
    """Takes what one client sends into `target`."""

    def __init__(
        self, console: Console, tree: FileTree, target: bytes, options: SinkOptions
    ) -> None:
        self._console = console
        self._tree = tree
        self._target = target
        self._options = options
        self._target_is_directory = False
        self._inside: list[bytes] = []
        """The directories that have begun, as whole paths."""
        self._times_inside: list[Times | None] = []
        self._times: Times | None = None
        self._has_failed = False

    async def run(self) -> int:
        """The exit status."""
        try:
            await self._look_at_target()
            self._console.write(wire.OK)
            while (line := await self._console.line(wire.MAX_LINE_BYTES)) is not None:
                await self._obey(wire.parse_line(line))
        except (MalformedLine, LineTooLong) as error:
            return self._give_up(f"protocol error: {self._console.explained(error)}")
        except CancelledError:
            raise
        except GatewayError as error:
            return self._give_up(self._console.explained(error, self._target))
        return int(self._has_failed or bool(self._inside))

    def _give_up(self, sentence: str) -> int:
        self._console.write(wire.message(sentence, is_fatal=True))
        return 1

    async def _look_at_target(self) -> None:
        """:raises FileError: it has to be a directory and is none."""
        try:
            found = await self._tree.stat(self._target)
        except NoSuchFile:
            if self._options.must_be_directory:
                raise
            return
        except AccessDenied:  # the store does not tell: then it is what the client takes it for
            self._target_is_directory = self._options.must_be_directory
            return
        self._target_is_directory = found.kind is FileKind.DIRECTORY
        if self._options.must_be_directory and not self._target_is_directory:
            raise NotADirectory("is not a directory")

    # Headers.

    async def _obey(self, header: wire.Header) -> None:
        match header:
            case Message(is_fatal, _):
                self._has_failed = True
                if is_fatal:
                    raise InputEnded
            case Times():
                self._times = header
                self._console.write(wire.OK)
            case EndOfDirectory():
                await self._leave_directory()
            case DirectoryHeader():
                await self._answer(self._enter_directory(header), header.name)
            case FileHeader():
                await self._take_file(header)

    async def _answer(self, doing: Awaitable[None], name: bytes) -> None:
        """OK once it is done, or a warning."""
        try:
            await doing
        except (CancelledError, InputEnded, MalformedLine, LineTooLong):
            raise
        except Exception as error:
            self._warn(error, name)
        else:
            self._console.write(wire.OK)

    def _warn(self, error: Exception, name: bytes) -> None:
        self._has_failed = True
        self._console.write(wire.message(self._console.explained(error, name)))

    def _path(self, name: bytes) -> bytes:
        """Where a header's name leads to."""
        if self._inside:
            return self._inside[-1] + b"/" + name
        if self._target_is_directory:
            return self._target.rstrip(b"/") + b"/" + name
        return self._target

    # Directories.

    async def _enter_directory(self, header: DirectoryHeader) -> None:
        times, self._times = self._times, None
        if not self._options.is_recursive:
            raise MalformedLine("a directory comes, and -r was not asked for")
        path = self._path(header.name)
        await self._make_directory(path)
        self._inside.append(path)
        self._times_inside.append(times)

    async def _make_directory(self, path: bytes) -> None:
        """Make it, unless it exists; users who may not make directories can use existing ones."""
        try:
            await self._tree.make_directory(path)
        except FileError as error:
            try:
                found = await self._tree.stat(path)
            except NoSuchFile:
                raise error from None
            if found.kind is FileKind.DIRECTORY:
                return
            if isinstance(error, AlreadyExists):
                raise NotADirectory("is not a directory") from None
            raise

    async def _leave_directory(self) -> None:
        """Set its time after its last entry; a user without that permission goes without."""
        if not self._inside:
            raise MalformedLine("the end of a directory that has not begun")
        path, times = self._inside.pop(), self._times_inside.pop()
        if times is None:
            self._console.write(wire.OK)
        else:
            await self._answer(self._set_times(path, times), path.rpartition(b"/")[2])

    async def _set_times(self, path: bytes, times: Times) -> None:
        with suppress(PermissionDenied):
            changes = AttributeChanges(modified_seconds=_seconds(times))
            await self._tree.set_attributes(path + b"/", changes)

    # Files.

    async def _take_file(self, header: FileHeader) -> None:
        times, self._times = self._times, None
        modified_seconds = None if times is None else _seconds(times)
        try:
            writer = await self._tree.open_writer(
                self._path(header.name),
                WriteIntent(truncate=False, expected_bytes=header.size_bytes),
                AttributeChanges(modified_seconds=modified_seconds),
            )
        except CancelledError:
            raise
        except Exception as error:
            self._warn(error, header.name)
            return
        self._console.write(wire.OK)
        await self._answer(self._receive(writer, header.size_bytes), header.name)

    async def _receive(self, writer: FileWriter, size_bytes: int) -> None:
        """All bytes into `writer`, then the source's word, then the end.

        :raises FileError: nothing was stored.
        """
        try:
            failure = await self._receive_bytes(writer, size_bytes)
            await self._hear_source()
            if failure is not None:
                raise failure
            await writer.set_attributes(AttributeChanges(size_bytes=size_bytes))
        except BaseException:
            await writer.abandon()
            raise
        await writer.commit()

    async def _receive_bytes(self, writer: FileWriter, size_bytes: int) -> Exception | None:
        """The bytes that were announced; why they could not be kept, if so."""
        failure: Exception | None = None
        offset = 0
        while offset < size_bytes:
            pieces = await self._console.take(size_bytes - offset)
            taken_bytes = sum(map(len, pieces))
            if failure is None:
                try:
                    if (room := writer.write(offset, *pieces)) is not None:
                        await room
                except CancelledError:
                    raise
                except Exception as error:
                    failure = error
                    await writer.abandon()
            del pieces
            self._console.credit(taken_bytes)
            offset += taken_bytes
        return failure

    async def _hear_source(self) -> None:
        """:raises FileError: what came is not the file."""
        try:
            word = await self._console.byte()
        except InputEnded:
            if self._options.is_recursive or self._options.must_be_directory:
                raise
            return
        if word == wire.OK:
            return
        if word not in (wire.WARNING, wire.FATAL):
            raise MalformedLine("more bytes than were announced")
        if await self._console.line(wire.MAX_LINE_BYTES) is None:
            raise InputEnded
        raise FileError(SHORT)


def _seconds(times: Times) -> float:
    return times.modified_seconds + times.modified_microseconds / 1_000_000
