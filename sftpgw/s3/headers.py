"""The HTTP headers that describe an object, in both directions.

Knows: the names of the headers, and how values that are not ASCII are encoded.
Must not know: requests, XML.

Metadata that is not plain ASCII is sent as RFC 2047 encoded words, the form in which S3 itself
stores and returns it. A store that does not know them returns them unchanged; they are decoded
here in either case.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from email.errors import MessageError
from email.header import decode_header, make_header
from urllib.parse import quote, urlencode

from twisted.web.http_headers import Headers

from sftpgw.model.numbers import date_seconds_of, whole_number
from sftpgw.model.store import NO_METADATA, ObjectInfo, ObjectName, ObjectProperties
from sftpgw.wire.s3xml import quoted

METADATA_PREFIX = "x-amz-meta-"
SYSTEM_HEADERS = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
)
"""System metadata besides the content type; it must survive when an object is rewritten."""

ENCRYPTION_HEADERS = (
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
)
"""How S3 encrypts an object; without these headers the bucket's default applies."""

STORED_LENGTH = "x-goog-stored-content-length"
STORED_ENCODING = "x-goog-stored-content-encoding"
"""GCS describes the stored object in responses to GET and HEAD, decompressed or not.
https://docs.cloud.google.com/storage/docs/xml-api/reference-headers"""

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)", re.ASCII | re.IGNORECASE)
_MAX_TAGS = 1000
_PLAIN = re.compile(r"[!-~]([ -~]*[!-~])?")


class MissingHeader(ValueError):
    """A response lacks a header that it must have, or has one that makes no sense."""


def header(headers: Headers, name: str) -> str:
    """The first value of a header, "" without one."""
    values = headers.getRawHeaders(name.encode("ascii"))
    return values[0].decode("utf-8", "replace").strip() if values else ""


def count(headers: Headers, name: str) -> int:
    """A header's number. :raises MissingHeader: it has none"""
    text = header(headers, name)
    if (number := whole_number(text)) is None:
        raise MissingHeader(f"{name}: {text[:50]!r}")
    return number


def stored_size(headers: Headers) -> int:
    """The size of an object, by the response to HEAD. :raises MissingHeader: it has none"""
    return count(headers, STORED_LENGTH if header(headers, STORED_LENGTH) else "content-length")


def content_range(headers: Headers) -> tuple[int, int, int]:
    """(first byte, last byte, size of the object) of a 206, RFC 9110 section 14.4.

    :raises MissingHeader: the header is missing or makes no sense
    """
    text = header(headers, "content-range")
    if not (match := _CONTENT_RANGE.fullmatch(text)):
        raise MissingHeader(f"content-range: {text[:50]!r}")
    first, last, size_bytes = map(whole_number, match.groups())
    if first is None or last is None or size_bytes is None or not first <= last < size_bytes:
        raise MissingHeader(f"content-range: {text[:50]!r}")
    return first, last, size_bytes


def date_seconds(headers: Headers, name: str) -> float | None:
    """A header's date in seconds since 1970, None without a valid one."""
    return date_seconds_of(header(headers, name))


def retry_after_seconds(headers: Headers) -> float:
    """``Retry-After`` in seconds, 0 without one. Dates are ignored: S3 never sends them."""
    text = header(headers, "retry-after")
    return float(text[:6]) if text.isascii() and text.isdigit() else 0.0


def object_info(name: ObjectName, size_bytes: int, headers: Headers) -> ObjectInfo:
    """The properties of an object, by the headers of HEAD or GET.

    :param name: the object that was asked for.
    :param size_bytes: the size of the whole object.
    :param headers: those of the response.
    """
    return ObjectInfo(
        name=name,
        size_bytes=size_bytes,
        etag=quoted(header(headers, "etag")),
        modified_seconds=date_seconds(headers, "last-modified") or 0.0,
        storage_class=header(headers, "x-amz-storage-class") or "STANDARD",
        metadata=dict(_metadata(headers)) or NO_METADATA,
        content_type=header(headers, "content-type"),
        system_headers=_system_headers(headers),
        encryption=_present(headers, ENCRYPTION_HEADERS),
        tag_count=whole_number(header(headers, "x-amz-tagging-count"), _MAX_TAGS) or 0,
    )


def property_headers(properties: ObjectProperties, storage_class: str) -> Iterator[tuple[str, str]]:
    """The headers that create an object with these properties.

    :param properties: of the new object.
    :param storage_class: the class if the properties name none; "": the bucket's default.
    """
    for name, value in properties.metadata.items():
        yield METADATA_PREFIX + name.lower(), encode_value(value)
    if properties.content_type:
        yield "content-type", properties.content_type
    if chosen := properties.storage_class or storage_class:
        yield "x-amz-storage-class", chosen
    yield from properties.system_headers.items()
    yield from properties.encryption.items()
    if properties.tags:
        # A space as %20: Ceph keeps a plus sign as it is.
        yield "x-amz-tagging", urlencode(properties.tags, quote_via=quote)


def encode_value(text: str) -> str:
    """A metadata value for a header: itself, or an RFC 2047 word."""
    if not text or (_PLAIN.fullmatch(text) and "=?" not in text):
        return text
    # Not by email.header, which folds lines and drops white space.
    return f"=?UTF-8?B?{base64.b64encode(text.encode('utf-8', 'replace')).decode()}?="


def decode_value(text: str) -> str:
    """Reverses `encode_value`; other text is returned unchanged."""
    if "=?" not in text:
        return text
    try:
        return str(make_header(decode_header(text)))
    except (MessageError, LookupError, ValueError):
        return text


def _metadata(headers: Headers) -> Iterator[tuple[str, str]]:
    for raw_name, values in headers.getAllRawHeaders():
        name = raw_name.decode("ascii", "replace").lower()
        if name.startswith(METADATA_PREFIX):
            joined = b",".join(values).decode("utf-8", "replace")
            yield name.removeprefix(METADATA_PREFIX), decode_value(joined)


def _system_headers(headers: Headers) -> Mapping[str, str]:
    present = _present(headers, SYSTEM_HEADERS)
    stored = header(headers, STORED_ENCODING)
    if stored in ("", "identity") or "content-encoding" in present:
        return present
    return {**present, "content-encoding": stored}


def _present(headers: Headers, names: Iterable[str]) -> Mapping[str, str]:
    found = {name: header(headers, name) for name in names}
    return {name: value for name, value in found.items() if value} or NO_METADATA
