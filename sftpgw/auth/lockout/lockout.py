"""Counts failed logins, and says which attempts wait or are refused for them.

Knows: the subjects that an attempt belongs to, and the networks that are never banned.
Must not know: connections, or how failures add up (`plan`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from sftpgw.aio.fair_order import Path
from sftpgw.aio.user_slots import UserSlots
from sftpgw.auth.lockout.lockout_state import LockoutState, ProcessLockoutState
from sftpgw.auth.lockout.plan import (
    GuessFailure,
    Standing,
    Subject,
    after_failure,
    after_login,
    delay_seconds,
    failures_in_window,
    is_banned,
    is_known,
    points_of,
    with_delay_up_to,
    without_failures,
)
from sftpgw.model.addresses import Network, address_of, source_of
from sftpgw.model.messages import readable
from sftpgw.model.normalization import normalized_bytes
from sftpgw.model.settings import LockoutSettings, SshSettings

MAX_NAME_BYTES = 128
"""How much of a name tells it from others; names that differ only behind that count as one."""


MAX_WAITING_CODES = 1000
"""How many codes of one user may wait."""


LONGEST_DELAY_SHARE = 0.25
"""How much of ``login_grace`` one attempt may wait for failures before it. More would keep out a
user whose password others guess."""

MAX_LISTED_BANS = 1000
"""How many bans are listed at once."""


class TooManyCodes(Exception):
    """So many codes of the user wait that a further one may not."""


@dataclass(frozen=True, slots=True)
class Ban:
    """A ban that is in force.

    :ivar address: the address or /64.
    :ivar user: whom it concerns there; empty for all users.
    :ivar since_seconds: when it began, in seconds since 1970.
    :ivar until_seconds: when it ends.
    :ivar score: the points that have led to it.
    :ivar reason: the failure that has led to it.
    :ivar count: which ban of this address, or of this user there, it is.
    """

    address: str
    user: str
    since_seconds: float
    until_seconds: float
    score: int
    reason: str
    count: int

    @classmethod
    def of(cls, subject: Subject, standing: Standing) -> Ban:
        """The ban of a subject that is banned.

        :param subject: the subject.
        :param standing: what is known of it.
        """
        return cls(
            subject.address,
            subject.user,
            standing.banned_at_seconds,
            standing.banned_until_seconds,
            standing.ban_score,
            standing.reason,
            standing.bans,
        )


class Lockout:
    """Judges attempts by the failures before them.

    :param settings: ``[lockout]``.
    :param seconds: returns the time, in seconds since 1970.
    :param state: remembers failures, logins and bans; by default in this process.
    :param exempt_networks: networks that are never banned, beside those of the settings.
    :ivar code_turns: one for each user: codes of a user wait one after the other.
    """

    def __init__(
        self,
        settings: LockoutSettings,
        seconds: Callable[[], float],
        state: LockoutState | None = None,
        exempt_networks: tuple[Network, ...] = (),
    ) -> None:
        self._settings = settings
        self._seconds = seconds
        self._state = ProcessLockoutState() if state is None else state
        self._allowed = (*exempt_networks, *settings.allow_networks)
        self.code_turns = UserSlots(1, MAX_WAITING_CODES, TooManyCodes)

    @classmethod
    def of(
        cls, ssh: SshSettings, settings: LockoutSettings, seconds: Callable[[], float]
    ) -> Lockout:
        """The lockout of a gateway with these settings.

        :param ssh: ``[ssh]``: its exempt networks, and how long a login may take.
        :param settings: ``[lockout]``.
        :param seconds: returns the time, in seconds since 1970.
        """
        longest_seconds = ssh.login_grace_seconds * LONGEST_DELAY_SHARE
        rules = with_delay_up_to(longest_seconds, settings)
        return cls(rules, seconds, exempt_networks=ssh.exempt_networks)

    def code_path(self, name: bytes, host: str | None) -> Path | None:
        """For whom a code waits in `code_turns`; None where the address is known for the user.

        :param name: the user's name.
        :param host: the client's address as text; None if it has none.
        """
        pair = _pair(name, host)
        standing, now = self._state.get(pair), self._seconds()
        if not self._settings.enabled or is_known(standing, self._settings, now):
            return None
        return pair.user, pair.address

    def bars_address(self, host: str | None) -> bool:
        """Whether a connection is refused before anything is read from it.

        A ban of an address from which a user has logged in lately is left to `bars_user`.

        :param host: the client's address as text; None if it has none.
        """
        if not self._may_ban(host):
            return False
        standing, now = self._state.get(Subject(source_of(host))), self._seconds()
        return is_banned(standing, now) and not is_known(standing, self._settings, now)

    def bars_user(self, name: bytes, host: str | None) -> bool:
        """Whether a user's password or code is not looked at.

        :param name: the user's name, as the client gives it, in its normal form.
        :param host: the client's address as text; None if it has none.
        """
        if not self._may_ban(host):
            return False
        at_address, now = self._state.get(_pair(name, host)), self._seconds()
        if is_known(at_address, self._settings, now):
            return False
        address = self._state.get(Subject(source_of(host)))
        return is_banned(at_address, now) or is_banned(address, now)

    def delay_seconds(self, name: bytes, host: str | None) -> float:
        """How long a user's password or code waits before it is judged.

        :param name: the user's name.
        :param host: the client's address as text; None if it has none.
        """
        if not self._settings.enabled:
            return 0.0
        state, now = self._state, self._seconds()
        at_address = state.get(_pair(name, host))
        standings = [at_address]
        if not is_known(at_address, self._settings, now):
            standings += [state.get(_everywhere(name)), state.get(Subject(source_of(host)))]
        failures = max(failures_in_window(standing, now) for standing in standings)
        return delay_seconds(failures, self._settings)

    def count_failure(self, name: bytes, host: str | None, failure: GuessFailure) -> list[Ban]:
        """Count a failure, and return the bans that begin with it.

        :param name: the user's name.
        :param host: the client's address as text; None if it has none.
        :param failure: what has failed.
        """
        settings, pair = self._settings, _pair(name, host)
        if not settings.enabled:
            return []
        if failure is not GuessFailure.BANNED:  # nothing was judged
            self._add(_everywhere(name), failure, None)
        if not self._may_ban(host):
            self._add(pair, failure, None)
            return []
        before, now = self._state.get(pair), self._seconds()
        user_score = None if is_known(before, settings, now) else settings.user_score
        points = points_of(failure, is_new_name=not failures_in_window(before, now))
        bans = [self._add(Subject(pair.address), failure, settings.address_score, points)]
        if failure is not GuessFailure.BANNED or is_banned(before, now):
            bans.insert(0, self._add(pair, failure, user_score))
        # else others have banned the address
        return [ban for ban in bans if ban is not None]

    def count_login(self, name: bytes, host: str | None) -> None:
        """Remember that a user has logged in.

        :param name: the user's name.
        :param host: the client's address as text; None if it has none.
        """
        if not self._settings.enabled or address_of(host) is None:
            return
        pair, now = _pair(name, host), self._seconds()
        change = partial(after_login, user=pair.user, now_seconds=now)
        self._state.update(pair, partial(change, forgives=True))
        self._state.update(Subject(pair.address), partial(change, forgives=False))

    def bans(self, first: int = 0, most: int = MAX_LISTED_BANS) -> tuple[int, list[Ban]]:
        """How many bans are in force, and some of them, the latest one first.

        :param first: which is the first that is wanted, from 0.
        :param most: how many are wanted at most.
        """
        now = self._seconds()
        found = [entry for entry in self._state.entries() if is_banned(entry[1], now)]
        found.sort(key=lambda entry: (-entry[1].banned_at_seconds, entry[0]))
        return len(found), [Ban.of(*entry) for entry in found[first : first + most]]

    def unban(self, given: str) -> list[Ban]:
        """End the bans of an address or of a user, and forget the failures. Returns the bans.

        :param given: an address, of which the /64 counts if it is of IPv6, or a user's name.
        """
        now, ended = self._seconds(), []
        for subject in list(self._subjects_of(given)):
            standing = self._state.get(subject)
            if is_banned(standing, now):
                ended.append(Ban.of(subject, standing))
            self._state.update(subject, without_failures)
        return ended

    def _subjects_of(self, given: str) -> Iterator[Subject]:
        address = address_of(given.removesuffix("/64") if ":" in given else given)
        source = None if address is None else source_of(str(address))
        name = _shown(normalized_bytes(given.encode("utf-8", "surrogateescape")))
        for subject, _ in self._state.entries():
            if subject.address == source if source is not None else subject.user == name:
                yield subject

    def _add(
        self,
        subject: Subject,
        failure: GuessFailure,
        ban_score: int | None,
        points: int | None = None,
    ) -> Ban | None:
        """Count a failure of one subject. Returns the ban that begins with it, if one does."""
        now = self._seconds()
        change = partial(
            after_failure,
            failure=failure,
            settings=self._settings,
            now_seconds=now,
            points=points_of(failure) if points is None else points,
            ban_score=ban_score,
        )
        before = self._state.get(subject)
        after = self._state.update(subject, change)
        is_new = after.banned_until_seconds != before.banned_until_seconds
        return Ban.of(subject, after) if is_new else None

    def _may_ban(self, host: str | None) -> bool:
        """Whether failures of this address may lead to a ban."""
        address = address_of(host)
        if not self._settings.enabled or address is None:
            return False
        return not any(address in network for network in self._allowed)


def _pair(name: bytes, host: str | None) -> Subject:
    return Subject(source_of(host), _shown(name))


def _everywhere(name: bytes) -> Subject:
    return Subject("", _shown(name))


def _shown(name: bytes) -> str:
    # Sources may ignore case: else each spelling of a name would have guesses of its own. An empty
    # name is no user's, and must not stand for all of them.
    return readable(name[:MAX_NAME_BYTES]).casefold() or '""'
