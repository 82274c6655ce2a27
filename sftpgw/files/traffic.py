"""How many bytes of files moved, and what for.

Knows: what a client sent and was sent, apart from what the gateway read for itself.
Must not know: files, or who adds up.

Each open file has a `FileTraffic` of its own: whoever reads or writes adds to its numbers, an
addition
each. A session adds them up when they end, and when it is asked.

A file's *size* is another thing: a resume sends five bytes of a large file, an edit sends what
changes, and a copy sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from sftpgw.model.events.file_events import ReadFacts
from sftpgw.model.events.session_events import SessionTotals
from sftpgw.model.events.upload_events import WrittenFacts

DOWNLOAD, HASH, COPY = "download", "hash", "copy"
UPLOAD, RESUME, EDIT = "upload", "resume", "edit"

READ_FOR_EDIT: ReadFacts = {
    "purpose": EDIT,
    "sent_bytes": None,
    "hashed_bytes": None,
    "copied_bytes": None,
}
"""Of the object under an edited file: the event about that file says more."""


class FileTraffic:
    """Bytes of one open file, or of a whole session.

    :ivar read_bytes: read of the file, whatever for.
    :ivar hashed_bytes: of those, what was made a digest of: no client got them.
    :ivar copied_out_bytes: of those, what went into another file (copy-data).
    :ivar written_bytes: written to the file, whatever from; what was refused too.
    :ivar copied_in_bytes: of those, what came out of another file.
    """

    __slots__ = (
        "_ended",
        "copied_in_bytes",
        "copied_out_bytes",
        "hashed_bytes",
        "read_bytes",
        "written_bytes",
    )

    def __init__(self, ended: Callable[[FileTraffic], None] = lambda traffic: None) -> None:
        self._ended = ended
        self.read_bytes = self.hashed_bytes = self.copied_out_bytes = 0
        self.written_bytes = self.copied_in_bytes = 0

    @property
    def sent_bytes(self) -> int:
        """What the client was sent."""
        return self.read_bytes - self.hashed_bytes - self.copied_out_bytes

    @property
    def received_bytes(self) -> int:
        """What the client sent."""
        return self.written_bytes - self.copied_in_bytes

    def hashed(self, size_bytes: int) -> None:
        """So many of the bytes read were for a digest."""
        self.hashed_bytes += size_bytes

    def copied_out(self, size_bytes: int) -> None:
        """So many of the bytes read are for another file."""
        self.copied_out_bytes += size_bytes

    def copied_in(self, size_bytes: int) -> None:
        """So many of the bytes written come from another file."""
        self.copied_in_bytes += size_bytes

    def add(self, other: FileTraffic) -> None:
        """Count what `other` has counted."""
        self.read_bytes += other.read_bytes
        self.hashed_bytes += other.hashed_bytes
        self.copied_out_bytes += other.copied_out_bytes
        self.written_bytes += other.written_bytes
        self.copied_in_bytes += other.copied_in_bytes

    def end(self) -> None:
        """The file is closed. May be called again."""
        ended, self._ended = self._ended, lambda traffic: None
        ended(self)

    @property
    def read_purpose(self) -> str:
        """What the file was read for; where there are several, what the client got."""
        if self.sent_bytes or not self.read_bytes:
            return DOWNLOAD
        return HASH if self.hashed_bytes else COPY

    def read_facts(self) -> ReadFacts:
        """For the event about a file that was read: always what was sent, else what is not zero."""
        return {
            "purpose": self.read_purpose,
            "sent_bytes": self.sent_bytes,
            "hashed_bytes": self.hashed_bytes or None,
            "copied_bytes": self.copied_out_bytes or None,
        }

    def written_facts(self) -> WrittenFacts:
        """For events about a file that was written, in the same way."""
        return {
            "received_bytes": self.received_bytes,
            "copied_bytes": self.copied_in_bytes or None,
            "sent_bytes": self.sent_bytes or None,
        }


class SessionTraffic:
    """The sum of one session's files, open ones included."""

    def __init__(self) -> None:
        self._open: set[FileTraffic] = set()
        self._ended = FileTraffic()

    def begin(self) -> FileTraffic:
        """For a file that is opened."""
        traffic = FileTraffic(self._end)
        self._open.add(traffic)
        return traffic

    def _end(self, traffic: FileTraffic) -> None:
        self._open.remove(traffic)
        self._ended.add(traffic)

    def facts(self) -> SessionTotals:
        """For the event about a session that has ended."""
        total = FileTraffic()
        for each in (self._ended, *self._open):
            total.add(each)
        return {
            "received_bytes": total.received_bytes,
            "sent_bytes": total.sent_bytes,
            "copied_bytes": total.copied_in_bytes,
            "hashed_bytes": total.hashed_bytes,
        }


def upload_purpose(
    traffic: FileTraffic, size_bytes: int, *, base_bytes: int | None, is_resumed: bool
) -> str:
    """Why a file is written.

    :param size_bytes: how long the file is now.
    :param base_bytes: how long the stored file is that it goes on from; None if there is none.
    :param is_resumed: an upload that was cut off goes on.
    """
    if traffic.copied_in_bytes and not traffic.received_bytes:
        return COPY
    if base_bytes is None:
        return RESUME if is_resumed else UPLOAD
    goes_on_behind = traffic.written_bytes and size_bytes == base_bytes + traffic.written_bytes
    return RESUME if goes_on_behind else EDIT
