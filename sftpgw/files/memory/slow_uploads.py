"""Which slow uploads give memory back, or give way to others.

Knows: the uploads, what they hold (`memory/plan`), and which of them are slow.
Must not know: how an upload gives way, how its client is told, or the time: the caller passes it.

These are the rules 5 and 6 of `memory/plan`. Uploads become slow as time passes, and whether one is
takes a look at it. So they are looked through at most once in `LIST_SECONDS`, however many ask, and
each that is found is looked at again before it gives way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sftpgw.files.memory.holders import HeldUpload
from sftpgw.files.memory.plan import MemoryPlan

LIST_SECONDS = 1.0
IN_VAIN_SECONDS = 10.0
"""An upload that has not moved for so long since it had a loan counts as slow, though it waits."""


class SlowUploads:
    """The slow ones of a plan's uploads.

    :param plan: what all uploads hold.
    """

    def __init__(self, plan: MemoryPlan) -> None:
        self._plan = plan
        self._listed: list[HeldUpload] = []  # the newest comes last
        self._listed_bytes = 0
        self._listed_seconds: float | None = None

    def take_back(self, now_seconds: float) -> None:
        """What uploads have reserved that do not move comes back, and their loans end.

        A loan goes on as it is if too little would be left to lend: what it has filled stays.

        :param now_seconds: the time.
        """
        plan = self._plan
        for upload in tuple(plan.uploads):
            filler = upload.filler
            if upload.filling_bytes and (filler.is_still or filler.is_slow):
                if upload.lent_bytes and upload.in_vain_since_seconds is None:
                    upload.in_vain_since_seconds = now_seconds
                unused_bytes = min(upload.filling_bytes, filler.unused_bytes)
                filled_bytes = max(0, upload.lent_bytes - unused_bytes)
                if filled_bytes and not plan.may_keep(filled_bytes):
                    continue
                if unused_bytes:
                    plan.fill(upload, -unused_bytes, now_seconds)
                plan.end_loan(upload)

    def in_the_way(self, more_bytes: int, now_seconds: float) -> HeldUpload | None:
        """Which upload has to give way for so many bytes more in the pool (rule 5).

        :param more_bytes: how many.
        :param now_seconds: the time.
        """
        plan = self._plan
        if plan.filling_bytes + more_bytes <= plan.pool_bytes:
            return None
        self._list(now_seconds)
        while self._listed and 2 * self._listed_bytes > plan.pool_bytes:
            upload = self._first_to_go(self._listed)
            self._listed.remove(upload)
            self._listed_bytes -= upload.filling_bytes
            if self._is_slow(upload, now_seconds):
                return upload
        return None

    def stalled(self, now_seconds: float) -> Iterator[HeldUpload]:
        """While requests wait: the uploads that have to give way, one after the other (rule 6).

        They are looked for once, and each of them is told once.

        :param now_seconds: the time.
        """
        plan = self._plan
        for upload in [upload for upload in reversed(plan.uploads) if upload.filler.is_silent]:
            if not plan.is_empty and upload.held_bytes:
                yield upload
        for upload in [upload for upload in reversed(plan.uploads) if self._sits_on_loan(upload)]:
            if not plan.is_empty:
                yield upload
        left = [] if plan.is_empty else self._all(now_seconds)
        while left and not plan.is_empty:
            slow = left
            if 2 * _filling_bytes(slow) <= plan.pool_bytes:
                slow = [upload for upload in left if self._takes_too_much(upload)]
            if not slow:
                return
            upload = self._first_to_go(slow)
            left.remove(upload)
            if self._is_slow(upload, now_seconds):
                yield upload

    def _list(self, now_seconds: float) -> None:
        listed_seconds = self._listed_seconds
        if listed_seconds is None or not 0 <= now_seconds - listed_seconds < LIST_SECONDS:
            self._listed, self._listed_seconds = self._all(now_seconds), now_seconds
            self._listed_bytes = _filling_bytes(self._listed)

    def _all(self, now_seconds: float) -> list[HeldUpload]:
        return [upload for upload in self._plan.uploads if self._is_slow(upload, now_seconds)]

    def _is_slow(self, upload: HeldUpload, now_seconds: float) -> bool:
        """Whether it is slow, or waits again for a while after a loan that it did not use."""
        if not upload.filling_bytes:
            return False
        since_seconds = upload.in_vain_since_seconds
        is_in_vain = since_seconds is not None and now_seconds - since_seconds >= IN_VAIN_SECONDS
        return is_in_vain or upload.filler.is_slow

    def _sits_on_loan(self, upload: HeldUpload) -> bool:
        return upload.lent_bytes > 0 and upload.filler.is_slow

    def _takes_too_much(self, upload: HeldUpload) -> bool:
        plan, user = self._plan, upload.path[0]
        is_in_the_way = plan.is_next(user) or not plan.is_within_share(user)
        return is_in_the_way and upload.filler.is_stalled

    def _first_to_go(self, slow: list[HeldUpload]) -> HeldUpload:
        """The one that can send a part; else the newest of a user who has several."""
        ready = next((upload for upload in slow if upload.filler.can_cut), None)
        if ready is not None:
            return ready
        held: Counter[str] = Counter()
        largest: Counter[str] = Counter()
        for upload in slow:
            user = upload.path[0]
            held[user] += upload.filling_bytes
            largest[user] = max(largest[user], upload.filling_bytes)
        plan = self._plan
        excess = {user: (held[user] - largest[user]) / plan.weight(user) for user in held}
        over = [user for user in excess if excess[user] and not plan.is_within_share(user)]
        if not over:
            return slow[-1]
        first = max(over, key=lambda user: excess[user])
        return next(upload for upload in reversed(slow) if upload.path[0] == first)


def _filling_bytes(uploads: list[HeldUpload]) -> int:
    return sum(upload.filling_bytes for upload in uploads)
