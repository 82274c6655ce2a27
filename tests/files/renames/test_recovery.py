"""Interrupted renames of directories: nothing is lost, and another process completes them.

A process dies at a request: neither that request nor any later one is carried out. Another
process then works on the same store.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from sftpgw.errors import FileError, LimitReached, NoSuchFile, StoreTrouble, StoreUnavailable
from sftpgw.files.renames import directory_rename
from sftpgw.files.renames.plan import BEAT_SECONDS, LEASE_SECONDS
from sftpgw.files.renames.recovery import EVERY_SECONDS
from sftpgw.model.store import Capabilities, ObjectName
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import GatewayInMemory
from tests.files.worlds import finisher
from tests.results import failure_of, result_of

HOME = "home/alice/"
FILES = {"d/": b"", "d/a": b"a", "d/e/b": b"b", "d/e/c": b"c", "d/f": b"f", "d.txt": b"no"}


class DyingStore(FakeStore):
    """A store that stops answering in the middle of a rename.

    :param survives: the number of requests that are answered; the others wait for ever.
    """

    def __init__(self, survives: int, **options: Any) -> None:
        super().__init__(min_part_bytes=1, **options)
        self.survives = survives
        self.bodies: list[Deferred[None]] = []

    async def _enter(self, operation: str, bucket: str) -> None:
        if self.requests.total() >= self.survives:
            self.bodies.append(never := Deferred())
            await never
        await super()._enter(operation, bucket)


def reborn(store: FakeStore, *, after_seconds: float = LEASE_SECONDS + 60) -> GatewayInMemory:
    """Another process with the same stored objects."""
    gateway = GatewayInMemory(FakeStore(min_part_bytes=1))
    gateway.store.objects = store.objects
    gateway.store.now_seconds = store.now_seconds
    gateway.clock.advance(store.now_seconds - gateway.clock.seconds() + after_seconds)
    return gateway


def users_files(store: FakeStore) -> dict[str, bytes]:
    return {
        name.key.removeprefix(HOME): held.data
        for name, held in store.objects.items()
        if name.key.startswith(HOME)
    }


def renamed(files: dict[str, bytes]) -> dict[str, bytes]:
    return {
        "n/" + key.removeprefix("d/") if key.startswith("d/") else key: data
        for key, data in files.items()
    }


def records(store: FakeStore) -> list[str]:
    return [key for key in store.keys() if key.startswith(".sftpgw/")]  # noqa: SIM118


def demand_nothing_lost(store: FakeStore) -> None:
    """Every file exists under its old key or its new one."""
    there = users_files(store)
    for key, data in FILES.items():
        assert data in (there.get(key), there.get(renamed({key: data}).popitem()[0])), key


def killed(survives: int, *, replace: bool = False, **options: Any) -> DyingStore | None:
    """The store after a rename of d to n that dies at a request; None if it has ended before."""
    store = DyingStore(survives, **options)
    for key, data in FILES.items():
        store.seed(HOME + key, data)
    if replace:
        store.seed(HOME + "n/", b"")
    gateway = GatewayInMemory(store)
    renamer = Deferred.fromCoroutine(gateway.tree().rename(b"/d", b"/n", replace=replace))
    if renamer.called:
        result_of(renamer)
        return None
    store.bodies.append(renamer)
    return store


def deaths(**options: Any) -> Iterator[DyingStore]:
    """The store after a rename that dies at its first request, at its second, and so on."""
    survives = 0
    while (store := killed(survives, **options)) is not None:
        yield store
        survives += 1
    assert survives > 20


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal has several pages, although there are few objects."""
    monkeypatch.setattr(directory_rename, "PAGE_OBJECTS", 2)


@pytest.mark.parametrize("replace", [False, True])
def test_at_every_request_nothing_is_lost_and_the_next_start_finishes_it(replace: bool) -> None:
    outcomes = set()
    marker = {"n/": b""} if replace else {}
    for store in deaths(replace=replace):
        demand_nothing_lost(store)
        gateway = reborn(store)
        result_of(finisher(gateway).look())
        left = users_files(gateway.store)
        assert left in (FILES | marker, renamed(FILES)), store.survives
        outcomes.add(left == renamed(FILES))
        assert not any(key.endswith("/intent") for key in records(gateway.store))
        assert gateway.events.facts("finish-failed") == []
        assert gateway.budget.held_bytes == 0
    assert outcomes == {False, True}


