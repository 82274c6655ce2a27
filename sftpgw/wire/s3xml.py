"""The XML documents of S3, in both directions.

Knows: the documents of the S3 REST API, with and without their namespace, and what stores leave out
of them.
Must not know: HTTP, retries, or what a response means to its caller.

A document that does not parse raises `MalformedDocument` and nothing else: responses come from
outside. Documents with a DOCTYPE (entity bombs, HTML error pages of proxies) are refused.
https://docs.aws.amazon.com/AmazonS3/latest/API/

No tree is built: the few fields that are wanted are kept as they come, so that a document needs
little more memory than they do. How deep elements lie in each other, how many there are, how many
fields and rows, and how long one tag is: all have bounds. The size of a document is bounded by its
reader. A list may be large, so it can be parsed in pieces (`PageParser`).

Values that can be found in another way may be missing, as stores differ: the size or time of a
listed object, the quotes of an ETag, the right root element of a copied part.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar
from urllib.parse import unquote_plus
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement
from xml.parsers import expat

from sftpgw.model.numbers import is_time, whole_number
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

T = TypeVar("T")

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

MAX_DEPTH = 16
"""S3's documents have five levels."""

MAX_TAGS = 300_000
"""Tags and attributes of one document. A page of 1,000 keys has 30,000, one of 10,000 uploads
250,000."""

MAX_ROWS = 10_000
"""The most keys or uploads of one page. S3 sends 1,000; MinIO has sent 10,000 uploads."""

MAX_FIELDS = 100
"""The most different elements in one row. S3 has 12."""

MAX_TAG_BYTES = 64 * 1024
"""How far apart the ends of two tags may be. A key has 6 KiB at most, all of it escaped."""

MAX_CODE_CHARACTERS = 128
"""The longest error code, request id or region that is kept."""

MAX_MESSAGE_CHARACTERS = 1000

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
    return _error(_fields_of(document, "Error"))


def parse_write_result(document: bytes, kind: str) -> WriteResult | ErrorDocument:
    """The body of a 200 that may be an error all the same, and may begin with white space.

    :param document: the XML as it came.
    :param kind: ``CompleteMultipartUploadResult``, ``CopyObjectResult`` or
        ``CopyPartResult``.
    :raises MalformedDocument: it is neither this result nor an error
    """
    kinds = _COPY_RESULTS if kind in _COPY_RESULTS else (kind,)
    root = _fields_of(document, *kinds, "Error")
    if root.name == "Error":
        return _error(root)
    # HEAD finds the ETag of an object; a part without one cannot be completed.
    etag = root.needed("ETag") if kind == "CopyPartResult" else root.text("ETag")
    return WriteResult(quoted(etag), _checksums(root))


def parse_created_upload(document: bytes, name: ObjectName) -> MultipartUpload:
    """The response of CreateMultipartUpload. :raises MalformedDocument: it is something else"""
    root = _fields_of(document, "InitiateMultipartUploadResult")
    return MultipartUpload(name, root.needed("UploadId"))


def parse_object_list(document: bytes, bucket: str) -> ListPage:
    """The response of ListObjectsV2, as `object_list_parser` does it."""
    return object_list_parser(bucket).parse(document)


def parse_upload_list(document: bytes, bucket: str) -> UploadsPage:
    """The response of ListMultipartUploads, as `upload_list_parser` does it."""
    return upload_list_parser(bucket).parse(document)


class PageParser(Generic[T]):
    """Parses one page of a list, piece by piece.

    :param reader: takes the document.
    :param finish: makes the page when all of it was read.
    """

    def __init__(self, reader: _Reader, finish: Callable[[_Fields], T]) -> None:
        self._reader = reader
        self._finish = finish

    def feed(self, piece: bytes) -> None:
        """Parse the next piece, of any size. :raises MalformedDocument: it is something else"""
        self._reader.feed(piece)

    def finish(self) -> T:
        """The page, after the last piece. :raises MalformedDocument: it is something else"""
        return self._finish(self._reader.finish())

    def parse(self, document: bytes) -> T:
        """The page of a whole document. :raises MalformedDocument: it is something else"""
        self.feed(document)
        return self.finish()


def object_list_parser(bucket: str) -> PageParser[ListPage]:
    """Parses the response of ListObjectsV2 with ``encoding-type=url``.

    A store that ignores the encoding does not repeat it in its response; then keys are taken as
    they are. A missing size is `UNKNOWN_BYTES`, a missing time 0. The page is refused if it is
    truncated without a token to continue with: as a complete list it would make files disappear.

    :param bucket: the bucket that was listed.
    """
    objects: list[ObjectInfo] = []
    prefixes: list[str] = []

    def take(row: _Fields) -> None:
        if row.name == "Contents":
            objects.append(_listed(row, bucket))
        else:
            prefixes.append(row.needed("Prefix"))

    def finish(root: _Fields) -> ListPage:
        encoded = root.text("EncodingType") == "url"
        token = root.needed("NextContinuationToken") if _is_truncated(root) else None
        return ListPage(
            tuple(map(_with_decoded_key, objects) if encoded else objects),
            tuple(_decoded(prefix, encoded) for prefix in prefixes),
            token,
        )

    return PageParser(_Reader(("ListBucketResult",), _OBJECT_ROWS, take), finish)


