"""The plan of quotas against a simple model: a dict of sizes by key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.errors import QuotaExceeded
from sftpgw.files.quotas.plan.account import PlaceAccount
from sftpgw.files.quotas.plan.delta_history import MAX_MARKS, DeltaHistory
from sftpgw.files.quotas.plan.known_sizes import BELIEVED_SECONDS, MAX_KNOWN, KnownSizes
from sftpgw.files.quotas.plan.quota import (
    NEVER_BYTES,
    Quota,
    QuotaState,
    UploadGrant,
    quotas_of,
)
from sftpgw.files.quotas.plan.quota_records import (
    CountRecord,
    NodeRecord,
    count_text,
    node_text,
    parse_count,
    parse_node,
)
from sftpgw.files.quotas.plan.running_count import MAX_CHANGED, RunningCount
from sftpgw.files.quotas.plan.usage import (
    NOTHING_STORED,
    Place,
    Usage,
    outermost,
    usage_of,
)
from sftpgw.model.mounts import Mount
from sftpgw.model.store import ObjectName
from sftpgw.model.units import KIB, MIB
from sftpgw.model.users import QuotaLimits, User, UserLimits

PLACE = Place("bucket", "p/", ".sftpgw/")
KEYS = [f"p/{name}" for name in ("a", "b", "b/", "c/d", "é", "\udcff", "\uffee", "😀")]
BY_BYTES = sorted(KEYS, key=lambda key: key.encode("utf-8", "surrogateescape"))
PAGE_KEYS = 2


class World:
    """A bucket, and the accounts that processes have of one place in it."""

    def __init__(self, nodes: int) -> None:
        self.stored: dict[str, int] = {}
        self.now_seconds = 1_700_000_000.0
        self.accounts = [PlaceAccount(PLACE) for _ in range(nodes)]
        self.count: CountRecord | None = None
        self.told: dict[int, NodeRecord] = {}
        self._counts = 0

    @property
    def truth(self) -> Usage:
        return sum(
            (usage_of(key, size_bytes) for key, size_bytes in self.stored.items()), NOTHING_STORED
        )

    def change(self, node: int, key: str, size_bytes: int | None) -> None:
        """Store a file, or remove it."""
        before = self.stored.pop(key, None)
        if size_bytes is not None:
            self.stored[key] = size_bytes
        self.accounts[node].change(
            key,
            NOTHING_STORED if before is None else usage_of(key, before),
            NOTHING_STORED if size_bytes is None else usage_of(key, size_bytes),
            self.now_seconds,
            is_doubtful=False,
        )
        self.now_seconds += 1

    def sync(self, node: int) -> None:
        """As the records of the store are read and written."""
        account = self.accounts[node]
        if self.count is not None:
            account.adopt(self.count)
        account.take_others(record for each, record in self.told.items() if each != node)
        self.told[node] = NodeRecord(account.generation, account.own)
        self.now_seconds += 1

    def counting(self, node: int) -> Iterator[None]:
        """A count, step by step: a page is asked for, and comes when it was shown."""
        account = self.accounts[node]
        running = account.begin_count()
        began_seconds = self.now_seconds
        after = b""
        while True:
            keys = [key for key in BY_BYTES if key in self.stored and binary(key) > after]
            shown = [(key, usage_of(key, self.stored[key])) for key in keys[:PAGE_KEYS]]
            yield  # changes may come between what the store saw and what arrives here
            is_last = len(keys) <= PAGE_KEYS
            running.take_page(shown, is_last=is_last)
            if is_last:
                break
            after = binary(shown[-1][0])
        yield
        self._counts += 1
        closed = account.close_count(f"g{self._counts}", began_seconds, self.now_seconds)
        self.count = closed.record
        yield  # while it is published
        account.take_count(closed)


def binary(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


changes = st.tuples(
    st.just("change"),
    st.sampled_from(KEYS),
    st.one_of(st.none(), st.integers(0, 1000)),
)
steps = st.lists(st.one_of(changes, st.just(("step", "", None))), max_size=60)


@given(steps)
def test_a_count_comes_to_the_truth_whatever_is_stored_meanwhile(history: list[tuple]) -> None:  # type: ignore[type-arg]
    world = World(1)
    (account,) = world.accounts
    world.stored = dict.fromkeys(KEYS[::2], 7)
    count = world.counting(0)
    next(count)
    is_over = False
    for what, key, size_bytes in history:
        if what == "change":
            world.change(0, key, size_bytes)
        elif not is_over:
            is_over = next(count, "over") == "over"
        assert account.used.size_bytes >= 0
        assert account.used.files >= 0
    for _ in count:
        pass
    assert account.used == world.truth


node_steps = st.lists(
    st.tuples(
        st.sampled_from(["change", "change", "sync", "step"]),
        st.integers(0, 1),
        st.sampled_from(KEYS),
        st.one_of(st.none(), st.integers(0, 1000)),
    ),
    max_size=60,
)


@given(node_steps)
def test_processes_come_to_the_truth_when_they_are_quiet(history: list[tuple]) -> None:  # type: ignore[type-arg]
    """Whatever has happened: one count, and one look of each, and all agree."""
    world = World(2)
    counts = [world.counting(0), world.counting(1)]
    for what, node, key, size_bytes in history:
        if what == "change":
            world.change(node, key, size_bytes)
        elif what == "sync":
            world.sync(node)
        elif next(counts[node], "over") == "over":
            counts[node] = world.counting(node)
        assert all(each.used.size_bytes >= 0 and each.used.files >= 0 for each in world.accounts)
    for each in world.accounts:
        each.drop_count()
    for _ in world.counting(0):
        world.now_seconds += 1
    for node in (0, 1, 0):
        world.sync(node)
    assert [each.used for each in world.accounts] == [world.truth] * 2


@given(node_steps)
def test_processes_agree_between_counts(history: list[tuple]) -> None:  # type: ignore[type-arg]
    """No count is under way: what each has told adds up to the truth."""
    world = World(2)
    world.stored = {"p/a": 5}
    for _ in world.counting(0):
        world.now_seconds += 1
    world.sync(1)
    for what, node, key, size_bytes in history:
        if what == "change":
            world.change(node, key, size_bytes)
        elif what == "sync":
            world.sync(node)
    for node in (0, 1, 0):
        world.sync(node)
    assert [each.used for each in world.accounts] == [world.truth] * 2


def test_what_was_stored_before_a_count_of_another_process_is_in_it() -> None:
    world = World(2)
    world.change(1, "p/a", 10)
    count = list(world.counting(0))
    assert count
    world.change(1, "p/b", 20)
    world.sync(1)
    world.sync(0)
    assert [each.used for each in world.accounts] == [Usage(30, 2)] * 2


def test_what_was_told_before_a_count_is_not_counted_again() -> None:
    world = World(2)
    world.change(1, "p/a", 10)
    world.sync(1)
    for _ in world.counting(0):
        world.now_seconds += 1
    world.sync(0)
    assert world.accounts[0].used == Usage(10, 1)


def test_changes_while_a_page_is_waited_for_are_bounded() -> None:
    running = RunningCount()
    for number in range(2 * MAX_CHANGED):
        running.change(f"p/{number}", NOTHING_STORED, Usage(1, 1), is_doubtful=False)
        assert len(running._changed) <= MAX_CHANGED
        assert running.is_void is (number >= MAX_CHANGED)


# What uploads reserve.


uploads = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.sampled_from(["write", "write", "write", "store", "fail"]),
        st.integers(1, 900 * KIB),
    ),
    max_size=80,
)


@dataclass
class OpenFile:
    """A file that is being sent."""

    grant: UploadGrant
    before: Usage
    sent_bytes: int = 0


@given(uploads, st.integers(KIB, 4 * MIB))
def test_uploads_together_stay_within_the_quota_and_give_back(
    history: list[tuple[int, str, int]], most_bytes: int
) -> None:
    account = PlaceAccount(PLACE)
    state = QuotaState(Quota(QuotaLimits(max_bytes=most_bytes, max_files=4), (PLACE,)), (account,))
    opened: dict[int, OpenFile] = {}
    stored: dict[int, int] = {}
    for number, what, size_bytes in history:
        before = usage_of("k", stored[number]) if number in stored else NOTHING_STORED
        with suppress(QuotaExceeded):
            if number not in opened:
                opened[number] = OpenFile(UploadGrant((state,), (account,), before), before)
            file = opened[number]
            if what == "write":
                wanted_bytes = file.sent_bytes + size_bytes
                assert file.grant.extend(wanted_bytes) >= wanted_bytes
                file.sent_bytes = wanted_bytes
            else:
                if what == "store":
                    after = usage_of("k", file.sent_bytes)
                    account.change(f"p/{number}", before, after, 1.0, is_doubtful=False)
                    stored[number] = file.sent_bytes
                file.grant.close()
                del opened[number]
        under_way = sum(
            max(0, file.sent_bytes - file.before.size_bytes) for file in opened.values()
        )
        assert under_way <= account.reserved.size_bytes
        assert account.taken.size_bytes <= most_bytes
        assert account.taken.files <= 4
        assert account.used == Usage(sum(stored.values()), len(stored))
    for file in opened.values():
        file.grant.close()
        file.grant.close()
    assert account.reserved == NOTHING_STORED


def test_a_quota_of_files_does_not_limit_bytes() -> None:
    account = PlaceAccount(PLACE)
    state = QuotaState(Quota(QuotaLimits(max_files=1), (PLACE,)), (account,))
    grant = UploadGrant((state,), (account,), NOTHING_STORED)
    assert grant.extend(5 * 1024**4) >= 5 * 1024**4
    assert state.left == Usage(NEVER_BYTES - account.taken.size_bytes, 0) or state.left.files == 0


# Values.


def test_history_gets_sparser_and_keeps_its_sum() -> None:
    history = DeltaHistory()
    for second in range(100_000):
        history.add(Usage(1, 0), float(second))
    assert history.total == Usage(100_000, 0)
    assert len(history._marks) <= MAX_MARKS
    assert history.at(99_990.0) == Usage(99_990, 0)
    assert history.at(-5.0) == NOTHING_STORED
    assert history.at(1e9) == history.total
    assert abs(history.at(50_000.0).size_bytes - 50_000) <= 50_000


@pytest.mark.parametrize(
    ("key", "is_inside"),
    [("p/a", True), ("p/", True), ("q/a", False), (".sftpgw/x", False), ("p", False)],
)
def test_a_place_is_a_prefix(key: str, is_inside: bool) -> None:
    assert PLACE.holds(ObjectName("bucket", key)) is is_inside
    assert not PLACE.holds(ObjectName("other", key))


def test_places_inside_of_others_count_once() -> None:
    inner = Place("bucket", "p/q/", ".sftpgw/")
    other = Place("other", "p/q/", ".sftpgw/")
    assert outermost((inner, PLACE, other, PLACE)) == (PLACE, other)


def test_a_mount_with_a_quota_of_its_own_is_not_in_that_of_the_user() -> None:
    mounts = (
        Mount("bucket", "h/"),
        Mount("bucket", "s/", path=("s",)),
        Mount("b2", "t/", path=("t",)),
    )
    limits = (
        QuotaLimits(max_bytes=1),
        QuotaLimits(("s",), max_files=2),
        QuotaLimits(("t",)),
        QuotaLimits(("gone",), max_bytes=3),
    )
    user = User("alice", mounts, limits=UserLimits(quotas=limits))
    found = quotas_of(user, lambda bucket: ".sftpgw/")
    assert [(each.limits, [place.prefix for place in each.places]) for each in found] == [
        (limits[0], ["h/"]),
        (limits[1], ["s/"]),
    ]


def test_sizes_are_believed_for_a_while_and_are_bounded() -> None:
    known = KnownSizes()
    name = ObjectName("bucket", "p/a")
    known.note("alice", name, 5, 0.0)
    assert known.find(name, 1.0) == Usage(5, 1)
    assert known.find(name, BELIEVED_SECONDS) is None
    known.note("alice", name, None, 0.0)
    assert known.find(name, 1.0) == NOTHING_STORED
    for number in range(MAX_KNOWN + 5):
        known.note("alice", ObjectName("bucket", str(number)), 1, 0.0)
    assert len(known) == MAX_KNOWN


@given(st.text(min_size=1, max_size=64), st.integers(0, 2**62), st.integers(0, 2**40))
def test_records_are_read_as_they_are_written(word: str, size_bytes: int, files: int) -> None:
    count = CountRecord(word, Usage(size_bytes, files), began_seconds=1.5, ended_seconds=2.5)
    assert parse_count(count_text(count, PLACE)) == count
    node = NodeRecord(word, Usage(-size_bytes, files))
    assert parse_node(node_text(node)) == node


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{",
        b'{"version": 2, "generation": "g", "bytes": 1, "files": 1}',
        b'{"version": 1, "generation": "g", "bytes": 1e9, "files": 1}',
        b'{"version": 1, "generation": "g", "bytes": 99999999999999999999, "files": 1}',
        b'{"version": 1, "generation": "' + b"g" * 65 + b'", "bytes": 1, "files": 1}',
        (
            b'{"version": 1, "generation": "g", "bytes": -1, "files": 1, "began_seconds": 1, '
            b'"ended_seconds": 0}'
        ),
    ],
)
def test_a_text_that_is_no_record_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_count(text)
    if b"began" not in text:
        with pytest.raises(ValueError, match=r"."):
            parse_node(text)


# When it is counted.


def test_doubts_and_refusals_bring_a_count_forward() -> None:
    account = PlaceAccount(PLACE)
    assert account.wants_count(0.0, 3600.0)
    account.adopt(CountRecord("g", Usage(20 * MIB, 5), began_seconds=99.0, ended_seconds=100.0))
    assert not account.wants_count(200.0, 3600.0)
    assert account.wants_count(3700.0, 3600.0)
    assert account.wants_count(50.0, 3600.0), "the clock was set back"
    account.change("p/a", NOTHING_STORED, Usage(MIB, 1), 101.0, is_doubtful=True)
    assert not account.wants_count(200.0, 3600.0)
    account.change("p/b", NOTHING_STORED, Usage(3 * MIB, 1), 101.0, is_doubtful=True)
    assert not account.wants_count(200.0, 3600.0), "most doubtful files are just new"
    account.note_tight()
    assert account.wants_count(200.0, 3600.0)
    assert not account.wants_count(130.0, 3600.0)
    account.adopt(CountRecord("h", Usage(20 * MIB, 5), began_seconds=199.0, ended_seconds=200.0))
    assert not account.wants_count(300.0, 3600.0)
    account.is_questioned = True
    assert account.wants_count(300.0, 3600.0)
