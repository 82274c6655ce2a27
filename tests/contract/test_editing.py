"""Edits end to end: a file in place through the real client, on the stores of the contract."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from sftpgw.errors import ObjectChanged
from sftpgw.files.memory.budget import Budget
from sftpgw.files.uploads.open_mode import OpenMode
from sftpgw.files.uploads.plan.boundaries import BaseObject
from sftpgw.files.uploads.plan.part_sizes import Ladder
from sftpgw.files.uploads.plan.staging_layout import StagingLayout
from sftpgw.files.uploads.plan.upload_plan import UploadPlan
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.filesystem import AttributeChanges
from sftpgw.model.store import ObjectProperties
from sftpgw.testing.session_contexts import session_context
from tests.stores import CollectingSink, StoreUnderTest

PROPERTIES = ObjectProperties(metadata={"owner": "ann", "mtime": "1"}, content_type="text/x-test")


def content(size_bytes: int) -> bytes:
    return (bytes(range(251)) * (size_bytes // 251 + 1))[:size_bytes]


async def opened(under_test: StoreUnderTest, base: bytes) -> Upload:
    """An open file that is edited in place, with `base` stored."""
    from twisted.internet import reactor  # noqa: PLC0415

    store, name, part_bytes = under_test.store, under_test.name("edited"), under_test.min_part_bytes
    await store.put(name, (base,), PROPERTIES)
    info = await store.head(name)
    can_copy = under_test.capabilities.part_copy and under_test.capabilities.unequal_parts
    base = BaseObject(info.size_bytes, can_copy, part_bytes, copy_limit_bytes=3 * part_bytes)
    layout = StagingLayout(Ladder(part_bytes, part_bytes), 10_000)
    context = session_context(store, budget=Budget(100 * part_bytes), clock=reactor)
    plan = UploadPlan(layout, base=base)
    return Upload(context, plan, name, mode=OpenMode(base=info))


async def write(upload: Upload, offset: int, data: bytes) -> None:
    later = upload.write(offset, data)
    if isinstance(later, Deferred):
        await later


async def stored(under_test: StoreUnderTest) -> CollectingSink:
    found = CollectingSink()
    await under_test.store.get(under_test.name("edited"), None, found)
    return found


@pytest.mark.parametrize("old_parts", [0.5, 1, 7.5])
@pytest_twisted.ensureDeferred
async def test_a_resumed_upload_copies_the_stored_bytes(
    under_test: StoreUnderTest, old_parts: float
) -> None:
    old = content(int(old_parts * under_test.min_part_bytes))
    new = content(2 * under_test.min_part_bytes + 9)
    upload = await opened(under_test, old)
    await write(upload, len(old), new)
    await upload.commit()
    found = await stored(under_test)
    assert found.data == old + new
    assert dict(found.info.metadata) == {"owner": "ann"}
    assert found.info.content_type == "text/x-test"


@pytest_twisted.ensureDeferred
async def test_edits_here_and_there_and_a_cut(under_test: StoreUnderTest) -> None:
    part_bytes = under_test.min_part_bytes
    model = bytearray(content(9 * part_bytes))
    upload = await opened(under_test, bytes(model))
    for offset in (6 * part_bytes + 1, 3, 2 * part_bytes):
        await write(upload, offset, b"edited")
        model[offset : offset + 6] = b"edited"
    await upload.set_attributes(AttributeChanges(size_bytes=8 * part_bytes - 5))
    await upload.commit()
    assert (await stored(under_test)).data == model[: 8 * part_bytes - 5]


@pytest_twisted.ensureDeferred
async def test_two_versions_are_not_mixed(under_test: StoreUnderTest) -> None:
    size_bytes = 4 * under_test.min_part_bytes
    upload = await opened(under_test, content(size_bytes))
    await write(upload, size_bytes, b"more")
    others = bytes(size_bytes)
    await under_test.store.put(under_test.name("edited"), (others,), PROPERTIES)
    with pytest.raises(ObjectChanged, match="another client"):
        await upload.commit()
    assert (await stored(under_test)).data == others
