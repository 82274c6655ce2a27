"""Goes over the bytes of large bodies without holding up the reactor.

Knows: how many bytes of a body one iteration of the reactor takes.
Must not know: what is computed.

SHA-256 takes 60 to 150 ms for 64 MiB. A thread would compete with the reactor for
Python's lock once for each of a part's thousands of buffers, so the work is done
in steps of a few milliseconds, one step in each iteration however many bodies wait:
first come, first served, so that the first is on its way soonest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.internet.defer import DeferredLock

from sftpgw.aio.cooperate import StepQueue
from sftpgw.model.clock import Clock
from sftpgw.model.units import Body, Buffer

Update = Callable[[Buffer], None]


class Hasher:
    """Feeds bodies to hash functions, one body after the other.

    :param clock: whose iterations are meant; nothing is timed.
    """

    def __init__(self, clock: Clock) -> None:
        self._steps = StepQueue(clock)
        self._lock = DeferredLock()

    async def feed(self, body: Body, update: Update, step_bytes: int) -> None:
        """Call `update` with each buffer of `body`, cut to at most `step_bytes`, in order.

        What fits into one step is done at once, unless others wait.
        """
        work = _Work(body, update, step_bytes)
        if not self._lock.locked and work.size_bytes <= step_bytes:
            work.step()
            return
        async with self._lock:
            await self._steps.next_step()
            while not work.step():
                await self._steps.next_step()


class _Work:
    """One body and how far it is done."""

    def __init__(self, body: Body, update: Update, step_bytes: int) -> None:
        self.size_bytes = sum(memoryview(buffer).nbytes for buffer in body)
        self._update = update
        self._step_bytes = step_bytes
        self._fragments = _fragments(body, step_bytes)
        self._left_bytes = self.size_bytes

    def step(self) -> bool:
        """Do at least one step's bytes, at most two steps'; whether all is done."""
        done_bytes = 0
        while done_bytes < self._step_bytes:
            fragment = next(self._fragments, None)
            if fragment is None:
                break
            self._update(fragment)
            done_bytes += fragment.nbytes
        self._left_bytes -= done_bytes
        return self._left_bytes == 0


def _fragments(body: Body, limit_bytes: int) -> Iterator[memoryview]:
    for buffer in body:
        view = memoryview(buffer)
        for start in range(0, view.nbytes, limit_bytes):
            yield view[start : start + limit_bytes]
