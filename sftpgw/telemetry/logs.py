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
from twisted.python.failure import Failure

from sftpgw.model.events import EventSink

_PLAIN = re.compile(r"[^\s\"'\\=]+")
_WARNINGS = frozenset(
    {
        "bucket-unusable",
        "clock-corrected",
        "connections-refused",
        "login-refused",
        "piece-left-behind",
        "protocol-broken",
        "s3-gave-up",
        "throttling-began",
        "upload-left-behind",
    }
)
_LONGEST_VALUE = 1200  # more than `model.limits.MAX_KEY_BYTES`


class LogSink:
    """An `EventSink` that writes to a Twisted logger; failures are warnings."""

    def __init__(self, logger: Logger, facts: Mapping[str, object] | None = None) -> None:
        self._logger = logger
        self._facts = dict(facts or {})

    def tell(self, event: str, /, **facts: object) -> None:
        """Log `event` with these facts and the bound ones; a Failure brings its traceback."""
        failure = facts.pop("failure", None)
        every = {**self._facts, **facts}
        if isinstance(failure, Failure):
            self._logger.failure("{line}", failure, line=format_line(event, every), event=event)
            return
        is_warning = event.endswith("-failed") or event in _WARNINGS
        level = LogLevel.warn if is_warning else LogLevel.info
        self._logger.emit(level, "{line}", line=format_line(event, every), event=event)

    def bind(self, **facts: object) -> EventSink:
        """The same sink, with `facts` added to everything told."""
        return LogSink(self._logger, {**self._facts, **facts})


def format_line(event: str, facts: Mapping[str, object]) -> str:
    """The line for an event, without an end of line."""
    return " ".join([event, *(f"{name}={_value(fact)}" for name, fact in facts.items())])


def _value(fact: object) -> str:
    text = _text(fact)
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
