"""Who gets memory next, and who is told to come again.

Knows: how many bytes each user and each upload holds, which requests wait, in which order.
Must not know: what the bytes are, how a client or the store is told, or the time: the caller passes
the seconds. Who is slow, and gives way (rules 5 and 6), is in `memory/slow_uploads`.

Bytes of an upload are *filling* until they leave as a part; then they are *sent*, and come back
when the store confirms them. The *pool* is three quarters of all memory. The rest is the *reserve*,
which is at least the largest part that an upload has asked for.

Rules

1. An upload takes what it holds from the pool, in steps: as much as it writes until it would count
   as slow, no more than it has sent so far, and no more than a part. So a slow line costs what it
   has sent, and a fast one asks once for a part. A slow upload gives back what it has not used.
2. Bytes that cannot wait (a file of up to 256 KiB, writes behind a gap) may exceed the pool by the
   overdraft, a tenth of all memory. A READ may take all memory and the overdraft.
3. When the pool is used up, requests wait in a fair order: by user, then by transfer, by *memory
   held times the time for which it is held*. So those who move data are served before those who
   sit on it.
4. The reserve is lent to uploads that wait, and only in one piece: all that is missing until the
   part can be sent. Of the users with least on loan, the one that has used least is first; of
   its uploads, the one closest to its part. A user gets no more than is left afterwards, but always
   a first loan. While no loan is out, the first one may use the overdraft. A loan ends with its
   part, or when its upload hardly moves for a second while others wait: it keeps what it has
   filled, as long as half of the reserve and the largest part are left to lend. Such a loan was *in
   vain*: its upload borrows after all others then, until it moves, and counts as slow once it has
   waited for a while.
5. A slow upload that finds the pool used up does not borrow or wait, if slow uploads hold more than
   half of the pool. Those of them that hold enough for a part send it as it is. If there are none,
   the newest slow upload is told to come again: of the user over a fair share that has most in
   further uploads beside its largest; if there is no such user, the newest of all. So slow uploads
   fill the pool at most, and leave the reserve to those who move.
6. While requests wait, uploads are looked at from time to time. Those that hardly move give back
   what they have not used, and take small steps then. Silent ones are told to come again, and slow
   ones whose loan cannot end, and those of users over a fair share, and of the user that is next,
   that have been slow for as long as silent ones. If slow uploads hold more than half of the pool,
   any of them, by rule 5.
7. A user who stays *within its share* may pass the queue as long as the next in the queue holds
   more than its own. The share is an equal part, by weight, among the users that hold something or
   wait.

Why the line always moves: sent bytes and read-ahead come back whatever others do. Suppose that only
filling bytes are left, and all their uploads wait. They hold at most the pool and the overdraft
(rules 1 and 2), and of the reserve what was kept when loans ended; no loan is out. What is left of
the reserve is enough for any part, together with the overdraft (rule 4), so that the first loan is
granted. Its upload waits for nothing any more: it sends its part, or is slow and loses the loan, or
its client leaves. Each of these brings back the loan, and a sent part brings back what its upload
had filled before as well, which goes to the next in the fair order. This is the banker's algorithm
(Dijkstra, EWD 108, 1965) with one resource: a state is safe if one process can always get all that
it may still claim.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from sftpgw.aio.active_weights import ActiveWeights
from sftpgw.aio.fair_order import FairOrder, Ticket
from sftpgw.files.memory.holders import HeldUpload, Holder
from sftpgw.files.memory.loans import Loans
from sftpgw.model.units import MIB

OVERDRAFT_SHARE = 10
RESERVE_SHARE = 4
"""The reserve is this fraction of all memory: a quarter."""


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
    :ivar uploads: all that are open; the newest comes last.
    """

    def __init__(self, limit_bytes: int, weight_of: Callable[[str], float]) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self.filling_bytes = 0
        self._loans = Loans(limit_bytes, self.overdraft_bytes)
        self._held_by: Counter[str] = Counter()
        # Of users that hold or wait: one for what they hold, and one for each request.
        self._weights = ActiveWeights(weight_of)
        self.uploads: dict[HeldUpload, None] = {}
        self._waiting_uploads: dict[HeldUpload, Ticket[MemoryRequest]] = {}
        self._order: FairOrder[MemoryRequest] = FairOrder(weight_of)
        self._largest_part_bytes = 0
        self._loans.set_reserve(self._reserve_bytes)
        self.is_empty = True
        """Whether nothing waits. An attribute, since each READ and each step asks."""

    # Questions.

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._order)

    @property
    def lent_bytes(self) -> int:
        """How many bytes are on loan."""
        return self._loans.lent_bytes

    @property
    def pool_bytes(self) -> int:
        """How many bytes may fill parts, without loans."""
        return self.limit_bytes - self._reserve_bytes

    @property
    def _reserve_bytes(self) -> int:
        reserve_bytes = max(self.limit_bytes // RESERVE_SHARE, self._largest_part_bytes)
        return min(reserve_bytes, self.limit_bytes)

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

    def is_waiting(self, upload: HeldUpload) -> bool:
        """Whether an upload waits in the queue."""
        return upload in self._waiting_uploads

    def weight(self, user: str) -> float:
        """The weight of a user."""
        return self._weights.weight(user)

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

    def may_keep(self, size_bytes: int) -> bool:
        """Whether so many bytes that were on loan may stay, and enough is left to lend."""
        least_bytes = max(self._largest_part_bytes, self.limit_bytes // RESERVE_SHARE // 2)
        most_bytes = self.limit_bytes + self.overdraft_bytes - least_bytes
        return self.filling_bytes + size_bytes <= most_bytes

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

    def _charge(self, holder: Holder, now_seconds: float) -> None:
        use = holder.held_bytes * (now_seconds - holder.since_seconds) / MIB
        if use > 0:
            self._order.charge(holder.path, use)

    def open(self, upload: HeldUpload) -> None:
        """An upload begins."""
        self.uploads[upload] = None

    def close(self, upload: HeldUpload, now_seconds: float) -> None:
        """An upload has ended: it holds nothing, and waits for nothing."""
        self.leave(upload)
        self.fill(upload, -upload.filling_bytes, now_seconds)
        self.count(upload, -upload.held_bytes, now_seconds)
        upload.sent_bytes = upload.uncounted_bytes = 0
        self.uploads.pop(upload, None)
        if not self.uploads:
            self._largest_part_bytes = 0
            self._loans.set_reserve(self._reserve_bytes)

    def expect_part(self, part_bytes: int) -> None:
        """An upload will send a part of this size: the reserve must be large enough."""
        if part_bytes > self._largest_part_bytes:
            self._largest_part_bytes = part_bytes
            self._loans.set_reserve(self._reserve_bytes)

    def fill(self, upload: HeldUpload, size_bytes: int, now_seconds: float) -> None:
        """An upload has taken bytes to fill a part with, or gives some back if negative.

        Bytes on loan are given back first.
        """
        returned_bytes = min(upload.lent_bytes, max(0, -size_bytes))
        self._loans.lend(upload, -returned_bytes)
        self.filling_bytes += size_bytes + returned_bytes
        self.count(upload, size_bytes, now_seconds)
        if upload in self._waiting_uploads:
            self._loans.note_change(upload)

    def send(self, upload: HeldUpload, sent_bytes: int, now_seconds: float) -> None:
        """`sent_bytes` of an upload are on their way to the store now.

        More than before: they have filled a part. Fewer: the store has confirmed the others.
        """
        more_bytes = sent_bytes - upload.sent_bytes
        filled_bytes = max(0, min(more_bytes, upload.filling_bytes))
        if more_bytes > 0:
            self.note_moving(upload)
            self.fill(upload, -filled_bytes, now_seconds)
            self.end_loan(upload)
        upload.sent_bytes = sent_bytes
        if more_bytes <= 0:
            uncounted_bytes = -min(upload.uncounted_bytes, -more_bytes)
        elif self.may_overdraw(more_bytes):
            uncounted_bytes = 0
        else:
            uncounted_bytes = more_bytes - filled_bytes
        upload.uncounted_bytes += uncounted_bytes
        self.count(upload, more_bytes - uncounted_bytes, now_seconds)
        if uncounted_bytes and upload in self._waiting_uploads:
            self._loans.note_change(upload)

    def note_moving(self, upload: HeldUpload) -> None:
        """An upload that had a loan and did not move does so now."""
        upload.in_vain_since_seconds = None
        if upload in self._waiting_uploads:
            self._loans.note_change(upload)

    def end_loan(self, upload: HeldUpload) -> None:
        """What is left of a loan is filled, and is an upload's own from now on."""
        self.filling_bytes += upload.lent_bytes
        self._loans.lend(upload, -upload.lent_bytes)

    # Waiting.

    def put(self, request: MemoryRequest, now_seconds: float) -> Ticket[MemoryRequest]:
        """Let a request wait; `grants` hands it out."""
        self._charge(request.holder, now_seconds)
        request.holder.since_seconds = now_seconds
        ticket = self._order.put(request.holder.path, request, 0.0)
        self._weights.add(request.holder.path[0])
        self.is_empty = False
        if isinstance(request.holder, HeldUpload):
            self.end_loan(request.holder)  # it was not enough
            self._waiting_uploads[request.holder] = ticket
            self._loans.wait(request.holder)
        return ticket

    def remove(self, ticket: Ticket[MemoryRequest]) -> None:
        """A request does not wait any more."""
        self._order.remove(ticket)
        self._weights.remove(ticket.path[0])
        self.is_empty = self._order.is_empty

    def update(self, upload: HeldUpload, missing_bytes: int, part_bytes: int) -> bool:
        """An upload waits for `missing_bytes` now, and can send a part with `part_bytes`.

        Returns whether either is less than before, so that something may be granted.
        """
        before_bytes, is_less = upload.loan_bytes, missing_bytes < upload.missing_bytes
        upload.missing_bytes, upload.part_bytes = missing_bytes, part_bytes
        self.expect_part(max(part_bytes, upload.filling_bytes + missing_bytes))
        if upload.loan_bytes != before_bytes:
            self._loans.note_change(upload)
        return is_less or upload.loan_bytes < before_bytes

    def leave(self, upload: HeldUpload) -> None:
        """An upload waits for nothing any more."""
        ticket = self._waiting_uploads.pop(upload, None)
        if ticket is not None:
            self._loans.leave(upload)
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
        able = self._loans.borrowers(self.held_bytes)
        if not able:
            return None
        upload = min(able, key=self._rank)
        request, loan_bytes = self._waiting_uploads[upload].item, upload.loan_bytes
        self.leave(upload)
        self._loans.lend(upload, loan_bytes)
        self.count(upload, loan_bytes, now_seconds)
        return request

    def _rank(self, upload: HeldUpload) -> tuple[bool, float, float, int]:
        user = upload.path[0]
        return (
            upload.in_vain_since_seconds is not None,
            self._loans.lent_to(user) / self._weights.weight(user),
            self._order.used(user) // 1,
            upload.loan_bytes,
        )
