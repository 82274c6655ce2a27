"""Slow and hostile uploads beside one at full speed, with the default sizes and a clock of our own.

Parts are of 8 MiB and memory of 512 MiB. Clients write the same bytes object again and again, so
that the tests need no such memory themselves.
"""

from __future__ import annotations

from collections import Counter
from itertools import count

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from sftpgw.errors import GatewayError, LimitReached
from sftpgw.files.memory.budget import Budget
from sftpgw.files.memory.reclaims import RECLAIM_SECONDS
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.files.uploads.plan.part_sizes import allowance_bytes, choose_ladder
from sftpgw.files.uploads.plan.staging_layout import StagingLayout
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.limits import MIN_PART_BYTES
from sftpgw.model.store import ObjectName
from sftpgw.model.units import KIB, MIB
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.session_contexts import session_context
from sftpgw.testing.ssh_pairs import RecordedEvents
from tests.files.uploads.upload_plans import make_plan
from tests.results import result_of

MEMORY_BYTES = 512 * MIB
PART_BYTES = 8 * MIB
WRITE_BYTES = 64 * KIB
DATA = bytes(WRITE_BYTES)
SLOW_BYTES_PER_SECOND = 5 * KIB


class Writer:
    """One upload of a session of its own, which writes in order from `start` on."""

    def __init__(self, upload: Upload, start: int = 0) -> None:
        self.upload = upload
        self.at = self.start = start
        self.error: GatewayError | None = None

    def write(self, at: int | None = None) -> Deferred[None] | None:
        """One WRITE, which continues the file by default; what it waits for."""
        if self.error is not None:
            return None
        offset = self.at if at is None else at
        try:
            later = self.upload.write(offset, DATA)
        except GatewayError as error:
            self.error = error
            result_of(self.upload.abandon())
            return None
        self.at = max(self.at, offset + WRITE_BYTES)
        return later


