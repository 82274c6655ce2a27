"""Who gets memory next, and who is told to come again.

Knows: how many bytes each user and each upload holds, which requests wait, in which order.
Must not know: what the bytes are, how a client or the store is told, or the time: the caller says
how slow an upload is, and passes the seconds.

Bytes of an upload are *filling* until they leave as a part; then they are *sent*, and come back
when the store confirms them. The *pool* is three quarters of all memory. The rest is the *reserve*,
which is at least the largest part that an upload has asked for.

Rules

1. An upload takes what it holds from the pool, in small steps. It does not ask for whole parts, so
   that a slow line costs what it has sent so far.
2. Bytes that cannot wait (a file of up to 256 KiB, writes behind a gap) may exceed the pool by the
   overdraft, a tenth of all memory. A READ may take all memory and the overdraft.
3. When the pool is used up, requests wait in a fair order: by user, then by transfer, by *memory
   held times the time for which it is held*. So those who move data are served before those who
   sit on it.
4. The reserve is lent to uploads that wait, and only in one piece: all that is missing until the
   part can be sent. Of the users with least on loan, the one that has used least is first; of
   its uploads, the one closest to its part. A user gets no more than is left afterwards, but always
   a first loan. While no loan is out, the first one may use the overdraft. A loan ends with its
   part, or when the upload becomes slow.
5. A slow upload that finds the pool used up does not borrow or wait, if slow uploads hold more than
   half of the pool. Those of them that hold enough for a part send it as it is. If there are none,
   the newest slow upload is told to come again: of the user over a fair share that has most in
   further uploads beside its largest; if there is no such user, the newest of all. So slow uploads
   fill the pool at most, and leave the reserve to those who move.
6. While requests wait, uploads are looked at from time to time. Silent ones are told to come again,
   and those of users over a fair share, and of the user that is next, that have been slow for as
   long. If slow uploads hold more than half of the pool, any of them, by rule 5.
7. A user who stays *within its share* may pass the queue as long as the next in the queue holds
   more than its own. The share is an equal part, by weight, among the users that hold something or
   wait.

Why the line always moves: sent bytes and read-ahead come back whatever others do. Suppose that only
filling bytes are left, and all their uploads wait. They hold at most the pool and the overdraft
(rules 1 and 2), so that the reserve is free, and no loan is out. It is enough for any part (its
definition), so that the first loan is granted (rule 4). Its upload waits for nothing any more: it
sends its part, or is slow and loses the loan, or its client leaves. Each of these brings back the
loan, and a sent part brings back what its upload had filled before as well, which goes to the next
in the fair order. This is the banker's algorithm (Dijkstra, EWD 108, 1965) with one resource: a
state is safe if one process can always get all that it may still claim.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator

from sftpgw.aio.active_weights import ActiveWeights
from sftpgw.aio.fair_order import FairOrder, Path, Ticket
from sftpgw.model.moving_upload import MovingUpload
from sftpgw.model.units import MIB

OVERDRAFT_SHARE = 10
RESERVE_SHARE = 4
"""The reserve is this fraction of all memory: a quarter."""


class Holder:
    """Bytes that count for one user.

    :param path: the user, and what of the user's holds them.
    :ivar held_bytes: how many there are.
    """

    __slots__ = ("held_bytes", "path", "since_seconds")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.held_bytes = 0
        self.since_seconds = 0.0


class HeldUpload(Holder):
    """The bytes of one upload. It holds those that are sent, and those that it fills a part with.

    :param path: the user and the upload.
    :param filler: tells how the upload gets on.
    :ivar sent_bytes: how many bytes are on their way to the store.
    :ivar uncounted_bytes: how many of these are not counted. They came while it waited, and count
        in the window of its client.
    :ivar lent_bytes: how many are on loan from the reserve, to fill a part.
    :ivar missing_bytes: how many it waits for.
    :ivar part_bytes: with how many filling bytes it can send a part.
    """

    __slots__ = (
        "filler",
        "lent_bytes",
        "missing_bytes",
        "part_bytes",
        "sent_bytes",
        "uncounted_bytes",
    )

    def __init__(self, path: Path, filler: MovingUpload) -> None:
        super().__init__(path)
        self.filler = filler
        self.sent_bytes = 0
        self.uncounted_bytes = 0
        self.lent_bytes = 0
        self.missing_bytes = 0
        self.part_bytes = 0

    @property
    def filling_bytes(self) -> int:
        """How many bytes it may fill parts with."""
        return self.held_bytes - self.sent_bytes + self.uncounted_bytes

    @property
    def loan_bytes(self) -> int:
        """How many bytes are missing until it can send a part."""
        return max(self.missing_bytes, self.part_bytes - self.filling_bytes)


class MemoryRequest:
    """A request that waits.

    :param holder: what asks.
    :param size_bytes: how many bytes it asks for; an upload says so in `missing_bytes`.
    :param grant: called when they are counted.
    """

    __slots__ = ("_size_bytes", "grant", "holder")

    def __init__(self, holder: Holder, size_bytes: int, grant: Callable[[], None]) -> None:
        self.holder = holder
        self.grant = grant
        self._size_bytes = size_bytes

    @property
    def size_bytes(self) -> int:
        holder = self.holder
        return holder.missing_bytes if isinstance(holder, HeldUpload) else self._size_bytes


class MemoryPlan:
    """The bytes that are held and asked for.

    :param limit_bytes: how many bytes may be held together.
    :param weight_of: returns the weight of a user.
    :ivar held_bytes: how many are held.
    :ivar filling_bytes: how many of them fill parts and are not on loan.
    :ivar lent_bytes: how many are on loan.
    """

    def __init__(self, limit_bytes: int, weight_of: Callable[[str], float]) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self.filling_bytes = 0
        self.lent_bytes = 0
        self._held_by: Counter[str] = Counter()
        # Of users that hold or wait: one for what they hold, and one for each request.
        self._weights = ActiveWeights(weight_of)
        self._lent_to: Counter[str] = Counter()
        self._uploads: dict[HeldUpload, None] = {}  # the newest comes last
        self._waiting_uploads: dict[HeldUpload, Ticket[MemoryRequest]] = {}
        self._order: FairOrder[MemoryRequest] = FairOrder(weight_of)
        self._largest_part_bytes = 0
        # How many bytes have to come back before any of those that wait can borrow; None if that is
        # not known. So the uploads that wait are not looked through for each byte that comes back.
        self._lack_bytes: float | None = None
        self.is_empty = True
        """Whether nothing waits. An attribute, since each READ and each step asks."""

    # Questions.

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._order)

    @property
    def pool_bytes(self) -> int:
        """How many bytes may fill parts, without loans."""
        reserve_bytes = max(self.limit_bytes // RESERVE_SHARE, self._largest_part_bytes)
        return max(0, self.limit_bytes - reserve_bytes)

    @property
    def overdraft_bytes(self) -> int:
        """By how much the limit may be exceeded."""
        return self.limit_bytes // OVERDRAFT_SHARE

    def held_by(self, user: str) -> int:
        """How many bytes a user holds."""
        return self._held_by[user]

    def share_bytes(self, user: str) -> float:
        """An equal part of all memory, by weight."""
        return self._weights.share(user, self.limit_bytes)

    def is_within_share(self, user: str, more_bytes: int = 0) -> bool:
        """Whether a user holds no more than its share, with so many bytes more."""
        return self._held_by[user] + more_bytes <= self.share_bytes(user)

    def is_next(self, user: str) -> bool:
        """Whether the next request in the queue is the user's."""
        return not self.is_empty and self._order.next.path[0] == user

    def fits(self, size_bytes: int) -> bool:
        """Whether so many bytes more are within the limit."""
        # A request for more than the limit is granted when all is free; otherwise it never would.
        return self.held_bytes + size_bytes <= self.limit_bytes or self.held_bytes == 0

    def may_pass(self, user: str, size_bytes: int) -> bool:
        """Whether a user may take so many bytes now, before those that wait."""
        if self.is_empty:
            return True
        next_user = self._order.next.path[0]
        return (
            user != next_user
            and self.is_within_share(user, size_bytes)
            and not self.is_within_share(next_user)
        )

    def may_overdraw(self, size_bytes: int) -> bool:
        """Whether so many bytes more, which cannot wait, are within limit and overdraft."""
        return self.held_bytes + size_bytes <= self.limit_bytes + self.overdraft_bytes

    def may_fill(self, size_bytes: int, *, cannot_wait: bool = False) -> bool:
        """Whether so many bytes more may fill parts (rules 1 and 2).

        :param size_bytes: how many.
        :param cannot_wait: whether the overdraft may be used.
        """
        pool_bytes = self.pool_bytes
        if not cannot_wait:
            is_in_pool = self.filling_bytes + size_bytes <= pool_bytes
            loan_bytes = max(0, self._largest_part_bytes - self.lent_bytes)
            return is_in_pool and self.fits(size_bytes + loan_bytes)
        in_pool = self.filling_bytes + size_bytes <= pool_bytes + self.overdraft_bytes
        return in_pool and self.may_overdraw(size_bytes)

    # Counting.

    def count(self, holder: Holder, size_bytes: int, now_seconds: float) -> None:
        """A holder has so many bytes more, or fewer.

        :param holder: who.
        :param size_bytes: how many more.
        :param now_seconds: the time.
        """
        if not self.is_empty:
            self._charge(holder, now_seconds)
        holder.since_seconds = now_seconds
        holder.held_bytes += size_bytes
        self.held_bytes += size_bytes
        user, held_by = holder.path[0], self._held_by
        held_before = user in held_by
        held_by[user] += size_bytes
        if not held_by[user]:
            del held_by[user]
            if held_before:
                self._weights.remove(user)
        elif not held_before:
            self._weights.add(user)
        if size_bytes < 0 and self._lack_bytes is not None:
            self._lack_bytes += size_bytes

    def _charge(self, holder: Holder, now_seconds: float) -> None:
        use = holder.held_bytes * (now_seconds - holder.since_seconds) / MIB
        if use > 0:
            self._order.charge(holder.path, use)

    def open(self, upload: HeldUpload) -> None:
        """An upload begins."""
        self._uploads[upload] = None

    def close(self, upload: HeldUpload, now_seconds: float) -> None:
        """An upload has ended: it holds nothing, and waits for nothing."""
        self.leave(upload)
        self.fill(upload, -upload.filling_bytes, now_seconds)
        self.count(upload, -upload.held_bytes, now_seconds)
        upload.sent_bytes = upload.uncounted_bytes = 0
        self._uploads.pop(upload, None)
        if not self._uploads:
            self._largest_part_bytes = 0

    def expect_part(self, part_bytes: int) -> None:
        """An upload will send a part of this size: the reserve must be large enough."""
        if part_bytes > self._largest_part_bytes:
            self._largest_part_bytes = part_bytes
            self._lack_bytes = None

    def fill(self, upload: HeldUpload, size_bytes: int, now_seconds: float) -> None:
        """An upload has taken bytes to fill a part with, or gives some back if negative.

        Bytes on loan are given back first.
        """
        returned_bytes = min(upload.lent_bytes, max(0, -size_bytes))
        self._lend(upload, -returned_bytes)
        self.filling_bytes += size_bytes + returned_bytes
        self.count(upload, size_bytes, now_seconds)

    def _lend(self, upload: HeldUpload, size_bytes: int) -> None:
        if not size_bytes:
            return
        self._lack_bytes = None
        upload.lent_bytes += size_bytes
        self.lent_bytes += size_bytes
        self._lent_to[upload.path[0]] += size_bytes
        if not self._lent_to[upload.path[0]]:
            del self._lent_to[upload.path[0]]

    def send(self, upload: HeldUpload, sent_bytes: int, now_seconds: float) -> None:
        """`sent_bytes` of an upload are on their way to the store now.

        More than before: they have filled a part. Fewer: the store has confirmed the others.
        """
        more_bytes = sent_bytes - upload.sent_bytes
        filled_bytes = max(0, min(more_bytes, upload.filling_bytes))
        if more_bytes > 0:
            self.fill(upload, -filled_bytes, now_seconds)
            self._end_loan(upload)
        upload.sent_bytes = sent_bytes
        if more_bytes <= 0:
            uncounted_bytes = -min(upload.uncounted_bytes, -more_bytes)
        elif self.may_overdraw(more_bytes):
            uncounted_bytes = 0
        else:
            uncounted_bytes = more_bytes - filled_bytes
        upload.uncounted_bytes += uncounted_bytes
        self.count(upload, more_bytes - uncounted_bytes, now_seconds)

    def _end_loan(self, upload: HeldUpload) -> None:
        """What is left of a loan is filled, and is an upload's own from now on."""
        self.filling_bytes += upload.lent_bytes
        self._lend(upload, -upload.lent_bytes)

    # Waiting.

    def put(self, request: MemoryRequest, now_seconds: float) -> Ticket[MemoryRequest]:
        """Let a request wait; `grants` hands it out."""
        self._charge(request.holder, now_seconds)
        request.holder.since_seconds = now_seconds
        ticket = self._order.put(request.holder.path, request, 0.0)
        self._weights.add(request.holder.path[0])
        self.is_empty = False
        if isinstance(request.holder, HeldUpload):
            self._end_loan(request.holder)  # it was not enough
            self._waiting_uploads[request.holder] = ticket
            self._note_lack(request.holder)
        return ticket

    def remove(self, ticket: Ticket[MemoryRequest]) -> None:
        """A request does not wait any more."""
        self._order.remove(ticket)
        self._weights.remove(ticket.path[0])
        self.is_empty = self._order.is_empty

    def update(self, upload: HeldUpload, missing_bytes: int, part_bytes: int) -> bool:
        """An upload waits for `missing_bytes` now, and can send a part with `part_bytes`.

        Returns whether that is less than before, so that something may be granted.
        """
        before_bytes = upload.loan_bytes
        upload.missing_bytes, upload.part_bytes = missing_bytes, part_bytes
        self.expect_part(max(part_bytes, upload.filling_bytes + missing_bytes))
        is_less = upload.loan_bytes < before_bytes
        if is_less:
            self._note_lack(upload)
        return is_less

    def _note_lack(self, upload: HeldUpload) -> None:
        """An upload begins to wait, or waits for less."""
        if self._lack_bytes is not None:
            self._lack_bytes = min(self._lack_bytes, self._lack_of(upload))

    def leave(self, upload: HeldUpload) -> None:
        """An upload waits for nothing any more."""
        ticket = self._waiting_uploads.pop(upload, None)
        if ticket is not None:
            self.remove(ticket)
        upload.missing_bytes = 0

    def next_grant(self, now_seconds: float) -> MemoryRequest | None:
        """The next request that can be granted now: its bytes are counted then."""
        if self.is_empty:
            return None
        request = self._order.next.item
        holder, size_bytes = request.holder, request.size_bytes
        if not isinstance(holder, HeldUpload):
            if not self.fits(size_bytes):
                return self._next_loan(now_seconds)
            self._order.pop()
            self._weights.remove(holder.path[0])
            self.is_empty = self._order.is_empty
            self.count(holder, size_bytes, now_seconds)
            return request
        if not self.may_fill(size_bytes):
            return self._next_loan(now_seconds)
        self.leave(holder)
        self.fill(holder, size_bytes, now_seconds)
        return request

    def _next_loan(self, now_seconds: float) -> MemoryRequest | None:
        """Lend from the reserve (rule 4)."""
        if self._lack_bytes is not None and self._lack_bytes > 0:
            return None
        lacks = {upload: self._lack_of(upload) for upload in self._waiting_uploads}
        able = [upload for upload, lack_bytes in lacks.items() if lack_bytes <= 0]
        if not able:
            self._lack_bytes = min(lacks.values(), default=None)
            return None
        upload = min(able, key=self._rank)
        request, loan_bytes = self._waiting_uploads[upload].item, upload.loan_bytes
        self.leave(upload)
        self._lend(upload, loan_bytes)
        self.count(upload, loan_bytes, now_seconds)
        return request

    def _lack_of(self, upload: HeldUpload) -> float:
        """How many bytes have to come back before an upload may borrow; 0 or less: it may now."""
        loan_bytes = upload.loan_bytes
        if not self.lent_bytes:
            # The reserve is free, so that it must be granted, or the line might not move.
            most_bytes = self.limit_bytes + self.overdraft_bytes
            over_bytes = self.held_bytes + loan_bytes - most_bytes
            return min(over_bytes, self.held_bytes - upload.filling_bytes)
        lent_bytes = self._lent_to[upload.path[0]]
        left_bytes = self.limit_bytes - self.pool_bytes - self.lent_bytes - loan_bytes
        if lent_bytes and lent_bytes + loan_bytes > left_bytes:
            return math.inf  # a loan has to come back, which is looked at anew
        return 0 if self.fits(loan_bytes) else self.held_bytes + loan_bytes - self.limit_bytes

    def _rank(self, upload: HeldUpload) -> tuple[float, float, int]:
        user = upload.path[0]
        return (
            self._lent_to[user] / self._weights.weight(user),
            self._order.used(user) // 1,
            upload.loan_bytes,
        )

    # Slow uploads.

    def end_slow_loans(self, now_seconds: float) -> None:
        """What is on loan to uploads that are slow, and not used, comes back."""
        for upload in [upload for upload in self._uploads if upload.lent_bytes]:
            if upload.filler.is_slow:
                unused_bytes = min(upload.lent_bytes, upload.filler.unused_bytes)
                self.fill(upload, -unused_bytes, now_seconds)
                self._end_loan(upload)

    def slow_in_the_way(self, more_bytes: int) -> HeldUpload | None:
        """Which upload has to give way for so many bytes more in the pool (rule 5)."""
        if self.filling_bytes + more_bytes <= self.pool_bytes:
            return None
        slow = self._slow_uploads()
        return self._first_to_go(slow) if self._hold_most(slow) else None

    def stalled(self) -> Iterator[HeldUpload]:
        """While requests wait: the uploads that have to give way, one after the other (rule 6).

        The slow uploads are looked for once, and each of them is told once.
        """
        for upload in [upload for upload in reversed(self._uploads) if upload.filler.is_silent]:
            if not self.is_empty and upload.held_bytes:
                yield upload
        left = [] if self.is_empty else self._slow_uploads()
        while left and not self.is_empty:
            slow, next_user = left, self._order.next.path[0]
            if not self._hold_most(slow):
                slow = [upload for upload in left if self._takes_too_much(upload, next_user)]
            if not slow:
                return
            upload = self._first_to_go(slow)
            left.remove(upload)
            if self._is_slow(upload):
                yield upload

    def _takes_too_much(self, upload: HeldUpload, next_user: str) -> bool:
        user = upload.path[0]
        is_in_the_way = user == next_user or not self.is_within_share(user)
        return is_in_the_way and upload.filler.is_stalled

    def _hold_most(self, slow: list[HeldUpload]) -> bool:
        return 2 * sum(upload.filling_bytes for upload in slow) > self.pool_bytes

    def _slow_uploads(self) -> list[HeldUpload]:
        return [upload for upload in self._uploads if self._is_slow(upload)]

    def _is_slow(self, upload: HeldUpload) -> bool:
        return (
            upload.filling_bytes > 0
            and upload not in self._waiting_uploads
            and upload.filler.is_slow
        )

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
        weight = self._weights.weight
        excess = {user: (held[user] - largest[user]) / weight(user) for user in held}
        over = [user for user in excess if excess[user] and not self.is_within_share(user)]
        if not over:
            return slow[-1]
        first = max(over, key=lambda user: excess[user])
        return next(upload for upload in reversed(slow) if upload.path[0] == first)
