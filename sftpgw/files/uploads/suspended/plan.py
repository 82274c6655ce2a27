"""The record of a suspended upload: what it says, and which parts can be resumed.

Knows: the record's key and text, and which parts of an upload are durable.
Must not know: requests, paths, when an upload is suspended.

Rules

1. An upload whose client is lost may stay in the store as it is, an open multipart upload. What
   makes it a *suspended upload*, which can be resumed, is its record: a small object under
   ``partials/`` of the state prefix. Without a record there is no resume.
2. The record is found by its user, directory and key, all hashed: one GET answers for a file, one
   LIST for a directory, and users do not find each other's records.
3. Durable are the parts from 1 on without a gap. At least one byte of the client's is left out: a
   suspended upload is never the whole file, so that there is always something to resume.
4. A session that resumes or drops a suspended upload *claims* it first, so that only one does: the
   claim is an object that can be created once. Then the record is read again and deleted, and the
   claim after it. So a claim that comes late finds no record.
5. A file that is published under the key makes the record stale: records are looked for only where
   no object is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from sftpgw.files.uploads.plan.boundaries import BaseObject
from sftpgw.model.limits import MAX_PARTS
from sftpgw.model.numbers import MAX_SIZE_BYTES, is_time
from sftpgw.model.records import loaded, require_storable
from sftpgw.model.store import Checksum, ChecksumAlgorithm, MultipartUpload, ObjectName, StoredPart

VERSION = 1
"""Of the record; other versions are not read."""


@dataclass(frozen=True, slots=True)
class SuspendedUpload:
    """An upload whose client is lost, with its durable parts.

    :param user: the user who sees it, and can resume it.
    :param upload: the multipart upload.
    :param parts: 1, 2 … without a gap.
    :param began_seconds: when its client opened the file; of two, the later one counts.
    :param created_with: the mtime in its metadata, None without one.
    """

    user: str
    upload: MultipartUpload
    parts: tuple[StoredPart, ...]
    began_seconds: float
    created_with: float | None = None

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)


@dataclass(frozen=True, slots=True)
class ResumedParts:
    """The parts of a suspended upload that is resumed, in order; none for a new upload."""

    parts: tuple[StoredPart, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.parts)

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)

    @property
    def base(self) -> BaseObject:
        """The base of the bytes that are written now."""
        stops = frozenset(accumulate(part.size_bytes for part in self.parts))
        return BaseObject(self.size_bytes, can_copy=False, part_stops=stops)

    def before(self, stop: int) -> tuple[StoredPart, ...]:
        """The parts that end at or before `stop`."""
        ends = accumulate(part.size_bytes for part in self.parts)
        return tuple(part for part, end in zip(self.parts, ends, strict=True) if end <= stop)


def durable(stored: Iterable[StoredPart], limit_bytes: int) -> tuple[StoredPart, ...]:
    """The parts from 1 on without a gap, as far as they have less than `limit_bytes` together."""
    found: list[StoredPart] = []
    size_bytes = 0
    for number, part in enumerate(sorted(stored, key=lambda part: part.number), 1):
        size_bytes += part.size_bytes
        if part.number != number or size_bytes >= limit_bytes:
            break
        found.append(part)
    return tuple(found)


# Keys.


def records_prefix(state_prefix: str) -> str:
    """The prefix of all records, in each bucket."""
    return f"{state_prefix}partials/"


def claims_prefix(state_prefix: str) -> str:
    """The prefix of claims, which exist for a moment."""
    return f"{state_prefix}partial-claims/"


def directory_prefix(state_prefix: str, user: str, key_prefix: str) -> str:
    """The prefix of the records of a directory's files, whose keys begin with `key_prefix`."""
    return f"{records_prefix(state_prefix)}{_hashed(user, key_prefix)}/"


def record_name(state_prefix: str, user: str, name: ObjectName) -> ObjectName:
    """The record of one file."""
    key_prefix = name.key[: name.key.rfind("/") + 1]
    folder = directory_prefix(state_prefix, user, key_prefix)
    return ObjectName(name.bucket, folder + _hashed(user, name.key))


def claim_name(state_prefix: str, upload: MultipartUpload) -> ObjectName:
    """The object that only one session can create."""
    claim = f"{claims_prefix(state_prefix)}{_hashed(upload.upload_id)}"
    return ObjectName(upload.name.bucket, claim)


def _hashed(*words: str) -> str:
    """One name for several words; a length before each separates them."""
    text = b"".join(b"%d:%b" % (len(word), word) for word in map(_binary, words))
    return hashlib.sha256(text).hexdigest()[:32]


def _binary(word: str) -> bytes:
    return word.encode("utf-8", "surrogateescape")


# Text.


def record_text(suspended: SuspendedUpload) -> bytes:
    """JSON, as people would want to read it."""
    upload = suspended.upload
    fields = {
        "version": VERSION,
        "user": suspended.user,
        "key": upload.name.key,
        "upload_id": upload.upload_id,
        "checksum": upload.checksum.value if upload.checksum else None,
        "began_seconds": suspended.began_seconds,
        "created_with": suspended.created_with,
        "parts": [[part.size_bytes, part.etag, _sum(part)] for part in suspended.parts],
    }
    return json.dumps(fields).encode()


def parse_record(text: bytes, bucket: str) -> SuspendedUpload:
    """The upload that a record in `bucket` describes.

    :raises ValueError: it is no record of a known version.
    """
    match loaded(text):
        case {
            "version": 1,
            "user": str(user),
            "key": str(key),
            "upload_id": str(upload_id),
            "checksum": checksum,
            "began_seconds": int() | float() as began_seconds,
            "created_with": int() | float() | None as created_with,
            "parts": [_, *_] as rows,
        } if len(rows) <= MAX_PARTS and is_time(began_seconds) and is_time(created_with or 0):
            algorithm = ChecksumAlgorithm(checksum) if checksum is not None else None
            upload = MultipartUpload(ObjectName(bucket, key), upload_id, algorithm)
            parts = tuple(_part(number, row) for number, row in enumerate(rows, 1))
            require_storable((user, key, upload_id, *(part.etag for part in parts)))
            return SuspendedUpload(user, upload, parts, began_seconds, created_with)
    raise ValueError(f"not a record of version {VERSION}")


def _sum(part: StoredPart) -> str | None:
    """A checksum in hexadecimal: many readers of JSON have numbers of 53 bits only."""
    known = part.checksum
    return f"{known.algorithm.value}:{known.value:x}" if known else None


def _part(number: int, row: Any) -> StoredPart:
    match row:
        case [int(size_bytes), str(etag), None] if 0 < size_bytes <= MAX_SIZE_BYTES:
            return StoredPart(number, size_bytes, etag)
        case [int(size_bytes), str(etag), str(text)] if 0 < size_bytes <= MAX_SIZE_BYTES:
            return StoredPart(number, size_bytes, etag, _checksum(text))
    raise ValueError("not a part")


def _checksum(text: str) -> Checksum:
    name, _, digits = text.partition(":")
    algorithm = ChecksumAlgorithm(name)
    bits = 64 if algorithm is ChecksumAlgorithm.CRC64NVME else 32
    value = int(digits, 16)
    if not 0 <= value < 1 << bits:
        raise ValueError("not a checksum")
    return Checksum(algorithm, value)
