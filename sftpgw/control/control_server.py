"""Answers requests on the control socket.

Knows: lines, and which handler answers which request.
Must not know: what a handler does, or where the socket is (`control_socket`).

Rules

1. A connection has `SILENCE_SECONDS` for each request; then it is closed. A request under way has
   the time that its handler takes.
2. One request of a connection is under way at a time, and nothing is read meanwhile, nor while the
   client does not read its answers.
3. `MAX_CLIENTS` may be connected; further ones are closed at once. What they send and are sent is
   bounded by the lengths of lines.
4. If a client goes, its request under way is cancelled.
"""

# mypy: disallow-untyped-calls=False
# (what is inherited from Twisted has no types)

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from sftpgw.aio.delayed_call import cancel_pending
from sftpgw.aio.notifier import Notifier
from sftpgw.control.control_lines import (
    MAX_REQUEST_BYTES,
    ControlError,
    error_line,
    read_request,
    result_line,
)
from sftpgw.model.clock import Clock, DelayedCall
from sftpgw.model.events import EventSink
from sftpgw.model.events.gateway_events import Defect

MAX_CLIENTS = 8
SILENCE_SECONDS = 10.0

Handler = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""Answers one kind of request: takes the arguments, returns what JSON can have. Raises
`ControlError`."""


class ControlFactory(Factory):
    """Makes the protocols of connections to the control socket.

    :param handlers: what answers each request, by the request's name.
    :param clock: times silence.
    :param events: takes defects of handlers.
    """

    noisy = False

    def __init__(self, handlers: Mapping[str, Handler], clock: Clock, events: EventSink) -> None:
        self._handlers = handlers
        self.clock = clock
        self._events = events
        self.clients: set[ControlProtocol] = set()
        self._one_gone = Notifier()

    def buildProtocol(self, addr: Any) -> ControlProtocol | None:
        """A protocol; None, which closes the connection, if there are enough of them."""
        return ControlProtocol(self) if len(self.clients) < MAX_CLIENTS else None

    async def answer(self, line: bytes) -> bytes:
        """The line of the answer to a line.

        :param line: what a client has sent.
        """
        try:
            request = read_request(line)
            handler = self._handlers.get(request.name)
            if handler is None:
                known = ", ".join(sorted(self._handlers))
                raise ControlError(f"there is no request {request.name!r}; known: {known}")
            return result_line(await handler(request.arguments))
        except ControlError as error:
            return error_line(str(error))
        except CancelledError:
            raise
        except Exception:
            self._events.emit(Defect(where="control", failure=Failure()))
            return error_line("internal error; the gateway's log says more")

    async def disconnect_all(self) -> None:
        """Close all connections, and wait until they are gone."""
        for client in tuple(self.clients):
            client.close()
        while self.clients:
            await self._one_gone.wait()

    def on_gone(self, client: ControlProtocol) -> None:
        """Forget a connection that is gone.

        :param client: the connection.
        """
        self.clients.discard(client)
        self._one_gone.notify_all()


class ControlProtocol(LineReceiver):
    """One connection to the control socket.

    :param factory: answers lines.
    """

    delimiter = b"\n"
    MAX_LENGTH = MAX_REQUEST_BYTES
    transport: Any

    def __init__(self, factory: ControlFactory) -> None:
        self._owner = factory
        self._silence: DelayedCall | None = None
        self._under_way: Deferred[None] | None = None
        self._is_answering = self._is_full = False

    def connectionMade(self) -> None:
        """Wait for a request."""
        self._owner.clients.add(self)
        self.transport.registerProducer(_Answers(self), True)
        self._expect()

    def _expect(self) -> None:
        self._silence = self._owner.clock.callLater(SILENCE_SECONDS, self.close)

    def close(self) -> None:
        """Close the connection, also if the client does not read."""
        self.transport.abortConnection()

    def lineReceived(self, line: bytes) -> None:
        """Begin to answer a request."""
        cancel_pending(self._silence)
        self._is_answering = True
        self.pauseProducing()
        self._under_way = Deferred.fromCoroutine(self._answer(line))
        self._under_way.addErrback(lambda failure: failure.trap(CancelledError))

    async def _answer(self, line: bytes) -> None:
        answer = await self._owner.answer(line)
        self._under_way = None
        self._is_answering = False
        self._expect()
        self.sendLine(answer)
        self._go_on()

    def _go_on(self) -> None:
        if not (self._is_answering or self._is_full):
            self.resumeProducing()

    def on_pace(self, *, is_full: bool) -> None:
        """Read no further requests while answers wait for the client.

        :param is_full: whether they do.
        """
        self._is_full = is_full
        self._go_on()

    def lineLengthExceeded(self, line: bytes) -> None:
        """Say so, and close the connection."""
        self.sendLine(error_line(f"a request has at most {MAX_REQUEST_BYTES} bytes"))
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        """Cancel what is under way."""
        cancel_pending(self._silence)
        if self._under_way is not None:
            self._under_way.cancel()
        self._owner.on_gone(self)


@implementer(IPushProducer)
class _Answers:
    """What the transport tells when answers wait for the client.

    :param protocol: sends them.
    """

    def __init__(self, protocol: ControlProtocol) -> None:
        self._protocol = protocol

    def pauseProducing(self) -> None:
        self._protocol.on_pace(is_full=True)

    def resumeProducing(self) -> None:
        self._protocol.on_pace(is_full=False)

    def stopProducing(self) -> None:
        """The connection is gone."""
