"""All events."""

from __future__ import annotations

from types import ModuleType

from sftpgw.model.events import (
    Event,
    credential_events,
    file_events,
    gateway_events,
    quota_events,
    session_events,
    store_events,
    upload_events,
    user_source_events,
)

TOPICS: tuple[ModuleType, ...] = (
    session_events,
    file_events,
    upload_events,
    store_events,
    gateway_events,
    quota_events,
    user_source_events,
    credential_events,
)


def events_of(topic: ModuleType) -> tuple[type[Event], ...]:
    """The events that a module defines, in their order."""
    return tuple(
        kind
        for kind in vars(topic).values()
        if isinstance(kind, type)
        and issubclass(kind, Event)
        and kind.__module__ == topic.__name__
        and hasattr(kind, "event_name")
    )


EVENTS: tuple[type[Event], ...] = tuple(kind for topic in TOPICS for kind in events_of(topic))
