"""Files in ``[store NAME]``: its settings count for them, and records of them are kept in it."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from sftpgw.errors import FileError
from sftpgw.model.filesystem import AttributeChanges, WriteIntent
from sftpgw.model.mounts import Mount
from sftpgw.model.settings import FilesSettings, OnDisconnect, StoreSettings
from sftpgw.model.store import ObjectName
from sftpgw.model.users import User
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import GatewayInMemory
from tests.results import result_of

FAR = User("alice", (Mount("far:bucket", "", state_prefix=".far/"),))
MIB = 1 << 20


def gateway_of_two_stores() -> GatewayInMemory:
    return GatewayInMemory(
        FakeStore(buckets=("bucket", "far:bucket"), min_part_bytes=1, stores=("far",)),
        settings=StoreSettings(bucket="bucket"),
        stores={
            "far": StoreSettings(
                name="far",
                state_prefix=".far/",
                part_size_bytes=5 * MIB,
                storage_class="GLACIER_IR",
            )
        },
        files=FilesSettings(on_disconnect=OnDisconnect.RESUME),
    )


def upload(gateway: GatewayInMemory, size_bytes: int, *, is_lost: bool = False) -> None:
    opening = gateway.tree(FAR).open_writer(
        b"/file", WriteIntent(create=True, truncate=True), AttributeChanges()
    )
    writer = result_of(opening)
    writer.write(0, bytes(size_bytes))
    result_of(writer.abandon() if is_lost else writer.commit())


def test_parts_and_classes_are_those_of_the_store() -> None:
    gateway = gateway_of_two_stores()
    upload(gateway, 12 * MIB)
    assert gateway.store.requests["upload_part"] == 3
    (stored,) = gateway.store.objects.values()
    assert stored.properties.storage_class == "GLACIER_IR"


def test_records_of_a_suspended_upload_are_in_its_store() -> None:
    gateway = gateway_of_two_stores()
    upload(gateway, 12 * MIB, is_lost=True)
    (record,) = gateway.store.objects
    assert record.bucket == "far:bucket"
    assert record.key.startswith(".far/partials/")
    assert result_of(gateway.tree(FAR).stat(b"/file")).size_bytes > 0


def test_journals_of_a_rename_are_in_its_store() -> None:
    gateway = gateway_of_two_stores()
    for key in ("d/a", "d/b"):
        gateway.store.seed(key, b"x", bucket="far:bucket")
    put = gateway.store.hold("copy")
    renaming = gateway.tree(FAR).rename(b"/d", b"/e", replace=False)
    done = Deferred.fromCoroutine(renaming)
    journals = [name for name in gateway.store.objects if "renames/" in name.key]
    assert journals
    assert all(name.bucket == "far:bucket" for name in journals)
    assert all(name.key.startswith(".far/renames/") for name in journals)
    put.open()
    assert done.called
    assert sorted(name.key for name in gateway.store.objects if name.key[0] == "e") == [
        "e/a",
        "e/b",
    ]


def test_a_file_that_is_opened_while_it_moves_to_another_store_stays() -> None:
    gateway = gateway_of_two_stores()
    gateway.store.seed("f", b"x" * 6 * MIB)
    mounts = Mount("bucket", "", path=("a",)), Mount("far:bucket", "", ".far/", path=("b",))
    completing = gateway.store.hold("complete_upload")
    tree = gateway.tree(User("alice", mounts))
    renaming = Deferred.fromCoroutine(tree.rename(b"/a/f", b"/b/f", replace=False))
    intent = WriteIntent(create=False, truncate=False, append=True)
    writer = result_of(tree.open_writer(b"/a/f", intent, AttributeChanges()))
    writer.write(6 * MIB, b"y")
    completing.open()
    with pytest.raises(FileError, match="is being written"):
        result_of(renaming)
    result_of(writer.commit())
    assert gateway.store.objects[ObjectName("bucket", "f")].data == b"x" * 6 * MIB + b"y"
