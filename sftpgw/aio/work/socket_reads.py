"""Reads a TCP connection when it is its owner's turn.

Knows: when Twisted's reactor reads a connection, and how it stops to look at one.
Must not know: what the bytes are, or who is next.

Bytes that cannot be worked off yet stay in the kernel: TCP holds the sender back, no memory of the
process is taken, and what is read is still in the processor's cache when it is decrypted.

A connection that is held is not registered with ``epoll``, so that no iteration looks at it in
vain. Its turn reads it at once, and goes on while a read fills the buffer and there is time. Only
then the reactor looks at it again.

Twisted calls `doRead` of the connection, and sets that of a connection that it aborts to a function
that does nothing (``twisted.internet.tcp._AbortingMixin``). This does the same. A transport without
`doRead`, as in tests, is read whenever it calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sftpgw.aio.work.scheduler import Turns


def _no() -> bool:
    return False


class SocketReads:
    """The reads of one connection.

    :param tcp: the TCP transport, Twisted's.
    :param turns: whose turn is waited for; its work ends with `go_on`.
    :param may_read: returns whether the owner takes more bytes.
    :param may_stay: returns whether what has come may stay in the kernel until the turn.
    :ivar is_held: whether the reactor does not look at the connection until its turn comes.
    :ivar has_more: set by the owner: whether the last read has filled the buffer.
    """

    __slots__ = (
        "_is_reading",
        "_may_read",
        "_may_stay",
        "_read",
        "_tcp",
        "_turns",
        "_why",
        "has_more",
        "is_held",
    )

    def __init__(
        self,
        tcp: Any,
        turns: Turns,
        may_read: Callable[[], bool],
        may_stay: Callable[[], bool] = lambda: True,
    ) -> None:
        self.is_held = False
        self.has_more = False
        self._tcp = tcp
        self._turns = turns
        self._may_read = may_read
        self._may_stay = may_stay
        self._is_reading = False
        self._why: Any = None
        self._read = getattr(tcp, "doRead", None)
        if self._read is not None:
            tcp.doRead = self._on_readable

    def hold(self) -> None:
        """Do not read before the turn comes. The owner waits for it."""
        if not self.is_held:
            self.is_held = True
            self._tcp.pauseProducing()

    def go_on(self) -> None:
        """Within a turn: all that was read is worked off, so read on if the connection is held."""
        if not self.is_held or self._is_reading:
            return
        self._is_reading = self._read is not None
        try:
            while self._is_reading and self._may_read():
                self.has_more = False
                self._tcp.doRead()
                if not self.has_more:
                    break
                if not self._turns.has_time():
                    self._turns.wait()
        finally:
            self._is_reading = False
        if not self._turns.is_waiting:
            self.is_held = False
            if self._may_read():
                self._tcp.resumeProducing()

    def end(self) -> None:
        """The connection is lost. Without this it would be freed by the garbage collector only."""
        if self._read is not None:
            self._read = None
            vars(self._tcp).pop("doRead", None)
        self._may_read = self._may_stay = _no

    def _on_readable(self) -> Any:
        """What the reactor calls, and `go_on`; returns why the connection has ended, if it has.

        `go_on` cannot end it. So the reason is kept for the reactor, which calls again.
        """
        if self._why is None:
            if self._turns.may_work():
                self._turns.begin_with(self._read_now)
            elif self._may_stay():
                self.hold()
                self._turns.wait()
            else:
                self._read_now()
        return self._why

    def _read_now(self) -> None:
        if self._read is not None:
            self._why = self._read()
