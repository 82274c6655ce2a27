"""The recovery of interrupted directory renames: looking for expired journals.

Knows: when to look, and what to do about a failure. Must not know: how a rename is settled.

A process looks soon after its start and then every few minutes. It settles each rename whose lease
has expired, whichever process began it (`RenameSettler.take_over`): a rename whose outcome is
*moved* is completed, any other one is undone.

Other writers may have put any number of objects there. One look goes through `MAX_PAGES` of them
and looks into about `MAX_LOOKED` journals; the next look goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from sftpgw.aio.once import Once
from sftpgw.aio.periodic import PeriodicTask
from sftpgw.errors import CredentialsUnavailable, GatewayError, StoreUnavailable
from sftpgw.files.renames.journal import find_journal, list_journals
from sftpgw.files.renames.plan import FoundJournal, journals_prefix
from sftpgw.files.renames.settler import TOMBSTONE_SECONDS, RenameSettler
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.file_events import RenameRecordsTooMany
from sftpgw.model.events.gateway_events import Defect, FinishFailed
from sftpgw.model.store import ObjectStore

FIRST_SECONDS = 20.0
EVERY_SECONDS = 300.0
MAX_REPORTED = 100
MAX_PAGES = 32
MAX_LOOKED = 1000


class RenameRecovery:
    """Looks for interrupted renames, from `start` to `stop`.

    :param buckets: the buckets to look into.
    :param state_prefix_of: returns the prefix of the gateway's own keys in a bucket.
    :param settler: settles what is found.
    :param store: the store.
    :param clock: the process's clock.
    :param events: receives failures.
    :param random: returns a number in [0, 1) each time, which spreads the looks of processes.
    """

    def __init__(
        self,
        buckets: tuple[str, ...],
        state_prefix_of: Callable[[str], str],
        *,
        settler: RenameSettler,
        store: ObjectStore,
        clock: Clock,
        events: EventSink,
        random: Callable[[], float],
    ) -> None:
        self._buckets = buckets
        self._state_prefix_of = state_prefix_of
        self._settler = settler
        self._store = store
        self._clock = clock
        self._events = events
        self._next_tokens: dict[str, str] = {}  # by bucket, where the last look has stopped
        self._crowded: set[str] = set()  # buckets with more journals than one look goes through
        self._reported: Once[tuple[str, str, str]] = Once(MAX_REPORTED)
        self._random = random
        self._is_running = False
        # One for each bucket: a bucket that never answers holds up no other one.
        self._tasks = [self._task_of(bucket) for bucket in buckets]

    def _task_of(self, bucket: str) -> PeriodicTask:
        return PeriodicTask(
            partial(self._look_at, bucket),
            first_seconds=FIRST_SECONDS,
            every_seconds=EVERY_SECONDS,
            clock=self._clock,
            on_failure=lambda failure: self._events.emit(
                Defect(where="rename-recovery", failure=failure)
            ),
            random=self._random,
        )

    def add_buckets(self, buckets: Iterable[str]) -> None:
        """Look into these buckets, too. Those of users who are gone stay.

        :param buckets: the buckets of users who have come since the start.
        """
        new = [bucket for bucket in dict.fromkeys(buckets) if bucket not in self._buckets]
        self._buckets = (*self._buckets, *new)
        for bucket in new:
            task = self._task_of(bucket)
            self._tasks.append(task)
            if self._is_running:
                task.start()

    def start(self) -> None:
        """Begin; the first look comes within half a minute."""
        self._is_running = True
        for task in self._tasks:
            task.start()

    def stop(self) -> None:
        """End; looks in progress are cancelled."""
        self._is_running = False
        for task in self._tasks:
            task.stop()

    async def look(self) -> None:
        """Look into each bucket once. Failures become events."""
        for bucket in self._buckets:
            await self._look_at(bucket)

    async def _look_at(self, bucket: str) -> None:
        try:
            await self._look_into(bucket)
        except GatewayError as error:
            self._report(bucket, self._state_prefix_of(bucket), error)

    async def _look_into(self, bucket: str) -> None:
        pages = looked = rows = 0
        token = self._next_tokens.pop(bucket, None)
        journals = list_journals(self._store, bucket, self._state_prefix_of(bucket), token)
        async for page, next_token in journals:
            pages += 1
            rows += sum(len(found.keys) for found in page)
            for found in filter(self._is_due, page):
                looked += 1
                await self._try_to_take_over(bucket, found.key_prefix)
            if next_token is not None and (pages >= MAX_PAGES or looked >= MAX_LOOKED):
                self._next_tokens[bucket] = next_token
                self._report_many(bucket, rows)
                return

    async def _try_to_take_over(self, bucket: str, key_prefix: str) -> None:
        """:raises StoreError: the next journal would fail, too."""
        try:
            await self._take_over(bucket, key_prefix)
        except (CredentialsUnavailable, StoreUnavailable):
            raise
        except GatewayError as error:
            # Another process may have been faster; the next journal may succeed.
            self._report(bucket, key_prefix, error)

    def _is_due(self, found: FoundJournal) -> bool:
        """Whether something is to be done, as far as a piece of a journal tells."""
        now_seconds = self._clock.seconds()
        is_old = now_seconds - found.renewed_seconds > TOMBSTONE_SECONDS
        return found.is_expired(now_seconds) and (found.has_intent or is_old)

    async def _take_over(self, bucket: str, key_prefix: str) -> None:
        found = await find_journal(self._store, bucket, self._state_prefix_of(bucket), key_prefix)
        if found is not None and found.is_expired(self._clock.seconds()):
            await self._settler.take_over(bucket, found)

    def _report(self, bucket: str, prefix: str, error: GatewayError) -> None:
        """Emit a failure once, not at every look."""
        if self._reported.is_new((bucket, prefix, error.message)):
            self._events.emit(FinishFailed(bucket=bucket, prefix=prefix, reason=error.message))

    def _report_many(self, bucket: str, rows: int) -> None:
        prefix = journals_prefix(self._state_prefix_of(bucket))
        if bucket not in self._crowded:
            self._crowded.add(bucket)
            self._events.emit(RenameRecordsTooMany(bucket=bucket, prefix=prefix, rows=rows))
