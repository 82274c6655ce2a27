"""RENAME and REMOVE of files that are being written: they succeed at any moment, as on a disk.

No byte is lost, the old name is free, and what is not published says so.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from sftpgw.errors import (
    AlreadyExists,
    LimitReached,
    NoSuchFile,
    ObjectChanged,
    StoreError,
    StoreTrouble,
    StoreUnavailable,
)
from sftpgw.files.silly_rename import is_silly_rename
from sftpgw.files.transfers.key_bindings import KEY_SECONDS
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.files.tree import Tree
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.filesystem import NO_CHANGES, AttributeChanges, WriteIntent
from sftpgw.model.settings import FilesSettings, OnDisconnect, StoreSettings
from sftpgw.model.store import Capabilities, ObjectName
from sftpgw.model.units import MIB
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import GatewayInMemory, StrictClock
from tests.results import failure_of, result_of

HOME = "home/alice/"
PART = 5 * MIB
EDIT = WriteIntent(truncate=False, read=True)
HIDDEN = b"/.fuse_hidden0000000200000001"


def content(letter: str, size_bytes: int) -> bytes:
    """Bytes that differ from place to place."""
    block = b"".join(b"%s%07d" % (letter.encode(), at) for at in range(MIB // 8))
    return (block * (size_bytes // len(block) + 1))[:size_bytes]


FIRST, SECOND = content("f", PART + 1000), content("s", PART)
WHOLE = FIRST + SECOND
OLD = content("o", 3 * PART + 77)


@pytest.fixture
def gateway() -> GatewayInMemory:
    return gateway_with()


@pytest.fixture
def tree(gateway: GatewayInMemory) -> Tree:
    return gateway.tree()


def gateway_with(**able: bool) -> GatewayInMemory:
    store = FakeStore(capabilities=Capabilities(**able))
    return GatewayInMemory(
        store, settings=StoreSettings(bucket="bucket", part_size_bytes=PART, upload_concurrency=2)
    )


def files(gateway: GatewayInMemory) -> dict[str, bytes]:
    return {
        name.key.removeprefix(HOME): held.data
        for name, held in gateway.store.objects.items()
        if name.key.startswith(HOME)
    }


def opened(tree: Tree, path: bytes, intent: WriteIntent | None = None) -> Upload:
    return result_of(tree.open_writer(path, intent or WriteIntent(), NO_CHANGES))


def begun(tree: Tree, path: bytes) -> Upload:
    """An upload whose first part has been sent."""
    upload = opened(tree, path)
    upload.write(0, FIRST)
    return upload


def put(tree: Tree, path: bytes, data: bytes) -> Deferred[None]:
    upload = opened(tree, path)
    upload.write(0, data)
    return Deferred.fromCoroutine(upload.commit())


def end(upload: Upload) -> None:
    upload.write(len(FIRST), SECOND)
    result_of(upload.commit())


def rename(tree: Tree, old: bytes, new: bytes, *, replace: bool = False) -> None:
    result_of(tree.rename(old, new, replace=replace))


def read(upload: Upload, offset: int, length: int) -> bytes:
    body = upload.read(offset, length)
    return b"".join(result_of(body) if isinstance(body, Deferred) else body)


class TestBoundUploads:
    """The first part is sent: the store can complete the upload under its first key only."""

    def test_a_renamed_upload_is_published_under_its_new_name_alone(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        upload = begun(tree, b"/d/a")
        assert gateway.store.requests["upload_part"] == 1
        rename(tree, b"/d/a", b"/b")
        assert isinstance(failure_of(tree.stat(b"/d/a")).value, NoSuchFile)
        assert result_of(tree.stat(b"/b")).size_bytes == len(FIRST)
        assert files(gateway) == {}
        end(upload)
        assert files(gateway) == {"b": WHOLE}
        gateway.assert_idle()
        stored, renamed = gateway.events.facts("file-stored"), gateway.events.facts("file-renamed")
        assert [facts["key"] for facts in stored] == [HOME + "b"]
        assert [(facts["key"], facts["to"]) for facts in renamed] == [(HOME + "d/a", HOME + "b")]

    def test_a_renamed_upload_keeps_its_properties(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        changes = AttributeChanges(modified_seconds=1_600_000_000.0)
        upload = result_of(tree.open_writer(b"/a", WriteIntent(), changes))
        upload.write(0, FIRST)
        rename(tree, b"/a", b"/b")
        end(upload)
        assert result_of(tree.stat(b"/b")).modified_seconds == 1_600_000_000

    @pytest.mark.parametrize("conditions", [True, False])
    def test_the_object_stored_under_the_old_name_moves_first(self, conditions: bool) -> None:
        gateway = gateway_with(
            conditional_complete=conditions,
            conditional_delete=conditions,
            conditional_copy=conditions,
        )
        tree = gateway.tree()
        gateway.store.seed(HOME + "a", b"old")
        upload = begun(tree, b"/a")
        rename(tree, b"/a", b"/b")
        assert files(gateway) == {"b": b"old"}
        end(upload)
        assert files(gateway) == {"b": WHOLE}
        gateway.assert_idle()

    def test_an_upload_renamed_twice_and_back_is_stored_under_its_first_name(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        upload = begun(tree, b"/a")
        for old, new in ((b"/a", b"/b"), (b"/b", b"/c"), (b"/c", b"/a")):
            rename(tree, old, new)
        copies = gateway.store.requests["copy"]
        end(upload)
        assert files(gateway) == {"a": WHOLE}
        assert gateway.store.requests["copy"] == copies

    def test_a_new_file_of_the_old_name_waits_for_the_end(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        """As with a log that is rotated: both are stored, each under its name."""
        upload = begun(tree, b"/log")
        rename(tree, b"/log", b"/log.1")
        uploads = [opened(tree, b"/log") for _ in range(2)]
        for each, data in zip(uploads, (b"new", b"newer"), strict=True):
            each.write(0, data)
        storing = [Deferred.fromCoroutine(each.commit()) for each in uploads]
        assert not any(each.called for each in storing)
        end(upload)
        for each in storing:
            result_of(each)
        assert files(gateway) == {"log.1": WHOLE, "log": b"newer"}
        gateway.assert_idle()

    @pytest.mark.parametrize("size", [5, 2 * PART])
    def test_a_new_file_waits_for_the_old_name_only_so_long(
        self, gateway: GatewayInMemory, tree: Tree, size: int
    ) -> None:
        upload = begun(tree, b"/log")
        rename(tree, b"/log", b"/log.1")
        storing = put(tree, b"/log", bytes(size))
        gateway.clock.advance(KEY_SECONDS)
        assert isinstance(failure_of(storing).value, LimitReached)
        assert files(gateway) == {}
        end(upload)
        assert files(gateway) == {"log.1": WHOLE}
        gateway.assert_idle()

    def test_a_wait_for_a_key_that_ends_late_looks_at_the_key_first(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        """What it waits for has changed by then, and is looked at before the timer is."""
        upload = begun(tree, b"/log")
        rename(tree, b"/log", b"/log.1")
        storing = put(tree, b"/log", b"new")
        gateway.clock.rightNow += KEY_SECONDS + 1
        rename(tree, b"/log.1", b"/log.2")
        gateway.clock.advance(0)
        assert isinstance(failure_of(storing).value, LimitReached)
        end(upload)
        assert files(gateway) == {"log.2": WHOLE}

    @pytest.mark.parametrize("how", ["abandon", "remove"])
    def test_a_new_file_waits_no_longer_than_the_old_name_is_bound(
        self, gateway: GatewayInMemory, tree: Tree, how: str
    ) -> None:
        upload = begun(tree, b"/log")
        rename(tree, b"/log", b"/log.1")
        storing = put(tree, b"/log", b"new")
        if how == "abandon":
            result_of(upload.abandon())
        else:
            result_of(tree.remove_file(b"/log.1"))
        result_of(storing)
        result_of(upload.abandon())
        assert files(gateway) == {"log": b"new"}
        gateway.assert_idle()

    def test_no_file_is_renamed_to_the_old_name_meanwhile(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        gateway.store.seed(HOME + "c", b"c")
        upload = begun(tree, b"/a")
        rename(tree, b"/a", b"/b")
        renamer = Deferred.fromCoroutine(tree.rename(b"/c", b"/a", replace=False))
        end(upload)
        result_of(renamer)
        assert files(gateway) == {"b": WHOLE, "a": b"c"}

    @pytest.mark.parametrize("conditions", [True, False])
    def test_an_object_of_others_under_the_first_name_is_not_replaced(
        self, conditions: bool
    ) -> None:
        gateway = gateway_with(conditional_complete=conditions)
        tree = gateway.tree()
        upload = begun(tree, b"/a")
        rename(tree, b"/a", b"/b")
        gateway.store.seed(HOME + "a", b"theirs")
        upload.write(len(FIRST), SECOND)
        error = failure_of(upload.commit()).value
        assert isinstance(error, ObjectChanged)
        assert "another file was stored as a," in error.message
        assert files(gateway) == {"a": b"theirs"}
        gateway.assert_idle()

    def test_an_object_of_others_under_the_new_name_is_not_replaced(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        upload = opened(tree, b"/a", WriteIntent(exclusive=True))
        upload.write(0, FIRST)
        rename(tree, b"/a", b"/b")
        gateway.store.seed(HOME + "b", b"theirs")
        upload.write(len(FIRST), SECOND)
        assert isinstance(failure_of(upload.commit()).value, AlreadyExists)
        assert files(gateway) == {"b": b"theirs"}
        gateway.assert_idle()

    @pytest.mark.parametrize("operation", ["copy", "delete"])
    def test_a_file_that_cannot_be_moved_is_not_lost_and_the_client_is_told(
        self, gateway: GatewayInMemory, tree: Tree, operation: str
    ) -> None:
        upload = begun(tree, b"/a")
        rename(tree, b"/a", b"/b")
        gateway.store.fail(operation, StoreUnavailable("down"))
        upload.write(len(FIRST), SECOND)
        error = failure_of(upload.commit()).value
        assert isinstance(error, StoreTrouble)
        assert "the file is stored, but" in error.message
        assert files(gateway)["a"] == WHOLE
        assert len(gateway.events.facts("rename-left-behind")) == 1

    def test_requests_for_either_name_wait_for_the_commit(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        upload = begun(tree, b"/a")
        rename(tree, b"/a", b"/b")
        gate = gateway.store.hold("copy")
        upload.write(len(FIRST), SECOND)
        closing = Deferred.fromCoroutine(upload.commit())
        assert files(gateway) == {"a": WHOLE}
        other = gateway.tree()
        looks = [Deferred.fromCoroutine(other.stat(path)) for path in (b"/a", b"/b")]
        assert not any(each.called for each in looks)
        gate.open()
        result_of(closing)
        assert isinstance(failure_of(looks[0]).value, NoSuchFile)
        assert result_of(looks[1]).size_bytes == len(WHOLE)

    def test_an_upload_is_published_in_its_renamed_directory(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        gateway.store.seed(HOME + "d/x", b"x")
        upload = begun(tree, b"/d/a")
        rename(tree, b"/d", b"/e")
        end(upload)
        assert files(gateway) == {"e/a": WHOLE, "e/x": b"x"}
        gateway.assert_idle()

    def test_a_renamed_upload_is_not_suspended_under_its_old_name(self) -> None:
        gateway = GatewayInMemory(
            FakeStore(),
            settings=StoreSettings(bucket="bucket", part_size_bytes=PART),
            files=FilesSettings(on_disconnect=OnDisconnect.RESUME),
        )
        tree = gateway.tree()
        upload = begun(tree, b"/a")
        rename(tree, b"/a", b"/b")
        result_of(upload.abandon())
        assert gateway.store.objects == {}
        gateway.assert_idle()


class TestEdits:
    """What stays of the old object is found under the name that it has by then."""

    @pytest.mark.parametrize("size", [10, PART - 1, len(OLD)])
    def test_an_edit_follows_its_file(
        self, gateway: GatewayInMemory, tree: Tree, size: int
    ) -> None:
        gateway.store.seed(HOME + "a", OLD[:size])
        upload = opened(tree, b"/a", EDIT)
        upload.write(2, b"NEW")
        rename(tree, b"/a", b"/b")
        assert files(gateway) == {"b": OLD[:size]}
        upload.write(6, b"ER")
        result_of(upload.commit())
        assert files(gateway) == {"b": OLD[:2] + b"NEW" + OLD[5:6] + b"ER" + OLD[8:size]}
        gateway.assert_idle()

    def test_an_append_with_sent_parts_follows_its_file(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        gateway.store.seed(HOME + "a", OLD)
        upload = opened(tree, b"/a", WriteIntent(truncate=False, append=True))
        upload.write(0, FIRST)
        assert gateway.store.requests["copy_part"] == 1
        rename(tree, b"/a", b"/b")
        upload.write(0, SECOND)
        result_of(upload.commit())
        assert files(gateway) == {"b": OLD + WHOLE}
        gateway.assert_idle()

    def test_a_second_rename_and_what_is_stored_anew_under_the_first_name(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        gateway.store.seed(HOME + "a", OLD)
        upload = opened(tree, b"/a", EDIT)
        upload.write(0, b"X")
        rename(tree, b"/a", b"/b")
        result_of(put(tree, b"/a", b"anew"))
        rename(tree, b"/b", b"/c")
        result_of(upload.commit())
        assert files(gateway) == {"a": b"anew", "c": b"X" + OLD[1:]}

    def test_a_replacement_under_the_new_name_is_not_undone(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        gateway.store.seed(HOME + "a", OLD)
        upload = opened(tree, b"/a", EDIT)
        upload.write(0, b"X")
        rename(tree, b"/a", b"/b")
        gateway.store.seed(HOME + "b", b"theirs")
        assert isinstance(failure_of(upload.commit()).value, ObjectChanged)
        assert files(gateway) == {"b": b"theirs"}
        gateway.assert_idle()

    @pytest.mark.parametrize("operation", ["get", "copy_part"])
    def test_requests_in_flight_are_repeated_under_the_new_name(
        self, gateway: GatewayInMemory, tree: Tree, operation: str
    ) -> None:
        gateway.store.seed(HOME + "a", OLD)
        gate = gateway.store.hold(operation)
        upload = opened(tree, b"/a", EDIT)
        at = 100 if operation == "get" else len(OLD)
        upload.write(at, SECOND)
        if operation == "copy_part":
            upload.write(at + PART, SECOND)
        assert gate.waiting == 1
        rename(tree, b"/a", b"/b")
        gate.open()
        result_of(upload.commit())
        expected = bytearray(OLD)
        expected[at : at + PART] = SECOND
        expected += SECOND if operation == "copy_part" else b""
        assert files(gateway) == {"b": bytes(expected)}
        gateway.assert_idle()

    def test_reads_of_a_renamed_edited_file_go_on(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        gateway.store.seed(HOME + "a", OLD)
        upload = opened(tree, b"/a", EDIT)
        upload.write(0, b"X")
        assert read(upload, 0, 5) == b"X" + OLD[1:5]
        rename(tree, b"/a", b"/b")
        assert read(upload, PART, 70) == OLD[PART : PART + 70]
        assert read(upload, len(OLD) - 9, 70) == OLD[-9:]
        gate = gateway.store.hold("get")
        late = [upload.read(offset, 5) for offset in (2 * PART, 2 * PART + 5)]
        rename(tree, b"/b", b"/c")
        gate.open()
        bodies = [result_of(each) for each in late if isinstance(each, Deferred)]
        assert b"".join(b"".join(body) for body in bodies) == OLD[2 * PART : 2 * PART + 10]
        result_of(upload.commit())
        gateway.assert_idle()

    @pytest.mark.parametrize("closes", ["edit", "upload"])
    def test_a_close_while_the_rename_is_under_way_waits_for_it(
        self, gateway: GatewayInMemory, tree: Tree, closes: str
    ) -> None:
        gateway.store.seed(HOME + "a", b"old content")
        upload = opened(tree, b"/a", EDIT if closes == "edit" else None)
        upload.write(0, b"NEW")
        gate = gateway.store.hold("copy")
        renamer = Deferred.fromCoroutine(tree.rename(b"/a", b"/b", replace=False))
        closing = Deferred.fromCoroutine(upload.commit())
        assert not closing.called
        gate.open()
        result_of(renamer)
        result_of(closing)
        assert files(gateway) == {"b": b"NEW content" if closes == "edit" else b"NEW"}
        gateway.assert_idle()

    @pytest.mark.parametrize("first", [0, 1])
    def test_of_two_closes_that_wait_for_a_rename_the_last_one_wins(
        self, gateway: GatewayInMemory, tree: Tree, first: int
    ) -> None:
        gateway.store.seed(HOME + "a", b"old content")
        uploads = [opened(tree, b"/a") for _ in range(2)]
        for letter, upload in zip((b"1", b"2"), uploads, strict=True):
            upload.write(0, letter)
        gate = gateway.store.hold("copy")
        renamer = Deferred.fromCoroutine(tree.rename(b"/a", b"/b", replace=False))
        in_order = uploads if first == 0 else uploads[::-1]
        closes = [Deferred.fromCoroutine(upload.commit()) for upload in in_order]
        gate.open()
        for done in [renamer, *closes]:
            result_of(done)
        assert files(gateway) == {"b": (b"2", b"1")[first]}
        gateway.assert_idle()

    def test_of_two_renames_to_one_name_neither_waits_for_the_close(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        gateway.store.seed(HOME + "a", b"old content")
        upload = opened(tree, b"/a")
        upload.write(0, b"NEW")
        gates = [gateway.store.hold(operation) for operation in ("copy", "delete")]
        renames = [
            Deferred.fromCoroutine(each.rename(b"/a", b"/b", replace=False))
            for each in (tree, gateway.tree())
        ]
        closing = Deferred.fromCoroutine(upload.commit())
        for gate in gates:
            gate.open()
        result_of(renames[0])
        assert isinstance(failure_of(renames[1]).value, AlreadyExists)
        result_of(closing)
        assert files(gateway) == {"b": b"NEW"}
        gateway.assert_idle()

    def test_a_rename_that_fails_lets_the_close_go_on(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        gateway.store.seed(HOME + "a", b"old content")
        upload = opened(tree, b"/a", EDIT)
        upload.write(0, b"NEW")
        gate = gateway.store.hold("copy")
        gateway.store.fail("copy", StoreUnavailable("down"))
        renamer = Deferred.fromCoroutine(tree.rename(b"/a", b"/b", replace=False))
        closing = Deferred.fromCoroutine(upload.commit())
        gate.open()
        assert isinstance(failure_of(renamer).value, StoreError)
        result_of(closing)
        assert files(gateway) == {"a": b"NEW content"}

    @pytest.mark.parametrize("at", [2, len(OLD)])
    def test_an_edit_is_published_in_its_renamed_directory(
        self, gateway: GatewayInMemory, tree: Tree, at: int
    ) -> None:
        gateway.store.seed(HOME + "d/a", OLD)
        upload = opened(tree, b"/d/a", EDIT)
        upload.write(at, FIRST)
        rename(tree, b"/d", b"/e")
        result_of(upload.commit())
        assert files(gateway) == {"e/a": OLD[:at] + FIRST + OLD[at + len(FIRST) :]}
        gateway.assert_idle()

    def test_two_uploads_that_swapped_their_keys_do_not_deadlock(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        """libfuse's names leave the keys of what is open free, so that two can be swapped."""
        gateway.store.seed(HOME + "a", OLD)
        gateway.store.seed(HOME + "b", OLD[1:])
        uploads = [opened(tree, path, EDIT) for path in (b"/a", b"/b")]
        for upload in uploads:
            upload.write(0, FIRST)
        other = HIDDEN[:-1] + b"2"
        rename(tree, b"/a", HIDDEN)
        rename(tree, b"/b", other)
        gate = gateway.store.hold("copy")
        renames = [
            Deferred.fromCoroutine(tree.rename(HIDDEN, b"/b", replace=False)),
            Deferred.fromCoroutine(tree.rename(other, b"/a", replace=False)),
        ]
        gate.open()
        for renamer in renames:
            result_of(renamer)
        gate = gateway.store.hold("head")
        closes = [Deferred.fromCoroutine(upload.commit()) for upload in uploads]
        gate.open()
        for close in closes:
            assert isinstance(failure_of(close).value, ObjectChanged)
        assert files(gateway) == {"a": OLD[1:], "b": OLD}
        gateway.assert_idle()

    def test_tags_and_metadata_stay(self, gateway: GatewayInMemory, tree: Tree) -> None:
        gateway.store.seed(HOME + "a", b"old content", colour="blue")
        upload = opened(tree, b"/a", EDIT)
        upload.write(0, b"NEW")
        rename(tree, b"/a", b"/b")
        result_of(upload.commit())
        stored = gateway.store.objects[ObjectName("bucket", HOME + "b")]
        assert stored.properties.metadata["colour"] == "blue"


