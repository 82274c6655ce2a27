"""The memory budget, as transfers and listings see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from sftpgw.model.clock import Clock
from sftpgw.model.moving_upload import MovingUpload


class MemoryBudget(Protocol):
    """The bytes that all transfers of the process may hold together.

    Read-ahead takes what is free (`try_acquire`), READs queue (`acquire`), and small needs that
    cannot wait may overdraw a little (`try_charge`). Bytes that are here already are counted in any
    case (`charge`). Uploads have an account of their own (`open_upload`).
    """

    def open_upload(self, upload: MovingUpload) -> UploadMemory:
        """What an upload holds: nothing yet."""

    def try_acquire(self, size_bytes: int) -> bool:
        """Count bytes if there is room. Returns whether they are counted.

        While others wait, only a user below its share may take some before them.
        """

    def try_charge(self, size_bytes: int) -> bool:
        """Count bytes past the queue, and past the limit as far as the overdraft goes.

        Returns whether they are counted.
        """

    def charge(self, size_bytes: int) -> None:
        """Count bytes that are in memory already, past every limit."""

    def acquire(self, size_bytes: int) -> Deferred[None] | None:
        """Count bytes now, and return None, or queue for them.

        The Deferred fires when they are counted. Cancel it to leave the queue.
        """

    def release(self, size_bytes: int) -> None:
        """Give bytes back."""

    @property
    def fair_share_bytes(self) -> int:
        """How many bytes one transfer may hold ahead of need: a fair share once memory is short."""

    def watch(self, on_pressure: Callable[[], None], *, is_transfer: bool = False) -> None:
        """Call `on_pressure` when a transfer has to wait for memory.

        :param on_pressure: releases memory that is not needed.
        :param is_transfer: whether the watcher is a transfer, and counts in their fair shares.
        """

    def unwatch(self, on_pressure: Callable[[], None]) -> None:
        """Do not call `on_pressure` any more."""

    def request_reclaim(self) -> None:
        """Call each watcher, as long as a transfer waits in the queue."""

    def reclaim_until(self, granted: Deferred[None], clock: Clock) -> None:
        """Repeat `request_reclaim` from time to time until `granted` fires.

        :param granted: what the transfer is told by that waits.
        :param clock: the process's clock.
        """

    def is_over_fair_share(self) -> bool:
        """Whether this user holds more than an equal share while others wait."""


class UploadMemory(Protocol):
    """What one upload holds of the budget: bytes that are sent, and bytes that fill a part."""

    @property
    def sent_bytes(self) -> int:
        """How many bytes are on their way to the store."""

    @property
    def filling_bytes(self) -> int:
        """How many bytes it may fill parts with."""

    @property
    def lent_bytes(self) -> int:
        """How many of these are on loan until a part is sent."""

    @property
    def is_in_vain(self) -> bool:
        """Whether it had a loan, and has not moved since."""

    def note_moving(self) -> None:
        """It moves: another loan would not be in vain."""

    def send(self, sent_bytes: int) -> None:
        """So many bytes are on their way to the store now.

        :param sent_bytes: more than before, and the others have filled a part; or fewer, and the
            store has confirmed the others.
        """

    def give_back(self, size_bytes: int) -> None:
        """So many filling bytes are not needed any more."""

    def take(self, more_bytes: int, part_bytes: int, *, cannot_wait: bool) -> bool:
        """Count more filling bytes. Returns whether there was room.

        :param more_bytes: how many.
        :param part_bytes: with how many filling bytes a part can be sent.
        :param cannot_wait: whether to pass the queue, and to use the overdraft.
        """

    def make_room(self, more_bytes: int) -> None:
        """Let slow uploads give way until so many bytes fit, if it is they who hold the memory."""

    def ask(self, more_bytes: int, part_bytes: int, on_granted: Callable[[], None]) -> None:
        """Wait for more filling bytes.

        :param more_bytes: how many.
        :param part_bytes: with how many filling bytes a part can be sent.
        :param on_granted: called when these bytes are counted, or all that the part needs.
        """

    def update(self, more_bytes: int, part_bytes: int) -> None:
        """While it waits: it needs this now, as for `ask`."""

    def leave(self) -> None:
        """Wait no more."""

    def close(self) -> None:
        """Give back everything."""


class WindowBudget(Protocol):
    """The bytes that the receive windows of one user may hold."""

    def try_charge(self, size_bytes: int) -> bool:
        """Count the smallest window of a channel. Returns whether it is counted."""

    def try_acquire(self, size_bytes: int) -> bool:
        """Count growth, if there is room for it. Returns whether it is counted."""

    def release(self, size_bytes: int) -> None:
        """Give bytes back."""

    def watch(self, on_pressure: Callable[[], None]) -> None:
        """Call `on_pressure` when others need what a window has beyond the smallest one.

        :param on_pressure: shrinks the window.
        """

    def unwatch(self, on_pressure: Callable[[], None]) -> None:
        """Do not call `on_pressure` any more."""
