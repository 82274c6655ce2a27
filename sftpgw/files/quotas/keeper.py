"""What is stored at all places that this process stores something at.

Knows: when records are read and written, when a place is counted, and by which process.
Must not know: quotas, users' paths, what a change is part of.

Rules

1. A place that no session with a quota has stored anything at costs nothing: no request, no record,
   no timer. One at which nothing was stored for a quarter of an hour is forgotten.
2. While something is stored at a place, or an upload is open there, its records are read, and what
   this process has changed is written, every 30 seconds: a LIST, a PUT, and a GET for each record
   that has changed. No request of a client waits for that, but for the first one at a place. Four
   places are looked at at once: with very many of them it takes longer.
3. Each of these records says that the process is active, and the last one that it is not any more.
   A process that has died while it was active may have stored more than it has told; the place is
   counted when two minutes have passed.
4. A place is counted when its last count is `[files] quota_recount` old, by one process: the one
   that has claimed it. Four counts of a process are under way at once, each with one request at a
   time. They are the gateway's own work, and no user's requests wait behind them.
5. A count that fails leaves the last figures as they were. It is tried again after five minutes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from itertools import count
from secrets import token_hex
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.python.failure import Failure

from sftpgw.aio.fair_slots import FairSlots
from sftpgw.aio.notifier import Notifier
from sftpgw.aio.parallel import in_parallel
from sftpgw.aio.periodic import PeriodicTask
from sftpgw.errors import StoreError, StoreUnavailable
from sftpgw.files.housekeeping.pages import all_pages
from sftpgw.files.quotas.place_records import PlaceRecords, PlaceState
from sftpgw.files.quotas.plan.account import PlaceAccount
from sftpgw.files.quotas.plan.known_sizes import KnownSizes
from sftpgw.files.quotas.plan.quota_records import RENEW_SECONDS, NodeRecord
from sftpgw.files.quotas.plan.usage import NOTHING_STORED, Place, Usage, usage_of
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.gateway_events import Defect
from sftpgw.model.events.quota_events import QuotaCounted, QuotaCountFailed, QuotaRecordsFailed
from sftpgw.model.store import ObjectInfo, ObjectName, ObjectStore

ROUND_SECONDS = 5.0
SYNC_SECONDS = 30.0
IDLE_SECONDS = 900.0
RETRY_SECONDS = 300.0
WAIT_SECONDS = 10.0
"""How long an OPEN waits at most for the first figures of a place."""

COUNT_SECONDS = 6 * 3600.0
"""How long a count may take, so that one that never ends does not keep others waiting."""

AT_ONCE = 4


class KeptPlace:
    """One place.

    :param place: the place.
    :param records: its records.
    :param now_seconds: the time.
    :param spread: from 0.75 to 1: how much of `quota_recount` this process waits, so that
        processes do not all want to count at once.
    :ivar account: what is stored there.
    :ivar on_known: notified when there are figures.
    """

    def __init__(
        self, place: Place, records: PlaceRecords, now_seconds: float, spread: float
    ) -> None:
        self.account = PlaceAccount(place)
        self.records = records
        self.on_known = Notifier()
        self.met_seconds = now_seconds
        self.used_seconds = now_seconds
        self.synced_seconds = 0.0
        self.next_count_seconds = 0.0
        self.spread = spread
        self.is_used = False
        self.is_busy = False
        self.is_counting = False
        self.is_reported = False

    def own_record(self, *, was_used: bool = False) -> NodeRecord:
        """What other processes are to know.

        :param was_used: whether something may be stored in a moment.
        """
        account = self.account
        is_active = account.is_known and (was_used or account.grants > 0)
        return NodeRecord(account.generation, account.own, is_active)

    def must_sync(self, now_seconds: float) -> bool:
        """Whether the records are to be read and written.

        :param now_seconds: the time.
        """
        every_seconds = SYNC_SECONDS if self.account.is_known else ROUND_SECONDS
        is_due = now_seconds - self.synced_seconds >= every_seconds
        is_asked_for = self.is_used or not self.account.is_known
        is_wanted = self._has_to_tell or (is_asked_for and not self._is_idle(now_seconds))
        return is_due and not self.is_busy and is_wanted

    def _is_idle(self, now_seconds: float) -> bool:
        return not self.account.grants and now_seconds - self.used_seconds >= IDLE_SECONDS

    @property
    def _has_to_tell(self) -> bool:
        """Before the first count there is nothing to add to, and the first one finds all."""
        return self.account.is_known and self.records.must_write(self.own_record())

    def may_be_forgotten(self, now_seconds: float) -> bool:
        """Whether nothing is lost with it.

        :param now_seconds: the time.
        """
        is_under_way = self.is_busy or self.is_counting
        return self._is_idle(now_seconds) and not is_under_way and not self._has_to_tell


class QuotaKeeper:
    """The places of one process.

    :param store: the store.
    :param count_held: returns what the suspended uploads of a place take.
    :param clock: the time, and the timer of rounds.
    :param events: hears of counts, and of what fails.
    :param every_seconds: how old a count may get (``[files] quota_recount``).
    :param random: returns a number in [0, 1).
    :param weight_of: returns the weight of a user.
    :param node: the id of the process among all that use the bucket; None for a new one.
    """

    def __init__(
        self,
        store: ObjectStore,
        count_held: Callable[[Place], Awaitable[Usage]],
        clock: Clock,
        events: EventSink,
        *,
        every_seconds: float,
        random: Callable[[], float],
        weight_of: Callable[[str], float] = lambda user: 1.0,
        node: str | None = None,
    ) -> None:
        self._store = store.of_gateway()
        self._count_held = count_held
        self._clock = clock
        self._events = events
        self._every_seconds = every_seconds
        self._random = random
        self._node = node or token_hex(8)
        self._serials = count(1)
        self._places: dict[Place, KeptPlace] = {}
        self._sizes = KnownSizes(weight_of)
        self._sync_slots = FairSlots(AT_ONCE)
        self._count_slots = FairSlots(AT_ONCE)
        self._rounds: PeriodicTask | None = None
        self._under_way: set[Deferred[None]] = set()
        self._is_stopped = False

    # For sessions.

    def account(self, place: Place) -> PlaceAccount:
        """The account of a place. Its figures are read and counted from now on.

        :param place: the place.
        """
        kept = self._places.get(place)
        now_seconds = self._clock.seconds()
        if kept is None:
            # A new name each time: what was told under an earlier one still counts.
            records = PlaceRecords(self._store, place, f"{self._node}-{next(self._serials)}")
            kept = KeptPlace(place, records, now_seconds, 0.75 + self._random() / 4)
            self._places[place] = kept
            self._start()
        kept.used_seconds = now_seconds
        kept.is_used = True
        if kept.must_sync(now_seconds):
            self._begin(self._sync(kept))
        return kept.account

    async def wait_until_known(self, account: PlaceAccount) -> None:
        """Wait for the first figures of a place, at most ten seconds since it was met.

        :param account: that of the place.
        """
        kept = self._places.get(account.place)
        if kept is None or account.is_known:
            return
        left_seconds = kept.met_seconds + WAIT_SECONDS - self._clock.seconds()
        if left_seconds > 0:
            with suppress(WaitedTooLong):
                await kept.on_known.wait().addTimeout(left_seconds, self._clock)  # type: ignore[arg-type]

    def find_size(self, name: ObjectName) -> Usage | None:
        """What a file counts; None if that is not known.

        :param name: the file.
        """
        return self._sizes.find(name, self._clock.seconds())

    def note_size(self, user: str, name: ObjectName, size_bytes: int | None) -> None:
        """A file was seen.

        :param user: the user who has caused it.
        :param name: the file.
        :param size_bytes: its size; None if there is none.
        """
        self._sizes.note(user, name, size_bytes, self._clock.seconds())

    def forget_sizes(self) -> None:
        """Many files have other names now."""
        self._sizes.forget_all()

    def changed(
        self,
        user: str,
        name: ObjectName,
        size_bytes: int | None,
        accounts: tuple[PlaceAccount, ...],
    ) -> None:
        """A file was stored or removed.

        :param user: the user who has done it.
        :param name: the file.
        :param size_bytes: its size; None if it was removed.
        :param accounts: those of the places at which it is.
        """
        now_seconds = self._clock.seconds()
        before = self._sizes.find(name, now_seconds)
        after = NOTHING_STORED if size_bytes is None else usage_of(name.key, size_bytes)
        for account in accounts:
            account.change(
                name.key,
                before or NOTHING_STORED,
                after,
                now_seconds,
                is_doubtful=before is None and size_bytes is not None,
            )
        self._sizes.note(user, name, size_bytes, now_seconds)

    def adjust(self, account: PlaceAccount, delta: Usage) -> None:
        """A suspended upload was kept or is gone, or many objects were moved.

        :param account: that of the place.
        :param delta: how much more is stored.
        """
        account.adjust(delta, self._clock.seconds())

    # Rounds.

    def _start(self) -> None:
        if self._rounds is None and not self._is_stopped:
            self._rounds = PeriodicTask(
                self._look_around,
                first_seconds=ROUND_SECONDS,
                every_seconds=ROUND_SECONDS,
                clock=self._clock,
                on_failure=self._defect,
            )
            self._rounds.start()

    async def _look_around(self) -> None:
        now_seconds = self._clock.seconds()
        for place, kept in list(self._places.items()):
            if kept.must_sync(now_seconds):
                self._begin(self._sync(kept))
            elif kept.may_be_forgotten(now_seconds):
                del self._places[place]

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        if self._is_stopped:
            work.close()
            return
        done = Deferred.fromCoroutine(work)
        done.addErrback(self._defect)
        self._under_way.add(done)
        done.addCallback(lambda _: self._under_way.discard(done))

    def _defect(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._events.emit(Defect(where="quotas", failure=failure))

    async def _sync(self, kept: KeptPlace) -> None:
        """Read what others tell, tell them what has changed here, and count if it is time."""
        account, place = kept.account, kept.account.place
        was_used = kept.is_used
        kept.is_busy, kept.is_used = True, False
        try:
            async with self._sync_slots.slot((place.prefix,)):
                state = await kept.records.look()
                if state.count is not None:
                    account.adopt(state.count)
                account.take_others(state.records)
                account.is_questioned |= state.has_lost(account.generation, self._clock.seconds())
                self._tell_known(kept)
                await kept.records.write(kept.own_record(was_used=was_used))
            kept.is_reported = False
        except StoreError as error:
            kept.is_used = True
            if not kept.is_reported:
                kept.is_reported = True
                self._events.emit(
                    QuotaRecordsFailed(
                        bucket=place.bucket,
                        prefix=place.prefix,
                        reason=error.message,
                        code=error.code,
                    )
                )
            return
        finally:
            kept.is_busy = False
            kept.synced_seconds = self._clock.seconds()
        if self._must_count(kept):
            self._begin(self._count(kept, state))

    def _tell_known(self, kept: KeptPlace) -> None:
        if kept.account.is_known:
            kept.on_known.notify_all()

    # Counts.

    def _must_count(self, kept: KeptPlace) -> bool:
        now_seconds = self._clock.seconds()
        every_seconds = self._every_seconds * kept.spread
        is_due = kept.account.wants_count(now_seconds, every_seconds)
        return is_due and not kept.is_counting and now_seconds >= kept.next_count_seconds

    async def _count(self, kept: KeptPlace, state: PlaceState) -> None:
        place = kept.account.place
        kept.is_counting = True
        try:
            async with self._count_slots.slot((place.prefix,)):
                if await kept.records.claim(state, self._clock.seconds()):
                    counting = Deferred.fromCoroutine(self._count_claimed(kept, state))
                    await counting.addTimeout(COUNT_SECONDS, self._clock)  # type: ignore[arg-type]
        except StoreError as error:
            self._count_failed(kept, error.message, error.code)
        except WaitedTooLong:
            self._count_failed(kept, "it took too long")
        finally:
            kept.is_counting = False

    def _count_failed(self, kept: KeptPlace, reason: str, code: str | None = None) -> None:
        account = kept.account
        self._events.emit(
            QuotaCountFailed(
                bucket=account.place.bucket,
                prefix=account.place.prefix,
                reason=reason,
                code=code or None,
                used_bytes=account.used.size_bytes if account.is_known else None,
            )
        )
        kept.next_count_seconds = self._clock.seconds() + RETRY_SECONDS

    async def _count_claimed(self, kept: KeptPlace, state: PlaceState) -> None:
        account, records = kept.account, kept.records
        began_seconds = self._clock.seconds()
        running = account.begin_count()
        try:
            running.add_held(await self._count_held(account.place))
            async for objects, is_last in self._pages(kept):
                running.take_page(objects, is_last=is_last)
                if running.is_void:
                    raise StoreUnavailable("too many files were stored while a LIST was answered")
            now_seconds = self._clock.seconds()
            closed = account.close_count(token_hex(8), began_seconds, now_seconds)
            await records.publish(closed.record)
        finally:
            account.drop_count()
            await records.drop_claim()
        corrected = account.take_count(closed)
        self._tell_known(kept)
        kept.is_used = True
        self._events.emit(
            QuotaCounted(
                bucket=account.place.bucket,
                prefix=account.place.prefix,
                size_bytes=closed.record.found.size_bytes,
                files=closed.record.found.files,
                corrected_bytes=corrected.size_bytes,
                corrected_files=corrected.files,
                seconds=round(now_seconds - began_seconds, 3),
            )
        )
        await records.remove_old(state, now_seconds)
        self._begin(self._sync(kept))  # that this process is active is of the new generation

    async def _pages(self, kept: KeptPlace) -> AsyncIterator[tuple[list[tuple[str, Usage]], bool]]:
        """The pages of a place: keys and what they count, and whether it is the last page."""
        place, renewed_seconds = kept.account.place, self._clock.seconds()
        async for page in all_pages(self._store, place.bucket, place.prefix):
            yield (
                [(info.name.key, _counted(place, info)) for info in page.objects],
                (page.next_token is None),
            )
            if self._clock.seconds() - renewed_seconds >= RENEW_SECONDS:
                renewed_seconds = self._clock.seconds()
                await kept.records.renew_claim()

    # The end.

    async def stop(self) -> None:
        """Stop counting, and tell others what they do not know yet."""
        self._is_stopped = True
        if self._rounds is not None:
            self._rounds.stop()
        for each in list(self._under_way):
            each.cancel()

        async def write(kept: KeptPlace) -> None:
            with suppress(StoreError):
                await kept.records.write(kept.own_record())

        await in_parallel(write, list(self._places.values()), AT_ONCE)


def _counted(place: Place, info: ObjectInfo) -> Usage:
    is_hidden = info.name.key.startswith(place.state_prefix)
    return NOTHING_STORED if is_hidden else usage_of(info.name.key, info.size_bytes)
