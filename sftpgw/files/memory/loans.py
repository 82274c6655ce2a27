"""What uploads that wait borrow from the reserve (rule 4 of `memory/plan`).

Knows: how much is on loan to each user, which uploads wait, and when a further loan is possible.
Must not know: which user borrows first.

Of a user's uploads, only the one closest to its part may be able to borrow: what is too much for it
is too much for the others. It is found by a heap for each user. An entry of a heap is out of date
once its upload has left, or is closer or further away; it is dropped when it comes first.
"""

from __future__ import annotations

from collections import Counter
from heapq import heapify, heappop, heappush, heapreplace

from sftpgw.files.memory.holders import HeldUpload


class Loans:
    """The bytes on loan, and the uploads that wait.

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
        self._waiting: dict[str, dict[HeldUpload, int]] = {}  # by user; each with its serial number
        self._closest: dict[str, list[tuple[bool, int, int, HeldUpload]]] = {}
        self._serial = 0
        # How many bytes may be held at most when one of those that wait borrows; None if that is
        # not known. So the users that wait are not looked through for each byte that comes back.
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

    def wait(self, upload: HeldUpload) -> None:
        """An upload begins to wait."""
        self._serial += 1
        user = upload.path[0]
        self._waiting.setdefault(user, {})[upload] = self._serial
        self._queue(user, upload)

    def note_change(self, upload: HeldUpload) -> None:
        """What is missing to an upload has changed; it may wait."""
        user = upload.path[0]
        if upload in self._waiting.get(user, ()):
            self._queue(user, upload)

    def leave(self, upload: HeldUpload) -> None:
        """An upload waits no more, if it did."""
        user = upload.path[0]
        waiting = self._waiting.get(user)
        if waiting and waiting.pop(upload, None) is not None and not waiting:
            del self._waiting[user], self._closest[user]

    def borrowers(self, held_bytes: int) -> list[HeldUpload]:
        """Those that may borrow now: of each user that waits, the one closest to its part.

        :param held_bytes: how many bytes all holders hold.
        """
        if self._most_held_bytes is not None and held_bytes > self._most_held_bytes:
            return []
        bounds = [(self._bound(upload), upload) for upload in map(self._first, self._waiting)]
        able = [upload for bound, upload in bounds if held_bytes <= bound]
        if not able:
            self._most_held_bytes = max((bound for bound, _ in bounds), default=-1)
        return able

    def _queue(self, user: str, upload: HeldUpload) -> None:
        waiting, heap = self._waiting[user], self._closest.setdefault(user, [])
        if len(heap) > 2 * len(waiting) + 8:
            heap[:] = [_entry(each, serial) for each, serial in waiting.items()]
            heapify(heap)
        else:
            heappush(heap, _entry(upload, waiting[upload]))
        if self._most_held_bytes is not None:
            self._most_held_bytes = max(self._most_held_bytes, self._bound(upload))

    def _first(self, user: str) -> HeldUpload:
        """Of a user that waits, the upload closest to its part."""
        waiting, heap = self._waiting[user], self._closest[user]
        while True:
            _, _, serial, upload = first = heap[0]
            if waiting.get(upload) != serial:
                heappop(heap)
            elif (entry := _entry(upload, serial)) == first:
                return upload
            else:
                heapreplace(heap, entry)

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


def _entry(upload: HeldUpload, serial: int) -> tuple[bool, int, int, HeldUpload]:
    return upload.in_vain_since_seconds is not None, upload.loan_bytes, serial, upload
