"""The record of a directory's rename, in the store.

Knows: how its objects are written, read and removed, and how the outcome is decided.
Must not know: what a rename does next.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
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
    FoundRename,
    Intent,
    Outcome,
    find_records,
    intent_text,
    page_key,
    page_text,
    parse_intent,
    parse_page,
    records_prefix,
)
from sftpgw.model.clock import Clock
from sftpgw.model.store import ObjectInfo, ObjectName, ObjectStore, WriteCondition

T = TypeVar("T")


class RenameJournal:
    """One record.

    :param key_prefix: what the keys of its objects begin with.
    """

    def __init__(self, store: ObjectStore, bucket: str, key_prefix: str) -> None:
        self._store = store
        self._bucket = bucket
        self.key_prefix = key_prefix

    async def write_intent(self, intent: Intent) -> None:
        """The first time, and again and again while somebody is at work."""
        await self._put(self.key_prefix + INTENT, intent_text(intent))

    async def intent(self) -> Intent:
        """:raises NoSuchObject, StoreTrouble: it cannot be read"""
        text = await self._get(self.key_prefix + INTENT)
        return _parsed(lambda: parse_intent(text, self._bucket))

    async def write_page(self, number: int, entries: tuple[Entry, ...]) -> None:
        await self._put(page_key(self.key_prefix, number), page_text(entries))

    async def page(self, number: int) -> tuple[Entry, ...]:
        """:raises NoSuchObject: somebody else has finished the rename."""
        text = await self._get(page_key(self.key_prefix, number))
        return _parsed(lambda: parse_page(text))

    async def decide(self, wanted: Outcome) -> Outcome:
        """What becomes of the rename: what was decided before, or else what is wanted.

        The store decides. One that cannot was asked just before: that is all that can be done.
        """
        able = await self._store.learn_capabilities(self._bucket)
        if not able.conditional_put and (decided := await self.decided()) is not None:
            return decided
        key = self.key_prefix + OUTCOME
        try:
            await self._put(key, wanted.value.encode(), WriteCondition.IF_ABSENT)
        except (PreconditionFailed, ConditionalConflict):
            decided = await self.decided()
            if decided is None:
                raise
            return decided
        return wanted

    async def claim(self, key: str) -> bool:
        """Whether nobody else has claimed it. A store that does not decide that says yes."""
        return await claim(self._store, ObjectName(self._bucket, key))

    async def decided(self) -> Outcome | None:
        """The outcome, None if there is none yet. :raises StoreTrouble: it makes no sense"""
        try:
            text = await self._get(self.key_prefix + OUTCOME)
        except NoSuchObject:
            return None
        return _parsed(lambda: Outcome(text.decode()))

    async def remove(self, pages: tuple[int, ...], claims: tuple[str, ...] = ()) -> None:
        """All of it; the outcome last."""
        keys = [page_key(self.key_prefix, number) for number in pages]
        for key in (*keys, *claims, self.key_prefix + INTENT, self.key_prefix + OUTCOME):
            await self._store.delete(ObjectName(self._bucket, key))

    async def bury(self) -> None:
        """Nobody is to work on it; but whoever still does, against all odds, finds the rest."""
        await self._store.delete(ObjectName(self._bucket, self.key_prefix + INTENT))

    async def _put(
        self, key: str, text: bytes, condition: WriteCondition = WriteCondition.NONE
    ) -> None:
        await write_state_object(self._store, ObjectName(self._bucket, key), text, condition)

    async def _get(self, key: str) -> bytes:
        return (await read_state_object(self._store, ObjectName(self._bucket, key))).data


async def list_records(
    store: ObjectStore, bucket: str, state_prefix: str
) -> tuple[FoundRename, ...]:
    """All records of a bucket."""
    objects: list[ObjectInfo] = []
    async for page in all_pages(store, bucket, records_prefix(state_prefix)):
        objects += page.objects
    return find_records(state_prefix, objects)


def heartbeat(beat: Callable[[], Coroutine[Any, Any, None]], clock: Clock) -> PeriodicTask:
    """Begin to renew a lease: call `beat` every `BEAT_SECONDS`, until the task is stopped.

    A beat that the store refuses is left out: the next one follows in time.
    """
    task = PeriodicTask(
        beat,
        first_seconds=BEAT_SECONDS,
        every_seconds=BEAT_SECONDS,
        clock=clock,
        on_failure=_pass_over_store_error,
    )
    task.start()
    return task


def _pass_over_store_error(failure: Failure) -> None:
    failure.trap(StoreError)


def _parsed(parse: Callable[[], T]) -> T:
    try:
        return parse()
    except ValueError as error:
        raise StoreTrouble(f"the record of a rename cannot be read: {error}") from None
