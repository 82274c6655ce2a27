"""Events that one channel may cause only so often.

Knows: how many were told. Must not know: what they tell.
"""

from __future__ import annotations

from sftpgw.model.events import Event, EventSink
from sftpgw.model.events.session_events import FurtherRefusalsUntold

MAX_TOLD = 100
"""A client can be wrong for ever; the log hears of it so many times for one channel."""


class LimitedEvents:
    """Emits `MAX_TOLD` events, then once that no further ones are told.

    :param events: where they go.
    """

    def __init__(self, events: EventSink) -> None:
        self._events = events
        self._told = 0

    def emit(self, event: Event) -> None:
        """Emit an event, unless too many were emitted already."""
        self._told += 1
        if self._told <= MAX_TOLD:
            self._events.emit(event)
        elif self._told == MAX_TOLD + 1:
            self._events.emit(FurtherRefusalsUntold(told=MAX_TOLD))
