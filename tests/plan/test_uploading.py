"""`plan/uploading` against a byte array: any order, overlap and gaps, any speed of the store."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.errors import LimitReached, StoreError, Unsupported, UploadFailed
from sftpgw.plan.partsizes import Ladder
from sftpgw.plan.uploading import (
    NOTHING,
    AbortUpload,
    Command,
    Commands,
    CompleteUpload,
    Finish,
    OpenUpload,
    Phase,
    PutWhole,
    SendPart,
    UploadPlan,
)
from sftpgw.values import StoredPart

LADDER = Ladder(first_bytes=8, largest_bytes=16, step_parts=2)


@dataclass
class Store:
    """Carries commands out when told to, in whatever order."""

    plan: UploadPlan
    pending: list[Command] = field(default_factory=list)
    parts: dict[int, bytes] = field(default_factory=dict)
    opened: int = 0
    aborted: int = 0
    published: bytes | None = None
    most_in_flight: int = 0

    def take(self, commands: Commands) -> None:
        self.pending.extend(commands)
        in_flight = sum(isinstance(command, SendPart) for command in self.pending)
        self.most_in_flight = max(self.most_in_flight, in_flight)

    def carry_out(self, index: int = 0) -> None:
        match self.pending.pop(index % len(self.pending)):
            case OpenUpload():
                self.opened += 1
                self.take(self.plan.upload_opened())
            case SendPart(number, body, size_bytes):
                assert number not in self.parts, "a part is sent once"
                self.parts[number] = b"".join(body)
                assert len(self.parts[number]) == size_bytes
                self.take(self.plan.part_stored(StoredPart(number, size_bytes, f"e{number}")))
            case PutWhole(body, size_bytes):
                self.published = b"".join(body)
                assert len(self.published) == size_bytes
                self.take(self.plan.published())
            case CompleteUpload(parts, size_bytes):
                assert [part.number for part in parts] == list(range(1, len(parts) + 1))
                assert [part.size_bytes for part in parts[:-1]] == [
                    LADDER.size_bytes(part.number) for part in parts[:-1]
                ]
                self.published = b"".join(self.parts[part.number] for part in parts)
                assert len(self.published) == size_bytes
                self.take(self.plan.published())
            case AbortUpload():
                self.aborted += 1
            case Finish():
                pass

    def carry_out_all(self) -> None:
        while self.pending:
            self.carry_out()


def started(**options: int | None) -> tuple[UploadPlan, Store]:
    plan = UploadPlan(LADDER, concurrency=2, reorder_bytes=24, **options)  # type: ignore[arg-type]
    return plan, Store(plan)


WRITES = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 90), st.binary(max_size=30)),
        st.tuples(st.just(-1), st.binary(max_size=30)),  # goes on where the last one ended
    ),
    max_size=14,
)


@settings(max_examples=600)
@given(WRITES, st.lists(st.integers(0, 3), max_size=40), st.booleans())
def test_what_is_reported_stored_is_what_was_written(
    writes: list[tuple[int, bytes]], order: list[int], cut: bool
) -> None:
    plan, store = started()
    model = bytearray()
    cursor = 0
    speed = iter(order)
    for offset, data in writes:
        at = cursor if offset < 0 else offset
        store.take(plan.write(at, data))
        if plan.failure is not None:
            break
        if data:
            model.extend(bytes(max(0, at - len(model))))
            model[at : at + len(data)] = data
        cursor = at + len(data)
        while store.pending and next(speed, 0):
            store.carry_out(next(speed, 0))
    if cut and plan.failure is None:
        store.take(plan.truncate(len(model) // 2))
        if plan.failure is None:
            del model[len(model) // 2 :]
    store.take(plan.finish())
    while store.pending:
        store.carry_out(next(speed, 0))
    if plan.failure is None:
        assert plan.phase is Phase.DONE
        assert store.published == bytes(model)
        assert store.aborted == 0
    else:
        assert store.published is None
        assert store.aborted == store.opened
    assert plan.memory_bytes == 0
    assert store.most_in_flight <= 2


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
    assert plan.failure is None
    assert store.published == written


@pytest.mark.parametrize("size", [0, 1, 7, 8])
def test_what_fits_into_one_part_is_one_put(size: int) -> None:
    plan, store = started()
    store.take(plan.write(0, b"x" * size))
    assert not store.pending
    body = (bytearray(b"x" * size),) if size else ()
    assert plan.finish() == (PutWhole(body, size),)


def test_one_byte_more_is_a_multipart_upload() -> None:
    plan, _ = started()
    assert plan.write(0, b"x" * 9) == (OpenUpload(),)


def test_too_many_parts_make_the_client_wait() -> None:
    plan, store = started()
    store.take(plan.write(0, b"x" * 17))
    store.carry_out()
    assert len(store.pending) == 2
    assert not plan.is_congested
    store.take(plan.write(17, b"x" * 16))
    assert plan.is_congested
    store.carry_out()
    assert not plan.is_congested


def test_a_write_into_a_part_that_was_sent_fails_and_sticks() -> None:
    plan, store = started()
    store.take(plan.write(0, b"x" * 17))
    store.take(plan.write(3, b"y"))
    assert isinstance(plan.failure, UploadFailed)
    first = plan.failure
    assert plan.write(17, b"z") == NOTHING
    assert plan.finish() == NOTHING
    assert plan.failure is first


def test_a_write_far_ahead_is_refused_at_once() -> None:
    plan, _ = started()
    plan.write(25, b"x")
    assert isinstance(plan.failure, LimitReached)


def test_a_file_over_all_parts_is_refused_with_the_reason() -> None:
    plan = UploadPlan(Ladder(8, 8, max_parts=2), reorder_bytes=24)
    plan.write(0, b"x" * 17)
    assert isinstance(plan.failure, LimitReached)
    assert "16 bytes" in plan.failure.message


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
    assert plan.write(0, b"x" * 9) == (OpenUpload(),)
    assert plan.fail(UploadFailed("lost")) == NOTHING
    assert plan.upload_opened() == (AbortUpload(),)


def test_a_part_that_fails_ends_the_upload() -> None:
    plan, store = started()
    store.take(plan.write(0, b"x" * 17))
    store.carry_out()
    store.pending.pop(0)
    assert plan.part_failed(1, StoreError("no")) == NOTHING
    store.carry_out()
    assert store.pending == [AbortUpload()]


class TestOverlay:
    """An object stays below what is written."""

    def test_untouched_it_stays(self) -> None:
        plan, _ = started(overlaid_bytes=20)
        assert plan.size_bytes == 20
        assert plan.truncate(20) == NOTHING
        assert plan.finish() == (Finish(),)
        assert plan.phase is Phase.DONE

    @pytest.mark.parametrize("size", [3, 6])
    def test_written_from_the_start_to_the_old_end_or_farther(self, size: int) -> None:
        plan, _ = started(overlaid_bytes=3)
        plan.write(0, b"x" * size)
        assert plan.finish() == (PutWhole((bytearray(b"x" * size),), size),)

    def test_shorter_and_cut_there(self) -> None:
        plan, _ = started(overlaid_bytes=20)
        plan.write(0, b"xyz")
        plan.truncate(3)
        assert plan.finish() == (PutWhole((bytearray(b"xyz"),), 3),)

    def test_cut_to_nothing(self) -> None:
        plan, _ = started(overlaid_bytes=20)
        plan.truncate(0)
        assert plan.finish() == (PutWhole((), 0),)

    @pytest.mark.parametrize(("offset", "size"), [(0, 5), (20, 5), (3, 4)])
    def test_what_would_need_its_bytes_fails(self, offset: int, size: int) -> None:
        plan, _ = started(overlaid_bytes=20)
        plan.write(offset, b"x" * size)
        assert plan.finish() == NOTHING
        assert isinstance(plan.failure, Unsupported)
