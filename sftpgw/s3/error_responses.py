"""What an answer that is no success says.

Knows: error documents, what is left of them in an answer to HEAD, and the headers
that tell more. Must not know: requests, or what is done about it (`s3/retry/plan`).
"""

from __future__ import annotations

from twisted.web.http_headers import Headers

from sftpgw.errors import StoreError
from sftpgw.s3.headers import date_seconds, header, retry_after_seconds
from sftpgw.s3.retry.plan import PROXY_REFUSED, UNEXPLAINED, Fault
from sftpgw.wire.s3xml import ErrorDocument, MalformedDocument, parse_error

_CODE_CHARACTERS = 128
SKEW_SECONDS = 15 * 60.0
LONGEST_WORDS = 200


class AttemptFailed(Exception):
    """An attempt that did not succeed; `Sender.send` looks for a remedy."""

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


def refused_inside_success(
    document: ErrorDocument, headers: Headers, final_codes: frozenset[str] = frozenset()
) -> AttemptFailed:
    """An ``<Error>`` in a 200: by its code, else as if it were a 500."""
    return AttemptFailed(
        Fault(document.code, 500, is_final=document.code in final_codes),
        document.message or document.code,
        request_id=document.request_id or header(headers, "x-amz-request-id"),
    )


def refusal(
    status: int,
    headers: Headers,
    body: bytes,
    *,
    is_head: bool,
    final_codes: frozenset[str],
    region: str,
    now_seconds: float,
) -> AttemptFailed:
    """What an answer that is not a 2xx says.

    :param region: where the request went.
    """
    document = _error_document(body)
    store_seconds = date_seconds(headers, "date")
    code = document.code or _code_in_headers(headers)
    if status == 407:
        code = code or PROXY_REFUSED
    if is_head and not code:
        code = _code_of_a_bare_refusal(status, store_seconds, now_seconds)
    message = document.message or f"HTTP status {status}{_plain_words(headers, body)}"
    true_region = header(headers, "x-amz-bucket-region") or document.region
    if true_region:
        message += f" (the bucket's region is {true_region[:64]})"
    return AttemptFailed(
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
        return ErrorDocument("")  # a proxy's page, or nothing at all: the status decides


def _plain_words(headers: Headers, body: bytes) -> str:
    """What a server says that is no store: "Client sent an HTTP request to an HTTPS server"."""
    is_text = header(headers, "content-type").partition(";")[0].strip().lower() == "text/plain"
    words = body[:LONGEST_WORDS].decode("utf-8", "replace").strip() if is_text else ""
    return f": {words}" if words else ""


def _code_in_headers(headers: Headers) -> str:
    """What some stores say in ``x-…-error-code``, since an answer to HEAD has no body."""
    for raw_name, values in headers.getAllRawHeaders():
        name = raw_name.lower()
        if name.startswith(b"x-") and name.endswith(b"-error-code"):
            return values[0].decode("ascii", "replace").strip()[:_CODE_CHARACTERS]
    return ""


def _code_of_a_bare_refusal(status: int, store_seconds: float | None, now_seconds: float) -> str:
    """HEAD's answers have no body, hence no code: guess those that have a remedy."""
    if status == 400:
        return UNEXPLAINED
    skewed = store_seconds is not None and abs(store_seconds - now_seconds) > SKEW_SECONDS
    return "RequestTimeTooSkewed" if status == 403 and skewed else ""


_NOT_THIS_WAY = frozenset({"InvalidArgument", "InvalidRequest", "NotImplemented"})


def is_for_checksums(error: StoreError) -> bool:
    """Whether a part may have been refused since it is copied into an upload with checksums.

    S3 has no code for it, since it knows no such refusal. MinIO's is InvalidArgument.
    """
    return error.code in _NOT_THIS_WAY


def is_for_unequal_parts(error: StoreError) -> bool:
    """Whether a file was refused for the sizes of its parts, all of which are there.

    S3 has no code for it. R2's is that of a part which is missing; its words tell the difference.
    """
    return error.code == "InvalidPart" and "same length" in error.message
