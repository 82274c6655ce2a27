"""The side of a store in memory that tests see: its content, and the faults that they program.

Knows: what is stored, which operations were asked for, which faults are due.
Must not know: what an operation does (`fake_store`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sftpgw.errors import NoSuchBucket, StoreError
from sftpgw.model.store import BodySink, ObjectName, ObjectProperties
from sftpgw.testing.store_faults import Gate, StoreFaults
from sftpgw.testing.store_memory import StartedUpload, StoredObject, StoreMemory, etag_of


class ProgrammableStore:
    """Content, faults and counters of a store; a subclass adds the operations.

    :param buckets: the buckets that exist.
    :param chunk_bytes: the size of the chunks in which GET passes a body to its sink.
    :param keeps_folders: the folders of a key stay when the key is gone.
    :ivar requests: how often each operation was called.
    :ivar refused: by key, the error of HEAD, GET and copies of an object.
    """

    def __init__(self, buckets: Iterable[str], *, chunk_bytes: int, keeps_folders: bool) -> None:
        self.buckets = set(buckets)
        self.requests: Counter[str] = Counter()
        self.refused: dict[str, StoreError] = {}
        self._memory = StoreMemory(keeps_folders=keeps_folders)
        self._faults = StoreFaults()
        self._chunk_bytes = chunk_bytes

    # What a test programs.

    def fail(self, operation: str, error: Exception, *, times: int = 1, skip: int = 0) -> None:
        """After `skip` calls of `operation`, the next `times` raise `error` and change nothing."""
        self._faults.fail(operation, error, times=times, skip=skip)

    def lose_response(self, operation: str, error: Exception) -> None:
        """The next call of `operation` does its work and then raises `error`."""
        self._faults.lose_response(operation, error)

    def cut_body(self, after_bytes: int) -> None:
        """The next GET passes on `after_bytes` and then fails for good."""
        self._faults.cut_body(after_bytes)

    def hold(self, operation: str) -> Gate:
        """From now on `operation` waits until the gate is opened."""
        return self._faults.hold(operation)

    def seed(
        self,
        key: str,
        data: bytes = b"",
        bucket: str = "bucket",
        *,
        storage_class: str = "",
        **metadata: str,
    ) -> None:
        """Store an object without a request."""
        properties = ObjectProperties(metadata=metadata, storage_class=storage_class)
        self._memory.store(ObjectName(bucket, key), data, properties, etag_of(data))

    # What a test looks at.

    @property
    def objects(self) -> dict[ObjectName, StoredObject]:
        return self._memory.objects

    @objects.setter
    def objects(self, objects: dict[ObjectName, StoredObject]) -> None:
        self._memory.objects = objects

    @property
    def uploads(self) -> dict[str, StartedUpload]:
        """The open multipart uploads, by their ids."""
        return self._memory.uploads

    @uploads.setter
    def uploads(self, uploads: dict[str, StartedUpload]) -> None:
        self._memory.uploads = uploads

    @property
    def folders(self) -> set[ObjectName]:
        return self._memory.folders

    @property
    def now_seconds(self) -> float:
        """The store's clock; each object that is stored moves it on by a second."""
        return self._memory.now_seconds

    @now_seconds.setter
    def now_seconds(self, seconds: float) -> None:
        self._memory.now_seconds = seconds

    def content(self, key: str, bucket: str = "bucket") -> bytes:
        """The bytes stored under a key. :raises KeyError: there are none"""
        return self.objects[ObjectName(bucket, key)].data

    def keys(self, bucket: str = "bucket") -> list[str]:
        """All keys of a bucket, in S3's order."""
        return self._memory.keys(bucket)

    # Steps of the operations; some tests override them.

    async def _enter(self, operation: str, bucket: str) -> None:
        self.requests[operation] += 1
        await self._faults.before(operation)
        if bucket not in self.buckets:
            raise NoSuchBucket(f"no bucket {bucket}", code="NoSuchBucket", status=404)

    def _leave(self, operation: str) -> None:
        self._faults.after(operation)

    async def _deliver(self, data: bytes, sink: BodySink) -> None:
        cut = self._faults.next_cut()
        for start in range(0, len(data), self._chunk_bytes):
            chunk = data[start : start + self._chunk_bytes]
            await self._faults.before_chunk()
            if cut is not None and start + len(chunk) >= cut:
                if cut > start:
                    sink.received(chunk[: cut - start])
                raise StoreError("the body broke off", code="ConnectionLost")
            sink.received(chunk)
