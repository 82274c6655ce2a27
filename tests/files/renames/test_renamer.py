"""RENAME and REMOVE: their results, their requests, and the state after a failure."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from sftpgw.errors import (
    AlreadyExists,
    DirectoryNotEmpty,
    InvalidPath,
    IsADirectory,
    LimitReached,
    NoSuchFile,
    NotADirectory,
    ObjectArchived,
    ObjectChanged,
    PermissionDenied,
    PreconditionFailed,
    StoreError,
    StoreTrouble,
    StoreUnavailable,
)
from sftpgw.files.copies.copier import Copier
from sftpgw.files.renames.plan import BEAT_SECONDS
from sftpgw.files.renames.settler import CONCURRENT_REQUESTS
from sftpgw.files.tree import Tree
from sftpgw.model.filesystem import AttributeChanges, FileKind, WriteIntent
from sftpgw.model.settings import FilesSettings, StoreSettings
from sftpgw.model.store import (
    Capabilities,
    ObjectInfo,
    ObjectName,
    ObjectProperties,
    WriteCondition,
)
from sftpgw.model.units import MIB
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import ALICE, GatewayInMemory
from sftpgw.testing.store_memory import StoredObject
from tests.results import failure_of, result_of

NO_CHANGES = AttributeChanges()


@pytest.fixture
def tree(gateway: GatewayInMemory) -> Tree:
    return gateway.tree()


class _CopiesNoMarkers(FakeStore):
    """As versitygw (400) and SeaweedFS (404), where ``name/`` is a real directory."""

    async def copy(self, source: ObjectInfo, *arguments: Any, **named: Any) -> str:
        if source.name.key.endswith("/"):
            raise StoreError("it is a directory", code="DirectoryObjectContainsData", status=400)
        return await super().copy(source, *arguments, **named)


def seed(gateway: GatewayInMemory, *paths: str) -> None:
    for path in paths:
        gateway.store.seed("home/alice/" + path, b"" if path.endswith("/") else path.encode())


def keys(gateway: GatewayInMemory) -> list[str]:
    """All keys of alice, and the gateway's own."""
    return [key.removeprefix("home/alice/") for key in gateway.store.keys()]  # noqa: SIM118


def contents(gateway: GatewayInMemory) -> dict[str, str]:
    """The keys of alice, with markers."""
    return {
        name.key.removeprefix("home/alice/"): held.data.decode()
        for name, held in gateway.store.objects.items()
        if name.key.startswith("home/alice/")
    }


def error_of(work: Coroutine[Any, Any, Any]) -> BaseException | None:
    return failure_of(work).value


def start_writing(tree: Tree, path: bytes, data: bytes, **intent: bool) -> Any:
    writer = result_of(tree.open_writer(path, WriteIntent(**intent), NO_CHANGES))
    writer.write(0, data)
    return writer


