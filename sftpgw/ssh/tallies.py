"""Counters for occurrences that are too frequent to be logged one by one: one event reports many.

Knows: counts by name, and the address of the last occurrence. Must not know: what is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from sftpgw.model.clock import Clock, DelayedCall
from sftpgw.model.events import Event, EventSink


class Tally:
    """Counts from the first occurrence on, emits one event after a while, and begins anew.

    :param make_event: makes the event of the counts by name and the address of the last occurrence.
    :param seconds: how long to count.
    :param clock: the reactor, or ``task.Clock`` in tests.
    :param events: takes the event.
    """

    def __init__(
        self,
        make_event: Callable[[Mapping[str, int], str], Event],
        seconds: float,
        clock: Clock,
        events: EventSink,
    ) -> None:
        self._make_event = make_event
        self._seconds = seconds
        self._clock = clock
        self._events = events
        self._counts: Counter[str] = Counter()
        self._last_from = ""
        self._call: DelayedCall | None = None

    def count(self, name: str, host: str | None) -> None:
        """Count one occurrence.

        :param name: the name of the count.
        :param host: the address that it came from; None if it has none.
        """
        self._counts[name] += 1
        self._last_from = host or "local"
        if self._call is None:
            self._call = self._clock.callLater(self._seconds, self._emit)

    def flush(self) -> None:
        """Emit the event for what was counted, at once."""
        if self._call is not None:
            self._call.cancel()
            self._emit()

    def _emit(self) -> None:
        self._call = None
        counts, self._counts = self._counts, Counter()
        self._events.emit(self._make_event(counts, self._last_from))
