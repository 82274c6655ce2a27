"""Goes over the bytes of large bodies without holding up the reactor.

Knows: turns, and how many bytes of a body one turn takes.
Must not know: what is computed.

SHA-256 takes 60 to 150 ms for 64 MiB. A thread would compete with the reactor for
Python's lock once for each of a part's thousands of buffers, so the work is done
in steps of a few milliseconds, one step in each turn of the reactor however many
bodies wait: first come first served, so that the first is on its way soonest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred

from sftpgw.interfaces import Clock
from sftpgw.values import Body, Buffer

Update = Callable[[Buffer], None]


class Hasher:
    """Feeds bodies to hash functions, in turns.

    :param clock: whose turns are meant; nothing is timed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jobs: deque[_Job] = deque()
        self._turn: Any = None

    async def feed(self, body: Body, update: Update, step_bytes: int) -> None:
        """Call `update` with each buffer of `body`, cut to at most `step_bytes`, in order.

        What fits into one step is done at once, unless others wait.
        """
        job = _Job(body, update, step_bytes)
        if not self._jobs and job.size_bytes <= step_bytes:
            job.step()
            return
        self._jobs.append(job)
        self._schedule()
        try:
            await job.done
        finally:
            if job in self._jobs:  # cancelled
                self._jobs.remove(job)
                self._schedule()

    def _schedule(self) -> None:
        if self._jobs and self._turn is None:
            self._turn = self._clock.callLater(0, self._step)
        elif not self._jobs and self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _step(self) -> None:
        self._turn = None
        job = self._jobs[0]
        if job.step():
            self._jobs.popleft()
        self._schedule()
        if job not in self._jobs:
            job.done.callback(None)


class _Job:
    """One body and how far it is done."""

    def __init__(self, body: Body, update: Update, step_bytes: int) -> None:
        self.done: Deferred[None] = Deferred()
        self.size_bytes = sum(memoryview(buffer).nbytes for buffer in body)
        self._update = update
        self._step_bytes = step_bytes
        self._pieces = _pieces(body, step_bytes)
        self._left_bytes = self.size_bytes

    def step(self) -> bool:
        """Do at least one step's bytes, at most two steps'; whether all is done."""
        done_bytes = 0
        while done_bytes < self._step_bytes and (piece := next(self._pieces, None)) is not None:
            self._update(piece)
            done_bytes += piece.nbytes
        self._left_bytes -= done_bytes
        return self._left_bytes == 0


def _pieces(body: Body, limit_bytes: int) -> Iterator[memoryview]:
    for buffer in body:
        view = memoryview(buffer)
        for start in range(0, view.nbytes, limit_bytes):
            yield view[start : start + limit_bytes]
