"""Capabilities of a store that tests assume and the gateway does not need, each with a name.

A test that needs one says so, and is skipped with its name where the store lacks it. Amazon's own
client finds out what a store lacks, so that a fault of the gateway never looks like one of the
store. ``SFTPGW_TEST_S3_LACKS`` names what is expected to be lacking, also of what the gateway finds
out by itself (`sftpgw.model.store.Capabilities`, by the names of ``[s3] unsupported``). If it is
set, a test fails where another capability is lacking.
"""

from __future__ import annotations

import os
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

VARIABLE = "SFTPGW_TEST_S3_LACKS"
SKIPPED = "the store lacks "


@dataclass
class Trial:
    """The part of a bucket in which one capability is tried."""

    client: Any
    bucket: str
    prefix: str
    uploads: list[dict[str, str]] = field(default_factory=list)

    def where(self, key: str) -> dict[str, str]:
        """The arguments that name an object."""
        return {"Bucket": self.bucket, "Key": self.prefix + key}

    def put(self, key: str, body: bytes = b"data", **properties: Any) -> None:
        self.client.put_object(**self.where(key), Body=body, **properties)

    def body(self, key: str) -> bytes:
        with self.client.get_object(**self.where(key))["Body"] as body:
            return bytes(body.read())

    def keys(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix)
        return [each["Key"].removeprefix(self.prefix) for each in found.get("Contents", [])]

    def begun(
        self, key: str, part: bytes = b"data", **properties: Any
    ) -> tuple[dict[str, str], str]:
        """An upload with one part, and the part's ETag."""
        where = self.where(key)
        begun = self.client.create_multipart_upload(**where, **properties)
        upload = where | {"UploadId": begun["UploadId"]}
        self.uploads.append(upload)
        told = self.client.upload_part(**upload, PartNumber=1, Body=part)
        return upload, told["ETag"]

    def complete(self, upload: dict[str, str], etags: Iterable[str]) -> None:
        parts = [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]
        self.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})

    def clear(self) -> None:
        for upload in self.uploads:
            with suppress(ClientError, ResponseParserError):
                self.client.abort_multipart_upload(**upload)
        with suppress(ClientError):
            for key in sorted(self.keys(), reverse=True):
                self.client.delete_object(**self.where(key))


def _stored_under(*keys: str) -> Callable[[Trial], bool]:
    """Whether these keys can exist at the same time, each with bytes of its own."""

    def tried(trial: Trial) -> bool:
        for key in keys:
            trial.put(key, key.encode())
        return trial.keys() == sorted(keys) and all(trial.body(key) == key.encode() for key in keys)

    return tried


def _folders_with_bytes(trial: Trial) -> bool:
    """They exist, and can be copied."""
    trial.put("folder/", b"bytes")
    copied = trial.where("copy") | {"CopySource": trial.where("folder/")}
    trial.client.copy_object(**copied)
    bodies = [trial.body(key) for key in ("folder/", "copy")]
    return bodies == [b"bytes", b"bytes"] and trial.keys() == ["copy", "folder/"]


def _files_over_folders(trial: Trial) -> bool:
    """Files beside folders of the same name: with files in the folder, and with a marker alone."""
    keys = ["made", "made/", "name", "name/file"]
    for key in keys:
        trial.put(key, b"" if key.endswith("/") else key.encode())
    return trial.keys() == keys and trial.body("name") == b"name"


def _folders_with_metadata(trial: Trial) -> bool:
    trial.put("folder/", b"", Metadata={"note": "kept"})
    told = trial.client.head_object(**trial.where("folder/"))
    return bool(told["Metadata"] == {"note": "kept"})


def _refuses_missing_buckets(trial: Trial) -> bool:
    """Some stores make a missing bucket when an object is stored in it."""
    where = {"Bucket": f"no-such-bucket-{uuid.uuid4().hex[:12]}", "Key": "file"}
    code = _code(lambda: trial.client.put_object(**where, Body=b""))
    if not code:
        trial.client.delete_object(**where)
        trial.client.delete_bucket(Bucket=where["Bucket"])
    return code == "NoSuchBucket"


