"""``scp -t``: files come from the client.

Knows: the sink's half of the classic protocol, and which path a header means.
Must not know: how a file is uploaded, or the format of lines (`wire/scp`).

Rules

1. If the target is a directory, headers name entries of it. Otherwise the target is the name of
   the one file or tree that comes. With ``-d`` it must be a directory.
2. Every header and every file gets one reply. An error of one file or directory is its reply, a
   warning, and the next one follows. A malformed line ends the transfer, since the bytes behind it
   cannot be understood.
3. A file is published when every announced byte has come and the source confirms that it could
   read them all. Otherwise it is abandoned: after a lost channel, EOF, or an error of either
   side. Once publishing has begun, a lost channel does not stop it.
   libssh2, and so curl, sends EOF instead of the confirmation. With every byte here, and without
   ``-r`` and ``-d``, EOF confirms.
4. When an upload has failed, the rest of the file is read and dropped: the protocol has no
   other way to the next file.
5. The upload gets the announced size, chooses its part sizes by it, and refuses at once a file
   that can never be stored. Like OpenSSH's sink, this one does not truncate an existing file when
   it opens it: the file stays the same (`files/uploads/open_mode`), and gets its size at the end.
6. Directories nest as deep as keys can be long. The sink remembers their paths.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass

from twisted.internet.defer import CancelledError

from sftpgw.errors import (
    AccessDenied,
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
    """``-r``; and ``-d``: there are several sources, so that the target must be a directory."""

    is_recursive: bool = False
    must_be_directory: bool = False


class ScpSink:
    """Stores the files that one client sends.

    :param console: the command's input and output.
    :param tree: the user's files.
    :param target: the path to store them at.
    :param options: the command's options.
    """

    def __init__(
        self, console: Console, tree: FileTree, target: bytes, options: SinkOptions
    ) -> None:
        self._console = console
        self._tree = tree
        self._target = target
        self._options = options
        self._target_is_directory = False
        self._inside: list[bytes] = []
        """The directories that have begun and not ended, as whole paths."""
        self._times_inside: list[Times | None] = []
        self._times: Times | None = None
        self._has_failed = False

    async def run(self) -> int:
        """Serve the client until its input ends.

        :returns: the exit status.
        """
        try:
            await self._look_at_target()
            self._console.write(wire.OK)
            while (line := await self._console.line(wire.MAX_LINE_BYTES)) is not None:
                await self._handle(wire.parse_line(line))
        except (MalformedLine, LineTooLong) as error:
            return self._give_up(f"protocol error: {self._console.explain(error)}")
        except CancelledError:
            raise
        except GatewayError as error:
            return self._give_up(self._console.explain(error, self._target))
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
        except AccessDenied:  # the store does not tell: it is what the client takes it for
            self._target_is_directory = self._options.must_be_directory
            return
        self._target_is_directory = found.kind is FileKind.DIRECTORY
        if self._options.must_be_directory and not self._target_is_directory:
            raise NotADirectory("is not a directory")

    # Headers.

    async def _handle(self, header: wire.Header) -> None:
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
                await self._confirm(self._enter_directory(header), header.name)
            case FileHeader():
                await self._take_file(header)

    async def _confirm(self, doing: Awaitable[None], name: bytes) -> None:
        """Reply OK when `doing` has succeeded, or else a warning."""
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
        self._console.write(wire.message(self._console.explain(error, name)))

    def _path(self, name: bytes) -> bytes:
        """The path that a header's name means."""
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
        """Make a directory if it is missing. Without that permission, one that exists will do.

        Where the user sees nothing, any will: it exists once a file is stored in it.
        """
        try:
            await self._tree.make_directory(path)
        except FileError as error:
            try:
                await self._tree.stat(path + b"/")
            except NoSuchFile:
                raise error from None
            except NotADirectory:
                raise NotADirectory("is not a directory") from None

    async def _leave_directory(self) -> None:
        """Set the directory's time behind its last entry, if the user may."""
        if not self._inside:
            raise MalformedLine("the end of a directory that has not begun")
        path, times = self._inside.pop(), self._times_inside.pop()
        if times is None:
            self._console.write(wire.OK)
        else:
            await self._confirm(self._set_times(path, times), path.rpartition(b"/")[2])

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
        await self._confirm(self._receive(writer, header.size_bytes), header.name)

    async def _receive(self, writer: FileWriter, size_bytes: int) -> None:
        """Write all bytes, read the source's confirmation, and publish.

        :raises FileError: nothing was stored.
        """
        try:
            failure = await self._receive_bytes(writer, size_bytes)
            await self._read_status()
            if failure is not None:
                raise failure
            await writer.set_attributes(AttributeChanges(size_bytes=size_bytes))
        except BaseException:
            await writer.abandon()
            raise
        await writer.commit()

    async def _receive_bytes(self, writer: FileWriter, size_bytes: int) -> Exception | None:
        """Write the announced bytes.

        :returns: the error that kept them from being written; None if there was none.
        """
        failure: Exception | None = None
        offset = 0
        while offset < size_bytes:
            buffers = await self._console.take(size_bytes - offset)
            taken_bytes = sum(map(len, buffers))
            if failure is None:
                try:
                    if (room := writer.write(offset, *buffers)) is not None:
                        await room
                except CancelledError:
                    raise
                except Exception as error:
                    failure = error
                    await writer.abandon()
            del buffers
            self._console.credit(taken_bytes)
            offset += taken_bytes
        return failure

    async def _read_status(self) -> None:
        """Read whether the source could read the whole file. :raises FileError: it could not."""
        try:
            status = await self._console.byte()
        except InputEnded:
            if self._options.is_recursive or self._options.must_be_directory:
                raise
            return
        if status == wire.OK:
            return
        if status not in (wire.WARNING, wire.FATAL):
            raise MalformedLine("more bytes than were announced")
        if await self._console.line(wire.MAX_LINE_BYTES) is None:
            raise InputEnded
        raise FileError(SHORT)


def _seconds(times: Times) -> float:
    return times.modified_seconds + times.modified_microseconds / 1_000_000