def upload_list_parser(bucket: str) -> PageParser[UploadsPage]:
    """Parses the response of ListMultipartUploads with ``encoding-type=url``.

    Some stores encode keys without saying so: then a key with a per cent sign or a plus may be
    encoded or not (`UploadsPage.is_ambiguous`).

    :param bucket: the bucket that was listed.
    """
    found: list[MultipartUpload] = []

    def finish(root: _Fields) -> UploadsPage:
        encoded = root.text("EncodingType") == "url"
        is_ambiguous = not encoded and any(_ENCODED.search(u.name.key) for u in found)
        marker = None
        if _is_truncated(root):
            key_marker = _decoded(root.needed("NextKeyMarker"), encoded)
            marker = (key_marker, root.text("NextUploadIdMarker"))
        uploads = tuple(map(_with_decoded_key, found) if encoded else found)
        return UploadsPage(uploads, marker, is_ambiguous=is_ambiguous)

    reader = _Reader(
        ("ListMultipartUploadsResult",),
        _UPLOAD_ROWS,
        lambda row: found.append(_listed_upload(row, bucket)),
    )
    return PageParser(reader, finish)


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
    rows: list[_Fields] = []
    _read(_Reader(("Tagging",), _TAG_ROWS, rows.append), document)
    return {row.needed("Key"): row.text("Value") for row in rows}


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


_OBJECT_ROWS = {"Contents": 2, "CommonPrefixes": 2}
_UPLOAD_ROWS = {"Upload": 2}
_TAG_ROWS = {"Tag": 3}
"""The elements whose children are the fields of a row, and their depth; the root has 1."""


class _Fields:
    """The texts of an element's children; of several with the same name, the last one.

    :param name: that of the element, without its namespace.
    """

    __slots__ = ("name", "texts")

    def __init__(self, name: str) -> None:
        self.name = name
        self.texts: dict[str, str] = {}

    def require_few(self) -> None:
        """:raises MalformedDocument: there are too many"""
        if len(self.texts) > MAX_FIELDS:
            raise MalformedDocument(f"{self.name} has over {MAX_FIELDS} fields")

    def text(self, name: str) -> str:
        """The text of a child, "" without one."""
        return self.texts.get(name, "")

    def needed(self, name: str) -> str:
        """The text of a child. :raises MalformedDocument: it has none"""
        if text := self.texts.get(name):
            return text
        raise MalformedDocument(f"{self.name} without {name}")


def _ignore(row: _Fields) -> None:
    """The document has no rows."""


