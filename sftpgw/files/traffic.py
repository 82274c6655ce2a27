"""How many bytes of files moved, and for which purpose.

Knows: which bytes a client sent or was sent, and which the gateway read for itself.
Must not know: files, or which event shows the sums.

Each open file has a `FileTraffic` of its own; its reads and writes add to its numbers, an addition
each. A session adds them up when a file is closed, and when it is asked.

The *size* of a file is another number: a resume sends five bytes of a large file, an edit sends the
bytes that change, and a copy sends nothing.
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
"""The facts of a base object that was read: the event of the edited file has the numbers."""


class FileTraffic:
    """The bytes of one open file, or of a whole session.

    :param on_end: called when the file is closed.
    :ivar read_bytes: the bytes read of the file, for any purpose.
    :ivar hashed_bytes: those of them that a digest was made of: no client was sent them.
    :ivar copied_out_bytes: those of them that went into another file (copy-data).
    :ivar written_bytes: the bytes written to the file, from any source, refused ones included.
    :ivar copied_in_bytes: those of them that came out of another file.
    """

    __slots__ = (
        "_on_end",
        "copied_in_bytes",
        "copied_out_bytes",
        "hashed_bytes",
        "read_bytes",
        "written_bytes",
    )

    def __init__(self, on_end: Callable[[FileTraffic], None] = lambda traffic: None) -> None:
        self._on_end = on_end
        self.read_bytes = self.hashed_bytes = self.copied_out_bytes = 0
        self.written_bytes = self.copied_in_bytes = 0

    @property
    def sent_bytes(self) -> int:
        """The bytes that the client was sent."""
        return self.read_bytes - self.hashed_bytes - self.copied_out_bytes

    @property
    def received_bytes(self) -> int:
        """The bytes that the client sent."""
        return self.written_bytes - self.copied_in_bytes

    def hashed(self, size_bytes: int) -> None:
        """`size_bytes` of the bytes read were for a digest."""
        self.hashed_bytes += size_bytes

    def copied_out(self, size_bytes: int) -> None:
        """`size_bytes` of the bytes read are for another file."""
        self.copied_out_bytes += size_bytes

    def copied_in(self, size_bytes: int) -> None:
        """`size_bytes` of the bytes written come from another file."""
        self.copied_in_bytes += size_bytes

    def add(self, other: FileTraffic) -> None:
        """Add the numbers of `other`."""
        self.read_bytes += other.read_bytes
        self.hashed_bytes += other.hashed_bytes
        self.copied_out_bytes += other.copied_out_bytes
        self.written_bytes += other.written_bytes
        self.copied_in_bytes += other.copied_in_bytes

    def end(self) -> None:
        """The file is closed. May be called again."""
        on_end, self._on_end = self._on_end, lambda traffic: None
        on_end(self)

    @property
    def read_purpose(self) -> str:
        """Why the file was read: for the client, if it was sent anything."""
        if self.sent_bytes or not self.read_bytes:
            return DOWNLOAD
        return HASH if self.hashed_bytes else COPY

    def read_facts(self) -> ReadFacts:
        """The facts of the event about a file that was read; zeros but `sent_bytes` stay out."""
        return {
            "purpose": self.read_purpose,
            "sent_bytes": self.sent_bytes,
            "hashed_bytes": self.hashed_bytes or None,
            "copied_bytes": self.copied_out_bytes or None,
        }

    def written_facts(self) -> WrittenFacts:
        """The facts of events about a file that was written, in the same way."""
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
        """The traffic of a file that is opened."""
        traffic = FileTraffic(self._end)
        self._open.add(traffic)
        return traffic

    def _end(self, traffic: FileTraffic) -> None:
        self._open.remove(traffic)
        self._ended.add(traffic)

    def facts(self) -> SessionTotals:
        """The facts of the event about a session that has ended."""
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

    :param traffic: the bytes that were written.
    :param size_bytes: the size of the file now.
    :param base_bytes: the size of the stored file that is edited; None if there is none.
    :param is_resumed: whether a suspended upload goes on.
    """
    if traffic.copied_in_bytes and not traffic.received_bytes:
        return COPY
    if base_bytes is None:
        return RESUME if is_resumed else UPLOAD
    is_appended = traffic.written_bytes and size_bytes == base_bytes + traffic.written_bytes
    return RESUME if is_appended else EDIT
