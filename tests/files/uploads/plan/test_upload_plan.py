"""`uploads/plan/upload_plan` against a byte array: any order, overlap and gaps, any speed of the
store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.errors import LimitReached, StoreError, UploadFailed
from sftpgw.files.uploads.plan.boundaries import BaseObject
from sftpgw.files.uploads.plan.part_sizes import Ladder
from sftpgw.files.uploads.plan.staging_layout import StagingLayout, choose_layout
from sftpgw.files.uploads.plan.upload_commands import (
    NOTHING,
    AbortUpload,
    Command,
    CommandResult,
    Commands,
    CompleteStaging,
    CompleteUpload,
    CopyBase,
    CopyStaging,
    CreateUpload,
    DropStaging,
    FetchBase,
    PutWhole,
    SendPart,
)
from sftpgw.files.uploads.plan.upload_plan import UploadPhase, UploadPlan
from sftpgw.model.store import ByteRange, StoredPart
from tests.files.uploads.upload_plans import make_plan

LADDER = Ladder(first_bytes=8, largest_bytes=16, step_parts=2)
PLAIN = StagingLayout(LADDER, LADDER.max_parts)
IN_PIECES = choose_layout(
    Ladder(first_bytes=8, largest_bytes=16, max_parts=5, step_parts=1),
    part_copy=True,
    unequal_parts=True,
    direct_parts=2,
    copy_limit_bytes=40,
    first_staging_bytes=16,
    step_stagings=1,
)
"""Direct parts of 8 and 16 bytes, then staging uploads of 16, 32 and 32."""


@dataclass
class OpenedUpload:
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass
class Store:
    """Carries commands out when told to, in whatever order, as strictly as S3."""

    plan: UploadPlan
    layout: StagingLayout = PLAIN
    copy_limit_bytes: int = 40
    base: bytes = b""
    min_part_bytes: int = 1
    pending: list[Command] = field(default_factory=list)
    uploads: dict[int, OpenedUpload] = field(default_factory=dict)
    staging_objects: dict[int, bytes] = field(default_factory=dict)
    opened: int = 0
    aborted: int = 0
    published: bytes | None = None
    most_in_flight: int = 0
    most_copies: int = 0

    def take(self, commands: Commands) -> None:
        self.pending.extend(commands)
        self.most_in_flight = max(self.most_in_flight, self._pending(SendPart))
        self.most_copies = max(self.most_copies, self._pending(CopyStaging))

    def _pending(self, kind: type) -> int:
        return sum(isinstance(command, kind) for command in self.pending)

    def carry_out(self, index: int = 0) -> None:
        command = self.pending.pop(index % len(self.pending))
        self.take(self.plan.succeeded(command, self._done(command)))

    def refuse(self, index: int = 0) -> None:
        """The store says no, and may have done it all the same."""
        command = self.pending.pop(index % len(self.pending))
        if isinstance(command, CompleteStaging | DropStaging | AbortUpload):
            self._done(command)
        self.take(self.plan.failed(command, StoreError("no")))

    def carry_out_all(self) -> None:
        while self.pending:
            self.carry_out()

    def _done(self, command: Command) -> CommandResult:
        match command:
            case CreateUpload(upload):
                assert upload == 0 or 0 in self.uploads, (
                    "staging uploads come after the object's own"
                )
                assert upload not in self.uploads
                self.opened += upload == 0
                self.uploads[upload] = OpenedUpload()
            case SendPart(number, body, size_bytes, upload):
                assert len(b"".join(body)) == size_bytes
                return self._keep(upload, number, b"".join(body))
            case CopyBase(number, wanted):
                assert 0 < wanted.size_bytes <= self.copy_limit_bytes
                return self._keep(0, number, self._base(wanted))
            case FetchBase(wanted):
                return (self._base(wanted),)
            case PutWhole(body, size_bytes):
                self.published = b"".join(body)
                assert len(self.published) == size_bytes
            case CompleteStaging(upload, parts, size_bytes):
                self.staging_objects[upload] = self._joined(upload, parts, size_bytes)
            case CopyStaging(upload, number, size_bytes):
                assert len(self.staging_objects[upload]) == size_bytes <= self.copy_limit_bytes
                return self._keep(0, number, self.staging_objects[upload])
            case DropStaging(upload):
                self.staging_objects.pop(upload, None)
            case CompleteUpload(parts, size_bytes):
                self.published = self._joined(0, parts, size_bytes)
            case AbortUpload(upload):
                assert not any(
                    isinstance(each, SendPart | CopyStaging | CopyBase) for each in self.pending
                )
                self.aborted += upload == 0
                self.uploads.pop(upload, None)
        return None

    def _base(self, wanted: ByteRange) -> bytes:
        assert 0 <= wanted.start < wanted.stop <= len(self.base)
        return self.base[wanted.start : wanted.stop]

    def _keep(self, upload: int, number: int, data: bytes) -> StoredPart:
        parts = self.uploads[upload].parts
        assert number not in parts, "a part is sent once"
        assert 1 <= number <= self.layout.ladder.max_parts
        parts[number] = data
        return StoredPart(number, len(data), f"e{number}")

    def _joined(self, upload: int, parts: tuple[StoredPart, ...], size_bytes: int) -> bytes:
        stored_parts = self.uploads.pop(upload).parts
        assert [part.number for part in parts] == list(range(1, len(parts) + 1))
        assert all(part.size_bytes >= self.min_part_bytes for part in parts[:-1])
        assert sorted(stored_parts) == [part.number for part in parts]
        joined = b"".join(stored_parts[part.number] for part in parts)
        assert len(joined) == size_bytes
        return joined

    def assert_nothing_left(self) -> None:
        assert self.uploads == {}
        assert self.staging_objects == {}


def started(layout: StagingLayout = PLAIN, **options: Any) -> tuple[UploadPlan, Store]:
    plan = make_plan(layout, concurrency=2, reorder_bytes=24, **options)
    return plan, Store(plan, layout)


WRITES = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 90), st.binary(max_size=30)),
        st.tuples(st.just(-1), st.binary(max_size=30)),  # goes on where the last one ended
    ),
    max_size=14,
)


LAYOUTS = st.sampled_from([PLAIN, IN_PIECES])


@settings(max_examples=800)
@given(LAYOUTS, WRITES, st.lists(st.integers(0, 3), max_size=40), st.booleans())
def test_what_is_reported_stored_is_what_was_written(
    layout: StagingLayout, writes: list[tuple[int, bytes]], order: list[int], cut: bool
) -> None:
    plan, store = started(layout)
    model = bytearray()
    cursor = 0
    speed = iter(order)
    for offset, data in writes:
        at = cursor if offset < 0 else offset
        store.take(plan.write(at, data))
        if plan.end_reason is not None:
            break
        if data:
            model.extend(bytes(max(0, at - len(model))))
            model[at : at + len(data)] = data
        cursor = at + len(data)
        while store.pending and next(speed, 0):
            store.carry_out(next(speed, 0))
    if cut and plan.end_reason is None:
        store.take(plan.truncate(len(model) // 2))
        if plan.end_reason is None:
            del model[len(model) // 2 :]
    store.take(plan.finish())
    while store.pending:
        store.carry_out(next(speed, 0))
    if plan.end_reason is None:
        assert plan.phase is UploadPhase.DONE
        assert store.published == bytes(model)
        assert store.aborted == 0
    else:
        assert store.published is None
        assert store.aborted == store.opened
    store.assert_nothing_left()
    assert plan.memory_need.sent_bytes + plan.memory_need.filling_bytes == 0
    assert store.most_in_flight <= 2


@settings(max_examples=500)
@given(
    st.integers(0, IN_PIECES.capacity_bytes),
    st.integers(1, 40),
    st.lists(st.integers(0, 5), max_size=60),
    st.one_of(st.none(), st.integers(0, 45)),
)
def test_any_size_passes_in_staging_uploads_and_any_failure_leaves_nothing(
    size_bytes: int, step_bytes: int, order: list[int], failing: int | None
) -> None:
    plan, store = started(IN_PIECES)
    data = bytes(index % 251 for index in range(size_bytes))
    speed, done = iter(order), 0

    def go_on() -> None:
        nonlocal done
        done += 1
        if done - 1 == failing:
            store.refuse(next(speed, 0))
        else:
            store.carry_out(next(speed, 0))

    for offset in range(0, size_bytes, step_bytes):
        store.take(plan.write(offset, data[offset : offset + step_bytes]))
        while store.pending and next(speed, 0):
            go_on()
    store.take(plan.finish())
    while store.pending:
        go_on()
    if plan.end_reason is None:
        assert plan.phase is UploadPhase.DONE
        assert store.published == data
        store.assert_nothing_left()
    else:
        assert plan.phase is UploadPhase.ENDED
        assert store.published is None
        assert done - 1 >= (failing or 0)
        store.assert_nothing_left()
    assert plan.memory_need.sent_bytes + plan.memory_need.filling_bytes == 0
    assert store.most_in_flight <= 2
    assert store.most_copies <= 2


@settings(max_examples=200)
@given(st.lists(st.integers(1, 40), max_size=12), st.integers(0, 20))
def test_writes_in_order_never_fail(sizes: list[int], slowness: int) -> None:
    plan, store = started()
    written = b""
    for index, size in enumerate(sizes):
        data = bytes([index]) * size
        store.take(plan.write(len(written), data))
        written += data
        if store.pending and index % (slowness + 1) == 0:
            store.carry_out()
    store.take(plan.finish())
    store.carry_out_all()
    assert plan.end_reason is None
    assert store.published == written


@pytest.mark.parametrize("size", [0, 1, 7, 8])
def test_a_file_that_fits_into_one_part_is_one_put(size: int) -> None:
    plan, store = started()
    store.take(plan.write(0, b"x" * size))
    assert not store.pending
    body = (bytearray(b"x" * size),) if size else ()
    assert plan.finish() == (PutWhole(body, size),)


def test_one_byte_more_is_a_multipart_upload() -> None:
    plan, _ = started()
    assert plan.write(0, b"x" * 9) == (CreateUpload(),)


def test_too_many_parts_make_the_client_wait() -> None:
    plan, store = started()
    store.take(plan.write(0, b"x" * 17))
    store.carry_out()
    assert len(store.pending) == 2
    assert not plan.memory_need.is_congested
    store.take(plan.write(17, b"x" * 16))
    assert plan.memory_need.is_congested
    store.carry_out()
    assert not plan.memory_need.is_congested


def test_a_write_into_a_part_that_was_sent_fails_and_sticks() -> None:
    plan, store = started()
    store.take(plan.write(0, b"x" * 17))
    store.take(plan.write(3, b"y"))
    assert isinstance(plan.end_reason, UploadFailed)
    first = plan.end_reason
    assert plan.write(17, b"z") == NOTHING
    assert plan.finish() == NOTHING
    assert plan.end_reason is first


def test_a_write_far_ahead_is_refused_at_once() -> None:
    plan, _ = started()
    plan.write(25, b"x")
    assert isinstance(plan.end_reason, LimitReached)


def test_a_file_over_all_parts_is_refused_at_the_first_byte_beyond() -> None:
    plan = make_plan(StagingLayout(Ladder(8, 8, max_parts=2), 2), reorder_bytes=24)
    plan.write(0, b"x" * 16)
    assert plan.end_reason is None
    plan.write(16, b"x")
    assert isinstance(plan.end_reason, LimitReached)
    assert "16 bytes" in plan.end_reason.message
    assert "part_size" in plan.end_reason.message


def test_a_file_over_all_staging_uploads_is_refused_at_the_first_byte_beyond() -> None:
    plan, store = started(IN_PIECES)
    for offset in range(0, IN_PIECES.capacity_bytes, 8):
        store.take(plan.write(offset, b"x" * 8))
        store.carry_out_all()
    assert plan.end_reason is None
    assert plan.write(IN_PIECES.capacity_bytes, b"x") == (AbortUpload(),)
    assert isinstance(plan.end_reason, LimitReached)
    assert "104 bytes" in plan.end_reason.message


def test_growing_a_file_beyond_all_parts_is_refused() -> None:
    plan = make_plan(StagingLayout(Ladder(8, 8, max_parts=2), 2), reorder_bytes=24)
    plan.truncate(17)
    assert isinstance(plan.end_reason, LimitReached)
    assert "16 bytes" in plan.end_reason.message


def test_a_staging_upload_is_joined_while_the_next_one_arrives() -> None:
    plan, store = started(IN_PIECES)
    store.take(plan.write(0, b"x" * 40))
    store.carry_out_all()
    assert store.staging_objects == {}
    assert store.uploads[0].parts.keys() == {1, 2, 3}
    assert plan.write(40, b"x" * 16) == (CreateUpload(2),)


def test_an_upload_holds_no_more_than_its_allowance() -> None:
    plan, store = started(allowance_bytes=24)
    store.take(plan.write(0, b"x" * 9))
    assert not plan.memory_need.is_congested
    store.take(plan.write(9, b"x" * 8))
    assert plan.memory_need.is_congested
    assert (plan.memory_need.sent_bytes, plan.memory_need.filling_bytes) == (16, 1)
    store.carry_out_all()
    assert not plan.memory_need.is_congested
    assert (plan.memory_need.sent_bytes, plan.memory_need.filling_bytes) == (0, 1)


def test_a_write_beyond_the_allowance_is_held_if_nothing_else_is() -> None:
    plan, _ = started(allowance_bytes=1)
    plan.write(0, b"x" * 8)
    assert not plan.memory_need.is_congested


def test_a_failed_cleanup_does_not_stop_the_others() -> None:
    plan, store = started(IN_PIECES)
    store.take(plan.write(0, b"x" * 41))
    store.take(plan.finish())
    while not any(isinstance(command, DropStaging) for command in store.pending):
        store.carry_out()
    drop = next(command for command in store.pending if isinstance(command, DropStaging))
    store.refuse(store.pending.index(drop))
    store.carry_out_all()
    assert plan.end_reason is None
    assert store.published == b"x" * 41


def test_the_abort_waits_for_what_is_under_way() -> None:
    plan, store = started()
    store.take(plan.write(0, b"x" * 17))
    store.carry_out()
    assert plan.fail(UploadFailed("lost")) == NOTHING
    store.carry_out()
    assert store.aborted == 0
    store.carry_out()
    assert store.pending == [AbortUpload()]


def test_a_failure_while_the_upload_is_being_opened_aborts_it_then() -> None:
    plan, _ = started()
    assert plan.write(0, b"x" * 9) == (CreateUpload(),)
    assert plan.fail(UploadFailed("lost")) == NOTHING
    assert plan.succeeded(CreateUpload()) == (AbortUpload(),)


def test_a_part_that_fails_ends_the_upload() -> None:
    plan, store = started()
    store.take(plan.write(0, b"x" * 17))
    store.carry_out()
    store.refuse()
    store.carry_out()
    assert store.pending == [AbortUpload()]


class TestOverlay:
    """The file has a base, and none of its bytes is needed."""

    def test_an_untouched_overlay_changes_nothing(self) -> None:
        plan, _ = started(base=BaseObject(20, can_copy=False))
        assert plan.size_bytes == 20
        assert plan.truncate(20) == NOTHING
        assert plan.finish() == NOTHING
        assert plan.phase is UploadPhase.DONE

    @pytest.mark.parametrize("size", [3, 6])
    def test_an_overlay_written_from_the_start_to_the_end_needs_nothing_of_its_base(
        self, size: int
    ) -> None:
        plan, _ = started(base=BaseObject(3, can_copy=False))
        plan.write(0, b"x" * size)
        assert plan.finish() == (PutWhole((bytearray(b"x" * size),), size),)

    def test_an_overlay_written_shorter_and_cut_there_needs_nothing_of_its_base(self) -> None:
        plan, _ = started(base=BaseObject(20, can_copy=False))
        plan.write(0, b"xyz")
        plan.truncate(3)
        assert plan.finish() == (PutWhole((bytearray(b"xyz"),), 3),)

    def test_an_overlay_cut_to_nothing_is_an_empty_file(self) -> None:
        plan, _ = started(base=BaseObject(20, can_copy=False))
        plan.truncate(0)
        assert plan.finish() == (PutWhole((), 0),)
