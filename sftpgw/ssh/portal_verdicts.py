"""What cred's portal says of a login: to each proof, and at last to the user.

Knows: the portal's interfaces, and which exceptions are refusals.
Must not know: messages, or what the user must prove.

A verdict is a value: what is right, or the exception that refuses it. An unexpected exception is
logged, and a refusal, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from twisted.conch.error import ValidPublicKey
from twisted.conch.interfaces import IConchUser
from twisted.cred.error import LoginFailed
from twisted.internet.defer import CancelledError

from sftpgw.auth.realm import IProvenUser, LoginPortal
from sftpgw.model.users import SessionLabels, User
from sftpgw.ssh.conch_logger import quiet_logger


@dataclass(frozen=True, slots=True)
class OpenedLogin:
    """What a user gets who has proven enough.

    :ivar avatar: what the connection may open.
    :ivar logout: must be called when the connection is gone.
    """

    avatar: Any
    logout: Callable[[], None]


class PortalVerdicts:
    """Asks the portal on behalf of one connection.

    :param portal: verifies proofs, and makes avatars.
    :param labels: how the log names the connection.
    """

    _log = quiet_logger("sftpgw.ssh")

    def __init__(self, portal: LoginPortal, labels: SessionLabels) -> None:
        self._portal = portal
        self._labels = labels

    async def on_proof(self, credentials: Any) -> User | Exception:
        """The user who has proven something, or the refusal.

        :param credentials: one of the classes of `auth.login_credentials`.
        """
        outcome = await self._outcome_of(self._portal.login(credentials, self._labels, IProvenUser))
        return outcome if isinstance(outcome, Exception) else outcome[1]

    async def on_user(self, user: User) -> OpenedLogin | Exception:
        """The avatar of a user who has proven enough, or the refusal.

        :param user: the user.
        """
        outcome = await self._outcome_of(
            cast(Any, self._portal.realm).requestAvatar(user, self._labels, IConchUser)
        )
        return outcome if isinstance(outcome, Exception) else OpenedLogin(*outcome[1:])

    async def _outcome_of(self, asked: Awaitable[Any]) -> Any:
        try:
            return await asked
        except (ValidPublicKey, LoginFailed) as refusal:
            return refusal.with_traceback(None)  # which would be a cycle
        except CancelledError:
            raise
        except Exception as problem:
            self._log.failure(
                "session {session}: a login could not be checked", session=self._labels.session
            )
            return problem
