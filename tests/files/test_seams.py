"""Where editing, renaming, times and permissions meet: what one of them does to another's file."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from sftpgw.errors import AccessDenied, AlreadyExists, ObjectChanged
from sftpgw.files.renames.plan import LEASE_SECONDS
from sftpgw.files.tree import Tree
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.filesystem import NO_CHANGES, AttributeChanges, WriteIntent
from sftpgw.model.mounts import ALL_PERMISSIONS, Permission
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import Capabilities, ObjectName
from sftpgw.model.units import MIB
from sftpgw.model.users import User
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import GatewayInMemory
from tests.files.worlds import HOME, finisher
from tests.results import failure_of, result_of

EDIT = WriteIntent(truncate=False)
NEW = WriteIntent()
SECONDS = 1_600_000_000.0
NO_OVERWRITE = User.with_home(
    "bob", "bucket", HOME, permissions=ALL_PERMISSIONS & ~Permission.OVERWRITE
)


def opened(tree: Tree, path: bytes, intent: WriteIntent = NEW, **changes: float) -> Upload:
    return result_of(tree.open_writer(path, intent, AttributeChanges(**changes)))  # type: ignore[arg-type]


def stored(gateway: GatewayInMemory, key: str) -> bytes:
    return gateway.store.content(HOME + key)


def mtime(gateway: GatewayInMemory, key: str) -> str | None:
    held = gateway.store.objects[ObjectName("bucket", HOME + key)]
    return held.properties.metadata.get("mtime")


def listed(tree: Tree, path: bytes = b"/") -> dict[bytes, float]:
    entries = result_of(result_of(tree.open_directory(path)).next_entries())
    return {entry.name.encode(): entry.attributes.modified_seconds for entry in entries}


# Times.


@pytest.mark.parametrize("when", ["at OPEN", "later"])
def test_a_time_for_a_file_that_is_opened_and_not_written_is_set(when: str) -> None:
    """As ``sftp``'s ``reput -p`` does when nothing is missing."""
    gateway = GatewayInMemory()
    gateway.store.seed(HOME + "f", b"old")
    tree = gateway.tree()
    if when == "at OPEN":
        upload = opened(tree, b"/f", EDIT, modified_seconds=SECONDS)
    else:
        upload = opened(tree, b"/f", EDIT)
        result_of(upload.set_attributes(AttributeChanges(modified_seconds=SECONDS)))
    result_of(upload.commit())
    assert (stored(gateway, "f"), mtime(gateway, "f")) == (b"old", "1600000000")
    assert listed(tree)[b"f"] == SECONDS
    gateway.assert_idle()


def test_a_time_is_not_set_on_another_file_than_the_one_that_was_opened() -> None:
    gateway = GatewayInMemory()
    gateway.store.seed(HOME + "f", b"old")
    upload = opened(gateway.tree(), b"/f", EDIT, modified_seconds=SECONDS)
    gateway.store.seed(HOME + "f", b"another's")
    result_of(upload.commit())
    assert mtime(gateway, "f") is None


def test_a_file_that_is_renamed_keeps_the_time_that_was_shown() -> None:
    gateway = GatewayInMemory()
    gateway.store.seed(HOME + "f", b"old")
    gateway.store.seed(HOME + "d/f", b"old", mtime="7.5")
    tree = gateway.tree()
    before = result_of(tree.stat(b"/f")).modified_seconds
    gateway.store.now_seconds += 1000
    gateway.store.requests.clear()
    result_of(tree.rename(b"/f", b"/g", replace=False))
    result_of(tree.rename(b"/d", b"/e", replace=False))
    assert result_of(tree.stat(b"/g")).modified_seconds == before
    assert mtime(gateway, "e/f") == "7.5"
    assert gateway.store.requests["copy"] == 2


def test_a_listing_shows_the_time_of_the_file_that_was_renamed_onto_another() -> None:
    """Of the same size and content, within a minute: the list cannot tell them apart."""
    gateway = GatewayInMemory()
    gateway.store.now_seconds = gateway.clock.seconds()
    tree = gateway.tree()
    for path, seconds in ((b"/f", SECONDS), (b"/f.part", SECONDS + 100)):
        upload = opened(tree, path, modified_seconds=seconds)
        upload.write(0, b"same")
        result_of(upload.commit())
    result_of(tree.rename(b"/f.part", b"/f", replace=True))
    assert result_of(tree.stat(b"/f")).modified_seconds == SECONDS + 100
    assert listed(tree)[b"f"] == SECONDS + 100


