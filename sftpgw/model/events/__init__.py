"""Events: what the gateway tells its operator.

An event is a frozen dataclass: its name in the log, its level and its fields. The log, metrics and
hooks take events from an `EventSink`. `catalogue` has all of them; the reference in ``docs/`` is
made of their docstrings and of `Event.advice`.

Rules

1. Names of events and fields outlive a version: operators search for them. ``tests/freeze`` has a
   table of them.
2. Secrets are never fields: no password, no secret key, no session token.
3. Events are made once a file, a request that failed or a session, never once a packet.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from types import MappingProxyType
from typing import ClassVar, Protocol

LOG_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "size_bytes": "bytes",
        "new_key": "to",
        "new_path": "to_path",
        "file_bytes": "of",
        "fingerprint": "key",
    }
)
"""Fields whose name in the log is older than the rule that a name has a unit."""


class EventLevel(enum.Enum):
    """How much an event matters; the values are the names of Twisted's log levels."""

    INFO = "info"
    WARNING = "warn"
    CRITICAL = "critical"


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that has happened.

    :cvar event_name: the name in the log, in lower case: ``file-stored``.
    :cvar level: the level in the log.
    :cvar advice: what the operator does about it; every warning has one.
    :cvar is_audited: tells who has logged in, or what became of stored data: the log never leaves
        it out, however many there are. Each stands for a login, or for a request that the store
        has answered. All other events have a rate.
    :cvar leading: fields that the log shows first, before those of a base class.
    :cvar trailing: fields that the log shows last, though a base class has them.
    """

    event_name: ClassVar[str]
    level: ClassVar[EventLevel] = EventLevel.INFO
    advice: ClassVar[str] = ""
    is_audited: ClassVar[bool] = False
    leading: ClassVar[tuple[str, ...]] = ()
    trailing: ClassVar[tuple[str, ...]] = ()

    def facts(self) -> dict[str, object]:
        """The fields by their names in the log, in order; a field that is None is left out."""
        values = vars(self)
        return {
            shown: value
            for name, shown in log_fields(type(self))  # type: ignore[arg-type]
            if (value := values[name]) is not None
        }

    def must_be_logged(self) -> bool:
        """Whether the log must have this event, however many there are."""
        return self.is_audited

    @classmethod
    def ordered(cls, names: Collection[str]) -> Iterable[str]:
        """The names of fields in the order of the log."""
        if not cls.leading and not cls.trailing:
            return names
        moved = (*cls.leading, *cls.trailing)
        return (
            *cls.leading,
            *(name for name in names if name not in moved),
            *(name for name in cls.trailing if name in names),
        )


@cache
def log_fields(kind: type[Event]) -> tuple[tuple[str, str], ...]:
    """The fields of an event in the order of the log, each with its name there."""
    names = [each.name for each in fields(kind)]
    return tuple((name, LOG_NAMES.get(name, name)) for name in kind.ordered(names))


class EventSink(Protocol):
    """Where the gateway tells what has happened."""

    def emit(self, event: Event) -> None: ...

    def bind(self, **context: str) -> EventSink:
        """The same sink, with `context` added to each event: session, peer, user."""
