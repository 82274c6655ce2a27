"""The XML documents of S3, in both directions.

Knows: the documents of the S3 REST API, with and without their namespace, and what stores leave out
of them.
Must not know: HTTP, retries, or what a response means to its caller.

A document that does not parse raises `MalformedDocument` and nothing else: responses come from
outside. Documents with a DOCTYPE (entity bombs, HTML error pages of proxies) are refused.
https://docs.aws.amazon.com/AmazonS3/latest/API/

Values that can be found in another way may be missing, as stores differ: the size or time of a
listed object, the quotes of an ETag, the right root element of a copied part.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_plus
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, ParseError, SubElement, TreeBuilder, XMLParser

from sftpgw.model.store import (
    Checksum,
    ChecksumAlgorithm,
    ListPage,
    MultipartUpload,
    ObjectInfo,
    ObjectName,
    StoredPart,
    UploadsPage,
)

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

_SIZE_DIGITS = 20
UNKNOWN_BYTES = -1
"""The size of an object for which a list has none, or none that is a number."""

_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}|\+")
_COPY_RESULTS = ("CopyObjectResult", "CopyPartResult")  # some stores confuse them


class MalformedDocument(ValueError):
    """A response is not the document that it should be."""


@dataclass(frozen=True, slots=True)
class ErrorDocument:
    """An ``<Error>``. https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"""

    code: str
    message: str = ""
    request_id: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The result of CompleteMultipartUpload, CopyObject or UploadPartCopy.

    :param etag: with quotes; "" if the store does not report that of an object. A part has one.
    :param checksums: of the whole object or part; composite ones are left out.
    """

    etag: str
    checksums: Mapping[ChecksumAlgorithm, Checksum] = field(default_factory=dict)


# Responses.


def parse_error(document: bytes) -> ErrorDocument:
    """An ``<Error>`` document. :raises MalformedDocument: it is something else"""
    return _error(_root(document, "Error"))


def parse_write_result(document: bytes, kind: str) -> WriteResult | ErrorDocument:
    """The body of a 200 that may be an error all the same, and may begin with white space.

    :param document: the XML as it came.
    :param kind: ``CompleteMultipartUploadResult``, ``CopyObjectResult`` or
        ``CopyPartResult``.
    :raises MalformedDocument: it is neither this result nor an error
    """
    kinds = _COPY_RESULTS if kind in _COPY_RESULTS else (kind,)
    root = _root(document, *kinds, "Error")
    if _local_name(root) == "Error":
        return _error(root)
    # HEAD finds the ETag of an object; a part without one cannot be completed.
    etag = _needed(root, "ETag") if kind == "CopyPartResult" else _text(root, "ETag")
    return WriteResult(quoted(etag), _checksums(root))


def parse_created_upload(document: bytes, name: ObjectName) -> MultipartUpload:
    """The response of CreateMultipartUpload. :raises MalformedDocument: it is something else"""
    root = _root(document, "InitiateMultipartUploadResult")
    return MultipartUpload(name, _needed(root, "UploadId"))


def parse_object_list(document: bytes, bucket: str) -> ListPage:
    """The response of ListObjectsV2 with ``encoding-type=url``.

    A store that ignores the encoding does not repeat it in its response; then keys are taken as
    they are. A missing size is `UNKNOWN_BYTES`, a missing time 0.

    :raises MalformedDocument: it is something else, or it is truncated without a token to continue
        with: as a complete list it would make files disappear
    """
    root = _root(document, "ListBucketResult")
    encoded = _text(root, "EncodingType") == "url"
    objects = tuple(_listed(row, bucket, encoded) for row in root.iterfind("{*}Contents"))
    prefixes = tuple(
        _decoded(_needed(row, "Prefix"), encoded) for row in root.iterfind("{*}CommonPrefixes")
    )
    token = _needed(root, "NextContinuationToken") if _is_truncated(root) else None
    return ListPage(objects, prefixes, token)


def parse_upload_list(document: bytes, bucket: str) -> UploadsPage:
    """The response of ListMultipartUploads with ``encoding-type=url``.

    Some stores encode keys without saying so: then a key with a per cent sign or a plus may be
    encoded or not (`UploadsPage.is_ambiguous`).

    :raises MalformedDocument: it is something else
    """
    root = _root(document, "ListMultipartUploadsResult")
    encoded = _text(root, "EncodingType") == "url"
    uploads = tuple(
        MultipartUpload(
            ObjectName(bucket, _decoded(_needed(row, "Key"), encoded)),
            _needed(row, "UploadId"),
            initiated_seconds=_timestamp(_text(row, "Initiated")),
        )
        for row in root.iterfind("{*}Upload")
    )
    is_ambiguous = not encoded and any(_ENCODED.search(u.name.key) for u in uploads)
    marker = None
    if _is_truncated(root):
        key_marker = _decoded(_needed(root, "NextKeyMarker"), encoded)
        marker = (key_marker, _text(root, "NextUploadIdMarker"))
    return UploadsPage(uploads, marker, is_ambiguous=is_ambiguous)


# Requests.


