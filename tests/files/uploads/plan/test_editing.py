"""`uploads/plan/upload_plan` over an existing object, against a byte array: writes, cuts, gaps,
reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sftpgw.errors import LimitReached, Unsupported, UploadFailed
from sftpgw.files.uploads.plan.boundaries import BaseObject
from sftpgw.files.uploads.plan.part_sizes import Ladder
from sftpgw.files.uploads.plan.read_sources import MAX_SOURCES
from sftpgw.files.uploads.plan.staging_layout import StagingLayout, choose_layout
from sftpgw.files.uploads.plan.upload_commands import (
    NOTHING,
    CompleteUpload,
    CopyBase,
    CreateUpload,
    FetchBase,
    PutWhole,
    SendPart,
)
from sftpgw.files.uploads.plan.upload_plan import UploadPhase, UploadPlan
from sftpgw.model.store import ByteRange
from tests.files.uploads.plan.test_upload_plan import Store
from tests.files.uploads.upload_plans import make_plan

MIN = 5
LADDER = Ladder(first_bytes=8, largest_bytes=16, step_parts=2)
GROWING = StagingLayout(LADDER, LADDER.max_parts)
EQUAL = StagingLayout(Ladder(8, 8), 10_000)
IN_PIECES = choose_layout(
    Ladder(first_bytes=8, largest_bytes=16, max_parts=30, step_parts=1),
    part_copy=True,
    unequal_parts=True,
    direct_parts=2,
    copy_limit_bytes=40,
    first_staging_bytes=16,
    step_stagings=1,
)


def content(size_bytes: int) -> bytes:
    return bytes(index % 251 + 1 for index in range(size_bytes))


def editing(
    base: bytes, layout: StagingLayout = GROWING, *, can_copy: bool = True, **options: Any
) -> tuple[UploadPlan, Store]:
    base_object = BaseObject(len(base), can_copy, min_part_bytes=MIN, copy_limit_bytes=40)
    options = {"concurrency": 2, "reorder_bytes": 24, **options}
    plan = make_plan(layout, base=base_object, **options)
    return plan, Store(plan, layout, base=base, min_part_bytes=MIN)


def overlay(model: bytearray, offset: int, data: bytes) -> None:
    if data:
        model.extend(bytes(max(0, offset - len(model))))
        model[offset : offset + len(data)] = data


def read_back(plan: UploadPlan, base: bytes, wanted: ByteRange) -> bytes:
    fragments = []
    for source in plan.sources(wanted):
        is_base = isinstance(source, ByteRange)
        fragments.append(base[source.start : source.stop] if is_base else b"".join(source))
    return b"".join(fragments)


class Editor:
    """A client, its file as it should be, and a store that goes on, or fails, when told to."""

    def __init__(
        self, base: bytes, layout: StagingLayout, can_copy: bool, failing: int | None
    ) -> None:
        self.plan, self.store = editing(base, layout, can_copy=can_copy)
        self.model = bytearray(base)
        self.failing = failing
        self.steps_done = self.cursor = 0

    def write(self, offset: int, data: bytes) -> None:
        at = {-1: self.cursor, -2: len(self.model)}.get(offset, offset)
        self.store.take(self.plan.write(at, data))
        overlay(self.model, at, data)
        self.cursor = at + len(data)

    def truncate(self, size_bytes: int, _: bytes) -> None:
        self.store.take(self.plan.truncate(size_bytes))
        self.model = self.model[:size_bytes] + bytes(max(0, size_bytes - len(self.model)))

    def read(self, offset: int, data: bytes) -> None:
        wanted = ByteRange(offset, min(len(self.model), offset + len(data)))
        if wanted.size_bytes <= 0:
            return
        try:
            found = read_back(self.plan, self.store.base, wanted)
        except Unsupported:
            assert self.steps_done, "before anything was stored, all is to be had"
        else:
            assert found == self.model[wanted.start : wanted.stop]

    def store_goes_on(self, index: int, _: bytes = b"") -> None:
        if self.store.pending:
            fails = self.steps_done == self.failing
            self.steps_done += 1
            (self.store.refuse if fails else self.store.carry_out)(index)


OFFSETS = st.one_of(st.just(-1), st.just(-2), st.integers(0, 200))
"""-1 goes on where the last write ended, -2 at the end of the file."""
STEPS = st.one_of(
    st.tuples(st.just("write"), OFFSETS, st.binary(max_size=30)),
    st.tuples(st.just("write"), st.just(-1), st.binary(min_size=4, max_size=30)),
    st.tuples(st.just("truncate"), st.integers(0, 200), st.just(b"")),
    st.tuples(st.just("read"), st.integers(0, 200), st.binary(max_size=60)),
    st.tuples(st.just("store_goes_on"), st.integers(0, 3), st.just(b"")),
)


@settings(max_examples=1500, deadline=None)
@given(
    st.sampled_from([(GROWING, True), (GROWING, False), (EQUAL, False), (IN_PIECES, True)]),
    st.integers(0, 180),
    st.lists(STEPS, max_size=25),
    st.lists(st.integers(0, 3), max_size=40),
    st.one_of(st.none(), st.integers(0, 30)),
)
def test_what_is_reported_stored_is_what_was_edited(
    store_kind: tuple[StagingLayout, bool],
    base_bytes: int,
    steps: list[tuple[str, int, bytes]],
    order: list[int],
    failing: int | None,
) -> None:
    editor = Editor(content(base_bytes), *store_kind, failing)
    plan, store = editor.plan, editor.store
    speed = iter(order)
    for what, number, data in steps:
        if plan.end_reason is None:
            getattr(editor, what)(number, data)
        if plan.end_reason is None:
            assert plan.size_bytes == len(editor.model)
    store.take(plan.finish())
    while store.pending:
        editor.store_goes_on(next(speed, 0))
    if plan.end_reason is None:
        assert plan.phase is UploadPhase.DONE
        if store.published is None:
            assert bytes(editor.model) == store.base
        else:
            assert store.published == bytes(editor.model)
        assert store.aborted == 0
    else:
        assert plan.phase is UploadPhase.ENDED
        assert store.published is None
        assert store.aborted == store.opened
    store.assert_nothing_left()
    assert plan.memory_need.sent_bytes + plan.memory_need.filling_bytes == 0
    assert store.most_in_flight <= 2
    assert store.most_copies <= 2


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([(GROWING, True), (GROWING, False), (EQUAL, False), (IN_PIECES, True)]),
    st.integers(0, 180),
    st.lists(st.tuples(st.integers(0, 180), st.binary(min_size=1, max_size=9)), max_size=12),
    st.integers(0, 200),
)
@example((GROWING, True), 180, [(0, b"x"), (90, b"y")], 180)
def test_little_is_edited_anywhere_without_failure(
    store_kind: tuple[StagingLayout, bool],
    base_bytes: int,
    writes: list[tuple[int, bytes]],
    cut: int,
) -> None:
    """Ascending edits of any density pass, and so does a cut behind them."""
    layout, can_copy = store_kind
    base = content(base_bytes)
    plan, store = editing(base, layout, can_copy=can_copy)
    model, last = bytearray(base), 0
    for offset, data in sorted(writes):
        at = min(max(offset, last), len(model))
        last = at + len(data)
        store.take(plan.write(at, data))
        overlay(model, at, data)
        assert plan.end_reason is None
        store.carry_out_all()
    if cut >= last and cut <= len(model) + 24:
        model = model[:cut] + bytes(max(0, cut - len(model)))
        store.take(plan.truncate(cut))
    store.take(plan.finish())
    store.carry_out_all()
    assert plan.end_reason is None
    assert (store.published if store.published is not None else base) == bytes(model)
    store.assert_nothing_left()


class TestRequests:
    """Which requests it comes to."""

    def test_a_resume_behind_a_large_object_copies_it_and_goes_on(self) -> None:
        plan, store = editing(content(100))
        assert plan.write(100, b"x" * 7) == NOTHING
        assert plan.write(107, b"y") == (CreateUpload(),)
        store.take((CreateUpload(),))
        store.carry_out()
        copies = [command for command in store.pending if isinstance(command, CopyBase)]
        # 100 bytes in the fewest parts of nearly one size that a copy of 40 allows.
        assert copies == [CopyBase(1, ByteRange(0, 33)), CopyBase(2, ByteRange(33, 66))]
        store.take(plan.finish())
        store.carry_out_all()
        assert store.published == content(100) + b"x" * 7 + b"y"

    def test_a_resume_behind_a_small_object_fetches_it(self) -> None:
        plan, store = editing(content(4))
        store.take(plan.write(4, b"x"))
        assert plan.finish() == (FetchBase(ByteRange(0, 4)),)
        (put,) = plan.succeeded(FetchBase(ByteRange(0, 4)), (content(4),))
        assert isinstance(put, PutWhole)
        assert b"".join(put.body) == content(4) + b"x"

    def test_a_resume_behind_a_small_object_streams(self) -> None:
        plan, _ = editing(content(4))
        assert plan.write(4, b"x" * 8) == (FetchBase(ByteRange(0, 4)),)
        assert plan.memory_need.is_congested
        assert plan.succeeded(FetchBase(ByteRange(0, 4)), (content(4),)) == (CreateUpload(),)
        assert not plan.memory_need.is_congested

    def test_an_edit_from_the_start_that_is_cut_needs_nothing_of_the_object(self) -> None:
        plan, store = editing(content(100))
        seen: list[object] = []
        for offset in range(0, 60, 4):
            commands = plan.write(offset, b"new!")
            seen += commands
            store.take(commands)
            store.carry_out_all()
        seen += plan.truncate(60)
        seen += plan.finish()
        store.take(tuple(store.plan.finish()))
        assert not any(isinstance(command, CopyBase | FetchBase) for command in seen)

    def test_the_preserved_rest_is_copied_at_the_end(self) -> None:
        plan, store = editing(content(30))
        store.take(plan.write(0, b"x" * 8))
        store.carry_out_all()
        assert plan.finish() == (CopyBase(2, ByteRange(8, 30)),)

    def test_the_bytes_that_a_short_part_lacks_are_fetched(self) -> None:
        plan, store = editing(content(30))
        plan.write(0, b"x")
        assert plan.finish() == (FetchBase(ByteRange(1, MIN)),)
        store.take(plan.succeeded(FetchBase(ByteRange(1, MIN)), (content(30)[1:MIN],)))
        store.carry_out_all()
        assert store.published == b"x" + content(30)[1:]

    def test_a_cut_copies_what_is_left(self) -> None:
        plan, store = editing(content(30))
        store.take(plan.truncate(20))
        store.take(plan.finish())
        store.carry_out()
        assert store.pending == [CopyBase(1, ByteRange(0, 20))]
        store.carry_out_all()
        assert store.published == content(30)[:20]

    def test_a_truncation_while_bytes_are_fetched_holds(self) -> None:
        plan, store = editing(content(4))
        store.take(plan.write(4, b"x" * 8))
        assert store.pending == [FetchBase(ByteRange(0, 4))]
        store.take(plan.truncate(3))
        store.take(plan.truncate(10))
        store.take(plan.finish())
        store.carry_out_all()
        assert store.published == content(3) + bytes(7)

    def test_edits_in_a_large_object_cost_a_part_each(self) -> None:
        plan, store = editing(content(180), reorder_bytes=1000)
        for offset in (20, 80, 140):
            store.take(plan.write(offset, b"x" * 6))
        assert store.pending == []
        store.take(plan.finish())
        kinds: list[type] = []
        while store.pending:
            kinds.append(type(store.pending[0]))
            store.carry_out()
        assert kinds.count(SendPart) == 3
        assert FetchBase not in kinds
        assert kinds[-1] is CompleteUpload


class TestFailures:
    def test_a_write_behind_what_was_left_to_be_copied_fails_and_sticks(self) -> None:
        plan, store = editing(content(100))
        store.take(plan.write(100, b"x" * 8))
        store.take(plan.write(50, b"y"))
        assert isinstance(plan.end_reason, UploadFailed)
        assert plan.finish() == NOTHING
        store.carry_out_all()
        assert store.published is None

    def test_skipped_bytes_may_be_written_until_a_whole_part_lies_behind_them(self) -> None:
        plan, store = editing(content(100))
        store.take(plan.write(100, b"x" * 7))
        store.take(plan.write(50, b"y"))
        store.take(plan.finish())
        store.carry_out_all()
        assert store.published == content(50) + b"y" + content(100)[51:] + b"x" * 7

    def test_a_store_that_cannot_copy_is_not_asked_to_fetch_more_than_may_be_held(self) -> None:
        plan, _ = editing(content(100), can_copy=False, allowance_bytes=99)
        plan.write(100, b"x")
        assert plan.finish() == NOTHING
        assert isinstance(plan.end_reason, Unsupported)
        assert "99 bytes" in plan.end_reason.message

    def test_nothing_is_fetched_of_an_object_that_is_not_needed(self) -> None:
        plan, store = editing(content(100), can_copy=False, allowance_bytes=10)
        store.take(plan.write(0, b"x" * 100))
        store.take(plan.finish())
        store.carry_out_all()
        assert store.published == b"x" * 100

    def test_a_write_far_behind_the_end_is_refused(self) -> None:
        plan, _ = editing(content(100))
        plan.write(101 + 24, b"x")
        assert isinstance(plan.end_reason, LimitReached)
        assert "from 100 on" in plan.end_reason.message

    def test_edits_that_fill_all_parts_are_refused(self) -> None:
        layout = StagingLayout(Ladder(8, 8, max_parts=3), 3)
        plan, store = editing(content(100), layout, reorder_bytes=1000)
        store.take(plan.write(20, b"x" * 6))
        store.take(plan.write(80, b"x" * 6))
        store.take(plan.finish())
        store.carry_out_all()
        assert isinstance(plan.end_reason, LimitReached)
        assert store.published is None


def test_appended_bytes_go_to_the_end_whatever_their_offset() -> None:
    plan, store = editing(content(30), appends=True)
    for offset, data in ((0, b"one"), (500, b"two"), (30, b"three")):
        store.take(plan.write(offset, data))
    store.take(plan.finish())
    store.carry_out_all()
    assert store.published == content(30) + b"onetwothree"


class TestReadingBack:
    def test_everything_that_is_somewhere(self) -> None:
        base = content(40)
        plan, _ = editing(base)
        plan.write(10, b"new")
        plan.write(45, b"end")
        assert plan.sources(ByteRange(5, 48)) == (
            ByteRange(5, 10),
            (bytearray(b"new"),),
            ByteRange(13, 40),
            (bytes(5),),
            (bytearray(b"end"),),
        )

    def test_parts_in_flight_can_be_read_and_stored_ones_cannot(self) -> None:
        plan, store = editing(b"")
        store.take(plan.write(0, bytes(range(20))))
        store.carry_out()  # opened
        assert read_back(plan, b"", ByteRange(3, 20)) == bytes(range(3, 20))
        store.carry_out()  # part 1
        assert read_back(plan, b"", ByteRange(8, 20)) == bytes(range(8, 20))
        with pytest.raises(Unsupported, match="from 7 on"):
            plan.sources(ByteRange(7, 9))

    def test_copied_bytes_are_read_from_the_base_object(self) -> None:
        plan, store = editing(content(100))
        store.take(plan.write(100, b"x" * 8))
        store.carry_out_all()
        assert read_back(plan, content(100), ByteRange(20, 100)) == content(100)[20:]

    def test_very_scattered_bytes_come_a_few_at_a_time(self) -> None:
        plan, _ = editing(
            content(2000), reorder_bytes=5000, layout=StagingLayout(Ladder(5000, 5000), 9)
        )
        for offset in range(0, 2000, 2):
            plan.write(offset, b"x")
        assert len(plan.sources(ByteRange(0, 2000))) == MAX_SOURCES

    def test_bytes_that_were_read_do_not_change_with_later_writes(self) -> None:
        plan, _ = editing(b"")
        plan.write(0, b"abc")
        (before,) = plan.sources(ByteRange(0, 3))
        plan.write(1, b"X")
        assert isinstance(before, tuple)
        assert b"".join(before) == b"abc"
