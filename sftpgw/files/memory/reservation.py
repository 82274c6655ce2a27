"""One transfer's place in the memory budget: what it holds, and where it stands in line.

Knows: the budget, and how to ask for more, give back and wait.
Must not know: what the bytes are.

Who stands in line holds nothing but what is on its way to the store, and that will be
given back whatever others do: so the line always moves on. And what comes back goes to
the line, not to whoever gave it back and waits farther behind: so everybody's turn comes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from sftpgw.model.clock import Clock
from sftpgw.model.memory import MemoryBudget

PRESS_SECONDS = 10.0
"""How often who stands in line asks whether somebody has gone idle."""


def request_reclaim_while_waiting(budget: MemoryBudget, clock: Clock, turn: Deferred[None]) -> None:
    """Until `turn` has come, ask from time to time who holds memory in vain."""
    repeated = LoopingCall(budget.request_reclaim)
    repeated.clock = clock  # type: ignore[assignment]
    repeated.start(PRESS_SECONDS, now=False)

    def over(outcome: Any) -> Any:
        if repeated.running:
            repeated.stop()
        return outcome

    turn.addBoth(over)


class Reservation:
    """Holds bytes of the budget for one transfer. `close` it in the end.

    :param granted: called when what was waited for has come.
    :param shed: called when others wait for memory: give back what is held in vain.
    """

    def __init__(
        self,
        budget: MemoryBudget,
        clock: Clock,
        *,
        granted: Callable[[], None],
        on_pressure: Callable[[], None],
    ) -> None:
        self.held_bytes = 0
        self._budget = budget
        self._clock = clock
        self._tell_granted = granted
        self._shed = on_pressure
        self._sent_bytes = 0
        self._asked_bytes = 0
        self._is_closed = False
        self._turn: Deferred[None] | None = None
        budget.watch(on_pressure)

    @property
    def is_waiting(self) -> bool:
        """It stands in line."""
        return self._turn is not None

    @property
    def is_over_fair_share(self) -> bool:
        """Others wait while its user holds more of the budget than they could."""
        return self._budget.is_over_fair_share()

    def settle(self, sent_bytes: int, filling_bytes: int) -> int:
        """Hold what is needed now, as far as that is less. Returns what is missing.

        :param sent_bytes: what is on its way to the store.
        :param filling_bytes: what else is needed; this is what the line is for.
        """
        stored_bytes, self._sent_bytes = self._sent_bytes - sent_bytes, sent_bytes
        needed_bytes = sent_bytes + filling_bytes
        if self.is_waiting:
            self._give_back(min(self.held_bytes, max(0, stored_bytes)))
            if needed_bytes >= self.held_bytes + self._asked_bytes:
                return 0
            self._leave_line()
        self._give_back(max(0, self.held_bytes - needed_bytes))
        return 0 if self._is_closed else needed_bytes - self.held_bytes

    def take(self, more_bytes: int) -> bool:
        """Past the line, as far as the overdraft goes."""
        if not self._budget.try_charge(more_bytes):
            return False
        self.held_bytes += more_bytes
        return True

    def ask(self, more_bytes: int) -> None:
        """Now, if nobody waits and there is room, else in line."""
        if self._budget.try_acquire(more_bytes):
            self.held_bytes += more_bytes
            return
        idle_bytes = max(0, self.held_bytes - self._sent_bytes)
        self._give_back(idle_bytes)
        if self._is_closed:
            return
        turn = self._budget.acquire(more_bytes + idle_bytes)
        if turn is None:
            self.held_bytes += more_bytes + idle_bytes
            return
        self._turn = turn
        self._asked_bytes = more_bytes + idle_bytes
        request_reclaim_while_waiting(self._budget, self._clock, turn)
        turn.addCallbacks(self._granted, lambda _: None)
        if self._is_closed:  # who begins to wait makes others give way, and perhaps itself
            self.close()

    def close(self) -> None:
        """Give back everything."""
        self._is_closed = True
        self._leave_line()
        self._budget.unwatch(self._shed)
        self._give_back(self.held_bytes)

    def _give_back(self, size_bytes: int) -> None:
        if size_bytes:
            self.held_bytes -= size_bytes
            self._budget.release(size_bytes)

    def _granted(self, _: None) -> None:
        self.held_bytes += self._asked_bytes
        self._stop_waiting()
        self._tell_granted()

    def _leave_line(self) -> None:
        turn = self._turn
        if turn is not None:
            self._stop_waiting()
            turn.cancel()

    def _stop_waiting(self) -> None:
        self._turn = None
        self._asked_bytes = 0
