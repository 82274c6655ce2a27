"""The records of one place in the store.

Knows: how they are found, read, written and claimed.
Must not know: when, and what follows from them. Their rules are in `quotas/plan/quota_records`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from sftpgw.errors import NoSuchObject, PreconditionFailed, StoreError, StoreTrouble
from sftpgw.files.housekeeping.state_objects import claim, read_state_object, write_state_object
from sftpgw.files.quotas.plan.quota_records import (
    CLAIM_SECONDS,
    NODES,
    SILENT_SECONDS,
    CountRecord,
    NodeRecord,
    claim_to_count,
    count_name,
    count_text,
    node_name,
    node_text,
    parse_count,
    parse_node,
    place_prefix,
)
from sftpgw.files.quotas.plan.usage import Place
from sftpgw.model.store import ObjectInfo, ObjectName, ObjectStore

T = TypeVar("T", CountRecord, NodeRecord)

OLD_SECONDS = 3600.0
"""When the record of a process that has not written for so long is removed behind a count."""

MAX_REMOVED = 100
"""How many of these are removed behind one count."""


@dataclass(frozen=True, slots=True)
class PlaceState:
    """What the records of a place say.

    :ivar count: the last count; None if there is none that makes sense.
    :ivar others: what other processes have changed, of whatever generation, each with the object of
        its record.
    :ivar nodes: the objects of all their records.
    :ivar claim: the object of the claim; None if there is none.
    """

    count: CountRecord | None
    others: tuple[tuple[ObjectInfo, NodeRecord], ...]
    nodes: tuple[ObjectInfo, ...]
    claim: ObjectInfo | None

    @property
    def records(self) -> list[NodeRecord]:
        """What other processes have changed."""
        return [record for _, record in self.others]

    def has_lost(self, generation: str, now_seconds: float) -> bool:
        """Whether a process has died that had stored more than it has told.

        :param generation: the generation of the last count.
        :param now_seconds: the time.
        """
        return any(
            record.is_active
            and record.generation == generation
            and now_seconds - info.modified_seconds > SILENT_SECONDS
            for info, record in self.others
        )

    def is_claimed(self, now_seconds: float) -> bool:
        """Whether another process counts now.

        :param now_seconds: the time.
        """
        return self.claim is not None and (
            now_seconds - self.claim.modified_seconds < CLAIM_SECONDS
        )


class PlaceRecords:
    """The records of one place, for one process. All methods raise `StoreError` as the store does.

    :param store: the store.
    :param place: the place.
    :param node: the id of the process.
    """

    def __init__(self, store: ObjectStore, place: Place, node: str) -> None:
        self._store = store
        self._place = place
        self._own = node_name(place, node)
        self._read: dict[ObjectName, tuple[str, CountRecord | NodeRecord | None]] = {}
        self._written: NodeRecord | None = None

    async def look(self) -> PlaceState:
        """What the records say: a LIST, and a GET for each that another process has written."""
        prefix = place_prefix(self._place)
        page = await self._store.list(self._place.bucket, prefix)
        found = {info.name: info for info in page.objects}
        self._read = {name: known for name, known in self._read.items() if name in found}
        count = found.get(count_name(self._place))
        nodes = tuple(
            info
            for name, info in found.items()
            if name.key.startswith(prefix + NODES) and name != self._own
        )
        others = [(info, await self._parsed(info, parse_node)) for info in nodes]
        return PlaceState(
            await self._parsed(count, parse_count) if count is not None else None,
            tuple((info, record) for info, record in others if record is not None),
            nodes,
            found.get(claim_to_count(self._place)),
        )

    async def _parsed(self, info: ObjectInfo, parse: Callable[[bytes], T]) -> T | None:
        """What a record says; None if it is gone, or makes no sense."""
        known = self._read.get(info.name)
        if known is None or known[0] != info.etag:
            try:
                found = await read_state_object(self._store, info.name)
                known = (found.info.etag, parse(found.data))
            except NoSuchObject:
                return None
            except (ValueError, StoreTrouble):
                known = (info.etag, None)
            self._read[info.name] = known
        return known[1]  # type: ignore[return-value]  # of this name there is no other record

    def must_write(self, record: NodeRecord) -> bool:
        """Whether others do not know yet what this process has changed.

        :param record: what it has changed.
        """
        if self._written is None:
            return bool(record.changed) or record.is_active
        is_news = bool(record.changed or self._written.changed or self._written.is_active)
        return record.is_active or (record != self._written and is_news)

    async def write(self, record: NodeRecord) -> None:
        """Tell others what this process has changed, if they do not know. A PUT.

        :param record: what it has changed.
        """
        if self.must_write(record):
            await write_state_object(self._store, self._own, node_text(record))
            self._written = record

    # Counts.

    async def claim(self, state: PlaceState, now_seconds: float) -> bool:
        """Claim the right to count. Returns whether this process has it.

        :param state: what the records said just before.
        :param now_seconds: the time.
        """
        if state.is_claimed(now_seconds):
            return False
        name = claim_to_count(self._place)
        await self._store.learn_capabilities(self._place.bucket)
        if state.claim is not None:
            try:
                await self._store.delete(name, if_match=state.claim.etag)
            except PreconditionFailed:
                return False
        return await claim(self._store, name, self._own.key.encode())

    async def renew_claim(self) -> None:
        """Write the claim again: this process still counts."""
        await write_state_object(self._store, claim_to_count(self._place), self._own.key.encode())

    async def drop_claim(self) -> None:
        """This process does not count any more. A claim that is left becomes void. Never raises."""
        with suppress(StoreError):
            await self._store.delete(claim_to_count(self._place))

    async def publish(self, record: CountRecord) -> None:
        """Tell others what was counted. A PUT.

        :param record: the count.
        """
        await write_state_object(
            self._store, count_name(self._place), count_text(record, self._place)
        )

    async def remove_old(self, state: PlaceState, now_seconds: float) -> None:
        """Remove what processes tell that are gone. What is left does no harm. Never raises.

        :param state: what the records said before the count.
        :param now_seconds: the time.
        """
        old = [info for info in state.nodes if now_seconds - info.modified_seconds > OLD_SECONDS]
        with suppress(StoreError):
            for info in old[:MAX_REMOVED]:
                await self._store.delete(info.name)
