"""Events of quotas: what was counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sftpgw.model.events import Event, EventLevel


@dataclass(frozen=True, kw_only=True)
class QuotaCounted(Event):
    """A place with a quota was counted.

    :param bucket: the bucket.
    :param prefix: the prefix that was counted.
    :param size_bytes: how many bytes are stored there, suspended uploads included.
    :param files: how many files.
    :param corrected_bytes: by how much this differs from what the gateway had believed. What other
        programs store and remove is among it.
    :param corrected_files: the same for files.
    :param seconds: how long the count took.
    """

    event_name: ClassVar[str] = "quota-counted"

    bucket: str
    prefix: str
    size_bytes: int
    files: int
    corrected_bytes: int
    corrected_files: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class QuotaCountFailed(Event):
    """A place with a quota could not be counted. What was known of it before counts on.

    :param bucket: the bucket.
    :param prefix: the prefix.
    :param reason: what the store said.
    :param code: its error code.
    :param used_bytes: what the gateway believes to be stored there; without a count so far, only
        what it has stored itself counts.
    """

    event_name: ClassVar[str] = "quota-count-failed"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "Allow the gateway to list the bucket (``s3:ListBucket``), and to read, write and delete "
        "objects under ``[s3] state_prefix``. It tries again after five minutes. Until then quotas "
        "go by the last figures."
    )

    bucket: str
    prefix: str
    reason: str
    code: str | None = None
    used_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class QuotaRecordsFailed(Event):
    """The records of a place with a quota could not be read or written.

    Gateways do not know of each other's uploads there until that succeeds again.

    :param bucket: the bucket.
    :param prefix: the prefix of the place.
    :param reason: what the store said.
    :param code: its error code.
    """

    event_name: ClassVar[str] = "quota-records-failed"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "Allow the gateway to list, read and write objects under ``[s3] state_prefix``. It tries "
        "again all the time, and says so once."
    )

    bucket: str
    prefix: str
    reason: str
    code: str
