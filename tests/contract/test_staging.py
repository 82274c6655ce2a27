"""Staging uploads end to end: through the real client, on the stores of the contract."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from sftpgw.files.memory.budget import Budget
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.files.uploads.plan.part_sizes import Ladder
from sftpgw.files.uploads.plan.staging_layout import StagingLayout, choose_layout
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import NO_METADATA
from sftpgw.model.units import KIB
from sftpgw.testing.session_contexts import session_context
from tests.files.uploads.upload_plans import make_plan
from tests.stores import CollectingSink, StoreUnderTest


def in_pieces(part_bytes: int) -> StagingLayout:
    """Two direct parts, then staging uploads of two, three and three parts."""
    return choose_layout(
        Ladder(part_bytes, part_bytes, max_parts=5),
        part_copy=True,
        unequal_parts=True,
        direct_parts=2,
        copy_limit_bytes=3 * part_bytes,
        first_staging_bytes=2 * part_bytes,
        step_stagings=1,
    )


def begun(
    under_test: StoreUnderTest, key: str, layout: StagingLayout
) -> tuple[Upload, TransferRegistry]:
    from twisted.internet import reactor  # noqa: PLC0415

    context = session_context(
        under_test.store,
        budget=Budget(100 * layout.ladder.top_bytes),
        clock=reactor,
        settings=StoreSettings(state_prefix=f"{under_test.prefix}.sftpgw/"),
    )
    plan = make_plan(layout, concurrency=2)
    upload = Upload(context, plan, under_test.name(key), modified_seconds=7.0)
    return upload, context.transfers


async def write_all(upload: Upload, data: bytes) -> None:
    for offset in range(0, len(data), 48 * KIB):
        later = upload.write(offset, data[offset : offset + 48 * KIB])
        if isinstance(later, Deferred):
            await later


@pytest.mark.parametrize("parts", [2, 3, 6.5, 10])
@pytest_twisted.ensureDeferred
async def test_an_object_of_many_staging_uploads(under_test: StoreUnderTest, parts: float) -> None:
    under_test.needs("part-copy")
    layout = in_pieces(under_test.min_part_bytes)
    size_bytes = int(parts * under_test.min_part_bytes)
    data = (bytes(range(251)) * (size_bytes // 251 + 1))[:size_bytes]
    upload, _ = begun(under_test, "large", layout)
    await write_all(upload, data)
    await upload.commit()
    found = CollectingSink()
    await under_test.store.get(under_test.name("large"), None, found)
    assert found.data == data
    assert dict(found.info.metadata or NO_METADATA) == {"mtime": "7"}
    left = await under_test.store.list(under_test.bucket, under_test.prefix)
    assert [info.name for info in left.objects] == [under_test.name("large")]


@pytest_twisted.ensureDeferred
async def test_an_abandoned_file_leaves_no_staging_object(under_test: StoreUnderTest) -> None:
    layout = in_pieces(under_test.min_part_bytes)
    upload, transfers = begun(under_test, "large", layout)
    await write_all(upload, b"x" * (5 * under_test.min_part_bytes + 1))
    await upload.abandon()
    await transfers.idle()
    left = await under_test.store.list(under_test.bucket, under_test.prefix)
    uploads = await under_test.store.list_uploads(under_test.bucket, under_test.prefix)
    assert (left.objects, uploads.uploads) == ((), ())
