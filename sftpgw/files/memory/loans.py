"""What uploads that wait borrow from the reserve (rule 4 of `memory/plan`).

Knows: how much is on loan to each user, and when a further loan is possible.
Must not know: who waits, and who of several borrows first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sftpgw.files.memory.holders import HeldUpload


class Loans:
    """The bytes on loan.

    :param limit_bytes: how many bytes all holders may hold together.
    :param overdraft_bytes: by how much the first loan may exceed that.
    :ivar lent_bytes: how many bytes are on loan.
    """

    def __init__(self, limit_bytes: int, overdraft_bytes: int) -> None:
        self.lent_bytes = 0
        self._limit_bytes = limit_bytes
        self._overdraft_bytes = overdraft_bytes
        self._reserve_bytes = 0
        self._lent_to: Counter[str] = Counter()
        # How many bytes may be held at most when one of those that wait borrows; None if that is
        # not known. So the uploads that wait are not looked through for each byte that comes back.
        self._most_held_bytes: int | None = None

    def lent_to(self, user: str) -> int:
        """How many bytes are on loan to a user."""
        return self._lent_to[user]

    def lend(self, upload: HeldUpload, size_bytes: int) -> None:
        """An upload borrows so many bytes more, or fewer."""
        if not size_bytes:
            return
        self._most_held_bytes = None
        upload.lent_bytes += size_bytes
        self.lent_bytes += size_bytes
        user = upload.path[0]
        self._lent_to[user] += size_bytes
        if not self._lent_to[user]:
            del self._lent_to[user]

    def set_reserve(self, reserve_bytes: int) -> None:
        """So many bytes are to be lent at most."""
        if reserve_bytes != self._reserve_bytes:
            self._reserve_bytes = reserve_bytes
            self._most_held_bytes = None

    def note_waiting(self, upload: HeldUpload) -> None:
        """An upload begins to wait, or waits for less."""
        if self._most_held_bytes is not None:
            self._most_held_bytes = max(self._most_held_bytes, self._bound(upload))

    def borrowers(self, waiting: Iterable[HeldUpload], held_bytes: int) -> list[HeldUpload]:
        """Those that may borrow now, of all uploads that wait.

        :param waiting: the uploads.
        :param held_bytes: how many bytes all holders hold.
        """
        if self._most_held_bytes is not None and held_bytes > self._most_held_bytes:
            return []
        bounds = {upload: self._bound(upload) for upload in waiting}
        able = [upload for upload, bound in bounds.items() if held_bytes <= bound]
        if not able:
            self._most_held_bytes = max(bounds.values(), default=-1)
        return able

    def _bound(self, upload: HeldUpload) -> int:
        """How many bytes may be held at most when an upload borrows; -1: it may not."""
        loan_bytes = upload.loan_bytes
        if not self.lent_bytes:
            # The reserve is free, so that it must be granted, or the line might not move.
            most_bytes = self._limit_bytes + self._overdraft_bytes
            return max(most_bytes - loan_bytes, upload.filling_bytes)
        lent_bytes = self._lent_to[upload.path[0]]
        left_bytes = self._reserve_bytes - self.lent_bytes - loan_bytes
        if lent_bytes and lent_bytes + loan_bytes > left_bytes:
            return -1  # a loan has to come back, which is looked at anew
        return max(0, self._limit_bytes - loan_bytes)
