"""The SFTP server protocol.

Knows: framing, the order of requests, and that each gets one answer.
Must not know: what a request does (`sftp/server`), or what its errors mean
(`sftp/statuses`).

Rules

1. INIT comes first, once, and is answered with version 3. Before it nothing is
   accepted, and a second one is refused.
2. Every other request gets exactly one answer: by its handler in `HANDLERS`, or
   a STATUS for whatever was raised. Malformed and unknown requests too.
3. Requests are begun in the order in which they came, but for those that touch a path:
   these wait for earlier ones that they conflict with (`sftp/request_order/plan`), and others
   overtake
   them. They go on side by side; their answers may overtake each other (section 3 of the
   draft). A file object sees the calls on its handle in order, and keeps it. CLOSE takes the
   handle away as it comes.
4. At most `MAX_PENDING` requests and `MAX_PENDING_READ_BYTES` are under way, or wait, at
   once, and none is begun while the client does not take its answers. The
   channel is credited a request's bytes when it is begun, a WRITE's when it is
   answered: so the client stops when we do.
5. So many requests are begun in one turn of the reactor, which others wait for.
6. A frame of an absurd length loses the stream: the channel is closed.
7. A lost channel abandons what is open, and drops what waits. CLOSE publishes. They are two
   doors. It gives up an OPEN for reading at once: that may stand in line for memory. One for
   writing may have laid claim to something, and is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias, TypeVar

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.python.failure import Failure

from sftpgw.errors import EndOfFile, InvalidHandle, NoSuchFile, NoSuchObject, Unsupported
from sftpgw.model.clock import Clock, DelayedCall
from sftpgw.model.events import EventSink
from sftpgw.model.messages import readable
from sftpgw.model.subsystem import SubsystemTransport
from sftpgw.model.units import Body, Buffer
from sftpgw.sftp.close_hold import CloseHold
from sftpgw.sftp.contracts import Eventual, IGatewayDirectory, IGatewayFile, IGatewayServer
from sftpgw.sftp.extensions import EXTENSIONS, ExtensionContext
from sftpgw.sftp.handles import Handles, OpenDirectory, OpenFile
from sftpgw.sftp.refusal_log import RefusalLog
from sftpgw.sftp.request_order.plan import Access
from sftpgw.sftp.request_order.sequencer import HandleOrder, Paths, Sequencer, changing, touched
from sftpgw.sftp.statuses import is_foreseen, status_of
from sftpgw.wire import frames
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, Malformed, OpenFlag, Status

MAX_PENDING = 256
MAX_PENDING_READ_BYTES = 4 * 1024 * 1024
"""What READs under way will bring, with the answers that the client has not taken yet."""

REQUESTS_PER_TURN = 400
"""At about 30 microseconds each. A packet of 256 KiB may hold 29,000."""

OUTBOX_BYTES = 256 * 1024
"""Answers that come while requests are begun leave together, so many bytes at a time."""

T = TypeVar("T")

Answer: TypeAlias = Body
"""A reply in pieces, so that the bytes of a DATA need not be joined to its header."""


class SFTPProtocol:
    """Implements `interfaces.Subsystem` on an `IGatewayServer`.

    :param random_bytes: a source of randomness for the names of handles.
    :param close_wait_seconds: so long does CLOSE wait for a time (`sftp/close_hold`); None: never.
    """

    def __init__(
        self,
        server: IGatewayServer,
        *,
        max_handles: int,
        random_bytes: Callable[[int], bytes],
        events: EventSink,
        clock: Clock,
        close_wait_seconds: float | None = None,
    ) -> None:
        self._server = server
        self._events = events
        self._clock = clock
        self._handles = Handles(max_handles, random_bytes)
        self._sequencer = Sequencer()
        self._handle_order = HandleOrder()
        self._close_hold = CloseHold(
            close_wait_seconds, clock, lambda request: self._carry_out(request, 0)
        )
        self._frames = frames.Frames()
        self._transport: SubsystemTransport
        self._has_begun = False
        self._input_has_ended = False
        self._is_lost = False
        self._stream_is_lost = False
        self._is_paused = False
        self._next_turn: DelayedCall | None = None
        self._is_working = False
        self._refusals = RefusalLog(events)
        self._pending = 0
        self._pending_read_bytes = 0
        self._opening_to_read: set[Deferred[IGatewayFile]] = set()
        self._outbox: list[Buffer] = []
        self._outbox_bytes = 0

    # Subsystem.

    @property
    def is_busy(self) -> bool:
        is_held = self._close_hold.is_holding
        return self._pending > 0 or self._next_turn is not None or is_held

    def makeConnection(self, transport: SubsystemTransport) -> None:
        self._transport = transport

    def dataReceived(self, data: bytes | memoryview) -> None:
        if self._frames.feed(data):
            self._work()

    def inputEnded(self) -> None:
        self._input_has_ended = True
        self._work()

    def connectionLost(self, reason: Any) -> None:
        self._is_lost = True
        if self._next_turn is not None:
            self._next_turn.cancel()
        self._close_hold.release()
        self._refusals.all_ended()
        self._sequencer.drop()
        self._handle_order.drop()
        for opening in tuple(self._opening_to_read):
            opening.cancel()
        for opened in self._handles.clear():
            self._abandon(opened)

    def pauseProducing(self) -> None:
        self._is_paused = True

    def resumeProducing(self) -> None:
        self._is_paused = False
        self._work()

    # From frames to answers.

    def _work(self) -> None:
        """Begin what may be begun. Answers that come at once lead back here: no recursion."""
        if self._is_working or self._next_turn is not None:
            return
        self._is_working = True
        try:
            nothing_left = self._begin_all()
        finally:
            self._is_working = False
            self._send_outbox()
        if nothing_left:
            self._finish_if_done()

    @contextmanager
    def _cork(self) -> Iterator[None]:
        """Answers that come in here leave together, and with those to what is begun next."""
        if self._is_working:
            yield
            return
        self._is_working = True
        try:
            yield
        finally:
            self._is_working = False
            self._work()

    def _begin_all(self) -> bool:
        """Whether all that has come has been begun."""
        begun = 0
        while self._may_begin():
            if begun == REQUESTS_PER_TURN:
                self._next_turn = self._clock.callLater(0, self._take_turn)
                return False
            begun += 1
            try:
                frame = self._frames.next()
            except frames.FramingLost as error:
                self._lose_stream(error.message)
                return False
            if frame is None:
                return True
            self._begin(frame)
        return False

    def _take_turn(self) -> None:
        self._next_turn = None
        self._work()

    def _may_begin(self) -> bool:
        return (
            not (self._is_lost or self._stream_is_lost or self._is_paused)
            and self._pending < MAX_PENDING
            and self._pending_read_bytes + self._transport.unsent_bytes < MAX_PENDING_READ_BYTES
        )

    def _begin(self, frame: frames.Frame) -> None:
        size_bytes = frame.size_bytes
        try:
            request = wire.parse_request(frame)
        except Malformed as error:
            self._transport.consumed(size_bytes)
            self._refuse_malformed(error, frame)
            return
        if not self._has_begun or isinstance(request, wire.Init):
            self._transport.consumed(size_bytes)
            self._negotiate(request)
            return
        credit_bytes = size_bytes if isinstance(request, wire.Write) else 0
        if not credit_bytes:
            self._transport.consumed(size_bytes)
        self._close_hold.release(behind=request)
        if not self._holds(request):
            self._carry_out(request, credit_bytes)

    def _holds(self, request: Any) -> bool:
        if not _is_close(request):
            return False
        opened = self._handles.find(request.handle)
        return isinstance(opened, OpenFile) and self._close_hold.hold(request, opened.file)

    def _carry_out(self, request: Any, credit_bytes: int) -> None:
        try:
            answer = HANDLERS[type(request)](self, request)
        except Exception:
            answer = self._explained(request, Failure())
        if isinstance(answer, Deferred):
            self._await(answer, request, credit_bytes)
        else:
            self._answer(answer, credit_bytes)

    def _await(self, answer: Deferred[Answer], request: Any, credit_bytes: int) -> None:
        is_read = isinstance(request, wire.Read)
        read_bytes = min(request.length, wire.MAX_READ_BYTES) if is_read else 0
        self._pending += 1
        self._pending_read_bytes += read_bytes

        def explained(failure: Failure) -> Answer:
            return self._explained(request, failure)

        def answered(pieces: Answer) -> None:
            self._pending -= 1
            self._pending_read_bytes -= read_bytes
            self._answer(pieces, credit_bytes)
            self._work()

        answer.addErrback(explained).addCallback(answered).addErrback(self._answer_lost)

    def _answer(self, pieces: Answer, credit_bytes: int) -> None:
        if self._is_lost:
            return
        self._outbox += pieces
        self._outbox_bytes += sum(map(len, pieces))
        if not self._is_working or self._outbox_bytes > OUTBOX_BYTES:
            self._send_outbox()
        if credit_bytes:
            self._transport.consumed(credit_bytes)

    def _send_outbox(self) -> None:
        if self._outbox:
            pieces, self._outbox, self._outbox_bytes = self._outbox, [], 0
            self._transport.write(*pieces)

    def _answer_lost(self, failure: Failure) -> None:
        """A defect of ours: rather than wait for ever, the client learns that it is alone."""
        self._events.tell("defect", where="answer", failure=failure)
        self._lose_stream("internal error")

    def _explained(self, request: Any, failure: Failure) -> Answer:
        """The STATUS for an error; the log gets what the client need not know."""
        error = failure.value or RuntimeError(str(failure))
        code, sentence = status_of(error)
        if not is_foreseen(error) and not isinstance(error, CancelledError):
            where = type(request).__name__.lower()
            self._events.tell("defect", where=where, failure=failure)
        elif not _is_routine(request, error) and not self._has_given_up(error):
            handle = self._sticking_handle(request)
            self._refusals.refused(_name_of(request), code, sentence, handle=handle)
        return (wire.status(request.request_id, code, sentence),)

    def _has_given_up(self, error: BaseException) -> bool:
        return self._is_lost and isinstance(error, CancelledError)

    def _sticking_handle(self, request: Any) -> bytes | None:
        """The handle whose refusals are counted; that of a CLOSE is told in any case."""
        handle: bytes | None = getattr(request, "handle", None)
        if handle is None or _is_close(request) or self._handles.find(handle) is None:
            return None
        return handle

    # The beginning, the end, and lost streams.

    def _negotiate(self, request: wire.Request) -> None:
        if not isinstance(request, wire.Init):
            self._lose_stream("a request before INIT")
        elif self._has_begun:
            self._lose_stream("a second INIT")
        elif request.version < wire.VERSION:
            self._lose_stream(f"SFTP version {request.version}; the gateway speaks 3")
        else:
            self._has_begun = True
            extensions = [(name, version) for name, (version, _) in EXTENSIONS.items()]
            offered = self._server.gotVersion(request.version, dict(request.extensions))
            self._answer((wire.version([*extensions, *offered.items()]),), 0)

    def _refuse_malformed(self, error: Malformed, frame: frames.Frame) -> None:
        if not self._has_begun:
            self._lose_stream(error.message)
            return
        self._refusals.told("request-malformed", why=error.message)
        if frame.head[0] == Kind.WRITE:
            self._fail_written(frame)
        code, sentence = status_of(error)
        self._answer((wire.status(error.request_id, code, sentence),), 0)

    def _fail_written(self, frame: frames.Frame) -> None:
        """Bytes of a file were lost in a malformed WRITE: it may not be published without."""
        with suppress(Malformed, InvalidHandle):
            self._abandon(self._handles.file(wire.parse_handle(frame)))

    def _lose_stream(self, why: str) -> None:
        self._events.tell("stream-lost", why=why)
        self._stream_is_lost = True
        self._send_outbox()
        self._transport.loseConnection()

    def _finish_if_done(self) -> None:
        if self._input_has_ended:
            self._close_hold.release()
        if self._input_has_ended and not self._pending:
            self._input_has_ended = False
            self._transport.finish(0)

    # Files and directories.

    def _open(self, request: wire.Open) -> Eventual[Answer]:
        may_change = bool(request.flags & _FOR_WRITING)
        is_written = bool(request.flags & OpenFlag.WRITE)

        def opening() -> Eventual[IGatewayFile]:
            found = self._server.openFile(request.path, request.flags, request.attributes)
            return found if may_change else self._given_up_if_lost(found)

        def described(file: IGatewayFile) -> OpenFile:
            file.corkWith(self._cork)
            return OpenFile(request.path, file, is_written=is_written)

        access = Access.OPEN if may_change else Access.READ
        return self._opened(access, request, opening, described)

    def _open_directory(self, request: wire.OnPath) -> Eventual[Answer]:
        def opening() -> Eventual[IGatewayDirectory]:
            return self._server.openDirectory(request.path)

        def described(directory: IGatewayDirectory) -> OpenDirectory:
            return OpenDirectory(request.path, directory)

        return self._opened(Access.LOOK, request, opening, described)

    def _opened(
        self,
        access: Access,
        request: wire.Open | wire.OnPath,
        opening: Callable[[], Eventual[Any]],
        described: Callable[[Any], OpenFile | OpenDirectory],
    ) -> Deferred[Answer]:
        """Open something when its turn has come. It counts against the limit from now on."""
        paths = touched(request.path)
        self._handles.reserve()

        def unreserved(outcome: Any) -> Any:
            self._handles.unreserve()
            return outcome

        def added(thing: Any) -> Answer:
            if self._is_lost:
                self._abandon(described(thing))
                return ()
            return (wire.handle(request.request_id, self._handles.add(described(thing))),)

        opened: Deferred[Any] = maybeDeferred(self._sequencer.run, access, paths, opening)
        return opened.addBoth(unreserved).addCallback(added)

    def _given_up_if_lost(self, opening: Eventual[IGatewayFile]) -> Eventual[IGatewayFile]:
        if not isinstance(opening, Deferred):
            return opening

        def over(outcome: T) -> T:
            self._opening_to_read.discard(opening)
            return outcome

        self._opening_to_read.add(opening)
        return opening.addBoth(over)

    def _read(self, request: wire.Read) -> Eventual[Answer]:
        file = self._handles.file(request.handle).file
        length = min(request.length, wire.MAX_READ_BYTES)
        if not length:  # asyncssh's read() at the end of a file; OpenSSH answers so
            return _data(request.request_id, ())
        data = file.readChunk(request.offset, length)
        return _then(data, lambda data: _data(request.request_id, data))

    def _write(self, request: wire.Write) -> Eventual[Answer]:
        opened = self._handles.file(request.handle)

        def write() -> Eventual[Answer]:
            written = opened.file.writeChunk(request.offset, request.data)
            return _confirmed(written, request.request_id)

        # `behind` asks the same; that is a call less for each WRITE.
        return self._handle_order.behind(opened, write) if opened.in_order else write()

    def _change_handle(self, request: wire.ChangeHandle) -> Eventual[Answer]:
        opened = self._handles.file(request.handle)

        def change() -> Eventual[Answer]:
            return _confirmed(opened.file.setAttrs(request.attributes), request.request_id)

        if opened.is_written:
            return self._handle_order.behind(opened, change)
        # A file that is only read is stored: its time changes by name.
        paths = touched(opened.path) if "mtime" in request.attributes else ()
        return self._sequencer.run(Access.CHANGE, paths, change)

    def _on_handle(self, request: wire.OnHandle) -> Eventual[Answer]:
        if request.kind is Kind.READDIR:
            return Deferred.fromCoroutine(self._read_directory(request))
        if request.kind is Kind.FSTAT:
            found = self._handles.file(request.handle).file.getAttrs()
            return _then(found, lambda found: _attributes(request.request_id, found))
        return self._close(request)

    def _close(self, request: wire.OnHandle) -> Eventual[Answer]:
        opened = self._handles.remove(request.handle)
        self._refusals.ended(request.handle)
        if isinstance(opened, OpenDirectory):
            opened.directory.close()
            return _ok(request.request_id)
        if not opened.in_order:
            return self._close_file(opened.file, request)

        def dropped(failure: Failure) -> Failure:
            if self._is_lost:
                self._abandon(opened)  # what the client sent before may be missing
            return failure

        closed = self._handle_order.run((opened,), lambda: self._close_file(opened.file, request))
        return closed.addErrback(dropped)

    def _close_file(self, file: IGatewayFile, request: wire.OnHandle) -> Eventual[Answer]:
        return self._sequencer.run(
            Access.CLOSE,
            _published_as(file),
            lambda: _confirmed(file.close(), request.request_id),
            current_paths=lambda: _published_as(file),
        )

    async def _read_directory(self, request: wire.OnHandle) -> Answer:
        opened = self._handles.directory(request.handle)
        await opened.turn.acquire()
        try:
            if not opened.left_over:
                opened.left_over.extend(await opened.directory.nextEntries())
            if not opened.left_over:
                raise EndOfFile("end of directory")
            return (wire.names(request.request_id, _reply_full(opened)),)
        finally:
            opened.turn.release()

    def _abandon(self, opened: OpenFile | OpenDirectory) -> None:
        """The client is gone: there is nobody to hear of errors, only the log."""
        maybeDeferred(_leave, opened).addErrback(
            lambda failure: self._events.tell("defect", where="abandon", failure=failure)
        )

    # Paths.

    def _on_path(self, request: wire.OnPath) -> Eventual[Answer]:
        server, path, request_id = self._server, request.path, request.request_id
        match request.kind:
            case Kind.STAT | Kind.LSTAT:
                return self._look(request)
            case Kind.OPENDIR:
                return self._open_directory(request)
            case Kind.REALPATH:
                return _then(server.realPath(path), lambda path: _name(request_id, path))
            case Kind.READLINK:
                return _then(server.readLink(path), lambda path: _name(request_id, path))
            case Kind.REMOVE:
                return self._change(request, lambda: server.removeFile(path), path)
        return self._change(request, lambda: server.removeDirectory(path), path)

    def _look(self, request: wire.OnPath) -> Eventual[Answer]:
        def found() -> Eventual[Answer]:
            attributes = self._server.getAttrs(request.path, request.kind is Kind.STAT)
            return _then(attributes, lambda found: _attributes(request.request_id, found))

        paths = touched(request.path)
        is_root = paths == ((),)  # which is there, whatever happens
        return self._sequencer.run(Access.LOOK, () if is_root else paths, found)

    def _on_two_paths(self, request: wire.OnTwoPaths) -> Eventual[Answer]:
        first, second = request.first, request.second
        if request.kind is not Kind.RENAME:
            return _confirmed(self._server.makeLink(first, second), request.request_id)
        return self._change(request, lambda: self._server.renameFile(first, second), first, second)

    def _change_path(self, request: wire.ChangePath) -> Eventual[Answer]:
        path, attributes = request.path, request.attributes
        if request.kind is Kind.MKDIR:
            return self._change(request, lambda: self._server.makeDirectory(path, attributes), path)
        return self._sequencer.run(
            changing(attributes),
            touched(path),
            lambda: _confirmed(self._server.setAttrs(path, attributes), request.request_id),
        )

    def _change(
        self, request: Any, change: Callable[[], Deferred[None] | None], *paths: bytes
    ) -> Eventual[Answer]:
        return self._sequencer.run(
            Access.CHANGE, touched(*paths), lambda: _confirmed(change(), request.request_id)
        )

    def _extended(self, request: wire.Extended) -> Eventual[Answer]:
        if request.name not in EXTENSIONS:
            raise Unsupported(f"extension {readable(request.name[:64])} is not supported")
        _, handler = EXTENSIONS[request.name]
        session = ExtensionContext(self._server, self._handles, self._sequencer, self._handle_order)
        return _then(handler(session, request), lambda reply: (reply,))

    def _unknown(self, request: wire.Unknown) -> Answer:
        raise Unsupported(f"SFTP version 3 has no packet of type {request.number}")


HANDLERS: dict[type, Callable[[SFTPProtocol, Any], Eventual[Answer]]] = {
    wire.Write: SFTPProtocol._write,
    wire.Read: SFTPProtocol._read,
    wire.Open: SFTPProtocol._open,
    wire.OnHandle: SFTPProtocol._on_handle,
    wire.OnPath: SFTPProtocol._on_path,
    wire.ChangeHandle: SFTPProtocol._change_handle,
    wire.ChangePath: SFTPProtocol._change_path,
    wire.OnTwoPaths: SFTPProtocol._on_two_paths,
    wire.Extended: SFTPProtocol._extended,
    wire.Unknown: SFTPProtocol._unknown,
}


_FOR_WRITING = OpenFlag.WRITE | OpenFlag.CREAT | OpenFlag.TRUNC


def _published_as(file: IGatewayFile) -> Paths:
    """What CLOSE of a file touches; nothing, if it publishes nothing."""
    path = file.publishedPath()
    return () if path is None else touched(path)


def _leave(opened: OpenFile | OpenDirectory) -> Deferred[None] | None:
    if isinstance(opened, OpenFile):
        return opened.file.abandon()
    opened.directory.close()
    return None


def _is_routine(request: wire.Request, error: BaseException) -> bool:
    """What every session brings: the end of a file, a name that is free, READs cut by CLOSE."""
    return isinstance(error, EndOfFile | NoSuchFile | NoSuchObject) or (
        isinstance(request, wire.Read) and isinstance(error, InvalidHandle)
    )


def _is_close(request: Any) -> bool:
    return isinstance(request, wire.OnHandle) and request.kind is Kind.CLOSE


def _name_of(request: Any) -> str:
    """A request's name for the log."""
    if isinstance(request, wire.Extended):
        return request.name[:64].decode("ascii", "backslashreplace")
    kind: Kind | None = getattr(request, "kind", None)
    return (kind.name if kind else type(request).__name__).lower()


