"""Accepts a few connections at a time, and none while the process has no descriptor for one.

Knows: Twisted's ports, and which faults of accept(2) mean that a resource is used up.
Must not know: what is served.

Twisted keeps one descriptor in reserve. When accept(2) fails with EMFILE, it gives that up for a
moment, accepts each client that waits, closes the connection at once, and logs lines for each of
them: an honest client is reset, and a client that tries again fills the log. Here a client waits in
the kernel's backlog until a descriptor is free.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.tcp import Port

from sftpgw.model.clock import Clock, DelayedCall

PAUSE_SECONDS = 0.2
"""How long no connection is accepted. A login takes longer than that, and a descriptor is free as
soon as one request to the store has ended and its connection is closed, or a client hangs up."""

MAX_ACCEPTS = 16
"""How many clients are accepted in one iteration of the reactor, at 1 to 2 milliseconds each.
Twisted begins with 100, and goes up by 20 as long as more clients wait."""

USED_UP = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""accept(2): descriptors of the process, of the system, memory for sockets."""


class PausingPort:
    """A port that listens, and pauses.

    :param port: Twisted's, which listens already.
    :param clock: times the pauses.
    :param on_paused: is called for each pause, with the name of the fault: ``EMFILE``.
    """

    def __init__(self, port: Port, clock: Clock, on_paused: Callable[[str], None]) -> None:
        self._port: Any = port
        self._clock = clock
        self._on_paused = on_paused
        self._resuming: DelayedCall | None = None
        self._port.socket = _Listener(self._port.socket, self._pause)
        self._accept_clients: Callable[[], object] = self._port.doRead
        self._port.doRead = self._accept_some  # type: ignore[method-assign]

    def _accept_some(self) -> object:
        """Accept clients, when the reactor finds that some wait."""
        self._port.numberAccepts = min(self._port.numberAccepts, MAX_ACCEPTS)
        return self._accept_clients()

    def _pause(self, number: int) -> None:
        self._port.stopReading()
        if self._resuming is None:
            self._resuming = self._clock.callLater(PAUSE_SECONDS, self._resume)
        self._on_paused(errno.errorcode[number])

    def _resume(self) -> None:
        self._resuming = None
        self._port.startReading()

    def stop(self) -> None:
        """Do not go on; the port is about to stop."""
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None


class _Listener:
    """A listening socket whose `accept` finds no client while a resource is used up.

    :param listener: the socket.
    :param on_used_up: is called with the number of the fault.
    """

    def __init__(self, listener: socket.socket, on_used_up: Callable[[int], None]) -> None:
        self._listener = listener
        self._on_used_up = on_used_up

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)

    def accept(self) -> tuple[socket.socket, Any]:
        """:raises BlockingIOError: there is no client, or none can be accepted now"""
        try:
            return self._listener.accept()
        except OSError as error:
            if error.errno not in USED_UP:
                raise
            self._on_used_up(error.errno)
            raise BlockingIOError(errno.EAGAIN, "accepting has paused") from error
