"""One command's run: its input, its output and its end.

Knows: the channel (`SubsystemTransport`), the input that waits, and that a command is a coroutine.
Must not know: what commands do.

Rules

1. Input waits until the command reads it. The channel is credited when the command has dealt with
   it: so the channel's window bounds the input that waits.
2. A command waits while the client does not read its output (`ready_to_write`), also before it
   reads the next line. So a client cannot make output pile up.
3. A command that reads many lines looks now and then whether its turn is over (`aio/work`).
4. A lost channel cancels the command where it waits. The command abandons what it has open.
5. A command ends with a status, once. Input that comes later is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sftpgw.aio.work.scheduler import WorkShare
from sftpgw.buffers.byte_queue import ByteQueue
from sftpgw.errors import GatewayError
from sftpgw.model.events import EventSink
from sftpgw.model.events.gateway_events import Defect
from sftpgw.model.events.session_events import RequestRefused
from sftpgw.model.messages import INTERNAL, sentence_of
from sftpgw.model.subsystem import SubsystemTransport
from sftpgw.model.units import Body, Buffer

LINES_PER_LOOK = 10
STATUS_OF_DEFECT = 70  # EX_SOFTWARE of sysexits.h


class InputEnded(Exception):
    """The input ended before the bytes that the command waited for."""


class LineTooLong(GatewayError):
    """A line is longer than its bound."""


Command = Callable[["Console"], Coroutine[Any, Any, int]]
"""Runs on a console, and returns the exit status."""


class Console:
    """Implements `model.subsystem.Subsystem` for one `Command`.

    :param command: the command to run.
    :param events: the session's event sink.
    :param work: hands out CPU time to the session.
    :ivar input_bytes: the bytes that the client has sent to the command.
    :ivar output_bytes: the bytes that the command has written to its standard output.
    """

    def __init__(self, command: Command, *, events: EventSink, work: WorkShare) -> None:
        self._command = command
        self._events = events
        self._work = work
        self._channel: SubsystemTransport
        self._input = ByteQueue()
        self._input_has_ended = False
        self._running: Deferred[None] | None = None
        self._waiting: Deferred[None] | None = None
        self._is_paused = False
        self._is_lost = False
        self._unwatched_lines = 0
        self.input_bytes = 0
        self.output_bytes = 0

    # Subsystem.

    @property
    def is_busy(self) -> bool:
        return self._running is not None and self._waiting is None

    def makeConnection(self, transport: SubsystemTransport) -> None:
        self._channel = transport
        running = Deferred.fromCoroutine(self._run())
        self._running = running
        running.addErrback(lambda failure: failure.trap(CancelledError) and None)
        running.addBoth(self._on_ended)

    def dataReceived(self, data: bytes | memoryview) -> None:
        if self._running is None:
            self._channel.consumed(len(data))
            return
        self.input_bytes += len(data)
        self._input.append(data)
        self._wake()

    def inputEnded(self) -> None:
        self._input_has_ended = True
        self._wake()

    def connectionLost(self, reason: Any) -> None:
        self._is_lost = True
        self._input.clear()
        if self._running is not None:
            self._running.cancel()

    def pauseProducing(self) -> None:
        self._is_paused = True

    def resumeProducing(self) -> None:
        self._is_paused = False
        self._wake()

    # The run.

    async def _run(self) -> None:
        try:
            status = await self._command(self)
        except InputEnded:
            status = 1
        except CancelledError:
            raise
        except Exception:
            self._events.emit(Defect(where="command", failure=Failure()))
            self.complain(INTERNAL)
            status = STATUS_OF_DEFECT
        if not self._is_lost:
            self._channel.finish(status)

    def _on_ended(self, outcome: Any) -> Any:
        self._running = None
        if not self._is_lost:
            self.credit(self._input.size_bytes)
        self._input.clear()
        return outcome

    async def _until(self, is_so: Callable[[], bool]) -> None:
        """Wait until the client has done something that makes `is_so` true."""
        while not is_so():
            self._waiting = Deferred()
            try:
                await self._waiting
            finally:
                self._waiting = None

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.callback(None)

    # Input.

    async def line(self, limit_bytes: int) -> bytes | None:
        """Read a line. It is credited.

        :returns: the line without its line feed; None at the end of the input.
        :raises LineTooLong: the line is longer than `limit_bytes`.
        :raises InputEnded: the input ends inside the line.
        """
        await self.count_line()

        def ends_at() -> int:
            return self._input.find(b"\n", limit_bytes)

        await self._until(
            lambda: (
                not self._is_paused
                and (
                    ends_at() >= 0 or self._input.size_bytes >= limit_bytes or self._input_has_ended
                )
            )
        )
        size_bytes = ends_at() + 1
        if not size_bytes:
            if self._input.size_bytes >= limit_bytes:
                raise LineTooLong(f"a line of over {limit_bytes} bytes")
            if self._input.size_bytes:
                raise InputEnded
            return None
        line = b"".join(self._input.take(size_bytes))
        self.credit(size_bytes)
        return line[:-1]

    async def take(self, limit_bytes: int) -> Body:
        """Read the next bytes: at least one, at most `limit_bytes`. The caller credits them.

        :raises InputEnded: no bytes are left.
        """
        await self._until(lambda: self._input.size_bytes > 0 or self._input_has_ended)
        if not self._input.size_bytes:
            raise InputEnded
        return self._input.take(limit_bytes)

    async def byte(self) -> bytes:
        """Read one byte. It is credited. :raises InputEnded: no bytes are left."""
        await self.count_line()
        taken = b"".join(await self.take(1))
        self.credit(1)
        return taken

    def credit(self, size_bytes: int) -> None:
        """The command has dealt with so many bytes: the client may send as many more."""
        if not self._is_lost:
            self._channel.consumed(size_bytes)

    async def count_line(self) -> None:
        """Count a line, or work for one; the next one may wait for the next turn."""
        self._unwatched_lines += 1
        if self._unwatched_lines >= LINES_PER_LOOK:
            self._unwatched_lines = 0
            if not self._work.has_time():
                await self._work.next_step("commands")

    # Output.

    def write(self, *buffers: Buffer) -> None:
        """Write to the client's standard output."""
        if not self._is_lost:
            self.output_bytes += sum(map(len, buffers))
            self._channel.write(*buffers)

    async def ready_to_write(self) -> None:
        """Wait until the client has read most of the output."""
        await self._until(lambda: not self._is_paused)

    def complain(self, sentence: str) -> None:
        """Print a line on the client's standard error."""
        if not self._is_lost:
            self._channel.write_error(sentence.replace("\n", "?").encode() + b"\n")

    # Errors.

    def explain(self, error: Exception, path: bytes = b"") -> str:
        """The sentence that tells the client of an error. The log gets the rest.

        :param error: the exception; if it is not a `GatewayError`, it is logged as a defect.
        :param path: the path that the error is about, for a sentence that does not begin with one.
        """
        if isinstance(error, GatewayError):
            sentence = sentence_of(error)
            if path and not sentence.startswith("/"):
                sentence = f"{path.decode('utf-8', 'replace')}: {sentence}"
            self._events.emit(RequestRefused(request="command", reason=sentence))
            return sentence
        self._events.emit(Defect(where="command", failure=Failure(error)))
        return INTERNAL
