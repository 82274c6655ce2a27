"""Parts that are sent before they are full, since memory is short (`UploadPlan.cut_early`)."""

from __future__ import annotations

import pytest

from sftpgw.files.uploads.plan.boundaries import BaseObject
from sftpgw.files.uploads.plan.part_sizes import Ladder
from sftpgw.files.uploads.plan.staging_layout import StagingLayout
from sftpgw.files.uploads.plan.upload_commands import CompleteUpload, CreateUpload, SendPart
from sftpgw.files.uploads.plan.upload_limits import UploadLimits
from sftpgw.files.uploads.plan.upload_plan import UploadPlan
from sftpgw.model.store import StoredPart

LAYOUT = StagingLayout(Ladder(8, 16), 10_000)


def make_plan(base: BaseObject | None = None, early_part_bytes: int | None = 5) -> UploadPlan:
    limits = UploadLimits(small_bytes=2, early_part_bytes=early_part_bytes)
    return UploadPlan(LAYOUT, limits, base=base)


def test_a_part_is_sent_early_and_the_file_goes_on_behind_it() -> None:
    plan = make_plan()
    plan.write(0, b"abcd")
    assert not plan.memory_need.can_cut
    assert plan.cut_early() == ()
    plan.write(4, b"ef")
    assert plan.memory_need.can_cut
    (create,) = plan.cut_early()
    assert isinstance(create, CreateUpload)
    need = plan.memory_need
    assert (need.sent_bytes, need.filling_bytes, need.can_cut) == (6, 0, False)
    (first,) = plan.succeeded(create, None)
    assert isinstance(first, SendPart)
    assert (first.number, b"".join(first.body)) == (1, b"abcdef")
    assert plan.write(6, b"ghijklm") == ()
    (second,) = plan.write(13, b"nop")
    assert isinstance(second, SendPart)
    assert (second.number, b"".join(second.body)) == (2, b"ghijklmn")
    assert plan.finish()[0].size_bytes == 2  # type: ignore[union-attr]


def test_a_file_may_end_with_a_part_that_was_sent_early() -> None:
    plan = make_plan()
    plan.write(0, b"abcdef")
    (create,) = plan.cut_early()
    (send,) = plan.succeeded(create, None)
    assert plan.finish() == ()
    (complete,) = plan.succeeded(send, StoredPart(1, 6, '"1"'))
    assert isinstance(complete, CompleteUpload)
    assert complete.size_bytes == 6


@pytest.mark.parametrize(
    "plan", [make_plan(early_part_bytes=None), make_plan(BaseObject(100))], ids=["equal", "edit"]
)
def test_parts_that_must_be_equal_and_edits_are_not_cut(plan: UploadPlan) -> None:
    plan.write(0, b"abcdef")
    assert not plan.memory_need.can_cut


def test_bytes_behind_a_gap_are_not_cut() -> None:
    plan = make_plan()
    plan.write(1, b"abcdefg")
    assert not plan.memory_need.can_cut


def test_progress_counts_each_byte_once() -> None:
    plan = make_plan()
    plan.write(0, b"abcd")
    plan.write(0, b"abcd")
    assert plan.memory_need.progress_bytes == 4
    plan.write(4, b"efgh")
    plan.write(8, b"i")
    assert plan.memory_need.progress_bytes == 9
