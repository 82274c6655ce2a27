"""Uploads that are cut off and go on, on the stores themselves."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from sftpgw.errors import NoSuchFile, ObjectChanged
from sftpgw.files.tree import Tree
from sftpgw.files.uploads.suspended.expiry import SuspendedExpiry
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.filesystem import NO_CHANGES, AttributeChanges, WriteIntent
from sftpgw.model.settings import FilesSettings, OnDisconnect, StoreSettings
from sftpgw.model.units import KIB
from sftpgw.model.users import User
from sftpgw.testing.session_contexts import session_context
from tests.stores import CollectingSink, RecordedEvents, StoreUnderTest

ON = WriteIntent(truncate=False)
STEP = 32 * KIB


def node(under_test: StoreUnderTest) -> Tree:
    """Alice's files, seen by one more gateway."""
    from twisted.internet import reactor  # noqa: PLC0415

    context = session_context(
        under_test.store,
        clock=reactor,
        settings=StoreSettings(
            state_prefix=f"{under_test.prefix}.own/", part_size_bytes=under_test.min_part_bytes
        ),
        files=FilesSettings(on_disconnect=OnDisconnect.RESUME),
    )
    return Tree(User.with_home("alice", under_test.bucket, f"{under_test.prefix}alice/"), context)


async def write(upload: Upload, data: bytes, start: int = 0) -> None:
    for offset in range(start, len(data), STEP):
        later = upload.write(offset, data[offset : min(len(data), offset + STEP)])
        if isinstance(later, Deferred):
            await later


async def cut_off(under_test: StoreUnderTest, data: bytes) -> int:
    upload = await node(under_test).open_writer(
        b"/file", WriteIntent(), AttributeChanges(modified_seconds=7.0)
    )
    await write(upload, data)
    await upload.abandon()
    return (await node(under_test).stat(b"/file")).size_bytes


async def left(under_test: StoreUnderTest) -> tuple[list[str], int]:
    """The keys, and how many uploads of the file are open."""
    page = await under_test.store.list(under_test.bucket, under_test.prefix)
    # By the whole key: some stores list no others.
    uploads = await under_test.store.list_uploads(
        under_test.bucket, under_test.name("alice/file").key
    )
    keys = [info.name.key.removeprefix(under_test.prefix) for info in page.objects]
    return keys, len(uploads.uploads)


def content(under_test: StoreUnderTest) -> bytes:
    size_bytes = int(5.5 * under_test.min_part_bytes)
    return (bytes(range(251)) * (size_bytes // 251 + 1))[:size_bytes]


@pytest_twisted.ensureDeferred
async def test_another_process_resumes_a_suspended_upload(under_test: StoreUnderTest) -> None:
    data, part_bytes = content(under_test), under_test.min_part_bytes
    kept = await cut_off(under_test, data[: 3 * part_bytes + 10])
    assert kept == 3 * part_bytes
    keys, uploads = await left(under_test)
    assert uploads == 1
    assert len(keys) == 1
    assert keys[0].startswith(".own/partials/")
    upload = await node(under_test).open_writer(b"/file", ON, NO_CHANGES)
    await write(upload, data, kept)
    await upload.commit()
    found = CollectingSink()
    await under_test.store.get(under_test.name("alice/file"), None, found)
    assert found.data == data
    assert found.info.metadata["mtime"] == "7"
    assert await left(under_test) == (["alice/file"], 0)


@pytest_twisted.ensureDeferred
async def test_only_one_of_many_resumes_a_suspended_upload(under_test: StoreUnderTest) -> None:
    under_test.needs("conditional-put")
    data = content(under_test)
    kept = await cut_off(under_test, data[: 3 * under_test.min_part_bytes + 10])
    opening = [
        Deferred.fromCoroutine(node(under_test).open_writer(b"/file", ON, NO_CHANGES))
        for _ in range(5)
    ]
    opened = []
    for each in opening:
        try:
            opened.append(await each)
        except ObjectChanged:
            continue
    begun = [upload for upload in opened if (await upload.attributes()).size_bytes == kept]
    assert len(begun) == 1
    for upload in opened:
        if upload not in begun:  # it came so late that there was nothing to go on with
            await upload.abandon()
    await write(begun[0], data, kept)
    await begun[0].commit()
    assert await left(under_test) == (["alice/file"], 0)


@pytest_twisted.ensureDeferred
async def test_a_suspended_upload_can_be_removed_and_expires(under_test: StoreUnderTest) -> None:
    from twisted.internet import reactor  # noqa: PLC0415

    data = content(under_test)
    await cut_off(under_test, data)
    await node(under_test).remove_file(b"/file")
    assert await left(under_test) == ([], 0)
    await cut_off(under_test, data)
    expiring = SuspendedExpiry(
        under_test.store,
        lambda bucket: f"{under_test.prefix}.own/",
        -3600.0,
        reactor,  # type: ignore[arg-type]
        RecordedEvents(),
    )
    assert await expiring.expire(under_test.bucket) == frozenset()
    assert await left(under_test) == ([], 0)
    with pytest.raises(NoSuchFile):
        await node(under_test).stat(b"/file")
