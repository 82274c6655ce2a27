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
from sftpgw.auth.sources.chain import SourceChain
from sftpgw.auth.sources.http_client import HttpUserClient
from sftpgw.auth.sources.http_dialects import BadAnswer, GivenUser
from sftpgw.auth.sources.http_source import HttpUserSource
from sftpgw.auth.user_records import UserDirectory
from sftpgw.aws.session_policy.plan.transfer_policy import filled_policy
from sftpgw.errors import ConfigError, NoSessionPolicy
from sftpgw.http.certificates import Authorities, VerifyingPolicy
from sftpgw.model.events import EventSink
from sftpgw.model.settings import HTTP_SOURCE, MakeUser, Settings
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
    records: Authenticator,
    directory: UserDirectory,
    settings: Settings,
    reactor: Any,
    events: EventSink,
) -> Authenticator:
    """The authenticator of all sources; that of files if there are no others.

    :param records: decides about the users of files.
    :param directory: knows them.
    :param settings: the whole configuration.
    :param reactor: Twisted's.
    :param events: takes what is wrong with a source.
    """
    make_user = settings.make_user
    if make_user is None:
        return records
    sources = [_http_source(settings, make_user, reactor, events)]
    return SourceChain(records, directory, sources, KeyRules(settings.key_trust))


def _http_source(
    settings: Settings, make_user: MakeUser, reactor: Any, events: EventSink
) -> HttpUserSource:
    service = settings.auth
    setting = "[auth] http_ca_file"
    authorities = Authorities(service.http_ca_file, setting, setting, "[auth] http_url")
    agent = Agent(
        reactor,
        contextFactory=VerifyingPolicy(lambda: authorities),
        connectTimeout=service.http_timeout_seconds,
        pool=HTTPConnectionPool(reactor),
    )
    token = (
        Path(service.http_token_file).read_text("utf-8").strip() if service.http_token_file else ""
    )

    is_scoped = any(store.scoped_credentials for store in settings.all_stores)

    def user_of(name: str, said: GivenUser) -> User:
        role = {"role_arn": said.role_arn} if is_scoped and said.role_arn else {}
        try:
            user = make_user(name, {**said.given, **role}, HTTP_SOURCE)
            return with_policy(user, said.session_policy) if is_scoped else user
        except ConfigError as error:
            raise BadAnswer("; ".join(error.faults)) from None
        except NoSessionPolicy as error:
            raise BadAnswer(error.message) from None

    return HttpUserSource(
        service,
        HttpUserClient(agent, reactor, service.http_timeout_seconds, token),
        user_of,
        clock=reactor,
        events=events,
        secret=secrets.token_bytes(SECRET_BYTES),
    )
