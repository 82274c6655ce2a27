"""Which writes and sizes an upload accepts.

Knows: which bytes are sealed and which are missing, how far writes may be out of order.
Must not know: how parts come about, what follows from a refusal.

Rules

1. Writes may come in any order as long as they end within `reorder_bytes` behind the first byte
   that is missing. Farther away they fail at once.
2. Sealed bytes cannot be changed any more: a write into them fails.
3. No file gets larger than the user's files may be, than a quota has space for, or than an object
   can be.
4. Where the client may believe that the file has more bytes than are here (`may_skip` is False), a
   gap before the first write is a mistake: it would go on with an upload that is gone.
"""

from __future__ import annotations

from sftpgw.errors import LimitReached, UploadFailed
from sftpgw.files.uploads.plan.sealer import PartSealer
from sftpgw.files.uploads.plan.upload_limits import UploadLimits


def require_file_size(size_bytes: int, most_bytes: int | None) -> None:
    """A user's file may have this size.

    :param size_bytes: the size that it has at least.
    :param most_bytes: the size of the user's largest file; None for no bound.
    :raises LimitReached: it may not.
    """
    if most_bytes is not None and size_bytes > most_bytes:
        raise LimitReached(
            f"the file would have {size_bytes} bytes or more, and this user's files may have "
            f"{most_bytes} (users.ini max_file_size)"
        )


class WriteBounds:
    """Refuses writes and sizes that one upload cannot have.

    :param sealer: has the bytes that are not sealed, and the parts that are left.
    :param limits: how far writes may be out of order, and how large the file may be.
    :param may_skip: whether the first write may leave a gap before it.
    """

    # One for each open file.
    __slots__ = (
        "_file_bytes",
        "_grant",
        "_granted_bytes",
        "_may_skip",
        "_overlay",
        "_reorder_bytes",
        "_sealer",
    )

    def __init__(self, sealer: PartSealer, limits: UploadLimits, *, may_skip: bool) -> None:
        self._sealer = sealer
        self._overlay = sealer.overlay
        self._reorder_bytes = limits.reorder_bytes
        self._file_bytes = limits.file_bytes
        self._grant = limits.grant
        self._granted_bytes = 0
        self._may_skip = may_skip

    def require_write(self, offset: int, stop: int) -> None:
        """Bytes can be written from `offset` up to `stop`.

        :raises UploadFailed: some of them are sealed.
        :raises LimitReached: they are too far ahead, or do not fit into an object.
        """
        if offset < self._overlay.cursor:
            raise UploadFailed(
                f"a write at offset {offset} would change bytes that have been sent already; "
                "an upload cannot go back"
            )
        self._require_reach(offset, stop)
        self.require_room(stop)

    def room_bytes(self) -> int:
        """How many bytes complete the part, or exceed the size that was allowed so far.

        Fewer bytes in order need no other check. 0 if those that are here are not in order.
        """
        room_bytes = self._sealer.part_room_bytes()
        if self._file_bytes is not None:
            room_bytes = min(room_bytes, self._file_bytes + 1 - self._overlay.written_stop)
        if self._grant is not None:
            room_bytes = min(room_bytes, self._granted_bytes + 1 - self._overlay.written_stop)
        return max(0, room_bytes)

    def require_size(self, size_bytes: int) -> None:
        """The file can have this size.

        :raises UploadFailed: more is sealed.
        :raises LimitReached: the end is too far ahead, or does not fit into an object.
        """
        if size_bytes < self._overlay.cursor:
            raise UploadFailed(
                f"the file cannot be cut to {size_bytes} bytes: more has been sent already"
            )
        if size_bytes > self._overlay.size_bytes:
            self._require_reach(size_bytes, size_bytes)
            self.require_room(size_bytes)

    def require_room(self, stop: int) -> None:
        """A file that ends at `stop` is allowed, and fits into an object.

        :raises LimitReached: it is larger.
        """
        require_file_size(stop, self._file_bytes)
        self._sealer.require_capacity(stop)
        if self._grant is not None and stop > self._granted_bytes:
            self._granted_bytes = self._grant.extend(stop)

    def require_no_gap(self, offset: int) -> None:
        """The first write may be at this offset.

        :raises UploadFailed: it leaves a gap, which is a mistake here.
        """
        here = max(self._overlay.cursor, self._overlay.base_stop)
        if offset > here and not self._may_skip:
            raise UploadFailed(
                f"this upload begins at {offset}, but only {here} bytes of the file are here: what "
                "was there before is gone, or another session has it; look at its size again"
            )

    def _require_reach(self, offset: int, stop: int) -> None:
        missing = self._overlay.first_missing
        if offset > missing and stop > missing + self._reorder_bytes:
            raise LimitReached(
                f"nothing has been written from {missing} on, and at most {self._reorder_bytes} "
                f"bytes may be skipped or arrive out of order ([limits] reorder_allowance): {stop} "
                "is too far ahead"
            )
