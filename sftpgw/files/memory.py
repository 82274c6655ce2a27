"""The memory budget of the process.

Knows: how many bytes are held, and who waits for more, in order.
Must not know: what the bytes are.

Uploads wait in line for whole parts, first come first served, so that no two
hold half of what they need. Read-ahead takes only what is free while nobody is
in line. What cannot wait (a READ, a write behind a gap, a small file) may pass the
line and overdraw by a tenth, so that the bound holds whatever clients do. Who has
to wait makes everybody else give back what they hold in vain.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred

OVERDRAFT_SHARE = 10


class Budget:
    """Implements `interfaces.MemoryBudget`.

    :param limit_bytes: what all transfers may hold together.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._line: deque[tuple[int, Deferred[None]]] = deque()
        self._watchers: dict[Callable[[], None], None] = {}

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def try_acquire(self, size_bytes: int) -> bool:
        if self._line or not self._fits(size_bytes):
            return False
        self.held_bytes += size_bytes
        return True

    def try_charge(self, size_bytes: int) -> bool:
        overdrawn_bytes = self.held_bytes + size_bytes - self.limit_bytes
        if overdrawn_bytes > self.limit_bytes // OVERDRAFT_SHARE:
            return False
        self.held_bytes += size_bytes
        return True

    def acquire(self, size_bytes: int) -> Deferred[None] | None:
        if self.try_acquire(size_bytes):
            return None
        turn: Deferred[None] = Deferred(self._leave)
        self._line.append((size_bytes, turn))
        self.press()
        return turn

    def release(self, size_bytes: int) -> None:
        self.held_bytes -= size_bytes
        self._serve()

    def watch(self, shed: Callable[[], None]) -> None:
        self._watchers[shed] = None

    def unwatch(self, shed: Callable[[], None]) -> None:
        self._watchers.pop(shed, None)

    def press(self) -> None:
        for shed in tuple(self._watchers):
            if not self._line:
                return
            shed()

    def _fits(self, size_bytes: int) -> bool:
        # Whoever asks for more than there is gets it when all is free, else never.
        return self.held_bytes + size_bytes <= self.limit_bytes or self.held_bytes == 0

    def _serve(self) -> None:
        while self._line and self._fits(self._line[0][0]):
            size_bytes, turn = self._line.popleft()
            self.held_bytes += size_bytes
            turn.callback(None)

    def _leave(self, turn: Deferred[None]) -> None:
        self._line = deque(entry for entry in self._line if entry[1] is not turn)
        self._serve()
