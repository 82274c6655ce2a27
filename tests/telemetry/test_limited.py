"""`telemetry/limited`: a session tells so much, and that there is more."""

from __future__ import annotations

from sftpgw.model.events.session_events import RequestRefused
from sftpgw.telemetry.limited import MAX_TOLD, LimitedEvents
from tests.stores import RecordedEvents


def test_further_events_are_told_of_once() -> None:
    events = RecordedEvents()
    limited = LimitedEvents(events)
    for number in range(MAX_TOLD + 5):
        limited.emit(RequestRefused(reason=str(number)))
    assert events.names() == ["request-refused"] * MAX_TOLD + ["further-refusals-untold"]
    assert events.told[-1] == ("further-refusals-untold", {"told": MAX_TOLD})