def _ok(request_id: int) -> Answer:
    return (wire.status(request_id, Status.OK, ""),)


def _then(value: Eventual[T], make: Callable[[T], Answer]) -> Eventual[Answer]:
    """The answer that `make` makes of a value, now or when it comes."""
    return value.addCallback(make) if isinstance(value, Deferred) else make(value)


def _confirmed(done: Deferred[None] | None, request_id: int) -> Eventual[Answer]:
    ok = _ok(request_id)
    return ok if done is None else done.addCallback(lambda _: ok)


def _data(request_id: int, data: Body) -> Answer:
    return wire.data_header(request_id, sum(map(len, data))), *data


def _attributes(request_id: int, found: wire.Attributes) -> Answer:
    return (wire.attributes(request_id, found),)


def _name(request_id: int, path: bytes) -> Answer:
    return (wire.names(request_id, [wire.name_entry((path, path, {}))]),)


def _reply_full(opened: OpenDirectory) -> list[bytes]:
    """As many entries as one reply may hold, and one in any case."""
    entries = [wire.name_entry(opened.left_over.popleft())]
    size_bytes = len(entries[0])
    while opened.left_over:
        entry = wire.name_entry(opened.left_over[0])
        size_bytes += len(entry)
        if size_bytes > wire.MAX_NAMES_BYTES:
            break
        entries.append(entry)
        opened.left_over.popleft()
    return entries