class _Reader:
    """Reads one document: the fields of its root, and rows.

    After an error, and after the end, nothing refers to it any more.

    :param roots: the names that the root may have.
    :param row_depths: the elements that are rows, and the depth of each.
    :param on_row: is called with each row.
    """

    def __init__(
        self,
        roots: tuple[str, ...],
        row_depths: Mapping[str, int] | None = None,
        on_row: Callable[[_Fields], None] = _ignore,
    ) -> None:
        self._roots = roots
        self._row_depths = row_depths or {}
        self._on_row = on_row
        self._root = self._current = _Fields("")
        self._depth = self._tags = self._rows = 0
        self._fields_depth = 2
        self._deepest_row = max(self._row_depths.values(), default=1)
        self._careful_depth = self._deepest_row
        self._texts: list[str] = []
        self._has_begun = False
        self._since_tag_bytes = 0
        self._names = _LocalNames()
        self._expat = expat.ParserCreate(namespace_separator="}")
        self._expat.buffer_text = True
        self._expat.StartDoctypeDeclHandler = self._refuse_doctype
        self._expat.StartElementHandler = self._begin
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._texts.append

    def feed(self, piece: bytes) -> None:
        """The next piece. :raises MalformedDocument: this is not the document"""
        if not self._has_begun:
            piece = piece.lstrip()
            self._has_begun = bool(piece)
        self._require_short_tags(piece)
        self._count_tags(piece.count(b"<"))
        self._parse(piece, is_last=False)

    def finish(self) -> _Fields:
        """The fields of the root. :raises MalformedDocument: this is not the document"""
        self._parse(b"", is_last=True)
        self._leave()
        self._root.require_few()
        return self._root

    def _parse(self, piece: bytes, *, is_last: bool) -> None:
        try:
            self._expat.Parse(piece, is_last)
        except MalformedDocument:
            self._leave()
            raise
        except (expat.ExpatError, ValueError, LookupError) as error:
            self._leave()
            raise MalformedDocument(f"not XML: {error}") from error

    def _leave(self) -> None:
        """Break the cycle, so that the memory is free at once."""
        parser = self._expat
        parser.StartDoctypeDeclHandler = None
        parser.StartElementHandler = parser.EndElementHandler = None
        parser.CharacterDataHandler = None

    def _require_short_tags(self, piece: bytes) -> None:
        # expat 2.5 begins each time anew with a tag whose end has not come (CVE-2023-52425), and
        # each attribute of a tag is an object.
        at = -self._since_tag_bytes
        while at + MAX_TAG_BYTES < len(piece):
            end = piece.rfind(b">", max(at, 0), at + MAX_TAG_BYTES)
            if end < 0:
                self._leave()
                raise MalformedDocument(f"a tag or a text of over {MAX_TAG_BYTES} bytes")
            at = end + 1
        last = piece.rfind(b">", max(at, 0))
        self._since_tag_bytes = len(piece) - (last + 1 if last >= 0 else at)

    def _count_tags(self, count: int) -> None:
        self._tags += count
        if self._tags > MAX_TAGS:
            self._leave()
            raise MalformedDocument(f"over {MAX_TAGS} tags and attributes")

    def _refuse_doctype(self, name: str, *_: object) -> None:
        raise MalformedDocument(f"a document with a DOCTYPE ({name[:50]})")

    # The three below are most of the cost of a listing.

    def _begin(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._texts.clear()
        self._depth = depth = self._depth + 1
        if depth <= self._careful_depth or depth > MAX_DEPTH or attributes:
            self._begin_carefully(self._names[tag], depth, len(attributes))

    def _begin_carefully(self, name: str, depth: int, attributes: int) -> None:
        self._count_tags(attributes)
        if depth > MAX_DEPTH:
            raise MalformedDocument(f"over {MAX_DEPTH} elements inside each other")
        if depth > self._careful_depth:
            return
        if self._row_depths.get(name) == depth:
            self._current = _Fields(name)
            self._fields_depth = depth + 1
            self._careful_depth = 0
        elif depth == 1:
            if name not in self._roots:
                raise MalformedDocument(f"not a document of type {' or '.join(self._roots)}")
            self._root.name = name

    def _end(self, tag: str) -> None:
        depth = self._depth
        self._depth = depth - 1
        if depth == self._fields_depth:
            self._current.texts[self._names[tag]] = "".join(self._texts)
        elif depth < self._fields_depth and self._current is not self._root:
            self._end_row(self._current)

    def _end_row(self, row: _Fields) -> None:
        self._current = self._root
        self._fields_depth = 2
        self._careful_depth = self._deepest_row
        self._rows += 1
        row.require_few()
        if self._rows > MAX_ROWS:
            raise MalformedDocument(f"over {MAX_ROWS} rows")
        self._on_row(row)


class _LocalNames(dict[str, str]):
    """Names without their namespaces. There are at most `MAX_TAGS`."""

    def __missing__(self, tag: str) -> str:
        name = self[tag] = tag.rpartition("}")[2]
        return name


def _read(reader: _Reader, document: bytes) -> _Fields:
    reader.feed(document)
    return reader.finish()


def _fields_of(document: bytes, *roots: str) -> _Fields:
    return _read(_Reader(roots), document)


def _is_truncated(root: _Fields) -> bool:
    return root.text("IsTruncated").strip().lower() == "true"


def _decoded(text: str, encoded: bool) -> str:
    # S3's url encoding is that of HTML forms: a plus sign is a space. Keys that are not UTF-8 must
    # not look like other keys that are.
    return unquote_plus(text, errors="surrogateescape") if encoded else text


def _error(root: _Fields) -> ErrorDocument:
    return ErrorDocument(
        code=root.text("Code")[:MAX_CODE_CHARACTERS],
        message=root.text("Message")[:MAX_MESSAGE_CHARACTERS],
        request_id=root.text("RequestId")[:MAX_CODE_CHARACTERS],
        region=root.text("Region")[:MAX_CODE_CHARACTERS],
    )


def _checksums(root: _Fields) -> Mapping[ChecksumAlgorithm, Checksum]:
    if root.text("ChecksumType").upper() == "COMPOSITE":
        return {}
    found = (decode_checksum(root.text(checksum_element(a)), a) for a in ChecksumAlgorithm)
    return {checksum.algorithm: checksum for checksum in found if checksum is not None}


def _listed(row: _Fields, bucket: str) -> ObjectInfo:
    return ObjectInfo(
        name=ObjectName(bucket, row.needed("Key")),
        size_bytes=_size(row.text("Size")),
        etag=quoted(row.text("ETag")),
        modified_seconds=_timestamp(row.text("LastModified")),
        storage_class=row.text("StorageClass") or "STANDARD",
    )


def _listed_upload(row: _Fields, bucket: str) -> MultipartUpload:
    return MultipartUpload(
        ObjectName(bucket, row.needed("Key")),
        row.needed("UploadId"),
        initiated_seconds=_timestamp(row.text("Initiated")),
    )


_Named = TypeVar("_Named", ObjectInfo, MultipartUpload)


def _with_decoded_key(found: _Named) -> _Named:
    key = _decoded(found.name.key, True)
    if key == found.name.key:
        return found
    return replace(found, name=ObjectName(found.name.bucket, key))


def _size(text: str) -> int:
    number = whole_number(text)
    return UNKNOWN_BYTES if number is None else number


def _timestamp(text: str) -> float:
    """Seconds since 1970 of an ISO 8601 time; 0 without a valid one."""
    try:
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        seconds = moment.timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return seconds if is_time(seconds) else 0.0
