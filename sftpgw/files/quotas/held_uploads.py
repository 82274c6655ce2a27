"""What suspended uploads take, which no list of objects shows.

Knows: the records of suspended uploads. Must not know: quotas, when they are counted.
"""

from __future__ import annotations

from collections.abc import Callable

from sftpgw.aio.lru import LRUDict
from sftpgw.errors import LimitReached
from sftpgw.files.housekeeping.pages import all_pages
from sftpgw.files.quotas.plan.usage import NOTHING_STORED, Place, Usage
from sftpgw.files.uploads.suspended.plan import records_prefix
from sftpgw.files.uploads.suspended.storage import SuspendedRecords
from sftpgw.model.events import EventSink
from sftpgw.model.store import ObjectInfo, ObjectName, ObjectStore

MAX_READ = 10_000
"""How many records are remembered, at 0.4 KiB each."""


class HeldUploads:
    """Counts suspended uploads.

    :param store: where the records are.
    :param state_prefix_of: returns the prefix of the gateway's own keys in a bucket.
    :param events: told of records that make no sense.
    """

    def __init__(
        self, store: ObjectStore, state_prefix_of: Callable[[str], str], events: EventSink
    ) -> None:
        self._store = store
        self._records = SuspendedRecords(store, state_prefix_of, events)
        self._read: LRUDict[tuple[ObjectName, str], tuple[ObjectName, int] | None] = LRUDict(
            MAX_READ
        )

    async def count(self, place: Place) -> Usage:
        """What the suspended uploads of a place take. A LIST, and a GET for each new record.

        :param place: the place.
        :raises StoreError: the store refuses, or is away.
        """
        total = NOTHING_STORED
        prefix = records_prefix(place.state_prefix)
        async for page in all_pages(self._store, place.bucket, prefix):
            for record in page.objects:
                found = await self._find(record)
                if found is not None and place.holds(found[0]):
                    total += Usage(found[1], 1)
        return total

    async def _find(self, record: ObjectInfo) -> tuple[ObjectName, int] | None:
        version = record.name, record.etag
        if version not in self._read:
            try:
                found = await self._records.read_or_raise(record.name)
            except LimitReached:
                return None
            self._read.put(version, (found.upload.name, found.size_bytes) if found else None)
        return self._read[version]


async def nothing_held(place: Place) -> Usage:
    """Where no uploads are suspended, they take nothing.

    :param place: any place.
    """
    return NOTHING_STORED
