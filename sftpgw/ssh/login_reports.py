"""What the log is told of each attempt to log in.

Knows: the events of logins, and what tells a user's attempt from another's.
Must not know: messages, or how a key or password is checked.
"""

from __future__ import annotations

from typing import Any

from sftpgw.auth.checkers import RefusedProof, UnfitKey
from sftpgw.auth.login_credentials import KeyCredentials
from sftpgw.auth.offered_keys import key_facts
from sftpgw.model.events import Event
from sftpgw.model.events.session_events import (
    KeyNotAuthorised,
    LegacyLogin,
    LoginContinues,
    LoginFacts,
    LoginFailedEvent,
    LoginKeyUnfit,
    LoginRefused,
    LoginSucceeded,
)
from sftpgw.model.users import LoginMethod
from sftpgw.ssh.fields import printable
from sftpgw.ssh.login_progress import LoginProgress
from sftpgw.ssh.login_requests import LoginRequest, UnfitSignature


def tell_success(transport: Any, progress: LoginProgress) -> None:
    """Log a login, and which of its algorithms only the policy ``legacy`` has.

    :param transport: the connection.
    :param progress: what the user has proven.
    """
    key = _key_of(progress)
    algorithm = key.signature_algorithm if key is not None else b""
    policy = transport.client_lists.strictest_policy(transport.context.host_keys, algorithm)
    facts = _facts_of_all(progress)
    transport.events.emit(
        LoginSucceeded(**facts, policy=policy and policy.value, proofs=_proofs_of(progress))
    )
    legacy = transport.legacy_algorithms(algorithm)
    if legacy:
        client = printable(transport.otherVersionString)
        transport.events.emit(
            LegacyLogin(user=facts["user"], client=client, algorithms=" ".join(legacy))
        )


def tell_step(
    transport: Any, request: LoginRequest, credentials: Any, needs: tuple[LoginMethod, ...]
) -> None:
    """Log a step of a login that needs more.

    :param transport: the connection.
    :param request: what the client has asked for.
    :param credentials: what it has sent.
    :param needs: the proofs of which one must be next.
    """
    names = " ".join(method.value for method in needs)
    transport.events.emit(LoginContinues(**_facts(request, credentials), needs=names))


def too_many_setting(most: int | None, general: int) -> str:
    """The setting that bounds the connections of a user.

    :param most: how many this user may have; None if users.ini does not say it.
    :param general: ``connections_per_user``.
    """
    return (
        "users.ini max_sessions"
        if most is not None and most < general
        else ("[ssh] connections_per_user")
    )


def tell_too_many(transport: Any, progress: LoginProgress, setting: str) -> None:
    """Log a login that is refused since the user has too many connections.

    :param transport: the connection.
    :param progress: what the user has proven.
    :param setting: what says how many connections the user may have.
    """
    reason = f"too many connections ({setting})"
    transport.events.emit(LoginRefused(**_facts_of_all(progress), reason=reason))


def tell_failure(transport: Any, request: LoginRequest, credentials: Any, outcome: Any) -> None:
    """Log a failed attempt.

    :param transport: the connection.
    :param request: what the client has asked for.
    :param credentials: what it has sent; None if we could not read it.
    :param outcome: why it is refused, as the portal has said it.
    """
    facts, client = _facts(request, credentials), transport.otherVersionString
    if isinstance(outcome, (UnfitKey, UnfitSignature)):
        lets_in = getattr(outcome, "lets_in", "nothing: the user needs another key")
        transport.context.count_unfit("login_keys", client)
        event: Event = LoginKeyUnfit(
            **facts, reason=str(outcome), lets_in=lets_in, client=printable(client)
        )
    elif isinstance(credentials, KeyCredentials) and credentials.signature is None:
        event = KeyNotAuthorised(**facts, reason=_reason_of(outcome))
    else:
        event = LoginFailedEvent(**facts, reason=_reason_of(outcome))
    transport.events.emit(event)


def _reason_of(outcome: Any) -> str | None:
    return (str(outcome) or None) if isinstance(outcome, RefusedProof) else None


def _facts(request: LoginRequest, credentials: Any) -> LoginFacts:
    """The facts of a login for the log. A fingerprint tells a user which key was sent."""
    key = credentials if isinstance(credentials, KeyCredentials) else None
    return _named_facts(request.name, printable(request.method), key)


def _facts_of_all(progress: LoginProgress) -> LoginFacts:
    """The facts of a login in one step or several; ``method`` has all methods of SSH."""
    key = _key_of(progress)
    ways = dict.fromkeys(printable(step.way) for step in progress.steps)
    return _named_facts(progress.name, "+".join(ways), key)


def _named_facts(name: bytes, method: str, key: KeyCredentials | None) -> LoginFacts:
    fingerprint, certificate = (None, None) if key is None else key_facts(key.blob)
    return {
        "user": printable(name),
        "method": method,
        "fingerprint": fingerprint,
        "certificate": certificate,
    }


def _key_of(progress: LoginProgress) -> KeyCredentials | None:
    keys = [step.key for step in progress.steps if step.key is not None]
    return keys[0] if keys else None


def _proofs_of(progress: LoginProgress) -> str | None:
    """What was proven, as ``require`` writes it; None where one proof was enough."""
    steps = progress.steps
    return "+".join(step.method.value for step in steps) if len(steps) > 1 else None
