"""The memory budget of the process, and each user's share of it.

Knows: whom to ask for memory that is held idly, and whom to tell that it is granted.
Must not know: what the bytes are.

`memory/plan` has the rules for uploads and the queue. These are the others:

1. Read-ahead takes only bytes that are free while the queue is empty, or that its user may take
   before those that wait. Once half of the budget is taken, a download takes no more than a fair
   share: the first downloads would leave so little to the others that each of their READs became a
   request.
2. Bytes that were fetched and sent in reply, and that the client does not read, count until they
   leave: they cannot be released, so that they may pass every bound. They are the last to grow:
   READs and OPENs wait in the queue like all others once the overdraft is spent.
3. A transfer that has to wait makes all others give back the bytes that they hold idly.
4. A user is *over the fair share* who holds more than an equal part while others wait, or who is
   next in the queue behind transfers of their own: bytes of theirs that do not move are reclaimed
   first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count, islice

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from sftpgw.aio.active_weights import ActiveWeights
from sftpgw.aio.fair_order import Ticket
from sftpgw.files.memory.holders import HeldUpload, Holder
from sftpgw.files.memory.plan import OVERDRAFT_SHARE, MemoryPlan, MemoryRequest
from sftpgw.files.memory.reclaims import Reclaims
from sftpgw.files.memory.slow_uploads import SlowUploads
from sftpgw.model.moving_upload import MovingUpload

PLENTY_SHARE = 2
"""Memory is short when more than this fraction of it is taken: a half."""

LOOK_SECONDS = 1.0
"""Uploads become slow or silent as time passes: they are not all looked at more often than this."""

TOLD_A_LOOK = 16
"""How many uploads have to give way at once, to one that asks or to those that wait: one iteration
of the reactor does not tell them all. The next looks go on."""

TELL_SECONDS = 0.1
WATCHERS_A_REQUEST = 8
"""While many transfers wait, those that may give memory back are told every `TELL_SECONDS`, or for
each request so many of them on average: not all of them for each request."""


class Budget:
    """The bytes that all transfers hold together. Implements `MemoryBudget`, as do its shares.

    :param limit_bytes: how many bytes all transfers may hold together.
    :param seconds: returns the time.
    :param weight_of: returns the weight of a user: one of weight 2 gets twice as much as others.
    """

    _log = Logger()

    def __init__(
        self,
        limit_bytes: int,
        seconds: Callable[[], float] = time.monotonic,
        weight_of: Callable[[str], float] = lambda user: 1.0,
    ) -> None:
        self.limit_bytes = limit_bytes
        self.seconds = seconds
        self._plan = MemoryPlan(limit_bytes, weight_of)
        self._slow_uploads = SlowUploads(self._plan)
        self._holders: dict[str, Holder] = {}
        self._serials = count(1)
        self._watchers: dict[Callable[[], None], str | None] = {}  # with the user of the transfer
        self._transfers = ActiveWeights(weight_of)
        self._is_serving = False
        self._looked_seconds: float | None = None
        self._asked = 0  # how often memory was wanted since the watchers were told
        self._told_seconds: float | None = None
        self.reclaim_until = Reclaims(self.request_reclaim).repeat_until

    @classmethod
    def within(
        cls,
        memory_bytes: int,
        seconds: Callable[[], float] = time.monotonic,
        weight_of: Callable[[str], float] = lambda user: 1.0,
    ) -> Budget:
        """A budget that stays within `memory_bytes`, including the overdraft."""
        limit_bytes = memory_bytes * OVERDRAFT_SHARE // (OVERDRAFT_SHARE + 1)
        return cls(limit_bytes, seconds, weight_of)

    def share(self, user: str) -> Share:
        """The budget for one user; a user may have several shares."""
        return Share(self, user)

    @property
    def held_bytes(self) -> int:
        """How many bytes all transfers hold now."""
        return self._plan.held_bytes

    def held_by(self, user: str) -> int:
        """How many bytes all shares of `user` hold together."""
        return self._plan.held_by(user)

    @property
    def waiting(self) -> int:
        """How many transfers wait in the queue."""
        return self._plan.waiting

    def try_acquire(self, size_bytes: int, user: str = "") -> bool:
        plan = self._plan
        if not (plan.fits(size_bytes) and plan.may_pass(user, size_bytes)):
            return False
        self._count(user, size_bytes)
        return True

    def try_charge(self, size_bytes: int, user: str = "") -> bool:
        if not self._plan.may_overdraw(size_bytes):
            return False
        self._count(user, size_bytes)
        return True

    def charge(self, size_bytes: int, user: str = "") -> None:
        self._count(user, size_bytes)

    def acquire(self, size_bytes: int, user: str = "") -> Deferred[None] | None:
        if self.try_acquire(size_bytes, user):
            return None
        granted: Deferred[None] = Deferred(lambda _: self._leave(ticket))
        request = MemoryRequest(self._holder(user), size_bytes, lambda: granted.callback(None))
        ticket = self._plan.put(request, self.seconds())
        self.serve()
        if granted.called:
            return None
        self.request_reclaim()
        return granted

    def release(self, size_bytes: int, user: str = "") -> None:
        self._count(user, -size_bytes)
        if not self._plan.is_empty:
            self.serve()

    def is_over_fair_share(self, user: str = "") -> bool:
        plan = self._plan
        return not plan.is_empty and (plan.is_next(user) or not plan.is_within_share(user))

    @property
    def fair_share_bytes(self) -> int:
        return self.fair_share_bytes_of("")

    def fair_share_bytes_of(self, user: str) -> int:
        """How many bytes one transfer of `user` may hold that no READ waits for."""
        if self.held_bytes * PLENTY_SHARE <= self.limit_bytes:
            return self.limit_bytes
        share_bytes = int(self._transfers.share(user, self.limit_bytes))
        return share_bytes // max(1, self._transfers[user])

    def watch(
        self, on_pressure: Callable[[], None], *, is_transfer: bool = False, user: str = ""
    ) -> None:
        self.unwatch(on_pressure)
        self._watchers[on_pressure] = user if is_transfer else None
        if is_transfer:
            self._transfers.add(user)

    def unwatch(self, on_pressure: Callable[[], None]) -> None:
        user = self._watchers.pop(on_pressure, None)
        if user is not None:
            self._transfers.remove(user)

    def request_reclaim(self) -> None:
        self._asked += 1
        if self._may_tell():
            self._tell_watchers()
        self._look_at_uploads()

    def _may_tell(self) -> bool:
        """Whether the watchers are told again. A request pays for `WATCHERS_A_REQUEST` of them."""
        now, told_seconds = self.seconds(), self._told_seconds
        is_paid = self._asked * WATCHERS_A_REQUEST >= len(self._watchers)
        is_due = told_seconds is None or not 0 <= now - told_seconds < TELL_SECONDS
        if is_paid or is_due:
            self._asked, self._told_seconds = 0, now
        return is_paid or is_due

    def _tell_watchers(self) -> None:
        for on_pressure in tuple(self._watchers):
            if self._plan.is_empty:
                return
            try:
                on_pressure()
            except Exception:
                # The others must be told all the same, and it is no fault of the one that asks.
                self._log.failure("a transfer could not give memory back")

    def _look_at_uploads(self) -> None:
        """Uploads that do not move give way, while others wait."""
        if self._plan.is_empty or not self._may_look():
            return
        self._slow_uploads.take_back(self.seconds())
        self.serve()
        for upload in islice(self._slow_uploads.stalled(self.seconds()), TOLD_A_LOOK):
            if not self._give_way(upload):
                return

    def _may_look(self) -> bool:
        now, looked_seconds = self.seconds(), self._looked_seconds
        if looked_seconds is not None and 0 <= now - looked_seconds < LOOK_SECONDS:
            return False
        self._looked_seconds = now
        return True

    # Uploads.

    def open_upload(self, upload: MovingUpload, user: str = "") -> UploadAccount:
        """What an upload of `user` holds. Its owner calls `close` in the end."""
        self._transfers.add(user)
        held = HeldUpload((user, f"{next(self._serials)}"), upload)
        self._plan.open(held)
        return UploadAccount(self, self._plan, held)

    def close_upload(self, upload: HeldUpload) -> None:
        """An upload holds nothing any more."""
        self._transfers.remove(upload.path[0])
        self._plan.close(upload, self.seconds())
        upload.filler = _GONE  # which has this account: no cycle is left
        self.serve()

    def make_room(self, upload: HeldUpload, more_bytes: int) -> None:
        """Let slow uploads give way until there is room, if it is they who hold the pool.

        :param upload: who asks; it may be told itself.
        :param more_bytes: how much room.
        """
        for _ in range(TOLD_A_LOOK):
            slow = self._slow_uploads.in_the_way(more_bytes, self.seconds())
            if slow is None or not self._give_way(slow) or slow is upload:
                return

    def _give_way(self, upload: HeldUpload) -> bool:
        """Make an upload send what it has, or end it if it cannot; whether it has less now."""
        filler, filling_bytes = upload.filler, upload.filling_bytes
        try:
            (filler.cut if filler.can_cut else filler.come_again)()
        except Exception:
            # It is no fault of the one that asks for memory.
            self._log.failure("an upload could not give way")
        return upload.filling_bytes < filling_bytes

    # Counting.

    def _holder(self, user: str) -> Holder:
        holder = self._holders.get(user)
        if holder is None:
            holder = self._holders[user] = Holder((user, ""))
        return holder

    def _count(self, user: str, size_bytes: int) -> None:
        self._plan.count(self._holder(user), size_bytes, self.seconds())

    def _leave(self, ticket: Ticket[MemoryRequest]) -> None:
        self._plan.remove(ticket)
        self.serve()

    def serve(self) -> None:
        """Grant what can be granted."""
        if self._is_serving:
            return  # the loop below goes on with what was released meanwhile
        self._is_serving = True
        try:
            while (request := self._plan.next_grant(self.seconds())) is not None:
                try:
                    request.grant()
                except Exception:
                    # It is no fault of the one that released memory, and the queue must go on.
                    self._log.failure("a transfer that was granted memory could not go on")
        finally:
            self._is_serving = False


class _GoneUpload:
    """Stands for an upload that has ended. Implements `model.moving_upload.MovingUpload`."""

    is_slow = is_still = is_stalled = is_silent = can_cut = False
    unused_bytes = 0

    def cut(self) -> None:
        """There is nothing to send."""

    def come_again(self) -> None:
        """It has ended."""


_GONE = _GoneUpload()


class UploadAccount:
    """What one upload holds of the budget. Implements `model.memory.UploadMemory`.

    :param budget: the budget of the process.
    :param plan: its rules.
    :param held: what the plan counts for the upload.
    """

    def __init__(self, budget: Budget, plan: MemoryPlan, held: HeldUpload) -> None:
        self._budget = budget
        self._plan = plan
        self._held = held
        self._is_closed = False

    @property
    def sent_bytes(self) -> int:
        return self._held.sent_bytes

    @property
    def filling_bytes(self) -> int:
        return self._held.filling_bytes

    @property
    def lent_bytes(self) -> int:
        return self._held.lent_bytes

    @property
    def is_in_vain(self) -> bool:
        return self._held.in_vain_since_seconds is not None

    def note_moving(self) -> None:
        if self._held.in_vain_since_seconds is not None:
            self._plan.note_moving(self._held)

    def send(self, sent_bytes: int) -> None:
        if sent_bytes != self._held.sent_bytes:
            self._plan.send(self._held, sent_bytes, self._budget.seconds())
            self._serve()

    def give_back(self, size_bytes: int) -> None:
        self._plan.fill(self._held, -size_bytes, self._budget.seconds())
        self._serve()

    def take(self, more_bytes: int, part_bytes: int, *, cannot_wait: bool) -> bool:
        plan, held = self._plan, self._held
        plan.expect_part(max(part_bytes, held.filling_bytes + more_bytes))
        may_pass = cannot_wait or plan.is_empty
        if not (may_pass and plan.may_fill(more_bytes, cannot_wait=cannot_wait)):
            return False
        plan.fill(held, more_bytes, self._budget.seconds())
        return True

    def make_room(self, more_bytes: int) -> None:
        self._budget.make_room(self._held, more_bytes)

    def ask(self, more_bytes: int, part_bytes: int, on_granted: Callable[[], None]) -> None:
        plan, held = self._plan, self._held
        if self._is_closed:
            return
        plan.leave(held)
        plan.update(held, more_bytes, part_bytes)
        plan.put(MemoryRequest(held, 0, on_granted), self._budget.seconds())
        self._budget.serve()

    def update(self, more_bytes: int, part_bytes: int) -> None:
        if self._plan.update(self._held, more_bytes, part_bytes):
            self._serve()

    def leave(self) -> None:
        self._plan.leave(self._held)
        self._serve()

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._budget.close_upload(self._held)

    def _serve(self) -> None:
        if not self._plan.is_empty:
            self._budget.serve()


class Share:
    """Implements `MemoryBudget` for one user.

    :param budget: the budget of the process.
    :param user: the name of the user.
    """

    def __init__(self, budget: Budget, user: str) -> None:
        self._user = user
        self._budget = budget
        self.unwatch = budget.unwatch
        self.request_reclaim = budget.request_reclaim
        self.reclaim_until = budget.reclaim_until

    @property
    def fair_share_bytes(self) -> int:
        return self._budget.fair_share_bytes_of(self._user)

    def watch(self, on_pressure: Callable[[], None], *, is_transfer: bool = False) -> None:
        self._budget.watch(on_pressure, is_transfer=is_transfer, user=self._user)

    def open_upload(self, upload: MovingUpload) -> UploadAccount:
        return self._budget.open_upload(upload, self._user)

    def try_acquire(self, size_bytes: int) -> bool:
        return self._budget.try_acquire(size_bytes, self._user)

    def try_charge(self, size_bytes: int) -> bool:
        return self._budget.try_charge(size_bytes, self._user)

    def charge(self, size_bytes: int) -> None:
        self._budget.charge(size_bytes, self._user)

    def acquire(self, size_bytes: int) -> Deferred[None] | None:
        return self._budget.acquire(size_bytes, self._user)

    def release(self, size_bytes: int) -> None:
        self._budget.release(size_bytes, self._user)

    def is_over_fair_share(self) -> bool:
        return self._budget.is_over_fair_share(self._user)
