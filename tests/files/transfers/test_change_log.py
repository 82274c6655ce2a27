"""What others have changed: users do not make each other ask again, or forget."""

from __future__ import annotations

import pytest

from sftpgw.files.transfers.change_log import MAX_CHANGES, MAX_GONE, ChangeLog
from sftpgw.model.users import User
from sftpgw.testing.sftp_sessions import GatewayInMemory, SftpFailure
from sftpgw.wire.sftp import Kind, Status

BOB = User.with_home("bob", "bucket", "home/bob/")


def test_a_listing_is_not_asked_for_twice_because_others_are_busy() -> None:
    """Each change of anybody made everybody's STAT and OPENDIR two LISTs."""
    gateway = GatewayInMemory()
    gateway.store.seed("home/alice/d/file")
    alice, bob = gateway.log_in(), gateway.log_in(BOB)
    alice.stat(b"/d")
    bob.put(b"/file", b"x")
    bob.mkdir(b"/made")
    lists = gateway.store.requests["list"]
    assert alice.on_path(Kind.OPENDIR, b"/d").body
    assert gateway.store.requests["list"] == lists


def test_a_listing_is_out_of_date_behind_a_change_there() -> None:
    gateway = GatewayInMemory()
    gateway.store.seed("home/alice/d/file")
    gateway.store.seed("home/alice/d/other")
    alice, second = gateway.log_in(), gateway.log_in()
    alice.stat(b"/d")
    second.remove(b"/d/file")
    assert alice.listdir(b"/d") == [b"other"]


def test_changes_are_compared_by_bucket_and_key() -> None:
    log = ChangeLog()
    log.changed("bucket", "a/b/c")
    assert log.is_changed("bucket", "a/b/", 0)
    assert log.is_changed("bucket", "a/b/c/d/", 0)
    assert not log.is_changed("bucket", "a/b/c/d/", 1)
    assert not log.is_changed("bucket", "a/x/", 0)
    assert not log.is_changed("other", "a/b/", 0)
    for _ in range(MAX_CHANGES):
        log.changed("other", "")
    assert log.is_changed("bucket", "a/x/", 0)
    assert not log.is_changed("bucket", "a/x/", 1)


def test_a_directory_stays_removed_whatever_others_remove() -> None:
    """One session has emptied it, another one has removed it, and a third one hurries."""
    gateway = GatewayInMemory()
    gateway.store.seed("home/alice/d/file")
    first, second, bob = gateway.log_in(), gateway.log_in(), gateway.log_in(BOB)
    first.remove(b"/d/file")
    second.mkdir(b"/d")
    second.rmdir(b"/d")
    for number in range(MAX_GONE + 1):
        bob.mkdir(b"/%d" % number)
        bob.rmdir(b"/%d" % number)
    with pytest.raises(SftpFailure) as refusal:
        first.rmdir(b"/d")
    assert refusal.value.code is Status.NO_SUCH_FILE
