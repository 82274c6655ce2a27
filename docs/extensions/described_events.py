"""What the event reference says of each event.

All of it comes from the catalogue in `sftpgw.model.events`: docstrings, levels, advice.
Nothing here needs Sphinx.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, Field, dataclass, fields

from sftpgw.model.events import LOG_NAMES, Event, EventLevel
from sftpgw.model.events.catalogue import EVENTS, TOPICS, events_of
from sftpgw.model.events.gateway_events import Defect


@dataclass(frozen=True)
class DescribedField:
    """A field of an event.

    :param name: its name in the log.
    :param meaning: one clause, from the docstring of the event or of a base class.
    :param is_optional: whether some lines do not have it.
    """

    name: str
    meaning: str
    is_optional: bool


@dataclass(frozen=True)
class DescribedEvent:
    """An event.

    :param name: its name in the log.
    :param level: its level in the log.
    :param meaning: what has happened, in sentences.
    :param fields: in the order of the log.
    :param advice: what the operator does; empty where nothing is to be done.
    """

    name: str
    level: str
    meaning: str
    fields: tuple[DescribedField, ...]
    advice: str


@dataclass(frozen=True)
class DescribedTopic:
    """Events that belong together.

    :param title: of what they are, as a heading.
    """

    title: str
    events: tuple[DescribedEvent, ...]


def describe_topics() -> tuple[DescribedTopic, ...]:
    """Every event, by topic, in the order of the catalogue."""
    return tuple(
        DescribedTopic(
            (inspect.getdoc(topic) or "").splitlines()[0].removeprefix("Events of ").rstrip("."),
            tuple(map(describe_event, events_of(topic))),
        )
        for topic in TOPICS
    )


def describe_events() -> tuple[DescribedEvent, ...]:
    """Every event, in the order of the catalogue."""
    return tuple(map(describe_event, EVENTS))


def describe_warnings() -> tuple[DescribedEvent, ...]:
    """The events that need attention, for the troubleshooting page."""
    return tuple(map(describe_event, (e for e in EVENTS if e.level is not EventLevel.INFO)))


def describe_event(kind: type[Event]) -> DescribedEvent:
    """What the catalogue says of one event."""
    own = {each.name: each for each in fields(kind) if (kind, each.name) != (Defect, "failure")}
    return DescribedEvent(
        name=kind.event_name,
        level=kind.level.value,
        meaning=meaning_of(kind),
        fields=tuple(describe_field(kind, own[name]) for name in kind.ordered(own)),
        advice=kind.advice,
    )


def describe_field(kind: type[Event], own: Field[object]) -> DescribedField:
    return DescribedField(
        name=LOG_NAMES.get(own.name, own.name),
        meaning=parameters_of(kind).get(own.name, ""),
        is_optional=own.default is not MISSING,
    )


def meaning_of(kind: type[Event]) -> str:
    """The docstring without its field list, in one line."""
    text = inspect.cleandoc(kind.__doc__ or "").partition("\n:param ")[0]
    return " ".join(text.split())


def parameters_of(kind: type[Event]) -> dict[str, str]:
    """What the docstrings of an event and of its bases say of fields, by the fields' names."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        text = inspect.cleandoc(base.__doc__ or "")
        for name, meaning in re.findall(r"^:param (\w+): ((?:.|\n(?!:))*)", text, re.MULTILINE):
            found[name] = " ".join(meaning.split())
    return found
