"""Reference cycles are collected in steps, each of which looks at a bounded number of objects."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock

from sftpgw.aio.work.garbage import MORE_OBJECTS, STEPS_PER_COUNT, GarbageCollector
from sftpgw.testing.cpu_clocks import free_work

MOST_OBJECTS = 45_000
"""What a step looks at: four collections of the middle generation leave 31,000."""


class Calls:
    """Stands for the reactor's next iteration."""

    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []

    def put(self, call: Callable[[], None]) -> None:
        self._due.append(call)

    def run(self) -> None:
        due, self._due = self._due, []
        for call in due:
            call()


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def collector(calls: Calls) -> Iterator[GarbageCollector]:
    collector = GarbageCollector(calls.put, free_work(Clock()))
    collector.start()
    yield collector
    collector.stop()


def test_no_collection_looks_at_all_there_is(calls: Calls, collector: GarbageCollector) -> None:
    seen: list[int] = []

    def look(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"] == 2:
            seen.append(sum(len(gc.get_objects(generation)) for generation in range(3)))

    gc.callbacks.append(look)
    try:
        held: list[Any] = []
        while len(held) < 300_000:
            held.append([held])
            calls.run()
    finally:
        gc.callbacks.remove(look)
    assert collector.steps >= 5
    young, middle, _ = gc.get_threshold()  # 700, 10; 2,000, 10 in Python 3.13
    assert max(seen) < max(MOST_OBJECTS, 5 * young * (middle + 1))


def test_cycles_that_have_outlived_young_collections_are_found(
    calls: Calls, collector: GarbageCollector
) -> None:
    found: list[str] = []

    class Cycle:
        def __init__(self) -> None:
            self.self = self

        def __del__(self) -> None:
            found.append("cycle")

    cycle: Cycle | None = Cycle()
    gc.collect(1)
    gc.collect(1)
    assert any(each is cycle for each in gc.get_objects(2))
    cycle = None
    held: list[Any] = []
    while not collector.steps:
        held.append([held])
        calls.run()
    assert cycle is None
    assert found == ["cycle"]


def test_python_collects_by_itself_afterwards(calls: Calls) -> None:
    before = gc.get_threshold(), list(gc.callbacks)
    collector = GarbageCollector(calls.put, free_work(Clock()))
    collector.start()
    assert gc.get_threshold() != before[0]
    collector.stop()
    assert (gc.get_threshold(), gc.callbacks) == before
    assert gc.get_freeze_count() == 0
    calls.run()


class Heap:
    """What the collector sees of ``gc``, with as many objects out of sight as a test says."""

    def __init__(self) -> None:
        self.callbacks: list[Any] = []
        self.objects = 100_000
        self.done: list[str] = []

    def get_threshold(self) -> tuple[int, int, int]:
        return (700, 10, 10)

    def set_threshold(self, *thresholds: int) -> None:
        pass

    def get_count(self) -> tuple[int, int, int]:
        return (0, 0, 4)

    def get_freeze_count(self) -> int:
        return self.objects

    def collect(self) -> None:
        self.done.append("collect")

    def freeze(self) -> None:
        self.done.append("freeze")

    def unfreeze(self) -> None:
        self.done.append("unfreeze")

    def step(self, calls: Calls) -> None:
        for callback in self.callbacks:
            callback("stop", {"generation": 1})
        calls.run()


def test_all_is_looked_at_when_there_are_many_more_objects(calls: Calls) -> None:
    heap = Heap()
    collector = GarbageCollector(calls.put, free_work(Clock()), heap)
    collector.start()
    for _ in range(2 * STEPS_PER_COUNT):
        heap.step(calls)
    assert collector.full_collections == 0
    heap.objects = 200_001 + MORE_OBJECTS
    for _ in range(2 * STEPS_PER_COUNT):
        heap.step(calls)
    assert collector.full_collections == 1  # they were still there: twice as many are the mark now
    assert collector.steps == 4 * STEPS_PER_COUNT
