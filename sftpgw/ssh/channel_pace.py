"""The pace of one channel: how much of a user's bandwidth it may use now.

Knows: that output waits for an allowance, and that a client's window is refilled in turns.
Must not know: rates, or whose turn it is (`aio.rate_limiter`).

A client may always send what its window allows, so bytes of the first window are paid when they
come. What is granted later is paid when it is granted; what the client has not used of it in the
end is paid back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sftpgw.aio.fair_order import Path, Ticket
from sftpgw.aio.rate_limiter import OnTurn, RateLimiter
from sftpgw.ssh.windows import LEAST_WINDOW_BYTES, WINDOW_BYTES


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What all sessions of a user share; None for what is not limited.

    :ivar upload: that of bytes from the client.
    :ivar download: that of bytes to the client.
    :ivar session: the session's label, which takes turns with others.
    :ivar connections: how many connections the user may have at once.
    """

    upload: RateLimiter | None = None
    download: RateLimiter | None = None
    session: str = ""
    connections: int | None = None


NO_LIMITS = SessionLimits()


def largest_window_bytes(limiter: RateLimiter | None) -> int:
    """How far the window of a channel may grow.

    What a client has been granted can come at any time, so it is little where the rate is low.

    :param limiter: the user's upload rate; None without a limit.
    """
    if limiter is None:
        return WINDOW_BYTES
    return max(LEAST_WINDOW_BYTES, min(limiter.bytes_per_second // 2, WINDOW_BYTES))


class OutputPace:
    """Hands out the allowance for the output of one channel.

    :param limiter: the user's download rate.
    :param path: the session, and the channel.
    :param on_allowed: called when there is an allowance again.
    :ivar allowed_bytes: how much may be sent now.
    """

    def __init__(self, limiter: RateLimiter, path: Path, on_allowed: Callable[[], None]) -> None:
        self.allowed_bytes = 0
        self._limiter = limiter
        self._path = path
        self._on_allowed = on_allowed
        self._ticket: Ticket[OnTurn] | None = None
        self._is_asking = False

    def ask(self) -> int:
        """How much may be sent now; if it is nothing, `on_allowed` is called later."""
        if not self.allowed_bytes and self._ticket is None:
            self._is_asking = True
            ticket = self._limiter.wait(self._path, self._on_turn)
            self._is_asking = False
            self._ticket = None if self.allowed_bytes else ticket
        return self.allowed_bytes

    def sent(self, size_bytes: int) -> None:
        """Count bytes that were sent."""
        self.allowed_bytes -= size_bytes

    def end(self) -> None:
        """The channel sends nothing any more."""
        ticket, self._ticket = self._ticket, None
        self._on_allowed = _do_nothing
        if ticket is not None:
            self._limiter.leave(ticket)

    def _on_turn(self) -> int:
        self._ticket = None
        self.allowed_bytes = self._limiter.quantum_bytes
        granted_bytes = self.allowed_bytes
        if not self._is_asking:
            self._on_allowed()
        return granted_bytes


class InputPace:
    """Refills the window of one channel.

    :param limiter: the user's upload rate.
    :param path: the session, and the channel.
    :param grant: lets the client send so many bytes more.
    :param window_bytes: the window that the client has got with the channel.
    """

    def __init__(
        self, limiter: RateLimiter, path: Path, grant: Callable[[int], None], window_bytes: int
    ) -> None:
        self._limiter = limiter
        self._path = path
        self._grant = grant
        self._unpaid_bytes = window_bytes
        self._prepaid_bytes = 0
        self._owed_bytes = 0
        self._ticket: Ticket[OnTurn] | None = None

    def received(self, size_bytes: int) -> None:
        """Count bytes that have come."""
        unpaid_bytes = min(size_bytes, self._unpaid_bytes)
        self._prepaid_bytes -= size_bytes - unpaid_bytes
        if unpaid_bytes:
            self._unpaid_bytes -= unpaid_bytes
            self._limiter.pay(self._path, unpaid_bytes)

    def refill(self, size_bytes: int) -> None:
        """Grant the client bytes, when it is the channel's turn."""
        is_waiting = self._owed_bytes > 0
        self._owed_bytes += size_bytes
        if not is_waiting:
            ticket = self._limiter.wait(self._path, self._on_turn)
            self._ticket = ticket if self._owed_bytes else None

    def end(self) -> None:
        """The channel takes nothing any more."""
        ticket, self._ticket = self._ticket, None
        self._grant = _grant_nothing
        if ticket is not None:
            self._limiter.leave(ticket)
        prepaid_bytes, self._prepaid_bytes = self._prepaid_bytes, 0
        self._limiter.pay_back(self._path, prepaid_bytes)

    def _on_turn(self) -> int:
        granted_bytes, self._owed_bytes = self._owed_bytes, 0
        self._ticket = None
        self._prepaid_bytes += granted_bytes
        self._grant(granted_bytes)
        return granted_bytes


def _do_nothing() -> None:
    """What follows an allowance of a channel that is gone."""


def _grant_nothing(size_bytes: int) -> None:
    """What follows the turn of a channel that is gone."""