def build_complete_upload(parts: Iterable[StoredPart]) -> bytes:
    """The body of CompleteMultipartUpload."""
    root = Element("CompleteMultipartUpload", xmlns=NAMESPACE)
    for part in parts:
        row = SubElement(root, "Part")
        SubElement(row, "PartNumber").text = str(part.number)
        SubElement(row, "ETag").text = part.etag
        if part.checksum is not None:
            name = checksum_element(part.checksum.algorithm)
            SubElement(row, name).text = encode_checksum(part.checksum)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def parse_tags(document: bytes) -> Mapping[str, str]:
    """The response of GetObjectTagging. :raises MalformedDocument: it is something else"""
    root = _root(document, "Tagging")
    rows = root.iterfind("{*}TagSet/{*}Tag")
    return {_needed(row, "Key"): _text(row, "Value") for row in rows}


def quoted(etag: str) -> str:
    """An ETag with the quotes that HTTP requires (RFC 9110, section 8.8.3).

    Some stores leave them out in some responses, so that one version would have two ETags.
    """
    return f'"{etag}"' if etag and not etag.endswith('"') else etag


# Checksums.

_CHECKSUM_BYTES = {
    ChecksumAlgorithm.CRC64NVME: 8,
    ChecksumAlgorithm.CRC32C: 4,
    ChecksumAlgorithm.CRC32: 4,
}


def checksum_element(algorithm: ChecksumAlgorithm) -> str:
    """The element that has the checksum of an algorithm."""
    return f"Checksum{algorithm.value.upper()}"


def encode_checksum(checksum: Checksum) -> str:
    """A checksum as S3 writes it, also in headers: base64 of the bytes in network order."""
    size_bytes = _CHECKSUM_BYTES[checksum.algorithm]
    return base64.b64encode(checksum.value.to_bytes(size_bytes, "big")).decode("ascii")


def decode_checksum(text: str, algorithm: ChecksumAlgorithm) -> Checksum | None:
    """Reverses `encode_checksum`; None for any other text, such as a composite's ``…-7``."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) != _CHECKSUM_BYTES[algorithm]:
        return None
    return Checksum(algorithm, int.from_bytes(raw, "big"))


# Parts of documents.


class _PlainTree(TreeBuilder):
    """Builds a tree, and refuses a DOCTYPE and with it the entities that it may define."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise MalformedDocument(f"a document with a DOCTYPE ({name[:50]})")


def _root(document: bytes, *expected: str) -> Element:
    parser = XMLParser(target=_PlainTree())
    try:
        parser.feed(document.lstrip())
        root = parser.close()
    except (ParseError, ValueError, LookupError) as error:
        raise MalformedDocument(f"not XML: {error}") from error
    if not isinstance(root, Element) or _local_name(root) not in expected:
        raise MalformedDocument(f"not a document of type {' or '.join(expected)}")
    return root


def _local_name(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _text(parent: Element, name: str) -> str:
    return parent.findtext(f"{{*}}{name}") or ""


def _needed(parent: Element, name: str) -> str:
    if text := _text(parent, name):
        return text
    raise MalformedDocument(f"{_local_name(parent)} without {name}")


def _is_truncated(root: Element) -> bool:
    return _text(root, "IsTruncated").strip().lower() == "true"


def _decoded(text: str, encoded: bool) -> str:
    # S3's url encoding is that of HTML forms: a plus sign is a space. Keys that are not UTF-8 must
    # not look like other keys that are.
    return unquote_plus(text, errors="surrogateescape") if encoded else text


def _error(root: Element) -> ErrorDocument:
    return ErrorDocument(
        code=_text(root, "Code"),
        message=_text(root, "Message"),
        request_id=_text(root, "RequestId"),
        region=_text(root, "Region"),
    )


def _checksums(root: Element) -> Mapping[ChecksumAlgorithm, Checksum]:
    if _text(root, "ChecksumType").upper() == "COMPOSITE":
        return {}
    found = (decode_checksum(_text(root, checksum_element(a)), a) for a in ChecksumAlgorithm)
    return {checksum.algorithm: checksum for checksum in found if checksum is not None}


def _listed(row: Element, bucket: str, encoded: bool) -> ObjectInfo:
    # One pass over the row: a search for each name would be most of the cost of a listing.
    texts = {child.tag.rpartition("}")[2]: child.text or "" for child in row}
    if not texts.get("Key"):
        raise MalformedDocument("Contents without Key")
    return ObjectInfo(
        name=ObjectName(bucket, _decoded(texts["Key"], encoded)),
        size_bytes=_size(texts.get("Size", "")),
        etag=quoted(texts.get("ETag", "")),
        modified_seconds=_timestamp(texts.get("LastModified", "")),
        storage_class=texts.get("StorageClass") or "STANDARD",
    )


def _size(text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) < _SIZE_DIGITS
    return int(text) if is_number else UNKNOWN_BYTES


def _timestamp(text: str) -> float:
    """Seconds since 1970 of an ISO 8601 time; 0 without a valid one."""
    try:
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        return 0.0
