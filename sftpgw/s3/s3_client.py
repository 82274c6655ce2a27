"""`S3Client`: the `ObjectStore` that talks to S3.

Knows: views, and which object does each operation.
Must not know: requests, signatures, connections, retries, paths, SFTP.

The operations: `ObjectReads`, `ObjectWrites`, `MultipartUploads`. Below them: `Publisher` settles
lost responses, `CapabilityFallbacks` does without what a store lacks, `RequestExecutor` sends
until a request succeeds.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar

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
from sftpgw.s3.body_integrity import BodyIntegrity
from sftpgw.s3.bound_executor import BoundExecutor
from sftpgw.s3.capabilities import CapabilitySource, FixedCapabilities, SilentSink
from sftpgw.s3.multipart_uploads import MultipartUploads
from sftpgw.s3.object_reads import ObjectReads
from sftpgw.s3.object_writes import ObjectWrites
from sftpgw.s3.request_context import RequestContext
from sftpgw.s3.request_executor import RequestExecutor
from sftpgw.s3.write_support import WriteSupport

T = TypeVar("T")

Pending = Coroutine[Any, Any, T]
"""What an ``async`` method returns. The methods below return that of the object that does the
work, so that no request costs another coroutine."""


class S3Client:
    """A view of an S3 store.

    `bind`, `with_cancel` and `assuming` make further views of the same store. The views share
    connections, credentials and capabilities.

    :param executor: sends the requests.
    :param context: events, user and cancel token of this view.
    :param capability_source: what the store is believed to support.
    :param integrity: checksums of bodies.
    """

    def __init__(
        self,
        executor: RequestExecutor,
        context: RequestContext,
        capability_source: CapabilitySource,
        integrity: BodyIntegrity,
    ) -> None:
        self.executor = executor
        self._context = context
        self._capability_source = capability_source
        self._integrity = integrity
        bound = BoundExecutor(executor, context)
        self._reads = ObjectReads(bound, capability_source)
        support = WriteSupport.of(bound, self._reads, capability_source, integrity)
        self._writes = ObjectWrites(support)
        self._uploads = MultipartUploads(support)

    # Views.

    def bind(
        self, objects: ObjectTable | None = None, *, owner: User | None = None, **context: str
    ) -> S3Client:
        """The same store; `context` is added to its events.

        :param objects: how objects of the session's mounts are stored.
        :param owner: whose session it is; it gets the credentials of that user, if there are any.
        :param context: the fields; `user` and `session` also say whose share of the requests under
            way is used.
        """
        scopes = self.executor.scopes
        bound = replace(
            self._context,
            events=self._context.events.bind(**context),
            user=context.get("user", self._context.user),
            session=context.get("session", self._context.session),
            objects=objects or self._context.objects,
            scope=self._context.scope if scopes is None or owner is None else scopes.of(owner),
        )
        return self._view(bound)

    def with_cancel(self, cancel_token: Cancellation) -> S3Client:
        context = self._context  # not `replace`: it takes longer, and each upload makes a view
        upload = str(id(cancel_token))
        return self._view(
            RequestContext(
                context.events,
                context.user,
                cancel_token,
                context.session,
                upload,
                context.objects,
                context.scope,
            )
        )

    def for_state(self) -> S3Client:
        scope = self._context.scope
        if scope is None or scope.is_for_state:
            return self
        return self._view(replace(self._context, scope=scope.for_state()))

    def of_gateway(self) -> S3Client:
        scope = self._context.scope
        scope = None if scope is None else scope.for_state()
        return self._view(replace(self._context, user="", session="", scope=scope))

    def _view(self, context: RequestContext) -> S3Client:
        return S3Client(self.executor, context, self._capability_source, self._integrity)

    def assuming(self, capabilities: Capabilities) -> S3Client:
        """The same store, believed to support exactly `capabilities`: for trying them out.

        It emits no events, and its requests have a short deadline.
        """
        return trial_client(self.executor, self._integrity, capabilities)

    # The store.

    @property
    def requests(self) -> Counter[str]:
        """Requests sent so far, retries included, by S3's names of the operations."""
        return self.executor.requests

    def capabilities_of(self, bucket: str) -> Capabilities:
        return self._capability_source.of(bucket)

    def learn_capabilities(self, bucket: str) -> Pending[Capabilities]:
        return self._capability_source.known(bucket)

    async def close(self) -> None:
        """Drop every connection, of all views; returns when they are gone."""
        await self._capability_source.close()
        await self.executor.close()

    # Reading.

    def head_bucket(self, bucket: str) -> Pending[None]:
        return self._reads.head_bucket(bucket)

    def head(self, name: ObjectName, *, with_checksum: bool = False) -> Pending[ObjectInfo]:
        return self._reads.head(name, with_checksum=with_checksum)

    def get(
        self,
        name: ObjectName,
        wanted: ByteRange | None,
        sink: BodySink,
        *,
        if_match: str | None = None,
    ) -> Pending[None]:
        return self._reads.get(name, wanted, sink, if_match)

    def tags(self, name: ObjectName) -> Pending[Mapping[str, str]]:
        return self._reads.tags(name)

    def list(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        limit: int = MAX_LISTED_KEYS,
    ) -> Pending[ListPage]:
        return self._reads.list(bucket, prefix, delimiter=delimiter, token=token, limit=limit)

    def list_uploads(
        self, bucket: str, prefix: str, marker: tuple[str, str] | None = None
    ) -> Pending[UploadsPage]:
        return self._reads.list_uploads(bucket, prefix, marker)

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
        return self._writes.put(name, body, properties, condition, checksum)

    def delete(self, name: ObjectName, *, if_match: str | None = None) -> Pending[None]:
        return self._writes.delete(name, if_match)

    def can_copy(self, source_bucket: str, target_bucket: str) -> bool:
        return True

    def copy(
        self,
        source: ObjectInfo,
        target: ObjectName,
        condition: WriteCondition = WriteCondition.NONE,
        properties: ObjectProperties | None = None,
        *,
        if_match: str | None = None,
    ) -> Pending[str]:
        return self._writes.copy(source, target, condition, properties, if_match)

    # Multipart uploads.

    def create_upload(
        self, name: ObjectName, properties: ObjectProperties, *, copies: bool = False
    ) -> Pending[MultipartUpload]:
        return self._uploads.create(name, properties, copies=copies)

    def upload_part(
        self,
        upload: MultipartUpload,
        number: int,
        body: Body,
        *,
        checksum: Checksum | None = None,
    ) -> Pending[StoredPart]:
        return self._uploads.upload_part(upload, number, body, checksum)

    def copy_part(
        self, upload: MultipartUpload, number: int, source: ObjectInfo, wanted: ByteRange
    ) -> Pending[StoredPart]:
        return self._uploads.copy_part(upload, number, source, wanted)

    def complete_upload(
        self,
        upload: MultipartUpload,
        parts: tuple[StoredPart, ...],
        condition: WriteCondition = WriteCondition.NONE,
    ) -> Pending[str]:
        return self._uploads.complete(upload, parts, condition)

    def abort_upload(self, upload: MultipartUpload) -> Pending[None]:
        return self._uploads.abort(upload)


def trial_client(
    executor: RequestExecutor, integrity: BodyIntegrity, capabilities: Capabilities
) -> S3Client:
    """A client for probes: it emits no events, and its requests have a short deadline.

    :param executor: sends the requests.
    :param integrity: checksums of bodies.
    :param capabilities: what the store is believed to support.
    """
    return S3Client(
        executor.with_short_deadline(),
        RequestContext(SilentSink()),
        FixedCapabilities(capabilities),
        integrity,
    )
