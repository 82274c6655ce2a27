"""An `ObjectStore` behind IAM: each request is allowed by the policy of its identity, or a 403.

Knows: which actions on which resources a request needs, and who asks.
Must not know: how policies are generated, mounts, paths.

    guarded = GuardedStore(FakeStore(), {"alice": IamPolicy.parse(text)})
    await guarded.bind(user="alice").head(name)    # AccessDenied, unless the policy allows it

The gateway itself may do everything. A user may do what the user's policy allows. Nothing is asked
of the store before that: a refusal does not tell whether anything exists.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html
"""

from __future__ import annotations

from collections.abc import Mapping

from sftpgw.errors import AccessDenied, NoSuchObject
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
    SharedStore,
    StoredPart,
    UploadsPage,
    WriteCondition,
)
from sftpgw.model.units import Body
from sftpgw.testing.iam import Decision, IamPolicy, IamRequest

GET, PUT, DELETE = "s3:GetObject", "s3:PutObject", "s3:DeleteObject"
GET_TAGS, PUT_TAGS = "s3:GetObjectTagging", "s3:PutObjectTagging"
LIST, LIST_UPLOADS = "s3:ListBucket", "s3:ListBucketMultipartUploads"
ABORT = "s3:AbortMultipartUpload"


class GuardedStore:
    """Asks policies, and then a store.

    :param store: the store.
    :param policies: that of each user, by name.
    :param user: who asks; empty for the gateway itself.
    :ivar refused: the requests that were refused, of all users: user, action, resource.
    """

    def __init__(
        self, store: SharedStore, policies: Mapping[str, IamPolicy], user: str = ""
    ) -> None:
        self._store = store
        self._policies = policies
        self._user = user
        self.refused: list[tuple[str, str, str]] = []

    # Who asks.

    def _of(self, user: str) -> GuardedStore:
        other = GuardedStore(self._store, self._policies, user)
        other.refused = self.refused
        return other

    def bind(self, objects: ObjectTable | None = None, **context: str) -> GuardedStore:
        return self._of(context.get("user", ""))

    def of_gateway(self) -> GuardedStore:
        return self._of("")

    def with_cancel(self, cancel_token: Cancellation) -> GuardedStore:
        return self

    def assuming(self, capabilities: Capabilities) -> GuardedStore:
        return self

    # What the policies say.

    def _is_allowed(self, action: str, resource: str, context: Mapping[str, str]) -> bool:
        if not self._user:
            return True
        request = IamRequest(action, f"arn:aws:s3:::{resource}", context)
        return self._policies[self._user].decide(request) is Decision.ALLOW

    def _require(self, action: str, resource: str, **context: str) -> None:
        """:raises AccessDenied: the policy does not allow it"""
        if not self._is_allowed(action, resource, context):
            self.refused.append((self._user, action, resource))
            raise AccessDenied(f"{action} on {resource}", code="AccessDenied", status=403)

    def _require_on(self, name: ObjectName, *actions: str) -> None:
        for action in actions:
            self._require(action, f"{name.bucket}/{name.key}")

    def _missing(self, error: NoSuchObject, bucket: str) -> Exception:
        """What S3 says of an object that is missing: only who may list the bucket is told so. Such
        a request has no prefix, so that a policy for prefixes does not allow it."""
        if self._is_allowed(LIST, bucket, {}):
            return error
        return AccessDenied(f"{GET} on {bucket}", code="AccessDenied", status=403)

    async def _source_of(self, source: ObjectInfo) -> bool:
        """Check that a source may be read; whether it has tags, which a copy takes along."""
        self._require_on(source.name, GET)
        return bool(await self._tags_of(source.name))

    async def _tags_of(self, name: ObjectName) -> Mapping[str, str]:
        try:
            return await self._store.tags(name)
        except NoSuchObject:
            return {}

    # ObjectStore.

    def capabilities_of(self, bucket: str) -> Capabilities:
        return self._store.capabilities_of(bucket)

    async def learn_capabilities(self, bucket: str) -> Capabilities:
        return await self._store.learn_capabilities(bucket)

    def can_copy(self, source_bucket: str, target_bucket: str) -> bool:
        return self._store.can_copy(source_bucket, target_bucket)

    async def head_bucket(self, bucket: str) -> None:
        self._require(LIST, bucket)
        await self._store.head_bucket(bucket)

    async def head(self, name: ObjectName, *, with_checksum: bool = False) -> ObjectInfo:
        self._require_on(name, GET)
        try:
            return await self._store.head(name, with_checksum=with_checksum)
        except NoSuchObject as error:
            raise self._missing(error, name.bucket) from None

    async def get(
        self,
        name: ObjectName,
        wanted: ByteRange | None,
        sink: BodySink,
        *,
        if_match: str | None = None,
    ) -> None:
        self._require_on(name, GET)
        try:
            await self._store.get(name, wanted, sink, if_match=if_match)
        except NoSuchObject as error:
            raise self._missing(error, name.bucket) from None

    async def put(
        self,
        name: ObjectName,
        body: Body,
        properties: ObjectProperties,
        condition: WriteCondition = WriteCondition.NONE,
        *,
        checksum: Checksum | None = None,
    ) -> str:
        self._require_on(name, PUT, *((PUT_TAGS,) if properties.tags else ()))
        return await self._store.put(name, body, properties, condition, checksum=checksum)

    async def delete(self, name: ObjectName, *, if_match: str | None = None) -> None:
        self._require_on(name, DELETE, *((GET,) if if_match else ()))
        await self._store.delete(name, if_match=if_match)

    async def copy(
        self,
        source: ObjectInfo,
        target: ObjectName,
        condition: WriteCondition = WriteCondition.NONE,
        properties: ObjectProperties | None = None,
        *,
        if_match: str | None = None,
    ) -> str:
        self._require_on(target, PUT, *((GET,) if if_match else ()))
        if await self._source_of(source):
            self._require_on(source.name, GET_TAGS)
            self._require_on(target, PUT_TAGS)
        try:
            return await self._store.copy(source, target, condition, properties, if_match=if_match)
        except NoSuchObject as error:
            raise self._missing(error, source.name.bucket) from None

    async def tags(self, name: ObjectName) -> Mapping[str, str]:
        self._require_on(name, GET_TAGS)
        return await self._store.tags(name)

    async def list(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        limit: int = MAX_LISTED_KEYS,
    ) -> ListPage:
        context = {"s3:prefix": prefix, "s3:delimiter": delimiter, "s3:max-keys": str(limit)}
        given = {key: value for key, value in context.items() if value}
        self._require(LIST, bucket, **given)
        return await self._store.list(bucket, prefix, delimiter=delimiter, token=token, limit=limit)

    async def create_upload(
        self, name: ObjectName, properties: ObjectProperties, *, copies: bool = False
    ) -> MultipartUpload:
        self._require_on(name, PUT, *((PUT_TAGS,) if properties.tags else ()))
        return await self._store.create_upload(name, properties, copies=copies)

    async def upload_part(
        self,
        upload: MultipartUpload,
        number: int,
        body: Body,
        *,
        checksum: Checksum | None = None,
    ) -> StoredPart:
        self._require_on(upload.name, PUT)
        return await self._store.upload_part(upload, number, body, checksum=checksum)

    async def copy_part(
        self, upload: MultipartUpload, number: int, source: ObjectInfo, wanted: ByteRange
    ) -> StoredPart:
        self._require_on(upload.name, PUT)
        self._require_on(source.name, GET)
        try:
            return await self._store.copy_part(upload, number, source, wanted)
        except NoSuchObject as error:
            raise self._missing(error, source.name.bucket) from None

    async def complete_upload(
        self,
        upload: MultipartUpload,
        parts: tuple[StoredPart, ...],
        condition: WriteCondition = WriteCondition.NONE,
    ) -> str:
        self._require_on(upload.name, PUT)
        return await self._store.complete_upload(upload, parts, condition)

    async def abort_upload(self, upload: MultipartUpload) -> None:
        self._require_on(upload.name, ABORT)
        await self._store.abort_upload(upload)

    async def list_uploads(
        self, bucket: str, prefix: str, marker: tuple[str, str] | None = None
    ) -> UploadsPage:
        self._require(LIST_UPLOADS, bucket)
        return await self._store.list_uploads(bucket, prefix, marker)
