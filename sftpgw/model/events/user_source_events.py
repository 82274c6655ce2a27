"""Events of the sources of users that are not files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sftpgw.model.events import Event, EventLevel


@dataclass(frozen=True, kw_only=True)
class UserSourceAway(Event):
    """A source of users did not answer a login.

    :param source: which source, as ``[auth] sources`` names it.
    :param reason: why it does not answer.
    :param stale: whether an earlier answer was used in its place.
    """

    event_name: ClassVar[str] = "user-source-away"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "Users of this source cannot log in once their last answer is older than ``http_stale`` or "
        "Users of this source cannot log in once their last answer is older than ``http_stale``, "
        "``ldap_stale`` or ``dynamodb_stale``. See whether the service or server runs, and whether "
        "the gateway reaches it; for a table also its name, region and IAM policy. "
        "``sftpgw check`` tries LDAP servers."
    )

    source: str
    reason: str
    stale: bool


@dataclass(frozen=True, kw_only=True)
class UserSourceAnswerBad(Event):
    """A source of users has answered with something that is no user. The login is refused.

    :param source: which source, as ``[auth] sources`` names it.
    :param user: the user who was asked for.
    :param reason: what is wrong with the answer.
    """

    event_name: ClassVar[str] = "user-source-answer-bad"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "The service, server or table that knows the users has what the gateway cannot use. The "
        "reason says what is wrong; :doc:`users` says what it has to be."
    )

    source: str
    user: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class UserSessionsEnded(Event):
    """Sessions were ended whose user a source has changed or removed (``[auth] on_change``).

    :param source: which source, as ``[auth] sources`` names it.
    :param user: the user; empty for users whose names belong to users of files by now.
    :param gone: whether the source does not know the user any more.
    :param disconnected: how many connections were ended.
    """

    event_name: ClassVar[str] = "user-sessions-ended"

    source: str
    user: str
    gone: bool
    disconnected: int
