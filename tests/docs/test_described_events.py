"""The event reference and the catalogue say the same of each event."""

from __future__ import annotations

import pytest

from sftpgw.model.events.catalogue import EVENTS
from tests.docs.extensions import FOLDER, load_extension

described_events = load_extension("described_events")
DESCRIBED = described_events.describe_events()


def test_the_reference_knows_every_event() -> None:
    assert [each.name for each in DESCRIBED] == [kind.event_name for kind in EVENTS]
    by_topic = [each for topic in described_events.describe_topics() for each in topic.events]
    assert by_topic == list(DESCRIBED)
    names = {each.name for each in DESCRIBED}
    assert {"file-stored", "upload-left-behind", "connections-refused"} <= names
    page = (FOLDER.parent / "events.rst").read_text(encoding="utf-8")
    assert ".. event-reference::" in page


@pytest.mark.parametrize("event", DESCRIBED, ids=lambda event: event.name)
def test_an_event_is_explained(event: object) -> None:
    name, meaning = getattr(event, "name"), getattr(event, "meaning")  # noqa: B009
    assert meaning[0].isupper(), name
    assert meaning.endswith("."), name
    assert ":param" not in meaning
    for field in getattr(event, "fields"):  # noqa: B009
        assert field.meaning, f"{name} {field.name}: what is it?"


def test_a_warning_says_what_to_do() -> None:
    warnings = described_events.describe_warnings()
    assert len(warnings) >= 15
    for event in warnings:
        assert event.advice.endswith("."), f"{event.name}: what does the operator do?"
