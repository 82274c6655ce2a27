"""The log of refused requests.

Knows: the last refusal of each handle.
Must not know: why a request is refused, or how many events the log takes.

An upload that has failed refuses each WRITE that is on its way, in the same words: sixty of
them, with most clients. The first one is logged. The others are counted until the handle is
closed.
"""

from __future__ import annotations

from dataclasses import dataclass

from sftpgw.model.events import Event, EventSink
from sftpgw.model.events.session_events import RefusalsRepeated, RequestRefused
from sftpgw.wire.sftp import Status


@dataclass(slots=True)
class _RepeatedRefusal:
    """The last refusal of a handle, and how often it has been repeated."""

    code: Status
    sentence: str
    repeated: int = 0


class RefusalLog:
    """Logs the refusals of one SFTP channel."""

    def __init__(self, events: EventSink) -> None:
        self._events = events
        self._repeated: dict[bytes, _RepeatedRefusal] = {}

    def refused(
        self, request: str, code: Status, sentence: str, *, handle: bytes | None = None
    ) -> None:
        """Log that a request was refused.

        :param request: the request's name.
        :param code: the status of the reply.
        :param sentence: the words of the reply.
        :param handle: the open file or directory that it was for; None if there was none.
        """
        if handle is not None:
            last = self._repeated.get(handle)
            if last and (last.code, last.sentence) == (code, sentence):
                last.repeated += 1
                return
            self._tell_repeated(self._repeated.pop(handle, None))
            self._repeated[handle] = _RepeatedRefusal(code, sentence)
        self.emit(RequestRefused(request=request, status=code.name.lower(), reason=sentence))

    def ended(self, handle: bytes) -> None:
        """A handle was closed."""
        self._tell_repeated(self._repeated.pop(handle, None))

    def all_ended(self) -> None:
        """The channel is closed."""
        for handle in list(self._repeated):
            self.ended(handle)

    def emit(self, event: Event) -> None:
        """Tell what a client has done wrong."""
        self._events.emit(event)

    def _tell_repeated(self, last: _RepeatedRefusal | None) -> None:
        if last is not None and last.repeated:
            self.emit(RefusalsRepeated(times=last.repeated, reason=last.sentence))
