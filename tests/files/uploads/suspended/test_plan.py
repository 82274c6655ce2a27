"""Uploads that are suspended and resumed, against a byte array; their records as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.errors import LimitReached, StoreError, UploadFailed
from sftpgw.files.uploads.plan.staging_layout import StagingLayout
from sftpgw.files.uploads.plan.upload_commands import (
    AbortUpload,
    Command,
    CommandResult,
    DropStaging,
    PutWhole,
    SendPart,
    SuspendUpload,
)
from sftpgw.files.uploads.plan.upload_plan import UploadPhase, UploadPlan
from sftpgw.files.uploads.suspended.plan import (
    ResumedParts,
    SuspendedUpload,
    durable,
    parse_record,
    record_name,
    record_text,
)
from sftpgw.model.store import Checksum, ChecksumAlgorithm, MultipartUpload, ObjectName, StoredPart
from tests.files.uploads.plan.test_upload_plan import IN_PIECES, LAYOUTS, PLAIN, OpenedUpload, Store
from tests.files.uploads.upload_plans import make_plan

TAIL_BYTES = 3


@dataclass
class SuspendingStore(Store):
    """A store that gets several uploads of one file, one after the other."""

    suspended_parts: tuple[StoredPart, ...] = ()
    sent: list[int] = field(default_factory=list)

    def _done(self, command: Command) -> CommandResult:
        if isinstance(command, SuspendUpload):
            clearing = (AbortUpload, DropStaging)
            assert all(isinstance(each, clearing) for each in self.pending)
            self.suspended_parts = command.parts
            return None
        return super()._done(command)

    def _keep(self, upload: int, number: int, data: bytes) -> StoredPart:
        self.sent.append(len(data))
        self.uploads[upload].parts[number] = data  # a number may be used again
        return StoredPart(number, len(data), f"e{number}")

    def _joined(self, upload: int, parts: tuple[StoredPart, ...], size_bytes: int) -> bytes:
        # The store drops parts that are not named.
        stored = self.uploads[upload].parts
        self.uploads[upload] = OpenedUpload({part.number: stored[part.number] for part in parts})
        return super()._joined(upload, parts, size_bytes)

    @property
    def durable_data(self) -> bytes:
        return b"".join(self.uploads[0].parts[part.number] for part in self.suspended_parts)

    def next_session(self, **options: Any) -> UploadPlan:
        """The file is opened again."""
        suspended_parts, self.suspended_parts = self.suspended_parts, ()
        self.plan = make_plan(
            self.layout,
            concurrency=2,
            reorder_bytes=24,
            base=ResumedParts(suspended_parts),
            tail_bytes=TAIL_BYTES,
            **options,
        )
        return self.plan


def begun(layout: StagingLayout = PLAIN) -> SuspendingStore:
    store = SuspendingStore(UploadPlan(layout), layout)
    store.next_session()
    return store


def data_of(size_bytes: int, seed: int = 0) -> bytes:
    return bytes((index * 31 + seed) % 251 for index in range(size_bytes))


@dataclass(frozen=True)
class Session:
    """A client's: how much it sends before it is lost, and what the store does meanwhile."""

    sends: int
    step: int
    speed: tuple[int, ...]
    failing: int | None
    begins_anew: bool


