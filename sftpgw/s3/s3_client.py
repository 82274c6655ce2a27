"""`S3Client`: the operations of `ObjectStore` in S3's REST API.

Knows: each operation's request, its answer, and what its errors mean.
Must not know: signing, connections, retries (`executor`), paths, SFTP.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from twisted.web.http_headers import Headers

from sftpgw.aws.signer import HeaderList
from sftpgw.errors import (
    AccessDenied,
    CopiesLackChecksums,
    NameInTheWay,
    NameNotKept,
    NoSuchBucket,
    NoSuchObject,
    NoSuchUpload,
    NotImplementedByStore,
    PartsMustBeEqual,
    PreconditionFailed,
    StoreError,
    StoreUnavailable,
)
from sftpgw.model.events import EventSink
from sftpgw.model.limits import MAX_LISTED_KEYS
from sftpgw.model.settings import ChecksumChoice
from sftpgw.model.store import (
    BodySink,
    ByteRange,
    Cancellation,
    Capabilities,
    Checksum,
    ChecksumAlgorithm,
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
from sftpgw.s3.capabilities import CapabilitySource, FixedCapabilities, SilentSink
from sftpgw.s3.checksums import (
    COMPUTE_STEP_BYTES,
    MD5_STEP_BYTES,
    RunningChecksum,
    any_checksum,
    joined,
    new_md5,
)
from sftpgw.s3.error_responses import is_for_checksums, is_for_unequal_parts
from sftpgw.s3.headers import object_info, property_headers, stored_size
from sftpgw.s3.reconcile import Expected, etag_of_body, etag_of_parts, is_ours
from sftpgw.s3.request_executor import AttemptLog, RequestExecutor, Response, S3Request
from sftpgw.s3.requests import (
    checksum_announcement,
    checksum_header,
    content_md5,
    copied_properties,
    copy_source,
    if_absent,
    if_matching,
    object_checksum,
    object_size,
    part_query,
    read_etag,
    read_result,
    size_of,
)
from sftpgw.s3.resumable_get import ResumableGet
from sftpgw.s3.retry.plan import BAD_ANSWER, CONFLICTS, DAMAGE, UNEXPLAINED
from sftpgw.wire import s3xml

NO_CODES: frozenset[str] = frozenset()

T = TypeVar("T")


class S3Client:
    """An S3 store. Views made by `bind` share everything but what their events carry."""

    def __init__(
        self,
        sender: RequestExecutor,
        events: EventSink,
        capability_source: CapabilitySource,
        user: str = "",
        cancel_token: Cancellation | None = None,
    ) -> None:
        self._sender = sender
        self._events = events
        self._capability_source = capability_source
        self._user = user
        self._cancel_token = cancel_token

    def bind(self, **facts: object) -> S3Client:
        """The same store, whose events carry `facts`; among these, for whom it is used (`user`)."""
        user = str(facts.get("user", self._user))
        events = self._events.bind(**facts)
        return S3Client(self._sender, events, self._capability_source, user, self._cancel_token)

    def with_cancel(self, cancel_token: Cancellation) -> S3Client:
        return S3Client(
            self._sender, self._events, self._capability_source, self._user, cancel_token
        )

    def assuming(self, capabilities: Capabilities) -> S3Client:
        """The same store, taken to be able to do exactly this, for trying it out.

        It tells no events, and is not patient.
        """
        return S3Client(
            self._sender.with_short_deadline(), SilentSink(), FixedCapabilities(capabilities)
        )

    @property
    def requests(self) -> Counter[str]:
        """Requests sent so far, retries included, by S3's names of the operations."""
        return self._sender.requests

    def capabilities_of(self, bucket: str) -> Capabilities:
        return self._capability_source.of(bucket)

    async def learn_capabilities(self, bucket: str) -> Capabilities:
        return await self._capability_source.known(bucket)

    async def close(self) -> None:
        """Drop every connection, of all views; returns when they are gone."""
        await self._capability_source.close()
        await self._sender.http.close()

    # Reading.

    async def head_bucket(self, bucket: str) -> None:
        await self._send(S3Request("HeadBucket", "HEAD", bucket, missing=NoSuchBucket))

    async def head(self, name: ObjectName, *, with_checksum: bool = False) -> ObjectInfo:
        info, headers = await self._head(name, with_checksum=with_checksum)
        return replace(info, checksum=any_checksum(headers)) if with_checksum else info

    async def get(
        self,
        name: ObjectName,
        wanted: ByteRange | None,
        sink: BodySink,
        *,
        if_match: str | None = None,
    ) -> None:
        if wanted is not None and not 0 <= wanted.start < wanted.stop:
            raise StoreError("an empty range", code="BadRequest")
        self._demand_findable(name)
        download = ResumableGet(name, wanted, sink, if_match)
        await self._sender.send(
            download.next_request,
            self._events,
            user=self._user,
            cancel_token=self._cancel_token,
            stream=download,
        )

    async def tags(self, name: ObjectName) -> Mapping[str, str]:
        request = S3Request(
            "GetObjectTagging", "GET", name.bucket, name.key, query=(("tagging", ""),)
        )
        return await self._send_for(request, lambda answer: s3xml.parse_tags(answer.document))

    async def list(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        limit: int = MAX_LISTED_KEYS,
    ) -> ListPage:
        if "\\" in prefix and not self._capability_source.of(bucket).backslashes:
            return ListPage((), (), None)
        query = [("list-type", "2"), ("encoding-type", "url"), ("max-keys", str(limit))]
        # These two even if they are blank: policies compare them (s3:prefix, s3:delimiter), and a
        # parameter that is missing is not equal to "".
        query += [("prefix", prefix), ("delimiter", delimiter)]
        if token:
            query.append(("continuation-token", token))
        request = S3Request("ListObjectsV2", "GET", bucket, query=tuple(query))
        page = await self._send_for(request, lambda a: s3xml.parse_object_list(a.document, bucket))
        if all(info.size_bytes >= 0 for info in page.objects):
            return page
        return replace(page, objects=tuple([o async for o in self._measured(page.objects)]))

    async def _measured(self, objects: tuple[ObjectInfo, ...]) -> AsyncIterator[ObjectInfo]:
        """The objects, with the sizes that the list did not tell. A HEAD for each of these.

        What is gone by now is left out; what may not be looked at has no bytes for us.
        """
        for listed in objects:
            if listed.size_bytes >= 0:
                yield listed
                continue
            try:
                info, _ = await self._head(listed.name)
            except NoSuchObject:
                continue
            except AccessDenied:
                yield replace(listed, size_bytes=0)
            else:
                yield replace(listed, size_bytes=info.size_bytes)

    async def list_uploads(
        self, bucket: str, prefix: str, marker: tuple[str, str] | None = None
    ) -> UploadsPage:
        page = await self._list_uploads(bucket, prefix, marker, (("encoding-type", "url"),))
        if not page.is_ambiguous:
            return page
        # Without being asked to, no store encodes. But a key may break the document then.
        with suppress(StoreUnavailable):
            return await self._list_uploads(bucket, prefix, marker, ())
        return page

    async def _list_uploads(
        self,
        bucket: str,
        prefix: str,
        marker: tuple[str, str] | None,
        encoding: tuple[tuple[str, str], ...],
    ) -> UploadsPage:
        key_marker, id_marker = marker or ("", "")
        query = [("uploads", ""), *encoding, ("prefix", prefix)]
        optional = (("key-marker", key_marker), ("upload-id-marker", id_marker))
        query += [(name, value) for name, value in optional if value]
        request = S3Request("ListMultipartUploads", "GET", bucket, query=tuple(query))
        return await self._send_for(request, lambda a: s3xml.parse_upload_list(a.document, bucket))

    # Writing.

    async def put(
        self,
        name: ObjectName,
        body: Body,
        properties: ObjectProperties,
        condition: WriteCondition = WriteCondition.NONE,
        *,
        checksum: Checksum | None = None,
    ) -> str:
        able = await self._able_to_keep(name)
        final_codes = DAMAGE if checksum else NO_CODES
        if checksum is None:
            checksum = await self._checksum(body, self._capability_source.checksum(name.bucket))
        request = S3Request(
            "PutObject",
            "PUT",
            name.bucket,
            name.key,
            headers=(
                *self._creation(properties),
                *if_absent(condition, is_supported=able.conditional_put),
                *(await self._integrity(body, checksum)),
            ),
            body=body,
            missing=NoSuchBucket,
            final_codes=final_codes,
            optional=(
                ("conditional_put", "If-None-Match"),
                *self._optional_checksum(*checksum_header(checksum)),
            ),
            doubt=lambda: self._what_is_in_the_way(name),
        )
        began_seconds = self._sender.signer.now_seconds()
        return await self._send_settled(
            request,
            read_etag(checksum),
            lambda: Expected(
                size_of(body), began_seconds, etag_of_body(body), properties.metadata, checksum
            ),
        )

    async def delete(self, name: ObjectName, *, if_match: str | None = None) -> None:
        headers: HeaderList = ()
        if "\\" in name.key and not (await self._capability_source.known(name.bucket)).backslashes:
            return  # it would be another object that is deleted
        if (
            if_match is not None
            and (await self._capability_source.known(name.bucket)).conditional_delete
        ):
            headers = (("If-Match", if_match),)
        optional = (("conditional_delete", "If-Match"),)
        request = S3Request(
            "DeleteObject", "DELETE", name.bucket, name.key, headers=headers, optional=optional
        )
        trail = AttemptLog()
        try:
            await self._adapting(request, lambda adapted: self._send(adapted, trail))
        except NoSuchObject:
            return
        except PreconditionFailed:
            if not trail.may_have_happened or await self._exists(name):
                raise

    async def copy(
        self,
        source: ObjectInfo,
        target: ObjectName,
        condition: WriteCondition = WriteCondition.NONE,
        properties: ObjectProperties | None = None,
        *,
        if_match: str | None = None,
    ) -> str:
        able = await self._able_to_keep(target)
        request = S3Request(
            "CopyObject",
            "PUT",
            target.bucket,
            target.key,
            headers=(
                *copy_source(source, is_guarded=able.copy_source_condition),
                *if_absent(condition, is_supported=able.conditional_copy),
                *if_matching(if_match, is_supported=able.conditional_copy),
                *copied_properties(source, properties),
            ),
            is_slow=True,
            optional=(
                ("conditional_copy", "If-None-Match"),
                ("conditional_copy", "If-Match"),
                ("copy_source_condition", "x-amz-copy-source-if-match"),
            ),
            doubt=lambda: self._what_is_in_the_way(target),
        )
        began_seconds = self._sender.signer.now_seconds()
        metadata = source.metadata if properties is None else properties.metadata
        return await self._send_settled(
            request,
            _etag_of_result("CopyObjectResult"),
            lambda: Expected(source.size_bytes, began_seconds, metadata=metadata),
        )

    # Multipart uploads.

    async def create_upload(
        self, name: ObjectName, properties: ObjectProperties, *, copies: bool = False
    ) -> MultipartUpload:
        able = await self._able_to_keep(name)
        algorithm = self._capability_source.checksum(name.bucket)
        if copies and not able.copied_checksums:
            algorithm = None
        request = S3Request(
            "CreateMultipartUpload",
            "POST",
            name.bucket,
            name.key,
            query=(("uploads", ""),),
            headers=self._creation(properties) + checksum_announcement(algorithm),
            missing=NoSuchBucket,
            optional=self._optional_checksum(*checksum_announcement(algorithm)),
            doubt=lambda: self._what_is_in_the_way(name),
        )
        created = await self._adapting(
            request,
            lambda adapted: self._send_for(
                adapted, lambda answer: s3xml.parse_created_upload(answer.document, name)
            ),
        )
        algorithm = self._capability_source.checksum(name.bucket) and algorithm
        is_sure = algorithm is None or self._capability_source.is_proved(
            name.bucket, "copied_checksums"
        )
        return replace(created, checksum=algorithm, may_refuse_copies=not is_sure)

    async def upload_part(
        self,
        upload: MultipartUpload,
        number: int,
        body: Body,
        *,
        checksum: Checksum | None = None,
    ) -> StoredPart:
        final_codes = DAMAGE if checksum else NO_CODES
        if checksum is None:
            checksum = await self._checksum(body, upload.checksum)
        request = S3Request(
            "UploadPart",
            "PUT",
            upload.name.bucket,
            upload.name.key,
            query=part_query(upload, number),
            headers=await self._integrity(body, checksum),
            body=body,
            missing=NoSuchUpload,
            final_codes=final_codes,
        )
        etag = await self._send_for(request, read_etag(checksum, is_part=True))
        return StoredPart(number, size_of(body), etag, checksum)

    async def copy_part(
        self, upload: MultipartUpload, number: int, source: ObjectInfo, wanted: ByteRange
    ) -> StoredPart:
        able = await self._capability_source.known(upload.name.bucket)
        headers = copy_source(source, is_guarded=able.copy_source_condition)
        if wanted != ByteRange(0, source.size_bytes):  # S3 refuses ranges of small sources
            headers += (("x-amz-copy-source-range", f"bytes={wanted.start}-{wanted.stop - 1}"),)
        request = S3Request(
            "UploadPartCopy",
            "PUT",
            upload.name.bucket,
            upload.name.key,
            query=part_query(upload, number),
            headers=headers,
            is_slow=True,
        )
        try:
            result = await self._send_for(request, read_result("CopyPartResult"))
        except StoreError as error:
            if upload.checksum is None or not is_for_checksums(error):
                raise
            raise self._copies_lack_checksums(upload, error.message) from error
        told = result.checksums.get(upload.checksum) if upload.checksum else None
        if upload.checksum is not None:
            await self._demand_credible(upload, source, wanted, told)
        return StoredPart(number, wanted.size_bytes, result.etag, told)

    async def _demand_credible(
        self, upload: MultipartUpload, source: ObjectInfo, wanted: ByteRange, told: Checksum | None
    ) -> None:
        """What was told of a copied part is believed if it was seen before that it can be.

        Else what can be seen must not be wrong: the checksum of the whole source is not that of a
        range. Where none is told, the store refuses in the end what it has accepted so far.

        :raises CopiesLackChecksums:
        """
        is_proved = self._capability_source.is_proved(upload.name.bucket, "copied_checksums")
        if told is None and not is_proved:
            raise self._copies_lack_checksums(upload, "a copied part has no checksum")
        if told is None or wanted.size_bytes == source.size_bytes:
            return
        whole = source.checksum
        if whole is None and not is_proved:
            with suppress(StoreError):
                whole = (await self.head(source.name, with_checksum=True)).checksum
        if told == whole:
            raise self._copies_lack_checksums(upload, "a range has the checksum of the whole")
        if whole is not None:
            self._capability_source.proved(upload.name.bucket, "copied_checksums")

    def _copies_lack_checksums(self, upload: MultipartUpload, why: str) -> CopiesLackChecksums:
        self._capability_source.must_do_without(upload.name.bucket, "copied_checksums")
        return CopiesLackChecksums(why, code="NotImplemented")

    async def complete_upload(
        self,
        upload: MultipartUpload,
        parts: tuple[StoredPart, ...],
        condition: WriteCondition = WriteCondition.NONE,
    ) -> str:
        able = await self._capability_source.known(upload.name.bucket)
        whole = joined(parts, upload.checksum) if upload.checksum else None
        size_bytes = sum(part.size_bytes for part in parts)
        request = S3Request(
            "CompleteMultipartUpload",
            "POST",
            upload.name.bucket,
            upload.name.key,
            query=(("uploadId", upload.upload_id),),
            headers=(
                ("content-type", "application/xml"),
                *if_absent(condition, is_supported=able.conditional_complete),
                *object_checksum(whole),
                *object_size(size_bytes, is_supported=able.object_size),
            ),
            body=(s3xml.build_complete_upload(parts),),
            missing=NoSuchUpload,
            is_slow=True,
            final_codes=CONFLICTS | DAMAGE,
            optional=(
                ("conditional_complete", "If-None-Match"),
                ("object_size", "x-amz-mp-object-size"),
            ),
            doubt=lambda: self._why_not_completed(upload),
        )
        began_seconds = self._sender.signer.now_seconds()
        try:
            return await self._send_settled(
                request,
                _etag_of_result("CompleteMultipartUploadResult", request.final_codes, whole),
                lambda: Expected(size_bytes, began_seconds, etag_of_parts(parts), checksum=whole),
            )
        except StoreError as error:
            if upload.checksum is not None and whole is None and is_for_checksums(error):
                raise self._copies_lack_checksums(upload, error.message) from error
            if not is_for_unequal_parts(error):
                raise
            self._capability_source.must_do_without(upload.name.bucket, "unequal_parts")
            raise PartsMustBeEqual(error.message, code=error.code, status=error.status) from error

    async def abort_upload(self, upload: MultipartUpload) -> None:
        request = S3Request(
            "AbortMultipartUpload",
            "DELETE",
            upload.name.bucket,
            upload.name.key,
            query=(("uploadId", upload.upload_id),),
            missing=NoSuchUpload,
        )
        try:
            await self._send(request)
        except NoSuchUpload:
            return

    # Why a store fails again and again. Each asks the store, which may be a file system.

    async def _what_is_in_the_way(self, name: ObjectName) -> StoreError | None:
        """A folder of this name, where that is one of a file system."""
        try:
            below = await self._hurried().list(name.bucket, f"{name.key}/", limit=1)
        except StoreError:
            return None
        if not (below.objects or below.prefixes):
            return None
        return NameInTheWay(f"{name}: has the name of a folder", code="InternalError", status=500)

    async def _why_not_completed(self, upload: MultipartUpload) -> StoreError | None:
        """It is gone; whoever asks looks then whether it is there as an object."""
        view, query = self._hurried(), (("max-parts", "1"), ("uploadId", upload.upload_id))
        bucket, key = upload.name.bucket, upload.name.key
        request = S3Request("ListParts", "GET", bucket, key, query=query, missing=NoSuchUpload)
        try:
            await view._send(request)
        except NoSuchUpload as error:
            return error
        except StoreError:
            return None
        return await self._what_is_in_the_way(upload.name)

    # Common to several.

    def _hurried(self) -> S3Client:
        """The same, but not patient."""
        sender = self._sender.with_short_deadline()
        return S3Client(
            sender, self._events, self._capability_source, self._user, self._cancel_token
        )

    async def _send(self, request: S3Request, trail: AttemptLog | None = None) -> Response:
        return await self._sender.send(
            request, self._events, user=self._user, cancel_token=self._cancel_token, trail=trail
        )

    async def _send_for(
        self, request: S3Request, read: Callable[[Response], T], trail: AttemptLog | None = None
    ) -> T:
        """Send for what `read` finds in the answer; an answer without it is tried again."""
        found: list[T] = []
        await self._sender.send(
            request,
            self._events,
            user=self._user,
            cancel_token=self._cancel_token,
            accept=lambda answer: found.append(read(answer)),
            trail=trail,
        )
        return found[-1]

    async def _adapting(self, request: S3Request, send: Callable[[S3Request], Awaitable[T]]) -> T:
        """Send; what the store lacks, against what was believed, is done without from now on.

        :raises PreconditionFailed: a condition that was left out does not hold
        """
        try:
            return await send(request)
        except NotImplementedByStore:
            if not self._capability_source.is_adaptable:
                raise
            for lacking in _what_may_lack(request):
                fewer = request.without(lacking)
                await self._demand_what_is_gone(request, fewer)
                with suppress(NotImplementedByStore):
                    result = await send(fewer)
                    for name in sorted(lacking):
                        self._capability_source.must_do_without(request.bucket, name)
                    return result
            raise

    async def _demand_what_is_gone(self, request: S3Request, fewer: S3Request) -> None:
        """Look whether the conditions hold that `fewer` does not ask for any more."""
        conditions = {name: value for name, value in request.headers if name.startswith("If-")}
        for name, value in conditions.items():
            if (name, value) in fewer.headers:
                continue
            try:
                found = (await self._head(ObjectName(request.bucket, request.key)))[0].etag
            except NoSuchObject:
                found = ""
            if (name == "If-None-Match" and found) or (name == "If-Match" and found != value):
                raise PreconditionFailed(f"{name} does not hold", code="PreconditionFailed")

    def _optional_checksum(self, *headers: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        """What can be done without, unless the configuration asks for it."""
        is_asked_for = self._sender.settings.checksum is not ChecksumChoice.AUTO
        return () if is_asked_for else tuple(("checksums", name) for name, _ in headers)

    async def _send_settled(
        self,
        request: S3Request,
        read: Callable[[Response], str],
        expected: Callable[[], Expected],
    ) -> str:
        """Publish an object. Refused after an answer was lost, it may be there: look.

        Where the answer does not tell the object's ETag, it is there for sure: look, too.
        """
        trail, name = AttemptLog(), ObjectName(request.bucket, request.key)
        try:
            etag = await self._adapting(
                request, lambda adapted: self._send_for(adapted, read, trail)
            )
        except StoreError as error:
            # A store that is away has been waited for: it is asked once more, and not again for as
            # long as that.
            asked = self._hurried() if isinstance(error, StoreUnavailable) else self
            if trail.may_have_happened and (etag := await asked._settled(name, expected()) or ""):
                return etag
            raise
        return etag or await self._etag_of_published(name, expected())

    async def _etag_of_published(self, name: ObjectName, sent: Expected) -> str:
        """The ETag of what the store has just published, without telling it.

        What cannot be looked at, or was replaced at once, has the ETag that such objects have.

        :raises StoreUnavailable: nothing is there
        """
        try:
            info, headers = await self._head_with_checksum(name, sent.checksum)
        except NoSuchObject as error:
            message = "the store says that the object is stored, and it is not there"
            raise StoreUnavailable(message, code=BAD_ANSWER, status=error.status) from error
        except AccessDenied:
            return s3xml.quoted(sent.etag or "")
        if is_ours(info, headers, replace(sent, since_seconds=0.0)):
            return info.etag
        return s3xml.quoted(sent.etag or "")

    async def _settled(self, name: ObjectName, expected: Expected) -> str | None:
        """The ETag of the object if it is the one expected, None if it is not, or in doubt."""
        try:
            info, headers = await self._head_with_checksum(name, expected.checksum)
        except StoreError:
            return None
        return info.etag if is_ours(info, headers, expected) else None

    async def _head_with_checksum(
        self, name: ObjectName, checksum: Checksum | None
    ) -> tuple[ObjectInfo, Headers]:
        """With the object's checksum, if there was one sent and we may see it."""
        if checksum is not None:
            try:
                return await self._head(name, with_checksum=True)
            except StoreError as error:
                # With KMS it needs kms:Decrypt, and the key itself: a bare 403, or a bare 400.
                if not isinstance(error, AccessDenied) and error.code != UNEXPLAINED:
                    raise
        return await self._head(name)

    async def _head(
        self, name: ObjectName, *, with_checksum: bool = False
    ) -> tuple[ObjectInfo, Headers]:
        self._demand_findable(name)

        def read(answer: Response) -> tuple[ObjectInfo, Headers]:
            size_bytes = stored_size(answer.headers)
            return object_info(name, size_bytes, answer.headers), answer.headers

        headers = (("x-amz-checksum-mode", "ENABLED"),) if with_checksum else ()
        request = S3Request("HeadObject", "HEAD", name.bucket, name.key, headers=headers)
        return await self._send_for(request, read)

    async def _exists(self, name: ObjectName) -> bool:
        try:
            await self._head(name)
        except NoSuchObject:
            return False
        return True

    async def _able_to_keep(self, name: ObjectName) -> Capabilities:
        """What the store can do, once that is known; and that it will not take `name` for another.

        :raises NameNotKept:
        """
        able = await self._capability_source.known(name.bucket)
        if "\\" in name.key and not able.backslashes:
            raise NameNotKept(f"{name}: is another name to this store", code="InvalidObjectName")
        return able

    def _demand_findable(self, name: ObjectName) -> None:
        """:raises NoSuchObject: what the store would find is another object"""
        if "\\" in name.key and not self._capability_source.of(name.bucket).backslashes:
            raise NoSuchObject(f"{name}: is another name to this store", code="NoSuchKey")

    def _creation(self, properties: ObjectProperties) -> HeaderList:
        return tuple(property_headers(properties, self._sender.settings.storage_class))

    async def _integrity(self, body: Body, checksum: Checksum | None) -> HeaderList:
        """What the bytes of this request must come to: their checksum, or else their MD5.

        Where there are no checksums, Object Lock takes nothing without.
        """
        if checksum is not None or self._sender.settings.checksum is ChecksumChoice.NONE:
            return checksum_header(checksum)
        if (digest := new_md5()) is None:
            return ()
        await self._sender.hasher.feed(body, digest.update, MD5_STEP_BYTES)
        return content_md5(digest.digest())

    async def _checksum(self, body: Body, algorithm: ChecksumAlgorithm | None) -> Checksum | None:
        if algorithm is None:
            return None
        running = RunningChecksum(algorithm)
        await self._sender.hasher.feed(body, running.update, COMPUTE_STEP_BYTES)
        return running.checksum


def _what_may_lack(request: S3Request) -> Iterator[frozenset[str]]:
    """What of a request the store may have refused: each thing that it asks for, then all."""
    asked = {name.lower() for name, _ in request.headers}
    names = {name for name, header in request.optional if header.lower() in asked}
    yield from (frozenset({name}) for name in sorted(names))
    if len(names) > 1:
        yield frozenset(names)


def _etag_of_result(
    kind: str, final_codes: frozenset[str] = NO_CODES, sent: Checksum | None = None
) -> Callable[[Response], str]:
    read = read_result(kind, final_codes, sent)
    return lambda answer: read(answer).etag
