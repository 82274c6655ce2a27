"""A small S3 in memory for `scripted_s3`: what an honest store answers between faults.

Knows: the requests that uploads and downloads are made of, and how vendors differ.
Must not know: sockets, or how a store misbehaves (`scripted_s3`).

    store = SmallS3(Dialect(conditions="ignored"))
    server.answer_with(store.answer)
    server.disturb(lambda r: r.method == "PUT", error_reply(503, "SlowDown"))
    store.objects["key"]                                     # what was published
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from sftpgw.s3.checksums import RunningChecksum, header_name
from sftpgw.testing.scripted_s3 import Recorded, Reply, error_reply
from sftpgw.values import KIB, ChecksumAlgorithm
from sftpgw.wire.s3xml import encode_checksum

LONG_AGO = "Thu, 01 Jan 1970 00:00:00 GMT"
LONG_AGO_IN_XML = "1970-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class Dialect:
    """How a store differs from AWS.

    :param conditions: ``honoured``; ``ignored``, as some Ceph; ``refused``, as B2.
    :param checksums: ``checked``; ``ignored``, as by older stores; ``refused``.
    :param object_size: ``checked``; ``ignored``; ``refused``, whatever it is.
    :param needs_equal_parts: as R2 does.
    """

    conditions: str = "honoured"
    checksums: str = "checked"
    object_size: str = "checked"
    needs_equal_parts: bool = False


@dataclass
class _Upload:
    key: str
    parts: dict[int, bytes] = field(default_factory=dict)


class _Refused(Exception):
    """:param reply: instead of the usual answer."""

    def __init__(self, status: int, code: str, message: str = "scripted") -> None:
        super().__init__(code)
        self.reply = error_reply(status, code, message=message)


class SmallS3:
    """One bucket, with path addressing."""

    def __init__(self, dialect: Dialect | None = None, *, min_part_bytes: int = 64 * KIB) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, _Upload] = {}
        self.dialect = dialect or Dialect()
        self._min_part_bytes = min_part_bytes
        self._serial = 0
        self._etags: dict[str, tuple[bytes, str]] = {}  # and the content that each is of

    def answer(self, request: Recorded) -> Reply:
        """What an honest store says."""
        url = urlsplit(request.target)
        key = unquote(url.path).split("/", 2)[2] if url.path.count("/") > 1 else ""
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        try:
            return self._operation(request.method, query)(request, key, query)
        except _Refused as refused:
            return refused.reply

    def _operation(
        self, method: str, query: Mapping[str, str]
    ) -> Callable[[Recorded, str, Mapping[str, str]], Reply]:
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
        return operations[method, "uploadId" in query]

    # Objects.

    def _put(self, request: Recorded, key: str, query: Mapping[str, str]) -> Reply:
        if "x-amz-copy-source" in request.headers:
            if "if-match" in request.headers:
                self._object(key)
                self._demand_etag(request, "if-match", self._etag_of(key))
            self.objects[key] = self._copied(request, key)
            return _document("CopyObjectResult", ETag=self._etag_of(key))
        told = self._checked(request, request.body)
        self._demand(request, key)
        self.objects[key] = request.body
        return Reply(200, headers={"ETag": self._etag_of(key), **told})

    def _get(self, request: Recorded, key: str, query: Mapping[str, str]) -> Reply:
        data = self._object(key)
        etag = self._etag_of(key)
        headers = {"ETag": etag, "Last-Modified": LONG_AGO}
        if request.headers.get("if-match", etag) != etag:
            raise _Refused(412, "PreconditionFailed")
        if request.headers.get("x-amz-checksum-mode") and self.dialect.checksums == "checked":
            headers[header_name(ChecksumAlgorithm.CRC64NVME)] = checksum_text(data)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if not wanted:
            return Reply(200, data, headers)
        start, stop = int(wanted[1]), min(int(wanted[2] or len(data)) + 1, len(data))
        if start >= len(data):
            raise _Refused(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        return Reply(206, data[start:stop], headers)

    def _delete(self, request: Recorded, key: str, query: Mapping[str, str]) -> Reply:
        if key in self.objects:
            self._demand_etag(request, "if-match", self._etag_of(key))
        self.objects.pop(key, None)
        return Reply(204)

    def _list(self, request: Recorded, key: str, query: Mapping[str, str]) -> Reply:
        """One page of all there is, be it more than a thousand."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        inner, folders = "", set()
        for each in sorted(self.objects):
            if not each.startswith(prefix) or each <= query.get("start-after", ""):
                continue
            head, found, _ = each[len(prefix) :].partition(delimiter or "\0")
            if found:
                folders.add(prefix + head + found)
            else:
                texts = {"Key": quote(each), "Size": str(len(self.objects[each]))}
                texts |= {"ETag": self._etag_of(each), "LastModified": LONG_AGO_IN_XML}
                inner += _element("Contents", _elements(texts))
        for folder in sorted(folders):
            inner += _element("CommonPrefixes", _elements({"Prefix": quote(folder)}))
        inner += _elements({"IsTruncated": "false", "EncodingType": "url"})
        return Reply(200, _element("ListBucketResult", inner).encode())

    # Uploads.

    def _create(self, request: Recorded, key: str, query: Mapping[str, str]) -> Reply:
        if "x-amz-checksum-algorithm" in request.headers and self.dialect.checksums == "refused":
            raise _Refused(501, "NotImplemented")
        self._serial += 1
        self.uploads[f"u{self._serial}"] = _Upload(key)
        return _document("InitiateMultipartUploadResult", UploadId=f"u{self._serial}")

    def _upload_part(self, request: Recorded, key: str, query: Mapping[str, str]) -> Reply:
        upload, number = self._upload(query), int(query["partNumber"])
        if "x-amz-copy-source" in request.headers:
            upload.parts[number] = self._copied(request, key)
            return _document("CopyPartResult", ETag=_etag(upload.parts[number]))
        told = self._checked(request, request.body)
        upload.parts[number] = request.body
        return Reply(200, headers={"ETag": _etag(request.body), **told})

    def _complete(self, request: Recorded, key: str, query: Mapping[str, str]) -> Reply:
        upload = self._upload(query)
        named = re.findall(rb"<PartNumber>(\d+)</PartNumber><ETag>(.*?)</ETag>", request.body)
        bodies = [upload.parts.get(int(number), b"") for number, _ in named]
        if [_etag(body).strip('"').encode() for body in bodies] != [
            etag.replace(b"&quot;", b"").strip(b'"') for _, etag in named
        ]:
            raise _Refused(400, "InvalidPart")
        self._demand_sizes([len(body) for body in bodies])
        whole = b"".join(bodies)
        self._demand_size(request, len(whole))
        self._checked(request, whole)
        self._demand(request, key)
        self.objects[key] = whole
        self._etags[key] = whole, _etag_of_parts(bodies)
        del self.uploads[query["uploadId"]]
        return _document("CompleteMultipartUploadResult", ETag=self._etag_of(key))

    def _abort(self, request: Recorded, key: str, query: Mapping[str, str]) -> Reply:
        self._upload(query)
        del self.uploads[query["uploadId"]]
        return Reply(204)

    def _copied(self, request: Recorded, key: str) -> bytes:
        """The bytes of a copy's source."""
        source = unquote(request.headers["x-amz-copy-source"]).split("/", 1)[1]
        data = self._object(source)
        self._demand(request, key)
        self._demand_etag(request, "x-amz-copy-source-if-match", self._etag_of(source))
        wanted = re.fullmatch(
            r"bytes=(\d+)-(\d+)", request.headers.get("x-amz-copy-source-range", "")
        )
        return data[int(wanted[1]) : int(wanted[2]) + 1] if wanted else data

    # What is demanded.

    def _demand_size(self, request: Recorded, size_bytes: int) -> None:
        told = request.headers.get("x-amz-mp-object-size")
        if told is None or self.dialect.object_size == "ignored":
            return
        if self.dialect.object_size == "refused":
            raise _Refused(501, "NotImplemented")
        if told != str(size_bytes):
            raise _Refused(400, "InvalidRequest")

    def _object(self, key: str) -> bytes:
        if key not in self.objects:
            raise _Refused(404, "NoSuchKey")
        return self.objects[key]

    def _etag_of(self, key: str) -> str:
        """The ETag of an object, whoever has put it there."""
        data, etag = self._etags.get(key, (b"", ""))
        if not etag or data is not self.objects[key]:
            etag = _etag(self.objects[key])
            self._etags[key] = self.objects[key], etag
        return etag

    def _upload(self, query: Mapping[str, str]) -> _Upload:
        if query["uploadId"] not in self.uploads:
            raise _Refused(404, "NoSuchUpload")
        return self.uploads[query["uploadId"]]

    def _demand(self, request: Recorded, key: str) -> None:
        """If-None-Match, as the dialect has it."""
        if "if-none-match" not in request.headers:
            return
        if self.dialect.conditions == "refused":
            raise _Refused(501, "NotImplemented")
        if self.dialect.conditions == "honoured" and key in self.objects:
            raise _Refused(412, "PreconditionFailed")

    def _demand_etag(self, request: Recorded, name: str, etag: str) -> None:
        """A condition on what is there, as the dialect has it."""
        if name not in request.headers:
            return
        if self.dialect.conditions == "refused":
            raise _Refused(501, "NotImplemented")
        if self.dialect.conditions == "honoured" and request.headers[name] != etag:
            raise _Refused(412, "PreconditionFailed")

    def _demand_sizes(self, sizes_bytes: list[int]) -> None:
        if any(size_bytes < self._min_part_bytes for size_bytes in sizes_bytes[:-1]):
            raise _Refused(400, "EntityTooSmall")
        if self.dialect.needs_equal_parts and len(set(sizes_bytes[:-1])) > 1:
            message = "All non-trailing parts must have the same length."  # in R2's words
            raise _Refused(400, "InvalidPart", message)

    def _checked(self, request: Recorded, data: bytes) -> Mapping[str, str]:
        """The checksum to tell, once it was found to be that of `data`."""
        name = header_name(ChecksumAlgorithm.CRC64NVME)
        if name not in request.headers or self.dialect.checksums == "ignored":
            return {}
        if self.dialect.checksums == "refused":
            raise _Refused(501, "NotImplemented")
        if request.headers[name] != checksum_text(data):
            raise _Refused(400, "BadDigest")
        return {name: checksum_text(data)}


def checksum_text(data: bytes) -> str:
    """The CRC64NVME of `data` as in a header."""
    running = RunningChecksum(ChecksumAlgorithm.CRC64NVME)
    running.update(data)
    return encode_checksum(running.checksum)


def _etag(data: bytes) -> str:
    return f'"{_md5(data).hex()}"'


def _etag_of_parts(bodies: list[bytes]) -> str:
    return f'"{_md5(b"".join(map(_md5, bodies))).hex()}-{len(bodies)}"'


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _document(kind: str, **texts: str) -> Reply:
    return Reply(200, _element(kind, _elements(texts)).encode())


def _elements(texts: Mapping[str, str]) -> str:
    return "".join(_element(name, escape(text)) for name, text in texts.items())


def _element(name: str, inner: str) -> str:
    return f"<{name}>{inner}</{name}>"
