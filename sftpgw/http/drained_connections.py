"""Responses that are not wanted any more, and are received to their end.

Knows: how many connections are kept for that, and how long. Must not know: HTTP.

A connection whose response is given up can only be dropped, unless the rest of the response is
taken. Another one costs round trips, and a handshake of TLS a millisecond of CPU. So a short rest
is received and thrown away: of a client that opens and closes files in a loop, each CLOSE would
drop a connection.
"""

from __future__ import annotations

from typing import Any

from sftpgw.model.clock import Clock, DelayedCall
from sftpgw.model.units import KIB

DRAINED_BYTES = 256 * KIB
"""The longest rest that is received: as much as is read from TCP at a time."""

MAX_DRAINED = 8
"""So many connections are drained at once; they come on top of those with a request under way."""

DRAIN_SECONDS = 1.0
"""A rest that takes longer is not worth it."""


class DrainedConnections:
    """The connections that are drained.

    :param clock: times them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timers: dict[Any, DelayedCall] = {}  # by transport
        self._has_ended = False

    def __len__(self) -> int:
        """How many there are."""
        return len(self._timers)

    def begin(self, transport: Any, left_bytes: int | None) -> bool:
        """Drain a connection. Returns whether it is worth it, and there is room.

        :param transport: the connection; it is dropped if it takes too long.
        :param left_bytes: how much of the response has not come; None: nothing is known of it.
        """
        has_room = len(self._timers) < MAX_DRAINED and not self._has_ended
        if left_bytes is None or left_bytes > DRAINED_BYTES or not has_room:
            return False
        self._timers[transport] = self._clock.callLater(DRAIN_SECONDS, self._abort, transport)
        return True

    def end(self, transport: Any) -> None:
        """The response has ended, or the connection; it need not be one that is drained."""
        timer = self._timers.pop(transport, None)
        if timer is not None:
            timer.cancel()

    def abort_all(self) -> None:
        """Drop all of them, and drain none any more."""
        self._has_ended = True
        for transport in tuple(self._timers):
            self.end(transport)
            transport.abortConnection()

    def _abort(self, transport: Any) -> None:
        del self._timers[transport]
        transport.abortConnection()
