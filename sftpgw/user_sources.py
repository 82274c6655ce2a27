"""The sources of users that [auth] names, put together.

Knows: which objects a source needs. Must not know: how it finds a user.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.web.client import Agent, HTTPConnectionPool

from sftpgw.auth.authenticator import Authenticator
from sftpgw.auth.key_rules import KeyRules
from sftpgw.auth.sources.asked_source import AnswerTimes, AskedUserSource, Asker
from sftpgw.auth.sources.chain import SourceChain
from sftpgw.auth.sources.http_source import HttpAsker
from sftpgw.auth.sources.live import LiveUsers
from sftpgw.auth.sources.questions import GivenUser
from sftpgw.aws.session_policy.plan.transfer_policy import filled_policy
from sftpgw.errors import BadAnswer, ConfigError, NoSessionPolicy
from sftpgw.http.certificates import Authorities, VerifyingPolicy
from sftpgw.http.service_client import ServiceClient
from sftpgw.model.events import EventSink
from sftpgw.model.settings import FILE_SOURCE, AuthSettings, MakeUser, Settings
from sftpgw.model.users import AssumedRole, User

SECRET_BYTES = 32


def with_policy(user: User, policy: str) -> User:
    """The user with the session policy that a source has given.

    :param user: the user.
    :param policy: the policy, with variables of AWS Transfer Family; empty for none.
    :raises NoSessionPolicy: it is no policy that AWS would take.
    """
    if not policy:
        return user
    role = user.role or AssumedRole()
    filled = filled_policy(policy, user.name, user.mounts[0])
    return replace(user, role=replace(role, policy=filled))


def chained(
    records: LiveUsers, settings: Settings, reactor: Any, events: EventSink
) -> Authenticator:
    """The authenticator of all sources; that of files if there are no others.

    :param records: the users of files.
    :param settings: the whole configuration.
    :param reactor: Twisted's.
    :param events: takes what is wrong with a source.
    """
    make_user = settings.make_user
    if make_user is None:
        return records
    sources = [
        _asked_source(name, settings, make_user, reactor, events)
        for name in settings.auth.sources
        if name != FILE_SOURCE
    ]
    return SourceChain(records, sources, KeyRules(settings.key_trust))


def _asked_source(
    name: str, settings: Settings, make_user: MakeUser, reactor: Any, events: EventSink
) -> AskedUserSource:
    auth = settings.auth

    is_scoped = any(store.scoped_credentials for store in settings.all_stores)

    def user_of(user_name: str, said: GivenUser) -> User:
        if not is_scoped:
            said = replace(said, role_arn="", session_policy="")
        given = {**said.given, "role_arn": said.role_arn} if said.role_arn else said.given
        try:
            return make_user(
                user_name, given, name, lambda user: with_policy(user, said.session_policy)
            )
        except ConfigError as error:
            raise BadAnswer("; ".join(error.faults)) from None
        except NoSessionPolicy as error:
            raise BadAnswer(error.message) from None

    return AskedUserSource(
        name,
        _http_asker(auth, reactor),
        user_of,
        AnswerTimes(auth.http_cache_seconds, auth.http_stale_seconds),
        clock=reactor,
        events=events,
        secret=secrets.token_bytes(SECRET_BYTES),
    )


def _http_asker(auth: AuthSettings, reactor: Any) -> Asker:
    setting = "[auth] http_ca_file"
    authorities = Authorities(auth.http_ca_file, setting, setting, "[auth] http_url")
    agent = Agent(
        reactor,
        contextFactory=VerifyingPolicy(lambda: authorities),
        connectTimeout=auth.http_timeout_seconds,
        pool=HTTPConnectionPool(reactor),
    )
    token = Path(auth.http_token_file).read_text("utf-8").strip() if auth.http_token_file else ""
    client = ServiceClient(agent, reactor, auth.http_timeout_seconds, "[auth] http_timeout")
    return HttpAsker(auth, client, token)
