"""Events of the process itself, and of what it clears away in the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sftpgw.model.events import Event, EventLevel

if TYPE_CHECKING:
    from twisted.python.failure import Failure


@dataclass(frozen=True, kw_only=True)
class Defect(Event):
    """A fault of the gateway itself; its traceback follows in the log.

    :param where: what was going on.
    :param failure: the exception, with its traceback.
    """

    event_name: ClassVar[str] = "defect"
    level: ClassVar[EventLevel] = EventLevel.CRITICAL
    advice: ClassVar[str] = (
        "Report it, with the traceback and the lines of the same ``session``. Only the request or "
        "the transfer that met it has failed; the gateway goes on."
    )

    where: str
    failure: Failure

    def facts(self) -> dict[str, object]:
        """Without the failure: the log shows it as a traceback."""
        return {"where": self.where}


@dataclass(frozen=True, kw_only=True)
class ControlSocketFailed(Event):
    """There is no control socket; the gateway serves all the same.

    :param path: where it should be.
    :param reason: why it is not there.
    """

    event_name: ClassVar[str] = "control-socket-failed"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "Commands such as ``sftpgw bans`` cannot ask this gateway. Mend what ``reason`` says, or "
        "choose another ``[gateway] control``, and restart. The folder must exist, and only root "
        "or the gateway's user may write into it; systemd makes one with ``RuntimeDirectory=``."
    )

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Draining(Event):
    """The gateway ends: it accepts no connection, and lets transfers finish.

    :param sessions: how many clients are connected.
    :param at_most_seconds: how long transfers may still take.
    """

    event_name: ClassVar[str] = "draining"
    is_audited: ClassVar[bool] = True

    sessions: int
    at_most_seconds: float


@dataclass(frozen=True, kw_only=True)
class EventsSuppressed(Event):
    """There were so many lines of one kind from one source that some were left out of the log.

    No event is left out that tells who has logged in, or what became of stored data.

    :param kind: the name of the event; of a line that is no event, its logger and its format.
    :param count: how many were left out.
    :param source: the user that has caused them, or the address or /64 before a login; ``gateway``
        if no client did, ``libraries`` of a line that is no event, ``others`` of the sources that
        were too many to be counted apart.
    :param seconds: how long they were counted.
    """

    event_name: ClassVar[str] = "events-suppressed"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "Look at the lines of that ``kind`` and ``source`` that were logged before. A user: a "
        "client that repeats what is refused; ask its operator to mend it. An address: block it in "
        "the firewall. ``gateway`` or ``libraries``: heed what the lines say."
    )

    kind: str
    count: int
    source: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class IterationLong(Event):
    """One iteration of the reactor has taken long; no client was served meanwhile.

    Of several within a minute one line tells the longest. The line has the session, the client's
    address or the user whose work took longest, where it is known.

    :param cpu_seconds: the CPU time that it took.
    :param wall_seconds: how long clients had to wait. Much more than `cpu_seconds`: the machine
        was busy with something else.
    :param work: what took longest in it, as far as it was measured.
    :param work_seconds: how long that took by the clock, with what other processes took of the
        core meanwhile. So it may exceed `cpu_seconds`.
    :param count: how many were long since the last such line.
    """

    event_name: ClassVar[str] = "iteration-long"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "One line now and then, with ``cpu_seconds`` little over 0.1: nothing is to be done. "
        "``wall_seconds`` much higher than ``cpu_seconds``: the machine has too little CPU or "
        "memory; look what else runs on it. Otherwise report it: no client or store should be able "
        "to cause it."
    )

    cpu_seconds: float
    wall_seconds: float
    work: str
    work_seconds: float
    count: int


# Clearing away.


@dataclass(frozen=True, kw_only=True)
class StaleUploadAborted(Event):
    """The sweeper has aborted a multipart upload that a crash had left.

    :param age_seconds: how old it was.
    :param bucket: the bucket.
    :param key: its key.
    :param upload_id: the store's id of it.
    """

    event_name: ClassVar[str] = "stale-upload-aborted"
    is_audited: ClassVar[bool] = True

    age_seconds: float
    bucket: str
    key: str
    upload_id: str


@dataclass(frozen=True, kw_only=True)
class StalePieceDeleted(Event):
    """The sweeper has deleted a hidden object that a crash had left.

    :param bucket: the bucket.
    :param key: its key, under ``state_prefix``.
    :param size_bytes: how large it was.
    :param age_seconds: how old it was.
    """

    event_name: ClassVar[str] = "stale-piece-deleted"
    is_audited: ClassVar[bool] = True

    bucket: str
    key: str
    size_bytes: int
    age_seconds: float


@dataclass(frozen=True, kw_only=True)
class UploadAgesUnknown(Event):
    """The store does not tell how old its multipart uploads are.

    Each counts as being as old as this process has known it.

    :param bucket: the bucket.
    :param prefix: the prefix that was looked through.
    :param uploads: how many uploads have no age.
    """

    event_name: ClassVar[str] = "upload-ages-unknown"

    bucket: str
    prefix: str
    uploads: int


@dataclass(frozen=True, kw_only=True)
class SweepFailed(Event):
    """The sweeper could not look through a prefix, or clear something away there.

    :param reason: what the store said.
    :param code: its error code.
    :param bucket: the bucket.
    :param prefix: the prefix that could not be looked through.
    :param key: the key that could not be cleared away.
    :param upload_id: the store's id of the multipart upload that is still there.
    """

    event_name: ClassVar[str] = "sweep-failed"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "Allow the gateway to list multipart uploads (``s3:ListBucketMultipartUploads``), to abort "
        "them (``s3:AbortMultipartUpload``) and to list and delete objects under "
        "``[s3] state_prefix``. It tries again within an hour."
    )

    reason: str
    code: str
    bucket: str
    prefix: str | None = None
    key: str | None = None
    upload_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class FinishFailed(Event):
    """A rename of a directory that was interrupted could not be finished. It is told once.

    :param bucket: the bucket.
    :param prefix: the prefix of the rename's record, or of all records.
    :param reason: what went wrong.
    """

    event_name: ClassVar[str] = "finish-failed"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "Allow the gateway to list, read, write and delete under ``[s3] state_prefix`` and under "
        "the users' prefixes. It tries again within minutes; no file is lost until then, but some "
        "may be there under both names."
    )

    bucket: str
    prefix: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class UsersReloaded(Event):
    """The files of users were read again.

    :param users: how many users there are now.
    :param added: how many of them are new.
    :param removed: how many users are gone.
    :param changed: how many are another than they were, in anything.
    :param disconnected: how many connections were ended for it.
    """

    event_name: ClassVar[str] = "users-reloaded"

    users: int
    added: int
    removed: int
    changed: int
    disconnected: int


@dataclass(frozen=True, kw_only=True)
class UsersReloadFailed(Event):
    """A file of users has a fault, so that all users stay as they were.

    :param fault: the file, the section, the key, and what is wrong.
    :param faults: how many faults there are. The first hundred are events.
    """

    event_name: ClassVar[str] = "users-reload-failed"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "Mend what ``fault`` names. The files are read again once they have changed; until then "
        "users log in as before."
    )

    fault: str
    faults: int
