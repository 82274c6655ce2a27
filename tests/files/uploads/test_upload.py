"""Uploads to the fake store: faults, memory, abandoning, the registry."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from sftpgw.errors import (
    AlreadyExists,
    GatewayError,
    LimitReached,
    NoSuchUpload,
    PreconditionFailed,
    StoreError,
    StoreUnavailable,
    UploadFailed,
)
from sftpgw.files.memory.budget import Budget
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.files.uploads.open_mode import OpenMode
from sftpgw.files.uploads.plan.part_sizes import Ladder
from sftpgw.files.uploads.plan.staging_layout import StagingLayout, choose_layout
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.filesystem import AttributeChanges
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import ObjectName, WriteCondition
from sftpgw.model.units import KIB, MIB
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.session_contexts import session_context
from sftpgw.testing.ssh_pairs import RecordedEvents
from tests.files.uploads.upload_plans import make_plan
from tests.results import failure_of, result_of

NAME = ObjectName("bucket", "file")
PART = 512 * KIB
PLAIN = StagingLayout(Ladder(PART, PART), 10_000)
IN_PIECES = choose_layout(
    Ladder(PART, PART, max_parts=5),
    part_copy=True,
    unequal_parts=True,
    direct_parts=2,
    copy_limit_bytes=3 * PART,
    first_staging_bytes=2 * PART,
    step_stagings=1,
)
"""Two direct parts, then staging uploads of two, three and three."""


class Process:
    """The objects that uploads share."""

    def __init__(self, *, budget: int = 100 * MIB) -> None:
        self.store = FakeStore(min_part_bytes=1)
        self.clock = Clock()
        self.budget = Budget(budget, self.clock.seconds)
        self.transfers = TransferRegistry()
        self.events = RecordedEvents()

    def upload(
        self,
        name: ObjectName = NAME,
        *,
        layout: StagingLayout = PLAIN,
        storage_class: str = "",
        condition: WriteCondition = WriteCondition.NONE,
        modified_seconds: float | None = None,
    ) -> Upload:
        context = session_context(
            self.store,
            budget=self.budget,
            transfers=self.transfers,
            clock=self.clock,
            events=self.events,
            settings=StoreSettings(storage_class=storage_class),
        )
        return Upload(
            context,
            make_plan(layout, concurrency=2, reorder_bytes=4 * PART),
            name,
            mode=OpenMode(condition),
            modified_seconds=modified_seconds,
        )

    def assert_idle(self) -> None:
        assert self.budget.held_bytes == 0
        assert not self.store.uploads
        assert not self.transfers.pinned
        assert not any(name.key.startswith(".sftpgw/") for name in self.store.objects)
        result_of(self.transfers.idle())
        assert self.events.facts("defect") == []


def started(waiting: object) -> Deferred[None]:
    return Deferred.fromCoroutine(waiting)  # type: ignore[arg-type]


def write_all(upload: Upload, data: bytes, step: int = 64 * KIB) -> list[Deferred[None]]:
    waiting = []
    for offset in range(0, len(data), step):
        later = upload.write(offset, data[offset : offset + step])
        if later is not None:
            waiting.append(later)
    return waiting


def write_some(upload: Upload, data: bytes) -> None:
    """Write until it fails, and ignore how the replies turn out."""
    for offset in range(0, len(data), 64 * KIB):
        try:
            later = upload.write(offset, data[offset : offset + 64 * KIB])
        except GatewayError:
            return
        if later is not None:
            later.addErrback(lambda failure: None)


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 5 * PART, 5 * PART + 77])
def test_written_bytes_are_stored(size: int) -> None:
    process = Process()
    upload = process.upload()
    data = bytes(range(251)) * (size // 251 + 1)
    write_all(upload, data[:size])
    result_of(upload.commit())
    assert process.store.content("file") == data[:size]
    process.assert_idle()


def test_the_requests_of_a_small_and_a_large_file() -> None:
    process = Process()
    small = process.upload()
    small.write(0, b"x")
    result_of(small.commit())
    assert process.store.requests == {"put": 1}
    process.store.requests.clear()
    large = process.upload()
    write_all(large, b"x" * (3 * PART))
    result_of(large.commit())
    assert process.store.requests == {"create_upload": 1, "upload_part": 3, "complete_upload": 1}


def test_nothing_is_visible_before_the_close() -> None:
    process = Process()
    process.store.seed("file", b"old")
    upload = process.upload()
    write_all(upload, b"x" * (3 * PART))
    assert process.store.content("file") == b"old"
    result_of(upload.commit())
    assert len(process.store.content("file")) == 3 * PART


def test_replies_are_withheld_while_too_many_parts_are_under_way() -> None:
    process = Process()
    gate = process.store.hold("upload_part")
    upload = process.upload()
    waiting = write_all(upload, b"x" * (4 * PART))
    assert waiting
    assert process.store.requests["upload_part"] == 2
    assert not any(later.called for later in waiting)
    gate.open()
    for later in waiting:
        result_of(later)
    result_of(upload.commit())
    process.assert_idle()


def test_replies_are_withheld_while_there_is_no_memory() -> None:
    process = Process(budget=3 * PART)
    assert process.budget.try_charge(2 * PART)
    first = process.upload()
    assert write_all(first, b"x" * (PART // 2 + 64 * KIB)) == []
    second = process.upload(ObjectName("bucket", "second"))
    waiting = write_all(second, b"y" * (PART // 2 + 64 * KIB))
    assert waiting
    assert process.budget.waiting == 1
    result_of(first.commit())
    for later in waiting:
        result_of(later)
    result_of(second.commit())
    process.budget.release(2 * PART)
    process.assert_idle()


def test_small_files_never_wait_for_memory() -> None:
    process = Process(budget=PART)
    assert process.budget.try_charge(PART)
    upload = process.upload()
    assert upload.write(0, b"x" * 1000) is None
    result_of(upload.commit())
    process.budget.release(PART)
    process.assert_idle()


def test_a_gap_is_never_waited_for_behind_a_withheld_reply() -> None:
    process = Process(budget=20 * PART)
    assert process.budget.try_charge(20 * PART)
    upload = process.upload()
    assert upload.write(PART, b"b" * PART) is None
    later = upload.write(0, b"a" * PART)
    process.budget.release(20 * PART)
    if later is not None:
        result_of(later)
    result_of(upload.commit())
    assert process.store.content("file") == b"a" * PART + b"b" * PART
    process.assert_idle()


def test_writes_out_of_order_fail_when_even_the_overdraft_is_spent() -> None:
    process = Process(budget=4 * PART)
    assert process.budget.try_charge(4 * PART)
    upload = process.upload()
    with pytest.raises(LimitReached, match="out of order"):
        upload.write(PART, b"b" * PART)
    assert process.budget.held_bytes == 4 * PART
    process.budget.release(4 * PART)
    assert isinstance(failure_of(upload.commit()).value, LimitReached)
    process.assert_idle()


def test_many_large_uploads_with_little_memory_all_finish() -> None:
    process = Process(budget=4 * PART)
    gate = process.store.hold("upload_part")
    uploads = [process.upload(ObjectName("bucket", f"{index}")) for index in range(12)]
    waiting: list[Deferred[None]] = []
    for offset in range(0, 3 * PART, 64 * KIB):
        for upload in uploads:
            later = upload.write(offset, b"x" * 64 * KIB)
            if later is not None:
                waiting.append(later)
    committing = [started(upload.commit()) for upload in uploads]
    gate.open()
    for each in (*committing, *waiting):
        result_of(each)
    assert len(process.store.keys()) == 12
    process.assert_idle()


def test_an_upload_that_no_longer_needs_memory_leaves_the_queue() -> None:
    process = Process(budget=2 * PART)
    gate = process.store.hold("upload_part")
    first, second = process.upload(), process.upload(ObjectName("bucket", "second"))
    waiting = write_all(first, b"x" * (PART + PART // 2))
    waiting += write_all(second, b"y" * (PART + PART // 2))
    assert process.budget.waiting
    gate.open()
    for later in waiting:
        result_of(later)
    result_of(first.commit())
    result_of(second.commit())
    process.assert_idle()


def test_an_idle_upload_fails_when_others_need_its_memory() -> None:
    process = Process(budget=PART)
    idle = process.upload()
    write_all(idle, b"x" * (PART // 2 + 64 * KIB))
    process.clock.advance(5)
    busy = process.upload(ObjectName("bucket", "busy"))
    waiting = write_all(busy, b"y" * (PART // 2 + 64 * KIB))
    assert waiting
    process.clock.advance(20)
    for later in waiting:
        result_of(later)
    result_of(busy.commit())
    failure = failure_of(idle.commit()).value
    assert isinstance(failure, LimitReached)
    assert "10 seconds" in failure.message
    process.assert_idle()
    assert not process.clock.getDelayedCalls()


def test_the_last_close_wins() -> None:
    process = Process()
    gate = process.store.hold("put")
    first, second = process.upload(), process.upload()
    first.write(0, b"first")
    second.write(0, b"second")
    committing = [started(first.commit()), started(second.commit())]
    assert gate.waiting == 1
    gate.open()
    for each in committing:
        result_of(each)
    assert process.store.content("file") == b"second"


def test_two_commits_of_one_key_are_both_waited_for() -> None:
    process = Process()
    gate = process.store.hold("put")
    first, second = process.upload(), process.upload()
    first.write(0, b"first")
    second.write(0, b"second")
    committing = [started(first.commit()), started(second.commit())]
    settled = started(process.transfers.settled(NAME))
    assert not settled.called
    gate.open()
    result_of(settled)
    for each in committing:
        result_of(each)


def test_a_defect_while_a_part_is_sent_leaves_nothing_behind() -> None:
    process = Process()
    process.store.fail("upload_part", ZeroDivisionError())
    upload = process.upload()
    for offset in range(0, 4 * PART, 64 * KIB):
        try:
            upload.write(offset, b"x" * 64 * KIB)
        except UploadFailed:
            break
    assert isinstance(failure_of(upload.commit()).value, UploadFailed)
    assert not process.store.uploads
    assert process.budget.held_bytes == 0


def test_a_failed_upload_keeps_no_bytes_alive() -> None:
    process = Process()
    process.store.fail("upload_part", StoreUnavailable("down"))
    upload = process.upload()
    with pytest.raises(StoreUnavailable) as caught:
        write_all(upload, b"x" * (3 * PART))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    result_of(upload.abandon())


@pytest.mark.parametrize("operation", ["create_upload", "upload_part", "complete_upload"])
def test_a_refusal_fails_the_upload_and_sticks(operation: str) -> None:
    process = Process()
    process.store.fail(operation, StoreUnavailable("down", code="SlowDown", request_id="R1"))
    process.store.seed("file", b"old")
    upload = process.upload()
    for offset in range(0, 3 * PART, 64 * KIB):
        try:
            upload.write(offset, b"x" * 64 * KIB)
        except StoreUnavailable:
            break
    assert isinstance(failure_of(upload.commit()).value, StoreUnavailable)
    assert isinstance(failure_of(upload.sync()).value, StoreUnavailable)
    with pytest.raises(StoreUnavailable):
        upload.write(3 * PART, b"more")
    assert process.store.content("file") == b"old"
    process.assert_idle()
    (facts,) = process.events.facts("upload-failed")
    assert isinstance(facts.pop("received_bytes"), int)
    assert facts == {
        "key": "file",
        "reason": "down",
        "code": "SlowDown",
        "request_id": "R1",
        "purpose": "upload",
        "bucket": "bucket",
    }


def test_a_late_error_fails_the_writes_that_wait() -> None:
    process = Process()
    gate = process.store.hold("upload_part")
    process.store.fail("upload_part", NoSuchUpload("gone"))
    upload = process.upload()
    waiting = write_all(upload, b"x" * (4 * PART))
    gate.open()
    assert {type(failure_of(later).value) for later in waiting} == {NoSuchUpload}
    assert isinstance(failure_of(upload.commit()).value, NoSuchUpload)
    process.assert_idle()


def test_abandoning_settles_what_is_under_way_and_then_aborts() -> None:
    process = Process()
    gate = process.store.hold("upload_part")
    upload = process.upload()
    waiting = write_all(upload, b"x" * (3 * PART))
    leaving = started(upload.abandon())
    assert process.store.requests["abort_upload"] == 0
    assert not leaving.called
    gate.open()
    result_of(leaving)
    assert process.store.requests["abort_upload"] == 1
    assert {type(failure_of(later).value) for later in waiting} == {UploadFailed}
    assert process.store.keys() == []
    process.assert_idle()


def test_abandoning_while_the_upload_is_being_opened() -> None:
    process = Process()
    gate = process.store.hold("create_upload")
    upload = process.upload()
    for later in write_all(upload, b"x" * (2 * PART)):
        later.addErrback(lambda failure: None)
    leaving = started(upload.abandon())
    gate.open()
    result_of(leaving)
    process.assert_idle()
    assert process.store.requests["upload_part"] == 0


def test_an_abort_that_fails_is_told_to_the_operator() -> None:
    process = Process()
    process.store.fail("abort_upload", StoreError("no", code="AccessDenied"))
    upload = process.upload()
    write_all(upload, b"x" * (2 * PART))
    result_of(upload.abandon())
    (facts,) = process.events.facts("upload-left-behind")
    assert facts["upload_id"] == "upload-1"


def test_a_defect_ends_the_upload_and_nothing_else() -> None:
    process = Process()
    process.store.fail("put", ZeroDivisionError())
    upload = process.upload()
    upload.write(0, b"x")
    assert isinstance(failure_of(upload.commit()).value, GatewayError)
    assert len(process.events.facts("defect")) == 1
    assert process.budget.held_bytes == 0


@pytest.mark.parametrize("size", [10, 2 * PART])
def test_exclusive_is_decided_by_the_store(size: int) -> None:
    process = Process()
    upload = process.upload(condition=WriteCondition.IF_ABSENT)
    write_all(upload, b"x" * size)
    process.store.seed("file", b"another client was faster")
    assert isinstance(failure_of(upload.commit()).value, AlreadyExists)
    assert process.store.content("file") == b"another client was faster"
    process.assert_idle()


def test_times_are_stored_with_the_object_if_they_come_in_time() -> None:
    process = Process()
    upload = process.upload(modified_seconds=1.5)
    upload.write(0, b"x")
    result_of(upload.set_attributes(AttributeChanges(modified_seconds=1_700_000_000.25)))
    assert result_of(upload.attributes()).modified_seconds == 1_700_000_000.25
    result_of(upload.commit())
    stored = process.store.objects[NAME]
    assert stored.properties.metadata == {"mtime": "1700000000.25"}


def test_sync_waits_for_what_is_under_way_and_tells_its_errors() -> None:
    process = Process()
    gate = process.store.hold("upload_part")
    upload = process.upload()
    write_all(upload, b"x" * (2 * PART + 1))
    syncing = started(upload.sync())
    assert not syncing.called
    process.store.fail("upload_part", PreconditionFailed("no"))
    gate.open()
    assert isinstance(failure_of(syncing).value, GatewayError)
    assert isinstance(failure_of(upload.commit()).value, GatewayError)
    process.assert_idle()


def test_other_requests_wait_for_a_commit_under_way() -> None:
    process = Process()
    gate = process.store.hold("put")
    upload = process.upload()
    upload.write(0, b"x")
    assert process.transfers.newest(NAME) is upload
    result_of(process.transfers.settled(NAME))
    committing = started(upload.commit())
    settled = started(process.transfers.settled(NAME))
    assert not settled.called
    gate.open()
    result_of(committing)
    result_of(settled)
    assert process.transfers.newest(NAME) is None


class TestPieces:
    """An upload that goes on behind its last part number."""

    @pytest.mark.parametrize("parts", [2, 2.5, 4, 6, 7.25, 10])
    def test_a_file_with_staging_uploads_is_stored_whole(self, parts: float) -> None:
        process = Process()
        upload = process.upload(layout=IN_PIECES, modified_seconds=5.0, storage_class="GLACIER_IR")
        data = bytes(range(251)) * (IN_PIECES.capacity_bytes // 251 + 1)
        data = data[: int(parts * PART)]
        write_all(upload, data)
        result_of(upload.commit())
        assert process.store.content("file") == data
        stored = process.store.objects[NAME].properties
        assert (stored.metadata, stored.storage_class) == ({"mtime": "5"}, "GLACIER_IR")
        process.assert_idle()

    def test_the_requests_of_a_staging_upload(self) -> None:
        process = Process()
        upload = process.upload(layout=IN_PIECES)
        write_all(upload, b"x" * (4 * PART))
        result_of(upload.commit())
        assert process.store.requests == {
            "create_upload": 2,
            "upload_part": 4,
            "complete_upload": 2,
            "copy_part": 1,
            "delete": 1,
        }

    def test_a_staging_object_is_copied_and_deleted_while_the_next_one_arrives(self) -> None:
        process = Process()
        upload = process.upload(layout=IN_PIECES)
        gate = process.store.hold("copy_part")
        assert write_all(upload, b"x" * (6 * PART)) == []
        (staging,) = process.store.keys()
        assert staging.startswith(".sftpgw/pieces/")
        assert staging.endswith("/00001")
        assert ObjectName("bucket", staging) in process.transfers.pinned
        gate.open()
        assert process.store.keys() == []
        result_of(upload.abandon())
        process.assert_idle()

    def test_the_condition_is_that_of_the_object(self) -> None:
        process = Process()
        upload = process.upload(layout=IN_PIECES, condition=WriteCondition.IF_ABSENT)
        write_all(upload, b"x" * (5 * PART))
        process.store.seed("file", b"another client was faster")
        assert isinstance(failure_of(upload.commit()).value, AlreadyExists)
        assert process.store.content("file") == b"another client was faster"
        process.assert_idle()

    @pytest.mark.parametrize(
        ("operation", "skipped"),
        [
            ("create_upload", 1),
            ("upload_part", 3),
            ("complete_upload", 0),
            ("complete_upload", 1),
            ("complete_upload", 2),
            ("copy_part", 0),
            ("copy_part", 1),
        ],
    )
    @pytest.mark.parametrize("is_done_all_the_same", [False, True])
    def test_a_refusal_leaves_nothing_behind(
        self, operation: str, skipped: int, is_done_all_the_same: bool
    ) -> None:
        if is_done_all_the_same and operation == "create_upload":
            return  # the id of such an upload is unknown: the sweeper aborts it
        process = Process()
        upload = process.upload(layout=IN_PIECES)
        error = StoreUnavailable("down")
        gate = process.store.hold(operation)
        write_some(upload, b"x" * (6 * PART))
        committing = started(upload.commit())
        for _ in range(skipped):
            gate.open_one()
        if is_done_all_the_same:
            process.store.lose_response(operation, error)
        else:
            process.store.fail(operation, error)
        gate.open()
        assert isinstance(failure_of(committing).value, StoreUnavailable)
        if not (is_done_all_the_same and (operation, skipped) == ("complete_upload", 2)):
            assert NAME not in process.store.objects
        process.assert_idle()

    def test_abandoning_in_the_middle_of_a_copy(self) -> None:
        process = Process()
        upload = process.upload(layout=IN_PIECES)
        gate = process.store.hold("copy_part")
        write_some(upload, b"x" * (6 * PART + 1))
        leaving = started(upload.abandon())
        assert not leaving.called
        gate.open()
        result_of(leaving)
        assert process.store.keys() == []
        process.assert_idle()

    def test_a_staging_object_that_cannot_be_deleted_is_logged_and_the_file_stored(self) -> None:
        process = Process()
        process.store.fail("delete", StoreUnavailable("down"))
        upload = process.upload(layout=IN_PIECES)
        write_all(upload, b"x" * (4 * PART))
        result_of(upload.commit())
        assert len(process.store.content("file")) == 4 * PART
        (facts,) = process.events.facts("piece-left-behind")
        assert process.store.keys() == [facts["piece"], "file"]

    def test_a_byte_too_many_is_refused(self) -> None:
        process = Process()
        upload = process.upload(layout=IN_PIECES)
        write_all(upload, b"x" * IN_PIECES.capacity_bytes)
        with pytest.raises(LimitReached, match="too large"):
            upload.write(IN_PIECES.capacity_bytes, b"x")
        assert isinstance(failure_of(upload.commit()).value, LimitReached)
        assert process.store.keys() == []
        process.assert_idle()


class TestBudget:
    def test_first_come_first_served(self) -> None:
        budget = Budget(10)
        assert budget.acquire(8) is None
        large, small = budget.acquire(9), budget.acquire(1)
        assert large is not None
        assert small is not None
        assert not budget.try_acquire(1)
        budget.release(8)
        result_of(large)
        result_of(small)
        assert budget.held_bytes == 10

    def test_an_upload_that_leaves_the_queue_lets_others_pass(self) -> None:
        budget = Budget(10)
        assert budget.try_charge(5)
        large, small = budget.acquire(9), budget.acquire(5)
        assert large is not None
        assert small is not None
        large.addErrback(lambda failure: None)
        large.cancel()
        result_of(small)
        assert budget.held_bytes == 10

    def test_a_request_larger_than_the_budget_is_granted_when_all_is_free(self) -> None:
        budget = Budget(10)
        assert budget.try_charge(1)
        huge = budget.acquire(100)
        assert huge is not None
        budget.release(1)
        result_of(huge)
        assert budget.held_bytes == 100
