"""Gateways on one store: they agree about what is stored, and a store with faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred

from sftpgw.errors import AccessDenied, QuotaExceeded, StoreUnavailable
from sftpgw.files.mount_table import MountTable
from sftpgw.files.paths import Location
from sftpgw.files.quotas.keeper import (
    IDLE_SECONDS,
    RETRY_SECONDS,
    SYNC_SECONDS,
    WAIT_SECONDS,
    QuotaKeeper,
)
from sftpgw.files.quotas.plan.quota_records import CLAIM_SECONDS, SILENT_SECONDS, place_prefix
from sftpgw.files.quotas.plan.usage import NOTHING_STORED, Place
from sftpgw.files.tree import Tree
from sftpgw.files.uploads.open_mode import OpenMode
from sftpgw.files.uploads.opener import UploadOpener
from sftpgw.model.filesystem import NO_CHANGES, WriteIntent
from sftpgw.model.store import ObjectName
from sftpgw.model.units import KIB, MIB
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import GatewayInMemory
from tests.files.quotas.quota_worlds import HOUR, STATE, begin, gateway_on, limited, put, send, used
from tests.results import failure_of, result_of

ALICE = limited(max_bytes=64 * MIB)
ROUND = SYNC_SECONDS + 10
PLACE = Place("bucket", "home/alice/", ".sftpgw/")


class Fleet:
    """Several gateways, whose clocks and store go together."""

    def __init__(self, count: int) -> None:
        self.store = FakeStore(min_part_bytes=1)
        self.gateways = [gateway_on(self.store) for _ in range(count)]
        self.trees = [each.tree(ALICE) for each in self.gateways]

    def advance(self, seconds: float) -> None:
        for _ in range(int(seconds // 5) + 1):
            for each in self.gateways:
                each.clock.advance(5)
            self.store.now_seconds = self.gateways[0].clock.seconds()

    def used(self) -> list[int]:
        return [used(tree)[0] for tree in self.trees]

    def events(self, name: str) -> list[dict[str, object]]:
        return [facts for each in self.gateways for facts in each.events.facts(name)]


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(2)


def records(store: FakeStore) -> list[str]:
    return sorted(name.key for name in store.objects if name.key.startswith(STATE))


@pytest.fixture
def one() -> Iterator[GatewayInMemory]:
    gateway = gateway_on()
    yield gateway
    assert gateway.events.facts("defect") == []


class TestAgreement:
    def test_what_one_stores_the_other_knows_within_a_round(self, fleet: Fleet) -> None:
        put(fleet.trees[0], b"a", 40 * MIB)
        put(fleet.trees[1], b"b", 4 * MIB)
        fleet.advance(ROUND)
        fleet.used()
        fleet.advance(ROUND)
        assert fleet.used() == [44 * MIB] * 2
        result_of(fleet.trees[0].remove_file(b"b"))
        fleet.advance(ROUND)
        fleet.used()
        assert fleet.used() == [40 * MIB] * 2
        upload = begin(fleet.trees[1], b"c", 24 * MIB)
        assert isinstance(failure_of(_writing(upload, 24 * MIB)).value, QuotaExceeded)

    def test_one_counts_and_all_know(self, fleet: Fleet) -> None:
        fleet.store.seed("home/alice/old", b"x" * 8 * MIB)
        assert fleet.used() == [8 * MIB] * 2
        assert len(fleet.events("quota-counted")) == 1
        fleet.store.seed("home/alice/other", b"x" * 4 * MIB)
        fleet.advance(HOUR)
        fleet.used()
        fleet.advance(ROUND)
        fleet.used()
        fleet.advance(ROUND)
        assert fleet.used() == [12 * MIB] * 2
        counted = fleet.events("quota-counted")
        assert len(counted) == 2
        assert counted[1]["corrected_bytes"] == 4 * MIB
        assert counted[1]["corrected_files"] == 1

    def test_what_one_replaces_and_the_other_removes_does_not_void_the_quota(
        self, fleet: Fleet
    ) -> None:
        """The first one believes each time that it replaces the file, which the other has removed.

        So the removals alone would count, and the figures get smaller with each of them.
        """
        first, second = fleet.trees
        put(first, b"kept", 8 * MIB)
        for _ in range(6):
            put(first, b"again", 2 * MIB)
            fleet.advance(ROUND)
            result_of(second.remove_file(b"again"))
            fleet.advance(ROUND)
        for _ in range(2):
            fleet.used()
            fleet.advance(ROUND)
        assert fleet.used() == [8 * MIB] * 2

    def test_one_that_replaces_files_alone_counts_no_sooner(self, one: GatewayInMemory) -> None:
        tree = one.tree(ALICE)
        for _ in range(20):
            put(tree, b"again", 2 * MIB)
            one.clock.advance(ROUND)
        assert used(tree)[0] == 2 * MIB
        assert len(one.events.facts("quota-counted")) == 1

    def test_a_gateway_that_ends_has_told_what_it_stored(self, fleet: Fleet) -> None:
        put(fleet.trees[0], b"a", 4 * MIB)
        result_of(fleet.gateways[0].quotas.stop())
        fleet.used()
        fleet.gateways[1].clock.advance(ROUND)
        assert used(fleet.trees[1])[0] == 4 * MIB

    def test_one_that_was_killed_is_put_right_by_a_count(self, fleet: Fleet) -> None:
        """Its successor notices that it has died at work, and does not wait for an hour."""
        fleet.used()
        put(fleet.trees[0], b"a", 4 * MIB)
        fleet.trees.pop(0)
        fleet.gateways.pop(0)
        assert fleet.used() == [0]
        fleet.advance(SILENT_SECONDS)
        fleet.used()
        fleet.advance(ROUND)
        assert fleet.used() == [4 * MIB]

    def test_a_claim_that_was_left_becomes_void(self, fleet: Fleet) -> None:
        claim = f"{place_prefix(PLACE)}claim"
        fleet.store.seed("home/alice/old", b"x" * MIB)
        fleet.store.now_seconds = fleet.gateways[0].clock.seconds()
        fleet.store.seed(claim, b"gone")
        upload = Deferred.fromCoroutine(fleet.trees[0].open_writer(b"a", WriteIntent(), NO_CHANGES))
        assert not upload.called
        fleet.advance(WAIT_SECONDS)
        assert upload.called, "what is not known does not hold up an OPEN for long"
        assert fleet.events("quota-counted") == []
        fleet.advance(CLAIM_SECONDS)
        assert len(fleet.events("quota-counted")) == 1
        assert claim not in records(fleet.store)

    def test_records_of_processes_that_are_gone_are_removed(self, fleet: Fleet) -> None:
        put(fleet.trees[0], b"a", 10)
        fleet.advance(ROUND)
        _, old = records(fleet.store)
        fleet.trees.pop(0)
        fleet.gateways.pop(0)
        fleet.advance(3 * HOUR)
        fleet.used()
        fleet.advance(ROUND)
        assert old not in records(fleet.store)
        assert len(records(fleet.store)) == 2

    def test_records_that_make_no_sense_do_no_harm(self, fleet: Fleet) -> None:
        for key in ("count", "nodes/zz", "other"):
            fleet.store.seed(place_prefix(PLACE) + key, b"[" * 1000)
        fleet.store.seed("home/alice/old", b"x" * MIB)
        assert fleet.used() == [MIB] * 2


def _writing(upload: object, offset: int) -> Deferred[None]:
    async def write() -> None:
        taken = upload.write(offset, b"x" * 32 * KIB)  # type: ignore[attr-defined]
        if taken is not None:
            await taken

    return Deferred.fromCoroutine(write())


class TestFaults:
    def test_a_count_that_fails_leaves_the_last_figures(self, one: GatewayInMemory) -> None:
        tree = one.tree(ALICE)
        put(tree, b"a", 4 * MIB)
        one.store.seed("home/alice/other", b"x" * MIB)
        # Records are listed, then the place.
        one.store.fail("list", StoreUnavailable("slow down"), times=1, skip=1)
        one.clock.advance(HOUR)
        assert used(tree)[0] == 4 * MIB
        (failed,) = one.events.facts("quota-count-failed")
        assert failed["reason"] == "slow down"
        assert failed["used_bytes"] == 4 * MIB
        assert not [key for key in records(one.store) if key.endswith("claim")]
        one.clock.advance(RETRY_SECONDS)
        used(tree)
        one.clock.advance(ROUND)
        assert used(tree)[0] == 5 * MIB

    @pytest.mark.parametrize("operation", ["list", "put", "delete"])
    def test_without_a_store_what_goes_through_counts(
        self, one: GatewayInMemory, operation: str
    ) -> None:
        tree = one.tree(limited(max_bytes=MIB))
        one.store.fail(operation, AccessDenied("no"), times=1)
        waiting = Deferred.fromCoroutine(tree.open_writer(b"a", WriteIntent(), NO_CHANGES))
        one.clock.advance(WAIT_SECONDS)
        upload = result_of(waiting)
        assert isinstance(failure_of(_writing(upload, 2 * MIB)).value, QuotaExceeded)
        result_of(upload.abandon())
        put(tree, b"a", 64 * KIB)
        one.clock.advance(RETRY_SECONDS)
        used(tree)
        one.clock.advance(ROUND)
        assert used(tree)[0] == 64 * KIB
        failed = one.events.facts("quota-records-failed") + one.events.facts("quota-count-failed")
        assert len(failed) == (operation != "delete")

    def test_an_upload_begun_before_the_figures_came_fails_when_they_do(
        self, one: GatewayInMemory
    ) -> None:
        one.store.seed("home/alice/old", b"x" * MIB)
        gate = one.store.hold("list")
        waiting = Deferred.fromCoroutine(
            one.tree(limited(max_bytes=MIB)).open_writer(b"a", WriteIntent(), NO_CHANGES)
        )
        one.clock.advance(WAIT_SECONDS)
        upload = result_of(waiting)
        upload.write(0, b"x" * 32 * KIB)
        gate.open()
        error = failure_of(_writing(upload, 64 * KIB)).value
        assert isinstance(error, QuotaExceeded)

    def test_a_bucket_in_pages_is_counted_with_what_is_stored_meanwhile(self) -> None:
        store = FakeStore(min_part_bytes=1, page_limit=10)
        for number in range(95):
            store.seed(f"home/alice/f{number:03}", b"x" * 4 * KIB)
        gateway = gateway_on(store)
        tree: Tree = gateway.tree(limited(max_bytes=MIB))
        gate = store.hold("list")
        waiting = Deferred.fromCoroutine(tree.space(b"/"))
        for page in range(10):
            gate.open_one()
            if page:
                name = b"/f%03d" % (page * 13 % 95)
                store.requests.clear()
                removal = Deferred.fromCoroutine(tree.remove_file(name))
                assert removal.called
        gate.open()
        result_of(waiting)
        left = [name for name in store.objects if name.key.startswith("home/")]
        assert used(tree)[0] == 4 * KIB * len(left) < 95 * 4 * KIB
        assert len(gateway.events.facts("quota-counted")) == 1


class TestLongUploads:
    def test_they_hear_of_what_others_store(self, fleet: Fleet) -> None:
        upload = begin(fleet.trees[0], b"a", 4 * MIB)
        for _ in range(3):
            fleet.advance(ROUND)
        put(fleet.trees[1], b"b", 56 * MIB)
        fleet.advance(2 * ROUND)
        send(upload, 4 * MIB, 3 * MIB)
        assert isinstance(failure_of(_writing(upload, 8 * MIB + 32 * KIB)).value, QuotaExceeded)

    def test_their_place_is_not_forgotten(self, one: GatewayInMemory) -> None:
        tree = one.tree(ALICE)
        put(tree, b"a", 4 * MIB)
        begin(tree, b"a", 0)
        before = one.quotas.account(PLACE)
        assert not before.reserved
        for _ in range(int(2 * IDLE_SECONDS / 5)):
            one.clock.advance(5)
        assert one.quotas.account(PLACE) is before


class TestBounds:
    def test_an_upload_that_cannot_be_registered_reserves_nothing(
        self, one: GatewayInMemory
    ) -> None:
        """Else its file would count until the process ends, and the place be looked at as long."""
        result_of(one.tree(ALICE).space(b"/"))
        context = one.session(ALICE).context
        opener = UploadOpener(replace(context, transfers=context.transfers.seen_from(())))
        location = MountTable(ALICE.mounts).resolve(b"a")
        assert isinstance(location, Location)
        with pytest.raises(AccessDenied):
            opener.open(
                location,
                WriteIntent(),
                OpenMode(),
                NO_CHANGES,
                may_skip=True,
                may_read=False,
                may_set_times=True,
            )
        account = one.quotas.account(PLACE)
        assert (account.reserved, account.grants) == (NOTHING_STORED, 0)

    def test_a_place_that_is_not_used_is_forgotten(self, one: GatewayInMemory) -> None:
        tree = one.tree(ALICE)
        put(tree, b"a", 10)
        assert one.quotas.account(PLACE) is one.quotas.account(PLACE)
        before = one.quotas.account(PLACE)
        for _ in range(int(IDLE_SECONDS / 5) + 10):
            one.clock.advance(5)
        requests = one.store.requests.total()
        for _ in range(int(2 * HOUR / 5)):
            one.clock.advance(5)
        assert one.store.requests.total() == requests
        assert one.quotas.account(PLACE) is not before
        assert used(tree)[0] == 4 * KIB, "what it had told under its first name counts on"

    @pytest.mark.parametrize("operation", ["list", "put"])
    def test_a_place_that_cannot_be_counted_is_forgotten(
        self, one: GatewayInMemory, operation: str
    ) -> None:
        """Else a bucket that is gone would be asked for every five seconds, for ever."""
        one.store.fail(operation, AccessDenied("no"), times=5_000)
        before = one.quotas.account(PLACE)
        for _ in range(int(IDLE_SECONDS / 5) + 10):
            one.clock.advance(5)
        assert not before.is_known
        requests = one.store.requests.total()
        for _ in range(100):
            one.clock.advance(5)
        assert one.store.requests.total() == requests
        assert one.quotas.account(PLACE) is not before

    def test_requests_do_not_grow_with_files(self, one: GatewayInMemory) -> None:
        tree = one.tree(ALICE)
        put(tree, b"first", 1)
        one.store.requests.clear()
        for number in range(500):
            put(tree, b"f%03d" % number, 1)
        assert one.store.requests == {"put": 500}
        for _ in range(12):
            one.clock.advance(5)
        assert one.store.requests.total() - 500 <= 4

    def test_few_places_are_looked_at_at_once(self) -> None:
        store = FakeStore(min_part_bytes=1)
        gateway = GatewayInMemory(store)
        gate = store.hold("list")
        keeper: QuotaKeeper = gateway.quotas
        for number in range(100):
            keeper.account(Place("bucket", f"p{number}/", ".sftpgw/"))
        assert gate.waiting == 4
        while gate.waiting:
            assert gate.waiting <= 8
            gate.open_one()
        assert len(gateway.events.facts("quota-counted")) == 100
        assert ObjectName("bucket", f"{place_prefix(PLACE)}count") not in store.objects
