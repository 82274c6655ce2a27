"""The directives ``.. event-reference::`` and ``.. event-advice::``.

The first describes every event by topic, the second says of each warning what to do. Pages refer to
an event by ``:event:`file-stored```; a wrong name is a warning.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).parent))
from described_events import (
    DescribedEvent,
    DescribedTopic,
    describe_topics,
    describe_warnings,
)


class GeneratedDirective(SphinxDirective):
    """A directive whose content is reStructuredText made of the catalogue."""

    def lines(self) -> Iterator[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        source, _ = self.get_source_info()
        container = nodes.container()
        self.state.nested_parse(StringList(list(self.lines()), source), 0, container)
        return container.children


class EventReference(GeneratedDirective):
    """Describes every event."""

    def lines(self) -> Iterator[str]:
        for topic in describe_topics():
            yield from topic_lines(topic)


class EventAdvice(GeneratedDirective):
    """Says of each warning what to do."""

    def lines(self) -> Iterator[str]:
        for event in describe_warnings():
            yield from advice_lines(event)


def topic_lines(topic: DescribedTopic) -> Iterator[str]:
    """The reStructuredText that describes the events of a topic."""
    title = topic.title[0].upper() + topic.title[1:]
    yield f".. rubric:: {title}"
    yield ""
    for event in topic.events:
        yield from event_lines(event)


def event_lines(event: DescribedEvent) -> Iterator[str]:
    """The reStructuredText that describes an event."""
    yield f".. event:: {event.name}"
    yield ""
    yield f"   *{event.level}*. {event.meaning}"
    yield ""
    for field in event.fields:
        mark = " (not in every line)" if field.is_optional else ""
        yield f"   * ``{field.name}``: {field.meaning.rstrip('.')}{mark}"
    yield ""
    if event.advice:
        yield f"   **What to do:** {event.advice}"
        yield ""


def advice_lines(event: DescribedEvent) -> Iterator[str]:
    """The reStructuredText that says what to do about a warning."""
    yield f":event:`{event.name}`"
    yield f"   {event.meaning} {event.advice}"
    yield ""


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls to load the extension."""
    app.add_object_type("event", "event", "pair: %s; event")
    app.add_directive("event-reference", EventReference)
    app.add_directive("event-advice", EventAdvice)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
