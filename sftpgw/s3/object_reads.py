"""Operations that read: objects, their properties and tags, lists.

Knows: each operation's request and its response.
Must not know: how a request is sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import replace

from twisted.web.http_headers import Headers

from sftpgw.errors import (
    AccessDenied,
    NoSuchBucket,
    NoSuchObject,
    StoreError,
    StoreUnavailable,
)
from sftpgw.model.limits import MAX_LISTED_KEYS
from sftpgw.model.store import (
    BodySink,
    ByteRange,
    ListPage,
    ObjectInfo,
    ObjectName,
    UploadsPage,
)
from sftpgw.s3.bound_executor import BoundExecutor
from sftpgw.s3.capabilities import CapabilitySource, is_same_as_slash
from sftpgw.s3.checksums import any_checksum
from sftpgw.s3.headers import object_info, stored_size
from sftpgw.s3.resumable_get import ResumableGet
from sftpgw.s3.s3_request import Response, S3Request
from sftpgw.s3.session_scope import SessionScope
from sftpgw.wire import s3xml


class ObjectReads:
    """The reading operations of a view.

    :param executor: sends the requests.
    :param capability_source: knows whether backslashes in keys are preserved.
    """

    def __init__(self, executor: BoundExecutor, capability_source: CapabilitySource) -> None:
        self._executor = executor
        self._capability_source = capability_source

    def with_short_deadline(self) -> ObjectReads:
        """The same, for requests that others wait for and that may fail."""
        return ObjectReads(self._executor.with_short_deadline(), self._capability_source)

    async def head_bucket(self, bucket: str) -> None:
        await self._executor.send(S3Request("HeadBucket", "HEAD", bucket, missing=NoSuchBucket))

    async def head(self, name: ObjectName, *, with_checksum: bool = False) -> ObjectInfo:
        info, headers = await self.head_with_headers(name, with_checksum=with_checksum)
        return replace(info, checksum=any_checksum(headers)) if with_checksum else info

    async def head_with_headers(
        self, name: ObjectName, *, with_checksum: bool = False
    ) -> tuple[ObjectInfo, Headers]:
        """HeadObject; returns the object's properties and all headers.

        :param name: the object.
        :param with_checksum: ask for the checksum; a client that may not decrypt the object (KMS)
            is refused then.
        """
        self._require_findable(name)

        def read(response: Response) -> tuple[ObjectInfo, Headers]:
            size_bytes = stored_size(response.headers)
            return object_info(name, size_bytes, response.headers), response.headers

        headers = (("x-amz-checksum-mode", "ENABLED"),) if with_checksum else ()
        scope = self._executor.context.scope
        request = S3Request(
            "HeadObject",
            "HEAD",
            name.bucket,
            name.key,
            headers=headers,
            hides_missing=scope is not None and scope.hides_missing,
        )
        try:
            return await self._executor.send_for(request, read)
        except AccessDenied as error:
            if scope is None or not request.hides_missing:
                raise
            await self._require_denied(name, scope, error)
        return await self._executor.send_for(replace(request, hides_missing=False), read)

    async def _require_denied(
        self, name: ObjectName, scope: SessionScope, error: AccessDenied
    ) -> None:
        """Check that an object exists that the store has refused to show. A LIST.

        If it does, ask again: that is a failure to log.

        :raises NoSuchObject: it does not exist.
        :raises AccessDenied: that is how it is meant to be: the user may not read it, or may not
            list it, so that S3 does not tell.
        """
        rights = scope.rights_on(name)
        if not rights.lists:
            raise error
        page = await self.list(name.bucket, name.key, limit=1)
        if not any(found.name == name for found in page.objects):
            raise NoSuchObject(f"{name}: is not listed", code="NoSuchKey", status=404) from error
        if not rights.reads:
            raise error

    async def exists(self, name: ObjectName) -> bool:
        """HeadObject; whether the object exists."""
        try:
            await self.head_with_headers(name)
        except NoSuchObject:
            return False
        return True

    async def get(
        self, name: ObjectName, wanted: ByteRange | None, sink: BodySink, if_match: str | None
    ) -> None:
        if wanted is not None and not 0 <= wanted.start < wanted.stop:
            raise StoreError("an empty range", code="BadRequest")
        self._require_findable(name)
        scope = self._executor.context.scope
        hides_missing = scope is not None and scope.hides_missing
        download = ResumableGet(name, wanted, sink, if_match, hides_missing=hides_missing)
        try:
            await self._executor.stream(download.next_request, download)
        except AccessDenied as error:
            if scope is None or not hides_missing:
                raise
            await self._require_denied(name, scope, error)
            download.hides_missing = False
            await self._executor.stream(download.next_request, download)

    async def tags(self, name: ObjectName) -> Mapping[str, str]:
        request = S3Request(
            "GetObjectTagging", "GET", name.bucket, name.key, query=(("tagging", ""),)
        )
        return await self._executor.send_for(
            request, lambda response: s3xml.parse_tags(response.document)
        )

    async def list(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        limit: int = MAX_LISTED_KEYS,
    ) -> ListPage:
        if is_same_as_slash(prefix, self._capability_source.of(bucket)):
            return ListPage((), (), None)
        query = [("list-type", "2"), ("encoding-type", "url"), ("max-keys", str(limit))]
        # Prefix and delimiter even if they are empty: policies compare them (s3:prefix,
        # s3:delimiter), and a missing parameter is not equal to "".
        query += [("prefix", prefix), ("delimiter", delimiter)]
        if token:
            query.append(("continuation-token", token))
        request = S3Request("ListObjectsV2", "GET", bucket, query=tuple(query))
        page = await self._executor.send_for_page(request, lambda: s3xml.object_list_parser(bucket))
        if all(info.size_bytes >= 0 for info in page.objects):
            return page
        return replace(page, objects=tuple([o async for o in self._with_sizes(page.objects)]))

    async def _with_sizes(self, objects: tuple[ObjectInfo, ...]) -> AsyncIterator[ObjectInfo]:
        """The objects of a list, with the sizes that it lacks. That costs a HEAD for each of them.

        An object that is gone by now is left out. One that may not be read counts as empty.
        """
        for listed in objects:
            if listed.size_bytes >= 0:
                yield listed
                continue
            try:
                info, _ = await self.head_with_headers(listed.name)
            except NoSuchObject:
                continue
            except AccessDenied:
                yield replace(listed, size_bytes=0)
            else:
                yield replace(listed, size_bytes=info.size_bytes)

    async def list_uploads(
        self, bucket: str, prefix: str, marker: tuple[str, str] | None
    ) -> UploadsPage:
        page = await self._list_uploads(bucket, prefix, marker, (("encoding-type", "url"),))
        if not page.is_ambiguous:
            return page
        # No store encodes keys unless it is asked to. But then a key may break the document.
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
        return await self._executor.send_for_page(request, lambda: s3xml.upload_list_parser(bucket))

    def _require_findable(self, name: ObjectName) -> None:
        """:raises NoSuchObject: the store would look for another object"""
        if is_same_as_slash(name.key, self._capability_source.of(name.bucket)):
            raise NoSuchObject(f"{name}: is another name to this store", code="NoSuchKey")
