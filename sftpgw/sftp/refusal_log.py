"""What the log is told of requests that are refused.

Knows: how often a session may be told of, and what has been told of a handle.
Must not know: why a request is refused.

An upload that has failed refuses each WRITE that is on its way, with the same words: sixty of
them, with most clients. The first one is told, and the others are counted until the handle is
closed.
"""

from __future__ import annotations

from dataclasses import dataclass

from sftpgw.model.events import Event, EventSink
from sftpgw.model.events.session_events import RefusalsRepeated, RequestRefused
from sftpgw.telemetry.limited import LimitedEvents
from sftpgw.wire.sftp import Status


@dataclass(slots=True)
class _Sticking:
    """What was told of a handle last, and how often it has been the same since."""

    code: Status
    sentence: str
    repeated: int = 0


class RefusalLog:
    """Tells the refusals of one session."""

    def __init__(self, events: EventSink) -> None:
        self._limited = LimitedEvents(events)
        self._sticking: dict[bytes, _Sticking] = {}

    def refused(
        self, request: str, code: Status, sentence: str, *, handle: bytes | None = None
    ) -> None:
        """A request was refused.

        :param request: its name.
        :param handle: the open file or directory that it was for; None if there was none.
        """
        if handle is not None:
            sticking = self._sticking.get(handle)
            if sticking and (sticking.code, sticking.sentence) == (code, sentence):
                sticking.repeated += 1
                return
            self._tell_repeated(self._sticking.pop(handle, None))
            self._sticking[handle] = _Sticking(code, sentence)
        self.emit(RequestRefused(request=request, status=code.name.lower(), reason=sentence))

    def ended(self, handle: bytes) -> None:
        """The handle is gone."""
        self._tell_repeated(self._sticking.pop(handle, None))

    def all_ended(self) -> None:
        """The session is over."""
        for handle in list(self._sticking):
            self.ended(handle)

    def emit(self, event: Event) -> None:
        """Tell what a client has done wrong, unless it was told of too much already."""
        self._limited.emit(event)

    def _tell_repeated(self, sticking: _Sticking | None) -> None:
        if sticking is not None and sticking.repeated:
            self.emit(RefusalsRepeated(times=sticking.repeated, reason=sticking.sentence))
