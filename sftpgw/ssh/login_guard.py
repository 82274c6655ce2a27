"""Delays and refuses guesses of one connection, and reports its failures, as the lockout says.

Knows: which proofs can be guessed, and what is no failure of the client.
Must not know: messages, or how failures add up.

Rules

1. Passwords and one-time codes can be guessed, keys cannot: they pass, and count nothing.
2. A guess waits before it is judged, not after: a client that gives up early has learnt nothing.
3. One-time codes of a user wait one after the other, addresses in turns, but where the address is
   known for the user: a code can be guessed by those who have many addresses (RFC 4226, section
   7.3). Others than who knows the user's first proof cannot get in the way here.
4. A proof that is right but of no use counts like a wrong one: the client must not learn the
   difference. What a client could not help does not count: a source of users that is away, a
   defect of ours, an account that a reload has changed meanwhile.
5. A client that is banned is told nothing. Its connection is closed.
"""

from __future__ import annotations

from typing import Any

from twisted.cred.error import LoginFailed
from twisted.internet.task import deferLater

from sftpgw.auth.checkers import UndecidedProof, UnknownName
from sftpgw.auth.lockout.lockout import Lockout, TooManyCodes
from sftpgw.auth.lockout.plan import GuessFailure
from sftpgw.auth.login_credentials import CodeCredentials, PasswordCredentials
from sftpgw.model.addresses import source_of
from sftpgw.model.events.session_events import Banned
from sftpgw.ssh.fields import printable
from sftpgw.ssh.penalties import Offence

BANNED = "banned ([lockout])"
"""Why a connection of a banned client ends, for the log."""

TOO_MANY_CODES = "too many one-time codes of the user wait"


def failure_of(credentials: Any, outcome: Any) -> GuessFailure | None:
    """What has failed, of a proof that does not help; None if it does not count.

    :param credentials: what the client has sent; None if we could not read it.
    :param outcome: the exception that refuses it.
    """
    if isinstance(outcome, UndecidedProof) or not isinstance(outcome, LoginFailed):
        return None
    if isinstance(credentials, CodeCredentials):
        return GuessFailure.WRONG_CODE
    if not isinstance(credentials, PasswordCredentials):
        return None
    is_unknown = isinstance(outcome, UnknownName)
    return GuessFailure.UNKNOWN_NAME if is_unknown else GuessFailure.WRONG_PASSWORD


class LoginGuard:
    """What stands between one connection and the lockout.

    :param transport: the connection.
    :param lockout: judges attempts by the failures before them.
    """

    def __init__(self, transport: Any, lockout: Lockout) -> None:
        self._transport = transport
        self._lockout = lockout

    async def lets_try(self, name: bytes, credentials: Any) -> bool:
        """Wait until a proof may be judged; False if it may not be, and the connection has ended.

        :param name: the user's name in its normal form.
        :param credentials: what the client has sent.
        """
        if not isinstance(credentials, PasswordCredentials | CodeCredentials):
            return True
        if self._bars(name):
            return False
        lockout, host = self._lockout, self._transport.peer_host
        is_code = isinstance(credentials, CodeCredentials)
        path = lockout.code_path(name, host) if is_code else None
        if path is None:
            await self._wait(name)
        else:
            try:
                async with lockout.code_turns.slot((*path, self._transport.session)):
                    await self._wait(name)
            except TooManyCodes:
                self._transport.hang_up(TOO_MANY_CODES)
        return not self._transport.has_ended and not self._bars(name)

    async def _wait(self, name: bytes) -> None:
        transport = self._transport
        delay_seconds = self._lockout.delay_seconds(name, transport.peer_host)
        if delay_seconds:
            await deferLater(transport.context.clock, delay_seconds)

    def _bars(self, name: bytes) -> bool:
        host = self._transport.peer_host
        if not self._lockout.bars_user(name, host):
            return False
        self._transport.client.ticket.blame(Offence.FAILED_ATTEMPT)
        self._count(name, GuessFailure.BANNED)
        self._transport.hang_up(BANNED)
        return True

    def on_failure(self, name: bytes, credentials: Any, outcome: Any) -> None:
        """Count a proof that does not help. The connection has ended if the client is banned now.

        :param name: the user's name.
        :param credentials: what the client has sent.
        :param outcome: the exception that refuses it.
        """
        failure = failure_of(credentials, outcome)
        if failure is not None and self._count(name, failure):
            self._transport.hang_up(BANNED)

    def on_login(self, name: bytes) -> None:
        """Remember that the user has logged in.

        :param name: the user's name.
        """
        self._lockout.count_login(name, self._transport.peer_host)

    def _count(self, name: bytes, failure: GuessFailure) -> bool:
        """Count a failure, and tell the bans that it leads to; whether there are any."""
        host = self._transport.peer_host
        bans = self._lockout.count_failure(name, host, failure)
        for ban in bans:
            self._transport.events.emit(
                Banned(
                    address=source_of(host),
                    user=printable(name) if ban.user else None,
                    score=ban.score,
                    seconds=round(ban.until_seconds - ban.since_seconds, 3),
                    count=ban.count,
                    reason=ban.reason,
                )
            )
        return bool(bans)
