"""The registry of transfers: what it shows of the files that are open."""

from __future__ import annotations

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred

from sftpgw.errors import AccessDenied, LimitReached
from sftpgw.files.transfers.transfer_view import TransferKind, TransferView
from sftpgw.model.filesystem import NO_CHANGES, WriteIntent
from sftpgw.model.mounts import AccessRule, Mount, Permission
from sftpgw.model.store import ObjectName
from sftpgw.model.users import User
from sftpgw.testing.sftp_sessions import ALICE, GatewayInMemory
from tests.results import result_of

HOME = "home/alice/"


def test_each_open_file_has_a_view(gateway: GatewayInMemory) -> None:
    gateway.store.seed(HOME + "old", b"0123456789")
    tree = gateway.tree()
    opened_seconds = gateway.clock.seconds()
    upload = result_of(tree.open_writer(b"/new", WriteIntent(), NO_CHANGES))
    upload.write(0, b"abc")
    gateway.clock.advance(5)
    download = result_of(tree.open_reader(b"/old"))
    download.read(0, 4)
    assert gateway.transfers.views() == (
        TransferView(
            TransferKind.UPLOAD,
            "alice",
            "session",
            "/new",
            HOME + "new",
            done_bytes=3,
            size_bytes=3,
            since_seconds=opened_seconds,
        ),
        TransferView(
            TransferKind.DOWNLOAD,
            "alice",
            "session",
            "/old",
            HOME + "old",
            done_bytes=4,
            size_bytes=10,
            since_seconds=opened_seconds + 5,
        ),
    )
    result_of(upload.commit())
    download.close()
    assert gateway.transfers.views() == ()


def test_a_view_shows_the_key_that_a_renamed_file_has_now(gateway: GatewayInMemory) -> None:
    tree = gateway.tree()
    upload = result_of(tree.open_writer(b"/a", WriteIntent(), NO_CHANGES))
    result_of(tree.rename(b"/a", b"/b", replace=False))
    assert [(view.path, view.key) for view in gateway.transfers.views()] == [("/a", HOME + "b")]
    result_of(tree.remove_file(b"/b"))
    assert [view.key for view in gateway.transfers.views()] == [None]
    result_of(upload.abandon())
    assert gateway.transfers.views() == ()


def test_an_edited_file_that_is_read_is_one_transfer(gateway: GatewayInMemory) -> None:
    """The reads of its base object are part of the edit, and no download."""
    gateway.store.seed(HOME + "f", b"0123456789")
    intent = WriteIntent(truncate=False, read=True)
    upload = result_of(gateway.tree().open_writer(b"/f", intent, NO_CHANGES))
    upload.write(0, b"abc")
    result_of(upload.read(5, 2))
    assert [view.kind for view in gateway.transfers.views()] == [TransferKind.UPLOAD]
    result_of(upload.abandon())


def test_a_rewrite_of_a_stored_object_is_no_transfer(gateway: GatewayInMemory) -> None:
    """Setting the mtime of a stored file has a registration, and no view."""

    async def look_meanwhile() -> tuple[TransferView, ...]:
        async with gateway.transfers.in_turn(ObjectName("bucket", HOME + "f")):
            return gateway.transfers.views()

    assert result_of(look_meanwhile()) == ()


OTHERS = ObjectName("bucket", "home/bob/a")


def test_a_session_is_told_of_nothing_outside_of_its_mounts(gateway: GatewayInMemory) -> None:
    """Nothing asks a store about it, so that no policy could refuse it."""
    bob = User.with_home("bob", "bucket", "home/bob/")
    upload = result_of(gateway.tree(bob).open_writer(b"/a", WriteIntent(), NO_CHANGES))
    registry = gateway.transfers
    seen = registry.seen_from(ALICE.mounts)
    for question in (
        lambda: seen.newest(OTHERS),
        lambda: seen.writing(OTHERS),
        lambda: seen.to_be_closed(OTHERS, None),
        lambda: seen.directly_under("bucket", "home/bob/"),
        lambda: seen.writing_under("bucket", "home/"),
        lambda: seen.has_uploads_under("bucket", "home/"),
        lambda: seen.has_uploads_under("other", "home/alice/"),
        lambda: result_of(seen.settled(OTHERS)),
        lambda: seen.register(OTHERS, None),
    ):
        with pytest.raises(AccessDenied):
            question()
    assert registry.newest(OTHERS) is upload
    assert not seen.has_uploads_under("bucket", HOME)
    result_of(upload.abandon())


def test_a_session_begins_no_upload_where_it_may_only_read(gateway: GatewayInMemory) -> None:
    """Others would see it in listings until the store refuses it."""
    name, reads = ObjectName("bucket", "shared/in/a"), Permission.LIST | Permission.DOWNLOAD
    mount = Mount("bucket", "shared/", permissions=reads, path=("shared",))
    seen = gateway.transfers.seen_from([mount])
    assert seen.newest(name) is None
    with pytest.raises(AccessDenied):
        seen.register(name, None)
    drop_box = AccessRule(("shared", "in"), Permission.UPLOAD)
    seen = gateway.transfers.seen_from([replace(mount, rules=(drop_box,))])
    seen.register(name, None).end()


def test_what_one_view_is_told_all_know(gateway: GatewayInMemory) -> None:
    registry = gateway.transfers
    seen = registry.seen_from(ALICE.mounts)
    seen.begin_work()
    waiting = Deferred.fromCoroutine(registry.idle())
    assert not waiting.called
    seen.end_work()
    assert waiting.called
    registry.drain()
    with pytest.raises(LimitReached):
        seen.require_open()
