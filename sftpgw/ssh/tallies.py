"""What happens too often for a log line each: counted, and told in one event now and then.

Knows: counts by name, and the address of the last one. Must not know: what is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from sftpgw.model.clock import Clock, DelayedCall
from sftpgw.model.events import EventSink


class Tally:
    """Counts until `seconds` after the first one, tells, and begins anew with the next one.

    :param event: what is told, with the counts by name and ``last_from``.
    :param more: further facts, asked for as the event is told.
    """

    def __init__(
        self,
        event: str,
        seconds: float,
        clock: Clock,
        events: EventSink,
        more: Callable[[], Mapping[str, object]] = dict,
    ) -> None:
        self._event = event
        self._seconds = seconds
        self._clock = clock
        self._events = events
        self._more = more
        self._counts: Counter[str] = Counter()
        self._last_from = ""
        self._telling: DelayedCall | None = None

    def count(self, name: str, host: str | None) -> None:
        """One more of `name`, from the address `host`."""
        self._counts[name] += 1
        self._last_from = host or "local"
        if self._telling is None:
            self._telling = self._clock.callLater(self._seconds, self._tell)

    def end(self) -> None:
        """Tell now what was counted. What is counted after that begins a new one."""
        if self._telling is not None:
            self._telling.cancel()
            self._tell()

    def _tell(self) -> None:
        self._telling = None
        counts, self._counts = self._counts, Counter()
        self._events.tell(self._event, **counts, last_from=self._last_from, **self._more())
