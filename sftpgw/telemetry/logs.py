"""Events as log lines, one a line, readable by people and by grep.

Knows: how an event and its facts become a line that no client can forge.
Must not know: what the events mean.

A line is ``event name=value name="value with blanks"``. Names of files and users come from
strangers: whatever is not printable, a line break above all, is shown as an escape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

from twisted.logger import Logger, LogLevel

from sftpgw.model.events import Event, EventSink
from sftpgw.model.events.gateway_events import Defect

_PLAIN = re.compile(r"[^\s\"'\\=]+")
_LONGEST_VALUE = 1200  # more than `model.limits.MAX_KEY_BYTES`


class LogSink:
    """An `EventSink` that writes to a Twisted logger.

    :param logger: takes a line for each event, which its observers have as ``event``, too.
    :param context: what each line begins with, behind the event's name.
    """

    def __init__(self, logger: Logger, context: Mapping[str, str] | None = None) -> None:
        self._logger = logger
        self._context = dict(context or {})

    def emit(self, event: Event) -> None:
        """Log `event`; a `Defect` brings its traceback."""
        name = event.event_name
        line = format_line(name, {**self._context, **event.facts()})
        if isinstance(event, Defect):
            self._logger.failure("{line}", event.failure, line=line, event=name)
        else:
            level = LogLevel.lookupByName(event.level.value)
            self._logger.emit(level, "{line}", line=line, event=name)

    def bind(self, **context: str) -> EventSink:
        """The same sink, with `context` in each line."""
        return LogSink(self._logger, {**self._context, **context})


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
    return '"' + "".join(map(_shown, text)) + '"'


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
