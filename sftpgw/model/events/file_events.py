"""Events of files and directories: read, renamed, removed, listed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypedDict

from sftpgw.model.events import Event, EventLevel


@dataclass(frozen=True, kw_only=True)
class FileEvent(Event):
    """Something has happened to a file or a directory.

    :param key: the key of its object; a directory's ends with a slash.
    :param bucket: the bucket.
    :param path: the path as the client has it.
    """

    trailing: ClassVar[tuple[str, ...]] = ("path", "new_path", "bucket", "etag")

    key: str
    bucket: str
    path: str | None = None


class ReadFacts(TypedDict):
    """What the bytes of a `FileRead` were for."""

    purpose: str
    sent_bytes: int | None
    hashed_bytes: int | None
    copied_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class FileRead(FileEvent):
    """A file that was open for reading is closed.

    :param size_bytes: how many bytes of it were read, whatever for.
    :param file_bytes: how large the file is.
    :param seconds: how long it was open.
    :param purpose: ``download``, ``hash``, ``copy``, or ``edit`` where the handle also writes.
    :param sent_bytes: what the client was sent.
    :param hashed_bytes: read for a checksum.
    :param copied_bytes: copied into another file.
    :param etag: the ETag of the version that was read, without quotes.
    """

    event_name: ClassVar[str] = "file-read"

    size_bytes: int
    file_bytes: int
    seconds: float
    purpose: str
    sent_bytes: int | None = None
    hashed_bytes: int | None = None
    copied_bytes: int | None = None
    etag: str

    def must_be_logged(self) -> bool:
        """Where something was read: opening and closing costs a client next to nothing."""
        return self.size_bytes > 0


@dataclass(frozen=True, kw_only=True)
class FileRemoved(FileEvent):
    """A file was removed.

    :param size_bytes: how large it was, if it was stored.
    :param etag: its ETag, without quotes, if it was stored.
    """

    event_name: ClassVar[str] = "file-removed"
    is_audited: ClassVar[bool] = True

    size_bytes: int | None = None
    etag: str | None = None


@dataclass(frozen=True, kw_only=True)
class FileRenamed(FileEvent):
    """A file was renamed: copied to its new key, verified, and deleted under the old one.

    :param new_key: its new key.
    :param size_bytes: how large it is.
    :param new_path: its new path, as the client has it.
    :param etag: its ETag under the new key, without quotes.
    """

    event_name: ClassVar[str] = "file-renamed"
    is_audited: ClassVar[bool] = True

    new_key: str
    size_bytes: int
    new_path: str | None = None
    etag: str


@dataclass(frozen=True, kw_only=True)
class CopyDiffered(FileEvent):
    """The store has copied other bytes than the object has. The original stays where it was.

    :param new_key: the key of the copy, which was deleted.
    """

    event_name: ClassVar[str] = "copy-differed"
    is_audited: ClassVar[bool] = True
    advice: ClassVar[str] = "Tell it to the operator of the store: such a store loses data."

    new_key: str


@dataclass(frozen=True, kw_only=True)
class DirectoryMade(FileEvent):
    """A directory was made."""

    event_name: ClassVar[str] = "directory-made"
    is_audited: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class DirectoryRemoved(FileEvent):
    """A directory was removed."""

    event_name: ClassVar[str] = "directory-removed"
    is_audited: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class DirectoryRenamed(FileEvent):
    """A directory was renamed.

    :param new_key: the new prefix of its keys.
    :param objects: how many objects have a new key.
    :param new_path: its new path, as the client has it.
    """

    event_name: ClassVar[str] = "directory-renamed"
    is_audited: ClassVar[bool] = True

    new_key: str
    objects: int
    new_path: str | None = None


@dataclass(frozen=True, kw_only=True)
class RenameLeftBehind(FileEvent):
    """A rename could not be finished or taken back; objects may be there under both names.

    :param new_key: the new key or prefix.
    :param reason: what went wrong.
    """

    event_name: ClassVar[str] = "rename-left-behind"
    is_audited: ClassVar[bool] = True
    advice: ClassVar[str] = (
        "The gateway finishes an interrupted rename of a directory by itself within minutes. "
        "A file that is still under its old name: the user renames it again."
    )

    new_key: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RenameSparedFiles(FileEvent):
    """A directory was renamed while others stored files in it; those stay under the old name.

    :param new_key: the new prefix.
    :param replaced: how many files were replaced meanwhile.
    """

    event_name: ClassVar[str] = "rename-spared-files"
    is_audited: ClassVar[bool] = True

    new_key: str
    replaced: int


@dataclass(frozen=True, kw_only=True)
class InterruptedRenameFinished(Event):
    """A rename of a directory that a process had left unfinished was brought to its end.

    :param bucket: the bucket.
    :param key: the old prefix.
    :param new_key: the new prefix.
    :param outcome: ``moved`` to the new prefix, or ``abandoned``: left under the old one.
    :param spared: how many files were not touched, since they have changed.
    """

    event_name: ClassVar[str] = "interrupted-rename-finished"
    is_audited: ClassVar[bool] = True

    bucket: str
    key: str
    new_key: str
    outcome: str
    spared: int


@dataclass(frozen=True, kw_only=True)
class RenameRecordUnreadable(Event):
    """The rename of a directory was refused, since the record of another rename cannot be read.

    :param bucket: the bucket.
    :param key: the object that cannot be read.
    :param reason: why not.
    """

    event_name: ClassVar[str] = "rename-record-unreadable"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "Look at the named object. If a newer gateway has written it, let that one end its rename. "
        "If none has, delete all objects that have the same beginning up to the last slash. Until "
        "then the directories that the record may be about cannot be renamed; all others can."
    )

    bucket: str
    key: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RenameRecordsTooMany(Event):
    """There are more records of renames than a gateway looks through at once.

    :param bucket: the bucket.
    :param prefix: the prefix of the records.
    :param rows: how many were seen.
    """

    event_name: ClassVar[str] = "rename-records-too-many"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "Look at the objects under the named prefix: another writer of the bucket has put them "
        "there. Stop it, and delete what is no record of a gateway. A rename of a directory looks "
        "through 32,000 records and reads 256 of them; it is refused if there are more."
    )

    bucket: str
    prefix: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class TimeSet(FileEvent):
    """The time of a stored file or directory was set, which rewrites its object's metadata."""

    event_name: ClassVar[str] = "time-set"
    is_audited: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class TimeNotSet(FileEvent):
    """The time of a stored file could not be set; the file itself is as it should be.

    :param reason: why.
    """

    event_name: ClassVar[str] = "time-not-set"

    reason: str


@dataclass(frozen=True, kw_only=True)
class TimesUnknown(FileEvent):
    """A listing shows the store's dates, since the stored times could not be read.

    :param reason: what the store said about this key, the first one of the listing.
    """

    event_name: ClassVar[str] = "times-unknown"

    reason: str


@dataclass(frozen=True, kw_only=True)
class KeysSkipped(Event):
    """A listing leaves out keys that no path of SFTP can name.

    :param directory: the path of the directory.
    :param count: how many keys.
    :param reason: why.
    :param bucket: the bucket.
    """

    event_name: ClassVar[str] = "keys-skipped"

    directory: str
    count: int
    reason: str
    bucket: str
