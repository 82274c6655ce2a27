"""What suspended uploads take, which no list of objects shows.

Knows: the records of suspended uploads. Must not know: quotas, when they are counted.
"""

from __future__ import annotations

from collections.abc import Callable

from sftpgw.files.quotas.plan.usage import NOTHING_STORED, Place, Usage
from sftpgw.files.uploads.suspended.listed_records import ListedRecords
from sftpgw.files.uploads.suspended.storage import SuspendedRecords
from sftpgw.model.events import EventSink
from sftpgw.model.store import ObjectStore


class HeldUploads:
    """Counts suspended uploads.

    :param store: where the records are.
    :param state_prefix_of: returns the prefix of the gateway's own keys in a bucket.
    :param events: told of records that make no sense.
    """

    def __init__(
        self, store: ObjectStore, state_prefix_of: Callable[[str], str], events: EventSink
    ) -> None:
        records = SuspendedRecords(store, state_prefix_of, events)
        self._listed = ListedRecords(store, records, state_prefix_of)

    async def count(self, place: Place) -> Usage:
        """What the suspended uploads of a place take. A LIST, and a GET for each new record.

        :param place: the place.
        :raises StoreError: the store refuses, or is away.
        """
        total = NOTHING_STORED
        async for record in self._listed.all(place.bucket):
            held = await self._listed.find(record)
            if held is not None and place.holds(held.upload.name):
                total += Usage(held.size_bytes, 1)
        return total


async def nothing_held(place: Place) -> Usage:
    """Where no uploads are suspended, they take nothing.

    :param place: any place.
    """
    return NOTHING_STORED
