"""Sends the bytes of a request into a connection.

Knows: how buffers are sent without joining them, and how their progress is reported.
Must not know: what the request is, or what the response says.

Over TCP the kernel takes the buffers as they are (`buffers/send_buffer`), the head together with
the body, and as much as it can at once. Twisted's ``write`` would join them, which is a fifth of
the cost of an upload. `DirectBody` is a pull producer, which Twisted asks whenever the socket takes
more. Only one request at a time uses a connection, and the one before has left it entirely, so
that bytes that bypass Twisted's buffer stay in order.

Over TLS, OpenSSL makes records from the buffers as they are (`http/tls`). Any other transport gets
copies by ``write``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer

from sftpgw.buffers.send_buffer import ITERATION_BYTES, GatherSocket, SendBuffer, sink_of
from sftpgw.http.tls import record_writer
from sftpgw.model.units import KIB, Body, Buffer

WRITTEN_BYTES = 256 * KIB
"""How much is written at a time where the socket is not filled directly."""

Progress = Callable[[int, bool], None]
"""Is called with the number of bytes that went out, and whether they were the last ones."""


def body_on(transport: Any, body: Body, progress: Progress) -> DirectBody | WrittenBody:
    """The cheapest producer that `transport` allows; call its `start`.

    :param transport: the connection to send on.
    :param body: what is sent; not empty.
    :param progress: is called when bytes went out.
    """
    sink = sink_of(transport)
    if sink is not None:
        return DirectBody(body, transport, sink, progress)
    records = record_writer(transport)
    if records is not None:
        return WrittenBody(body, transport, records.write, progress)
    return WrittenBody(body, transport, lambda batch: transport.write(b"".join(batch)), progress)


@implementer(IPullProducer)
class DirectBody:
    """Sends without the transport's own buffer, which stays empty.

    :param body: what is sent; not empty.
    :param transport: the connection, which asks for more.
    :param sink: the socket below the transport.
    :param progress: is called when bytes went out.
    """

    def __init__(self, body: Body, transport: Any, sink: GatherSocket, progress: Progress) -> None:
        self._transport = transport
        self._sink = sink
        self._progress = progress
        self._waiting = SendBuffer(body)

    def start(self) -> None:
        """Send as much as the socket takes: registering asks at once."""
        self._transport.registerProducer(self, False)

    def stop(self) -> None:
        """Send nothing more, and free the body."""
        self._waiting.clear()
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.unregisterProducer()

    def resumeProducing(self) -> None:
        """The socket takes more."""
        if self._transport is None:
            return
        sent_bytes = self._waiting.send(self._sink, ITERATION_BYTES)
        if self._waiting.size_bytes:
            self._transport.startWriting()
            if sent_bytes:
                self._progress(sent_bytes, False)
            return
        self.stop()
        self._progress(sent_bytes, True)

    def stopProducing(self) -> None:
        """The connection is gone."""
        self._transport = None


@implementer(IPushProducer)
class WrittenBody:
    """Writes buffers, a few at a time, into a transport that has a buffer of its own.

    :param body: what is sent; not empty.
    :param transport: the connection, which pauses the sending.
    :param write: writes some buffers into the transport.
    :param progress: is called when bytes went out.
    """

    def __init__(
        self, body: Body, transport: Any, write: Callable[[Body], None], progress: Progress
    ) -> None:
        self._transport = transport
        self._write = write
        self._progress = progress
        self._batches = _batches(body)
        self._is_paused = False

    def start(self) -> None:
        """Begin; the transport may pause at once."""
        self._transport.registerProducer(self, True)
        self.resumeProducing()

    def stop(self) -> None:
        """Send nothing more, and free the body."""
        self._batches = iter(())
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.unregisterProducer()

    def resumeProducing(self) -> None:
        self._is_paused = False
        while not self._is_paused and self._transport is not None:
            batch = next(self._batches, None)
            if batch is None:
                self.stop()
                self._progress(0, True)
                return
            self._write(batch)
            self._progress(sum(map(len, batch)), False)

    def pauseProducing(self) -> None:
        self._is_paused = True

    def stopProducing(self) -> None:
        self._transport = None


def _batches(body: Body) -> Iterator[Body]:
    """The buffers in batches of at most `WRITTEN_BYTES`; a larger buffer is cut."""
    batch: list[Buffer] = []
    size_bytes = 0
    for buffer in body:
        for fragment in _cut(buffer):
            if batch and size_bytes + len(fragment) > WRITTEN_BYTES:
                yield tuple(batch)
                batch, size_bytes = [], 0
            batch.append(fragment)
            size_bytes += len(fragment)
    if batch:
        yield tuple(batch)


def _cut(buffer: Buffer) -> Iterator[Buffer]:
    if 0 < len(buffer) <= WRITTEN_BYTES:
        yield buffer
        return
    view = memoryview(buffer)
    for start in range(0, len(view), WRITTEN_BYTES):
        yield view[start : start + WRITTEN_BYTES]