@pytest.mark.parametrize("replace", [False, True])
def test_at_every_request_the_same_command_finishes_it(replace: bool) -> None:
    for store in deaths(replace=replace):
        gateway = reborn(store)
        was_gone = not any(key.startswith("d/") for key in users_files(store))
        again = Deferred.fromCoroutine(gateway.tree().rename(b"/d", b"/n", replace=replace))
        if was_gone:
            assert isinstance(failure_of(again).value, NoSuchFile)
        else:
            result_of(again)
        assert users_files(gateway.store) == renamed(FILES), store.survives


def test_finishing_may_die_at_every_request_too() -> None:
    source = random.Random(5)
    for store in deaths():
        for _ in range(3):
            dying = DyingStore(source.randrange(12))
            dying.objects, dying.now_seconds = store.objects, store.now_seconds
            gateway = GatewayInMemory(dying)
            gateway.clock.advance(dying.now_seconds + 200 - gateway.clock.seconds())
            dying.bodies.append(Deferred.fromCoroutine(finisher(gateway).look()))
            demand_nothing_lost(dying)
            dying.now_seconds += 1000
            store = dying  # noqa: PLW2901
        gateway = reborn(store)
        result_of(finisher(gateway).look())
        assert users_files(gateway.store) in (FILES, renamed(FILES))


def test_two_processes_that_complete_a_rename_at_the_same_time_do_no_harm() -> None:
    for store in deaths():
        one, other = reborn(store), reborn(store)
        gate = one.store.hold("delete")
        first = Deferred.fromCoroutine(finisher(one).look())
        result_of(finisher(other).look())
        gate.open()
        result_of(first)
        assert users_files(other.store) in (FILES, renamed(FILES)), store.survives


def test_only_one_takes_up_a_rename_at_the_same_time() -> None:
    """Otherwise the slower one deletes copies of a later rename by the faster one."""
    for store in deaths():
        if "/intent" not in "".join(records(store)):
            continue
        one, other = reborn(store), reborn(store)
        for gateway in (one, other):
            gateway.store.now_seconds = gateway.clock.seconds()
        listing, deleting = other.store.hold("get"), one.store.hold("delete")
        again = Deferred.fromCoroutine(other.tree().rename(b"/d", b"/n", replace=False))
        first = Deferred.fromCoroutine(finisher(one).look())
        listing.open()
        again.addErrback(lambda failure: failure.trap(LimitReached, NoSuchFile))
        result_of(again)
        demand_nothing_lost(store)
        deleting.open()
        result_of(first)
        demand_nothing_lost(store)


def test_an_abandoned_rename_takes_nothing_away_from_a_later_one() -> None:
    gateway = GatewayInMemory()
    for key, data in FILES.items():
        gateway.store.seed(HOME + key, data)
    gate = gateway.store.hold("copy")
    slow = Deferred.fromCoroutine(gateway.tree().rename(b"/d", b"/n", replace=False))
    other = reborn(gateway.store)
    other.store.now_seconds = other.clock.seconds()
    result_of(finisher(other).look())
    deleting = other.store.hold("delete")
    again = Deferred.fromCoroutine(other.tree().rename(b"/d", b"/n", replace=False))
    assert deleting.waiting, "all copies are there"
    gate.open()
    assert isinstance(failure_of(slow).value, FileError)
    deleting.open()
    result_of(again)
    assert users_files(gateway.store) == renamed(FILES)


def test_a_rename_that_was_given_up_by_another_gateway_deletes_nothing() -> None:
    """The renaming process was only slow; the outcome in the store is final for it, too."""
    gateway = GatewayInMemory()
    for key, data in FILES.items():
        gateway.store.seed(HOME + key, data)
    gate = gateway.store.hold("copy")
    renamer = Deferred.fromCoroutine(gateway.tree().rename(b"/d", b"/n", replace=False))
    other = reborn(gateway.store)
    result_of(finisher(other).look())
    assert other.events.facts("interrupted-rename-finished")[0]["outcome"] == "abandoned"
    gate.open()
    assert isinstance(failure_of(renamer).value, FileError)
    assert users_files(gateway.store) == FILES


