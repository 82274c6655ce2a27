"""Pure decisions: how a file is opened, permissions, entries of a listing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sftpgw.errors import AlreadyExists, NoSuchFile, PermissionDenied, StoreError
from sftpgw.files.listing.plan import EntrySieve, modified_seconds
from sftpgw.files.paths import MARKER_CONTENT, Location
from sftpgw.files.permissions import Operation, allows, require
from sftpgw.files.uploads.open_mode import OpenMode, decide, must_look
from sftpgw.model.filesystem import FileKind, WriteIntent
from sftpgw.model.messages import sentence_of
from sftpgw.model.mounts import ALL_PERMISSIONS, Mount, Permission
from sftpgw.model.store import ListPage, ObjectInfo, ObjectName, WriteCondition


def an_object(key: str = "k", size_bytes: int = 3, **metadata: str) -> ObjectInfo:
    return ObjectInfo(ObjectName("bucket", key), size_bytes, '"e"', 5.0, metadata=metadata)


def a_location(permissions: Permission) -> Location:
    return Location(Mount("bucket", "", permissions=permissions), ("p",))


class TestOpenMode:
    @pytest.mark.parametrize(
        ("intent", "looks"),
        [
            (WriteIntent(), False),
            (WriteIntent(exclusive=True), True),
            (WriteIntent(truncate=False), True),
            (WriteIntent(create=False), True),
        ],
    )
    def test_a_request_is_made_only_if_its_answer_matters(
        self, intent: WriteIntent, looks: bool
    ) -> None:
        assert must_look(intent, may_overwrite=True) is looks
        assert must_look(intent, may_overwrite=False)

    def test_replacing_is_unconditional(self) -> None:
        assert decide(WriteIntent(), an_object(), may_overwrite=True, path="/k") == OpenMode()

    def test_exclusive_is_decided_by_the_store_in_the_end(self) -> None:
        opening = decide(WriteIntent(exclusive=True), None, may_overwrite=True, path="/k")
        assert opening.condition is WriteCondition.IF_ABSENT
        with pytest.raises(AlreadyExists):
            decide(WriteIntent(exclusive=True), an_object(), may_overwrite=True, path="/k")

    def test_a_user_who_may_not_overwrite_can_only_create(self) -> None:
        opening = decide(WriteIntent(), None, may_overwrite=False, path="/k")
        assert opening.condition is WriteCondition.IF_ABSENT
        with pytest.raises(PermissionDenied, match="/k"):
            decide(WriteIntent(), an_object(), may_overwrite=False, path="/k")

    def test_without_create_the_file_must_exist(self) -> None:
        with pytest.raises(NoSuchFile, match="/k"):
            decide(WriteIntent(create=False), None, may_overwrite=True, path="/k")

    def test_an_open_without_truncate_is_an_overlay(self) -> None:
        below = an_object()
        opening = decide(WriteIntent(truncate=False), below, may_overwrite=True, path="/k")
        assert opening.base is below

    def test_an_open_with_truncate_preserves_nothing(self) -> None:
        intent = WriteIntent(append=True)
        assert decide(intent, an_object(), may_overwrite=True, path="/k").base is None


class TestPermissions:
    @pytest.mark.parametrize("operation", Operation)
    def test_each_operation_needs_a_permission(self, operation: Operation) -> None:
        require(a_location(ALL_PERMISSIONS), operation)
        with pytest.raises(PermissionDenied, match=f"/p: you may not {operation.value}"):
            require(a_location(Permission(0)), operation)

    def test_no_permission_grants_what_another_one_names(self) -> None:
        alone = {permission: set() for permission in Permission}
        for permission, granted in alone.items():
            granted |= {op for op in Operation if allows(a_location(permission), op)}
        assert alone == {
            Permission.LIST: {Operation.LOOK, Operation.LIST},
            Permission.DOWNLOAD: {Operation.LOOK, Operation.READ},
            Permission.UPLOAD: {Operation.LOOK, Operation.WRITE},
            Permission.OVERWRITE: {Operation.OVERWRITE},
            Permission.DELETE: {Operation.REMOVE, Operation.REMOVE_DIRECTORY},
            Permission.RENAME: {Operation.RENAME},
            Permission.MKDIR: {Operation.MAKE_DIRECTORY},
            Permission.SETSTAT: {Operation.SET_TIMES},
        }


class TestListing:
    def sift(self, *pages: ListPage, mount: Mount | None = None) -> list[tuple[str, FileKind]]:
        sieve = EntrySieve(mount or Mount("bucket", ""), "d/")
        return [
            (entry.name, entry.attributes.kind) for page in pages for entry in sieve.entries(page)
        ]

    def test_files_and_directories_in_the_order_of_their_keys(self) -> None:
        marker = replace(an_object("d/"), size_bytes=0)
        page = ListPage((marker, an_object("d/b"), an_object("d/é")), ("d/a/",), None)
        assert self.sift(page) == [
            ("a", FileKind.DIRECTORY),
            ("b", FileKind.FILE),
            ("é", FileKind.FILE),
        ]

    def test_a_file_hides_the_directory_of_its_name_pages_later(self) -> None:
        first = ListPage((an_object("d/a"), an_object("d/a-")), (), "next")
        second = ListPage((an_object("d/a."),), ("d/a-/", "d/a/", "d/b/"), None)
        assert [name for name, _ in self.sift(first, second)] == ["a", "a-", "a.", "b"]

    def test_keys_that_no_path_can_name_are_skipped_and_counted(self) -> None:
        sieve = EntrySieve(Mount("bucket", ""), "d/")
        page = ListPage((an_object("d/.."), an_object("d/\0x")), ("d//", "d/./"), None)
        assert sieve.entries(page) == ()
        assert sieve.skipped == 4

    def test_the_state_prefix_is_hidden(self) -> None:
        sieve = EntrySieve(Mount("bucket", ""), "")
        page = ListPage((an_object("a"),), (".sftpgw/",), None)
        assert [entry.name for entry in sieve.entries(page)] == ["a"]
        assert sieve.skipped == 0

    @pytest.mark.parametrize(
        ("mtime", "seconds"),
        [("1.5", 1.5), ("no", 5.0), ("nan", 5.0), ("-1", 5.0), ("inf", 5.0), ("1e30", 5.0)],
    )
    def test_times_that_others_have_stored(self, mtime: str, seconds: float) -> None:
        assert modified_seconds(an_object(mtime=mtime)) == seconds


def test_a_listing_shows_the_bytes_of_a_marker_and_the_times_of_folders() -> None:
    page = ListPage((an_object("d/"), an_object("d/f")), ("d/", "d/made/", "d/only/"), None)
    found = EntrySieve(Mount("bucket", ""), "d/").entries(page, directory_mtimes={"d/made/": 77.0})
    assert [(each.name, each.attributes.kind) for each in found] == [
        (MARKER_CONTENT, FileKind.FILE),
        ("f", FileKind.FILE),
        ("made", FileKind.DIRECTORY),
        ("only", FileKind.DIRECTORY),
    ]
    assert [each.attributes.modified_seconds for each in found[2:]] == [77.0, None]


@pytest.mark.parametrize("code", ["KeyTooLongError", "XMinioInvalidObjectName"])
def test_a_name_that_the_store_does_not_take_is_told(code: str) -> None:
    assert "choose a shorter one" in sentence_of(StoreError("PutObject", code=code, status=400))
