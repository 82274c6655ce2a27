"""The file tree: the results of each operation, its requests, and its refusals."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from sftpgw.errors import (
    AccessDenied,
    AlreadyExists,
    DirectoryNotEmpty,
    IsADirectory,
    LimitReached,
    NoSuchFile,
    NotADirectory,
    PermissionDenied,
)
from sftpgw.files.tree import Tree
from sftpgw.model.filesystem import AttributeChanges, DirectoryReader, FileKind, WriteIntent
from sftpgw.model.mounts import ALL_PERMISSIONS, Permission
from sftpgw.model.store import Capabilities, ObjectInfo, ObjectName
from sftpgw.model.users import User
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.other_users import with_mount
from sftpgw.testing.sftp_sessions import ALICE, GatewayInMemory
from sftpgw.testing.store_faults import Gate
from tests.results import failure_of, result_of

NO_CHANGES = AttributeChanges()


@pytest.fixture
def tree(gateway: GatewayInMemory) -> Tree:
    return gateway.tree()


def seed(gateway: GatewayInMemory, *paths: str) -> None:
    for path in paths:
        gateway.store.seed("home/alice/" + path, path.encode())


def keys(gateway: GatewayInMemory) -> list[str]:
    return [key.removeprefix("home/alice/") for key in gateway.store.keys()]  # noqa: SIM118


def put(tree: Tree, path: bytes, data: bytes, intent: WriteIntent | None = None) -> None:
    writer = result_of(tree.open_writer(path, intent or WriteIntent(), NO_CHANGES))
    writer.write(0, data)
    result_of(writer.commit())


def names(reader: DirectoryReader) -> list[str]:
    found: list[str] = []
    while page := result_of(reader.next_entries()):
        found.extend(entry.name for entry in page)
    return found


def error_of(work: Coroutine[Any, Any, Any]) -> BaseException | None:
    return failure_of(work).value


class TestCosts:
    """The requests of each operation, in a session that does nothing else."""

    def costs(self, gateway: GatewayInMemory, work: Coroutine[Any, Any, Any]) -> dict[str, int]:
        gateway.store.requests.clear()
        result_of(work)
        return dict(gateway.store.requests)

    def test_a_small_new_file_is_one_put(self, gateway: GatewayInMemory, tree: Tree) -> None:
        put(tree, b"/a", b"x")
        assert gateway.store.requests == {"put": 1}

    def test_a_small_download_is_one_request(self, gateway: GatewayInMemory, tree: Tree) -> None:
        seed(gateway, "a")
        reader = result_of(tree.open_reader(b"/a"))
        assert reader.read(0, 10) == (b"a",)
        assert gateway.store.requests == {"get": 1}

    def test_stat_of_a_file_and_of_a_directory(self, gateway: GatewayInMemory, tree: Tree) -> None:
        seed(gateway, "a", "d/f")
        assert self.costs(gateway, tree.stat(b"/a")) == {"head": 1}
        assert self.costs(gateway, tree.stat(b"/d")) == {"head": 1, "list": 1}
        assert self.costs(gateway, tree.open_directory(b"/d")) == {"head": 1}
        assert self.costs(gateway, tree.open_directory(b"/d")) == {"list": 1, "head": 1}
        gateway.clock.advance(60)
        result_of(tree.stat(b"/d"))
        result_of(tree.open_directory(b"/d"))  # a time that is not too fresh is kept
        result_of(tree.stat(b"/d"))
        assert self.costs(gateway, tree.open_directory(b"/d")) == {}
        assert self.costs(gateway, tree.stat(b"/")) == {}

    def test_stat_of_what_does_not_exist(self, gateway: GatewayInMemory, tree: Tree) -> None:
        gateway.store.requests.clear()
        assert isinstance(error_of(tree.stat(b"/nope")), NoSuchFile)
        assert gateway.store.requests == {"head": 1, "list": 1}

    def test_a_file_where_a_directory_was_met(self, gateway: GatewayInMemory, tree: Tree) -> None:
        seed(gateway, "d/f")
        result_of(tree.stat(b"/d"))
        result_of(gateway.tree().remove_file(b"/d/f"))
        gateway.store.requests.clear()
        result_of(tree.open_writer(b"/d", WriteIntent(), NO_CHANGES))
        assert gateway.store.requests == {"list": 1}

    def test_a_directory_of_many_pages(self, tree: Tree, gateway: GatewayInMemory) -> None:
        for index in range(2500):
            gateway.store.seed(f"home/alice/d/{index}")
        gateway.store.requests.clear()
        assert len(names(result_of(tree.open_directory(b"/d")))) == 2500
        assert gateway.store.requests == {"list": 3}

    def test_remove_mkdir_rmdir_rename(self, gateway: GatewayInMemory, tree: Tree) -> None:
        seed(gateway, "a", "b")
        assert self.costs(gateway, tree.remove_file(b"/a")) == {"head": 1, "delete": 1}
        assert self.costs(gateway, tree.make_directory(b"/d")) == {"list": 1, "put": 1}
        removed = self.costs(gateway, tree.remove_directory(b"/d"))
        assert removed == {"list": 1, "head": 1, "delete": 1}
        for old, new, replaces in ((b"/b", b"/c", False), (b"/c", b"/b", True)):
            renamed = self.costs(gateway, tree.rename(old, new, replace=replaces))
            assert renamed == {"head": 1, "list": 1, "copy": 1, "delete": 1}


class TestLooking:
    def test_files_directories_and_nothing(self, gateway: GatewayInMemory, tree: Tree) -> None:
        seed(gateway, "a", "implicit/deep/f", "marked/")
        assert result_of(tree.stat(b"/a")).size_bytes == 1
        for path in (b"/", b"/implicit", b"/implicit/deep/", b"/marked"):
            assert result_of(tree.stat(path)).kind is FileKind.DIRECTORY
        assert isinstance(error_of(tree.stat(b"/nope")), NoSuchFile)

    def test_a_file_hides_a_directory_of_its_name(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "a", "a/b")
        assert result_of(tree.stat(b"/a")).kind is FileKind.FILE
        assert names(result_of(tree.open_directory(b"/"))) == ["a"]
        assert names(result_of(tree.open_directory(b"/a"))) == ["b"]

    def test_directories_that_cannot_be_opened(self, gateway: GatewayInMemory, tree: Tree) -> None:
        seed(gateway, "a")
        assert isinstance(error_of(tree.open_directory(b"/a")), NotADirectory)
        assert isinstance(error_of(tree.open_directory(b"/nope")), NoSuchFile)
        assert names(result_of(tree.open_directory(b"/"))) == ["a"]

    def test_an_empty_root_is_a_directory(self, tree: Tree) -> None:
        assert names(result_of(tree.open_directory(b"/"))) == []

    def test_a_file_being_written_is_seen_by_every_session(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        writer = result_of(tree.open_writer(b"/a", WriteIntent(), NO_CHANGES))
        writer.write(0, b"four")
        assert result_of(gateway.tree().stat(b"/a")).size_bytes == 4
        result_of(writer.abandon())
        assert isinstance(error_of(tree.stat(b"/a")), NoSuchFile)

    def test_an_open_right_after_a_close_waits_for_the_commit(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        gate = gateway.store.hold("put")
        writer = result_of(tree.open_writer(b"/a", WriteIntent(), NO_CHANGES))
        writer.write(0, b"new")
        committing = Deferred.fromCoroutine(writer.commit())
        opening = Deferred.fromCoroutine(tree.open_reader(b"/a"))
        assert gateway.store.requests["get"] == 0
        gate.open()
        result_of(committing)
        assert result_of(opening).read(0, 3) == (b"new",)

    def test_a_listing_after_stat_shows_what_was_published_in_between(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "d/old")
        for session in (tree, gateway.tree()):
            writer = result_of(session.open_writer(b"/d/new", WriteIntent(), NO_CHANGES))
            result_of(tree.stat(b"/d"))
            result_of(writer.commit())
            assert names(result_of(tree.open_directory(b"/d"))) == ["new", "old"]
            result_of(tree.stat(b"/d"))
            result_of(session.remove_file(b"/d/new"))
            assert names(result_of(tree.open_directory(b"/d"))) == ["old"]

    def test_keys_that_no_path_can_name_are_skipped_and_told(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "d//x", "d/../x", "d/a")
        assert names(result_of(tree.open_directory(b"/d"))) == ["a"]
        (facts,) = gateway.events.facts("keys-skipped")
        assert (facts["directory"], facts["count"]) == ("/d", 2)

    def test_a_store_that_denies_is_not_a_missing_file(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        gateway.store.fail("head", AccessDenied("no"))
        assert isinstance(error_of(tree.stat(b"/a")), AccessDenied)


class TestDirectories:
    @pytest.mark.parametrize(
        ("intent", "granted"),
        [
            (WriteIntent(exclusive=True), ALL_PERMISSIONS),
            (WriteIntent(truncate=False), ALL_PERMISSIONS),
            (WriteIntent(), ALL_PERMISSIONS & ~Permission.OVERWRITE),
        ],
    )
    def test_without_the_right_to_list_new_files_can_be_stored(
        self, gateway: GatewayInMemory, intent: WriteIntent, granted: Permission
    ) -> None:
        """The HEAD of a missing object is a 403 then. An object that exists is not replaced."""
        tree = gateway.tree(with_mount(ALICE, permissions=granted))
        denied = AccessDenied("HeadObject", code="AccessDenied", status=403)
        gateway.store.fail("head", denied)
        gateway.store.fail("list", denied)
        put(tree, b"/new", b"content", intent)
        assert gateway.store.content("home/alice/new") == b"content"
        gateway.store.fail("head", denied)
        writer = result_of(tree.open_writer(b"/new", intent, NO_CHANGES))
        writer.write(0, b"other")
        assert isinstance(error_of(writer.commit()), AlreadyExists)
        assert gateway.store.content("home/alice/new") == b"content"

    def test_without_the_right_to_list_files_are_not_replaced_by_chance(self) -> None:
        """Without conditional writes the gateway could replace a file, so it refuses OPEN."""
        lacking = Capabilities(conditional_complete=False)
        gateway = GatewayInMemory(FakeStore(capabilities=lacking))
        gateway.store.fail("head", AccessDenied("no"), times=2)
        opening = gateway.tree().open_writer(b"/a", WriteIntent(exclusive=True), NO_CHANGES)
        assert isinstance(error_of(opening), AccessDenied)
        # Who replaces whatever is there needs not look.
        put(gateway.tree(), b"/a", b"content")

    def test_without_the_right_to_list_operations_on_existing_files_are_denied(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        gateway.store.fail("head", AccessDenied("no"))
        opening = tree.open_writer(b"/a", WriteIntent(create=False), NO_CHANGES)
        assert isinstance(error_of(opening), PermissionDenied)

    def test_mkdir_refuses_what_exists_as_file_marker_or_prefix(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "a", "d/f", "m/")
        for path in (b"/a", b"/d", b"/m", b"/"):
            assert isinstance(error_of(tree.make_directory(path)), AlreadyExists)

    def test_mkdir_beside_a_page_of_names_that_sort_between(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        for index in range(1001):
            gateway.store.seed(f"home/alice/a-{index}")
        result_of(tree.make_directory(b"/a"))
        assert isinstance(error_of(tree.make_directory(b"/a")), AlreadyExists)

    def test_rmdir_refuses_what_is_not_empty_missing_or_a_file(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "a", "d/f", "m/", "m/x")
        assert isinstance(error_of(tree.remove_directory(b"/d")), DirectoryNotEmpty)
        assert isinstance(error_of(tree.remove_directory(b"/m")), DirectoryNotEmpty)
        assert isinstance(error_of(tree.remove_directory(b"/")), DirectoryNotEmpty)
        assert isinstance(error_of(tree.remove_directory(b"/nope")), NoSuchFile)
        assert isinstance(error_of(tree.remove_directory(b"/a")), NotADirectory)

    def test_rmdir_refuses_what_a_file_is_being_uploaded_to(self, tree: Tree) -> None:
        result_of(tree.make_directory(b"/d"))
        writer = result_of(tree.open_writer(b"/d/f", WriteIntent(), NO_CHANGES))
        assert isinstance(error_of(tree.remove_directory(b"/d")), DirectoryNotEmpty)
        result_of(writer.abandon())
        result_of(tree.remove_directory(b"/d"))

    def test_an_implicit_directory_outlives_its_last_file_for_its_rmdir(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "d/e/f")
        result_of(tree.remove_file(b"/d/e/f"))
        assert result_of(tree.stat(b"/d/e")).kind is FileKind.DIRECTORY
        result_of(tree.remove_directory(b"/d/e"))
        result_of(tree.remove_directory(b"/d"))
        assert isinstance(error_of(tree.stat(b"/d")), NoSuchFile)
        assert isinstance(error_of(tree.remove_directory(b"/d")), NoSuchFile)


class TestFiles:
    def test_writing_below_a_missing_directory_is_fine(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        put(tree, b"/x/y/z", b"1")
        assert keys(gateway) == ["x/y/z"]

    @pytest.mark.parametrize("path", [b"/", b"/new/"])
    def test_a_directory_cannot_be_written(self, tree: Tree, path: bytes) -> None:
        opening = tree.open_writer(path, WriteIntent(), NO_CHANGES)
        assert isinstance(error_of(opening), IsADirectory)

    def test_a_directory_is_no_file(self, gateway: GatewayInMemory, tree: Tree) -> None:
        seed(gateway, "d/f")
        assert isinstance(error_of(tree.open_reader(b"/d")), IsADirectory)
        assert isinstance(error_of(tree.open_reader(b"/")), IsADirectory)
        assert isinstance(error_of(tree.remove_file(b"/d")), IsADirectory)
        assert isinstance(error_of(tree.remove_file(b"/nope")), NoSuchFile)

    def test_an_exclusive_create_fails_on_an_existing_file(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "a")
        intent = WriteIntent(exclusive=True)
        assert isinstance(error_of(tree.open_writer(b"/a", intent, NO_CHANGES)), AlreadyExists)
        put(tree, b"/b", b"x", intent)
        assert keys(gateway) == ["a", "b"]

    def test_an_overlay_keeps_nothing_but_what_was_sent(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "a")
        writer = result_of(tree.open_writer(b"/a", WriteIntent(truncate=False), NO_CHANGES))
        writer.write(0, b"longer than before")
        result_of(writer.set_attributes(AttributeChanges(size_bytes=18)))
        result_of(writer.commit())
        assert gateway.store.content("home/alice/a") == b"longer than before"

    def test_chmod_of_what_is_missing_says_so(self, gateway: GatewayInMemory, tree: Tree) -> None:
        seed(gateway, "a")
        result_of(tree.set_attributes(b"/a", NO_CHANGES))
        assert isinstance(error_of(tree.set_attributes(b"/no", NO_CHANGES)), NoSuchFile)

    def test_setstat_of_times_is_accepted(self, gateway: GatewayInMemory, tree: Tree) -> None:
        seed(gateway, "a")
        assert result_of(tree.stat(b"/a")).modified_seconds != 1.0
        result_of(tree.set_attributes(b"/a", AttributeChanges(modified_seconds=1.0)))
        assert result_of(tree.stat(b"/a")).modified_seconds == 1.0


class TestListing:
    def test_a_closed_listing_fetches_nothing_more(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        for index in range(3500):
            gateway.store.seed(f"home/alice/d/{index}")
        listing = result_of(tree.open_directory(b"/d"))
        gate = gateway.store.hold("list")
        result_of(listing.next_entries())
        late = Deferred.fromCoroutine(listing.next_entries())
        listing.close()
        before = gateway.store.requests["list"]
        gate.open()
        result_of(late)
        assert gateway.store.requests["list"] == before

    def test_a_publication_while_the_page_is_on_its_way_counts(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "d/old")
        gate = gateway.store.hold("list")
        lookup = Deferred.fromCoroutine(tree.stat(b"/d"))
        put(gateway.tree(), b"/d/new", b"x")
        gate.open()
        result_of(lookup)
        assert names(result_of(tree.open_directory(b"/d"))) == ["new", "old"]


class TestDraining:
    """A process that drains refuses new transfers and waits for the others."""

    def test_draining_waits_for_transfers_and_refuses_new_ones(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "a")
        reader = result_of(tree.open_reader(b"/a"))
        writer = result_of(tree.open_writer(b"/b", WriteIntent(), NO_CHANGES))
        gateway.transfers.drain()
        idle = Deferred.fromCoroutine(gateway.transfers.idle())
        assert isinstance(error_of(tree.open_reader(b"/a")), LimitReached)
        opening = tree.open_writer(b"/c", WriteIntent(), NO_CHANGES)
        assert isinstance(error_of(opening), LimitReached)
        writer.write(0, b"x")
        result_of(writer.commit())
        assert not idle.called
        reader.close()
        result_of(idle)
        assert keys(gateway) == ["a", "b"]

    def test_an_open_that_fails_is_not_waited_for(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        assert isinstance(error_of(tree.open_reader(b"/nope")), NoSuchFile)
        result_of(gateway.transfers.idle())


class TestPermissions:
    """Each operation, with all permissions but the one that it needs."""

    def operations(self, tree: Tree) -> dict[Permission, list[Coroutine[Any, Any, Any]]]:
        return {
            Permission.LIST: [tree.open_directory(b"/")],
            Permission.DOWNLOAD: [tree.open_reader(b"/a")],
            Permission.UPLOAD: [tree.open_writer(b"/new", WriteIntent(), NO_CHANGES)],
            Permission.OVERWRITE: [
                tree.open_writer(b"/a", WriteIntent(), NO_CHANGES),
                tree.rename(b"/a", b"/b", replace=True),
            ],
            Permission.DELETE: [tree.remove_file(b"/a"), tree.remove_directory(b"/m")],
            Permission.RENAME: [tree.rename(b"/a", b"/c", replace=False)],
            Permission.MKDIR: [tree.make_directory(b"/n")],
            Permission.SETSTAT: [
                tree.set_attributes(b"/a", AttributeChanges(modified_seconds=1.0))
            ],
        }

    @pytest.mark.parametrize("missing", Permission)
    def test_each_permission_is_enforced(
        self, gateway: GatewayInMemory, missing: Permission
    ) -> None:
        seed(gateway, "a", "b", "m/")
        before = keys(gateway)
        user = User.with_home(
            "alice", "bucket", ALICE.mounts[0].key_prefix, ALL_PERMISSIONS & ~missing
        )
        all_operations = self.operations(gateway.tree(user))
        for work in all_operations.pop(missing):
            assert isinstance(error_of(work), PermissionDenied)
        assert keys(gateway) == before
        for works in all_operations.values():
            for work in works:
                work.close()

    def test_users_see_their_prefix_only(self, gateway: GatewayInMemory) -> None:
        seed(gateway, "a")
        bob = gateway.tree(User.with_home("bob", "bucket", "home/bob/"))
        assert names(result_of(bob.open_directory(b"/"))) == []
        assert isinstance(error_of(bob.stat(b"/../alice/a")), NoSuchFile)

    def test_the_state_prefix_is_hidden_from_a_user_of_the_whole_bucket(
        self, gateway: GatewayInMemory
    ) -> None:
        gateway.store.seed(".sftpgw/record", b"s")
        gateway.store.seed("a", b"x")
        tree = gateway.tree(User.with_home("root", "bucket", ""))
        assert names(result_of(tree.open_directory(b"/"))) == ["a"]
        assert isinstance(error_of(tree.open_reader(b"/.sftpgw/record")), PermissionDenied)


def test_objects_are_stored_under_the_users_bucket() -> None:
    gateway = GatewayInMemory(FakeStore(("bucket", "other"), min_part_bytes=1))
    tree = gateway.tree(User.with_home("bob", "other", ""))
    put(tree, b"/a", b"x")
    assert ObjectName("other", "a") in gateway.store.objects


class LateAnswers(FakeStore):
    """HEAD and GET return when `answers` opens; by then their results may be out of date."""

    answers: Gate

    async def head(self, name: ObjectName, *, with_checksum: bool = False) -> ObjectInfo:
        try:
            return await super().head(name, with_checksum=with_checksum)
        finally:
            await self.answers.passed()

    async def get(self, *arguments: Any, **options: Any) -> None:
        try:
            await super().get(*arguments, **options)
        finally:
            await self.answers.passed()


class TestWhileItIsPublished:
    """CLOSE arrives while the store looks for a file that it does not have yet."""

    @pytest.fixture
    def store(self) -> LateAnswers:
        store = LateAnswers(min_part_bytes=1)
        store.answers = Gate()
        return store

    @pytest.fixture
    def gateway(self, store: LateAnswers) -> GatewayInMemory:
        return GatewayInMemory(store)

    @pytest.fixture
    def tree(self, gateway: GatewayInMemory) -> Tree:
        return gateway.tree()

    @pytest.fixture
    def other(self, gateway: GatewayInMemory) -> Tree:
        """Another session, which looks into the store and not at its own uploads."""
        return gateway.tree()

    def test_stat_finds_a_file_while_it_is_published(
        self, store: LateAnswers, tree: Tree, other: Tree
    ) -> None:
        writer = result_of(tree.open_writer(b"/f", WriteIntent(), NO_CHANGES))
        writer.write(0, b"data")
        lookup = Deferred.fromCoroutine(other.stat(b"/f"))
        result_of(writer.commit())
        store.answers.open()
        assert result_of(lookup).size_bytes == 4

    def test_stat_does_not_find_what_was_given_up(
        self, store: LateAnswers, tree: Tree, other: Tree
    ) -> None:
        writer = result_of(tree.open_writer(b"/f", WriteIntent(), NO_CHANGES))
        lookup = Deferred.fromCoroutine(other.stat(b"/f"))
        result_of(writer.abandon())
        store.answers.open()
        assert isinstance(failure_of(lookup).value, NoSuchFile)

    @pytest.mark.parametrize("is_slow", [False, True])
    def test_open_finds_a_file_while_it_is_published(
        self, store: LateAnswers, tree: Tree, is_slow: bool
    ) -> None:
        writer = result_of(tree.open_writer(b"/f", WriteIntent(), NO_CHANGES))
        writer.write(0, b"data")
        opening = Deferred.fromCoroutine(tree.open_reader(b"/f"))
        publishing = store.hold("put")
        closing = Deferred.fromCoroutine(writer.commit())
        if is_slow:
            store.answers.open()
        publishing.open()
        store.answers.open()
        result_of(closing)
        reader = result_of(opening)
        assert result_of(reader.attributes()).size_bytes == 4
        reader.close()
