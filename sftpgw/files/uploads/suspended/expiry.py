"""The end of suspended uploads that no client has resumed in time.

Knows: how old a record may get. Must not know: sessions, or uploads that have no record.
"""

from __future__ import annotations

from collections.abc import Callable

from sftpgw.files.uploads.suspended.listed_records import ListedRecords
from sftpgw.files.uploads.suspended.storage import SuspendedRecords
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.store import MultipartUpload, ObjectInfo, ObjectStore


class SuspendedExpiry:
    """Aborts suspended uploads that were not resumed in time.

    :param store: where the records are.
    :param state_prefix_of: returns the prefix of the gateway's own keys in a bucket.
    :param keep_seconds: how long a suspended upload stays.
    :param clock: the process's clock.
    :param events: told of uploads that are aborted.
    """

    def __init__(
        self,
        store: ObjectStore,
        state_prefix_of: Callable[[str], str],
        keep_seconds: float,
        clock: Clock,
        events: EventSink,
    ) -> None:
        self._store = store
        self._keep_seconds = keep_seconds
        self._clock = clock
        self._records = SuspendedRecords(store, state_prefix_of, events)
        self._listed = ListedRecords(store, self._records, state_prefix_of)

    async def expire(self, bucket: str) -> frozenset[MultipartUpload]:
        """Look at all records of a bucket; returns the uploads that stay.

        The sweeper asks again for each page of uploads.

        :raises StoreError: the store refuses, or is away: the uploads that stay are not known.
        """
        found = [await self._examine(record) async for record in self._listed.all(bucket)]
        return frozenset(upload for upload in found if upload is not None)

    async def _examine(self, record: ObjectInfo) -> MultipartUpload | None:
        """The upload of a record, unless it has none or the upload has ended now."""
        if self._clock.seconds() - record.modified_seconds <= self._keep_seconds:
            held = await self._listed.find(record)
            return None if held is None else held.upload
        found = await self._listed.read_again(record)
        if found is None:
            await self._store.delete(record.name, if_match=record.etag)
            return None
        return None if await self._records.drop(found, reason="expired") else found.upload