SESSIONS = st.lists(
    st.builds(
        Session,
        st.integers(0, 60),
        st.integers(1, 20),
        st.lists(st.integers(0, 3), max_size=12).map(tuple),
        st.one_of(st.none(), st.integers(0, 8)),
        st.sampled_from([False, False, False, True]),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=800)
@given(LAYOUTS, SESSIONS, st.integers(0, 80))
def test_however_often_it_is_cut_off_what_is_published_is_the_file(
    layout: StagingLayout, sessions: list[Session], size_bytes: int
) -> None:
    store, data = begun(layout), data_of(size_bytes)
    for session in sessions:
        go_through(store, session, data)
        if not store.suspended_parts and store.plan.phase is not UploadPhase.DONE:
            store.assert_nothing_left()
        store.next_session()
    plan, start = store.plan, len(resumed_data(store, data))
    for offset in range(start, size_bytes, 7):
        store.take(plan.write(offset, data[offset : offset + 7]))
        store.carry_out_all()
    store.take(plan.truncate(size_bytes))
    store.take(plan.finish())
    store.carry_out_all()
    assert plan.end_reason is None
    assert store.published == data
    store.assert_nothing_left()
    assert plan.memory_need.sent_bytes + plan.memory_need.filling_bytes == 0


def resumed_data(store: SuspendingStore, data: bytes) -> bytes:
    """The base of the bytes that are written now: a beginning of the file."""
    parts = store.plan._resumed.parts
    found = b"".join(store.uploads[0].parts[part.number] for part in parts)
    assert data.startswith(found)
    assert not found or len(found) < len(data), "a suspended upload is never the whole file"
    assert len(found) == store.plan.size_bytes
    return found


def go_through(store: SuspendingStore, session: Session, data: bytes) -> None:
    """One session, up to the loss of its client."""
    plan, speed, done = store.plan, iter(session.speed), 0
    suspended_parts = resumed_data(store, data)
    at = 0 if session.begins_anew else len(suspended_parts)
    stop = min(at + session.sends, len(data))

    def go_on() -> None:
        nonlocal done
        done += 1
        if done - 1 == session.failing and plan.end_reason is None:
            store.refuse(next(speed, 0))
        else:
            store.carry_out(next(speed, 0))

    while at < stop and plan.end_reason is None:
        store.take(plan.write(at, data[at : min(stop, at + session.step)]))
        at = min(stop, at + session.step)
        while store.pending and next(speed, 0):
            go_on()
    has_failed = plan.end_reason is not None
    store.take(plan.client_lost())
    while store.pending:
        go_on()
    assert plan.phase is UploadPhase.ENDED
    assert store.published is None
    assert store.uploads.keys() == ({0} if store.suspended_parts else set())
    assert store.staging_objects == {}
    assert plan.memory_need.sent_bytes + plan.memory_need.filling_bytes == 0
    if has_failed and store.suspended_parts:
        assert len(store.durable_data) == len(suspended_parts), (
            "only bytes that were suspended before"
        )
    assert sum(part.size_bytes for part in store.suspended_parts) == len(store.durable_data)


def lost_after(store: SuspendingStore, size_bytes: int, start: int = 0) -> bytes:
    store.take(store.plan.write(start, data_of(size_bytes)[start:]))
    store.carry_out_all()
    store.take(store.plan.client_lost())
    store.carry_out_all()
    return store.durable_data if store.suspended_parts else b""


class TestWhatIsSuspended:
    @pytest.mark.parametrize(
        ("sent", "suspended_bytes"),
        [(0, 0), (3, 0), (4, 3), (8, 7), (9, 8), (11, 8), (12, 11), (16, 8)],
    )
    def test_whole_parts_and_a_tail_but_never_all(self, sent: int, suspended_bytes: int) -> None:
        assert lost_after(begun(), sent) == data_of(suspended_bytes)

    def test_a_whole_part_at_the_end_is_left_out(self) -> None:
        store = begun()
        store.take(store.plan.write(0, data_of(9)))
        store.take(store.plan.truncate(8))  # part 1 was sealed, and is all there is
        assert store.plan.end_reason is None
        store.carry_out_all()
        store.take(store.plan.client_lost())
        store.carry_out_all()
        assert store.suspended_parts == ()
        store.assert_nothing_left()

    def test_parts_behind_a_gap_are_lost(self) -> None:
        store = begun()
        store.take(store.plan.write(0, data_of(9)))
        store.take(store.plan.write(12, b"behind"))
        store.carry_out_all()
        store.take(store.plan.client_lost())
        store.carry_out_all()
        assert store.durable_data == data_of(8)

    def test_complete_staging_objects_stay_and_others_go(self) -> None:
        for size_bytes in (41, 60, 70, 77):
            store = begun(IN_PIECES)
            suspended_parts = lost_after(store, size_bytes)
            assert len(suspended_parts) in {40, 72}
            assert store.staging_objects == {}
            plan = store.next_session()
            data = data_of(100)
            store.take(plan.write(len(suspended_parts), data[len(suspended_parts) :]))
            store.carry_out_all()
            store.take(plan.finish())
            store.carry_out_all()
            assert store.published == data

    def test_a_closed_file_is_not_suspended(self) -> None:
        store = begun()
        store.take(store.plan.write(0, data_of(20)))
        store.take(store.plan.finish())
        store.take(store.plan.client_lost())
        store.carry_out_all()
        assert store.suspended_parts == ()
        store.assert_nothing_left()

    def test_an_upload_that_is_not_to_be_suspended_is_aborted(self) -> None:
        plan = UploadPlan(PLAIN)
        store = SuspendingStore(plan)
        assert lost_after(store, 20) == b""
        store.assert_nothing_left()

    def test_parts_in_flight_are_retried_until_the_deadline_is_short(self) -> None:
        store = begun()
        store.take(store.plan.write(0, data_of(50)))
        store.carry_out()  # the opening
        store.take(store.plan.client_lost())
        sent = [each for each in store.pending if isinstance(each, SendPart)]
        store.pending.remove(sent[-1])
        store.take(store.plan.failed(sent[-1], StoreError("no")))
        assert store.plan.is_suspending
        assert not store.plan.is_given_up, "the parts before it may yet be suspended"
        store.take(store.plan.stop_sending())
        assert store.plan.is_given_up

    def test_a_lost_upload_that_is_not_to_be_suspended_is_given_up_at_once(self) -> None:
        store = SuspendingStore(UploadPlan(PLAIN))
        store.take(store.plan.write(0, data_of(50)))
        assert not store.plan.is_given_up
        store.take(store.plan.client_lost())
        assert store.plan.is_given_up

    def test_with_a_short_deadline_only_parts_in_flight_are_waited_for(self) -> None:
        store = begun()
        store.take(store.plan.write(0, data_of(50)))
        store.carry_out()  # the opening
        store.take(store.plan.client_lost())
        store.take(store.plan.stop_sending())
        store.carry_out_all()
        assert store.durable_data == data_of(16)


class TestGoingOn:
    def suspended_parts(self, size_bytes: int) -> SuspendingStore:
        store = begun()
        lost_after(store, size_bytes)
        store.sent.clear()
        store.next_session()
        return store

    def test_nothing_is_asked_for_before_a_part_lies_behind_it(self) -> None:
        store = self.suspended_parts(17)
        assert store.plan.size_bytes == 16
        assert store.plan.write(16, b"x" * 15) == ()
        (command,) = store.plan.write(31, b"x")
        assert isinstance(command, SendPart)
        assert (command.number, command.offset) == (3, 16)

    def test_a_suspended_upload_written_anew_sends_the_same_part_numbers(self) -> None:
        store = self.suspended_parts(17)
        store.take(store.plan.write(0, b"n" * 20))
        store.carry_out_all()
        store.take(store.plan.truncate(20))
        store.take(store.plan.finish())
        store.carry_out_all()
        assert store.published == b"n" * 20
        assert store.opened == 1

    def test_a_suspended_upload_written_anew_into_one_part_is_put_and_aborted(self) -> None:
        store = self.suspended_parts(17)
        store.take(store.plan.write(0, b"n" * 5))
        store.take(store.plan.truncate(5))
        commands = store.plan.finish()
        assert isinstance(commands[0], PutWhole)
        store.take(commands)
        store.carry_out_all()
        assert store.plan.phase is UploadPhase.DONE
        assert store.published == b"nnnnn"
        store.assert_nothing_left()

    @pytest.mark.parametrize("at", [1, 7, 9, 15])
    def test_bytes_that_are_neither_preserved_nor_written_fail_the_upload(self, at: int) -> None:
        store = self.suspended_parts(17)
        store.take(store.plan.write(at, b"n" * 40))
        store.take(store.plan.finish())
        store.carry_out_all()
        assert isinstance(store.plan.end_reason, UploadFailed)
        assert "send the whole file" in store.plan.end_reason.message
        assert store.published is None
        store.assert_nothing_left()

    def test_a_suspended_upload_may_be_written_anew_from_the_end_of_a_part(self) -> None:
        store = self.suspended_parts(17)
        store.take(store.plan.write(8, b"n" * 40))
        store.take(store.plan.finish())
        store.carry_out_all()
        assert store.published == data_of(8) + b"n" * 40

    def test_a_resumed_upload_that_fails_is_suspended_again(self) -> None:
        store = self.suspended_parts(17)
        store.take(store.plan.write(1000, b"too far"))
        assert isinstance(store.plan.end_reason, LimitReached)
        store.carry_out_all()
        assert store.durable_data == data_of(16)

    def test_a_resumed_upload_that_is_closed_unchanged_is_suspended_again(self) -> None:
        store = self.suspended_parts(17)
        store.take(store.plan.finish())
        store.carry_out_all()
        assert store.plan.phase is UploadPhase.DONE
        assert store.plan.end_reason is None
        assert store.durable_data == data_of(16)
        assert store.published is None

    def test_a_store_that_cannot_write_it_down(self) -> None:
        store = begun()
        store.take(store.plan.write(0, data_of(17)))
        store.carry_out_all()
        store.take(store.plan.client_lost())
        assert isinstance(store.pending[-1], SuspendUpload)
        store.take(store.plan.failed(store.pending.pop(), StoreError("no")))
        assert store.plan.phase is UploadPhase.ENDED
        assert not store.pending


PARTS = st.lists(
    st.tuples(
        st.integers(1, 5 * 2**30),
        st.text(max_size=40),
        st.one_of(
            st.none(),
            st.builds(Checksum, st.sampled_from(ChecksumAlgorithm), st.integers(0, 2**32 - 1)),
        ),
    ),
    min_size=1,
    max_size=20,
).map(lambda rows: tuple(StoredPart(number, *row) for number, row in enumerate(rows, 1)))

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
PARTIALS = st.builds(
    SuspendedUpload,
    TEXT,
    st.builds(
        MultipartUpload,
        st.builds(ObjectName, st.just("bucket"), TEXT),
        TEXT,
        st.one_of(st.none(), st.sampled_from(ChecksumAlgorithm)),
    ),
    PARTS,
    st.floats(0, 1e11),
    st.one_of(st.none(), st.floats(0, 1e11)),
)


class TestText:
    @given(PARTIALS)
    def test_a_written_record_is_read_back(self, suspended: SuspendedUpload) -> None:
        found = parse_record(record_text(suspended), "bucket")
        assert found == suspended
        assert found.upload.checksum is suspended.upload.checksum

    @given(PARTIALS, st.data())
    def test_a_damaged_record_is_refused_or_read(
        self, suspended: SuspendedUpload, data: st.DataObject
    ) -> None:
        text = bytearray(record_text(suspended))
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=3))
        try:
            found = parse_record(bytes(text), "bucket")
        except ValueError:
            return
        assert all(part.size_bytes > 0 for part in found.parts)

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"[]",
            b"{}",
            b'{"version": 2}',
            b"\xff",
            b"[" * 100_000,
            b'{"version": 1, "parts": 5}',
        ],
    )
    def test_other_texts_are_refused(self, text: bytes) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
            parse_record(text, "bucket")

    def test_no_user_finds_the_records_of_others(self) -> None:
        name = ObjectName("bucket", "home/file")
        names = {
            record_name(".s/", user, ObjectName("bucket", key))
            for user in ("a", "b", "ab", "")
            for key in ("file", "home/file", "home/ab", "home/b/file", "home/", "bhome/file")
        }
        assert len(names) == 24
        assert record_name(".s/", "a", name) == record_name(".s/", "a", name)
        assert all(name.key.startswith(".s/partials/") for name in names)


@given(PARTS, st.integers(0, 10), st.integers(0, 2**36))
def test_durable_is_what_has_no_gap_and_is_not_all(
    parts: tuple[StoredPart, ...], missing: int, limit_bytes: int
) -> None:
    stored = [part for part in parts if part.number != missing]
    found = durable(reversed(stored), limit_bytes)
    assert found == parts[: len(found)]
    assert ResumedParts(found).size_bytes < max(1, limit_bytes)
    more = ResumedParts(parts[: len(found) + 1])
    is_all = len(found) == len(parts) or len(found) + 1 == missing
    assert is_all or more.size_bytes >= limit_bytes
