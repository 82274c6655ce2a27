"""Notices clients that are gone or idle after their login, and keys that are too old.

Knows: silence, idleness and the age of keys, and how long each may last.
Must not know: packets or channels; a `MonitoredClient` reports on them, and acts.

Rules:

- A client that has been silent for `keepalive_interval` gets a keepalive, and another one after
  each further interval (sshd_config(5), ClientAliveInterval). After `keepalive_count` keepalives
  without a response the connection is closed. Any byte counts as a response, and so does any room
  that the client makes in a full TCP buffer. A connection whose peer has vanished therefore ends,
  whether or not there was something to send.
- During a key exchange no keepalive is sent, and none counts as unanswered: the exchange has a time
  limit of its own.
- A client is disconnected when no request of it has been in progress, and no channel data has moved
  in either direction, for `idle_timeout`. Keepalives are not channel data. A request that waits for
  the store is in progress; a reply that waits for the client to read it is not.
- Keys that are too old are renewed, whether or not they were used.
- Packets cost nothing here: one timer compares figures every `CHECK_SECONDS`, or earlier if
  something may be due. Idleness may be noticed that much too late.
"""

from __future__ import annotations

from typing import Protocol

from sftpgw.aio.delayed_call import cancel_pending
from sftpgw.model.clock import Clock, DelayedCall
from sftpgw.model.settings import SshSettings

CHECK_SECONDS = 60.0
_SOONEST_SECONDS = 0.1


class MonitoredClient(Protocol):
    """A connection, as its monitor sees it."""

    @property
    def heard_at_seconds(self) -> float:
        """When the client has last sent or read something."""

    @property
    def moved_bytes(self) -> int:
        """How many bytes of channel data have moved so far, in both directions."""

    @property
    def is_busy(self) -> bool:
        """Whether a request of the client is in progress."""

    def send_keepalive(self) -> bool:
        """Send a keepalive if one may be sent now; returns whether it was sent."""

    def renew_old_keys(self) -> float:
        """Begin a key exchange if the keys are too old; returns when to ask again at the latest."""

    def disconnect(self, text: str) -> None:
        """Disconnect, for a reason given as text."""


class ClientAliveMonitor:
    """Watches one connection from the login to its end.

    :param connection: reports on the client, and acts.
    :param settings: the intervals, of ``[ssh]``.
    :param clock: the reactor, or ``task.Clock`` in tests.
    """

    def __init__(self, connection: MonitoredClient, settings: SshSettings, clock: Clock) -> None:
        self._connection = connection
        self._interval_seconds = settings.keepalive_interval_seconds
        self._most_unanswered = settings.keepalive_count
        self._idle_timeout_seconds = settings.idle_timeout_seconds
        self._clock = clock
        self._unanswered = 0
        self._tried_at_seconds = float("-inf")
        self._heard_when_sent_seconds = float("-inf")
        self._moved_bytes = connection.moved_bytes
        self._active_at_seconds = clock.seconds()
        self._call: DelayedCall | None = None
        self._check()

    def stop(self) -> None:
        """Watch no longer: the connection has ended."""
        cancel_pending(self._call)

    def _check(self) -> None:
        now_seconds = self._clock.seconds()
        self._note_activity(now_seconds)
        idle_at_seconds = self._idle_at_seconds()
        if now_seconds >= idle_at_seconds:
            self._connection.disconnect("the session was idle for too long ([ssh] idle_timeout)")
            return
        if now_seconds >= self._next_keepalive_seconds():
            if self._unanswered >= self._most_unanswered:
                self._connection.disconnect("keepalives were not answered")
                return
            self._send_keepalive(now_seconds)
        again_seconds = min(
            now_seconds + CHECK_SECONDS,
            idle_at_seconds,
            self._next_keepalive_seconds(),
            self._connection.renew_old_keys(),
        )
        delay_seconds = max(again_seconds - now_seconds, _SOONEST_SECONDS)
        self._call = self._clock.callLater(delay_seconds, self._check)

    def _note_activity(self, now_seconds: float) -> None:
        # Compared for equality, not order: the clock may have been set back in between.
        if self._connection.heard_at_seconds != self._heard_when_sent_seconds:
            self._unanswered = 0
        moved_bytes = self._connection.moved_bytes
        if moved_bytes != self._moved_bytes or self._connection.is_busy:
            self._moved_bytes = moved_bytes
            self._active_at_seconds = now_seconds

    def _idle_at_seconds(self) -> float:
        if not self._idle_timeout_seconds:
            return float("inf")
        return self._active_at_seconds + self._idle_timeout_seconds

    def _next_keepalive_seconds(self) -> float:
        """When the next keepalive is due, if the client stays silent."""
        if not self._interval_seconds:
            return float("inf")
        silent_since_seconds = max(self._connection.heard_at_seconds, self._tried_at_seconds)
        return silent_since_seconds + self._interval_seconds

    def _send_keepalive(self, now_seconds: float) -> None:
        self._tried_at_seconds = now_seconds
        heard_at_seconds = self._connection.heard_at_seconds
        if self._connection.send_keepalive():
            self._unanswered += 1
            self._heard_when_sent_seconds = heard_at_seconds
