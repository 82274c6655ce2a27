"""What of Conch's own log lines reaches the operator: its warnings and failures.

Knows: Twisted's log levels. Must not know: what is logged.

Conch tells of every packet and channel at debug and info. What matters of it
is an event of ours, with the session's label.
"""

from __future__ import annotations

from twisted.logger import (
    FilteringLogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogPublisher,
)


def quiet_logger(namespace: str) -> Logger:
    """A logger for Conch's classes that drops all below a warning."""
    warnings_only = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    observer = FilteringLogObserver(globalLogPublisher, [warnings_only])
    return Logger(namespace, observer=observer)