class TestFiles:
    def test_content_and_metadata_move(self, gateway: GatewayInMemory, tree: Tree) -> None:
        gateway.store.seed("home/alice/a", b"x", mtime="5")
        result_of(tree.rename(b"/a", b"/d/b", replace=False))
        assert keys(gateway) == ["d/b"]
        assert result_of(tree.stat(b"/d/b")).modified_seconds == 5

    def test_an_existing_target_is_replaced_only_on_demand(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "a", "b", "d/f")
        assert isinstance(error_of(tree.rename(b"/a", b"/b", replace=False)), AlreadyExists)
        assert isinstance(error_of(tree.rename(b"/a", b"/d", replace=True)), IsADirectory)
        result_of(tree.rename(b"/a", b"/b", replace=True))
        assert gateway.store.content("home/alice/b") == b"a"
        assert keys(gateway) == ["b", "d/f"]

    def test_a_target_that_appears_meanwhile_is_not_replaced(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "a")
        gate = gateway.store.hold("copy")
        renamer = Deferred.fromCoroutine(tree.rename(b"/a", b"/b", replace=False))
        seed(gateway, "b")
        gate.open()
        assert isinstance(failure_of(renamer).value, AlreadyExists)
        assert keys(gateway) == ["a", "b"]

    def test_a_source_that_is_replaced_meanwhile_is_not_destroyed(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "a")
        gate = gateway.store.hold("delete")
        renamer = Deferred.fromCoroutine(tree.rename(b"/a", b"/b", replace=False))
        gateway.store.seed("home/alice/a", b"newer")
        gate.open()
        assert isinstance(failure_of(renamer).value, ObjectChanged)
        assert gateway.store.content("home/alice/a") == b"newer"

    def test_onto_a_file_that_is_being_published_the_rename_comes_last(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "new")
        gate = gateway.store.hold("put")
        writer = result_of(tree.open_writer(b"/target", WriteIntent(), NO_CHANGES))
        writer.write(0, b"old")
        committing = Deferred.fromCoroutine(writer.commit())
        renamer = Deferred.fromCoroutine(tree.rename(b"/new", b"/target", replace=True))
        assert not renamer.called
        gate.open()
        result_of(committing)
        result_of(renamer)
        assert gateway.store.content("home/alice/target") == b"new"
        assert keys(gateway) == ["target"]

    def test_onto_itself_changes_nothing(self, gateway: GatewayInMemory, tree: Tree) -> None:
        seed(gateway, "a")
        result_of(tree.rename(b"/a", b"/./a", replace=False))
        assert keys(gateway) == ["a"]

    def test_a_missing_source_is_no_such_file(self, tree: Tree) -> None:
        assert isinstance(error_of(tree.rename(b"/no", b"/b", replace=False)), NoSuchFile)

    @pytest.mark.parametrize("replace", [True, False])
    def test_the_root_and_into_itself(
        self, gateway: GatewayInMemory, tree: Tree, replace: bool
    ) -> None:
        seed(gateway, "a", "d/f")
        for old, new, expected in (
            (b"/", b"/b", PermissionDenied),
            (b"/a", b"/", PermissionDenied),
            (b"/a", b"/a/b", NotADirectory),
            (b"/d/f", b"/d", IsADirectory),
        ):
            assert isinstance(error_of(tree.rename(old, new, replace=replace)), expected)
        assert keys(gateway) == ["a", "d/f"]

    def test_a_copy_of_a_multipart_object_is_looked_at(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        """Its ETag does not prove that the bytes are the same."""
        seed(gateway, "a")
        name = ObjectName("bucket", "home/alice/a")
        held = gateway.store.objects[name]
        gateway.store.objects[name] = StoredObject(held.data, '"x-2"', 1.0, held.properties)
        result_of(tree.rename(b"/a", b"/b", replace=False))
        assert gateway.store.requests == {"head": 2, "list": 1, "copy": 1, "delete": 1}
        assert contents(gateway) == {"b": "a"}

    def test_a_store_that_copies_wrongly_does_not_lose_the_original(self) -> None:
        gateway = GatewayInMemory(_Garbling(min_part_bytes=1))
        seed(gateway, "a")
        assert isinstance(
            error_of(gateway.tree().rename(b"/a", b"/b", replace=False)), StoreTrouble
        )
        assert contents(gateway) == {"a": "a"}

    def test_a_store_without_conditions_is_looked_at(self) -> None:
        lacking = Capabilities(conditional_copy=False, conditional_delete=False)
        gateway = GatewayInMemory(FakeStore(capabilities=lacking, min_part_bytes=1))
        seed(gateway, "a", "b")
        tree = gateway.tree()
        assert isinstance(error_of(tree.rename(b"/a", b"/b", replace=False)), AlreadyExists)
        result_of(tree.rename(b"/a", b"/b", replace=True))
        assert contents(gateway) == {"b": "a"}

    def test_without_conditional_deletes_a_replaced_source_is_spared_too(self) -> None:
        gateway = GatewayInMemory(
            FakeStore(capabilities=Capabilities(conditional_delete=False), min_part_bytes=1)
        )
        seed(gateway, "a")
        gate = gateway.store.hold("copy")
        tree = gateway.tree()
        renamer = Deferred.fromCoroutine(tree.rename(b"/a", b"/b", replace=False))
        after = gateway.store.hold("head")
        gate.open()
        gateway.store.seed("home/alice/a", b"newer")
        after.open()
        assert isinstance(failure_of(renamer).value, ObjectChanged)
        assert contents(gateway) == {"a": "newer", "b": "a"}


class _Garbling(FakeStore):
    """A store that copies other bytes than the object has."""

    async def copy(
        self,
        source: Any,
        target: ObjectName,
        condition: WriteCondition = WriteCondition.NONE,
        properties: ObjectProperties | None = None,
    ) -> str:
        etag = await super().copy(source, target, condition, properties)
        held = self.objects[target]
        garbled = StoredObject(b"?" + held.data[1:], '"f"', 1.0, held.properties)
        self.objects[target] = garbled
        assert etag != "f"
        return '"f"'


class TestLargeFiles:
    """Objects over the limit of one CopyObject, which is 10 bytes here."""

    DATA = bytes(range(95))

    def copier(self, store: FakeStore) -> Copier:
        gateway = GatewayInMemory(store)
        return Copier(
            store, gateway.transfers, gateway.events, limit_bytes=10, part_bytes=20, at_once=2
        )

    def source(self, store: FakeStore) -> Any:
        name = ObjectName("bucket", "a")
        properties = ObjectProperties(
            metadata={"mtime": "5"},
            content_type="text/x",
            storage_class="STANDARD_IA",
            system_headers={"cache-control": "no-store"},
            encryption={"x-amz-server-side-encryption": "AES256"},
            tags={"k": "v"},
        )
        result_of(store.put(name, (self.DATA,), properties))
        return result_of(store.head(name, with_checksum=True)), properties

    def test_a_large_file_is_copied_in_parts_with_its_properties(self) -> None:
        store = FakeStore(min_part_bytes=1)
        source, properties = self.source(store)
        target = ObjectName("bucket", "b")
        result_of(self.copier(store).copy(source, target, WriteCondition.IF_ABSENT))
        assert store.objects[target].data == self.DATA
        assert store.objects[target].properties == properties
        assert store.requests["copy_part"] == 5
        assert not store.uploads

    def test_at_most_so_many_parts_at_once(self) -> None:
        store = FakeStore(min_part_bytes=1)
        source, _ = self.source(store)
        gate = store.hold("copy_part")
        copier = Deferred.fromCoroutine(self.copier(store).copy(source, ObjectName("bucket", "b")))
        assert gate.waiting == 2
        gate.open()
        result_of(copier)

    @pytest.mark.parametrize("operation", ["copy_part", "complete_upload", "tags", "head"])
    def test_a_failed_copy_leaves_nothing(self, operation: str) -> None:
        store = FakeStore(min_part_bytes=1)
        source, _ = self.source(store)
        store.fail(operation, StoreUnavailable("down"), skip=1 if operation == "copy_part" else 0)
        work = self.copier(store).copy(source, ObjectName("bucket", "b"))
        assert isinstance(error_of(work), StoreUnavailable)
        assert not store.uploads
        assert store.content("a") == self.DATA

    def test_a_large_file_does_not_replace_another_under_if_absent(self) -> None:
        store = FakeStore(min_part_bytes=1)
        source, _ = self.source(store)
        store.seed("b", b"b")
        work = self.copier(store).copy(source, ObjectName("bucket", "b"), WriteCondition.IF_ABSENT)
        assert isinstance(error_of(work), PreconditionFailed)
        assert store.content("b") == b"b"
        assert not store.uploads

    def test_a_store_that_cannot_copy_parts(self) -> None:
        store = FakeStore(capabilities=Capabilities(part_copy=False))
        source, _ = self.source(store)
        work = self.copier(store).copy(source, ObjectName("bucket", "b"))
        assert isinstance(error_of(work), LimitReached)

    def test_a_source_that_was_replaced_is_not_copied_half(self) -> None:
        store = FakeStore(min_part_bytes=1)
        source, _ = self.source(store)
        store.seed("a", self.DATA + b"!")
        work = self.copier(store).copy(source, ObjectName("bucket", "b"))
        assert isinstance(error_of(work), PreconditionFailed)
        assert store.keys() == ["a"]


class TestDirectories:
    FILES = ("d/", "d/a", "d/e/b", "d/e/f/c", "d/é", "d-", "d.txt")

    def test_all_objects_of_a_directory_move_and_no_others(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, *self.FILES)
        result_of(tree.rename(b"/d", b"/new/place", replace=False))
        assert contents(gateway) == {
            "d-": "d-",
            "d.txt": "d.txt",
            "new/place/": "",
            "new/place/a": "d/a",
            "new/place/e/b": "d/e/b",
            "new/place/e/f/c": "d/e/f/c",
            "new/place/é": "d/é",
        }
        assert len(keys(gateway)) == 7, "the record is gone"
        assert result_of(tree.stat(b"/new/place/e")).kind is FileKind.DIRECTORY
        assert isinstance(error_of(tree.stat(b"/d")), NoSuchFile)
        assert gateway.budget.held_bytes == 0
        assert not gateway.clock.getDelayedCalls()

    def test_three_requests_an_object(self) -> None:
        gateway = GatewayInMemory()
        for index in range(1000):
            gateway.store.seed(f"home/alice/d/{index}", b"x")
        result_of(gateway.tree().rename(b"/d", b"/e", replace=False))
        each = {name: count // 1000 for name, count in gateway.store.requests.items()}
        assert {name for name, count in each.items() if count} == {"head", "copy", "delete"}
        assert gateway.store.requests.total() < 3050

    def test_requests_go_side_by_side_but_not_all_at_once(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, *(f"d/{index}" for index in range(30)))
        gate = gateway.store.hold("copy")
        renamer = Deferred.fromCoroutine(tree.rename(b"/d", b"/e", replace=False))
        assert gate.waiting == CONCURRENT_REQUESTS
        assert gateway.store.requests["delete"] == 0
        gate.open()
        result_of(renamer)

    def test_metadata_of_its_files_stays(self, gateway: GatewayInMemory, tree: Tree) -> None:
        gateway.store.seed("home/alice/d/a", b"x", mtime="5")
        result_of(tree.rename(b"/d", b"/e", replace=False))
        assert result_of(tree.stat(b"/e/a")).modified_seconds == 5

    @pytest.mark.parametrize(
        ("new", "replace", "expected"),
        [
            (b"/file", False, AlreadyExists),
            (b"/file", True, NotADirectory),
            (b"/full", False, AlreadyExists),
            (b"/full", True, DirectoryNotEmpty),
            (b"/empty", False, AlreadyExists),
            (b"/d/e/x", False, InvalidPath),
            (b"/d/e/x", True, InvalidPath),
            (b"/", True, PermissionDenied),
        ],
    )
    def test_targets_that_are_refused(
        self, gateway: GatewayInMemory, tree: Tree, new: bytes, replace: bool, expected: type
    ) -> None:
        seed(gateway, "d/a", "file", "full/x", "empty/")
        before = keys(gateway)
        assert isinstance(error_of(tree.rename(b"/d", new, replace=replace)), expected)
        assert keys(gateway) == before
        assert gateway.budget.held_bytes == 0

    @pytest.mark.parametrize("replace", [True, False])
    def test_a_directory_renamed_onto_itself_changes_nothing(
        self, gateway: GatewayInMemory, tree: Tree, replace: bool
    ) -> None:
        seed(gateway, "d/a")
        result_of(tree.rename(b"/d", b"/d/", replace=replace))
        assert keys(gateway) == ["d/a"]

    @pytest.mark.parametrize("sources", [("d/", "d/a"), ("d/a",), ("d/",)])
    def test_over_an_empty_directory(
        self, gateway: GatewayInMemory, tree: Tree, sources: tuple[str, ...]
    ) -> None:
        seed(gateway, *sources, "empty/")
        result_of(tree.rename(b"/d", b"/empty", replace=True))
        assert keys(gateway) == sorted({"empty/", *(s.replace("d/", "empty/") for s in sources)})

    def test_a_directory_of_too_many_objects_is_refused(self) -> None:
        gateway = GatewayInMemory(files=FilesSettings(rename_max_objects=2))
        seed(gateway, "d/a", "d/b")
        result_of(gateway.tree().rename(b"/d", b"/e", replace=False))
        seed(gateway, "e/c")
        error = error_of(gateway.tree().rename(b"/e", b"/f", replace=False))
        assert isinstance(error, LimitReached)
        assert "rename_max_objects" in str(error)
        assert keys(gateway) == ["e/a", "e/b", "e/c"]
        assert gateway.store.requests["copy"] == 2

    def test_names_that_would_be_too_long(self, gateway: GatewayInMemory, tree: Tree) -> None:
        seed(gateway, "d/a", "d/" + "x" * 1000)
        assert isinstance(
            error_of(tree.rename(b"/d", b"/" + b"e" * 30, replace=False)), InvalidPath
        )
        assert gateway.store.requests["copy"] == 0
        assert len(keys(gateway)) == 2

    @pytest.mark.parametrize("at", [0, 2, 3])
    def test_a_copy_that_fails_leaves_everything_as_it_was(
        self, gateway: GatewayInMemory, tree: Tree, at: int
    ) -> None:
        seed(gateway, *self.FILES)
        before = contents(gateway)
        archived = ObjectArchived("in glacier", code="InvalidObjectState", status=403)
        gateway.store.fail("copy", archived, skip=at)
        renamer = tree.rename(b"/d", b"/e", replace=False)
        assert isinstance(error_of(renamer), ObjectArchived)
        assert contents(gateway) == before
        assert len(keys(gateway)) == len(before), "the record is gone"

    def test_a_file_that_appears_under_the_new_name_is_not_replaced(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "d/a", "d/b")
        gate = gateway.store.hold("copy")
        renamer = Deferred.fromCoroutine(tree.rename(b"/d", b"/e", replace=False))
        gateway.store.seed("home/alice/e/b", b"theirs")
        gate.open()
        assert isinstance(failure_of(renamer).value, AlreadyExists)
        assert contents(gateway) == {"d/a": "d/a", "d/b": "d/b", "e/b": "theirs"}

    def test_objects_stored_meanwhile_under_the_old_name_are_spared(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "d/a", "d/b")
        gate = gateway.store.hold("delete")
        renamer = Deferred.fromCoroutine(tree.rename(b"/d", b"/e", replace=False))
        gateway.store.seed("home/alice/d/b", b"replaced")
        gateway.store.seed("home/alice/d/c", b"added")
        gate.open()
        assert isinstance(failure_of(renamer).value, ObjectChanged)
        assert contents(gateway) == {
            "d/b": "replaced",
            "d/c": "added",
            "e/a": "d/a",
            "e/b": "d/b",
        }
        assert len(gateway.events.facts("rename-spared-files")) == 1

    def test_an_old_version_is_not_taken_for_the_one_that_replaced_it_before_its_copy(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "d/a")
        gate = gateway.store.hold("copy")
        renamer = Deferred.fromCoroutine(tree.rename(b"/d", b"/e", replace=False))
        gateway.store.seed("home/alice/d/a", b"replaced")
        gate.open()
        assert isinstance(failure_of(renamer).value, ObjectChanged)
        assert contents(gateway) == {"d/a": "replaced"}

    def test_the_gateways_own_records_do_not_move(self) -> None:
        settings = StoreSettings(bucket="bucket", state_prefix="home/.sftpgw/")
        gateway = GatewayInMemory(settings=settings)
        seed(gateway, "d/a", "d/b")
        root = gateway.tree(ALICE.with_home("root", "bucket", ""))
        gateway.store.seed("home/.sftpgw/x", b"own")
        gateway.settings = gateway.settings.__class__(bucket="bucket", state_prefix="home/.sftpgw/")
        root = gateway.tree(ALICE.with_home("root", "bucket", ""))
        result_of(root.rename(b"/home", b"/away", replace=False))
        assert gateway.store.keys() == ["away/alice/d/a", "away/alice/d/b", "home/.sftpgw/x"]

    def test_of_two_renames_of_the_same_keys_one_is_refused(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "d/e/a", "x/a")
        gate = gateway.store.hold("copy")
        first = Deferred.fromCoroutine(tree.rename(b"/d", b"/n", replace=False))
        other = gateway.tree()
        for old, new in ((b"/d", b"/m"), (b"/d/e", b"/m"), (b"/x", b"/n"), (b"/x", b"/d/y")):
            error = error_of(other.rename(old, new, replace=False))
            assert isinstance(error, LimitReached), error
        apart = Deferred.fromCoroutine(other.rename(b"/x", b"/y", replace=False))
        gate.open()
        result_of(first)
        result_of(apart)
        assert contents(gateway) == {"n/e/a": "d/e/a", "y/a": "x/a"}

    def test_an_emptied_directory_has_a_name_too(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "d/a")
        result_of(tree.remove_file(b"/d/a"))
        result_of(tree.rename(b"/d", b"/e", replace=False))
        assert keys(gateway) == ["e/"]
        assert isinstance(error_of(tree.stat(b"/d")), NoSuchFile)

    def test_a_rename_that_takes_long_says_that_it_is_alive(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "d/a")
        gate = gateway.store.hold("copy")
        renamer = Deferred.fromCoroutine(tree.rename(b"/d", b"/e", replace=False))
        puts = gateway.store.requests["put"]
        for _ in range(3):
            gateway.clock.advance(BEAT_SECONDS)
        assert gateway.store.requests["put"] == puts + 3
        gate.open()
        result_of(renamer)
        assert not gateway.clock.getDelayedCalls()
        assert keys(gateway) == ["e/a"]


class TestInFlight:
    """Open files are renamed and removed as on a disk, where an open file has no name."""

    def test_a_rename_redirects_what_is_only_in_flight(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        writer = start_writing(tree, b"/a", b"new")
        result_of(gateway.tree().rename(b"/a", b"/b", replace=False))
        assert isinstance(error_of(tree.stat(b"/a")), NoSuchFile)
        assert result_of(tree.stat(b"/b")).size_bytes == 3
        result_of(writer.commit())
        assert contents(gateway) == {"b": "new"}
        assert gateway.events.facts("file-stored")[0]["key"] == "home/alice/b"

    def test_the_stored_file_and_what_is_to_replace_it_move_together(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "a")
        writer = start_writing(tree, b"/a", b"newer")
        result_of(tree.rename(b"/a", b"/b", replace=False))
        assert contents(gateway) == {"b": "a"}
        result_of(writer.commit())
        assert contents(gateway) == {"b": "newer"}

    @pytest.mark.parametrize("replace", [True, False])
    def test_a_file_that_was_to_be_new_may_replace_if_the_rename_may(
        self, gateway: GatewayInMemory, tree: Tree, replace: bool
    ) -> None:
        writer = start_writing(tree, b"/a", b"new", exclusive=True)
        seed(gateway, "b")
        renamer = tree.rename(b"/a", b"/b", replace=replace)
        if replace:
            result_of(renamer)
        else:
            assert isinstance(error_of(renamer), AlreadyExists)
        result_of(writer.commit())
        assert contents(gateway) == ({"b": "new"} if replace else {"a": "new", "b": "b"})

    def test_onto_a_file_that_is_only_in_flight(self, gateway: GatewayInMemory, tree: Tree) -> None:
        seed(gateway, "a")
        writer = start_writing(tree, b"/b", b"b")
        assert isinstance(error_of(tree.rename(b"/a", b"/b", replace=False)), AlreadyExists)
        result_of(tree.rename(b"/a", b"/b", replace=True))
        result_of(writer.commit())
        assert contents(gateway) == {"b": "a"}

    def test_a_rename_during_the_commit_comes_after_it(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        gate = gateway.store.hold("put")
        writer = start_writing(tree, b"/a", b"new")
        committing = Deferred.fromCoroutine(writer.commit())
        renamer = Deferred.fromCoroutine(tree.rename(b"/a", b"/b", replace=False))
        gate.open()
        result_of(committing)
        result_of(renamer)
        assert contents(gateway) == {"b": "new"}

    def test_an_upload_that_ends_while_the_rename_looks_is_renamed_as_a_file(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        writer = start_writing(tree, b"/a", b"new")
        gate = gateway.store.hold("list")
        renamer = Deferred.fromCoroutine(tree.rename(b"/a", b"/b", replace=False))
        result_of(writer.commit())
        gate.open()
        result_of(renamer)
        assert contents(gateway) == {"b": "new"}

    def test_a_removed_upload_is_published_nowhere(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        writer = start_writing(tree, b"/a", b"new")
        result_of(gateway.tree().remove_file(b"/a"))
        assert isinstance(error_of(tree.stat(b"/a")), NoSuchFile)
        assert isinstance(error_of(tree.remove_file(b"/a")), NoSuchFile)
        writer.write(3, b"er")
        assert result_of(writer.attributes()).size_bytes == 5
        idle = Deferred.fromCoroutine(gateway.transfers.idle())
        assert not idle.called
        result_of(writer.commit())
        result_of(idle)
        assert contents(gateway) == {}
        assert gateway.events.facts("file-stored") == []
        gateway.assert_idle()

    def test_remove_takes_the_stored_file_and_the_upload(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "a")
        writer = start_writing(tree, b"/a", b"newer")
        result_of(tree.remove_file(b"/a"))
        second = start_writing(tree, b"/a", b"second")
        result_of(writer.commit())
        assert contents(gateway) == {}
        result_of(second.commit())
        assert contents(gateway) == {"a": "second"}

    def test_an_upload_removed_after_parts_were_sent_is_aborted(self) -> None:
        gateway = GatewayInMemory(settings=StoreSettings(bucket="bucket", part_size_bytes=5 * MIB))
        tree = gateway.tree()
        writer = start_writing(tree, b"/a", bytes(11 * MIB))
        result_of(tree.remove_file(b"/a"))
        result_of(writer.commit())
        assert contents(gateway) == {}
        gateway.assert_idle()

    def test_a_removed_and_abandoned_upload_leaves_nothing(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        writer = start_writing(tree, b"/a", b"new")
        result_of(tree.remove_file(b"/a"))
        result_of(writer.abandon())
        result_of(gateway.transfers.idle())
        gateway.assert_idle()

    def test_a_file_that_was_opened_after_the_remove_is_another_one(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        """Clients may send OPEN before the reply to REMOVE."""
        seed(gateway, "a")
        gate = gateway.store.hold("delete")
        removing = Deferred.fromCoroutine(tree.remove_file(b"/a"))
        writer = start_writing(tree, b"/a", b"new")
        gate.open()
        result_of(removing)
        result_of(writer.commit())
        assert contents(gateway) == {"a": "new"}

    @pytest.mark.parametrize("replace", [True, False])
    def test_files_that_were_opened_after_the_rename_stay(
        self, gateway: GatewayInMemory, tree: Tree, replace: bool
    ) -> None:
        seed(gateway, "a")
        gate = gateway.store.hold("copy")
        renamer = Deferred.fromCoroutine(tree.rename(b"/a", b"/b", replace=replace))
        writers = [start_writing(tree, path, b"new") for path in (b"/a", b"/b")]
        gate.open()
        result_of(renamer)
        for writer in writers:
            result_of(writer.commit())
        assert contents(gateway) == {"a": "new", "b": "new"}

    @pytest.mark.parametrize("operation", ["remove", "rename"])
    def test_an_upload_that_ends_while_the_file_is_looked_for(
        self, gateway: GatewayInMemory, tree: Tree, operation: str
    ) -> None:
        writer = start_writing(tree, b"/a", b"new")
        lookup, putting = gateway.store.hold("head"), gateway.store.hold("put")
        if operation == "remove":
            work = Deferred.fromCoroutine(tree.remove_file(b"/a"))
        else:
            work = Deferred.fromCoroutine(tree.rename(b"/a", b"/b", replace=False))
        committing = Deferred.fromCoroutine(writer.commit())
        lookup.open()
        putting.open()
        result_of(committing)
        result_of(work)
        assert contents(gateway) == ({"b": "new"} if operation == "rename" else {})

    def test_files_in_flight_move_with_their_directory(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "d/a")
        writers = [start_writing(tree, path, b"new") for path in (b"/d/a", b"/d/e/b")]
        result_of(tree.rename(b"/d", b"/n", replace=False))
        assert result_of(tree.stat(b"/n/e/b")).size_bytes == 3
        for writer in writers:
            result_of(writer.commit())
        assert contents(gateway) == {"n/a": "new", "n/e/b": "new"}

    def test_of_two_writers_the_last_close_wins_whole(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        first, second = start_writing(tree, b"/a", b"first"), start_writing(tree, b"/a", b"2nd")
        gate = gateway.store.hold("put")
        closings = [Deferred.fromCoroutine(writer.commit()) for writer in (second, first)]
        gate.open()
        for closing in closings:
            result_of(closing)
        assert contents(gateway) == {"a": "first"}


class TestKeptDirectories:
    """With `[files] keep_empty_directories`, which costs a LIST each time."""

    def gateway(self) -> GatewayInMemory:
        return GatewayInMemory(files=FilesSettings(keep_empty_directories=True))

    def test_the_last_file_leaves_its_directory(self) -> None:
        gateway = self.gateway()
        seed(gateway, "d/e/a", "d/e/b")
        tree = gateway.tree()
        result_of(tree.remove_file(b"/d/e/a"))
        assert keys(gateway) == ["d/e/b"]
        gateway.store.requests.clear()
        result_of(tree.rename(b"/d/e/b", b"/b", replace=False))
        assert keys(gateway) == ["b", "d/e/"]
        assert gateway.store.requests == {"head": 1, "list": 2, "copy": 1, "put": 1, "delete": 1}
        assert result_of(gateway.tree().stat(b"/d/e")).kind is FileKind.DIRECTORY
        result_of(tree.remove_directory(b"/d/e"))
        assert keys(gateway) == ["b", "d/"]
        result_of(tree.remove_directory(b"/d"))
        assert keys(gateway) == ["b"]

    def test_the_last_directory_leaves_its_directory(self) -> None:
        gateway = self.gateway()
        seed(gateway, "d/e/a")
        result_of(gateway.tree().rename(b"/d/e", b"/n", replace=False))
        assert keys(gateway) == ["d/", "n/a"]

    def test_without_the_option_no_request_is_made(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, "d/a")
        result_of(tree.remove_file(b"/d/a"))
        assert keys(gateway) == []
        assert gateway.store.requests == {"head": 1, "delete": 1}


class TestHadoopMarkers:
    def test_hadoop_markers_are_directories_and_no_files(self) -> None:
        gateway = GatewayInMemory(files=FilesSettings(hadoop_markers=True))
        tree = gateway.tree()
        for key in ("d_$folder$", "e/", "e/x", "e_$folder$", "f", "f_$folder$"):
            gateway.store.seed("home/alice/" + key)
        gateway.store.seed("home/alice/data_$folder$", b"a file")
        for path, kind in ((b"/d", FileKind.DIRECTORY), (b"/data_$folder$", FileKind.FILE)):
            assert result_of(tree.stat(path)).kind is kind
        reader = result_of(tree.open_directory(b"/"))
        listed = [(entry.name, entry.attributes.kind) for entry in result_of(reader.next_entries())]
        assert sorted(listed) == [
            ("d", FileKind.DIRECTORY),
            ("data_$folder$", FileKind.FILE),
            ("e", FileKind.DIRECTORY),
            ("f", FileKind.FILE),
        ]
        empty = result_of(tree.open_directory(b"/d"))
        assert result_of(empty.next_entries()) == ()

    def test_without_the_option_no_request_looks_for_unlisted_hadoop_markers(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        gateway.store.seed("home/alice/d_$folder$")
        gateway.store.requests.clear()
        for path in (b"/d", b"/missing"):
            assert isinstance(error_of(tree.stat(path)), NoSuchFile)
        assert gateway.store.requests == {"head": 2, "list": 2}

    def test_a_listed_hadoop_marker_is_found(self, gateway: GatewayInMemory, tree: Tree) -> None:
        gateway.store.seed("home/alice/d_$folder$")
        gateway.store.seed("home/alice/e_$folder$")
        result_of(tree.open_directory(b"/"))
        for path in (b"/d", b"/e"):
            assert result_of(tree.stat(path)).kind is FileKind.DIRECTORY
            reader = result_of(tree.open_directory(path))
            assert result_of(reader.next_entries()) == ()
        gateway.store.requests.clear()
        assert isinstance(error_of(tree.stat(b"/missing")), NoSuchFile)
        assert gateway.store.requests == {"head": 1, "list": 1}

    def test_a_hadoop_marker_of_a_later_page_is_found(self) -> None:
        gateway = GatewayInMemory(FakeStore(page_limit=2))
        tree = gateway.tree()
        for key in ("a", "b", "c", "d_$folder$"):
            gateway.store.seed("home/alice/" + key)
        reader = result_of(tree.open_directory(b"/"))
        while result_of(reader.next_entries()):
            pass
        assert result_of(tree.stat(b"/d")).kind is FileKind.DIRECTORY

    def test_a_removed_hadoop_marker_is_forgotten(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        gateway.store.seed("home/alice/d_$folder$")
        result_of(tree.open_directory(b"/"))
        result_of(tree.remove_directory(b"/d"))
        gateway.store.requests.clear()
        assert isinstance(error_of(tree.stat(b"/d")), NoSuchFile)
        assert gateway.store.requests == {"head": 1, "list": 1}

    def test_mkdir_refuses_them_and_rmdir_removes_them(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        gateway.store.seed("home/alice/d_$folder$")
        gateway.store.seed("home/alice/e_$folder$")
        gateway.store.seed("home/alice/e/")
        assert isinstance(error_of(tree.make_directory(b"/d")), AlreadyExists)
        result_of(tree.remove_directory(b"/d"))
        result_of(tree.remove_directory(b"/e"))
        assert keys(gateway) == []

    def test_renamed_hadoop_markers_become_ours(self, gateway: GatewayInMemory, tree: Tree) -> None:
        gateway.store.seed("home/alice/d_$folder$")
        result_of(tree.rename(b"/d", b"/n", replace=False))
        assert keys(gateway) == ["n/"]

    def test_a_marker_with_content_is_not_thrown_away(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        gateway.store.seed("home/alice/d/", b"data")
        assert isinstance(error_of(tree.remove_directory(b"/d")), DirectoryNotEmpty)
        result_of(tree.rename(b"/d", b"/n", replace=False))
        assert gateway.store.content("home/alice/n/") == b"data"


def test_a_folder_with_made_folders_in_it_moves_where_markers_are_not_copied() -> None:
    gateway = GatewayInMemory(_CopiesNoMarkers())
    seed(gateway, "old/", "old/made/", "old/made/file", "old/empty/")
    marker = ObjectName("bucket", "home/alice/old/empty/")
    held = gateway.store.objects[marker]
    properties = ObjectProperties(metadata={"mtime": "5"}, content_type="x/y", tags={"a": "b"})
    gateway.store.objects[marker] = StoredObject(b"", held.etag, held.modified_seconds, properties)
    result_of(gateway.tree().rename(b"/old", b"/new", replace=False))
    assert sorted(contents(gateway)) == ["new/", "new/empty/", "new/made/", "new/made/file"]
    moved = gateway.store.objects[ObjectName("bucket", "home/alice/new/empty/")]
    assert moved.properties == properties
