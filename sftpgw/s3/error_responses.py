"""Reads responses that are errors.

Knows: error documents, the headers that say more, and what little a response to HEAD says.
Must not know: requests, or what is done about an error (`s3/retry/plan`).
"""

from __future__ import annotations

from twisted.web.http_headers import Headers

from sftpgw.errors import StoreError
from sftpgw.s3.error_codes import (
    CHECKSUMS_REFUSED,
    PROXY_REFUSED,
    UNEQUAL_PARTS_REFUSED,
    UNEXPLAINED,
)
from sftpgw.s3.headers import date_seconds, header, retry_after_seconds
from sftpgw.s3.retry.plan import Fault
from sftpgw.wire.s3xml import ErrorDocument, MalformedDocument, parse_error

MAX_SKEW_SECONDS = 15 * 60.0
"""S3 refuses requests whose time differs more than this from its own (RequestTimeTooSkewed)."""

MAX_TEXT_BYTES = 200
_MAX_CODE_CHARACTERS = 128


class AttemptError(Exception):
    """An attempt that did not succeed; `RequestExecutor` looks for a remedy.

    :param fault: what decides about the remedy.
    :param message: the reason, for the log.
    :param request_id: S3's id of the request, "" without a response.
    :param store_seconds: the store's time by the ``Date`` header, None without one.
    """

    def __init__(
        self,
        fault: Fault,
        message: str,
        *,
        request_id: str = "",
        store_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message
        self.request_id = request_id
        self.store_seconds = store_seconds


def error_inside_success(
    document: ErrorDocument, headers: Headers, final_codes: frozenset[str] = frozenset()
) -> AttemptError:
    """An ``<Error>`` in a 200. Its code decides; without a known one it counts as a 500.

    :param document: the error that the body of the 200 reports.
    :param headers: those of the 200.
    :param final_codes: codes after which the request is not sent again.
    """
    return AttemptError(
        Fault(document.code, 500, is_final=document.code in final_codes),
        document.message or document.code,
        request_id=document.request_id or header(headers, "x-amz-request-id"),
    )


def error_response(
    status: int,
    headers: Headers,
    body: bytes,
    *,
    is_head: bool,
    final_codes: frozenset[str],
    region: str,
    now_seconds: float,
) -> AttemptError:
    """The error that a response other than a 2xx reports.

    :param status: the HTTP status.
    :param headers: those of the response.
    :param body: the body of the response, as far as it was kept.
    :param is_head: the request was HEAD, so that the response has no body.
    :param final_codes: codes after which the request is not sent again.
    :param region: the region that the request was signed for.
    :param now_seconds: the store's time, as far as it is known.
    """
    document = _error_document(body)
    store_seconds = date_seconds(headers, "date")
    code = document.code or _code_in_headers(headers)
    if status == 407:
        code = code or PROXY_REFUSED
    if is_head and not code:
        code = _guessed_code(status, store_seconds, now_seconds)
    message = document.message or f"HTTP status {status}{_plain_text(headers, body)}"
    true_region = header(headers, "x-amz-bucket-region") or document.region
    if true_region:
        message += f" (the bucket's region is {true_region[:64]})"
    return AttemptError(
        Fault(
            code,
            status,
            retry_after_seconds(headers),
            is_final=code in final_codes,
            other_region=true_region if true_region != region else "",
        ),
        message,
        request_id=header(headers, "x-amz-request-id") or document.request_id,
        store_seconds=store_seconds,
    )


def _error_document(document: bytes) -> ErrorDocument:
    try:
        return parse_error(document)
    except MalformedDocument:
        return ErrorDocument("")  # a proxy's page, or an empty body: the status decides


def _plain_text(headers: Headers, body: bytes) -> str:
    """The text of a server that is no store: "Client sent an HTTP request to an HTTPS server"."""
    is_text = header(headers, "content-type").partition(";")[0].strip().lower() == "text/plain"
    text = body[:MAX_TEXT_BYTES].decode("utf-8", "replace").strip() if is_text else ""
    return f": {text}" if text else ""


def _code_in_headers(headers: Headers) -> str:
    """The code in ``x-…-error-code``, which some stores send since HEAD has no body."""
    for raw_name, values in headers.getAllRawHeaders():
        name = raw_name.lower()
        if name.startswith(b"x-") and name.endswith(b"-error-code"):
            return values[0].decode("ascii", "replace").strip()[:_MAX_CODE_CHARACTERS]
    return ""


def _guessed_code(status: int, store_seconds: float | None, now_seconds: float) -> str:
    """A code for a response to HEAD that has none, where a remedy may exist; else ""."""
    if status == 400:
        return UNEXPLAINED
    is_skewed = store_seconds is not None and abs(store_seconds - now_seconds) > MAX_SKEW_SECONDS
    return "RequestTimeTooSkewed" if status == 403 and is_skewed else ""


def refuses_checksums(error: StoreError) -> bool:
    """Whether the store may have refused a copied part because its upload has checksums."""
    return error.code in CHECKSUMS_REFUSED


def refuses_unequal_parts(error: StoreError) -> bool:
    """Whether the store refused to complete an upload because its parts differ in size (R2)."""
    return error.code == UNEQUAL_PARTS_REFUSED and "same length" in error.message
