"""Whose turn it is to send, when the channels of one connection have more than TCP takes.

Knows: who wants to send, in order. Must not know: packets, windows, or why TCP is full.

Each sends one packet and goes to the end of the line, and the line stays as it is while TCP
is full: so the answer to ``ls`` on one channel waits for a packet of each other channel, not
for the end of their downloads. Who is alone in the line sends several packets at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol


class ScheduledChannel(Protocol):
    """One that has something to send, now and then."""

    def send_turn(self, *, is_alone: bool) -> bool:
        """Send one packet, or none, or some if nobody else waits; whether there are more."""


class ChannelScheduler:
    """The line of those who want to send.

    :param can_send: whether one more packet may be sent now.
    """

    def __init__(self, can_send: Callable[[], bool]) -> None:
        self._can_send = can_send
        self._line: deque[ScheduledChannel] = deque()
        self._under_way = False

    def ask(self, sender: ScheduledChannel) -> None:
        """`sender` has something to send. It may do so before this returns."""
        self._stand_in_line(sender)
        self.go_on()

    def go_on(self) -> None:
        """Send what can be sent. Whoever asks for a turn meanwhile is served in turn."""
        if self._under_way:
            return
        self._under_way = True
        try:
            while self._line and self._can_send():
                sender = self._line.popleft()
                if sender.send_turn(is_alone=not self._line):
                    self._stand_in_line(sender)
        finally:
            self._under_way = False

    def _stand_in_line(self, sender: ScheduledChannel) -> None:
        if sender not in self._line:
            self._line.append(sender)
