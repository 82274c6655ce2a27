"""The records of all suspended uploads of a bucket, of which each version is read once.

Knows: that a record does not change under an ETag.
Must not know: sessions, or what an upload is looked for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from sftpgw.aio.lru import LRUDict
from sftpgw.files.housekeeping.pages import all_pages
from sftpgw.files.uploads.suspended.plan import records_prefix
from sftpgw.files.uploads.suspended.storage import FoundUpload, SuspendedRecords
from sftpgw.model.store import MultipartUpload, ObjectInfo, ObjectName, ObjectStore

MAX_READ = 10_000
"""How many records are remembered, at 0.4 KiB each."""


@dataclass(frozen=True, slots=True)
class RecordedUpload:
    """What is remembered of a record.

    :ivar upload: the upload.
    :ivar size_bytes: of its parts together.
    """

    upload: MultipartUpload
    size_bytes: int


class ListedRecords:
    """Finds the records of a bucket, and remembers what they say.

    :param store: where they are.
    :param records: reads them.
    :param state_prefix_of: returns the prefix of the gateway's own keys in a bucket.
    """

    def __init__(
        self,
        store: ObjectStore,
        records: SuspendedRecords,
        state_prefix_of: Callable[[str], str],
    ) -> None:
        self._store = store
        self._records = records
        self._state_prefix_of = state_prefix_of
        self._read: LRUDict[tuple[ObjectName, str], RecordedUpload | None] = LRUDict(MAX_READ)

    async def all(self, bucket: str) -> AsyncIterator[ObjectInfo]:
        """The objects of all records: a LIST for each 1,000.

        :param bucket: the bucket.
        :raises StoreError: the store refuses, or is away.
        """
        prefix = records_prefix(self._state_prefix_of(bucket))
        async for page in all_pages(self._store, bucket, prefix):
            for record in page.objects:
                yield record

    async def find(self, record: ObjectInfo) -> RecordedUpload | None:
        """The upload of a record; None if the record is gone, or makes no sense.

        :param record: the object of the record, as it was listed.
        :raises StoreError: the store refuses, or is away.
        :raises LimitReached: there is no memory for the record.
        """
        version = record.name, record.etag
        if version not in self._read:
            await self.read_again(record)
        return self._read.get(version)

    async def read_again(self, record: ObjectInfo) -> FoundUpload | None:
        """The upload of a record, read from the store in any case; None as for `find`.

        :param record: the object of the record, as it was listed.
        :raises StoreError: the store refuses, or is away.
        :raises LimitReached: there is no memory for the record.
        """
        found = await self._records.read_or_raise(record.name)
        held = None if found is None else RecordedUpload(found.upload, found.size_bytes)
        self._read.put((record.name, record.etag), held)
        return found
