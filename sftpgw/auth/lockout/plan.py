"""How failed logins add up, when an attempt is delayed, and who is banned for how long.

Knows: points, windows and times.
Must not know: connections, or where standings are kept.

Rules

1. A failure counts for three subjects: the address (an IPv6 /64 counts as one), the user over all
   addresses, and the user at this address. An attempt in spite of a ban, which was not judged,
   counts for the address, and for the user there only if that is banned, too.
2. Failures and points add up in a window, which begins with the first failure. The window is over
   after ``window_seconds``.
3. A wrong password costs one point, a wrong code two. A name that no user has costs the address
   three the first time, and then one like a wrong password: guessed names are many. Keys cost
   nothing: agents offer all that they have, and keys cannot be guessed.
4. The delay depends on how many failures there were, not on their points, and the points of a user
   at an address are the same for a name that exists and another one. So neither tells whether it
   does. The delay doubles with each failure.
5. An address, and a user at an address, are banned once they have so many points. Each further ban
   is twice as long as the one before. A subject without a ban for as long as the longest ban starts
   over.
6. The failures of a user over all addresses only delay. So an attacker does not lock out a partner.
7. An address is known for a user if the user has logged in from it lately. The user is not banned
   there, and is delayed for failures at this address only. A ban of an address that is known for
   some user does not concern such users: they share it with an attacker, behind one NAT.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import NamedTuple

from sftpgw.model.settings import LockoutSettings

MAX_DOUBLINGS = 40
"""After so many, every time is at its bound."""


class GuessFailure(enum.Enum):
    """What has failed; the values are for the log."""

    WRONG_PASSWORD = "wrong password"
    WRONG_CODE = "wrong code"
    UNKNOWN_NAME = "unknown name"
    BANNED = "attempt in spite of a ban"


_CODE_POINTS, _NEW_NAME_POINTS = 2, 3
MOST_POINTS = 3
"""What a failure costs at most."""


def points_of(failure: GuessFailure, *, is_new_name: bool = False) -> int:
    """What a failure costs.

    :param failure: what has failed.
    :param is_new_name: whether the name is tried for the first time, and it is about an address.
    """
    if failure is GuessFailure.UNKNOWN_NAME and is_new_name:
        return _NEW_NAME_POINTS
    return _CODE_POINTS if failure is GuessFailure.WRONG_CODE else 1


class Subject(NamedTuple):
    """What failures are counted for.

    :ivar address: an IPv4 address or an IPv6 /64; empty for all addresses.
    :ivar user: a user's name; empty for all users.
    """

    address: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a subject. The values do not change; the functions return the next one.

    :ivar window_ends_seconds: when `failures` and `score` count no more.
    :ivar failures: how many failures there were in the window.
    :ivar score: their points.
    :ivar bans: how many bans there were, the present one among them.
    :ivar banned_at_seconds: when the last ban began.
    :ivar banned_until_seconds: when it ends.
    :ivar ban_score: the points that have led to it.
    :ivar reason: the failure that has led to it.
    :ivar last_login_seconds: when a user has logged in; None for never.
    :ivar last_user: who that was.
    """

    window_ends_seconds: float = 0.0
    failures: int = 0
    score: int = 0
    bans: int = 0
    banned_at_seconds: float = 0.0
    banned_until_seconds: float = 0.0
    ban_score: int = 0
    reason: str = ""
    last_login_seconds: float | None = None
    last_user: str = ""


EMPTY = Standing()
"""What is known of a subject of which nothing is known."""


def is_banned(standing: Standing, now_seconds: float) -> bool:
    """Whether a ban is in force.

    :param standing: what is known of the subject.
    :param now_seconds: the time.
    """
    return now_seconds < standing.banned_until_seconds