def test_a_rename_whose_lease_holds_is_left_alone() -> None:
    for store in deaths():
        gateway = reborn(store, after_seconds=LEASE_SECONDS - 60)
        before = gateway.store.keys()
        result_of(finisher(gateway).look())
        assert gateway.store.keys() == before
        if any(key.endswith("/intent") for key in before):
            tree = gateway.tree()
            if any(key.startswith("d/") for key in users_files(gateway.store)):
                error = failure_of(tree.rename(b"/d", b"/n", replace=True)).value
                assert isinstance(error, LimitReached), error
        assert gateway.store.keys() == before


def test_without_conditional_puts_a_rename_without_an_outcome_waits_a_day() -> None:
    store = killed(20)
    assert store is not None
    before = store.keys()
    for days, is_finished in ((0.9, False), (1.1, True)):
        gateway = reborn(store, after_seconds=days * 86400)
        gateway.store._capabilities = Capabilities(conditional_put=False)
        result_of(finisher(gateway).look())
        assert (gateway.store.keys() != before) is is_finished
    assert users_files(store) == FILES


def test_files_that_came_after_the_crash_are_spared() -> None:
    for store in deaths():
        store.seed(HOME + "d/a", b"newer")
        store.seed(HOME + "n/e/c", b"newer")
        gateway = reborn(store)
        result_of(finisher(gateway).look())
        left = users_files(gateway.store)
        assert left["d/a"] == b"newer"
        assert left["n/e/c"] == b"newer"
        assert b"b" in (left.get("d/e/b"), left.get("n/e/b"))
        assert b"f" in (left.get("d/f"), left.get("n/f"))


def test_objects_stored_again_after_the_crash_are_spared() -> None:
    """Their copies may be gone: then they are the last objects with these bytes."""
    for store in deaths():
        store.now_seconds += 10
        gateway = reborn(store)
        gateway.store.seed(HOME + "d/a", b"a")
        gateway.store.objects.pop(ObjectName("bucket", HOME + "n/a"), None)
        result_of(finisher(gateway).look())
        assert users_files(gateway.store).get("d/a") == b"a", store.survives


def test_a_copy_whose_original_is_gone_is_the_last_of_its_kind_and_stays() -> None:
    for store in deaths():
        copied = "n/a" in users_files(store)
        store.objects.pop(ObjectName("bucket", HOME + "d/a"), None)
        gateway = reborn(store)
        result_of(finisher(gateway).look())
        assert ("n/a" in users_files(gateway.store)) is copied


def test_a_process_that_completes_a_rename_keeps_others_away() -> None:
    store = killed(20)
    assert store is not None
    gateway = reborn(store)
    gateway.store.now_seconds = gateway.clock.seconds()
    gate = gateway.store.hold("head")
    recovering = Deferred.fromCoroutine(finisher(gateway).look())
    assert gate.waiting
    other = reborn(gateway.store, after_seconds=0)
    result_of(finisher(other).look())
    assert other.store.requests == {"list": 1}
    gate.open()
    result_of(recovering)
    assert users_files(gateway.store) == FILES


def test_a_store_that_fails_while_it_deletes_is_told_and_finished_later() -> None:
    gateway = GatewayInMemory()
    for key, data in FILES.items():
        gateway.store.seed(HOME + key, data)
    gateway.store.fail("delete", StoreUnavailable("down"), skip=2, times=1000)
    error = failure_of(gateway.tree().rename(b"/d", b"/n", replace=False)).value
    assert isinstance(error, StoreTrouble)
    assert users_files(gateway.store) != renamed(FILES)
    later = reborn(gateway.store)
    result_of(finisher(later).look())
    assert users_files(later.store) == renamed(FILES)
    assert records(later.store) == []


