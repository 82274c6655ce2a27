"""Penalties for addresses whose clients do not log in, after OpenSSH's PerSourcePenalties.

Knows: what an offence costs, how penalties add up, and when they are over.
Must not know: connections, or which address a penalty belongs to.

Rules (sshd_config(5), PerSourcePenalties):

- A connection that ends without a login adds the seconds of its worst offence. A login that
  succeeds adds nothing, and takes nothing back: others behind the same NAT may be guessing, and an
  attacker with one account could otherwise clear the way for guesses at the next.
- Seconds pass by themselves. Below `min_seconds` nothing is enforced; one mistyped password locks
  no user out. Once they reach it, new connections are refused until all of the seconds have passed.
- They grow up to `max_seconds`, by connections that were open before: new ones are not accepted.
- Connections that are open stay open.

Not taken over: the penalty for a crash. sshd has it since a crash may be an attempt at the memory
of the process; an exception in Python is not.
"""

from __future__ import annotations

import enum

from sftpgw.model.settings import PenaltySettings


class Offence(enum.Enum):
    """What a connection without a login is penalised for; the last one outweighs the others."""

    NO_ATTEMPT = "noauth"
    FAILED_ATTEMPT = "authfail"
    GRACE_EXCEEDED = "grace-exceeded"


def seconds_for(offence: Offence, settings: PenaltySettings) -> float:
    """What an offence costs.

    :param offence: what the connection has done.
    :param settings: ``[ssh] penalties``.
    """
    return {
        Offence.NO_ATTEMPT: settings.no_attempt_seconds,
        Offence.FAILED_ATTEMPT: settings.failed_attempt_seconds,
        Offence.GRACE_EXCEEDED: settings.grace_exceeded_seconds,
    }[offence]


class Penalty:
    """The penalty of one address.

    :param now_seconds: the time at which counting begins.
    """

    __slots__ = ("_counted_at_seconds", "_is_enforced", "_left_seconds")

    def __init__(self, now_seconds: float) -> None:
        self._left_seconds = 0.0
        self._counted_at_seconds = now_seconds
        self._is_enforced = False

    def add(self, offence: Offence, settings: PenaltySettings, now_seconds: float) -> None:
        """Add the seconds of an offence.

        :param offence: what a connection of the address has done.
        :param settings: ``[ssh] penalties``.
        :param now_seconds: the time.
        """
        added_seconds = self.left_seconds(now_seconds) + seconds_for(offence, settings)
        self._left_seconds = min(added_seconds, settings.max_seconds)
        self._is_enforced |= self._left_seconds >= settings.min_seconds

    def left_seconds(self, now_seconds: float) -> float:
        """How many seconds have not passed yet. While a clock is set back, none pass.

        :param now_seconds: the time.
        """
        passed_seconds = max(0.0, now_seconds - self._counted_at_seconds)
        self._counted_at_seconds = now_seconds
        self._left_seconds = max(0.0, self._left_seconds - passed_seconds)
        self._is_enforced &= self._left_seconds > 0
        return self._left_seconds

    def is_enforced(self, now_seconds: float) -> bool:
        """Whether new connections of the address are refused.

        :param now_seconds: the time.
        """
        self.left_seconds(now_seconds)
        return self._is_enforced
