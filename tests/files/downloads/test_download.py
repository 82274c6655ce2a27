"""Downloads from the fake store: order of replies, faults, memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from sftpgw.errors import (
    EndOfFile,
    InvalidHandle,
    LimitReached,
    NoSuchObject,
    ObjectChanged,
    StoreError,
    StoreTrouble,
    StoreUnavailable,
)
from sftpgw.files.downloads.download import Download
from sftpgw.files.memory.budget import Budget
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import BodySink, ObjectName
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.session_contexts import session_context
from sftpgw.testing.ssh_pairs import RecordedEvents
from tests.results import failure_of, result_of

NAME = ObjectName("bucket", "file")
CONTENT = bytes(range(256)) * 40


class Opened:
    """A download of `CONTENT` in parts of 1,000 bytes.

    :param beside: another one in the same process.
    """

    def __init__(
        self,
        data: bytes = CONTENT,
        *,
        chunk_bytes: int = 64,
        budget: int = 100_000,
        store: FakeStore | None = None,
        part_bytes: int = 1000,
        beside: Opened | None = None,
    ) -> None:
        self.store = store or FakeStore(chunk_bytes=chunk_bytes)
        self.store.seed("file", data)
        self.budget = beside.budget if beside else Budget(budget)
        self.events = RecordedEvents()
        self.clock = beside.clock if beside else Clock()
        context = session_context(
            self.store,
            budget=self.budget,
            clock=self.clock,
            events=self.events,
            settings=StoreSettings(download_part_size_bytes=part_bytes, download_concurrency=3),
        )
        self.download = Download(context, NAME)

    def open(self) -> Opened:
        result_of(self.download.open())
        return self

    def read(self, offset: int, length: int) -> bytes:
        data = self.download.read(offset, length)
        return b"".join(result_of(data) if isinstance(data, Deferred) else data)


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(1, 1500)), max_size=25),
    st.integers(1, 700),
)
def test_any_read_gets_the_bytes_of_the_object(
    reads: list[tuple[int, int]], chunk_bytes: int
) -> None:
    opened = Opened(chunk_bytes=chunk_bytes).open()
    for offset, length in reads:
        assert opened.read(offset, length) == CONTENT[offset : offset + length]
    opened.download.close()
    assert opened.budget.held_bytes == 0


def test_a_small_file_is_one_request() -> None:
    opened = Opened(b"hello").open()
    assert opened.read(0, 100) == b"hello"
    assert result_of(opened.download.attributes()).size_bytes == 5
    assert opened.store.requests == {"get": 1}
    opened.download.close()
    opened.download.close()
    assert opened.events.told == [
        (
            "file-read",
            {
                "key": "file",
                "bytes": 5,
                "of": 5,
                "seconds": 0.0,
                "purpose": "download",
                "sent_bytes": 5,
                "bucket": "bucket",
                "etag": "5d41402abc4b2a76b9719d911017c592",
            },
        )
    ]


def test_once_half_of_the_memory_is_taken_a_fair_share_is_all_it_fetches_ahead() -> None:
    opened = Opened(budget=4000)
    for number in range(7):
        opened.budget.watch(lambda number=number: None, is_transfer=True)  # type: ignore[misc]
    assert opened.budget.try_acquire(2100)
    opened.open()
    most_bytes = opened.budget.held_bytes - 2100
    assert most_bytes == 4000 // 8
    for offset in range(0, len(CONTENT), 50):
        assert opened.read(offset, 50) == CONTENT[offset : offset + 50]
        most_bytes = max(most_bytes, opened.budget.held_bytes - 2100)
    assert most_bytes == 4000 // 8
    opened.download.close()
    assert opened.budget.held_bytes == 2100


def test_an_empty_file_is_one_request_until_its_time_is_asked() -> None:
    opened = Opened(b"").open()
    with pytest.raises(EndOfFile):
        opened.read(0, 1)
    assert opened.store.requests == {"get": 1}
    assert result_of(opened.download.attributes()).modified_seconds > 0


def test_a_read_far_into_the_range_that_the_file_was_opened_with_is_answered() -> None:
    """The range is cut off, since no READ wants it; the bytes of this READ are fetched."""
    opened = Opened()
    gate = opened.store.hold("body")
    result_of(opened.download.open())
    waiting = opened.download.read(900, 50)
    assert isinstance(waiting, Deferred)
    for _ in range(10):  # of 64 bytes, so that the range is under way still
        gate.open_one()
    assert opened.store.requests["get"] == 2
    gate.open()
    assert b"".join(result_of(waiting)) == CONTENT[900:950]
    opened.download.close()
    assert opened.budget.held_bytes == 0


def test_reads_are_answered_as_bytes_arrive_not_when_the_range_is_whole() -> None:
    opened = Opened()
    gate = opened.store.hold("body")
    opening = Deferred.fromCoroutine(opened.download.open())
    result_of(opening)
    first, second = opened.download.read(0, 60), opened.download.read(60, 60)
    assert isinstance(first, Deferred)
    assert isinstance(second, Deferred)
    gate.open_one()
    assert b"".join(result_of(first)) == CONTENT[:60]
    assert not second.called
    gate.open_one()
    assert b"".join(result_of(second)) == CONTENT[60:120]
    opened.download.close()


def test_reads_that_one_chunk_answers_are_answered_together() -> None:
    opened = Opened()
    gate = opened.store.hold("body")
    result_of(opened.download.open())
    told: list[str] = []

    @contextmanager
    def cork() -> Iterator[None]:
        told.append("begin")
        yield
        told.append("end")

    opened.download.cork_with(cork)
    for offset in range(0, 100, 20):
        reply = opened.download.read(offset, 20)
        assert isinstance(reply, Deferred)
        reply.addCallbacks(lambda data: told.append("answer"), lambda _: None)
    gate.open_one()
    assert told == ["begin", "answer", "answer", "answer", "end"]
    opened.download.cork_with(nullcontext)
    opened.download.close()


def test_reads_are_answered_in_the_order_in_which_they_came() -> None:
    opened = Opened()
    gate = opened.store.hold("body")
    result_of(opened.download.open())
    order: list[int] = []
    for offset in range(0, 2000, 100):
        reply = opened.download.read(offset, 100)
        assert isinstance(reply, Deferred)
        reply.addCallback(lambda data, offset=offset: order.append(offset))
    # The second range arrives before the first.
    while gate.waiting > 1:
        gate.open_last()
    assert order == []
    gate.open()
    assert order == list(range(0, 2000, 100))
    opened.download.close()


def test_the_end_of_file_is_told_after_the_bytes_before_it() -> None:
    opened = Opened()
    gate = opened.store.hold("body")
    result_of(opened.download.open())
    told: list[str] = []
    for offset in (0, 500, len(CONTENT), len(CONTENT) + 500):
        reply = opened.download.read(offset, 500)
        assert isinstance(reply, Deferred)
        reply.addCallbacks(lambda data: told.append("data"), lambda _: told.append("end"))
    assert told == []
    gate.open()
    assert told == ["data", "data", "end", "end"]
    opened.download.close()


def test_a_refusal_is_answered_in_order() -> None:
    opened = Opened()
    gate = opened.store.hold("body")
    result_of(opened.download.open())
    first = opened.download.read(0, 100)
    opened.store.fail("get", StoreUnavailable("down"), times=10)
    second = opened.download.read(7000, 100)
    assert isinstance(first, Deferred)
    assert isinstance(second, Deferred)
    assert not second.called
    gate.open()
    assert b"".join(result_of(first)) == CONTENT[:100]
    assert isinstance(failure_of(second).value, StoreUnavailable)
    opened.download.close()


def test_an_empty_file_that_was_replaced_fails() -> None:
    opened = Opened(b"").open()
    opened.store.seed("file", CONTENT)
    assert isinstance(failure_of(opened.download.attributes()).value, ObjectChanged)
    with pytest.raises(ObjectChanged):
        opened.read(0, 10)
    opened.download.close()


def test_read_ahead_is_given_back_when_others_queue_for_memory() -> None:
    opened = Opened(budget=1000)
    opened.open()
    assert opened.budget.held_bytes == 1000
    granted = opened.budget.acquire(900)
    assert granted is not None
    result_of(granted)
    assert opened.read(0, 20) == CONTENT[:20]
    opened.download.close()


def out_of_memory() -> tuple[Opened, int]:
    """A download whose budget others have spent, with the overdraft; and how much they hold."""
    opened = Opened(budget=10_000).open()
    others_bytes = 0
    while opened.budget.try_charge(50):
        others_bytes += 50
    return opened, others_bytes


def test_without_any_memory_a_read_queues_and_holds_nothing() -> None:
    opened, others_bytes = out_of_memory()
    late, later = opened.download.read(900, 1200), opened.download.read(2100, 100)
    assert isinstance(late, Deferred)
    assert isinstance(later, Deferred)
    assert opened.budget.waiting == 1
    assert opened.budget.held_bytes == others_bytes
    opened.budget.release(others_bytes)
    assert b"".join(result_of(late)) == CONTENT[900:2100]
    assert b"".join(result_of(later)) == CONTENT[2100:2200]
    opened.download.close()
    assert opened.budget.held_bytes == 0


def test_a_closed_download_leaves_the_queue() -> None:
    opened, others_bytes = out_of_memory()
    late = opened.download.read(900, 1200)
    assert isinstance(late, Deferred)
    opened.download.close()
    assert isinstance(failure_of(late).value, InvalidHandle)
    assert opened.budget.waiting == 0
    opened.budget.release(others_bytes)
    assert opened.budget.held_bytes == 0


class TestOpeningWithoutMemory:
    """Others hold all memory, and the overdraft except for `left_bytes`."""

    def opened(self, left_bytes: int = 0) -> tuple[Opened, int]:
        opened = Opened(budget=10_000)
        others_bytes = 11_000 - left_bytes
        assert opened.budget.try_charge(others_bytes)
        return opened, others_bytes

    def test_an_open_waits_in_the_queue_and_holds_nothing(self) -> None:
        opened, others_bytes = self.opened(left_bytes=900)
        opening = Deferred.fromCoroutine(opened.download.open())
        assert not opening.called
        assert (opened.budget.waiting, opened.budget.held_bytes) == (1, others_bytes)
        opened.budget.release(others_bytes)
        result_of(opening)
        assert opened.read(0, 2000) == CONTENT[:2000]
        opened.download.close()
        assert opened.budget.held_bytes == 0
        assert not opened.clock.getDelayedCalls()

    def test_an_open_that_waits_for_a_minute_fails(self) -> None:
        opened, others_bytes = self.opened()
        opening = Deferred.fromCoroutine(opened.download.open())
        opened.clock.pump([10.0] * 5)
        assert not opening.called
        opened.clock.advance(10.0)
        error = failure_of(opening).value
        assert isinstance(error, LimitReached)
        assert "[limits] memory" in error.message
        assert (opened.budget.waiting, opened.budget.held_bytes) == (0, others_bytes)
        assert not opened.clock.getDelayedCalls()
        assert not opened.store.requests

    def test_a_cancelled_open_leaves_the_queue(self) -> None:
        opened, others_bytes = self.opened()
        opening = Deferred.fromCoroutine(opened.download.open())
        opening.cancel()
        assert isinstance(failure_of(opening).value, CancelledError)
        assert (opened.budget.waiting, opened.budget.held_bytes) == (0, others_bytes)
        assert not opened.clock.getDelayedCalls()

    def test_an_open_that_needs_less_memory_passes_it(self) -> None:
        opened, _ = self.opened(left_bytes=900)
        opening = Deferred.fromCoroutine(opened.download.open())
        small = Opened(part_bytes=800, beside=opened)
        assert small.open().read(0, 100) == CONTENT[:100]
        assert not opening.called
        opening.addErrback(lambda _: None)
        opening.cancel()

    @pytest.mark.parametrize("waits_with", ["open", "read"])
    def test_a_waiting_read_asks_idle_transfers_for_memory_periodically(
        self, waits_with: str
    ) -> None:
        opened, others_bytes = out_of_memory() if waits_with == "read" else self.opened()
        asked: list[float] = []
        opened.budget.watch(lambda: asked.append(opened.clock.seconds()))
        if waits_with == "read":
            waiting: Any = opened.download.read(900, 1200)
        else:
            waiting = Deferred.fromCoroutine(opened.download.open())
        opened.clock.pump([10.0] * 3)
        assert asked[-3:] == [10.0, 20.0, 30.0]
        opened.budget.release(others_bytes)
        result_of(waiting)
        opened.download.close()
        assert not opened.clock.getDelayedCalls()


def test_an_object_replaced_meanwhile_fails_and_never_mixes() -> None:
    opened = Opened().open()
    assert opened.read(0, 500) == CONTENT[:500]
    opened.store.seed("file", b"n" * len(CONTENT))
    outcomes: list[Any] = []
    for offset in range(500, len(CONTENT), 500):
        try:
            outcomes.append(opened.read(offset, 500) == CONTENT[offset : offset + 500])
        except ObjectChanged:
            outcomes.append("changed")
    assert False not in outcomes
    assert outcomes[-1] == "changed"
    assert opened.budget.held_bytes == 0


def test_a_body_that_breaks_off_for_good_fails_its_reads_and_no_others() -> None:
    opened = Opened()
    opened.store.cut_body(130)
    gate = opened.store.hold("body")
    result_of(opened.download.open())
    before, across = opened.download.read(0, 100), opened.download.read(100, 100)
    assert isinstance(before, Deferred)
    assert isinstance(across, Deferred)
    gate.open()
    assert b"".join(result_of(before)) == CONTENT[:100]
    assert isinstance(failure_of(across).value, StoreError)
    assert opened.read(100, 100) == CONTENT[100:200]
    opened.download.close()
    assert opened.budget.held_bytes == 0


def test_read_ahead_that_fails_is_not_tried_again_and_again() -> None:
    opened = Opened()
    opened.open()
    opened.store.fail("get", StoreUnavailable("down"), times=1000)
    assert opened.read(0, 500) == CONTENT[:500]
    assert opened.store.requests["get"] < 5
    opened.download.close()


def test_a_refused_range_fails_the_read_that_waits_for_it() -> None:
    opened = Opened().open()
    opened.store.fail("get", StoreUnavailable("down"), times=10)
    late = opened.download.read(5000, 64)
    assert isinstance(late, Deferred)
    assert isinstance(failure_of(late).value, StoreUnavailable)
    opened.store._faults.clear()
    assert opened.read(5000, 64) == CONTENT[5000:5064]
    opened.download.close()
    assert opened.budget.held_bytes == 0


def test_a_missing_object_is_told_at_open() -> None:
    opened = Opened()
    opened.store.objects.clear()
    assert isinstance(failure_of(opened.download.open()).value, NoSuchObject)
    assert opened.budget.held_bytes == 0


def test_closing_fails_the_waiting_reads_and_drops_the_requests() -> None:
    opened = Opened()
    opened.store.hold("body")
    result_of(opened.download.open())
    late = opened.download.read(0, 10)
    assert isinstance(late, Deferred)
    opened.download.close()
    assert isinstance(failure_of(late).value, InvalidHandle)
    assert opened.budget.held_bytes == 0
    with pytest.raises(InvalidHandle):
        opened.download.read(0, 1)


def test_without_memory_there_is_no_read_ahead_but_reads_are_answered() -> None:
    opened = Opened(budget=10_000)
    assert opened.budget.try_charge(9_900)
    opened.open()
    assert b"".join(opened.read(at, 100) for at in range(0, 3000, 100)) == CONTENT[:3000]
    assert opened.budget.held_bytes <= 9_900 + 1_000
    opened.download.close()


def test_held_bytes_stay_within_the_parts_that_may_be_held() -> None:
    opened = Opened(CONTENT * 10)
    opened.open()
    most = 0
    for at in range(0, len(CONTENT) * 10, 50):
        opened.read(at, 50)
        most = max(most, opened.budget.held_bytes)
    assert most <= 5 * 1000
    opened.download.close()


class ShortStore(FakeStore):
    """Ends every body after 10 bytes, as if it were whole."""

    async def _deliver(self, data: bytes, sink: BodySink) -> None:
        await super()._deliver(data[:10], sink)


def test_a_store_that_sends_too_little_is_found_out() -> None:
    opened = Opened(store=ShortStore()).open()
    late = opened.download.read(5, 100)
    assert isinstance(late, Deferred)
    assert isinstance(failure_of(late).value, StoreTrouble)
    assert opened.store.requests["get"] < 5
    opened.download.close()
    assert opened.budget.held_bytes == 0


def test_a_small_answer_does_not_keep_a_large_chunk_in_memory() -> None:
    opened = Opened(chunk_bytes=1000).open()
    (small,) = opened.download.read(0, 100)
    (large,) = opened.download.read(100, 200)
    assert isinstance(small, bytes)
    assert isinstance(large, memoryview)
    assert (small, bytes(large)) == (CONTENT[:100], CONTENT[100:300])