def _infrequent_access(trial: Trial) -> bool:
    """The class of an object that is stored, and of one that is copied."""
    trial.put("file", StorageClass="STANDARD_IA")
    copied = trial.where("copy") | {"CopySource": trial.where("file")}
    trial.client.copy_object(**copied, StorageClass="STANDARD_IA")
    return all(_class_of(trial, key) == "STANDARD_IA" for key in ("file", "copy"))


def _archives(trial: Trial) -> bool:
    """Archived objects cannot be read before they are restored."""
    trial.put("file", StorageClass="GLACIER")
    is_kept = _class_of(trial, "file") == "GLACIER"
    return is_kept and _code(lambda: trial.body("file")) == "InvalidObjectState"


def _class_of(trial: Trial, key: str) -> str:
    told = trial.client.head_object(**trial.where(key))
    return str(told.get("StorageClass", "STANDARD"))


def _binary_order(trial: Trial) -> bool:
    """The order of UTF-8. That of UTF-16 differs beyond the first 65,536 characters."""
    keys = ["a-", "a0", "b", "\ufb00", "\U0001d11e"]
    for key in reversed(keys):
        trial.put(key)
    return trial.keys() == keys


def _tags(trial: Trial) -> bool:
    trial.put("file", Tagging="a=b")
    found = trial.client.get_object_tagging(**trial.where("file")).get("TagSet")
    return bool(found == [{"Key": "a", "Value": "b"}])


def _tags_of_uploads(trial: Trial) -> bool:
    """Tags of a multipart upload: they are sent when it is created."""
    upload, etag = trial.begun("file", Tagging="a=b")
    trial.complete(upload, (etag,))
    return bool(trial.client.get_object_tagging(**trial.where("file")).get("TagSet"))


def _tags_of_copies(trial: Trial) -> bool:
    """The tags stay when an object is copied onto itself to change its metadata."""
    trial.put("file", Tagging="a=b")
    where = trial.where("file")
    trial.client.copy_object(
        **where, CopySource=where, MetadataDirective="REPLACE", Metadata={"note": "new"}
    )
    return bool(trial.client.get_object_tagging(**where).get("TagSet"))


def _system_headers(trial: Trial) -> bool:
    trial.put("file", CacheControl="no-store", ContentLanguage="en")
    told = trial.client.head_object(**trial.where("file"))
    return (told.get("CacheControl"), told.get("ContentLanguage")) == ("no-store", "en")


def _listed_uploads(trial: Trial) -> list[dict[str, Any]]:
    trial.begun("folder/file")
    found = trial.client.list_multipart_uploads(Bucket=trial.bucket, Prefix=trial.prefix)
    return list(found.get("Uploads", []))


def _uploads_by_prefix(trial: Trial) -> bool:
    return [each["Key"] for each in _listed_uploads(trial)] == [trial.prefix + "folder/file"]


def _refuses_small_parts(trial: Trial) -> bool:
    upload, first = trial.begun("file", b"small")
    second = trial.client.upload_part(**upload, PartNumber=2, Body=b"small")["ETag"]
    return _code(lambda: trial.complete(upload, (first, second))) == "EntityTooSmall"


def _refuses_unknown_parts(trial: Trial) -> bool:
    upload, _ = trial.begun("file")
    return _code(lambda: trial.complete(upload, ('"' + 32 * "0" + '"',))) == "InvalidPart"


def _bounds_part_numbers(trial: Trial) -> bool:
    """Both bounds; the client checks neither."""
    upload, _ = trial.begun("file")
    return all(
        _code(lambda n=n: trial.client.upload_part(**upload, PartNumber=n, Body=b"x"))
        for n in (0, 10_001)
    )


