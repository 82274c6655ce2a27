"""A request on its way into a connection.

Knows: how buffers go out without being joined, and how to be told of progress.
Must not know: what is requested, or what the response is.

Over TCP the kernel takes the buffers as they are (`outflow`), the head together with the body,
and as much as it takes at once. Twisted's ``write`` would join them: a fifth of all that an
upload costs. We are a pull producer, which Twisted asks whenever the socket takes more. No
other code writes to a connection while a request is on its way, and the one before has left it
altogether, so bytes that bypass Twisted's buffer stay in order.

Over TLS, OpenSSL makes records of the buffers as they are (`tls`). Whatever else carries HTTP is
given copies by ``write``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer

from sftpgw.buffers.send_buffer import TURN_BYTES, GatherSocket, SendBuffer, sink_of
from sftpgw.http.tls import record_writer
from sftpgw.model.units import KIB, Body, Buffer

WRITTEN_BYTES = 256 * KIB
"""What is written at a time where the socket is not ours to fill."""

Progress = Callable[[int, bool], None]
"""Told how many bytes went out, and whether these were the last."""


def body_on(transport: Any, body: Body, progress: Progress) -> DirectBody | WrittenBody:
    """What sends `body`, which is not empty, by the cheaper way that it allows; `start` it."""
    sink = sink_of(transport)
    if sink is not None:
        return DirectBody(body, transport, sink, progress)
    records = record_writer(transport)
    if records is not None:
        return WrittenBody(body, transport, records.write, progress)
    return WrittenBody(body, transport, lambda batch: transport.write(b"".join(batch)), progress)


@implementer(IPullProducer)
class DirectBody:
    """Sends past the transport's own buffer, which stays empty."""

    def __init__(self, body: Body, transport: Any, sink: GatherSocket, progress: Progress) -> None:
        self._transport = transport
        self._sink = sink
        self._progress = progress
        self._waiting = SendBuffer(body)

    def start(self) -> None:
        """Send what can be sent: registering asks at once."""
        self._transport.registerProducer(self, False)

    def stop(self) -> None:
        """Send nothing more, and let go of the body."""
        self._waiting.clear()
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.unregisterProducer()

    def resumeProducing(self) -> None:
        """The socket takes more."""
        if self._transport is None:
            return
        sent_bytes = self._waiting.send(self._sink, TURN_BYTES)
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
    """Has buffers written, a few at a time, into a transport that keeps what it is given."""

    def __init__(
        self, body: Body, transport: Any, write: Callable[[Body], None], progress: Progress
    ) -> None:
        self._transport = transport
        self._write = write
        self._progress = progress
        self._batches = _batches(body)
        self._is_paused = False

    def start(self) -> None:
        """Begin; the transport may pause us at once."""
        self._transport.registerProducer(self, True)
        self.resumeProducing()

    def stop(self) -> None:
        """Send nothing more, and let go of the body."""
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
    """The buffers, `WRITTEN_BYTES` together at most; what is larger is cut."""
    batch: list[Buffer] = []
    size_bytes = 0
    for buffer in body:
        for piece in _cut(buffer):
            if batch and size_bytes + len(piece) > WRITTEN_BYTES:
                yield tuple(batch)
                batch, size_bytes = [], 0
            batch.append(piece)
            size_bytes += len(piece)
    if batch:
        yield tuple(batch)


def _cut(buffer: Buffer) -> Iterator[Buffer]:
    if 0 < len(buffer) <= WRITTEN_BYTES:
        yield buffer
        return
    view = memoryview(buffer)
    for start in range(0, len(view), WRITTEN_BYTES):
        yield view[start : start + WRITTEN_BYTES]
