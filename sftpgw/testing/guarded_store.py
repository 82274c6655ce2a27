"""An `ObjectStore` behind IAM: each request is allowed by the policy of its identity, or a 403.

Knows: which actions on which resources a request needs, and who asks.
Must not know: how policies are generated, mounts, paths.

    guarded = GuardedStore(FakeStore(), {"alice": IamPolicy.parse(text)})
    await guarded.bind(owner=alice).head(name)    # AccessDenied, unless the policy allows it

A user may do what the user's policy allows; the gateway itself may do everything. Which of the two
asks is decided by the same `SessionScope` as for requests over HTTP. Nothing is asked of the store
before that: a refusal does not tell whether anything exists.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from sftpgw.errors import AccessDenied, NoSuchObject
from sftpgw.model.limits import MAX_LISTED_KEYS
from sftpgw.model.object_settings import ObjectTable
from sftpgw.model.shared_store import SharedStore
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
from sftpgw.s3.s3_request import S3Request
from sftpgw.s3.session_scope import SessionScope
from sftpgw.testing.iam import NO_CONTEXT, Decision, IamPolicy, IamRequest

GET, PUT, DELETE = "s3:GetObject", "s3:PutObject", "s3:DeleteObject"
GET_TAGS, PUT_TAGS = "s3:GetObjectTagging", "s3:PutObjectTagging"
LIST, LIST_UPLOADS = "s3:ListBucket", "s3:ListBucketMultipartUploads"
ABORT = "s3:AbortMultipartUpload"


@dataclass(frozen=True)
class _Identity:
    """Stands for the credentials of a user, or of the gateway: nothing is signed here."""

    user: str

    async def current(self) -> NoReturn:
        raise NotImplementedError

    async def renew(self, refused: object, *, is_guess: bool = False) -> NoReturn:
        raise NotImplementedError


OWN = _Identity("")


class GuardedStore:
    """Asks policies, and then a store.

    :param store: the store.
    :param policies: that of each user, by name.
    :param state_prefix: the prefix of the gateway's own keys.
    :param scope: whose session asks; None for the gateway itself.
    :ivar refused: how many requests of users were refused, by action.
    :ivar allowed: how many were allowed, by user, action and resource; the prefix of a list is
        part of its resource, as if it were a key.
    """

    def __init__(
        self,
        store: SharedStore,
        policies: Mapping[str, IamPolicy],
        state_prefix: str = ".sftpgw/",
        scope: SessionScope | None = None,
    ) -> None:
        self._store = store
        self._policies = policies
        self._state_prefix = state_prefix
        self._scope = scope
        self.refused: Counter[str] = Counter()
        self.allowed: Counter[tuple[str, str, str]] = Counter()

    # Who asks.

    def _view(self, scope: SessionScope | None) -> GuardedStore:
        view = GuardedStore(self._store, self._policies, self._state_prefix, scope)
        view.refused, view.allowed = self.refused, self.allowed
        return view

    def bind(
        self, objects: ObjectTable | None = None, *, owner: User | None = None, **context: str
    ) -> GuardedStore:
        if owner is None:
            return self
        prefixes = tuple((mount.bucket, mount.key_prefix) for mount in owner.mounts)
        return self._view(SessionScope(_Identity(owner.name), prefixes, self._state_prefix))

    def for_state(self) -> GuardedStore:
        return self if self._scope is None else self._view(self._scope.for_state())

    def of_gateway(self) -> GuardedStore:
        return self.for_state()

    def with_cancel(self, cancel_token: Cancellation) -> GuardedStore:
        return self

    def assuming(self, capabilities: Capabilities) -> GuardedStore:
        return self

    def _asker(self, request: S3Request) -> str:
        """The user who asks; empty for the gateway itself.

        :raises AccessDenied: own credentials were asked for, and must not sign this
        """
        if self._scope is None:
            return ""
        signed_by = self._scope.source_for(request, OWN)
        assert isinstance(signed_by, _Identity)
        return signed_by.user

    # What the policies say.

    def _is_allowed(
        self, user: str, action: str, resource: str, context: Mapping[str, str]
    ) -> bool:
        if not user:
            return True
        request = IamRequest(action, resource, context)
        return self._policies[user].decide(request) is Decision.ALLOW

    def _require(
        self, user: str, action: str, resource: str, context: Mapping[str, str] = NO_CONTEXT
    ) -> None:
        """:raises AccessDenied: the policy does not allow it"""
        if not self._is_allowed(user, action, resource, context):
            self.refused[action] += 1
            raise AccessDenied(f"{action} on {resource}", code="AccessDenied", status=403)
        if user:
            prefix = f"/{context.get('s3:prefix', '')}" if action == LIST else ""
            self.allowed[user, action, resource + prefix] += 1

    def _enter(
        self,
        operation: str,
        name: ObjectName,
        *actions: str,
        source: ObjectName | None = None,
        upload_id: str = "",
    ) -> str:
        """Check a request on an object; who asks.

        :param operation: the operation of S3.
        :param name: the object.
        :param actions: what the user must be allowed to do with it.
        :param source: what it copies.
        :param upload_id: the upload that it is about.
        """
        query = (("uploadId", upload_id),) if upload_id else ()
        user = self._asker(
            S3Request(operation, "", name.bucket, name.key, query=query, source=source)
        )
        for action in actions:
            self._require(user, action, _arn_of(name))
        return user

    def _enter_bucket(
        self, operation: str, action: str, bucket: str, context: Mapping[str, str] = NO_CONTEXT
    ) -> None:
        """Check a request on a bucket.

        :param operation: the operation of S3.
        :param action: what the user must be allowed to do.
        :param bucket: the bucket.
        :param context: as of `IamRequest`.
        """
        query = (("prefix", context["s3:prefix"]),) if "s3:prefix" in context else ()
        user = self._asker(S3Request(operation, "", bucket, query=query))
        self._require(user, action, f"arn:aws:s3:::{bucket}", context)

    def _missing(self, error: NoSuchObject, user: str, bucket: str) -> Exception:
        """What S3 says of an object that is missing: only who may list the bucket is told so. Such
        a request has no prefix, so that a policy for prefixes does not allow it."""
        if self._is_allowed(user, LIST, f"arn:aws:s3:::{bucket}", NO_CONTEXT):
            return error
        return AccessDenied(f"{GET} on {bucket}", code="AccessDenied", status=403)

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
        self._enter_bucket("HeadBucket", LIST, bucket)
        await self._store.head_bucket(bucket)

    async def head(self, name: ObjectName, *, with_checksum: bool = False) -> ObjectInfo:
        user = self._enter("HeadObject", name, GET)
        try:
            return await self._store.head(name, with_checksum=with_checksum)
        except NoSuchObject as error:
            raise self._missing(error, user, name.bucket) from None

    async def get(
        self,
        name: ObjectName,
        wanted: ByteRange | None,
        sink: BodySink,
        *,
        if_match: str | None = None,
    ) -> None:
        user = self._enter("GetObject", name, GET)
        try:
            await self._store.get(name, wanted, sink, if_match=if_match)
        except NoSuchObject as error:
            raise self._missing(error, user, name.bucket) from None

    async def put(
        self,
        name: ObjectName,
        body: Body,
        properties: ObjectProperties,
        condition: WriteCondition = WriteCondition.NONE,
        *,
        checksum: Checksum | None = None,
    ) -> str:
        self._enter("PutObject", name, PUT, *_to_tag(properties.tags))
        return await self._store.put(name, body, properties, condition, checksum=checksum)

    async def delete(self, name: ObjectName, *, if_match: str | None = None) -> None:
        self._enter("DeleteObject", name, DELETE, *_to_compare(if_match))
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
        user = self._enter("CopyObject", target, PUT, *_to_compare(if_match), source=source.name)
        self._require(user, GET, _arn_of(source.name))
        if await self._tags_of(source.name):
            self._require(user, GET_TAGS, _arn_of(source.name))
            self._require(user, PUT_TAGS, _arn_of(target))
        try:
            return await self._store.copy(source, target, condition, properties, if_match=if_match)
        except NoSuchObject as error:
            raise self._missing(error, user, source.name.bucket) from None

    async def tags(self, name: ObjectName) -> Mapping[str, str]:
        self._enter("GetObjectTagging", name, GET_TAGS)
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
        self._enter_bucket("ListObjectsV2", LIST, bucket, given)
        return await self._store.list(bucket, prefix, delimiter=delimiter, token=token, limit=limit)

    async def create_upload(
        self, name: ObjectName, properties: ObjectProperties, *, copies: bool = False
    ) -> MultipartUpload:
        self._enter("CreateMultipartUpload", name, PUT, *_to_tag(properties.tags))
        return await self._store.create_upload(name, properties, copies=copies)

    async def upload_part(
        self,
        upload: MultipartUpload,
        number: int,
        body: Body,
        *,
        checksum: Checksum | None = None,
    ) -> StoredPart:
        self._enter("UploadPart", upload.name, PUT)
        return await self._store.upload_part(upload, number, body, checksum=checksum)

    async def copy_part(
        self, upload: MultipartUpload, number: int, source: ObjectInfo, wanted: ByteRange
    ) -> StoredPart:
        user = self._enter(
            "UploadPartCopy", upload.name, PUT, source=source.name, upload_id=upload.upload_id
        )
        self._require(user, GET, _arn_of(source.name))
        try:
            return await self._store.copy_part(upload, number, source, wanted)
        except NoSuchObject as error:
            raise self._missing(error, user, source.name.bucket) from None

    async def complete_upload(
        self,
        upload: MultipartUpload,
        parts: tuple[StoredPart, ...],
        condition: WriteCondition = WriteCondition.NONE,
    ) -> str:
        self._enter("CompleteMultipartUpload", upload.name, PUT)
        return await self._store.complete_upload(upload, parts, condition)

    async def abort_upload(self, upload: MultipartUpload) -> None:
        self._enter("AbortMultipartUpload", upload.name, ABORT)
        await self._store.abort_upload(upload)

    async def list_uploads(
        self, bucket: str, prefix: str, marker: tuple[str, str] | None = None
    ) -> UploadsPage:
        self._enter_bucket("ListMultipartUploads", LIST_UPLOADS, bucket, {"s3:prefix": prefix})
        return await self._store.list_uploads(bucket, prefix, marker)


def _to_tag(tags: Mapping[str, str]) -> tuple[str, ...]:
    return (PUT_TAGS,) if tags else ()


def _to_compare(etag: str | None) -> tuple[str, ...]:
    """What a condition on an ETag needs."""
    return (GET,) if etag else ()


def _arn_of(name: ObjectName) -> str:
    return f"arn:aws:s3:::{name.bucket}/{name.key}"
