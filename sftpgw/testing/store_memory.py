"""What a store in memory holds: objects, folders and multipart uploads.

Knows: S3's order of keys, ETags, the rules of parts.
Must not know: requests, conditions, faults (`fake_store`).
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field

from sftpgw.errors import NoSuchObject, NoSuchUpload, StoreError
from sftpgw.model.limits import MAX_PARTS
from sftpgw.model.store import (
    ChecksumAlgorithm,
    MultipartUpload,
    ObjectInfo,
    ObjectName,
    ObjectProperties,
    StoredPart,
)


@dataclass(frozen=True)
class StoredObject:
    """An object in memory."""

    data: bytes
    etag: str
    modified_seconds: float
    properties: ObjectProperties

    def info(self, name: ObjectName, *, listed: bool = False) -> ObjectInfo:
        """The object as HEAD reports it, or as a list does."""
        return ObjectInfo(
            name,
            len(self.data),
            self.etag,
            self.modified_seconds,
            storage_class=self.properties.storage_class or "STANDARD",
            metadata={} if listed else dict(self.properties.metadata),
            content_type="" if listed else self.properties.content_type,
            system_headers={} if listed else dict(self.properties.system_headers),
            encryption={} if listed else dict(self.properties.encryption),
            tag_count=0 if listed else len(self.properties.tags),
        )


@dataclass
class StartedUpload:
    """A multipart upload that is open; `parts` maps number to (data, ETag)."""

    upload: MultipartUpload
    properties: ObjectProperties
    parts: dict[int, tuple[bytes, str]] = field(default_factory=dict)

    def add_part(self, number: int, data: bytes) -> str:
        """Store a part; returns its ETag."""
        if not 1 <= number <= MAX_PARTS:
            raise StoreError("part number", code="InvalidArgument", status=400)
        etag = etag_of(data)
        self.parts[number] = (data, etag)
        return etag

    def body_of(self, part: StoredPart) -> bytes:
        """:raises StoreError: there is no such part"""
        data, etag = self.parts.get(part.number, (b"", ""))
        if etag != part.etag:
            raise StoreError(f"part {part.number}", code="InvalidPart", status=400)
        return data


class StoreMemory:
    """The content of all buckets.

    :param keeps_folders: the folders of a key stay when the key is gone, as in SeaweedFS.
    """

    def __init__(self, *, keeps_folders: bool) -> None:
        self.objects: dict[ObjectName, StoredObject] = {}
        self.folders: set[ObjectName] = set()
        self.uploads: dict[str, StartedUpload] = {}
        self.now_seconds = 1_700_000_000.0
        self._keeps_folders = keeps_folders
        self._serial = 0

    # Objects.

    def find(self, name: ObjectName) -> StoredObject:
        """:raises NoSuchObject:"""
        if name not in self.objects:
            raise NoSuchObject(f"no object {name}", code="NoSuchKey", status=404)
        return self.objects[name]

    def store(self, name: ObjectName, data: bytes, properties: ObjectProperties, etag: str) -> str:
        """Store an object; returns its ETag. Each one is a second newer than the one before."""
        self.now_seconds += 1
        self.objects[name] = StoredObject(data, etag, self.now_seconds, properties)
        if self._keeps_folders:
            ends = [end for end, character in enumerate(name.key, 1) if character == "/"]
            self.folders.update(ObjectName(name.bucket, name.key[:end]) for end in ends)
        return etag

    def delete(self, name: ObjectName) -> None:
        """Delete an object and its folder, unless the folder has anything in it."""
        if not self._has_children(name):
            self.objects.pop(name, None)
            self.folders.discard(name)

    def _has_children(self, name: ObjectName) -> bool:
        return name in self.folders and any(
            each != name and each.bucket == name.bucket and each.key.startswith(name.key)
            for each in (*self.objects, *self.folders)
        )

    # Lists.

    def keys(self, bucket: str) -> list[str]:
        """All keys of a bucket, in S3's order."""
        names = (name.key for name in self.objects if name.bucket == bucket)
        return sorted(names, key=binary)

    def rows(self, bucket: str, prefix: str, delimiter: str) -> list[str]:
        """Keys and common prefixes under `prefix`, in S3's order, each once."""
        folders = [name.key for name in self.folders if name.bucket == bucket and delimiter]
        keys = [*self.keys(bucket), *(key for key in folders if _is_shown(key, prefix))]
        rows = dict.fromkeys(
            _group(key, prefix, delimiter) for key in keys if key.startswith(prefix)
        )
        return sorted(rows, key=binary)

    # Multipart uploads.

    def start_upload(
        self,
        name: ObjectName,
        properties: ObjectProperties,
        algorithm: ChecksumAlgorithm | None,
    ) -> MultipartUpload:
        self._serial += 1
        upload = MultipartUpload(name, f"upload-{self._serial}", algorithm, self.now_seconds)
        self.uploads[upload.upload_id] = StartedUpload(upload, properties)
        return upload

    def started(self, upload: MultipartUpload) -> StartedUpload:
        """:raises NoSuchUpload: there is none with this id for this key"""
        found = self.uploads.get(upload.upload_id)
        if found is None or found.upload.name != upload.name:
            raise NoSuchUpload(f"no upload {upload.upload_id}", code="NoSuchUpload", status=404)
        return found

    def forget(self, upload: MultipartUpload) -> None:
        """Abort an upload. One that is gone counts as aborted, as does the id of another key."""
        with suppress(NoSuchUpload):
            self.started(upload)
            del self.uploads[upload.upload_id]

    def uploads_under(self, bucket: str, prefix: str) -> list[MultipartUpload]:
        """The open uploads to keys under `prefix`, in S3's order."""
        found = (
            started.upload
            for started in self.uploads.values()
            if started.upload.name.bucket == bucket and started.upload.name.key.startswith(prefix)
        )
        return sorted(found, key=upload_order)


def etag_of(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def etag_of_upload(parts: tuple[StoredPart, ...]) -> str:
    digests = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
    return f'"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"'


def upload_order(upload: MultipartUpload) -> tuple[str, str]:
    return upload.name.key, upload.upload_id


def binary(key: str) -> bytes:
    """What S3 orders keys by."""
    return key.encode("utf-8", "surrogateescape")


def is_group(row: str, prefix: str, delimiter: str) -> bool:
    """Whether a row is a common prefix."""
    return bool(delimiter) and row.endswith(delimiter) and len(row) > len(prefix)


def _group(key: str, prefix: str, delimiter: str) -> str:
    if delimiter and (at := key.find(delimiter, len(prefix))) >= 0:
        return key[: at + len(delimiter)]
    return key


def _is_shown(folder: str, prefix: str) -> bool:
    """SeaweedFS hides an empty folder from the lists of its own name."""
    return folder.removesuffix("/") != prefix.removesuffix("/")
