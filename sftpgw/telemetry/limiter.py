"""Lines of the log that were left out, summed up from time to time.

Knows: the clock, and the event that tells how many lines were left out.
Must not know: which lines are written (`allowance`), or where they go.
"""

from __future__ import annotations

from sftpgw.aio.token_bucket import TokenBucket
from sftpgw.model.clock import Clock, DelayedCall
from sftpgw.model.events import Event, EventSink
from sftpgw.model.events.gateway_events import EventsSuppressed
from sftpgw.telemetry.allowance import LogAllowance, Source

TELL_SECONDS = 60.0
"""How long left-out lines are counted before an event tells of them."""

LINE_BYTES = 48
"""What a log adds to each line: the time, the name of the logger, the level."""


class LogLimiter:
    """Bounds what each kind of line from each source fills of the log.

    :param clock: the reactor, or ``task.Clock`` in tests.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._allowance = LogAllowance(clock.seconds)
        self._call: DelayedCall | None = None
        self._events: EventSink | None = None

    def tell(self, events: EventSink) -> None:
        """Tell what was left out to a sink, which must not be limited itself.

        :param events: takes `EventsSuppressed`.
        """
        self._events = events

    def admit(self, kind: str, source: Source) -> tuple[TokenBucket, ...]:
        """The buckets that pay for a line, by `charge`; () if the line is left out.

        :param kind: the name of the event, or what the line is about.
        :param source: what has caused it.
        """
        buckets = self._allowance.buckets_for(kind, source)
        if not buckets and self._call is None:
            self._call = self._clock.callLater(TELL_SECONDS, self._tell)
        return buckets

    def flush(self) -> None:
        """Tell at once what was left out."""
        if self._call is not None:
            self._call.cancel()
            self._tell()

    def _tell(self) -> None:
        self._call = None
        now = self._clock.seconds()
        for each in self._allowance.take_left_out():
            event: Event = EventsSuppressed(
                kind=each.kind,
                count=each.count,
                source=each.source,
                seconds=round(now - each.since_seconds, 3),
            )
            if self._events is not None:
                self._events.emit(event)


def charge(buckets: tuple[TokenBucket, ...], line: str) -> None:
    """Pay for a line.

    :param buckets: what `LogLimiter.admit` has returned.
    :param line: what is written.
    """
    size_bytes = LINE_BYTES + len(line.encode("utf-8", "surrogateescape"))
    for bucket in buckets:
        bucket.spend(size_bytes)
