"""Open files that are renamed, on the stores themselves."""

from __future__ import annotations

import pytest
import pytest_twisted

from sftpgw.errors import ObjectChanged
from sftpgw.model.filesystem import NO_CHANGES, WriteIntent
from sftpgw.model.store import ObjectProperties
from sftpgw.model.units import MIB
from tests.contract.test_renaming import content, keys_of, tree_on
from tests.stores import StoreUnderTest

FIRST = bytes(range(250)) * (9 * MIB // 250)
SECOND = b"the rest"


@pytest_twisted.ensureDeferred
async def test_an_upload_in_parts_is_stored_under_its_new_name(under_test: StoreUnderTest) -> None:
    tree = tree_on(under_test)
    upload = await tree.open_writer(b"/a b", WriteIntent(), NO_CHANGES)
    upload.write(0, FIRST)
    await upload.sync()
    await tree.rename(b"/a b", b"/c+d", replace=False)
    upload.write(len(FIRST), SECOND)
    await upload.commit()
    assert await keys_of(under_test) == ["alice/c+d"]
    assert await content(under_test, "alice/c+d") == FIRST + SECOND
    uploads = await under_test.store.list_uploads(under_test.bucket, under_test.prefix)
    assert not uploads.uploads


@pytest_twisted.ensureDeferred
async def test_an_object_of_others_under_the_first_name_is_not_replaced(
    under_test: StoreUnderTest,
) -> None:
    tree = tree_on(under_test)
    upload = await tree.open_writer(b"/a", WriteIntent(), NO_CHANGES)
    upload.write(0, FIRST)
    await tree.rename(b"/a", b"/b", replace=False)
    await under_test.store.put(under_test.name("alice/a"), (b"theirs",), ObjectProperties())
    with pytest.raises(ObjectChanged):
        await upload.commit()
    await upload.abandon()
    assert await keys_of(under_test) == ["alice/a"]
    assert await content(under_test, "alice/a") == b"theirs"
    uploads = await under_test.store.list_uploads(under_test.bucket, under_test.prefix)
    assert not uploads.uploads


@pytest.mark.parametrize("offset", [7, len(FIRST)])
@pytest_twisted.ensureDeferred
async def test_an_edit_follows_its_file(under_test: StoreUnderTest, offset: int) -> None:
    if not under_test.capabilities.part_copy:
        pytest.skip("this store cannot copy parts")
    tree = tree_on(under_test)
    writer = await tree.open_writer(b"/a", WriteIntent(), NO_CHANGES)
    writer.write(0, FIRST)
    await writer.commit()
    edit = await tree.open_writer(b"/a", WriteIntent(truncate=False, read=True), NO_CHANGES)
    edit.write(offset, SECOND)
    await tree.rename(b"/a", b"/b", replace=False)
    edit.write(offset + len(SECOND), SECOND)
    await edit.commit()
    expected = bytearray(FIRST)
    expected[offset : offset + 2 * len(SECOND)] = 2 * SECOND
    assert await keys_of(under_test) == ["alice/b"]
    assert await content(under_test, "alice/b") == bytes(expected)
