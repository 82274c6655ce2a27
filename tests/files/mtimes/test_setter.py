"""Mtimes that are set on files before, while and after they are stored."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from sftpgw.errors import (
    FileError,
    LimitReached,
    NoSuchFile,
    ObjectArchived,
    ObjectChanged,
    PermissionDenied,
    StoreUnavailable,
)
from sftpgw.files.tree import Tree
from sftpgw.model.filesystem import NO_CHANGES, AttributeChanges, FileWriter, WriteIntent
from sftpgw.model.mounts import ALL_PERMISSIONS, Permission
from sftpgw.model.settings import FilesSettings, SetStat, StoreSettings
from sftpgw.model.store import Capabilities, ObjectInfo, ObjectName, ObjectProperties
from sftpgw.model.units import GIB, KIB
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.other_users import with_mount
from sftpgw.testing.sftp_sessions import ALICE, GatewayInMemory
from tests.results import failure_of, result_of

KEY = "home/alice/a"
NAME = ObjectName("bucket", KEY)
FAIL = FilesSettings(setstat=SetStat.FAIL)
NEVER_CONDITIONAL = Capabilities(conditional_copy=False, copy_source_condition=False)
SMALL_PARTS = StoreSettings(bucket="bucket", part_size_bytes=64 * KIB)


class LargeStore(FakeStore):
    """A store that reports a size of 6 GiB for each object."""

    async def head(self, name: ObjectName) -> ObjectInfo:
        return replace(await super().head(name), size_bytes=6 * GIB)


def times(seconds: float) -> AttributeChanges:
    return AttributeChanges(modified_seconds=seconds)


def mtime(gateway: GatewayInMemory, key: str = KEY) -> str | None:
    return gateway.store.objects[ObjectName("bucket", key)].properties.metadata.get("mtime")


def costs(gateway: GatewayInMemory, work: Coroutine[Any, Any, Any]) -> dict[str, int]:
    gateway.store.requests.clear()
    result_of(work)
    return dict(gateway.store.requests)


def opened(tree: Tree, changes: AttributeChanges = NO_CHANGES) -> FileWriter:
    return result_of(tree.open_writer(b"/a", WriteIntent(), changes))


class TestStoredFiles:
    def test_a_copy_onto_itself_keeps_all_else(self, gateway: GatewayInMemory) -> None:
        properties = ObjectProperties(
            metadata={"mtime": "1", "note": "kept"},
            content_type="text/x-test",
            storage_class="STANDARD_IA",
            system_headers={"cache-control": "no-store"},
            encryption={"x-amz-server-side-encryption": "AES256"},
            tags={"a": "b"},
        )
        result_of(gateway.store.put(NAME, (b"data",), properties))
        asked = gateway.tree().set_attributes(b"/a", times(1_600_000_000))
        assert costs(gateway, asked) == {"head": 1, "copy": 1}
        stored = gateway.store.objects[NAME]
        metadata = {"mtime": "1600000000", "note": "kept"}
        assert stored.data == b"data"
        assert stored.properties == replace(properties, metadata=metadata)
        assert result_of(gateway.tree().stat(b"/a")).modified_seconds == 1_600_000_000

    @pytest.mark.parametrize("stored", ["1600000000", "1600000000.75"])
    def test_a_time_that_is_set_already_costs_a_look(
        self, gateway: GatewayInMemory, stored: str
    ) -> None:
        """SFTP has whole seconds: setting the same second again does not lose the fraction."""
        gateway.store.seed(KEY, mtime=stored)
        asked = gateway.tree().set_attributes(b"/a", times(1_600_000_000))
        assert costs(gateway, asked) == {"head": 1}
        assert mtime(gateway) == stored

    def test_directories_accept_any_time_and_what_is_missing_none(
        self, gateway: GatewayInMemory
    ) -> None:
        gateway.store.seed("home/alice/d/f")
        tree = gateway.tree()
        for path in (b"/", b"/d"):
            result_of(tree.set_attributes(path, times(5)))
        assert isinstance(failure_of(tree.set_attributes(b"/no", times(5))).value, NoSuchFile)
        assert gateway.store.requests["copy"] == 0

    def test_setting_a_time_needs_the_permission_and_setting_a_mode_does_not(
        self, gateway: GatewayInMemory
    ) -> None:
        gateway.store.seed(KEY, mtime="1")
        tree = gateway.tree(with_mount(ALICE, permissions=ALL_PERMISSIONS & ~Permission.SETSTAT))
        refused = failure_of(tree.set_attributes(b"/a", times(5))).value
        assert isinstance(refused, PermissionDenied)
        result_of(tree.set_attributes(b"/a", NO_CHANGES))
        assert mtime(gateway) == "1"

    def test_an_overwrite_by_others_is_not_undone(self, gateway: GatewayInMemory) -> None:
        gateway.store.seed(KEY, b"old")
        gate = gateway.store.hold("copy")
        setting = Deferred.fromCoroutine(gateway.tree().set_attributes(b"/a", times(5)))
        gateway.store.seed(KEY, b"new")  # from another gateway
        gate.open()
        assert isinstance(failure_of(setting).value, ObjectChanged)
        assert gateway.store.content(KEY) == b"new"

    def test_without_conditions_uploads_of_this_process_wait(self) -> None:
        gateway = GatewayInMemory(FakeStore(capabilities=NEVER_CONDITIONAL))
        gateway.store.seed(KEY, b"old")
        gate = gateway.store.hold("copy")
        setting = Deferred.fromCoroutine(gateway.tree().set_attributes(b"/a", times(5)))
        opening = Deferred.fromCoroutine(
            gateway.tree().open_writer(b"/a", WriteIntent(), NO_CHANGES)
        )
        assert not opening.called
        gate.open()
        result_of(setting)
        writer = result_of(opening)
        writer.write(0, b"new")
        result_of(writer.commit())
        assert gateway.store.content(KEY) == b"new"

    def test_an_upload_that_was_being_opened_commits_after_it(self) -> None:
        gateway = GatewayInMemory(FakeStore(capabilities=NEVER_CONDITIONAL))
        gateway.store.seed(KEY, b"old")
        looks, copies = gateway.store.hold("head"), gateway.store.hold("copy")
        intent = WriteIntent(truncate=False)
        opening = Deferred.fromCoroutine(gateway.tree().open_writer(b"/a", intent, NO_CHANGES))
        setting = Deferred.fromCoroutine(gateway.tree().set_attributes(b"/a", times(5)))
        looks.open()
        writer = result_of(opening)
        writer.write(0, b"new")
        committing = Deferred.fromCoroutine(writer.commit())
        assert gateway.store.requests["put"] == 0
        copies.open()
        result_of(setting)
        result_of(committing)
        assert gateway.store.content(KEY) == b"new"
        gateway.assert_idle()

    def test_set_right_after_close_it_waits_for_the_commit(self, gateway: GatewayInMemory) -> None:
        gate = gateway.store.hold("put")
        tree = gateway.tree()
        writer = opened(tree)
        writer.write(0, b"data")
        committing = Deferred.fromCoroutine(writer.commit())
        setting = Deferred.fromCoroutine(tree.set_attributes(b"/a", times(5)))
        assert gateway.store.requests["head"] == 0
        gate.open()
        result_of(committing)
        result_of(setting)
        assert mtime(gateway) == "5"

    @pytest.mark.parametrize("files", [FilesSettings(), FAIL])
    def test_times_of_too_large_or_archived_objects_are_ignored_or_refused(
        self, files: FilesSettings
    ) -> None:
        large = GatewayInMemory(LargeStore(), files=files)
        large.store.seed(KEY, b"x", mtime="1")
        archived = GatewayInMemory(files=files)
        archived.store.seed(KEY, b"x", storage_class="DEEP_ARCHIVE", mtime="1")
        hidden = GatewayInMemory(files=files)  # an archive tier of INTELLIGENT_TIERING
        hidden.store.seed(KEY, b"x", storage_class="INTELLIGENT_TIERING", mtime="1")
        hidden.store.fail("copy", ObjectArchived("no", code="InvalidObjectState", status=403))
        for gateway, refusal in (
            (large, LimitReached),
            (archived, PermissionDenied),
            (hidden, PermissionDenied),
        ):
            setting = gateway.tree().set_attributes(b"/a", times(5))
            if files is FAIL:
                assert isinstance(failure_of(setting).value, refusal)
            else:
                result_of(setting)
                assert gateway.events.facts("time-not-set")
            assert mtime(gateway) == "1"
            gateway.assert_idle()


class TestFilesThatOthersWrite:
    """An mtime set by another session belongs to the stored object, not to the upload."""

    @pytest.mark.parametrize("is_published", [True, False])
    def test_a_time_set_on_a_stored_file_is_not_that_of_the_upload(
        self, gateway: GatewayInMemory, is_published: bool
    ) -> None:
        gateway.store.seed(KEY, b"old")
        writer = opened(gateway.tree())
        writer.write(0, b"new")
        result_of(gateway.tree().set_attributes(b"/a", times(5)))
        assert (gateway.store.content(KEY), mtime(gateway)) == (b"old", "5")
        result_of(writer.commit() if is_published else writer.abandon())
        assert gateway.store.content(KEY) == (b"new" if is_published else b"old")
        assert mtime(gateway) == (None if is_published else "5")

    def test_a_file_that_is_not_stored_yet_has_it_when_it_is(
        self, gateway: GatewayInMemory
    ) -> None:
        writer = opened(gateway.tree())
        writer.write(0, b"new")
        result_of(gateway.tree().set_attributes(b"/a", times(5)))
        result_of(writer.commit())
        assert mtime(gateway) == "5"

    def test_the_session_that_writes_it_sets_that_of_what_it_writes(
        self, gateway: GatewayInMemory
    ) -> None:
        gateway.store.seed(KEY, b"old", mtime="1")
        tree = gateway.tree()
        writer = opened(tree)
        writer.write(0, b"new")
        asked = tree.set_attributes(b"/a", times(5))
        assert costs(gateway, asked) == {}
        result_of(writer.commit())
        assert (gateway.store.content(KEY), mtime(gateway)) == (b"new", "5")

    def test_an_edit_goes_on_though_the_copy_has_another_etag(self) -> None:
        gateway = GatewayInMemory(settings=SMALL_PARTS)
        first = self.parts(gateway)
        etag = gateway.store.objects[NAME].etag
        writer = result_of(
            gateway.tree().open_writer(b"/a", WriteIntent(truncate=False), NO_CHANGES)
        )
        writer.write(2, b"NEW")
        result_of(gateway.tree().set_attributes(b"/a", times(5)))
        assert gateway.store.objects[NAME].etag != etag
        result_of(writer.commit())
        assert gateway.store.content(KEY) == first[:2] + b"NEW" + first[5:]
        gateway.assert_idle()

    def parts(self, gateway: GatewayInMemory) -> bytes:
        data = bytes(range(250)) * 400
        writer = opened(gateway.tree())
        writer.write(0, data)
        result_of(writer.commit())
        assert gateway.store.requests["upload_part"] == 2
        return data


class TestUploads:
    def test_a_time_set_at_open_or_before_the_end_costs_no_request(
        self, gateway: GatewayInMemory
    ) -> None:
        tree = gateway.tree(with_mount(ALICE, permissions=Permission.UPLOAD | Permission.OVERWRITE))
        for early, late in ((5.0, None), (None, 5.0), (4.0, 5.0)):
            writer = opened(tree, AttributeChanges(modified_seconds=early))
            writer.write(0, b"data")
            if late is not None:
                result_of(writer.set_attributes(times(late)))
            assert costs(gateway, writer.commit()) == {"put": 1}
            assert mtime(gateway) == "5"

    def test_a_time_too_late_for_the_metadata_is_set_by_a_copy_at_the_end(self) -> None:
        gateway = GatewayInMemory(settings=SMALL_PARTS)
        writer = self.sent(gateway)
        result_of(writer.set_attributes(times(5)))
        assert result_of(writer.attributes()).modified_seconds == 5
        result_of(writer.commit())
        assert (gateway.store.requests["head"], gateway.store.requests["copy"]) == (1, 1)
        assert mtime(gateway) == "5"
        gateway.assert_idle()

    def test_the_same_time_set_twice_costs_no_request(self) -> None:
        gateway = GatewayInMemory(settings=SMALL_PARTS)
        writer = self.sent(gateway, times(5))
        result_of(writer.set_attributes(times(5)))
        result_of(writer.commit())
        assert gateway.store.requests["copy"] == gateway.store.requests["head"] == 0
        assert mtime(gateway) == "5"

    @pytest.mark.parametrize("operation", ["head", "copy"])
    def test_a_time_that_cannot_be_set_does_not_fail_the_upload(self, operation: str) -> None:
        gateway = GatewayInMemory(settings=SMALL_PARTS)
        writer = self.sent(gateway)
        result_of(writer.set_attributes(times(5)))
        gateway.store.fail(operation, StoreUnavailable("away"))
        result_of(writer.commit())
        assert len(gateway.store.content(KEY)) == 200_000
        assert gateway.events.facts("time-not-set")[0]["reason"] == "away"

    def test_a_defect_on_the_way_neither_fails_nor_hangs_the_upload(self) -> None:
        gateway = GatewayInMemory(settings=SMALL_PARTS)
        writer = self.sent(gateway)
        result_of(writer.set_attributes(times(5)))
        gateway.store.fail("copy", ZeroDivisionError())
        result_of(writer.commit())
        assert gateway.events.facts("defect")[0]["where"] == "upload"

    def test_a_time_is_not_set_on_an_object_that_others_have_stored_since(self) -> None:
        gateway = GatewayInMemory(settings=SMALL_PARTS)
        writer = self.sent(gateway)
        result_of(writer.set_attributes(times(5)))
        gate = gateway.store.hold("head")
        committing = Deferred.fromCoroutine(writer.commit())
        gateway.store.seed(KEY, b"new", mtime="7")
        gate.open()
        result_of(committing)
        assert mtime(gateway) == "7"

    def test_a_time_that_cannot_be_set_later_is_refused_early(self) -> None:
        gateway = GatewayInMemory(settings=SMALL_PARTS, files=FAIL)
        mtime_setter = gateway.tree()._mtime_setter
        mtime_setter.require_possible(5 * GIB)
        with pytest.raises(FileError, match="5 GiB"):
            mtime_setter.require_possible(5 * GIB + 1)
        GatewayInMemory().tree()._mtime_setter.require_possible(6 * GIB)

    def test_a_time_set_by_path_reaches_the_file_being_written(
        self, gateway: GatewayInMemory
    ) -> None:
        tree = gateway.tree()
        writer = opened(tree)
        writer.write(0, b"data")
        result_of(tree.set_attributes(b"/a", times(5)))
        assert costs(gateway, writer.commit()) == {"put": 1}
        assert mtime(gateway) == "5"

    def sent(self, gateway: GatewayInMemory, changes: AttributeChanges = NO_CHANGES) -> FileWriter:
        """An upload whose metadata was already sent."""
        writer = opened(gateway.tree(), changes)
        writer.write(0, b"x" * 200_000)
        assert gateway.store.requests["create_upload"] == 1
        return writer
