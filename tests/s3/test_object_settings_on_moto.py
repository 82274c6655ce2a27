"""What a store has of a file: class, encryption, ACL and tags, whatever was done with it.

`test_object_settings` looks at the headers that are sent. Here moto is asked what has become of
them after each operation on a file.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from xml.etree import ElementTree

import pytest
import pytest_twisted
from twisted.internet import threads

from sftpgw.files.tree import Tree
from sftpgw.model.filesystem import AttributeChanges, WriteIntent
from sftpgw.model.mounts import Mount
from sftpgw.model.object_settings import Encryption, ObjectSettings
from sftpgw.model.settings import FilesSettings, OnDisconnect
from sftpgw.model.units import KIB
from sftpgw.model.users import User
from sftpgw.testing.sftp_sessions import GatewayInMemory
from tests.stores import MOTO_MIN_PART_BYTES, connect, create_bucket, moto_settings, new_bucket_name

SSE = "x-amz-server-side-encryption"
PART = MOTO_MIN_PART_BYTES
LARGE = bytes(range(256)) * (3 * PART // 256 + 4)
TAGS = (("by", "{username}"), ("of", "{session}"))
KMS_KEY = "arn:aws:kms:us-east-1:123456789012:key/mine"

SIGNED = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/s3/aws4_request"
"""Enough for moto, which checks no signature, but wants one."""

WAYS: dict[str, tuple[ObjectSettings, Mapping[str, str]]] = {
    "class": (ObjectSettings(storage_class="STANDARD_IA"), {"x-amz-storage-class": "STANDARD_IA"}),
    "SSE-S3": (ObjectSettings(sse=Encryption.S3), {SSE: "AES256"}),
    "KMS": (
        ObjectSettings(
            sse=Encryption.KMS,
            sse_kms_key=KMS_KEY,
            sse_bucket_key=True,
            sse_kms_context='{"a":"b"}',
        ),
        {
            SSE: "aws:kms",
            f"{SSE}-aws-kms-key-id": KMS_KEY,
            f"{SSE}-bucket-key-enabled": "true",
        },
    ),
    "ACL": (ObjectSettings(acl="public-read"), {}),
    "tags": (ObjectSettings(tags=TAGS), {}),
}
"""What is said of a mount, and the headers of a HEAD afterwards."""


@dataclass
class Stored:
    """What moto knows of an object."""

    headers: Mapping[str, str]
    tags: dict[str, str]
    is_public: bool
    data: bytes


def look(url: str) -> Stored:
    """Ask for an object. Blocks."""

    def got(query: str) -> tuple[Mapping[str, str], bytes]:
        request = urllib.request.Request(url + query, headers={"Authorization": SIGNED})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return {name.lower(): value for name, value in answer.headers.items()}, answer.read()

    headers, data = got("")
    tagging = ElementTree.fromstring(got("?tagging")[1])
    pairs = {
        next(each for each in tag if each.tag.endswith("Key")).text or "": next(
            each for each in tag if each.tag.endswith("Value")
        ).text
        or ""
        for tag in tagging.iter()
        if tag.tag.endswith("}Tag") or tag.tag == "Tag"
    }
    try:
        is_public = b"AllUsers" in got("?acl")[1]
    except HTTPError as error:
        if error.code != 500:  # so moto answers about an object without an ACL
            raise
        is_public = False
    return Stored(headers, pairs, is_public, data)


class Journey:
    """A session on moto, whose home has settings of its own.

    :param url: moto's.
    :param said: the settings.
    """

    def __init__(self, url: str, said: ObjectSettings) -> None:
        self.bucket = new_bucket_name()
        self.url = url
        settings = moto_settings(url, self.bucket, part_size_bytes=PART)
        self.store = connect(settings)
        self._gateway = GatewayInMemory(
            settings=settings, files=FilesSettings(on_disconnect=OnDisconnect.RESUME)
        )
        self._user = User("alice", (Mount(self.bucket, "home/", objects=said),))

    def tree(self) -> Tree:
        """The files in a session of its own."""
        return self._gateway.tree(self._user, self.store)

    async def looked(self, path: str) -> Stored:
        return await threads.deferToThread(look, f"{self.url}/{self.bucket}/home{path}")


async def sent(tree: Any, path: bytes, data: bytes, *, at: int = 0, truncate: bool = True) -> Any:
    """Open a file and write some of it."""
    writer = await tree.open_writer(path, WriteIntent(truncate=truncate), AttributeChanges())
    for offset in range(0, len(data), 32 * KIB):
        later = writer.write(at + offset, data[offset : offset + 32 * KIB])
        if later is not None:
            await later
    return writer


async def create(journey: Journey) -> tuple[str, bytes]:
    await (await sent(journey.tree(), b"/small", b"x")).commit()
    return "/small", b"x"


async def create_in_parts(journey: Journey) -> tuple[str, bytes]:
    await (await sent(journey.tree(), b"/large", LARGE)).commit()
    return "/large", LARGE


async def rename(journey: Journey) -> tuple[str, bytes]:
    await create(journey)
    await journey.tree().rename(b"/small", b"/other", replace=False)
    return "/other", b"x"


async def rename_directory(journey: Journey) -> tuple[str, bytes]:
    await (await sent(journey.tree(), b"/d/f", b"x")).commit()
    await journey.tree().rename(b"/d", b"/e", replace=False)
    return "/e/f", b"x"


async def set_time(journey: Journey) -> tuple[str, bytes]:
    await create(journey)
    await journey.tree().set_attributes(b"/small", AttributeChanges(modified_seconds=1.0))
    return "/small", b"x"


async def edit(journey: Journey) -> tuple[str, bytes]:
    await create_in_parts(journey)
    await (await sent(journey.tree(), b"/large", b"new", at=PART, truncate=False)).commit()
    return "/large", LARGE[:PART] + b"new" + LARGE[PART + 3 :]


async def replace_it(journey: Journey) -> tuple[str, bytes]:
    await create(journey)
    await (await sent(journey.tree(), b"/small", b"yy")).commit()
    return "/small", b"yy"


async def resume(journey: Journey) -> tuple[str, bytes]:
    writer = await sent(journey.tree(), b"/large", LARGE)
    await writer.abandon()
    there = (await journey.tree().stat(b"/large")).size_bytes
    assert 0 < there < len(LARGE)
    rest = await sent(journey.tree(), b"/large", LARGE[there:], at=there, truncate=False)
    await rest.commit()
    return "/large", LARGE


OPERATIONS = (
    create,
    create_in_parts,
    rename,
    rename_directory,
    set_time,
    edit,
    replace_it,
    resume,
)


IN_PARTS = (create_in_parts, edit, resume)
"""moto forgets there whether KMS is asked for one key; `test_object_settings` looks at that."""


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("way", WAYS)
@pytest_twisted.ensureDeferred
async def test_a_file_is_stored_as_its_mount_says(moto_url: str, way: str, operation: Any) -> None:
    said, headers = WAYS[way]
    journey = Journey(moto_url, said)
    await threads.deferToThread(create_bucket, moto_url, journey.bucket)
    path, data = await operation(journey)
    found = await journey.looked(path)
    assert found.data == data
    if operation in IN_PARTS:
        headers = {name: value for name, value in headers.items() if "bucket-key" not in name}
    assert {name: found.headers.get(name) for name in headers} == headers
    assert found.tags == ({"by": "alice", "of": "session"} if said.tags else {})
    assert found.is_public is bool(said.acl)
    if not said.sse:
        assert SSE not in found.headers
    await journey.store.close()
