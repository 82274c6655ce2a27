"""Operations that write or delete a single object: PutObject, CopyObject, DeleteObject.

Knows: each operation's request, its response, and what its errors mean.
Must not know: how a request is sent, how a lost response is settled (`s3/publisher`).
"""

from __future__ import annotations

from sftpgw.aws.signer import HeaderList
from sftpgw.errors import NoSuchBucket, NoSuchObject, PreconditionFailed
from sftpgw.model.store import (
    Checksum,
    ObjectInfo,
    ObjectName,
    ObjectProperties,
    WriteCondition,
)
from sftpgw.model.units import Body
from sftpgw.s3.capabilities import BACKSLASH, is_same_as_slash
from sftpgw.s3.error_codes import DAMAGE
from sftpgw.s3.reconcile import Expected, etag_of_body
from sftpgw.s3.requests import (
    checksum_header,
    copy_source,
    if_absent,
    if_matching,
    read_etag,
    read_etag_of_result,
    size_of,
)
from sftpgw.s3.s3_request import AttemptLog, S3Request
from sftpgw.s3.write_support import WriteSupport


class ObjectWrites:
    """The operations of a view that write single objects.

    :param support: what all writing operations use.
    """

    def __init__(self, support: WriteSupport) -> None:
        self._support = support

    async def put(
        self,
        name: ObjectName,
        body: Body,
        properties: ObjectProperties,
        condition: WriteCondition,
        checksum: Checksum | None,
    ) -> str:
        support = self._support
        capabilities = await support.fallbacks.for_writing(name)
        final_codes = DAMAGE if checksum else frozenset[str]()
        if checksum is None:
            algorithm = support.capability_source.checksum(name.bucket)
            checksum = await support.integrity.checksum(body, algorithm, support.user)
        request = S3Request(
            "PutObject",
            "PUT",
            name.bucket,
            name.key,
            headers=(
                *support.new_object_headers(name, properties),
                *if_absent(condition, is_supported=capabilities.conditional_put),
                *(await support.integrity.headers(body, checksum, support.user)),
            ),
            body=body,
            missing=NoSuchBucket,
            final_codes=final_codes,
            optional=(
                ("conditional_put", "If-None-Match"),
                *support.integrity.optional(checksum_header(checksum)),
            ),
            find_reason=lambda: support.reasons.folder_in_the_way(name),
        )
        began_seconds = support.now_seconds()
        return await support.publisher.publish(
            request,
            read_etag(checksum),
            lambda: Expected(
                size_of(body), began_seconds, etag_of_body(body), properties.metadata, checksum
            ),
        )

    async def copy(
        self,
        source: ObjectInfo,
        target: ObjectName,
        condition: WriteCondition,
        properties: ObjectProperties | None,
        if_match: str | None,
    ) -> str:
        support = self._support
        capabilities = await support.fallbacks.for_writing(target)
        request = S3Request(
            "CopyObject",
            "PUT",
            target.bucket,
            target.key,
            headers=(
                *copy_source(
                    source,
                    is_guarded=capabilities.copy_source_condition,
                    store=support.store_name,
                ),
                *if_absent(condition, is_supported=capabilities.conditional_copy),
                *if_matching(if_match, is_supported=capabilities.conditional_copy),
                *support.copy_headers(source, target, properties),
            ),
            is_slow=True,
            optional=(
                ("conditional_copy", "If-None-Match"),
                ("conditional_copy", "If-Match"),
                ("copy_source_condition", "x-amz-copy-source-if-match"),
            ),
            find_reason=lambda: support.reasons.folder_in_the_way(target),
            source=source.name,
        )
        began_seconds = support.now_seconds()
        metadata = source.metadata if properties is None else properties.metadata
        return await support.publisher.publish(
            request,
            read_etag_of_result("CopyObjectResult"),
            lambda: Expected(source.size_bytes, began_seconds, metadata=metadata),
        )

    async def delete(self, name: ObjectName, if_match: str | None) -> None:
        support = self._support
        bucket, source = name.bucket, support.capability_source
        headers: HeaderList = ()
        if BACKSLASH in name.key and is_same_as_slash(name.key, await source.known(bucket)):
            return  # the store would delete another object
        if if_match is not None and (await source.known(bucket)).conditional_delete:
            headers = (("If-Match", if_match),)
        optional = (("conditional_delete", "If-Match"),)
        request = S3Request(
            "DeleteObject", "DELETE", bucket, name.key, headers=headers, optional=optional
        )
        attempt_log = AttemptLog()
        try:
            await support.fallbacks.send(
                request, lambda adapted: support.executor.send(adapted, attempt_log)
            )
        except NoSuchObject:
            return
        except PreconditionFailed:
            if not attempt_log.may_have_happened or await support.reads.exists(name):
                raise
