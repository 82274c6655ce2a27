"""Uploads that are suspended and resumed, on another gateway, too."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from sftpgw.errors import (
    AccessDenied,
    AlreadyExists,
    DirectoryNotEmpty,
    GatewayError,
    LimitReached,
    NoSuchFile,
    NoSuchUpload,
    ObjectChanged,
    PermissionDenied,
    StoreUnavailable,
    Unsupported,
    UploadFailed,
)
from sftpgw.files.housekeeping.sweeper import Sweeper, Target
from sftpgw.files.lookup import CLOSE_WAIT_SECONDS
from sftpgw.files.tree import Tree
from sftpgw.files.uploads.suspended.expiry import SuspendedExpiry
from sftpgw.files.uploads.upload import SUSPEND_SECONDS, Upload
from sftpgw.model.filesystem import NO_CHANGES, AttributeChanges, WriteIntent
from sftpgw.model.mounts import Permission
from sftpgw.model.settings import FilesSettings, OnDisconnect, StoreSettings
from sftpgw.model.store import Capabilities, ObjectName, ObjectProperties
from sftpgw.model.units import KIB, MIB
from sftpgw.model.users import User
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import ALICE, GatewayInMemory
from tests.results import failure_of, result_of

PART = 64 * KIB
STEP = 16 * KIB
FILE = "home/alice/file"
RECORDS = ".sftpgw/partials/"
ON = WriteIntent(truncate=False)
NEW = WriteIntent()
KEPT = FilesSettings(on_disconnect=OnDisconnect.RESUME)


def node(store: FakeStore | None = None, **options: Any) -> GatewayInMemory:
    """One gateway of several on one store."""
    settings = StoreSettings(
        bucket="bucket",
        part_size_bytes=options.pop("part_bytes", PART),
        upload_concurrency=4,
    )
    return GatewayInMemory(store, **({"settings": settings, "files": KEPT} | options))


@pytest.fixture
def store() -> FakeStore:
    return FakeStore(min_part_bytes=1)


@pytest.fixture
def first(store: FakeStore) -> GatewayInMemory:
    return node(store)


@pytest.fixture
def second(store: FakeStore) -> GatewayInMemory:
    return node(store)


def content(size_bytes: int, seed: int = 0) -> bytes:
    return b"".join((index * 7 + seed).to_bytes(4, "big") for index in range(size_bytes // 4))


def opened(tree: Tree, intent: WriteIntent = NEW, path: bytes = b"/file", **attributes: Any) -> Any:
    return result_of(tree.open_writer(path, intent, AttributeChanges(**attributes)))


def write(upload: Upload, data: bytes, start: int = 0) -> None:
    """Write all bytes from `start` on, as clients do; replies may come later."""
    for offset in range(start, len(data), STEP):
        later = upload.write(offset, data[offset : offset + STEP])
        if later is not None:
            later.addErrback(lambda failure: None)


def cut(gateway: GatewayInMemory, data: bytes, *, start: int = 0, intent: WriteIntent = NEW) -> int:
    """Upload some of a file and lose the client; returns how many bytes are suspended."""
    tree = gateway.tree()
    upload = opened(tree, intent)
    write(upload, data, start)
    result_of(upload.abandon())
    return bytes_suspended(gateway)


def bytes_suspended(gateway: GatewayInMemory, user: User = ALICE) -> int:
    """As STAT tells it, 0 if it says that there is no file."""
    try:
        return result_of(gateway.tree(user).stat(b"/file")).size_bytes
    except NoSuchFile:
        return 0


def go_on(gateway: GatewayInMemory, data: bytes, intent: WriteIntent = ON) -> None:
    """What `reput` does."""
    tree = gateway.tree()
    start = bytes_suspended(gateway)
    upload = opened(tree, intent)
    write(upload, data, start)
    result_of(upload.commit())


def error_of(work: Coroutine[Any, Any, Any]) -> Any:
    return failure_of(work).value


def records(store: FakeStore) -> list[str]:
    return [key for key in store.keys() if key.startswith(".sftpgw/")]  # noqa: SIM118


def assert_only(store: FakeStore, data: bytes | None) -> None:
    """The file, or none, and nothing else."""
    assert store.keys() == ([FILE] if data is not None else [])
    assert data is None or store.content(FILE) == data
    assert not store.uploads


class TestGoingOn:
    @pytest.mark.parametrize("cut_at", [5 * STEP, 9 * STEP, 12 * STEP, 21 * STEP])
    def test_on_another_node_nothing_is_sent_twice_but_the_tail(
        self, store: FakeStore, first: GatewayInMemory, second: GatewayInMemory, cut_at: int
    ) -> None:
        data = content(25 * STEP)
        suspended_bytes = cut(first, data[:cut_at])
        assert suspended_bytes == (cut_at - 1) // PART * PART
        assert store.keys() == records(store)
        assert len(records(store)) == 1
        before = store.requests["upload_part"]
        go_on(second, data)
        assert store.requests["upload_part"] - before == -(-(len(data) - suspended_bytes) // PART)
        assert store.requests["create_upload"] == 1
        assert_only(store, data)
        first.clock.advance(60)
        assert not first.clock.getDelayedCalls()
        assert first.events.facts("defect") == second.events.facts("defect") == []

    @pytest.mark.parametrize("size_bytes", [0, 1, STEP, PART])
    def test_an_upload_without_a_part_is_not_suspended(
        self, store: FakeStore, first: GatewayInMemory, size_bytes: int
    ) -> None:
        assert cut(first, bytes(size_bytes)) == 0
        assert_only(store, None)

    def test_a_tail_large_enough_for_a_part_is_suspended_but_for_its_last_byte(
        self, store: FakeStore
    ) -> None:
        gateway = node(store, part_bytes=8 * MIB)
        data = content(15 * MIB)
        assert cut(gateway, data[: 6 * MIB]) == 6 * MIB - 1
        assert cut(gateway, data[: 14 * MIB], start=6 * MIB - 1, intent=ON) == 14 * MIB - 1
        go_on(gateway, data)
        assert_only(store, data)

    def test_a_short_tail_is_lost(self, store: FakeStore) -> None:
        gateway = node(store, part_bytes=8 * MIB)
        assert cut(gateway, content(12 * MIB)) == 8 * MIB

    def test_equal_parts_have_no_tail(self) -> None:
        store = FakeStore(min_part_bytes=1, capabilities=Capabilities(unequal_parts=False))
        assert cut(node(store, part_bytes=8 * MIB), content(14 * MIB)) == 8 * MIB

    def test_an_upload_can_be_suspended_and_resumed_several_times(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        data = content(30 * STEP)
        assert cut(first, data[: 9 * STEP]) == 2 * PART
        assert cut(first, data[: 10 * STEP], start=2 * PART, intent=ON) == 2 * PART
        assert cut(first, data[: 17 * STEP], start=2 * PART, intent=ON) == 4 * PART
        assert cut(first, b"", intent=ON) == 4 * PART
        assert len(records(store)) == 1
        go_on(first, data)
        assert_only(store, data)

    def test_a_suspended_upload_is_resumed_by_appending(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        data = content(25 * STEP)
        suspended_bytes = cut(first, data[: 9 * STEP])
        upload = opened(first.tree(), WriteIntent(truncate=False, append=True))
        for offset in range(suspended_bytes, len(data), STEP):
            upload.write(0, data[offset : offset + STEP])
        result_of(upload.commit())
        assert_only(store, data)

    def test_a_suspended_upload_written_anew_is_the_new_file(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        """As `scp` does, which does not truncate."""
        cut(first, content(9 * STEP))
        data = content(30 * STEP, seed=3)
        upload = opened(first.tree(), ON)
        write(upload, data)
        result_of(upload.set_attributes(AttributeChanges(size_bytes=len(data))))
        result_of(upload.commit())
        assert_only(store, data)

    def test_a_suspended_upload_written_anew_may_be_shorter(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        cut(first, content(17 * STEP))
        for size_bytes in (10, 6 * STEP):
            data = content(size_bytes, seed=3)
            upload = opened(first.tree(), ON)
            write(upload, data)
            result_of(upload.set_attributes(AttributeChanges(size_bytes=len(data))))
            result_of(upload.commit())
            assert_only(store, data)
            result_of(first.tree().remove_file(b"/file"))
            cut(first, content(17 * STEP))

    def test_a_suspended_upload_written_anew_in_part_fails(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        cut(first, content(17 * STEP))
        upload = opened(first.tree(), ON)
        write(upload, content(6 * STEP, seed=3))
        assert isinstance(error_of(upload.commit()), UploadFailed)
        assert_only(store, None)

    def test_an_upload_lost_while_written_anew_loses_its_old_bytes(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        cut(first, content(17 * STEP))
        assert cut(first, content(2 * STEP, seed=3), intent=ON) == 0
        assert_only(store, None)
        cut(first, content(17 * STEP))
        data = content(20 * STEP, seed=3)
        assert cut(first, data[: 6 * STEP], intent=ON) == PART
        go_on(first, data)
        assert_only(store, data)

    def test_a_suspended_upload_opened_and_closed_stays_suspended(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        data = content(20 * STEP)
        suspended_bytes = cut(first, data[: 17 * STEP])
        result_of(opened(first.tree(), ON).commit())
        assert bytes_suspended(first) == suspended_bytes
        assert store.keys() == records(store)
        go_on(first, data)
        assert_only(store, data)

    def test_a_client_that_does_wrong_loses_nothing(self, first: GatewayInMemory) -> None:
        suspended_bytes = cut(first, content(17 * STEP))
        upload = opened(first.tree(), ON)
        with pytest.raises(LimitReached):
            upload.write(1000 * MIB, b"x")
        result_of(upload.abandon())
        assert bytes_suspended(first) == suspended_bytes

    def test_a_resumed_upload_keeps_its_time_and_properties(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        data = content(20 * STEP)
        upload = opened(first.tree(), NEW, modified_seconds=5.0)
        write(upload, data[: 9 * STEP])
        result_of(upload.abandon())
        go_on(first, data)
        assert result_of(first.tree().stat(b"/file")).modified_seconds == 5.0
        assert store.requests["copy"] == 0

    def test_suspended_bytes_cannot_be_read_through_the_handle(
        self, first: GatewayInMemory
    ) -> None:
        suspended_bytes = cut(first, content(17 * STEP))
        upload = opened(first.tree(), WriteIntent(truncate=False, read=True))
        with pytest.raises(Unsupported):
            upload.read(0, 10)
        upload.write(suspended_bytes, b"here")
        assert b"".join(upload.read(suspended_bytes, 4)) == b"here"
        result_of(upload.abandon())
        assert bytes_suspended(first) == suspended_bytes


class TestFailures:
    def test_parts_under_way_are_waited_for(self, store: FakeStore, first: GatewayInMemory) -> None:
        gate = store.hold("upload_part")
        upload = opened(first.tree())
        write(upload, content(18 * STEP))
        abandoning = _started(upload.abandon())
        lookup = _started(first.tree().stat(b"/file"))
        assert not abandoning.called
        assert not lookup.called
        gate.open()
        result_of(abandoning)
        assert result_of(lookup).size_bytes == 4 * PART

    def test_a_part_that_fails_ends_what_is_durable(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        gate = store.hold("upload_part")
        upload = opened(first.tree())
        write(upload, content(18 * STEP))
        abandoning = _started(upload.abandon())
        store.fail("upload_part", StoreUnavailable("down"), skip=2)
        gate.open()
        result_of(abandoning)
        assert bytes_suspended(first) == 2 * PART

    def test_waiting_for_parts_in_flight_has_a_limit(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        gate = store.hold("upload_part")
        upload = opened(first.tree())
        write(upload, content(34 * STEP))
        abandoning = _started(upload.abandon())
        first.clock.advance(SUSPEND_SECONDS)
        gate.open()
        result_of(abandoning)
        assert bytes_suspended(first) == 4 * PART
        assert first.budget.held_bytes == 0

    @pytest.mark.parametrize("operation", ["put", "head"])
    def test_an_upload_whose_record_cannot_be_written_is_aborted(
        self, store: FakeStore, first: GatewayInMemory, operation: str
    ) -> None:
        store.fail(operation, StoreUnavailable("down"))
        upload = opened(first.tree())
        write(upload, content(18 * STEP))
        result_of(upload.abandon())
        assert_only(store, None)
        assert first.events.facts("upload-not-kept")

    def test_the_store_forgot_it(self, store: FakeStore, first: GatewayInMemory) -> None:
        data = content(18 * STEP)
        suspended_bytes = cut(first, data[: 9 * STEP])
        store.uploads.clear()
        store.fail("upload_part", NoSuchUpload("gone"))
        upload = opened(first.tree(), ON)
        write_carelessly(upload, data, suspended_bytes)
        error = error_of(upload.commit())
        assert isinstance(error, UploadFailed)
        assert "from the beginning" in error.message
        result_of(upload.abandon())
        assert bytes_suspended(first) == 0
        assert_only(store, None)

    def test_a_failed_upload_is_not_kept(self, store: FakeStore, first: GatewayInMemory) -> None:
        store.fail("upload_part", StoreUnavailable("down"), skip=1)
        upload = opened(first.tree())
        write_carelessly(upload, content(18 * STEP), 0)
        result_of(upload.abandon())
        assert_only(store, None)

    def test_a_record_that_makes_no_sense_is_none(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        cut(first, content(18 * STEP))
        (record,) = records(store)
        store.seed(record, b'{"version": 1, "parts": []}')
        assert bytes_suspended(first) == 0
        assert first.events.facts("partial-unreadable")
        result_of(first.tree().open_directory(b"/")).close()

    def test_an_upload_removed_meanwhile_is_not_suspended(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        upload = opened(first.tree())
        write(upload, content(18 * STEP))
        result_of(first.tree().remove_file(b"/file"))
        result_of(upload.abandon())
        assert_only(store, None)


class TestOthers:
    def test_only_one_of_two_goes_on(
        self, store: FakeStore, first: GatewayInMemory, second: GatewayInMemory
    ) -> None:
        data = content(20 * STEP)
        suspended_bytes = cut(first, data[: 9 * STEP])
        gate = store.hold("put")
        opening = [
            _started(each.tree().open_writer(b"/file", ON, NO_CHANGES)) for each in (first, second)
        ]
        gate.open()
        upload = result_of(opening[0])
        assert isinstance(failure_of(opening[1]).value, ObjectChanged)
        write(upload, data, suspended_bytes)
        result_of(upload.commit())
        assert_only(store, data)

    def test_a_claim_that_comes_late_finds_no_record(
        self, store: FakeStore, first: GatewayInMemory, second: GatewayInMemory
    ) -> None:
        cut(first, content(9 * STEP))
        gate = store.hold("put")
        late = _started(first.tree().open_writer(b"/file", ON, NO_CHANGES))
        early = _started(second.tree().open_writer(b"/file", ON, NO_CHANGES))
        gate.open_last()
        upload = result_of(early)
        gate.open()
        assert isinstance(failure_of(late).value, ObjectChanged)
        assert records(store) == []
        result_of(upload.abandon())

    def test_another_user_never_sees_a_suspended_upload(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        cut(first, content(9 * STEP))
        bob = User.with_home("bob", "bucket", ALICE.mounts[0].key_prefix)
        assert bytes_suspended(first, bob) == 0
        assert listed(first.tree(bob)) == {}
        assert isinstance(error_of(first.tree(bob).remove_file(b"/file")), NoSuchFile)
        upload = opened(first.tree(bob), ON)
        upload.write(0, b"bob's")
        result_of(upload.commit())
        assert store.content(FILE) == b"bob's"

    def test_a_published_file_hides_a_suspended_upload(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        cut(first, content(9 * STEP))
        store.seed(FILE, b"published")
        assert bytes_suspended(first) == 9
        assert listed(first.tree()) == {"file": 9}
        upload = opened(first.tree(), ON)
        upload.write(9, b" and more")
        result_of(upload.commit())
        assert store.content(FILE) == b"published and more"

    def test_an_upload_over_a_file_is_not_kept(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        store.seed(FILE, b"old")
        upload = opened(first.tree())
        write(upload, content(18 * STEP))
        result_of(upload.abandon())
        assert_only(store, b"old")

    def test_an_upload_over_a_file_that_is_still_there_is_not_kept(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        store.seed(FILE, content(18 * STEP))
        upload = opened(first.tree(), ON)
        write(upload, content(30 * STEP), 18 * STEP)
        result_of(upload.abandon())
        assert_only(store, content(18 * STEP))

    def test_the_later_one_of_two_is_kept(
        self, store: FakeStore, first: GatewayInMemory, second: GatewayInMemory
    ) -> None:
        for in_order in (True, False):
            older = opened(first.tree())
            first.clock.advance(1)
            second.clock.advance(first.clock.seconds() - second.clock.seconds())
            newer = opened(second.tree())
            write(older, content(18 * STEP))
            write(newer, content(9 * STEP))
            for upload in (older, newer) if in_order else (newer, older):
                result_of(upload.abandon())
            assert bytes_suspended(first) == 2 * PART
            assert len(store.uploads) == len(records(store)) == 1

    def test_a_record_written_during_an_upload_is_removed_at_its_end(
        self, store: FakeStore, first: GatewayInMemory, second: GatewayInMemory
    ) -> None:
        ghost = opened(first.tree())
        write(ghost, content(18 * STEP))
        data = content(20 * STEP, seed=2)
        upload = opened(second.tree())
        write(upload, data)
        result_of(ghost.abandon())
        assert len(records(store)) == 1
        result_of(upload.commit())
        assert_only(store, data)

    def test_a_user_who_may_only_upload_resumes_and_replaces_nothing(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        dropper = User.with_home("alice", "bucket", "home/alice/", Permission.UPLOAD)
        data = content(20 * STEP)
        suspended_bytes = cut(first, data[: 9 * STEP])
        upload = opened(first.tree(dropper), ON)
        write(upload, data, suspended_bytes)
        store.seed(FILE, b"first come")
        assert isinstance(error_of(upload.commit()), AlreadyExists)
        assert_only(store, b"first come")
        refused = first.tree(dropper).open_writer(b"/file", ON, NO_CHANGES)
        assert isinstance(error_of(refused), PermissionDenied)


class TestWhatItIs:
    def test_a_suspended_upload_is_listed_with_its_durable_size(
        self, first: GatewayInMemory, second: GatewayInMemory
    ) -> None:
        suspended_bytes = cut(first, content(9 * STEP))
        assert bytes_suspended(second) == suspended_bytes
        first.store.seed("home/alice/other", b"x")
        first.store.seed("home/alice/sub/file", b"x")
        assert listed(second.tree()) == {"file": suspended_bytes, "other": 1, "sub": 0}
        assert listed(second.tree(), b"/sub") == {"file": 1}

    def test_a_suspended_upload_cannot_be_read_renamed_or_changed(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        suspended_bytes = cut(first, content(9 * STEP))
        tree = first.tree()
        for refused in (
            tree.open_reader(b"/file"),
            tree.rename(b"/file", b"/other", replace=True),
            tree.set_attributes(b"/file", AttributeChanges(size_bytes=0)),
            tree.set_attributes(b"/file", AttributeChanges(modified_seconds=1.0)),
        ):
            error = error_of(refused)
            assert isinstance(error, Unsupported)
            assert f"first {suspended_bytes} bytes" in error.message
            assert "send the rest" in error.message
        store.seed("home/alice/other", b"x")
        assert isinstance(error_of(tree.rename(b"/other", b"/file", replace=False)), AlreadyExists)
        exclusive = WriteIntent(exclusive=True)
        assert isinstance(
            error_of(tree.open_writer(b"/file", exclusive, NO_CHANGES)), AlreadyExists
        )
        assert bytes_suspended(first) == suspended_bytes

    def test_hashing_it_is_refused(self, first: GatewayInMemory) -> None:
        cut(first, content(9 * STEP))
        command = first.open_command(b"md5sum /file")
        command.end_input()
        assert b"send the rest" in command.complaints
        assert command.status == 1

    @pytest.mark.parametrize("how", ["put", "large put", "remove", "posix-rename"])
    def test_a_suspended_upload_is_aborted_when_its_name_is_removed_or_replaced(
        self, store: FakeStore, first: GatewayInMemory, how: str
    ) -> None:
        cut(first, content(9 * STEP))
        tree = first.tree()
        data: bytes | None = content(20 * STEP if how == "large put" else STEP)
        if how == "remove":
            result_of(tree.remove_file(b"/file"))
            data = None
        elif how == "posix-rename":
            store.seed("home/alice/other", data or b"")
            result_of(tree.rename(b"/other", b"/file", replace=True))
        else:
            upload = opened(tree)
            assert not records(store)
            write(upload, data or b"")
            result_of(upload.commit())
        assert_only(store, data)

    def test_a_folder_with_one_is_not_empty(self, store: FakeStore, first: GatewayInMemory) -> None:
        tree = first.tree()
        result_of(tree.make_directory(b"/d"))
        upload = opened(tree, path=b"/d/file")
        write(upload, content(9 * STEP))
        result_of(upload.abandon())
        assert isinstance(error_of(tree.remove_directory(b"/d")), DirectoryNotEmpty)
        result_of(tree.remove_file(b"/d/file"))
        result_of(tree.remove_directory(b"/d"))
        assert not store.keys()

    def test_resuming_costs_the_requests_that_are_documented(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        """As docs/semantics.rst has it."""
        tree = first.tree()
        store.seed("home/alice/a", b"x")

        def costs(work: Coroutine[Any, Any, Any]) -> dict[str, int]:
            store.requests.clear()
            result_of(work)
            return dict(store.requests)

        assert costs(tree.stat(b"/a")) == {"head": 1}
        assert costs(tree.open_writer(b"/b", NEW, NO_CHANGES)) == {"get": 1}
        assert costs(tree.open_directory(b"/")) == {"list": 2, "head": 1}
        store.requests.clear()
        assert isinstance(error_of(tree.stat(b"/missing")), NoSuchFile)
        assert store.requests == {"head": 1, "list": 1, "get": 1}
        assert costs(tree.remove_file(b"/a")) == {"head": 1, "get": 1, "delete": 1}
        upload = opened(tree)
        write(upload, content(9 * STEP))
        assert costs(upload.abandon()) == {"head": 1, "put": 1}
        going_on = costs(tree.open_writer(b"/file", ON, NO_CHANGES))
        assert going_on == {"head": 1, "get": 2, "put": 1, "delete": 2}

    def test_without_the_option_nothing_is_suspended_or_asked_for(self, store: FakeStore) -> None:
        suspended_bytes = cut(node(store), content(9 * STEP))
        assert suspended_bytes
        gateway = node(store, files=FilesSettings())
        store.requests.clear()
        assert bytes_suspended(gateway) == 0
        assert store.requests["get"] == 0
        upload = opened(gateway.tree(), path=b"/other")
        write(upload, content(9 * STEP))
        result_of(upload.abandon())
        assert len(store.uploads) == len(records(store)) == 1

    def test_without_the_right_to_list_nothing_is_suspended(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        upload = opened(first.tree())
        write(upload, content(9 * STEP))
        store.fail("head", AccessDenied("403"))
        result_of(upload.abandon())
        assert_only(store, None)


class TestExpiring:
    def expire(self, gateway: GatewayInMemory, days: float) -> frozenset[Any]:
        gateway.clock.advance(days * 86400)
        return result_of(self.expiring(gateway).expire("bucket"))

    def expiring(self, gateway: GatewayInMemory) -> SuspendedExpiry:
        return SuspendedExpiry(
            gateway.store, lambda bucket: ".sftpgw/", 7 * 86400.0, gateway.clock, gateway.events
        )

    def test_a_young_record_stays(self, store: FakeStore, first: GatewayInMemory) -> None:
        cut(first, content(9 * STEP))
        (opened_upload,) = store.uploads.values()
        assert self.expire(first, 6.9) == {opened_upload.upload}
        assert bytes_suspended(first)

    def test_an_old_record_goes_with_its_upload(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        cut(first, content(9 * STEP))
        assert self.expire(first, 7.1) == frozenset()
        assert_only(store, None)
        (facts,) = first.events.facts("partial-dropped")
        assert facts["reason"] == "expired"

    def test_an_unreadable_record_goes_when_it_is_old(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        store.seed(RECORDS + "x/y", b"nonsense")
        assert self.expire(first, 1) == frozenset()
        assert store.keys() == [RECORDS + "x/y"]
        assert self.expire(first, 7) == frozenset()
        assert store.keys() == []

    def test_a_record_that_is_denied_is_not_taken_for_none(
        self, store: FakeStore, first: GatewayInMemory
    ) -> None:
        cut(first, content(9 * STEP))
        store.fail("get", AccessDenied("403"), times=2)
        for days in (1, 7):
            with pytest.raises(AccessDenied):
                self.expire(first, days)
        assert len(records(store)) == len(store.uploads) == 1

    @pytest.mark.parametrize("is_denied", [False, True])
    def test_the_sweeper_spares_suspended_uploads(
        self, store: FakeStore, first: GatewayInMemory, is_denied: bool
    ) -> None:
        cut(first, content(9 * STEP))
        other = result_of(store.create_upload(ObjectName("bucket", "other"), ObjectProperties()))
        first.clock.advance(5 * 86400)
        if is_denied:
            store.fail("get", AccessDenied("403"), times=99)
        sweeper = Sweeper(
            (Target("bucket", "", 86400.0),),
            store=store,
            transfers=first.transfers,
            clock=first.clock,
            events=first.events,
            random=lambda: 0.5,
            expire=self.expiring(first).expire,
        )
        result_of(sweeper.sweep())
        left = {opened.upload for opened in store.uploads.values()}
        assert (other in left) is is_denied
        assert len(left) == 1 + is_denied
        assert bool(first.events.facts("sweep-failed")) is is_denied

    def test_expiry_reads_all_pages(self, first: GatewayInMemory, store: FakeStore) -> None:
        store._page_limit = 2
        for index in range(5):
            upload = opened(first.tree(), path=b"/%d" % index)
            write(upload, content(9 * STEP))
            result_of(upload.abandon())
        assert len(self.expire(first, 1)) == 5


def listed(tree: Tree, path: bytes = b"/") -> dict[str, int]:
    """Names and sizes."""
    reader = result_of(tree.open_directory(path))
    found = {}
    while page := result_of(reader.next_entries()):
        found |= {entry.name: entry.attributes.size_bytes for entry in page}
    return found


def write_carelessly(upload: Upload, data: bytes, start: int) -> None:
    """Until it fails."""
    for offset in range(start, len(data), STEP):
        try:
            later = upload.write(offset, data[offset : offset + STEP])
        except GatewayError:
            return
        if later is not None:
            later.addErrback(lambda failure: None)


def _started(work: Coroutine[Any, Any, Any]) -> Any:
    from twisted.internet.defer import Deferred  # noqa: PLC0415

    return Deferred.fromCoroutine(work)


class TestResumeOfLostBytes:
    """A client that was told of bytes, which are gone when it opens the file."""

    @pytest.mark.parametrize("append", [False, True])
    def test_a_resume_behind_a_claim_by_another_fails(
        self, store: FakeStore, first: GatewayInMemory, second: GatewayInMemory, append: bool
    ) -> None:
        data = content(20 * STEP)
        suspended_bytes = cut(first, data[: 9 * STEP])
        winner = opened(first.tree(), ON)
        loser = opened(second.tree(), WriteIntent(truncate=False, append=append))
        write_carelessly(loser, data, suspended_bytes)
        error = error_of(loser.commit())
        assert isinstance(error, UploadFailed)
        assert f"begins at {suspended_bytes}, but only 0 bytes" in error.message
        write(winner, data, suspended_bytes)
        result_of(winner.commit())
        assert_only(store, data)

    @pytest.mark.parametrize("append", [False, True])
    def test_a_resume_fails_where_less_is_durable_than_the_client_was_told(
        self, store: FakeStore, first: GatewayInMemory, append: bool
    ) -> None:
        data = content(40 * STEP)
        cut(first, data[: 14 * STEP])
        upload = opened(first.tree(), WriteIntent(truncate=False, append=append))
        write_carelessly(upload, data, 18 * STEP)
        assert isinstance(error_of(upload.commit()), UploadFailed)
        assert store.keys() == records(store)
        go_on(first, data)
        assert_only(store, data)

    @pytest.mark.parametrize("append", [False, True])
    def test_a_resume_fails_while_the_lost_session_still_holds_the_upload(
        self, store: FakeStore, append: bool
    ) -> None:
        """Without the option, too: STAT shows what is being uploaded."""
        gateway = node(store, files=FilesSettings())
        data = content(20 * STEP)
        ghost = opened(gateway.tree())
        write(ghost, data[: 9 * STEP])
        told = bytes_suspended(gateway)
        assert told == 9 * STEP
        intent = WriteIntent(truncate=False, append=append)
        opening = Deferred.fromCoroutine(gateway.tree().open_writer(b"/file", intent, NO_CHANGES))
        assert opening.called is not append  # which waits for a CLOSE that never comes
        gateway.clock.advance(CLOSE_WAIT_SECONDS)
        upload = result_of(opening)
        write_carelessly(upload, data, told)
        assert isinstance(error_of(upload.commit()), UploadFailed)
        result_of(ghost.abandon())
        assert_only(store, None)
