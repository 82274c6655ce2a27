"""Collects reference cycles in steps, so that no collection goes through the whole heap.

Knows: Python's garbage collector, and how many objects a step looks at. Must not know: what the
objects are.

A full collection goes through every object there is: 0.1 seconds with 1,000 uploads open, 0.3 with
300,000 objects, and no client is served meanwhile. Python begins one when there are a quarter more
objects than after the last one. Here it begins none. After a few collections of the young objects,
a step looks at those that have outlived them, and then takes them out of the collector's sight
(``gc.freeze``). So each step is as short as the last one, whatever is open.

What is out of sight is freed like everything else when its last reference goes. Only a cycle stays
there. Objects that come and go with sessions, files and requests must leave none behind;
``tests/test_cycles.py`` looks. For what is left, all is looked at once there are so many objects
more that cycles may be the reason.

Where Python itself collects in steps, its collector has no old generation to count for, and nothing
is done here.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from sftpgw.aio.work.scheduler import WorkScheduler

YOUNG_COLLECTIONS = 2
"""After so many collections of the middle generation a step follows. Each of them leaves 7,700
objects at most, so that a step takes 15 ms; from Python 3.13 on, 22,000."""

NEVER = 2**31 - 1

STEPS_PER_COUNT = 64
"""To count the objects out of sight takes a millisecond for 100,000 of them, and they are less than
500,000 more by then."""

MORE_OBJECTS = 1_000_000
"""All is looked at when there are twice as many objects as after the last time, and so many more.
A session with an SFTP channel has about 500, an open upload 130."""


class GarbageCollector:
    """Python's collector, from `start` to `stop`.

    :param in_reactor: calls a function in the reactor's thread, in its next iteration, and may be
        called in any thread (``reactor.callFromThread``): Python collects wherever it is.
    :param work: measures the steps.
    :param heap: Python's module ``gc``.
    :ivar steps: how many steps there were.
    :ivar full_collections: how many times all was looked at since the start.
    """

    def __init__(
        self,
        in_reactor: Callable[[Callable[[], None]], None],
        work: WorkScheduler,
        heap: Any = gc,
    ) -> None:
        self.steps = 0
        self.full_collections = 0
        self._in_reactor = in_reactor
        self._work = work
        self._turns = work.turns(("", "", "garbage"), "garbage collection", self._collect)
        self._heap = heap
        self._settled_objects = 0
        self._thresholds: tuple[int, int, int] | None = None
        self._is_due = False

    def start(self) -> None:
        """Take what there is out of sight, and collect in steps from now on."""
        heap = self._heap
        self._thresholds = heap.get_threshold()
        self._collect_all()
        heap.set_threshold(*self._thresholds[:2], NEVER)
        heap.callbacks.append(self._on_collection)

    def stop(self) -> None:
        """Let Python collect as it does by itself."""
        if self._thresholds is not None:
            self._heap.callbacks.remove(self._on_collection)
            self._heap.set_threshold(*self._thresholds)
            self._heap.unfreeze()
            self._thresholds = None

    def _on_collection(self, phase: str, info: dict[str, int]) -> None:
        """Called by Python, at any place and in any thread, where no collection may begin."""
        if phase == "start" or info["generation"] != 1 or self._is_due:
            return
        if self._heap.get_count()[2] >= YOUNG_COLLECTIONS:
            self._is_due = True
            self._in_reactor(self._step)

    def _step(self) -> None:
        self._is_due = False
        if self._thresholds is not None:
            self._work.run(self._turns, self._turns.work)

    def _collect(self) -> None:
        self.steps += 1
        if self.steps % STEPS_PER_COUNT == 0 and self._has_grown():
            self.full_collections += 1
            self._collect_all()
        else:
            self._heap.collect()
            self._heap.freeze()

    def _has_grown(self) -> bool:
        objects = self._heap.get_freeze_count()
        return bool(objects > 2 * self._settled_objects + MORE_OBJECTS)

    def _collect_all(self) -> None:
        self._heap.unfreeze()
        self._heap.collect()
        self._heap.freeze()
        self._settled_objects = self._heap.get_freeze_count()
