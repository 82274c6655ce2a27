"""The SFTP server protocol: a pipeline from frames to requests to replies.

Knows: framing, and that each request gets one reply.
Must not know: what a request does (`sftp/handlers`), what its errors mean
(`sftp/statuses`), or how many may be pending (`sftp/pending_requests`).

Rules

1. INIT comes first, once, and is answered with version 3. Before it nothing is
   accepted, and a second one is refused.
2. Every other request gets exactly one reply: by its handler in `HANDLERS`, or
   a STATUS for the error that was raised. Malformed and unknown requests too.
3. Requests begin in the order in which they came, but for those that touch a path:
   these wait for earlier ones that they conflict with (`sftp/request_order/plan`), and others
   overtake them. Requests run concurrently; their replies may overtake each other (section 3 of
   the draft). A file object sees the calls on its handle in order, and keeps it. CLOSE removes
   the handle as it comes.
4. No request begins while too many are pending (`sftp/pending_requests`), or the client does not
   take its replies. The channel is credited a request's bytes when it begins, a WRITE's when it is
   answered: so the client stops when the gateway does.
5. Requests begin when it is the channel's turn (`aio/work`), as many as the turn has time for.
6. A frame of an absurd length loses the stream: the channel is closed.
7. A lost channel abandons what is open, and drops what waits. CLOSE publishes. These are two
   doors: no upload passes through both. Requests that have begun go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sftpgw.aio.work.scheduler import WorkShare
from sftpgw.errors import EndOfFile, InvalidHandle, NoSuchFile, NoSuchObject
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.gateway_events import Defect
from sftpgw.model.events.session_events import RequestMalformed, StreamLost
from sftpgw.model.memory import MemoryBudget
from sftpgw.model.subsystem import SubsystemTransport
from sftpgw.model.units import Buffer
from sftpgw.sftp.close_hold import CloseHold
from sftpgw.sftp.contracts import IGatewayServer
from sftpgw.sftp.extensions import EXTENSIONS
from sftpgw.sftp.handler_context import HandlerContext
from sftpgw.sftp.handlers import HANDLERS, RequestHandlers
from sftpgw.sftp.handles import Handles, OpenFile
from sftpgw.sftp.pending_requests import PendingRequests
from sftpgw.sftp.refusal_log import RefusalLog
from sftpgw.sftp.replies import Reply
from sftpgw.sftp.statuses import is_foreseen, status_of
from sftpgw.sftp.unfinished import Unfinished
from sftpgw.wire import frames
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, Malformed

OUTBOX_BYTES = 256 * 1024
"""Replies that come while requests begin leave together, so many bytes at a time."""


class SFTPProtocol:
    """Implements `model.subsystem.Subsystem` on an `IGatewayServer`.

    :param server: the files of the user.
    :param handles: the files and directories that are open, of this channel alone.
    :param events: the session's event sink.
    :param clock: ends the wait of a CLOSE.
    :param work: hands out CPU time; the channel has a place of its own there.
    :param close_wait_seconds: how long a CLOSE waits for a time (`sftp/close_hold`); None: never.
    :param unfinished: what other channels of the user have left; None: this is the only one.
    :param memory: the user's share of the memory budget; None to count nothing.
    """

    def __init__(
        self,
        server: IGatewayServer,
        *,
        handles: Handles,
        events: EventSink,
        clock: Clock,
        work: WorkShare,
        close_wait_seconds: float | None = None,
        unfinished: Unfinished | None = None,
        memory: MemoryBudget | None = None,
    ) -> None:
        self._server = server
        self._events = events
        self._turns = work.turns("requests", self._begin_requests, self._on_turn_failed)
        self._handles = handles
        self._refusals = RefusalLog(events)
        self._handlers = RequestHandlers(
            HandlerContext(server, self._handles),
            events,
            cork=self._cork,
            on_closed=self._refusals.ended,
            work=work,
        )
        self._close_hold = CloseHold(
            close_wait_seconds, clock, lambda request: self._carry_out(request, 0)
        )
        self._frames = frames.Frames()
        self._transport: SubsystemTransport
        self._is_negotiated = False
        self._input_has_ended = False
        self._is_lost = False
        self._stream_is_lost = False
        self._is_paused = False
        self._is_working = False
        self._pending = PendingRequests(memory, unfinished or Unfinished(), self._work)
        self._outbox: list[Buffer] = []
        self._outbox_bytes = 0
        self._outbox_credit_bytes = 0  # of the WRITEs that are answered there

    # Subsystem.

    @property
    def is_busy(self) -> bool:
        is_held = self._close_hold.held is not None
        return self._pending.count > 0 or self._turns.is_waiting or is_held

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
        self._turns.end()
        self._close_hold.end()
        self._refusals.all_ended()
        self._handlers.connection_lost()
        self._pending.leave()

    def pauseProducing(self) -> None:
        self._is_paused = True

    def resumeProducing(self) -> None:
        self._is_paused = False
        self._work()

    # From frames to requests.

    def _work(self) -> None:
        """Begin the requests that may begin, when it is the channel's turn.

        A reply that comes at once leads back here, and returns: no recursion.
        """
        if not self._is_working:
            self._turns.ask()

    def _begin_requests(self) -> None:
        """It is the channel's turn."""
        self._is_working = True
        try:
            nothing_left = self._begin_all()
        finally:
            self._is_working = False
            if self._outbox and not self._transport.held_back.before_release(self._send_outbox):
                self._send_outbox()
        if nothing_left:
            self._finish_if_done()

    @contextmanager
    def _cork(self) -> Iterator[None]:
        """Replies that come in here leave together, with those to requests that begin next."""
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
        """Whether every request that has come has begun."""
        has_begun = False
        while self._may_begin():
            try:
                frame = self._frames.next()
            except frames.FramingLost as error:
                self._lose_stream(error.message)
                return False
            if frame is None:
                return True
            self._begin(frame)
            # A packet of an upload has one request, and costs no look at the clock.
            if has_begun and not (self._is_lost or self._turns.has_time()):
                self._turns.wait()
                return False
            has_begun = True
            if self._frames.is_empty:
                return not (self._is_lost or self._stream_is_lost)
        return False

    def _may_begin(self) -> bool:
        return not (
            self._is_lost or self._stream_is_lost or self._is_paused
        ) and self._pending.has_room(self._transport.unsent_bytes)

    def _begin(self, frame: frames.Frame) -> None:
        size_bytes = frame.size_bytes
        try:
            request = wire.parse_request(frame)
        except Malformed as error:
            self._transport.consumed(size_bytes)
            self._refuse_malformed(error, frame)
            return
        if not self._is_negotiated or isinstance(request, wire.Init):
            self._transport.consumed(size_bytes)
            self._negotiate(request)
            return
        credit_bytes = size_bytes if isinstance(request, wire.Write) else 0
        if not credit_bytes:
            self._transport.consumed(size_bytes)
        if self._close_hold.held is not None:
            self._close_hold.release(behind=request)
        if not self._holds(request):
            self._carry_out(request, credit_bytes)

    def _holds(self, request: Any) -> bool:
        """Whether the request is a CLOSE that waits for the time of its file."""
        if not _is_close(request):
            return False
        opened = self._handles.find(request.handle)
        return isinstance(opened, OpenFile) and self._close_hold.hold(request, opened.file)

    def _carry_out(self, request: Any, credit_bytes: int) -> None:
        try:
            reply = HANDLERS[type(request)](self._handlers, request)
        except Exception:
            reply = self._explain(request, Failure())
        if isinstance(reply, Deferred):
            self._await(reply, request, credit_bytes)
        else:
            self._send(reply, credit_bytes)

    # From replies to the channel.

    def _await(self, reply: Deferred[Reply], request: Any, credit_bytes: int) -> None:
        end = self._pending.begin(request)

        def explain(failure: Failure) -> Reply:
            return self._explain(request, failure)

        def send(buffers: Reply) -> None:
            end()
            # When memory comes back, the replies to many WRITEs come together, and leave together.
            may_wait = credit_bytes > 0 and self._pending.count > 0 and not self._is_lost
            if may_wait:
                self._turns.wait()
            self._send(buffers, credit_bytes, may_wait=may_wait)
            self._work()

        reply.addErrback(explain).addCallback(send).addErrback(self._on_reply_lost)

    def _send(self, buffers: Reply, credit_bytes: int, *, may_wait: bool = False) -> None:
        if self._is_lost:
            return
        self._outbox += buffers
        self._outbox_bytes += sum(map(len, buffers))
        self._outbox_credit_bytes += credit_bytes
        if not (self._is_working or may_wait) or self._outbox_bytes > OUTBOX_BYTES:
            self._send_outbox()

    def _send_outbox(self) -> None:
        """Send replies, and give back the window that their requests have used, in one packet."""
        if not self._outbox or self._is_lost:
            return
        buffers, self._outbox, self._outbox_bytes = self._outbox, [], 0
        credit_bytes, self._outbox_credit_bytes = self._outbox_credit_bytes, 0
        if not credit_bytes:
            self._transport.write(*buffers)
            return
        with self._transport.held_back.cork():
            self._transport.write(*buffers)
            self._transport.consumed(credit_bytes)

    def _on_reply_lost(self, failure: Failure) -> None:
        """A defect of the gateway. The client would wait for ever, so the channel is closed."""
        self._events.emit(Defect(where="answer", failure=failure))
        self._lose_stream("internal error")

    def _on_turn_failed(self) -> None:
        """A defect of the gateway, which is logged. Requests may be lost, so the channel closes."""
        if not self._is_lost:
            self._lose_stream("internal error")

    def _explain(self, request: Any, failure: Failure) -> Reply:
        """The STATUS for an error. The log gets what the client need not know."""
        error = failure.value or RuntimeError(str(failure))
        code, sentence = status_of(error)
        if not is_foreseen(error) and not isinstance(error, CancelledError):
            where = type(request).__name__.lower()
            self._events.emit(Defect(where=where, failure=failure))
        elif not _is_routine(request, error) and not self._was_cancelled(error):
            handle = self._counted_handle(request)
            self._refusals.refused(_name_of(request), code, sentence, handle=handle)
        return (wire.status(request.request_id, code, sentence),)

    def _was_cancelled(self, error: BaseException) -> bool:
        return self._is_lost and isinstance(error, CancelledError)

    def _counted_handle(self, request: Any) -> bytes | None:
        """The handle whose refusals are counted. A refused CLOSE is always told."""
        handle: bytes | None = getattr(request, "handle", None)
        if handle is None or _is_close(request) or self._handles.find(handle) is None:
            return None
        return handle

    # The beginning, the end, and lost streams.

    def _negotiate(self, request: wire.Request) -> None:
        if not isinstance(request, wire.Init):
            self._lose_stream("a request before INIT")
        elif self._is_negotiated:
            self._lose_stream("a second INIT")
        elif request.version < wire.VERSION:
            self._lose_stream(f"SFTP version {request.version}; the gateway speaks 3")
        else:
            self._is_negotiated = True
            extensions = [(name, version) for name, (version, _) in EXTENSIONS.items()]
            offered = self._server.gotVersion(request.version, dict(request.extensions))
            self._send((wire.version([*extensions, *offered.items()]),), 0)

    def _refuse_malformed(self, error: Malformed, frame: frames.Frame) -> None:
        if not self._is_negotiated:
            self._lose_stream(error.message)
            return
        self._refusals.emit(RequestMalformed(reason=error.message))
        if frame.head[0] == Kind.WRITE:
            self._abandon_written(frame)
        code, sentence = status_of(error)
        self._send((wire.status(error.request_id, code, sentence),), 0)

    def _abandon_written(self, frame: frames.Frame) -> None:
        """A malformed WRITE lost bytes of a file, so that the file must not be published."""
        with suppress(Malformed, InvalidHandle):
            self._handlers.abandon(self._handles.file(wire.parse_handle(frame)))

    def _lose_stream(self, reason: str) -> None:
        self._events.emit(StreamLost(reason=reason))
        self._stream_is_lost = True
        self._send_outbox()
        self._transport.loseConnection()

    def _finish_if_done(self) -> None:
        if self._input_has_ended:
            self._close_hold.release()
        if self._input_has_ended and not self._pending.count:
            self._input_has_ended = False
            self._send_outbox()
            self._transport.finish(0)


def _is_routine(request: wire.Request, error: BaseException) -> bool:
    """What every client causes: the end of a file, a missing name, READs after CLOSE."""
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
