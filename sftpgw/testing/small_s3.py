"""A small S3 in memory for `scripted_s3`: the responses of a correct store between two faults.

Knows: the requests that uploads and downloads are made of, and how vendors differ.
Must not know: sockets, or how a store misbehaves (`scripted_s3`).

    store = SmallS3(Dialect(conditions="ignored"))
    server.respond_with(store.respond)
    server.disturb(lambda r: r.method == "PUT", scripted_error(503, "SlowDown"))
    store.objects["key"]                                     # what was published
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from sftpgw.model.store import Checksum, ChecksumAlgorithm, StoredPart
from sftpgw.model.units import KIB
from sftpgw.s3.checksums import RunningChecksum, header_name, joined
from sftpgw.testing.scripted_s3 import RecordedRequest, ScriptedResponse, scripted_error
from sftpgw.wire.s3xml import encode_checksum

LONG_AGO = "Thu, 01 Jan 1970 00:00:00 GMT"
LONG_AGO_IN_XML = "1970-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class Dialect:
    """How a store differs from AWS.

    :param conditions: ``honoured``; ``ignored``, as by some Ceph versions; ``refused``, as by B2.
    :param checksums: ``checked``; ``ignored``, as by older stores; ``refused``.
    :param object_size: x-amz-mp-object-size is ``checked``; ``ignored``; always ``refused``.
    :param needs_equal_parts: parts must not differ in size, as with R2.
    :param copies_with_checksums: the checksum of a part that is copied into an upload with
        checksums: ``right``; ``refused``, as by MinIO; ``whole``: that of the whole source, as
        with versitygw; ``untold``: not reported.
    :param ranges_of_small: ranges are copied from sources of less than the least size of a part.
        AWS does not do that.
    :param copied_part: the root element of UploadPartCopy's document; s3proxy sends
        CopyObjectResult.
    :param copies_markers: CopyObject takes a source ``name/``.
    :param copied_etag: in the results of copies: ``quoted``; ``bare`` or ``missing``.
    :param complete_etag: ``told``; ``missing``, as in Ceph's first response.
    :param sizes: lists report sizes.
    :param upload_keys: keys in lists of uploads are ``told`` to be encoded; encoded and ``untold``,
        as with Ceph; ``plain``, whatever is asked for.
    :param initiated: lists of uploads report when an upload began.
    :param aborts: AbortMultipartUpload does what it says.
    :param folds_backslashes: ``a\\b`` is ``a/b``, as with SeaweedFS.
    :param has_folders: as in a file system, a key and one under it exclude each other (500).
    :param max_name_bytes: the longest segment of a key; versitygw and MinIO refuse more than 255
        bytes (400).
    """

    conditions: str = "honoured"
    checksums: str = "checked"
    object_size: str = "checked"
    needs_equal_parts: bool = False
    copies_with_checksums: str = "right"
    ranges_of_small: bool = True
    copied_part: str = "CopyPartResult"
    copies_markers: bool = True
    copied_etag: str = "quoted"
    complete_etag: str = "told"
    sizes: bool = True
    upload_keys: str = "told"
    initiated: bool = True
    aborts: bool = True
    folds_backslashes: bool = False
    has_folders: bool = False
    max_name_bytes: int = 1024


@dataclass
class _SmallUpload:
    """An open upload.

    :param sums: the checksums that the store has of its parts; None: the upload has none.
    """

    key: str
    parts: dict[int, bytes] = field(default_factory=dict)
    sums: dict[int, Checksum] | None = None

    def joined_sum(self, numbers: list[int]) -> Checksum | None:
        """The checksum that the store joins from those of the parts, right or not."""
        if self.sums is None or not all(number in self.sums for number in numbers):
            return None
        parts = [
            StoredPart(number, len(self.parts[number]), "", self.sums[number]) for number in numbers
        ]
        return joined(parts, ChecksumAlgorithm.CRC64NVME)


class _Refused(Exception):
    """A request that the store refuses; `response` is the error response."""

    def __init__(self, status: int, code: str, message: str = "scripted") -> None:
        super().__init__(code)
        self.response = scripted_error(status, code, message=message)


class _Checks:
    """What a store of a dialect checks in a request. Each method raises `_Refused`."""

    def __init__(self, dialect: Dialect, min_part_bytes: int) -> None:
        self.dialect = dialect
        self.min_part_bytes = min_part_bytes

    def require_size(self, request: RecordedRequest, size_bytes: int) -> None:
        size = request.headers.get("x-amz-mp-object-size")
        if size is None or self.dialect.object_size == "ignored":
            return
        if self.dialect.object_size == "refused":
            raise _Refused(501, "NotImplemented")
        if size != str(size_bytes):
            raise _Refused(400, "InvalidRequest")

    def require_absent(self, request: RecordedRequest, exists: bool) -> None:
        """If-None-Match."""
        if "if-none-match" not in request.headers:
            return
        if self.dialect.conditions == "refused":
            raise _Refused(501, "NotImplemented")
        if self.dialect.conditions == "honoured" and exists:
            raise _Refused(412, "PreconditionFailed")

    def require_etag(self, request: RecordedRequest, name: str, etag: str) -> None:
        """A condition on the ETag of an object, in the header `name`."""
        if name not in request.headers:
            return
        if self.dialect.conditions == "refused":
            raise _Refused(501, "NotImplemented")
        if self.dialect.conditions == "honoured" and request.headers[name] != etag:
            raise _Refused(412, "PreconditionFailed")

    def require_part_sizes(self, sizes_bytes: list[int]) -> None:
        if any(size_bytes < self.min_part_bytes for size_bytes in sizes_bytes[:-1]):
            raise _Refused(400, "EntityTooSmall")
        if self.dialect.needs_equal_parts and len(set(sizes_bytes[:-1])) > 1:
            message = "All non-trailing parts must have the same length."  # R2's message
            raise _Refused(400, "InvalidPart", message)

    def checked(
        self, request: RecordedRequest, data: bytes, joined_sum: Checksum | None = None
    ) -> Mapping[str, str]:
        """The headers that report the checksum, if it is that of `data`, or the joined one."""
        name = header_name(ChecksumAlgorithm.CRC64NVME)
        if name not in request.headers or self.dialect.checksums == "ignored":
            return {}
        if self.dialect.checksums == "refused":
            raise _Refused(501, "NotImplemented")
        found = encode_checksum(joined_sum) if joined_sum is not None else checksum_text(data)
        if request.headers[name] != found:
            raise _Refused(400, "BadDigest")
        return {name: found}


class SmallS3:
    """One bucket, with path addressing.

    :param dialect: how it differs from AWS; None: it does not.
    :param min_part_bytes: the least size of each part but the last.
    """

    def __init__(self, dialect: Dialect | None = None, *, min_part_bytes: int = 64 * KIB) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, _SmallUpload] = {}
        self._checks = _Checks(dialect or Dialect(), min_part_bytes)
        self._serial = 0
        self._etags: dict[str, tuple[bytes, str]] = {}  # with the content that it belongs to
        self._sums: dict[str, Checksum] = {}  # of completed uploads, as joined

    @property
    def dialect(self) -> Dialect:
        return self._checks.dialect

    @dialect.setter
    def dialect(self, dialect: Dialect) -> None:
        self._checks.dialect = dialect

    @property
    def min_part_bytes(self) -> int:
        return self._checks.min_part_bytes

    @min_part_bytes.setter
    def min_part_bytes(self, size_bytes: int) -> None:
        self._checks.min_part_bytes = size_bytes

    def open_upload(self, upload_id: str, key: str, parts: dict[int, bytes]) -> None:
        """Begin an upload without a request.

        :param upload_id: its ID.
        :param key: the key of its object.
        :param parts: the parts that it has, by number.
        """
        self.uploads[upload_id] = _SmallUpload(key, parts)

    def respond(self, request: RecordedRequest) -> ScriptedResponse:
        """The response of a correct store."""
        url = urlsplit(request.target)
        key = unquote(url.path).split("/", 2)[2] if url.path.count("/") > 1 else ""
        if self.dialect.folds_backslashes:
            key = key.replace("\\", "/")
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        try:
            if any(len(n.encode()) > self.dialect.max_name_bytes for n in key.split("/")):
                raise _Refused(400, "KeyTooLongError")
            return self._operation(request.method, query)(request, key, query)
        except _Refused as refused:
            return refused.response

    def _operation(
        self, method: str, query: Mapping[str, str]
    ) -> Callable[[RecordedRequest, str, Mapping[str, str]], ScriptedResponse]:
        operations = {
            ("PUT", False): self._put,
            ("PUT", True): self._upload_part,
            ("POST", False): self._create,
            ("POST", True): self._complete,
            ("DELETE", False): self._delete,
            ("DELETE", True): self._abort,
            ("GET", False): self._list if "list-type" in query else self._get,
            ("HEAD", False): self._get,
        }
        if method == "GET" and "uploads" in query:
            return self._list_uploads
        if method == "GET" and "uploadId" in query:
            return self._list_parts
        return operations[method, "uploadId" in query]

    # Objects.

    def _put(
        self, request: RecordedRequest, key: str, query: Mapping[str, str]
    ) -> ScriptedResponse:
        self._require_no_folder(key)
        if "x-amz-copy-source" in request.headers:
            if not self.dialect.copies_markers and self._source_key(request).endswith("/"):
                raise _Refused(400, "DirectoryObjectContainsData")
            if "if-match" in request.headers:
                self._object(key)
                self._checks.require_etag(request, "if-match", self._etag_of(key))
            self.objects[key] = self._copied(request, key)
            self._sums.pop(key, None)
            return _document("CopyObjectResult", **self._copied_etag(self._etag_of(key)))
        checksum = self._checks.checked(request, request.body)
        self._checks.require_absent(request, key in self.objects)
        self.objects[key] = request.body
        self._sums.pop(key, None)
        return ScriptedResponse(200, headers={"ETag": self._etag_of(key), **checksum})

    def _copied_etag(self, etag: str) -> Mapping[str, str]:
        """The ETag as the results of copies report it."""
        headers = {"quoted": {"ETag": etag}, "bare": {"ETag": etag.strip('"')}, "missing": {}}
        return headers[self.dialect.copied_etag]

    def _require_no_folder(self, key: str) -> None:
        if self.dialect.has_folders and any(each.startswith(key + "/") for each in self.objects):
            raise _Refused(500, "InternalError")

    def _get(
        self, request: RecordedRequest, key: str, query: Mapping[str, str]
    ) -> ScriptedResponse:
        data = self._object(key)
        etag = self._etag_of(key)
        headers = {"ETag": etag, "Last-Modified": LONG_AGO}
        if request.headers.get("if-match", etag) != etag:
            raise _Refused(412, "PreconditionFailed")
        if request.headers.get("x-amz-checksum-mode") and self.dialect.checksums == "checked":
            joined_sum = self._sums.get(key)
            headers[header_name(ChecksumAlgorithm.CRC64NVME)] = (
                encode_checksum(joined_sum) if joined_sum else checksum_text(data)
            )
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if not wanted:
            return ScriptedResponse(200, data, headers)
        start, stop = int(wanted[1]), min(int(wanted[2] or len(data)) + 1, len(data))
        if start >= len(data):
            raise _Refused(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        return ScriptedResponse(206, data[start:stop], headers)

    def _delete(
        self, request: RecordedRequest, key: str, query: Mapping[str, str]
    ) -> ScriptedResponse:
        if key in self.objects:
            self._checks.require_etag(request, "if-match", self._etag_of(key))
        self.objects.pop(key, None)
        return ScriptedResponse(204)

    def _list(
        self, request: RecordedRequest, key: str, query: Mapping[str, str]
    ) -> ScriptedResponse:
        """All keys on one page, even more than a thousand."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        inner, folders = "", set()
        for each in sorted(self.objects):
            if not each.startswith(prefix):
                continue
            head, found, _ = each[len(prefix) :].partition(delimiter or "\0")
            if found:
                folders.add(prefix + head + found)
            else:
                texts = {"Key": quote(each)}
                if self.dialect.sizes:
                    texts["Size"] = str(len(self.objects[each]))
                texts |= {"ETag": self._etag_of(each), "LastModified": LONG_AGO_IN_XML}
                inner += _element("Contents", _elements(texts))
        for folder in sorted(folders):
            inner += _element("CommonPrefixes", _elements({"Prefix": quote(folder)}))
        inner += _elements({"IsTruncated": "false", "EncodingType": "url"})
        return ScriptedResponse(200, _element("ListBucketResult", inner).encode())

    # Uploads.

    def _create(
        self, request: RecordedRequest, key: str, query: Mapping[str, str]
    ) -> ScriptedResponse:
        if "x-amz-checksum-algorithm" in request.headers and self.dialect.checksums == "refused":
            raise _Refused(501, "NotImplemented")
        self._require_no_folder(key)
        self._serial += 1
        has_sums = request.headers.get("x-amz-checksum-algorithm") == "CRC64NVME"
        is_checking = self.dialect.checksums == "checked"
        sums: dict[int, Checksum] | None = {} if has_sums and is_checking else None
        self.uploads[f"u{self._serial}"] = _SmallUpload(key, sums=sums)
        return _document("InitiateMultipartUploadResult", UploadId=f"u{self._serial}")

    def _upload_part(
        self, request: RecordedRequest, key: str, query: Mapping[str, str]
    ) -> ScriptedResponse:
        upload, number = self._upload(query, key), int(query["partNumber"])
        if "x-amz-copy-source" in request.headers:
            return self._copy_part(request, upload, number, key)
        checksum = self._checks.checked(request, request.body)
        upload.parts[number] = request.body
        if upload.sums is not None:
            upload.sums[number] = _checksum(request.body)
        return ScriptedResponse(200, headers={"ETag": _etag(request.body), **checksum})

    def _copy_part(
        self, request: RecordedRequest, upload: _SmallUpload, number: int, key: str
    ) -> ScriptedResponse:
        manner = self.dialect.copies_with_checksums
        if upload.sums is not None and manner == "refused":
            message = 'checksum missing, want "CRC64NVME", got ""'
            raise _Refused(400, "InvalidArgument", message)  # MinIO's message
        part = upload.parts[number] = self._copied(request, key)
        texts = dict(self._copied_etag(_etag(part)))
        if upload.sums is not None:
            whole = self.objects[self._source_key(request)]
            upload.sums[number] = _checksum(whole if manner == "whole" else part)
            if manner != "untold":
                texts["ChecksumCRC64NVME"] = encode_checksum(upload.sums[number])
        return _document(self.dialect.copied_part, **texts)

    def _complete(
        self, request: RecordedRequest, key: str, query: Mapping[str, str]
    ) -> ScriptedResponse:
        upload = self._upload(query, key)
        named = re.findall(rb"<PartNumber>(\d+)</PartNumber><ETag>(.*?)</ETag>", request.body)
        bodies = [upload.parts.get(int(number), b"") for number, _ in named]
        if [_etag(body).strip('"').encode() for body in bodies] != [
            etag.replace(b"&quot;", b"").strip(b'"') for _, etag in named
        ]:
            raise _Refused(400, "InvalidPart")
        self._checks.require_part_sizes([len(body) for body in bodies])
        whole = b"".join(bodies)
        self._checks.require_size(request, len(whole))
        joined_sum = upload.joined_sum([int(number) for number, _ in named])
        self._checks.checked(request, whole, joined_sum)
        self._checks.require_absent(request, key in self.objects)
        self.objects[key] = whole
        self._etags[key] = whole, _etag_of_parts(bodies)
        self._sums.pop(key, None)
        if joined_sum is not None:
            self._sums[key] = joined_sum
        del self.uploads[query["uploadId"]]
        etag = {"ETag": self._etag_of(key)} if self.dialect.complete_etag == "told" else {}
        return _document("CompleteMultipartUploadResult", **etag)

    def _abort(
        self, request: RecordedRequest, key: str, query: Mapping[str, str]
    ) -> ScriptedResponse:
        self._upload(query, key)
        if self.dialect.aborts:
            del self.uploads[query["uploadId"]]
        return ScriptedResponse(204)

    def _list_parts(
        self, request: RecordedRequest, key: str, query: Mapping[str, str]
    ) -> ScriptedResponse:
        self._upload(query, key)
        return _document("ListPartsResult", UploadId=query["uploadId"])

    def _list_uploads(
        self, request: RecordedRequest, key: str, query: Mapping[str, str]
    ) -> ScriptedResponse:
        """All uploads on one page."""
        is_wanted = query.get("encoding-type") == "url" and self.dialect.upload_keys != "plain"
        inner = ""
        for upload_id, upload in sorted(self.uploads.items(), key=lambda item: item[1].key):
            if upload.key.startswith(query.get("prefix", "")):
                shown = quote(upload.key, safe="/") if is_wanted else upload.key
                texts = {"Key": shown, "UploadId": upload_id}
                if self.dialect.initiated:
                    texts["Initiated"] = LONG_AGO_IN_XML.replace("1970", "2001")
                inner += _element("Upload", _elements(texts))
        if is_wanted and self.dialect.upload_keys == "told":
            inner += _elements({"EncodingType": "url"})
        return ScriptedResponse(200, _element("ListMultipartUploadsResult", inner).encode())

    def _source_key(self, request: RecordedRequest) -> str:
        return unquote(request.headers["x-amz-copy-source"]).split("/", 1)[1]

    def _copied(self, request: RecordedRequest, key: str) -> bytes:
        """The bytes of a copy's source."""
        source = self._source_key(request)
        data = self._object(source)
        self._checks.require_absent(request, key in self.objects)
        self._checks.require_etag(request, "x-amz-copy-source-if-match", self._etag_of(source))
        wanted = re.fullmatch(
            r"bytes=(\d+)-(\d+)", request.headers.get("x-amz-copy-source-range", "")
        )
        if not wanted:
            return data
        if not self.dialect.ranges_of_small and len(data) <= self._checks.min_part_bytes:
            raise _Refused(400, "InvalidRequest")
        return data[int(wanted[1]) : int(wanted[2]) + 1]

    def _object(self, key: str) -> bytes:
        if key not in self.objects:
            raise _Refused(404, "NoSuchKey")
        return self.objects[key]

    def _etag_of(self, key: str) -> str:
        """The ETag of an object, however it was put there."""
        data, etag = self._etags.get(key, (b"", ""))
        if not etag or data is not self.objects[key]:
            etag = _etag(self.objects[key])
            self._etags[key] = self.objects[key], etag
        return etag

    def _upload(self, query: Mapping[str, str], key: str) -> _SmallUpload:
        found = self.uploads.get(query["uploadId"])
        if found is None or found.key != key:
            raise _Refused(404, "NoSuchUpload")
        return found


def checksum_text(data: bytes) -> str:
    """The CRC64NVME of `data` as in a header."""
    return encode_checksum(_checksum(data))


def _checksum(data: bytes) -> Checksum:
    running = RunningChecksum(ChecksumAlgorithm.CRC64NVME)
    running.update(data)
    return running.checksum


def _etag(data: bytes) -> str:
    return f'"{_md5(data).hex()}"'


def _etag_of_parts(bodies: list[bytes]) -> str:
    return f'"{_md5(b"".join(map(_md5, bodies))).hex()}-{len(bodies)}"'


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _document(kind: str, **texts: str) -> ScriptedResponse:
    return ScriptedResponse(200, _element(kind, _elements(texts)).encode())


def _elements(texts: Mapping[str, str]) -> str:
    return "".join(_element(name, escape(text)) for name, text in texts.items())


def _element(name: str, inner: str) -> str:
    return f"<{name}>{inner}</{name}>"
