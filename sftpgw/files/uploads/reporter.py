"""The events of one upload, and the errors that its client is told.

Knows: the facts of its events, and the client's words for its errors.
Must not know: when they happen.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from sftpgw.errors import (
    AlreadyExists,
    ConditionalConflict,
    GatewayError,
    NoSuchUpload,
    PreconditionFailed,
    UploadFailed,
    without_traces,
)
from sftpgw.files.session_context import SessionContext
from sftpgw.files.traffic import FileTraffic, upload_purpose
from sftpgw.files.transfers.registry import Registration
from sftpgw.files.uploads.plan.upload_plan import UploadPlan
from sftpgw.model.events.gateway_events import Defect
from sftpgw.model.events.upload_events import (
    FileStored,
    UploadAbandoned,
    UploadDropped,
    UploadFacts,
    UploadFailedEvent,
    failure_facts,
)


class UploadReporter:
    """Emits the events of one upload, and explains its errors.

    :param context: the objects that the session's files use.
    :param registration: knows the file's name, and the object that is edited (its base).
    :param plan: knows how large the file is.
    :param traffic: the bytes that the client and other files brought.
    :param path: the file's path, as the client opened it.
    :param is_resumed: whether a suspended upload goes on.
    :ivar opened_seconds: when the file was opened.
    """

    def __init__(
        self,
        context: SessionContext,
        registration: Registration,
        plan: UploadPlan,
        traffic: FileTraffic,
        path: str,
        *,
        is_resumed: bool,
    ) -> None:
        self.opened_seconds = context.clock.seconds()
        self._clock = context.clock
        self._events = context.events
        self._registration = registration
        self._plan = plan
        self._traffic = traffic
        self._path = path
        self._is_resumed = is_resumed

    def stored(self, size_bytes: int, etag: str) -> None:
        """The file is stored, with this size and ETag."""
        self._events.emit(
            FileStored(
                size_bytes=size_bytes,
                seconds=self._open_seconds,
                etag=etag.strip('"'),
                **self.facts(size_bytes),
            )
        )

    def dropped(self) -> None:
        """The file was removed while it was being written."""
        size_bytes = self._plan.size_bytes
        self._events.emit(
            UploadDropped(size_bytes=size_bytes, seconds=self._open_seconds, **self.facts())
        )

    def abandoned(self) -> None:
        """The client was lost."""
        self._events.emit(UploadAbandoned(size_bytes=self._plan.size_bytes, **self.facts()))

    def ended(self) -> None:
        """The upload has ended. If it has failed, the client was told."""
        failure = self._plan.end_reason
        if failure is not None and not isinstance(failure, UploadFailed):
            self._events.emit(UploadFailedEvent(**failure_facts(failure), **self.facts()))

    @property
    def _open_seconds(self) -> float:
        """For how long the file has been open."""
        return round(self._clock.seconds() - self.opened_seconds, 3)

    def facts(self, size_bytes: int | None = None) -> UploadFacts:
        """Which file is written, why, and where its bytes came from.

        :param size_bytes: the size of the stored file; None for an upload that is not stored.
        """
        name = self._registration.name
        base = self._registration.base
        purpose = upload_purpose(
            self._traffic,
            self._plan.size_bytes if size_bytes is None else size_bytes,
            base_bytes=None if base is None else base.size_bytes,
            is_resumed=self._is_resumed,
        )
        return {
            "key": name.key,
            "bucket": name.bucket,
            "path": self._path or None,
            "purpose": purpose,
            **self._traffic.written_facts(),
        }

    def client_error(self, error: Exception) -> GatewayError:
        """The error that the client is told."""
        if isinstance(error, PreconditionFailed | ConditionalConflict):
            return AlreadyExists("another client has created this file meanwhile")
        if isinstance(error, NoSuchUpload) and self._is_resumed:
            return UploadFailed(
                "what had been sent of this file is gone from the store; send it from the beginning"
            )
        if not isinstance(error, GatewayError):
            return self.defect(Failure(error))
        # The error lives as long as the handle; its context would hold the bytes of a part.
        return without_traces(error)

    def defect(self, failure: Failure) -> GatewayError:
        """A defect, or the process going down: it ends the upload, and nothing else."""
        if not failure.check(CancelledError):
            self._events.emit(Defect(where="upload", failure=failure))
        return UploadFailed("the upload failed for an internal reason; see the gateway's log")
