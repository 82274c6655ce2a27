"""The body of a request on its way into a connection.

Knows: two ways to send buffers that nobody has joined, and how to be told of progress.
Must not know: what the request is, or what is answered.

Over TCP the kernel takes the buffers as they are (``sendmsg``): they are neither joined nor
copied. Twisted's ``write`` would join them, join what is left with what follows, and hand the
kernel 128 KiB at a time: a fifth of all that an upload costs. We are a pull producer, which
Twisted asks whenever all that was written is gone and the socket takes more; so what goes
past its buffer stays in order.

Whatever else carries HTTP, TLS above all, is given copies by ``write``; and so is a small
body over TCP, since it leaves together with the request's head then.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.interfaces import IPullProducer, IPushProducer, ISystemHandle
from zope.interface import implementer

from sftpgw.values import KIB, MIB, Body, Buffer

WRITTEN_BYTES = 128 * KIB
"""What `write` is given at a time; a body of that size is a small one."""

SENT_BYTES = 1 * MIB
"""What one turn of the reactor sends of one body; other connections want theirs."""

SENT_BUFFERS = 512
"""Of the 1,024 that one ``sendmsg`` takes on Linux (IOV_MAX)."""

Progress = Callable[[int, bool], None]
"""Told how many bytes went out, and whether these were the last."""


def body_on(transport: Any, body: Body, progress: Progress) -> DirectBody | WrittenBody:
    """What sends `body` into `transport`, by the cheaper way that it allows; `start` it."""
    handle = transport.getHandle() if ISystemHandle.providedBy(transport) else None
    if sum(map(len, body)) <= WRITTEN_BYTES:
        return WrittenBody(body, transport, progress)
    if isinstance(handle, socket.socket) and hasattr(handle, "sendmsg"):
        return DirectBody(body, transport, handle, progress)
    return WrittenBody(body, transport, progress)


@implementer(IPullProducer)
class DirectBody:
    """Sends past the transport's own buffer, whenever that is empty."""

    def __init__(
        self, body: Body, transport: Any, handle: socket.socket, progress: Progress
    ) -> None:
        self._transport = transport
        self._handle = handle
        self._progress = progress
        self._buffers = body
        self._index = 0
        self._sent_bytes = 0  # of the buffer at `_index`
        self._has_begun = False

    def start(self) -> None:
        """What was written before, the request's head, goes first."""
        # Registering asks at once, when the head may still wait: that is not yet for us.
        self._transport.registerProducer(self, False)
        self._has_begun = True

    def stop(self) -> None:
        """Send nothing more, and let go of the body."""
        self._buffers = ()
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.unregisterProducer()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        if not self._has_begun or self._transport is None:
            return
        views, size_bytes = self._next_views()
        try:
            sent_bytes = self._handle.sendmsg(views) if views else 0
        except OSError:
            sent_bytes = 0  # full; or broken, which the transport finds out as well
        self._advance(sent_bytes)
        if sent_bytes < size_bytes or self._index < len(self._buffers):
            self._transport.startWriting()
            if sent_bytes:
                self._progress(sent_bytes, False)
            return
        self.stop()
        self._progress(sent_bytes, True)

    def stopProducing(self) -> None:
        """The connection is gone."""
        self._transport = None

    def _next_views(self) -> tuple[list[Buffer], int]:
        """What to send next: some buffers, the first from where it was left."""
        views: list[Buffer] = []
        size_bytes = -self._sent_bytes
        for index in range(self._index, min(self._index + SENT_BUFFERS, len(self._buffers))):
            views.append(self._buffers[index])
            size_bytes += len(views[-1])
            if size_bytes >= SENT_BYTES:
                break
        if self._sent_bytes:
            views[0] = memoryview(views[0])[self._sent_bytes :]
        return views, size_bytes

    def _advance(self, sent_bytes: int) -> None:
        left_bytes = self._sent_bytes + sent_bytes
        while self._index < len(self._buffers):
            size_bytes = len(self._buffers[self._index])
            if left_bytes < size_bytes:
                break
            left_bytes -= size_bytes
            self._index += 1
        self._sent_bytes = left_bytes


@implementer(IPushProducer)
class WrittenBody:
    """Writes copies into a transport, which keeps what it is given."""

    def __init__(self, body: Body, transport: Any, progress: Progress) -> None:
        self._transport = transport
        self._progress = progress
        self._pieces = _joined(body)
        self._is_paused = False

    def start(self) -> None:
        """Begin; the transport may pause us at once."""
        self._transport.registerProducer(self, True)
        self.resumeProducing()

    def stop(self) -> None:
        """Send nothing more, and let go of the body."""
        self._pieces = iter(())
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.unregisterProducer()

    def resumeProducing(self) -> None:
        self._is_paused = False
        while not self._is_paused and self._transport is not None:
            piece = next(self._pieces, None)
            if piece is None:
                self.stop()
                self._progress(0, True)
                return
            self._transport.write(piece)
            self._progress(len(piece), False)

    def pauseProducing(self) -> None:
        self._is_paused = True

    def stopProducing(self) -> None:
        self._transport = None


def _joined(body: Body) -> Iterator[bytes]:
    """Copies of at most `WRITTEN_BYTES`; small buffers go out together."""
    batch: list[Buffer] = []
    size_bytes = 0
    for buffer in body:
        view = memoryview(buffer)
        for start in range(0, view.nbytes, WRITTEN_BYTES):
            piece = view[start : start + WRITTEN_BYTES]
            if batch and size_bytes + piece.nbytes > WRITTEN_BYTES:
                yield b"".join(batch)
                batch, size_bytes = [], 0
            batch.append(piece)
            size_bytes += piece.nbytes
    if batch:
        yield b"".join(batch)
