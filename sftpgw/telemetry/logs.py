"""Events as log lines, one a line, readable by people and by grep.

Knows: how an event and its facts become a line that no client can forge, and whom it is charged to.
Must not know: what the events mean.

A line is ``event name=value name="value with blanks"``. Names of files and users come from
strangers: whatever is not printable, a line break above all, is shown as an escape.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum

from twisted.logger import Logger, LogLevel

from sftpgw.model.addresses import source_of
from sftpgw.model.events import Event, EventSink
from sftpgw.model.events.gateway_events import Defect
from sftpgw.telemetry.allowance import Source
from sftpgw.telemetry.limiter import LogLimiter, charge

_PLAIN = re.compile(r"[^\s\"'\\=]+")
_LONGEST_VALUE = 1200
"""The most characters of a value, escapes included; more than `model.limits.MAX_KEY_BYTES`."""

GATEWAY = Source("gateway")
"""The source of events that no client has caused."""


class LogSink:
    """An `EventSink` that writes to a Twisted logger.

    :param logger: takes a line for each event, which its observers have as ``event``, too.
    :param context: what each line begins with, behind the event's name.
    :param limiter: bounds the lines of each kind of event from each source; None: nothing does.
    """

    def __init__(
        self,
        logger: Logger,
        context: Mapping[str, str] | None = None,
        limiter: LogLimiter | None = None,
    ) -> None:
        self._logger = logger
        self._context = dict(context or {})
        self._limiter = limiter
        self._source = _source_in(self._context)

    def emit(self, event: Event) -> None:
        """Log `event`, unless there were too many; a `Defect` brings its traceback."""
        name = event.event_name
        if self._limiter is None or event.must_be_logged():
            self._write(event, name, self._line_of(event))
            return
        buckets = self._limiter.admit(name, self._source)
        if buckets:
            line = self._line_of(event)
            traceback = event.failure.getTraceback() if isinstance(event, Defect) else ""
            charge(buckets, line + traceback)
            self._write(event, name, line)

    def _line_of(self, event: Event) -> str:
        return format_line(event.event_name, {**self._context, **event.facts()})

    def _write(self, event: Event, name: str, line: str) -> None:
        if isinstance(event, Defect):
            self._logger.failure("{line}", event.failure, line=line, event=name)
        else:
            level = LogLevel.lookupByName(event.level.value)
            self._logger.emit(level, "{line}", line=line, event=name)

    def bind(self, **context: str) -> EventSink:
        """The same sink, with `context` in each line."""
        return LogSink(self._logger, {**self._context, **context}, self._limiter)


def _source_in(context: Mapping[str, str]) -> Source:
    """Whom a session's lines are charged to: its user, before the login its address or /64."""
    if "user" in context:
        return Source(context["user"])
    if "peer" in context:
        host = context["peer"].rpartition(":")[0].strip("[]")
        return Source(source_of(host), "strangers")
    return GATEWAY


def format_line(event: str, facts: Mapping[str, object]) -> str:
    """The line for an event, without an end of line."""
    return " ".join([event, *(f"{name}={_value(fact)}" for name, fact in facts.items())])


def _value(fact: object) -> str:
    if type(fact) is int:
        return str(fact)
    text = fact if type(fact) is str else _text(fact)
    if len(text) > _LONGEST_VALUE:
        text = text[:_LONGEST_VALUE] + "…"
    if _PLAIN.fullmatch(text) and text.isprintable():
        return text
    shown = "".join(map(_shown, text))
    if len(shown) > _LONGEST_VALUE + 1:
        shown = _cut(map(_shown, text))
    return f'"{shown}"'


def _cut(shown: Iterable[str]) -> str:
    """The first characters, up to `_LONGEST_VALUE`; no escape is cut in two."""
    kept, size = [], 0
    for each in shown:
        size += len(each)
        if size > _LONGEST_VALUE:
            break
        kept.append(each)
    return "".join(kept) + "…"


def _text(fact: object) -> str:
    """A fact in words that are not Python's."""
    if isinstance(fact, Enum):
        return _text(fact.value)
    if fact is None or isinstance(fact, bool):
        return {None: "none", True: "yes", False: "no"}[fact]
    if isinstance(fact, float):
        return f"{fact:.3f}"
    if isinstance(fact, bytes):
        return fact.decode("utf-8", "backslashreplace")
    if isinstance(fact, (list, tuple)):
        return " ".join(map(_text, fact))
    return str(fact)


def _shown(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else ascii(character)[1:-1]
