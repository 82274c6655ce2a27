"""What each kind of request does: one handler a kind.

Knows: which call of the file server a request asks for, which handle it has, and which paths it
touches.
Must not know: packets, how many requests may be pending, how a reply is sent, or what an error
means (`sftp/statuses`).

A handler returns the reply, or a Deferred of it, or raises.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from sftpgw.aio.work.scheduler import WorkShare
from sftpgw.errors import EndOfFile, Unsupported
from sftpgw.model.events import EventSink
from sftpgw.model.events.gateway_events import Defect
from sftpgw.model.filesystem import Cork
from sftpgw.model.messages import readable
from sftpgw.sftp import replies
from sftpgw.sftp.contracts import Eventual, IGatewayDirectory, IGatewayFile
from sftpgw.sftp.extensions import EXTENSIONS
from sftpgw.sftp.handler_context import HandlerContext
from sftpgw.sftp.handles import OpenDirectory, OpenFile
from sftpgw.sftp.replies import Reply
from sftpgw.sftp.request_order.plan import Access
from sftpgw.sftp.request_order.sequencer import Paths, access_of_change, touched_paths
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag

T = TypeVar("T")

_FOR_WRITING = OpenFlag.WRITE | OpenFlag.CREAT | OpenFlag.TRUNC


class RequestHandlers:
    """The handlers of one SFTP channel.

    :param context: what the handlers and the extensions of the channel share.
    :param events: is told what fails while files are abandoned.
    :param cork: holds replies back while several READs are answered, so that they leave together.
    :param on_closed: is called with a handle that CLOSE has removed.
    :param work: hands out CPU time to what ends with the channel.
    """

    def __init__(
        self,
        context: HandlerContext,
        events: EventSink,
        *,
        cork: Cork,
        on_closed: Callable[[bytes], None],
        work: WorkShare,
    ) -> None:
        self._work = work
        self._context = context
        self._server = context.server
        self._handles = context.handles
        self._sequencer = context.sequencer
        self._handle_order = context.handle_order
        self._events = events
        self._cork = cork
        self._on_closed = on_closed
        self._is_lost = False
        self._opening_to_read: set[Deferred[IGatewayFile]] = set()

    def connection_lost(self) -> None:
        """Drop what waits and abandon what is open.

        An OPEN for reading may wait for memory and is cancelled. An OPEN for writing may have
        claimed something in the store, so it goes on, and what it opens is abandoned. Lookups go on
        as well: a request to the store that is cancelled costs its connection.
        """
        self._is_lost = True
        self._sequencer.drop()
        self._handle_order.drop()
        self._cork = nullcontext  # which led back to the channel: no cycle is left
        ending = Deferred.fromCoroutine(
            self._end_all(tuple(self._opening_to_read), tuple(self._handles.clear()))
        )
        ending.addErrback(lambda failure: self._events.emit(Defect(where="end", failure=failure)))

    async def _end_all(
        self,
        to_read: tuple[Deferred[IGatewayFile], ...],
        opened: tuple[OpenFile | OpenDirectory, ...],
    ) -> None:
        """Give up what is open, in turns: hundreds may be."""
        for opening in to_read:
            await self._step()
            opening.cancel()
        for each in opened:
            await self._step()
            self.abandon(each)

    async def _step(self) -> None:
        if self._work.is_late():
            await self._work.next_step("ends")

    def abandon(self, opened: OpenFile | OpenDirectory) -> None:
        """Close without publishing. The client does not hear of errors; the log does."""
        maybeDeferred(_abandon, opened).addErrback(
            lambda failure: self._events.emit(Defect(where="abandon", failure=failure))
        )

    # Files and directories.

    def open(self, request: wire.Open) -> Eventual[Reply]:
        may_change = bool(request.flags & _FOR_WRITING)
        is_written = bool(request.flags & OpenFlag.WRITE)

        def open_file() -> Eventual[IGatewayFile]:
            opening = self._server.openFile(request.path, request.flags, request.attributes)
            return opening if may_change else self._cancelled_if_lost(opening)

        def describe(file: IGatewayFile) -> OpenFile:
            file.corkWith(self._cork)
            return OpenFile(request.path, file, is_written=is_written)

        access = Access.OPEN if may_change else Access.READ
        return self._open(access, request, open_file, describe)

    def open_directory(self, request: wire.OnPath) -> Eventual[Reply]:
        def open_directory() -> Eventual[IGatewayDirectory]:
            return self._server.openDirectory(request.path)

        def describe(directory: IGatewayDirectory) -> OpenDirectory:
            return OpenDirectory(request.path, directory)

        return self._open(Access.LOOK, request, open_directory, describe)

    def _open(
        self,
        access: Access,
        request: wire.Open | wire.OnPath,
        begin: Callable[[], Eventual[Any]],
        describe: Callable[[Any], OpenFile | OpenDirectory],
    ) -> Deferred[Reply]:
        """Open something after the earlier requests for its path.

        It counts against the limit of handles from now on.
        """
        paths = touched_paths(request.path)
        self._handles.reserve()

        def unreserve(failure: Failure) -> Failure:
            self._handles.unreserve()
            return failure

        def add(opened: Any) -> Reply:
            if self._is_lost:
                self._handles.unreserve()
                self.abandon(describe(opened))
                return ()
            return (wire.handle(request.request_id, self._handles.add(describe(opened))),)

        opening: Deferred[Any] = maybeDeferred(self._sequencer.run, access, paths, begin)
        return opening.addCallbacks(add, unreserve)

    def _cancelled_if_lost(self, opening: Eventual[IGatewayFile]) -> Eventual[IGatewayFile]:
        if not isinstance(opening, Deferred):
            return opening

        def discard(outcome: T) -> T:
            self._opening_to_read.discard(opening)
            return outcome

        self._opening_to_read.add(opening)
        return opening.addBoth(discard)

    def read(self, request: wire.Read) -> Eventual[Reply]:
        file = self._handles.file(request.handle).file
        length = min(request.length, wire.MAX_READ_BYTES)
        if not length:  # asyncssh's read() at the end of a file; OpenSSH's server replies so
            return wire.data(request.request_id, ())
        content = file.readChunk(request.offset, length)
        if not isinstance(content, Deferred):
            return wire.data(request.request_id, content)
        return content.addCallback(lambda content: wire.data(request.request_id, content))

    def write(self, request: wire.Write) -> Eventual[Reply]:
        opened = self._handles.file(request.handle)

        def write() -> Eventual[Reply]:
            written = opened.file.writeChunk(request.offset, request.data)
            if written is None:
                return wire.ok(request.request_id)
            return replies.confirm(written, request.request_id)

        # `behind` checks the same. This saves a call for each WRITE.
        return self._handle_order.behind(opened, write) if opened.ordered_requests else write()

    def change_handle(self, request: wire.ChangeHandle) -> Eventual[Reply]:
        """FSETSTAT."""
        opened = self._handles.file(request.handle)

        def change() -> Eventual[Reply]:
            return replies.confirm(opened.file.setAttrs(request.attributes), request.request_id)

        if opened.is_written:
            return self._handle_order.behind(opened, change)
        # A file that is only read is stored: its time changes by name.
        paths = touched_paths(opened.path) if "mtime" in request.attributes else ()
        return self._sequencer.run(Access.CHANGE, paths, change)

    def on_handle(self, request: wire.OnHandle) -> Eventual[Reply]:
        """READDIR, FSTAT and CLOSE."""
        if request.kind is Kind.READDIR:
            return Deferred.fromCoroutine(self._read_directory(request))
        if request.kind is Kind.FSTAT:
            found = self._handles.file(request.handle).file.getAttrs()
            return replies.then(found, lambda found: replies.attributes(request.request_id, found))
        return self._close(request)

    def _close(self, request: wire.OnHandle) -> Eventual[Reply]:
        opened = self._handles.remove(request.handle)
        self._on_closed(request.handle)
        if isinstance(opened, OpenDirectory):
            opened.directory.close()
            return wire.ok(request.request_id)
        if not opened.ordered_requests:
            return self._close_file(opened.file, request)

        def on_dropped(failure: Failure) -> Failure:
            if self._is_lost:
                self.abandon(opened)  # bytes that the client sent before may be missing
            return failure

        closed = self._handle_order.run((opened,), lambda: self._close_file(opened.file, request))
        return closed.addErrback(on_dropped)

    def _close_file(self, file: IGatewayFile, request: wire.OnHandle) -> Eventual[Reply]:
        return self._sequencer.run(
            Access.CLOSE,
            _published_paths(file),
            lambda: replies.confirm(file.close(), request.request_id),
            current_paths=lambda: _published_paths(file),
        )

    async def _read_directory(self, request: wire.OnHandle) -> Reply:
        opened = self._handles.directory(request.handle)
        await opened.lock.acquire()
        try:
            if not opened.pending_entries:
                opened.pending_entries.extend(await opened.directory.nextEntries())
            if not opened.pending_entries:
                raise EndOfFile("end of directory")
            return replies.entries(request.request_id, opened)
        finally:
            opened.lock.release()

    # Paths.

    def on_path(self, request: wire.OnPath) -> Eventual[Reply]:
        """STAT, LSTAT, OPENDIR, REALPATH, READLINK, REMOVE and RMDIR."""
        server, path, request_id = self._server, request.path, request.request_id
        match request.kind:
            case Kind.STAT | Kind.LSTAT:
                return self._stat(request)
            case Kind.OPENDIR:
                return self.open_directory(request)
            case Kind.REALPATH:
                return replies.then(server.realPath(path), lambda p: replies.path(request_id, p))
            case Kind.READLINK:
                return replies.then(server.readLink(path), lambda p: replies.path(request_id, p))
            case Kind.REMOVE:
                return self._change(request, lambda: server.removeFile(path), path)
        return self._change(request, lambda: server.removeDirectory(path), path)

    def _stat(self, request: wire.OnPath) -> Eventual[Reply]:
        def stat() -> Eventual[Reply]:
            found = self._server.getAttrs(request.path, request.kind is Kind.STAT)
            return replies.then(found, lambda found: replies.attributes(request.request_id, found))

        paths = touched_paths(request.path)
        is_root = paths == ((),)  # it exists, so that no earlier request matters
        return self._sequencer.run(Access.LOOK, () if is_root else paths, stat)

    def on_two_paths(self, request: wire.OnTwoPaths) -> Eventual[Reply]:
        """RENAME and SYMLINK."""
        first, second = request.first, request.second
        if request.kind is not Kind.RENAME:
            return replies.confirm(self._server.makeLink(first, second), request.request_id)
        return self._change(request, lambda: self._server.renameFile(first, second), first, second)

    def change_path(self, request: wire.ChangePath) -> Eventual[Reply]:
        """MKDIR and SETSTAT."""
        path, attributes = request.path, request.attributes
        if request.kind is Kind.MKDIR:
            return self._change(request, lambda: self._server.makeDirectory(path, attributes), path)
        return self._sequencer.run(
            access_of_change(attributes),
            touched_paths(path),
            lambda: replies.confirm(self._server.setAttrs(path, attributes), request.request_id),
        )

    def _change(
        self, request: Any, change: Callable[[], Deferred[None] | None], *paths: bytes
    ) -> Eventual[Reply]:
        return self._sequencer.run(
            Access.CHANGE,
            touched_paths(*paths),
            lambda: replies.confirm(change(), request.request_id),
        )

    def extended(self, request: wire.Extended) -> Eventual[Reply]:
        if request.name not in EXTENSIONS:
            raise Unsupported(f"extension {readable(request.name[:64])} is not supported")
        _, handler = EXTENSIONS[request.name]
        return handler(self._context, request)

    def unknown(self, request: wire.Unknown) -> Reply:
        raise Unsupported(f"SFTP version 3 has no packet of type {request.number}")


HANDLERS: dict[type, Callable[[RequestHandlers, Any], Eventual[Reply]]] = {
    wire.Write: RequestHandlers.write,
    wire.Read: RequestHandlers.read,
    wire.Open: RequestHandlers.open,
    wire.OnHandle: RequestHandlers.on_handle,
    wire.OnPath: RequestHandlers.on_path,
    wire.ChangeHandle: RequestHandlers.change_handle,
    wire.ChangePath: RequestHandlers.change_path,
    wire.OnTwoPaths: RequestHandlers.on_two_paths,
    wire.Extended: RequestHandlers.extended,
    wire.Unknown: RequestHandlers.unknown,
}


def _published_paths(file: IGatewayFile) -> Paths:
    """The path that CLOSE of a file touches; none if it publishes nothing."""
    path = file.publishedPath()
    return () if path is None else touched_paths(path)


def _abandon(opened: OpenFile | OpenDirectory) -> Deferred[None] | None:
    if isinstance(opened, OpenFile):
        return opened.file.abandon()
    opened.directory.close()
    return None
