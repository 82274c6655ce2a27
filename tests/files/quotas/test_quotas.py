"""How much the users of a gateway may store."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred

from sftpgw.errors import FileError, LimitReached, QuotaExceeded, StoreUnavailable
from sftpgw.files.quotas.plan.quota import STEP_BYTES
from sftpgw.files.tree import Tree
from sftpgw.model.filesystem import NO_CHANGES, AttributeChanges, WriteIntent
from sftpgw.model.mounts import AccessRule, Mount, Permission
from sftpgw.model.settings import OnDisconnect
from sftpgw.model.store import ObjectName
from sftpgw.model.units import KIB, MIB
from sftpgw.model.users import QuotaLimits, User, UserLimits
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import ALICE, CREATE, GatewayInMemory, SftpFailure
from sftpgw.wire.sftp import Status
from tests.files.quotas.quota_worlds import (
    HOUR,
    STATE,
    begin,
    gateway_on,
    limited,
    put,
    send,
    used,
    with_mounts,
)
from tests.results import failure_of, result_of
from tests.sftp.test_copy_data import copy_data

ON = WriteIntent(truncate=False)


def refusal(work: Callable[[], Any], setting: str = "users.ini quota_bytes") -> str:
    error = failure_of(maybeDeferred(work)).value
    assert isinstance(error, QuotaExceeded)
    assert setting in str(error)
    return str(error)


@pytest.fixture
def gateway() -> GatewayInMemory:
    return gateway_on()


@pytest.fixture
def tree(gateway: GatewayInMemory) -> Tree:
    return gateway.tree(limited(max_bytes=MIB))


class TestBytes:
    def test_what_is_stored_counts_and_what_is_removed_does_not(self, tree: Tree) -> None:
        put(tree, b"a", 512 * KIB)
        assert used(tree) == (512 * KIB, 0)
        put(tree, b"b", 512 * KIB)
        refusal(lambda: tree.open_writer(b"c", WriteIntent(), NO_CHANGES))
        result_of(tree.remove_file(b"a"))
        put(tree, b"c", 512 * KIB)
        assert used(tree) == (MIB, 0)

    def test_what_was_there_before_counts(self, gateway: GatewayInMemory) -> None:
        gateway.store.seed("home/alice/old", b"x" * MIB)
        gateway.store.seed("home/bob/old", b"x" * MIB)
        tree = gateway.tree(limited(max_bytes=2 * MIB))
        assert used(tree) == (MIB, 0)
        upload = begin(tree, b"new", MIB)
        refusal(lambda: upload.write(MIB, b"y"))

    def test_an_upload_fails_as_soon_as_it_exceeds_the_quota(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        upload = begin(tree, b"a", MIB)
        assert "no space is left" in refusal(lambda: upload.write(MIB, b"y"))
        result_of(upload.abandon())
        assert used(tree) == (0, 0)
        put(tree, b"a", MIB)
        assert str(gateway.events.facts("upload-failed")[0]["reason"]).startswith("no space")

    def test_a_failed_upload_gives_back_before_its_parts_are_removed(
        self, gateway: GatewayInMemory
    ) -> None:
        tree = gateway.tree(limited(max_bytes=20 * MIB))
        upload = begin(tree, b"a", 20 * MIB)
        gate = gateway.store.hold("abort_upload")
        refusal(lambda: upload.write(20 * MIB, b"y"))
        ended = Deferred.fromCoroutine(upload.abandon())
        assert not ended.called
        assert used(tree) == (0, 0)
        gate.open()
        assert ended.called

    def test_an_announced_size_is_refused_at_once(self, tree: Tree) -> None:
        refusal(lambda: tree.open_writer(b"a", WriteIntent(expected_bytes=MIB + 1), NO_CHANGES))
        put(tree, b"a", MIB)

    def test_uploads_together_never_exceed_it(self, tree: Tree) -> None:
        uploads = [begin(tree, b"f%d" % number) for number in range(8)]
        sizes = [0] * 8
        for turn in range(64):
            for number, upload in enumerate(uploads):
                done = maybeDeferred(upload.write, turn * 32 * KIB, b"x" * 32 * KIB)
                done.addErrback(lambda failure: failure.trap(QuotaExceeded))
                sizes[number] = result_of(upload.attributes()).size_bytes
        assert used(tree)[0] <= MIB
        for upload in uploads:
            done = maybeDeferred(lambda upload=upload: result_of(upload.commit()))
            done.addErrback(lambda failure: failure.trap(QuotaExceeded))
        assert used(tree)[0] <= MIB

    def test_no_more_is_kept_ahead_than_a_part_of_what_is_left(self, gateway: Any) -> None:
        """A quota is not used up by what uploads might need."""
        tree = gateway.tree(limited(max_bytes=64 * MIB))
        begin(tree, b"a", 1)
        assert used(tree)[0] == 4 * KIB
        begin(tree, b"b", 8 * MIB)
        assert used(tree)[0] <= 8 * MIB + STEP_BYTES + 4 * KIB
        uploads = [begin(tree, b"f%d" % number, 900 * KIB) for number in range(50)]
        assert all(result_of(each.attributes()).size_bytes == 900 * KIB for each in uploads)

    def test_overwriting_counts_the_difference(self, tree: Tree) -> None:
        put(tree, b"a", 768 * KIB)
        put(tree, b"a", MIB)
        assert used(tree) == (MIB, 0)
        put(tree, b"a", 4 * KIB)
        assert used(tree) == (4 * KIB, 0)

    def test_a_full_quota_lets_a_file_be_replaced(self, gateway: GatewayInMemory) -> None:
        """One HEAD tells that it is replaced."""
        gateway.store.seed("home/alice/a", b"x" * MIB)
        tree = gateway.tree(limited(max_bytes=MIB))
        before = gateway.store.requests["head"]
        put(tree, b"a", MIB)
        assert gateway.store.requests["head"] == before + 1
        refusal(lambda: tree.open_writer(b"b", WriteIntent(), NO_CHANGES))

    def test_an_edit_counts_what_it_adds(self, gateway: GatewayInMemory) -> None:
        gateway.store.seed("home/alice/a", b"x" * 512 * KIB)
        tree = gateway.tree(limited(max_bytes=MIB))
        upload = begin(tree, b"a", 512 * KIB, ON)
        send(upload, 512 * KIB, 512 * KIB)
        refusal(lambda: upload.write(MIB, b"y"))

    def test_a_cut_file_gives_back(self, gateway: GatewayInMemory) -> None:
        gateway.store.seed("home/alice/a", b"x" * MIB)
        tree = gateway.tree(limited(max_bytes=MIB))
        result_of(tree.set_attributes(b"a", AttributeChanges(size_bytes=4 * KIB)))
        assert used(tree) == (4 * KIB, 0)
        refusal(lambda: tree.set_attributes(b"a", AttributeChanges(size_bytes=MIB + 1)))

    def test_appending_is_refused_beyond_it(self, tree: Tree) -> None:
        put(tree, b"a", 1020 * KIB)
        append = WriteIntent(create=False, truncate=False, append=True)
        upload = result_of(tree.open_writer(b"a", append, NO_CHANGES))
        send(upload, 0, 4 * KIB)
        refusal(lambda: upload.write(0, b"y"))

    def test_a_file_removed_while_it_is_written_gives_back(self, tree: Tree) -> None:
        upload = begin(tree, b"a", MIB)
        result_of(tree.remove_file(b"a"))
        result_of(upload.commit())
        put(tree, b"b", MIB)


class TestFiles:
    def test_files_are_counted_and_directories_are_not(self, gateway: GatewayInMemory) -> None:
        tree = gateway.tree(limited(max_files=2))
        for number in range(5):
            result_of(tree.make_directory(b"d%d" % number))
        put(tree, b"d0/a", 0)
        put(tree, b"d0/b", 10)
        assert used(tree)[1] == 2
        text = refusal(
            lambda: tree.open_writer(b"c", WriteIntent(), NO_CHANGES), "users.ini quota_files"
        )
        assert text.startswith("/c: no space is left in the quota: 2 of 2 files")
        put(tree, b"d0/a", 20)
        result_of(tree.remove_file(b"d0/b"))
        put(tree, b"c", 0)

    def test_files_being_sent_count(self, gateway: GatewayInMemory) -> None:
        tree = gateway.tree(limited(max_files=1))
        upload = begin(tree, b"a", 10)
        refusal(lambda: tree.open_writer(b"b", WriteIntent(), NO_CHANGES), "users.ini quota_files")
        result_of(upload.abandon())
        put(tree, b"b", 1)


class TestDropBoxes:
    def test_what_others_have_stored_is_not_told(self, gateway: GatewayInMemory) -> None:
        gateway.store.seed("home/alice/theirs", b"x" * 60 * KIB)
        rules = (AccessRule((), Permission.UPLOAD | Permission.MKDIR),)
        mount = Mount("bucket", "home/alice/", rules=rules)
        tree = gateway.tree(limited(User("alice", (mount,)), max_bytes=64 * KIB))
        space = result_of(tree.space(b"/"))
        assert space.total_blocks == space.free_blocks
        upload = begin(tree, b"mine", 4 * KIB)
        text = refusal(lambda: upload.write(4 * KIB, b"y"))
        assert not re.search(r"\d", text)
        put(tree, b"mine", 4 * KIB)
        text = refusal(lambda: tree.open_writer(b"more", WriteIntent(), NO_CHANGES))
        assert not re.search(r"\d", text)


class TestMounts:
    def test_each_mount_has_its_own_or_that_of_the_user(self, gateway: GatewayInMemory) -> None:
        user = with_mounts(
            QuotaLimits(max_bytes=64 * KIB),
            QuotaLimits(("shared",), max_bytes=32 * KIB),
            QuotaLimits(("big",)),
        )
        tree = gateway.tree(user)
        put(tree, b"/big/a", 200 * KIB)
        put(tree, b"/a", 64 * KIB)
        put(tree, b"/shared/a", 32 * KIB)
        refusal(lambda: tree.open_writer(b"/b", WriteIntent(), NO_CHANGES))
        refusal(
            lambda: tree.open_writer(b"/shared/b", WriteIntent(), NO_CHANGES),
            "users.ini quota_bytes /shared",
        )
        assert used(tree, b"/shared") == (32 * KIB, 0)
        assert result_of(tree.space(b"/big")).block_bytes == MIB

    def test_a_rename_into_a_mount_needs_space_there(self, gateway: GatewayInMemory) -> None:
        tree = gateway.tree(with_mounts(QuotaLimits(("shared",), max_bytes=32 * KIB)))
        put(tree, b"/a", 32 * KIB)
        put(tree, b"/b", 32 * KIB)
        result_of(tree.rename(b"/a", b"/shared/a", replace=False))
        refusal(lambda: tree.rename(b"/b", b"/shared/b", replace=False))
        assert ObjectName("bucket", "home/alice/b") in gateway.store.objects
        result_of(tree.rename(b"/b", b"/shared/a", replace=True))
        assert used(tree, b"/shared") == (32 * KIB, 0)
        result_of(tree.rename(b"/shared/a", b"/shared/b", replace=False))
        assert used(tree, b"/shared") == (32 * KIB, 0)
        result_of(tree.rename(b"/shared/b", b"/b", replace=False))
        assert used(tree, b"/shared") == (0, 0)

    def test_a_rename_within_the_same_quota_needs_none(self, gateway: GatewayInMemory) -> None:
        tree = gateway.tree(with_mounts(QuotaLimits(max_bytes=48 * KIB)))
        put(tree, b"/a", 48 * KIB)
        result_of(tree.rename(b"/a", b"/shared/a", replace=False))
        assert used(tree) == used(tree, b"/shared") == (48 * KIB, 0)

    def test_a_directory_moves_with_what_it_counts(self, gateway: GatewayInMemory) -> None:
        tree = gateway.tree(with_mounts(QuotaLimits(("shared",), max_bytes=64 * KIB)))
        for name in (b"/d/a", b"/d/b"):
            put(tree, name, 32 * KIB)
        put(tree, b"/shared/x", 4 * KIB)
        refusal(lambda: tree.rename(b"/d", b"/shared/d", replace=False))
        assert used(tree, b"/shared") == (4 * KIB, 0)
        result_of(tree.remove_file(b"/shared/x"))
        result_of(tree.rename(b"/d", b"/shared/d", replace=False))
        assert used(tree, b"/shared") == (64 * KIB, 0)
        result_of(tree.rename(b"/shared/d", b"/d", replace=False))
        assert used(tree, b"/shared") == (0, 0)

    def test_an_open_file_stays_in_its_quota(self, gateway: GatewayInMemory) -> None:
        tree = gateway.tree(with_mounts(QuotaLimits(("shared",), max_bytes=64 * KIB)))
        upload = begin(tree, b"/d/a", 4 * KIB)
        for old, new in ((b"/d/a", b"/shared/a"), (b"/d", b"/shared/d")):
            error = failure_of(tree.rename(old, new, replace=False)).value
            assert isinstance(error, FileError)
            assert "another quota" in str(error)
        result_of(upload.commit())


class TestSuspended:
    @pytest.fixture
    def gateway(self) -> GatewayInMemory:
        return gateway_on(on_disconnect=OnDisconnect.RESUME)

    def test_what_is_kept_counts_until_it_is_gone(self, gateway: GatewayInMemory) -> None:
        tree = gateway.tree(limited(max_bytes=20 * MIB))
        upload = begin(tree, b"a", 17 * MIB)
        result_of(upload.abandon())
        kept = used(tree)[0]
        assert 8 * MIB <= kept <= 17 * MIB
        other = begin(tree, b"b")
        refusal(lambda: send(other, 0, 13 * MIB))
        result_of(other.abandon())
        result_of(tree.remove_file(b"a"))
        assert used(tree) == (0, 0)

    def test_it_goes_on_in_what_it_has(self, gateway: GatewayInMemory) -> None:
        tree = gateway.tree(limited(max_bytes=18 * MIB))
        result_of(begin(tree, b"a", 17 * MIB).abandon())
        kept = used(tree)[0]
        upload = begin(tree, b"a", 0, ON)
        assert used(tree)[0] == kept
        send(upload, kept, 18 * MIB - kept)
        result_of(upload.commit())
        assert used(tree) == (18 * MIB, 0)

    def test_a_count_finds_it(self, gateway: GatewayInMemory) -> None:
        tree = gateway.tree(limited(max_bytes=20 * MIB))
        result_of(begin(tree, b"a", 17 * MIB).abandon())
        kept = used(tree)
        again = GatewayInMemory(gateway.store, files=gateway.files)
        again.clock.advance(3 * HOUR)
        again.store.fail("put", StoreUnavailable("away"), times=0)
        assert used(again.tree(limited(max_bytes=20 * MIB))) == kept


class TestClients:
    def test_sftp_is_told_what_to_do(self, gateway: GatewayInMemory) -> None:
        client = gateway.log_in(limited(max_bytes=64 * KIB))
        with pytest.raises(SftpFailure) as refused:
            client.put(b"/a", b"x" * 65 * KIB)
        assert refused.value.code is Status.FAILURE
        assert "quota" in refused.value.message
        assert "users.ini quota_bytes" in refused.value.message

    def test_scp_is_told_before_it_sends(self, gateway: GatewayInMemory) -> None:
        run = gateway.open_command(b"scp -t /", limited(max_bytes=64 * KIB))
        printed = run.say(b"C0644 70000 a\n")
        assert b"quota" in printed
        assert not gateway.store.objects.keys() & {ObjectName("bucket", "home/alice/a")}

    def test_copies_count(self, gateway: GatewayInMemory) -> None:
        client = gateway.log_in(limited(max_bytes=96 * KIB))
        client.put(b"/a", b"x" * 64 * KIB)
        source, target = client.open(b"/a"), client.open(b"/b", CREATE)
        with pytest.raises(SftpFailure, match="quota"):
            client.ask(copy_data(source, target))


class TestCost:
    def test_users_without_a_quota_pay_nothing(self) -> None:
        with_quota, without = FakeStore(min_part_bytes=1), FakeStore(min_part_bytes=1)
        counts = []
        for store, user in ((without, ALICE), (with_quota, limited(max_bytes=64 * MIB))):
            gateway = GatewayInMemory(store)
            tree = gateway.tree(user)
            timers = len(gateway.clock.getDelayedCalls())
            for number in range(50):
                put(tree, b"f%d" % number, 10)
            gateway.clock.advance(60)
            counts.append(store.requests.copy())
            if user is ALICE:
                assert len(gateway.clock.getDelayedCalls()) == timers
                assert not any(name.key.startswith(STATE) for name in store.objects)
        assert counts[0].total() == 50
        # LIST; claim, LIST, PUT, DELETE; LIST, GET, PUT; after 30 seconds LIST, PUT, and again.
        assert counts[1].total() <= 50 + 12
        assert counts[1]["head"] == 0


@pytest.mark.parametrize(
    "user",
    [limited(max_bytes=64 * MIB), replace(ALICE, limits=UserLimits(file_bytes=64 * MIB))],
    ids=["quota", "max_file_size"],
)
def test_a_size_that_is_refused_leaves_the_suspended_upload(user: User) -> None:
    """Formerly its record was gone by then, and the bytes that were sent could not be resumed."""
    gateway = gateway_on(FakeStore(min_part_bytes=1), on_disconnect=OnDisconnect.RESUME)
    tree = gateway.tree(user)
    result_of(begin(tree, b"file", 20 * MIB).abandon())
    kept = [name.key for name in gateway.store.objects]
    announced = WriteIntent(truncate=False, expected_bytes=100 * MIB)
    opening = Deferred.fromCoroutine(tree.open_writer(b"file", announced, NO_CHANGES))
    assert isinstance(failure_of(opening).value, LimitReached)
    assert [name.key for name in gateway.store.objects] == kept
    smaller = WriteIntent(truncate=False, expected_bytes=60 * MIB)
    upload = result_of(Deferred.fromCoroutine(tree.open_writer(b"file", smaller, NO_CHANGES)))
    result_of(upload.abandon())
