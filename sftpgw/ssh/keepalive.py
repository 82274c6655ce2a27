"""Whether a client that has logged in is still there, and still wants something.

Knows: silence, idleness and the age of keys, and how long each may be.
Must not know: packets or channels; the connection says what has happened, and does
what has to be done.

Rules:

- A client that has been silent for `keepalive_interval` is asked whether it is there, again
  after each further interval, and given up after `keepalive_count` questions. Any byte, and
  any room that it makes in a full TCP buffer, is an answer. So a connection whose peer has
  vanished ends, whether or not there was something to send.
- A client for which nothing is under way, and on whose channels no data has moved either way
  for `idle_timeout`, is said goodbye to. Keepalives are not data. What waits for the store is
  under way; what waits for the client to read is not.
- Keys that are too old are renewed, used or not.
- Nothing is done for a packet: one timer looks, every `LOOK_SECONDS` or earlier if there
  may be something to do, and compares. Idleness is noticed so much late.
"""

from __future__ import annotations

from typing import Protocol

from sftpgw.model.clock import Clock, DelayedCall
from sftpgw.model.settings import SshSettings

LOOK_SECONDS = 60.0
_SOONEST_SECONDS = 0.1


class MonitoredClient(Protocol):
    """A connection, as the vigil sees it."""

    @property
    def heard_at_seconds(self) -> float:
        """When the client has last given a sign of life."""

    @property
    def moved_bytes(self) -> int:
        """Channel data so far, both ways."""

    @property
    def is_busy(self) -> bool:
        """Whether something that the client has asked for is under way."""

    def send_keepalive_probe(self) -> None: ...

    def renew_old_keys(self) -> float:
        """Begin a key exchange if that is due; when to look again, at the latest."""

    def give_up(self, text: str) -> None:
        """End the connection."""


class ClientAliveMonitor:
    """Watches one connection from login to its end."""

    def __init__(self, connection: MonitoredClient, settings: SshSettings, clock: Clock) -> None:
        self._connection = connection
        self._interval_seconds = settings.keepalive_interval_seconds
        self._most_questions = settings.keepalive_count
        self._idle_timeout_seconds = settings.idle_timeout_seconds
        self._clock = clock
        self._questions = 0
        self._asked_at_seconds = float("-inf")
        self._heard_when_asked_seconds = float("-inf")
        self._moved_bytes = connection.moved_bytes
        self._active_at_seconds = clock.seconds()
        self._call: DelayedCall | None = None
        self._look()

    def stop(self) -> None:
        """The connection has ended."""
        if self._call is not None and self._call.active():
            self._call.cancel()

    def _look(self) -> None:
        now_seconds = self._clock.seconds()
        self._note_what_happened(now_seconds)
        idle_at_seconds = self._idle_at_seconds()
        if now_seconds >= idle_at_seconds:
            self._connection.give_up("nothing was asked for in a long time")
            return
        if now_seconds >= self._next_question_seconds():
            if self._questions >= self._most_questions:
                self._connection.give_up("keepalives were not answered")
                return
            self._ask(now_seconds)
        again_seconds = min(
            now_seconds + LOOK_SECONDS,
            idle_at_seconds,
            self._next_question_seconds(),
            self._connection.renew_old_keys(),
        )
        delay_seconds = max(again_seconds - now_seconds, _SOONEST_SECONDS)
        self._call = self._clock.callLater(delay_seconds, self._look)

    def _note_what_happened(self, now_seconds: float) -> None:
        # Not "later than asked": the clock may have been set back in between.
        if self._connection.heard_at_seconds != self._heard_when_asked_seconds:
            self._questions = 0
        moved_bytes = self._connection.moved_bytes
        if moved_bytes != self._moved_bytes or self._connection.is_busy:
            self._moved_bytes = moved_bytes
            self._active_at_seconds = now_seconds

    def _idle_at_seconds(self) -> float:
        if not self._idle_timeout_seconds:
            return float("inf")
        return self._active_at_seconds + self._idle_timeout_seconds

    def _next_question_seconds(self) -> float:
        """When the silence will have lasted long enough for a question, or another one."""
        if not self._interval_seconds:
            return float("inf")
        silent_since_seconds = max(self._connection.heard_at_seconds, self._asked_at_seconds)
        return silent_since_seconds + self._interval_seconds

    def _ask(self, now_seconds: float) -> None:
        self._questions += 1
        self._asked_at_seconds = now_seconds
        self._heard_when_asked_seconds = self._connection.heard_at_seconds
        self._connection.send_keepalive_probe()
