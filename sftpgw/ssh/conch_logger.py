"""A logger for Conch's classes that logs their warnings and failures only.

Knows: Twisted's log levels. Must not know: what is logged.

Conch logs every packet and channel at levels debug and info. What operators need of that is an
event of ours, with the session's label.
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
    """A logger that drops everything below level warning.

    :param namespace: its name, as for `twisted.logger.Logger`.
    """
    warnings_only = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    observer = FilteringLogObserver(globalLogPublisher, [warnings_only])
    return Logger(namespace, observer=observer)