def test_a_key_is_waited_for_however_late_the_reactor_is() -> None:
    """What wakes a waiting CLOSE may itself have come later than the wait was to end."""
    registry, clock = TransferRegistry(), StrictClock()
    key, name, last = (ObjectName("bucket", each) for each in "abc")
    upload = registry.register(key, None)
    upload.bind(key)
    upload.rename(name, may_replace=False)
    waiting = Deferred.fromCoroutine(registry.bindings.wait_until_free(key, clock))
    clock.callLater(1, lambda: upload.rename(last, may_replace=False))
    clock.advance(KEY_SECONDS + 1)
    clock.advance(0)
    assert isinstance(failure_of(waiting).value, LimitReached)


class TestRemoved:
    """An open file that has lost its name: whatever is written to it, no one misses."""

    @pytest.mark.parametrize("offset", [0, 3 * PART])
    def test_no_request_on_a_removed_file_fails_while_it_is_edited(
        self, gateway: GatewayInMemory, tree: Tree, offset: int
    ) -> None:
        gateway.store.seed(HOME + "a", OLD)
        upload = opened(tree, b"/a", EDIT)
        result_of(tree.remove_file(b"/a"))
        for at in range(3):
            answer: Any = upload.write(offset + at * PART, SECOND)
            assert answer is None or result_of(answer) is None
        result_of(upload.sync())
        result_of(upload.set_attributes(AttributeChanges(modified_seconds=5.0)))
        result_of(upload.commit())
        assert files(gateway) == {}
        gateway.assert_idle()

    def test_a_failure_before_the_remove_still_fails_the_close(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        gateway.store.seed(HOME + "a", OLD)
        upload = begun(tree, b"/a")
        gateway.store.fail("upload_part", StoreUnavailable("down"))
        with pytest.raises(StoreUnavailable):
            upload.write(len(FIRST), SECOND)
        result_of(tree.remove_file(b"/a"))
        assert isinstance(failure_of(upload.commit()).value, StoreUnavailable)
        gateway.assert_idle()


def test_a_failure_is_told_before_all_is_cleared_up(gateway: GatewayInMemory, tree: Tree) -> None:
    """A store that is away is waited for once, and not again to abort what it has."""
    upload = begun(tree, b"/a")
    gate = gateway.store.hold("abort_upload")
    gateway.store.fail("complete_upload", StoreUnavailable("away"))
    upload.write(len(FIRST), SECOND)
    assert isinstance(failure_of(upload.commit()).value, StoreUnavailable)
    assert gate.waiting == 1
    idle = Deferred.fromCoroutine(gateway.transfers.idle())
    assert not idle.called
    gate.open()
    result_of(idle)
    gateway.assert_idle()


class TestLibfuse:
    """sshfs unlinks an open file by renaming it, and removes that when it is closed."""

    @pytest.mark.parametrize("offset", [2, len(OLD)])
    def test_an_edited_file_that_is_unlinked(
        self, gateway: GatewayInMemory, tree: Tree, offset: int
    ) -> None:
        gateway.store.seed(HOME + "a", OLD)
        upload = opened(tree, b"/a", EDIT)
        upload.write(offset, FIRST)
        rename(tree, b"/a", HIDDEN, replace=True)
        if offset == len(OLD):
            assert read(upload, 0, 2) == OLD[:2]
        result_of(put(tree, b"/a", b"another one"))
        result_of(upload.commit())
        result_of(tree.remove_file(HIDDEN))
        assert files(gateway) == {"a": b"another one"}
        gateway.assert_idle()

    def test_a_new_file_that_is_unlinked_and_made_anew(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        upload = begun(tree, b"/a")
        rename(tree, b"/a", HIDDEN, replace=True)
        result_of(put(tree, b"/a", b"another one"))
        end(upload)
        assert isinstance(failure_of(tree.remove_file(HIDDEN)).value, NoSuchFile)
        assert files(gateway) == {"a": b"another one"}
        assert len(gateway.events.facts("upload-dropped")) == 1
        gateway.assert_idle()

    @pytest.mark.parametrize(
        ("key", "is_hidden"),
        [
            ("home/a/.fuse_hidden0000000200000001", True),
            (".fuse_hidden0123456789abcdef", True),
            (".fuse_hidden", False),
            (".fuse_hidden00000002000000", False),
            ("a.fuse_hidden0000000200000001", False),
            (".fuse_hidden0000000200000001/x", False),
        ],
    )
    def test_names_of_files_that_sshfs_has_unlinked(self, key: str, is_hidden: bool) -> None:
        assert is_silly_rename(key) is is_hidden
