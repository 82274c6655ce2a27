"""The memory budget, as its users see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

# Memory.


class MemoryBudget(Protocol):
    """The bytes that all transfers of the process may hold together.

    Read-ahead takes what is free (`try_acquire`), uploads stand in line for whole
    parts (`acquire`), and what cannot wait may overdraw a little (`try_charge`). What is
    here already, whoever is to blame, is counted (`charge`).
    """

    def try_acquire(self, size_bytes: int) -> bool:
        """Count bytes if there is room and nobody waits in line."""

    def try_charge(self, size_bytes: int) -> bool:
        """Count bytes past the line, and past the limit as far as the overdraft goes."""

    def charge(self, size_bytes: int) -> None:
        """Count bytes that are here already, past every limit."""

    def acquire(self, size_bytes: int) -> Deferred[None] | None:
        """Count bytes now (None) or once it is our turn; cancel to leave the line."""

    def release(self, size_bytes: int) -> None:
        """Give bytes back."""

    @property
    def fair_share_bytes(self) -> int:
        """What one transfer may hold for nobody yet: a fair share, once memory is short."""

    def watch(self, on_pressure: Callable[[], None], *, is_transfer: bool = True) -> None:
        """Call `on_pressure` when somebody has to wait: give back what you hold in vain.

        :param is_transfer: whether it takes part in the sharing of what is spare.
        """

    def unwatch(self, on_pressure: Callable[[], None]) -> None:
        """Do not call it any more."""

    def request_reclaim(self) -> None:
        """Ask all who watch to shed, if somebody stands in line."""

    def is_over_fair_share(self) -> bool:
        """Whether others wait while this user holds more than they could."""