class Process:
    """What the uploads of all users share."""

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        self.clock = Clock()
        self.budget = Budget.within(memory_bytes, self.clock.seconds)
        self.store = FakeStore()
        self.transfers = TransferRegistry()
        self.events = RecordedEvents()
        self.writers: list[Writer] = []
        self._names = count()

    def open(self, user: str, *, start: int = 0) -> Writer:
        ladder = choose_ladder(PART_BYTES, MEMORY_BYTES, concurrency=4, unequal_parts=True)
        plan = make_plan(
            StagingLayout(ladder, ladder.max_parts),
            allowance_bytes=allowance_bytes(MEMORY_BYTES),
            early_part_bytes=MIN_PART_BYTES,
        )
        context = session_context(
            self.store,
            user=user,
            budget=self.budget.share(user),
            transfers=self.transfers,
            clock=self.clock,
            events=self.events,
        )
        upload = Upload(context, plan, ObjectName("bucket", f"{next(self._names)}"))
        self.writers.append(Writer(upload, start))
        return self.writers[-1]

    def put(self, user: str, size_bytes: int) -> int:
        """Put a file at full speed; how many WRITEs were answered only later, if at all."""
        writer, withheld = self.open(user), 0
        for _ in range(size_bytes // WRITE_BYTES):
            withheld += writer.write() is not None
            assert writer.error is None
        result_of(writer.upload.commit())
        self.writers.remove(writer)
        return withheld

    @property
    def refused(self) -> list[Writer]:
        return [writer for writer in self.writers if writer.error is not None]

    def end(self) -> None:
        for writer in self.writers:
            if writer.error is None:
                result_of(writer.upload.abandon())
        assert (self.budget.held_bytes, self.budget.waiting) == (0, 0)
        assert not self.clock.getDelayedCalls()
        assert self.events.facts("defect") == []


def trickle(process: Process, writers: list[Writer], seconds: float) -> None:
    """Let each of them write at 5 KiB/s."""
    step_seconds = WRITE_BYTES / SLOW_BYTES_PER_SECOND
    for _ in range(int(seconds / step_seconds)):
        process.clock.advance(step_seconds)
        for writer in writers:
            writer.write()
        assert process.budget.held_bytes <= MEMORY_BYTES


@pytest.mark.parametrize("uploads", [10, 57, 100, 1000])
@pytest.mark.parametrize("user", ["alice", "partner-1"])
def test_slow_uploads_do_not_stop_one_at_full_speed(uploads: int, user: str) -> None:
    process = Process()
    slow = [process.open(f"partner-{number}") for number in range(uploads)]
    trickle(process, slow, 60)
    assert process.refused == []
    assert process.put(user, 24 * MIB) == 0
    trickle(process, slow, 240)
    assert process.put(user, 100 * MIB) == 0
    survivors = [writer for writer in slow if writer.error is None]
    assert survivors == slow[: len(survivors)], "the newest ones are told to come again"
    assert (len(survivors) == uploads) == (uploads <= 100)
    assert len(survivors) >= min(uploads, 180)
    for writer in process.refused:
        assert isinstance(writer.error, LimitReached)
        assert "[limits] memory" in writer.error.message
        assert "256 KiB" in writer.error.message
        assert "send the file again later" in writer.error.message
    process.end()


class Sluggish:
    """An upload whose client sends 288 KiB at once, and then 1 KiB five times a second.

    Up to eight WRITEs of it may wait for their replies.
    """

    def __init__(self, process: Process, user: str) -> None:
        self.writer = process.open(user)
        self._clock, self._began = process.clock, process.clock.seconds()
        self._withheld: list[Deferred[None]] = []
        self._at = 0

    def go_on(self) -> None:
        due_bytes = int(288 * KIB + (self._clock.seconds() - self._began) * SLOW_BYTES_PER_SECOND)
        self._withheld = [reply for reply in self._withheld if not reply.called]
        while self._at < due_bytes and len(self._withheld) < 8 and self.writer.error is None:
            size_bytes = min(32 * KIB, due_bytes - self._at)
            try:
                later = self.writer.upload.write(self._at, DATA[:size_bytes])
            except GatewayError as error:
                self._failed(error)
                return
            self._at += size_bytes
            if later is not None:
                later.addErrback(lambda failure: self._failed(failure.value))
                self._withheld.append(later)

    def _failed(self, error: Exception) -> None:
        assert isinstance(error, GatewayError)
        self.writer.error = error
        result_of(self.writer.upload.abandon())


def seconds_of_a_put(process: Process, size_bytes: int, others: list[Sluggish]) -> float:
    """How long a client takes at 80 MiB/s, with up to 2 MiB of WRITEs without a reply."""
    writer, began = process.open("alice"), process.clock.seconds()
    withheld: list[Deferred[None]] = []
    while writer.at < size_bytes:
        for _ in range(64):
            withheld = [reply for reply in withheld if not reply.called]
            if len(withheld) >= 32 or writer.at >= size_bytes:
                break
            later = writer.write()
            assert writer.error is None
            if later is not None:
                withheld.append(later)
        _go_on(process, others, 0.05)
    closing = Deferred.fromCoroutine(writer.upload.commit())
    while not closing.called:
        _go_on(process, others, 0.05)
    process.writers.remove(writer)
    return process.clock.seconds() - began


def _go_on(process: Process, uploads: list[Sluggish], seconds: float) -> None:
    for each in uploads:
        each.go_on()
    process.clock.advance(seconds)


@pytest.mark.parametrize("uploads", [10, 100, 1000])
def test_uploads_that_stop_together_do_not_stop_one_at_full_speed(uploads: int) -> None:
    """They take steps ahead, and what there is to lend, while none of them counts as slow yet."""
    process, slow = Process(), list[Sluggish]()
    while len(slow) < uploads:
        for _ in range(25):
            if len(slow) < uploads:
                slow.append(Sluggish(process, f"partner-{len(slow) // 4 % 60}"))
        _go_on(process, slow, 0.1)
    for _ in range(4):
        _go_on(process, slow, 0.5)
    assert seconds_of_a_put(process, 24 * MIB, slow) < 2
    assert seconds_of_a_put(process, 100 * MIB, slow) < 3
    assert process.refused == []
    process.end()


def test_uploads_that_wait_in_vain_are_told_to_come_again() -> None:
    """More than memory bears: they all wait, and none of them is slow by the time it may write."""
    process = Process(128 * MIB)
    slow = [Sluggish(process, f"partner-{number % 60}") for number in range(360)]
    while process.budget.waiting or not process.refused:
        _go_on(process, slow, 1.0)
        assert process.clock.seconds() < 300
    for writer in process.refused:
        assert isinstance(writer.error, LimitReached)
        assert "10 seconds (less than 256 KiB)" in writer.error.message
    assert seconds_of_a_put(process, 24 * MIB, slow) < 2
    process.end()


def test_so_many_slow_uploads_go_on_for_ever() -> None:
    """Three quarters of 465 MiB, in parts that are sent early from 5 MiB on."""
    process = Process()
    slow = [process.open(f"partner-{number}") for number in range(200)]
    trickle(process, slow, 3 * 8 * MIB / SLOW_BYTES_PER_SECOND)
    survivors = len(slow) - len(process.refused)
    assert 69 <= survivors <= 140
    sizes = Counter(len(data) for data, _ in _parts(process.store))
    assert min(sizes) >= MIN_PART_BYTES
    assert process.put("alice", 24 * MIB) == 0
    process.end()


def _parts(store: FakeStore) -> list[tuple[bytes, str]]:
    return [part for upload in store.uploads.values() for part in upload.parts.values()]


def test_bytes_that_are_written_again_hold_up_no_one() -> None:
    process = Process()
    gaps = [process.open("mallory", start=WRITE_BYTES) for _ in range(63)]
    for _ in range(10):
        for writer in gaps:
            for number in range(1, 6):
                writer.write(number * WRITE_BYTES)
        assert process.put("alice", 24 * MIB) == 0
        process.clock.advance(30)
    process.end()


@pytest.mark.parametrize("start", [0, WRITE_BYTES], ids=["in order", "behind gaps"])
def test_one_user_who_fills_all_memory_and_sits_on_it_holds_up_no_other(start: int) -> None:
    process = Process()
    for _ in range(200):
        writer = process.open("mallory", start=start)
        while writer.error is None and writer.at < PART_BYTES - WRITE_BYTES:
            if writer.write() is not None:
                break
    for _ in range(12):
        assert process.put("alice", 24 * MIB) == 0
        assert process.put("bob", 64 * KIB) == 0
        process.clock.advance(30)
        for writer in process.writers:
            writer.write(writer.start)
    process.end()


def test_a_fast_upload_takes_a_whole_part_at_once_and_a_slow_one_does_not() -> None:
    process = Process()
    fast = process.open("alice")
    most = 0
    while fast.at < PART_BYTES + MIB:
        assert fast.write() is None
        process.clock.advance(0.01)
        held_bytes = process.budget.held_by("alice")
        most = max(most, held_bytes)
        assert held_bytes <= max(2 * fast.at, 256 * KIB), "no more ahead than has come"
    assert process.budget.held_by("alice") == PART_BYTES == most
    slow = process.open("partner")
    trickle(process, [slow], 300)
    assert process.budget.held_by("partner") - slow.at < 256 * KIB
    process.end()


def test_memory_that_was_taken_ahead_and_not_used_comes_back() -> None:
    process = Process()
    stopped = [process.open("mallory") for _ in range(100)]
    for writer in stopped:
        while writer.at < PART_BYTES // 2 + WRITE_BYTES and writer.write() is None:
            pass
    before = process.budget.held_by("mallory")
    assert before > sum(writer.at for writer in stopped) + 100 * MIB
    process.clock.advance(11)
    assert process.put("alice", 24 * MIB) == 0
    late = process.open("mallory")
    while late.at < MIB and late.write() is None:
        pass
    process.clock.advance(RECLAIM_SECONDS)
    assert process.budget.held_by("mallory") <= sum(
        writer.at % PART_BYTES + 256 * KIB for writer in process.writers
    )
    process.end()


@pytest.mark.parametrize("uploads", [120, 300])
def test_many_uploads_at_full_speed_all_end(uploads: int) -> None:
    process = Process()
    writers = [process.open(f"user-{number % 7}") for number in range(uploads)]
    left, waiting = dict.fromkeys(writers, 9 * MIB // WRITE_BYTES), dict[Writer, Deferred[None]]()
    while left:
        moved = 0
        for writer in tuple(left):
            for _ in range(4):
                if writer in waiting and not waiting[writer].called:
                    break
                moved += 1
                later = writer.write()
                assert writer.error is None
                if later is not None:
                    waiting[writer] = later
                left[writer] -= 1
                if not left[writer]:
                    del left[writer]
                    result_of(writer.upload.commit())
                    process.writers.remove(writer)
                    break
        assert moved, "none can go on"
        assert process.budget.held_bytes <= MEMORY_BYTES
    process.end()
