"""Goes over the bytes of large bodies without holding up the reactor.

Knows: how many bytes of a body one step takes, and whose body it is.
Must not know: what is computed.

SHA-256 takes 60 to 150 ms for 64 MiB. A thread would compete with the reactor for
Python's lock once for each of a part's thousands of buffers, so the work is done
in steps of a few milliseconds, each in a turn of its own (`aio/work`). The bodies of
one user come one after the other, so that the first is on its way soonest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.internet.defer import DeferredLock

from sftpgw.aio.work.scheduler import WorkScheduler, WorkShare
from sftpgw.model.units import Body, Buffer

Update = Callable[[Buffer], None]


class Hasher:
    """Feeds bodies to hash functions, for each user one body after the other.

    :param work: hands out the turns.
    """

    def __init__(self, work: WorkScheduler) -> None:
        self._work = work
        self._lines: dict[str, _Line] = {}

    async def feed(self, body: Body, update: Update, step_bytes: int, user: str = "") -> None:
        """Call `update` with each buffer of `body`, cut to at most `step_bytes`, in order.

        What fits into one step is done at once, unless others of the same user wait.

        :param body: the buffers.
        :param update: takes each of them.
        :param step_bytes: how much a step takes.
        :param user: whose body it is.
        """
        work = _Work(body, update, step_bytes)
        line = self._lines.get(user)
        if line is None:
            if work.size_bytes <= step_bytes:
                work.step()
                return
            line = self._lines[user] = _Line(self._work.share(user))
        line.length += 1
        try:
            await line.do(work)
        finally:
            line.length -= 1
            if not line.length:
                del self._lines[user]


class _Line:
    """The bodies of one user, in order."""

    def __init__(self, share: WorkShare) -> None:
        self.length = 0
        self._share = share
        self._lock = DeferredLock()

    async def do(self, work: _Work) -> None:
        """Wait for the bodies before this one, then do it step by step."""
        async with self._lock:
            await self._share.next_step("hashing")
            while not work.step():
                await self._share.next_step("hashing")


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
