"""Which channel of a connection sends next, when they have more to send than TCP takes.

Knows: the channels that want to send, in order. Must not know: packets, windows, or why TCP is
full.

Round robin: a channel sends one packet and goes to the end of the queue, and the queue stays as it
is while TCP is full. So the reply to ``ls`` on one channel waits for one packet of each other
channel, not for the end of their downloads. A channel that is alone in the queue sends several
packets at a time.

While the connection holds packets back to send them together, a channel with little data waits as
well: replies to requests that have come together become one packet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from sftpgw.model.units import KIB

JOINED_BYTES = 16 * KIB
"""So few bytes of a channel wait until the connection sends what has come together."""


class ScheduledChannel(Protocol):
    """A channel that has something to send, now and then."""

    @property
    def unsent_bytes(self) -> int:
        """How many bytes wait to be sent."""

    def send_quantum(self, *, is_alone: bool) -> bool:
        """Send one packet, if there is one that may be sent.

        :param is_alone: no other channel waits; several packets may be sent.
        :returns: whether there is more to send.
        """


class ChannelScheduler:
    """The queue of the channels that want to send.

    :param can_send: returns whether one more packet may be sent now.
    :param is_holding: returns whether `run` is called soon, so that little data can wait for more.
    """

    def __init__(self, can_send: Callable[[], bool], is_holding: Callable[[], bool]) -> None:
        self._can_send = can_send
        self._is_holding = is_holding
        self._queue: deque[ScheduledChannel] = deque()
        self._is_running = False

    def schedule(self, channel: ScheduledChannel) -> None:
        """Let `channel` send when it is next. It may send before this returns."""
        self._enqueue(channel)
        if channel.unsent_bytes > JOINED_BYTES or not self._is_holding():
            self.run()

    def run(self) -> None:
        """Let channels send until TCP is full or nothing is left.

        A channel that is scheduled meanwhile, from within `send_quantum`, is served as well.
        """
        if self._is_running:
            return
        self._is_running = True
        try:
            while self._queue and self._can_send():
                channel = self._queue.popleft()
                if channel.send_quantum(is_alone=not self._queue):
                    self._enqueue(channel)
        finally:
            self._is_running = False

    def _enqueue(self, channel: ScheduledChannel) -> None:
        if channel not in self._queue:
            self._queue.append(channel)
