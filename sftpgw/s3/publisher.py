"""Sends requests that publish an object, and finds out the outcome if a response is lost.

Knows: when a failed request may have published its object, and how to look.
Must not know: how the found object is compared with the one that was sent (`s3/reconcile`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from twisted.web.http_headers import Headers

from sftpgw.errors import AccessDenied, NoSuchObject, StoreError, StoreUnavailable
from sftpgw.model.store import Checksum, ObjectInfo, ObjectName
from sftpgw.s3.bound_executor import BoundExecutor
from sftpgw.s3.capability_fallbacks import CapabilityFallbacks
from sftpgw.s3.error_codes import BAD_ANSWER, UNEXPLAINED
from sftpgw.s3.object_reads import ObjectReads
from sftpgw.s3.reconcile import Expected, is_ours
from sftpgw.s3.s3_request import AttemptLog, Response, S3Request
from sftpgw.wire.s3xml import quoted


class Publisher:
    """Publishes objects and returns their ETags.

    :param executor: sends the requests.
    :param reads: looks at the published object.
    :param fallbacks: leaves out what the store lacks.
    """

    def __init__(
        self, executor: BoundExecutor, reads: ObjectReads, fallbacks: CapabilityFallbacks
    ) -> None:
        self._executor = executor
        self._reads = reads
        self._fallbacks = fallbacks

    async def publish(
        self,
        request: S3Request,
        read_etag: Callable[[Response], str],
        expected: Callable[[], Expected],
    ) -> str:
        """Send; returns the object's ETag.

        If the request fails after a response was lost, the object may be there: look. If the
        response does not report the ETag, the object is there: look, too.

        :param request: creates the object, or completes its upload.
        :param read_etag: finds the ETag in the response, "" if it is not reported.
        :param expected: describes the object; called only if it must be looked for.
        :raises StoreError: the object is not published
        """
        attempt_log, name = AttemptLog(), ObjectName(request.bucket, request.key)
        try:
            etag = await self._fallbacks.send(
                request,
                lambda adapted: self._executor.send_for(adapted, read_etag, attempt_log),
            )
        except StoreError as error:
            # A store that is away has been waited for already: a short deadline is enough.
            is_away = isinstance(error, StoreUnavailable)
            reads = self._reads.with_short_deadline() if is_away else self._reads
            if not attempt_log.may_have_happened:
                raise
            if not (etag := await _etag_if_ours(reads, name, expected())):
                raise
        return etag or await self._etag_of_published(name, expected())

    async def _etag_of_published(self, name: ObjectName, sent: Expected) -> str:
        """The ETag of an object that the store has just published without reporting it.

        If the object may not be read, or was replaced at once: the ETag that it should have.

        :raises StoreUnavailable: the object is not there
        """
        try:
            info, headers = await _head(self._reads, name, sent.checksum)
        except NoSuchObject as error:
            message = "the store says that the object is stored, and it is not there"
            raise StoreUnavailable(message, code=BAD_ANSWER, status=error.status) from error
        except AccessDenied:
            return quoted(sent.etag or "")
        if is_ours(info, headers, replace(sent, since_seconds=0.0)):
            return info.etag
        return quoted(sent.etag or "")


async def _etag_if_ours(reads: ObjectReads, name: ObjectName, expected: Expected) -> str:
    """The ETag of the object if it is the expected one; "" if it is not, or in doubt."""
    try:
        info, headers = await _head(reads, name, expected.checksum)
    except StoreError:
        return ""
    return info.etag if is_ours(info, headers, expected) else ""


async def _head(
    reads: ObjectReads, name: ObjectName, checksum: Checksum | None
) -> tuple[ObjectInfo, Headers]:
    """HEAD, with the object's checksum if one was sent and the gateway may see it."""
    if checksum is not None:
        try:
            return await reads.head_with_headers(name, with_checksum=True)
        except StoreError as error:
            # With KMS this needs kms:Decrypt and the key itself: a bare 403, or a bare 400.
            if not isinstance(error, AccessDenied) and error.code != UNEXPLAINED:
                raise
    return await reads.head_with_headers(name)
