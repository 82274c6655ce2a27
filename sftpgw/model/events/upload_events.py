"""Events of uploads, also of those that are suspended and resumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypedDict

from sftpgw.errors import GatewayError, StoreError
from sftpgw.model.events import Event, EventLevel
from sftpgw.model.events.file_events import FileEvent


class WrittenFacts(TypedDict):
    """Where the bytes of an `UploadEvent` came from."""

    received_bytes: int
    copied_bytes: int | None
    sent_bytes: int | None


class UploadFacts(WrittenFacts):
    """The fields of an `UploadEvent`."""

    key: str
    bucket: str
    path: str | None
    purpose: str


class StoreFailureFacts(TypedDict):
    """What the support of a store needs to know of a request that failed."""

    reason: str
    code: str
    request_id: str


class FailureFacts(TypedDict):
    """The same of any failure; the last two are None unless the store has told them."""

    reason: str
    code: str | None
    request_id: str | None


def store_failure_facts(error: StoreError) -> StoreFailureFacts:
    """The fields of an event about what the store has refused."""
    return {"reason": error.message, "code": error.code, "request_id": error.request_id}


def failure_facts(error: GatewayError) -> FailureFacts:
    """The fields of an event about what has failed, for whatever reason."""
    if isinstance(error, StoreError):
        return {"reason": error.message, "code": error.code, "request_id": error.request_id}
    return {"reason": error.message, "code": None, "request_id": None}


@dataclass(frozen=True, kw_only=True)
class UploadEvent(FileEvent):
    """Something has happened to a file that a client writes.

    :param purpose: ``upload``, ``resume``, ``edit`` or ``copy``.
    :param received_bytes: what the client sent.
    :param copied_bytes: copied from another file, without the client.
    :param sent_bytes: what the client was sent, where it also reads the file.
    """

    trailing: ClassVar[tuple[str, ...]] = (
        *("purpose", "received_bytes", "copied_bytes", "sent_bytes"),
        *FileEvent.trailing,
    )

    purpose: str
    received_bytes: int
    copied_bytes: int | None = None
    sent_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class FileStored(UploadEvent):
    """A file was stored: the client has closed it, and readers see the whole of it.

    :param size_bytes: how large the file is.
    :param seconds: how long it was open.
    :param etag: its ETag, without quotes.
    """

    event_name: ClassVar[str] = "file-stored"
    is_audited: ClassVar[bool] = True

    size_bytes: int
    seconds: float
    etag: str


@dataclass(frozen=True, kw_only=True)
class UploadAbandoned(UploadEvent):
    """A client was lost before it had closed the file; nothing was stored under its name.

    :param size_bytes: how large the file was by then.
    """

    event_name: ClassVar[str] = "upload-abandoned"

    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class UploadDropped(UploadEvent):
    """A file was removed while it was being written; nothing of it was stored.

    :param size_bytes: how large the file was by then.
    :param seconds: how long it was open.
    """

    event_name: ClassVar[str] = "upload-dropped"

    size_bytes: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class UploadFailedEvent(UploadEvent):
    """An upload has failed; nothing was stored, and the client was told.

    :param reason: what went wrong.
    :param code: the store's error code.
    :param request_id: the store's id of the request that failed.
    """

    event_name: ClassVar[str] = "upload-failed"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "With a ``code``, the store has refused it: see the ``s3-request-failed`` or "
        "``s3-gave-up`` of the same ``session``. Without one, a limit of the gateway was met, or "
        "the file was changed by others; ``reason`` says which. The user sends the file again."
    )

    reason: str
    code: str | None = None
    request_id: str | None = None


# What could not be removed.


@dataclass(frozen=True, kw_only=True)
class UploadLeftBehind(FileEvent):
    """A multipart upload could not be aborted. The store charges for its parts until it is gone.

    :param reason: what the store said.
    :param code: its error code.
    :param request_id: its id of the request.
    :param upload_id: its id of the multipart upload.
    """

    event_name: ClassVar[str] = "upload-left-behind"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "If this comes again and again, allow the gateway ``s3:AbortMultipartUpload``. What is "
        "left goes with ``[s3] abort_stale_uploads``, or with a lifecycle rule of the bucket."
    )

    reason: str
    code: str
    request_id: str
    upload_id: str


@dataclass(frozen=True, kw_only=True)
class PieceLeftBehind(FileEvent):
    """A hidden object that a large file was made of could not be deleted.

    :param reason: what the store said.
    :param code: its error code.
    :param request_id: its id of the request.
    :param piece: the key of the hidden object, under ``state_prefix``.
    """

    event_name: ClassVar[str] = "piece-left-behind"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "If this comes again and again, allow the gateway ``s3:DeleteObject`` under "
        "``[s3] state_prefix``. The gateway deletes the object after a week."
    )

    reason: str
    code: str
    request_id: str
    piece: str


@dataclass(frozen=True, kw_only=True)
class UploadNotKept(FileEvent):
    """An upload that was cut off could not be suspended; it was aborted.

    :param reason: what the store said.
    :param code: its error code.
    :param request_id: its id of the request.
    :param upload_id: its id of the multipart upload.
    """

    event_name: ClassVar[str] = "upload-not-kept"

    reason: str
    code: str
    request_id: str
    upload_id: str


# Suspended uploads.


@dataclass(frozen=True, kw_only=True)
class PartialKept(UploadEvent):
    """An upload was cut off and is suspended: its client can resume it.

    :param size_bytes: how much of it is in the store.
    """

    event_name: ClassVar[str] = "partial-kept"

    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class PartialResumed(FileEvent):
    """A client goes on with a suspended upload.

    :param size_bytes: how much of it is in the store already.
    """

    event_name: ClassVar[str] = "partial-resumed"

    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class PartialDropped(FileEvent):
    """A suspended upload was aborted.

    :param size_bytes: how much of it was in the store.
    :param reason: why: it has expired, or the file was removed, stored or opened anew.
    """

    event_name: ClassVar[str] = "partial-dropped"

    size_bytes: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class PartialLeftBehind(FileEvent):
    """A file was stored, and an older suspended upload of it could not be aborted.

    :param reason: what the store said.
    """

    event_name: ClassVar[str] = "partial-left-behind"

    reason: str


@dataclass(frozen=True, kw_only=True)
class PartialUnreadable(Event):
    """The record of a suspended upload cannot be read, so that the upload cannot be resumed.

    :param record: the key of the record.
    :param reason: what was wrong.
    """

    event_name: ClassVar[str] = "partial-unreadable"

    record: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ClaimLeftBehind(Event):
    """A claim could not be deleted; for an hour, its upload cannot be resumed.

    :param record: the key of the claim.
    :param reason: what the store said.
    """

    event_name: ClassVar[str] = "claim-left-behind"

    record: str
    reason: str