def is_known(standing: Standing, settings: LockoutSettings, now_seconds: float) -> bool:
    """Whether a user has logged in there lately.

    :param standing: what is known of an address, or of a user at an address.
    :param settings: ``[lockout]``.
    :param now_seconds: the time.
    """
    last_seconds = standing.last_login_seconds
    return last_seconds is not None and now_seconds < last_seconds + settings.known_seconds


def failures_in_window(standing: Standing, now_seconds: float) -> int:
    """How many failures still count.

    :param standing: what is known of the subject.
    :param now_seconds: the time.
    """
    return standing.failures if now_seconds < standing.window_ends_seconds else 0


def after_failure(
    standing: Standing,
    failure: GuessFailure,
    settings: LockoutSettings,
    now_seconds: float,
    *,
    points: int,
    ban_score: int | None,
) -> Standing:
    """What is known after a failure.

    :param standing: what was known.
    :param failure: what has failed.
    :param settings: ``[lockout]``.
    :param now_seconds: the time.
    :param points: what it costs.
    :param ban_score: how many points lead to a ban; None if none does.
    """
    if now_seconds >= standing.window_ends_seconds:
        ends_seconds = now_seconds + settings.window_seconds
        standing = replace(standing, window_ends_seconds=ends_seconds, failures=0, score=0)
    score = standing.score + points
    standing = replace(standing, failures=standing.failures + 1, score=score)
    if ban_score is None or score < ban_score or is_banned(standing, now_seconds):
        return standing
    return _banned(standing, failure, settings, now_seconds)


def _banned(
    standing: Standing, failure: GuessFailure, settings: LockoutSettings, now_seconds: float
) -> Standing:
    """What is known when a ban begins. Points are counted anew from here on."""
    is_over = now_seconds >= standing.banned_until_seconds + settings.max_ban_seconds
    bans = 1 if is_over else standing.bans + 1
    return replace(
        standing,
        bans=bans,
        banned_at_seconds=now_seconds,
        banned_until_seconds=now_seconds + ban_seconds(bans, settings),
        ban_score=standing.score,
        reason=failure.value,
        score=0,
    )


def after_login(standing: Standing, user: str, now_seconds: float, *, forgives: bool) -> Standing:
    """What is known of an address, or of a user at an address, after a login.

    :param standing: what was known.
    :param user: who has logged in.
    :param now_seconds: the time.
    :param forgives: whether the failures so far count no more: those of the user there. Those of
        the address go on to count, since others behind it may be guessing.
    """
    if forgives:
        standing = replace(standing, window_ends_seconds=0.0, failures=0, score=0)
    return replace(standing, last_login_seconds=now_seconds, last_user=user)


def without_failures(standing: Standing) -> Standing:
    """The same without failures, points and bans; logins are remembered.

    :param standing: what was known.
    """
    return Standing(last_login_seconds=standing.last_login_seconds, last_user=standing.last_user)


def ban_seconds(bans: int, settings: LockoutSettings) -> float:
    """How long a ban lasts.

    :param bans: which ban it is; 1 for the first.
    :param settings: ``[lockout]``.
    """
    doublings = min(bans - 1, MAX_DOUBLINGS)
    return float(min(settings.ban_seconds * 2**doublings, settings.max_ban_seconds))


def delay_seconds(failures: int, settings: LockoutSettings) -> float:
    """How long an attempt waits before it is judged.

    :param failures: how many failures there were in the window.
    :param settings: ``[lockout]``.
    """
    if failures < settings.delay_after:
        return 0.0
    doublings = min(failures - settings.delay_after, MAX_DOUBLINGS)
    return float(min(2**doublings, settings.max_delay_seconds))


def with_delay_up_to(longest_seconds: float, settings: LockoutSettings) -> LockoutSettings:
    """The same settings with a longest delay that leaves time for the login.

    :param longest_seconds: how long an attempt may wait at most.
    :param settings: ``[lockout]``.
    """
    seconds = min(settings.max_delay_seconds, longest_seconds)
    return replace(settings, max_delay_seconds=seconds)
