"""The journal of a directory rename, in the store.

Knows: how its objects are written, read and removed, and how the store decides the outcome.
Must not know: the steps of a rename. The rules of journals are in `files/renames/plan`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from twisted.python.failure import Failure

from sftpgw.aio.periodic import PeriodicTask
from sftpgw.errors import (
    ConditionalConflict,
    NoSuchObject,
    PreconditionFailed,
    StoreError,
    StoreTrouble,
)
from sftpgw.files.housekeeping.pages import all_pages
from sftpgw.files.housekeeping.state_objects import claim, read_state_object, write_state_object
from sftpgw.files.renames.plan import (
    BEAT_SECONDS,
    INTENT,
    OUTCOME,
    Entry,
    FoundJournal,
    Intent,
    Outcome,
    find_journals,
    intent_text,
    journals_prefix,
    page_key,
    page_text,
    parse_intent,
    parse_page,
)
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.gateway_events import Defect
from sftpgw.model.store import ObjectInfo, ObjectName, ObjectStore, WriteCondition

T = TypeVar("T")

MAX_JOURNAL_OBJECTS = 50_000
"""A rename of 10 million files has so many. They are held at once, and take about 30 MiB."""


class RenameJournal:
    """One journal. All methods raise `StoreError` as the store does.

    :param store: the store.
    :param bucket: the bucket of the directory and of the journal.
    :param key_prefix: the prefix of the journal's objects.
    """

    def __init__(self, store: ObjectStore, bucket: str, key_prefix: str) -> None:
        self._store = store.for_state()
        self._bucket = bucket
        self.key_prefix = key_prefix

    async def write_intent(self, intent: Intent) -> None:
        """Write the intent: the rename begins, or is taken over."""
        await self._put(self.key_prefix + INTENT, intent_text(intent))

    async def renew(self, intent: Intent) -> None:
        """Write the intent again, which renews the lease.

        The gateway's own work: it must not wait behind the requests of the user whose rename it is.
        """
        name = ObjectName(self._bucket, self.key_prefix + INTENT)
        await write_state_object(
            self._store.of_gateway(), name, intent_text(intent), WriteCondition.NONE
        )

    async def read_intent(self) -> Intent:
        """:raises NoSuchObject: the rename has ended.
        :raises StoreTrouble: the intent cannot be understood.
        """
        text = await self._get(self.key_prefix + INTENT)
        return _parsed(lambda: parse_intent(text, self._bucket))

    async def write_page(self, number: int, entries: tuple[Entry, ...]) -> None:
        """Write the versions that are about to be copied."""
        await self._put(page_key(self.key_prefix, number), page_text(entries))

    async def read_page(self, number: int) -> tuple[Entry, ...]:
        """:raises NoSuchObject: another process has settled the rename.
        :raises StoreTrouble: the page cannot be understood.
        """
        text = await self._get(page_key(self.key_prefix, number))
        return _parsed(lambda: parse_page(text))

    async def decide(self, wanted: Outcome) -> Outcome:
        """Write the outcome, unless there is one. Returns the one that holds.

        The store decides by If-None-Match. Where it has no such condition, a GET just before is all
        that is possible.

        :param wanted: the outcome that this process wants.
        """
        able = await self._store.learn_capabilities(self._bucket)
        if not able.conditional_put and (outcome := await self.read_outcome()) is not None:
            return outcome
        key = self.key_prefix + OUTCOME
        try:
            await self._put(key, wanted.value.encode(), WriteCondition.IF_ABSENT)
        except (PreconditionFailed, ConditionalConflict):
            outcome = await self.read_outcome()
            if outcome is None:
                raise
            return outcome
        return wanted

    async def read_outcome(self) -> Outcome | None:
        """The outcome, None if there is none yet.

        :raises StoreTrouble: it cannot be understood.
        """
        try:
            text = await self._get(self.key_prefix + OUTCOME)
        except NoSuchObject:
            return None
        return _parsed(lambda: Outcome(text.decode()))

    async def claim(self, key: str) -> bool:
        """Create a claim, as `state_objects.claim` does. Returns whether this process was first.

        :param key: the claim's key, `FoundJournal.claim_key`.
        """
        return await claim(self._store, ObjectName(self._bucket, key))

    async def remove(self, pages: tuple[int, ...], claims: tuple[str, ...] = ()) -> None:
        """Remove the whole journal; the outcome last.

        :param pages: the numbers of its pages.
        :param claims: the keys of its claims.
        """
        page_keys = [page_key(self.key_prefix, number) for number in pages]
        for key in (*page_keys, *claims, self.key_prefix + INTENT, self.key_prefix + OUTCOME):
            await self._store.delete(ObjectName(self._bucket, key))

    async def leave_tombstone(self) -> None:
        """Delete only the intent: no process begins to work on this journal any more.

        A process that still does finds the outcome and the pages.
        """
        await self._store.delete(ObjectName(self._bucket, self.key_prefix + INTENT))

    async def _put(
        self, key: str, text: bytes, condition: WriteCondition = WriteCondition.NONE
    ) -> None:
        await write_state_object(self._store, ObjectName(self._bucket, key), text, condition)

    async def _get(self, key: str) -> bytes:
        return (await read_state_object(self._store, ObjectName(self._bucket, key))).data


async def find_journal(
    store: ObjectStore, bucket: str, state_prefix: str, key_prefix: str
) -> FoundJournal | None:
    """One journal, None if it was removed. One LIST, mostly.

    :param store: the store.
    :param bucket: the bucket.
    :param state_prefix: the prefix of the gateway's own keys.
    :param key_prefix: the prefix of the journal's objects.
    :raises StoreTrouble: it has more objects than any rename.
    """
    objects: list[ObjectInfo] = []
    async for page in all_pages(store.for_state(), bucket, key_prefix):
        objects += page.objects
        if len(objects) > MAX_JOURNAL_OBJECTS:
            raise StoreTrouble(f"{key_prefix} is no journal: it has too many objects")
    return next(iter(find_journals(state_prefix, objects)), None)


async def list_journals(
    store: ObjectStore, bucket: str, state_prefix: str, token: str | None = None
) -> AsyncIterator[tuple[tuple[FoundJournal, ...], str | None]]:
    """The journals of a bucket, page by page: other writers may have put any number there.

    Each page comes with the token of the next one. A journal of more than one page comes in pieces.
    `find_journal` tells all of it.

    :param store: the store.
    :param bucket: the bucket.
    :param state_prefix: the prefix of the gateway's own keys.
    :param token: that of the first page that is wanted; None for the first of all.
    """
    async for page in all_pages(store, bucket, journals_prefix(state_prefix), token=token):
        yield find_journals(state_prefix, page.objects), page.next_token


def start_heartbeat(
    beat: Callable[[], Coroutine[Any, Any, None]], clock: Clock, events: EventSink
) -> PeriodicTask:
    """Renew a lease every `BEAT_SECONDS`, until the returned task is stopped.

    If a beat fails, the next one follows in time: a lease outlasts several beats.

    :param beat: writes the intent.
    :param clock: the process's clock.
    :param events: receives the failures that are not the store's.
    """

    def on_failure(failure: Failure) -> None:
        if not failure.check(StoreError):
            events.emit(Defect(where="rename-heartbeat", failure=failure))

    task = PeriodicTask(
        beat,
        first_seconds=BEAT_SECONDS,
        every_seconds=BEAT_SECONDS,
        clock=clock,
        on_failure=on_failure,
    )
    task.start()
    return task


def _parsed(parse: Callable[[], T]) -> T:
    try:
        return parse()
    except ValueError as error:
        raise StoreTrouble(f"the record of a rename cannot be read: {error}") from None