# Edits.


def test_of_two_edits_at_the_same_time_none_is_lost_without_a_word() -> None:
    gateway = GatewayInMemory()
    gateway.store.seed(HOME + "log", b"begin\n")
    uploads = [opened(gateway.tree(), b"/log", EDIT) for _ in range(2)]
    gate = gateway.store.hold("put")
    closing = []
    for upload, line in zip(uploads, (b"one\n", b"two\n"), strict=True):
        upload.write(6, line)
        closing.append(Deferred.fromCoroutine(upload.commit()))
    gate.open()
    result_of(closing[0])
    assert isinstance(failure_of(closing[1]).value, ObjectChanged)
    assert stored(gateway, "log") == b"begin\none\n"
    gateway.assert_idle()


def test_a_long_edit_does_not_undo_what_was_stored_meanwhile() -> None:
    """What stays was copied long ago, when it still was what is there."""
    gateway = GatewayInMemory(settings=StoreSettings(part_size_bytes=5 * MIB))
    gateway.store.seed(HOME + "f", bytes(6 * MIB))
    upload = opened(gateway.tree(), b"/f", EDIT)
    upload.write(6 * MIB, bytes(5 * MIB))
    assert gateway.store.requests["copy_part"] == 1
    gateway.store.seed(HOME + "f", b"another's")
    assert isinstance(failure_of(upload.commit()).value, ObjectChanged)
    assert stored(gateway, "f") == b"another's"
    gateway.assert_idle()


def test_a_file_that_is_removed_while_it_is_edited_is_closed_without_a_word() -> None:
    gateway = GatewayInMemory()
    gateway.store.seed(HOME + "f", b"old content")
    tree = gateway.tree()
    upload = opened(tree, b"/f", EDIT)
    upload.write(4, b"CON")
    result_of(tree.remove_file(b"/f"))
    result_of(upload.commit())
    assert gateway.store.objects == {}
    assert [facts["key"] for facts in gateway.events.facts("upload-dropped")] == [HOME + "f"]
    gateway.assert_idle()


# Permissions.


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_rename_gives_no_upload_the_right_to_replace(is_folder: bool) -> None:
    """Who may not overwrite may rename what is being uploaded; that does not make it overwrite."""
    gateway = GatewayInMemory()
    tree = gateway.tree(NO_OVERWRITE)
    upload = opened(tree, b"/d/x")
    upload.write(0, b"mine")
    if is_folder:
        result_of(tree.rename(b"/d", b"/n", replace=True))
    else:
        result_of(tree.rename(b"/d/x", b"/n/x", replace=True))
    gateway.store.seed(HOME + "n/x", b"theirs")
    assert isinstance(failure_of(upload.commit()).value, AlreadyExists)
    assert stored(gateway, "n/x") == b"theirs"


# Stores that decide nothing.


def test_an_object_stored_while_its_old_version_is_renamed_is_not_deleted() -> None:
    """Where the store deletes without a condition, the uploads of this process wait."""
    store = FakeStore(min_part_bytes=1, capabilities=Capabilities(conditional_delete=False))
    gateway = GatewayInMemory(store)
    store.seed(HOME + "f", b"old")
    gate = store.hold("delete")
    renamer = Deferred.fromCoroutine(gateway.tree().rename(b"/f", b"/g", replace=False))
    upload = opened_later(gateway)
    gate.open()
    result_of(renamer)
    result_of(upload)
    assert (stored(gateway, "g"), stored(gateway, "f")) == (b"old", b"new")


def opened_later(gateway: GatewayInMemory) -> Deferred[None]:
    """An upload to the same name by another client, closed at once."""

    async def put() -> None:
        upload = await gateway.tree().open_writer(b"/f", NEW, NO_CHANGES)
        upload.write(0, b"new")
        await upload.commit()

    return Deferred.fromCoroutine(put())


# Interrupted renames.


def test_a_rename_that_cannot_be_completed_holds_up_no_other() -> None:
    gateway = GatewayInMemory()
    for number in (1, 2):
        intent = b'{"version": 1, "source": "home/alice/%d/", "target": "x%d/"}' % (number, number)
        gateway.store.seed(f".sftpgw/renames/{number}/intent", intent)
    gateway.clock.advance(LEASE_SECONDS + 60)
    gateway.store.fail("get", AccessDenied("no", code="AccessDenied", status=403))
    result_of(finisher(gateway).look())
    assert len(gateway.events.facts("finish-failed")) == 1
    assert len(gateway.events.facts("interrupted-rename-finished")) == 1
