"""Lines of the log that are no events: those of Twisted and Conch, and of the gateway's start.

Knows: Twisted's observers, and where such a line comes from.
Must not know: events.

An error that a library logs for each connection that it could not accept, or for each Deferred
without an errback, could otherwise be repeated without bound. Lines are told apart by the logger's
namespace and the format of the message, so that what a client writes into one opens no new
allowance.
"""

from __future__ import annotations

from typing import cast

from twisted.logger import ILogObserver, LogEvent, LogPublisher, formatEvent
from zope.interface import implementer

from sftpgw.telemetry.allowance import Source
from sftpgw.telemetry.limiter import LogLimiter, charge

LIBRARIES = Source("libraries", "libraries")
"""The source of all lines that are no events. They share a bucket, whatever they are about."""

_LONGEST_KIND = 80
_TRACEBACK_BYTES = 2048
"""About what a traceback fills."""


@implementer(ILogObserver)
class LimitedObserver:
    """Passes events on, and other lines as far as they are allowed.

    :param observer: takes them.
    :param limiter: bounds them.
    """

    def __init__(self, observer: ILogObserver, limiter: LogLimiter) -> None:
        self._observer = observer
        self._limiter = limiter

    def __call__(self, event: LogEvent) -> None:
        """Take a line."""
        if "event" in event:  # `LogSink` has limited it
            self._observer(event)
            return
        buckets = self._limiter.admit(_kind_of(event), LIBRARIES)
        if buckets:
            traceback = "." * _TRACEBACK_BYTES if "log_failure" in event else ""
            charge(buckets, f"{formatEvent(event)}{traceback}")
            self._observer(event)


def limit_observers(publisher: LogPublisher, limiter: LogLimiter) -> None:
    """Put a `LimitedObserver` before each observer of a publisher.

    Twisted's publisher has no public list of its observers, and twistd makes them itself.

    :param publisher: Twisted's, once twistd has set it up.
    :param limiter: bounds the lines.
    """
    for observer in tuple(publisher._observers):
        publisher.removeObserver(observer)
        publisher.addObserver(LimitedObserver(observer, limiter))


def _kind_of(event: LogEvent) -> str:
    """What a line is about: fixed texts of the program that logs it."""
    text = event.get("log_format") or ""
    if text in ("{log_text}", "{log_legacy}") or not text:
        text = str(event.get("format") or event.get("why") or "")
    return f"{event.get('log_namespace', '')}: {cast(str, text)}"[:_LONGEST_KIND]