def _tells_aborted_uploads(trial: Trial) -> bool:
    upload, etag = trial.begun("file")
    trial.client.abort_multipart_upload(**upload)
    again = _code(lambda: trial.client.upload_part(**upload, PartNumber=1, Body=b"x"))
    completed = _code(lambda: trial.complete(upload, (etag,)))
    return (again, completed) == ("NoSuchUpload", "NoSuchUpload")


def _aborts_twice(trial: Trial) -> bool:
    upload, _ = trial.begun("file")
    trial.client.abort_multipart_upload(**upload)
    return _code(lambda: trial.client.abort_multipart_upload(**upload)) in ("", "NoSuchUpload")


def _completes_once(trial: Trial) -> bool:
    upload, etag = trial.begun("file")
    trial.complete(upload, (etag,))
    trial.client.delete_object(**trial.where("file"))
    return _code(lambda: trial.complete(upload, (etag,))) == "NoSuchUpload"


def _code(request: Callable[[], object]) -> str:
    """The error code of a request, "" if it succeeds."""
    try:
        request()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    except ResponseParserError:
        return "unreadable"
    return ""


ASSUMED_CAPABILITIES: dict[str, Callable[[Trial], bool]] = {
    "empty-segments": _stored_under("/leading", "a//b"),
    "dot-segments": _stored_under("./dot", "up/../down"),
    "backslashes": _stored_under("back\\slash"),
    "folders-with-bytes": _folders_with_bytes,
    "folders-with-metadata": _folders_with_metadata,
    "files-over-folders": _files_over_folders,
    "missing-buckets-refused": _refuses_missing_buckets,
    "binary-order": _binary_order,
    "infrequent-access": _infrequent_access,
    "archives": _archives,
    "tags": _tags,
    "tags-of-copies": _tags_of_copies,
    "tags-of-uploads": _tags_of_uploads,
    "system-headers": _system_headers,
    "uploads-by-prefix": _uploads_by_prefix,
    "small-parts-refused": _refuses_small_parts,
    "unknown-parts-refused": _refuses_unknown_parts,
    "part-numbers-bounded": _bounds_part_numbers,
    "aborted-uploads-told": _tells_aborted_uploads,
    "aborting-twice": _aborts_twice,
    "completing-once": _completes_once,
}
"""What AWS does, by name, each with the function that tries it."""


def amazon_client(endpoint: str, access_key: str, secret_key: str, region: str) -> Any:
    """Amazon's own client, without the checksums that some stores do not know.

    It tries three times: some stores close a kept connection behind an error.
    """
    return botocore.session.get_session().create_client(
        "s3",
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"total_max_attempts": 3},
        ),
    )


def found_lacking(client: Any, bucket: str, prefix: str) -> frozenset[str]:
    """The `ASSUMED_CAPABILITIES` that a store lacks. Blocks; leaves nothing under `prefix`."""
    return frozenset(
        name
        for name, tried in ASSUMED_CAPABILITIES.items()
        if not _has(tried, Trial(client, bucket, f"{prefix}{name}/"))
    )


def _has(tried: Callable[[Trial], bool], trial: Trial) -> bool:
    try:
        return tried(trial)
    except (ClientError, ResponseParserError):
        return False
    finally:
        trial.clear()


def expected_lacking() -> frozenset[str] | None:
    """The value of ``SFTPGW_TEST_S3_LACKS``, None if it is not set."""
    text = os.environ.get(VARIABLE)
    return None if text is None else frozenset(text.split())


def need(lacks: frozenset[str], *capabilities: str) -> None:
    """Skip the test if the store lacks one of these."""
    for capability in capabilities:
        if capability in lacks:
            pytest.skip(f"{SKIPPED}{capability}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many tests were skipped for each capability that the store lacks."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        found = re.search(rf"{SKIPPED}([a-z-]+)$", str(report.longrepr[2]))
        if found:
            counts[found[1]] += 1
    if counts:
        terminalreporter.section("skipped, since the store lacks", sep="=")
        for capability, count in sorted(counts.items()):
            terminalreporter.write_line(f"{count:4} {capability}")
