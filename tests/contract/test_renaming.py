"""Copies of any size, and renames of directories, on the stores themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from sftpgw.errors import AlreadyExists, NoSuchObject, PreconditionFailed
from sftpgw.files.copies.copier import Copier
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.files.tree import Tree
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import ObjectInfo, ObjectProperties, WriteCondition
from sftpgw.model.users import User
from sftpgw.testing.session_contexts import session_context
from tests.stores import CollectingSink, RecordedEvents, StoreUnderTest

PLAIN = ObjectProperties(metadata={"mtime": "5.5", "colour": "blue"}, content_type="text/x-test")
PROPERTIES = {
    "": PLAIN,
    "infrequent-access": replace(PLAIN, storage_class="STANDARD_IA"),
    "system-headers": replace(
        PLAIN, system_headers={"cache-control": "no-store", "content-language": "en"}
    ),
    "tags": replace(PLAIN, tags={"project": "x y", "k": "v=w+u"}),
}
"""Properties of objects, by the capability that they need."""


def tree_on(under_test: StoreUnderTest) -> Tree:
    """The files under the test's prefix, with the gateway's records under it, too."""
    clock = Clock()
    clock.advance(2_000_000_000)
    settings = StoreSettings(state_prefix=f"{under_test.prefix}.own/")
    context = session_context(under_test.store, clock=clock, settings=settings)
    return Tree(User.with_home("alice", under_test.bucket, f"{under_test.prefix}alice/"), context)


async def content(under_test: StoreUnderTest, key: str) -> bytes:
    sink = CollectingSink()
    await under_test.store.get(under_test.name(key), None, sink)
    return sink.data


async def keys_of(under_test: StoreUnderTest) -> list[str]:
    page = await under_test.store.list(under_test.bucket, under_test.prefix)
    return [info.name.key.removeprefix(under_test.prefix) for info in page.objects]


def kept(info: ObjectInfo) -> tuple[object, ...]:
    """The properties that a copy must not lose."""
    return (
        dict(info.metadata),
        info.content_type,
        info.storage_class,
        dict(info.system_headers),
        dict(info.encryption),
        info.tag_count,
    )


@pytest.mark.parametrize("capability", PROPERTIES)
@pytest.mark.parametrize("in_parts", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_copy_has_all_that_the_original_has(
    under_test: StoreUnderTest, in_parts: bool, capability: str
) -> None:
    under_test.needs(capability, *(["part-copy"] if in_parts else []))
    if in_parts and capability == "tags":
        under_test.needs("tags-of-uploads")
    part_bytes = under_test.min_part_bytes
    data = bytes(range(251)) * (5 * part_bytes // 251)
    name, target = under_test.name("source é"), under_test.name("target +")
    await under_test.store.put(name, (data,), PROPERTIES[capability])
    source = await under_test.store.head(name, with_checksum=True)
    copier = Copier(
        under_test.store,
        TransferRegistry(),
        RecordedEvents(),
        limit_bytes=part_bytes if in_parts else 9 * part_bytes,
        part_bytes=2 * part_bytes,
    )
    await copier.copy(source, target, WriteCondition.IF_ABSENT)
    copied = await under_test.store.head(target, with_checksum=True)
    assert kept(copied) == kept(source)
    if "tags" not in under_test.lacks:
        assert dict(await under_test.store.tags(target)) == dict(PROPERTIES[capability].tags or {})
    # A store whose sums are wrong for what is assembled of copies is asked for none.
    has_none = copied.checksum is None and in_parts and "copied-checksums" in under_test.lacks
    assert has_none or copied.checksum == source.checksum
    assert await content(under_test, "target +") == data
    assert not (await under_test.store.list_uploads(under_test.bucket, target.key)).uploads
    able = under_test.capabilities
    if able.conditional_complete if in_parts else able.conditional_copy:
        with pytest.raises(PreconditionFailed):
            await copier.copy(source, target, WriteCondition.IF_ABSENT)
    with pytest.raises(NoSuchObject):
        await copier.copy(replace(source, name=under_test.name("none")), target)


@pytest_twisted.ensureDeferred
async def test_head_tells_the_checksum_on_request(under_test: StoreUnderTest) -> None:
    name = under_test.name("file")
    await under_test.store.put(name, (b"data",), ObjectProperties())
    assert (await under_test.store.head(name)).checksum is None
    told = (await under_test.store.head(name, with_checksum=True)).checksum
    if under_test.capabilities.checksums:
        assert told is not None


@pytest_twisted.ensureDeferred
async def test_a_directory_is_renamed(under_test: StoreUnderTest) -> None:
    tree = tree_on(under_test)
    files = {f"alice/d/{key}": key.encode() for key in ("a b", "é+", "e/x", "e/f/y")}
    for key, data in files.items():
        await under_test.store.put(under_test.name(key), (data,), ObjectProperties())
    await tree.make_directory(b"/d/empty")
    await tree.rename(b"/d", b"/n m", replace=False)
    moved = {key.replace("alice/d/", "alice/n m/"): data for key, data in files.items()}
    assert set(await keys_of(under_test)) == {*moved, "alice/n m/empty/"}
    for key, data in moved.items():
        assert await content(under_test, key) == data
    await tree.make_directory(b"/d")
    with pytest.raises(AlreadyExists):
        await tree.rename(b"/n m", b"/d", replace=False)
    await tree.rename(b"/n m", b"/d", replace=True)
    assert set(await keys_of(under_test)) == {*files, "alice/d/", "alice/d/empty/"}
