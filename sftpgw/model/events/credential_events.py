"""Events of the credentials that users' sessions have of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sftpgw.model.events import Event, EventLevel


@dataclass(frozen=True, kw_only=True)
class SessionCredentialsIssued(Event):
    """The sessions of a user have new credentials (``scoped_credentials``).

    :param role: the role that was assumed.
    :param session_name: the name of its session, which CloudTrail shows for each request.
    :param access_key: the access key, which CloudTrail shows, too. It is no secret.
    :param valid_seconds: how long they are valid; they are renewed before.
    """

    event_name: ClassVar[str] = "session-credentials-issued"

    role: str
    session_name: str
    access_key: str
    valid_seconds: int


@dataclass(frozen=True, kw_only=True)
class SessionCredentialsFailed(Event):
    """AWS STS has given no credentials for a user's sessions (``scoped_credentials``).

    Their requests fail once they have no valid ones. STS is asked again with a later request.

    :param role: the role that was to be assumed.
    :param code: the error code of STS, or the name of the error.
    :param reason: the words of STS.
    """

    event_name: ClassVar[str] = "session-credentials-failed"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "``AccessDenied``: the trust policy of the ``role`` must allow ``sts:AssumeRole`` to the "
        "gateway's own principal, and ``sts:TagSession`` with ``session_tags``; "
        ":ref:`scoped-credentials` has an example. ``PackedPolicyTooLarge``: give the user fewer "
        "or shorter prefixes, or leave tags out. ``ValidationError``: the role allows no session "
        "of an hour. ``Throttling``, or no answer: STS is slow or not reachable; the gateway goes "
        "on asking."
    )

    role: str
    code: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class OwnCredentialsWithheld(Event):
    """The gateway has refused to sign a request of a session with its own credentials.

    Its own code has asked for more than a session may have.

    :param operation: the operation of the S3 API.
    :param bucket: the bucket.
    :param key: the key.
    """

    event_name: ClassVar[str] = "own-credentials-withheld"
    level: ClassVar[EventLevel] = EventLevel.CRITICAL
    advice: ClassVar[str] = (
        "A fault of sftpgw, or an attack that has found one. Nothing was sent. Report it with the "
        "lines of this session; :doc:`security` says how."
    )

    operation: str
    bucket: str
    key: str
