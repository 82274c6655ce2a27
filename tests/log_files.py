"""The log as the gateway writes it, in memory, with its limits."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger

from sftpgw.model.events import EventSink
from sftpgw.telemetry.limiter import LINE_BYTES, LogLimiter
from sftpgw.telemetry.logs import LogSink


class LogFile:
    """A log of which only figures are kept.

    :ivar sink: takes events; each session binds its fields to it.
    :ivar lines: how many lines there are of each kind.
    :ivar size_bytes: how large they are, by kind.
    """

    def __init__(self, clock: Any = None) -> None:
        self.clock = clock or Clock()
        self.lines: Counter[str] = Counter()
        self.size_bytes: Counter[str] = Counter()
        self.last: dict[str, str] = {}
        self.limiter = LogLimiter(self.clock)
        logger = Logger("sftpgw", observer=self._write)
        self.limiter.tell(LogSink(logger))
        self.sink: EventSink = LogSink(logger, limiter=self.limiter)

    def _write(self, event: LogEvent) -> None:
        kind, line = event["event"], event["line"]
        self.lines[kind] += 1
        self.size_bytes[kind] += LINE_BYTES + len(line.encode("utf-8", "surrogateescape"))
        self.last[kind] = line
