"""What downloads cost and how fast they are, against a store with latency, on a simulated clock."""

from __future__ import annotations

import random
from collections.abc import Iterator

from sftpgw.model.units import KIB, MIB
from tests.files.timed_reading import TimedReading, sequential

SIZE = 256 * MIB


def test_a_fast_sequential_reader_uses_what_four_connections_give() -> None:
    cost = TimedReading(SIZE).run(sequential(0, SIZE))
    assert cost.bytes_per_second >= 250e6
    assert cost.wasted_bytes == 0
    assert cost.requests <= 45
    assert cost.most_under_way <= 5


def test_a_store_that_answers_late_gets_more_ranges_at_once() -> None:
    cost = TimedReading(SIZE, latency_seconds=0.2).run(sequential(0, SIZE))
    assert cost.bytes_per_second >= 100e6
    assert cost.wasted_bytes == 0


def test_a_fast_reader_of_a_faster_store_gets_large_ranges() -> None:
    reading = TimedReading(
        SIZE,
        latency_seconds=0.0005,
        store_bytes_per_second=1e9,
        reader_bytes_per_second=350e6,
    )
    cost = reading.run(sequential(0, SIZE))
    assert cost.requests <= 100
    assert cost.wasted_bytes <= 8 * MIB


def test_a_slow_reader_holds_little() -> None:
    cost = TimedReading(SIZE, reader_bytes_per_second=1e6).run(sequential(0, 40 * MIB))
    assert cost.most_held_bytes <= 8 * MIB
    assert cost.held_at_last_bytes <= 3 * MIB


def test_a_reader_that_becomes_slow_comes_to_hold_little() -> None:
    reading = TimedReading(SIZE)
    cost = reading.run(reading.slowing_down(sequential(0, 220 * MIB), 100 * MIB, 1e6))
    assert cost.most_held_bytes >= 24 * MIB
    assert cost.held_at_last_bytes <= 4 * MIB


def test_a_backward_reader_is_nearly_as_fast() -> None:
    cost = TimedReading(SIZE).run(reversed(list(sequential(0, SIZE))))
    assert cost.bytes_per_second >= 200e6
    assert cost.wasted_bytes <= MIB


def test_four_readers_on_one_handle_share_the_connections() -> None:
    reads = (
        (number * 64 * MIB + at, 32 * KIB)
        for at in range(0, 60 * MIB, 32 * KIB)
        for number in range(4)
    )
    cost = TimedReading(SIZE).run(reads)
    assert cost.bytes_per_second >= 150e6
    assert cost.requests <= 120


def records(count: int, size_bytes: int, step_bytes: int) -> Iterator[tuple[int, int]]:
    randrange = random.Random(5).randrange
    for _ in range(count):
        at = randrange(SIZE - size_bytes)
        yield from sequential(at, at + size_bytes, step_bytes)


def test_random_reads_and_records_waste_at_most_a_fifth() -> None:
    for count, size_bytes, step_bytes in (
        (400, 32 * KIB, 32 * KIB),
        (200, 256 * KIB, 32 * KIB),
        (60, MIB, 32 * KIB),
    ):
        reading = TimedReading(SIZE, pipelined=8)
        cost = reading.run(records(count, size_bytes, step_bytes))
        assert cost.wasted_bytes <= 0.2 * cost.asked_bytes, (size_bytes, cost)


def test_a_reader_of_a_header_costs_a_quarter_of_a_part() -> None:
    reading = TimedReading(SIZE, pipelined=1)
    cost = reading.run(sequential(0, 64 * KIB), lingers_seconds=1.0)
    assert cost.requests == 1
    assert cost.fetched_bytes <= 2.5 * MIB


def test_a_file_of_one_part_is_one_request() -> None:
    cost = TimedReading(5 * MIB).run(sequential(0, 5 * MIB))
    assert cost.requests == 1
    assert cost.wasted_bytes == 0


def test_a_reader_keeps_within_a_small_budget() -> None:
    for budget_bytes in (8 * MIB, 17 * MIB):
        cost = TimedReading(SIZE, budget_bytes=budget_bytes).run(sequential(0, 40 * MIB))
        assert cost.most_held_bytes <= 1.1 * budget_bytes


def test_a_lone_random_reader_never_waits_for_memory_that_it_holds_itself() -> None:
    randrange = random.Random(7).randrange
    reads = [(randrange(SIZE - MIB), 255 * KIB) for _ in range(60)]
    across = [(at + 128 * KIB, 255 * KIB) for at, _ in reads]
    for budget_bytes in (400 * KIB, 8 * MIB, 17 * MIB):
        mixed = [read for pair in zip(reads, across, strict=True) for read in pair]
        TimedReading(SIZE, budget_bytes=budget_bytes).run(mixed)