def test_a_store_that_fails_altogether_leaves_the_source() -> None:
    for operation in ("put", "list", "copy", "head"):
        for skip in range(12):
            gateway = GatewayInMemory()
            for key, data in FILES.items():
                gateway.store.seed(HOME + key, data)
            gateway.store.fail(operation, StoreUnavailable("down"), skip=skip, times=1000)
            renamer = Deferred.fromCoroutine(gateway.tree().rename(b"/d", b"/n", replace=False))
            renamer.addErrback(lambda failure: failure.trap(StoreUnavailable, StoreTrouble))
            result_of(renamer)
            demand_nothing_lost(gateway.store)
            later = reborn(gateway.store)
            result_of(finisher(later).look())
            assert users_files(later.store) in (FILES, renamed(FILES))
            assert not gateway.clock.getDelayedCalls()


def test_tombstones_and_unreadable_records() -> None:
    gateway = GatewayInMemory()
    gateway.store.seed(".sftpgw/renames/1/intent", b"not json")
    gateway.store.seed(".sftpgw/renames/2/outcome", b"abandoned")
    gateway.store.seed(".sftpgw/renames/stray", b"")
    gateway.clock.advance(6 * 86400)
    service = finisher(gateway)
    result_of(service.look())
    assert len(records(gateway.store)) == 3
    gateway.clock.advance(2 * 86400)
    result_of(service.look())
    assert records(gateway.store) == [".sftpgw/renames/1/intent", ".sftpgw/renames/stray"]
    assert len(gateway.events.facts("finish-failed")) == 1, "told once"


def test_recovery_looks_soon_after_the_start_and_then_every_few_minutes() -> None:
    gateway = GatewayInMemory()
    service = finisher(gateway)
    service.start()
    gateway.clock.advance(30)
    assert gateway.store.requests == {"list": 1}
    gateway.store.fail("list", StoreUnavailable("down"))
    gateway.clock.advance(EVERY_SECONDS)
    gateway.clock.advance(EVERY_SECONDS)
    assert gateway.store.requests == {"list": 3}
    gate = gateway.store.hold("list")
    gateway.clock.advance(EVERY_SECONDS)
    assert gate.waiting == 1
    service.stop()
    assert gate.waiting == 0
    assert not gateway.clock.getDelayedCalls()
    assert gateway.events.facts("defect") == []


def test_a_record_is_not_removed_while_its_intent_is_being_written_again() -> None:
    """Otherwise the intent would be stored again, and keep other renames away."""
    gateway = GatewayInMemory()
    gateway.store.seed(HOME + "d/a", b"a")
    deleting = gateway.store.hold("delete")
    renamer = Deferred.fromCoroutine(gateway.tree().rename(b"/d", b"/n", replace=False))
    writing = gateway.store.hold("put")
    gateway.clock.advance(BEAT_SECONDS + 1)
    assert (deleting.waiting, writing.waiting) == (1, 1)
    deleting.open()
    assert not renamer.called
    assert any(key.endswith("/intent") for key in records(gateway.store))
    writing.open()
    result_of(renamer)
    assert records(gateway.store) == []
    assert not gateway.clock.getDelayedCalls()


@pytest.mark.parametrize(
    ("error", "defects"), [(StoreUnavailable("down"), 0), (ZeroDivisionError(), 1)]
)
def test_a_heartbeat_goes_on_after_a_failure(error: Exception, defects: int) -> None:
    """Otherwise the lease expires, and another process abandons a rename that is alive."""
    gateway = GatewayInMemory()
    gateway.store.seed(HOME + "d/a", b"a")
    deleting = gateway.store.hold("delete")
    renamer = Deferred.fromCoroutine(gateway.tree().rename(b"/d", b"/n", replace=False))
    before = gateway.store.requests["put"]
    gateway.store.fail("put", error)
    gateway.clock.pump([BEAT_SECONDS] * 20)
    assert gateway.store.requests["put"] == before + 20
    assert [each["where"] for each in gateway.events.facts("defect")] == (
        ["rename-heartbeat"] * defects
    )
    deleting.open()
    result_of(renamer)
    assert not gateway.clock.getDelayedCalls()


def test_the_lease_outlasts_several_beats() -> None:
    assert LEASE_SECONDS >= 3 * BEAT_SECONDS
