"""Several stores as one: each request goes to the store of its bucket.

Knows: which store a bucket is in, by its name (`model/bucket_names`).
Must not know: requests. Each store takes its buckets by the names that the gateway has for them.

Where only ``[s3]`` is configured, nothing of this is in the way of a request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, TypeVar

from sftpgw.errors import StoresDiffer
from sftpgw.model.bucket_names import store_of_bucket
from sftpgw.model.limits import MAX_LISTED_KEYS
from sftpgw.model.object_settings import ObjectTable
from sftpgw.model.store import (
    BodySink,
    ByteRange,
    Cancellation,
    Capabilities,
    Checksum,
    ListPage,
    MultipartUpload,
    ObjectInfo,
    ObjectName,
    ObjectProperties,
    StoredPart,
    UploadsPage,
    WriteCondition,
)
from sftpgw.model.units import Body
from sftpgw.model.users import User
from sftpgw.s3.s3_client import S3Client

T = TypeVar("T")

Pending = Coroutine[Any, Any, T]
"""What an ``async`` method returns. The methods below return that of the store, so that no request
costs another coroutine."""


class StoreRouter:
    """A view of several stores, such as that of one session.

    :param names: those of the stores; ``""`` is that of ``[s3]``.
    :param view_of: makes the view of a store, by its name, when a request first needs it.
    """

    def __init__(self, names: Collection[str], view_of: Callable[[str], S3Client]) -> None:
        self._names = names
        self._view_of = view_of
        self._views: dict[str, S3Client] = {}

    @classmethod
    def over(cls, stores: Mapping[str, S3Client]) -> StoreRouter:
        """The view of all stores.

        :param stores: by their names; ``""`` is that of ``[s3]``.
        """
        return cls(stores.keys(), stores.__getitem__)

    def store(self, name: str) -> S3Client:
        """The view of one store.

        :param name: the store's name; empty for ``[s3]``.
        """
        view = self._views.get(name)
        if view is None:
            view = self._views[name] = self._view_of(name)
        return view

    def _of(self, bucket: str) -> S3Client:
        return self.store(store_of_bucket(bucket, self._names))

    # Views.

    def bind(
        self, objects: ObjectTable | None = None, *, owner: User | None = None, **context: str
    ) -> StoreRouter:
        return self._derived(lambda store: store.bind(objects, owner=owner, **context))

    def with_cancel(self, cancel_token: Cancellation) -> StoreRouter:
        return self._derived(lambda store: store.with_cancel(cancel_token))

    def for_state(self) -> StoreRouter:
        return self._derived(lambda store: store.for_state())

    def of_gateway(self) -> StoreRouter:
        return self._derived(lambda store: store.of_gateway())

    def assuming(self, capabilities: Capabilities) -> StoreRouter:
        return self._derived(lambda store: store.assuming(capabilities))

    def _derived(self, derive: Callable[[S3Client], S3Client]) -> StoreRouter:
        return StoreRouter(self._names, lambda name: derive(self.store(name)))

    # The stores.

    @property
    def requests(self) -> Counter[str]:
        """Requests sent so far, to all stores, as `S3Client.requests`."""
        sent: Counter[str] = Counter()
        for name in self._names:
            sent.update(self.store(name).requests)
        return sent

    async def close(self) -> None:
        """Drop every connection to every store; returns when they are gone."""
        for name in self._names:
            await self.store(name).close()

    def capabilities_of(self, bucket: str) -> Capabilities:
        return self._of(bucket).capabilities_of(bucket)

    def learn_capabilities(self, bucket: str) -> Pending[Capabilities]:
        return self._of(bucket).learn_capabilities(bucket)

    def can_copy(self, source_bucket: str, target_bucket: str) -> bool:
        source = store_of_bucket(source_bucket, self._names)
        return source == store_of_bucket(target_bucket, self._names)

    # Reading.

    def head_bucket(self, bucket: str) -> Pending[None]:
        return self._of(bucket).head_bucket(bucket)

    def head(self, name: ObjectName, *, with_checksum: bool = False) -> Pending[ObjectInfo]:
        return self._of(name.bucket).head(name, with_checksum=with_checksum)

    def get(
        self,
        name: ObjectName,
        wanted: ByteRange | None,
        sink: BodySink,
        *,
        if_match: str | None = None,
    ) -> Pending[None]:
        return self._of(name.bucket).get(name, wanted, sink, if_match=if_match)

    def tags(self, name: ObjectName) -> Pending[Mapping[str, str]]:
        return self._of(name.bucket).tags(name)

    def list(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        limit: int = MAX_LISTED_KEYS,
    ) -> Pending[ListPage]:
        store = self._of(bucket)
        return store.list(bucket, prefix, delimiter=delimiter, token=token, limit=limit)

    def list_uploads(
        self, bucket: str, prefix: str, marker: tuple[str, str] | None = None
    ) -> Pending[UploadsPage]:
        return self._of(bucket).list_uploads(bucket, prefix, marker)

    # Writing.

    def put(
        self,
        name: ObjectName,
        body: Body,
        properties: ObjectProperties,
        condition: WriteCondition = WriteCondition.NONE,
        *,
        checksum: Checksum | None = None,
    ) -> Pending[str]:
        return self._of(name.bucket).put(name, body, properties, condition, checksum=checksum)

    def delete(self, name: ObjectName, *, if_match: str | None = None) -> Pending[None]:
        return self._of(name.bucket).delete(name, if_match=if_match)

    def copy(
        self,
        source: ObjectInfo,
        target: ObjectName,
        condition: WriteCondition = WriteCondition.NONE,
        properties: ObjectProperties | None = None,
        *,
        if_match: str | None = None,
    ) -> Pending[str]:
        store = self._copying(source, target.bucket)
        return store.copy(source, target, condition, properties, if_match=if_match)

    def _copying(self, source: ObjectInfo, target_bucket: str) -> S3Client:
        """The store that both are in. :raises StoresDiffer: there is none"""
        if not self.can_copy(source.name.bucket, target_bucket):
            raise StoresDiffer(f"{source.name.bucket} and {target_bucket} are in two stores")
        return self._of(target_bucket)

    # Multipart uploads.

    def create_upload(
        self, name: ObjectName, properties: ObjectProperties, *, copies: bool = False
    ) -> Pending[MultipartUpload]:
        return self._of(name.bucket).create_upload(name, properties, copies=copies)

    def upload_part(
        self,
        upload: MultipartUpload,
        number: int,
        body: Body,
        *,
        checksum: Checksum | None = None,
    ) -> Pending[StoredPart]:
        return self._of(upload.name.bucket).upload_part(upload, number, body, checksum=checksum)

    def copy_part(
        self, upload: MultipartUpload, number: int, source: ObjectInfo, wanted: ByteRange
    ) -> Pending[StoredPart]:
        store = self._copying(source, upload.name.bucket)
        return store.copy_part(upload, number, source, wanted)

    def complete_upload(
        self,
        upload: MultipartUpload,
        parts: tuple[StoredPart, ...],
        condition: WriteCondition = WriteCondition.NONE,
    ) -> Pending[str]:
        return self._of(upload.name.bucket).complete_upload(upload, parts, condition)

    def abort_upload(self, upload: MultipartUpload) -> Pending[None]:
        return self._of(upload.name.bucket).abort_upload(upload)
