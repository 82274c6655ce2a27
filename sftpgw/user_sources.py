"""The sources of users that [auth] names, put together.

Knows: which objects a source needs. Must not know: how it finds a user.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.web.client import Agent, HTTPConnectionPool

from sftpgw.auth.authenticator import Authenticator
from sftpgw.auth.sources.asked_source import AnswerTimes, AskedUserSource, Asker
from sftpgw.auth.sources.chain import SourceChain
from sftpgw.auth.sources.http_source import HttpAsker
from sftpgw.auth.sources.live import LiveUsers
from sftpgw.auth.sources.questions import GivenUser
from sftpgw.auth.sources.table_source import TableAsker
from sftpgw.aws.credentials import credential_source
from sftpgw.aws.dynamodb.table_place import table_place
from sftpgw.aws.dynamodb.table_reader import TIMEOUT_KEY, TableReader
from sftpgw.aws.endpoints import service_endpoint
from sftpgw.aws.session_policy.plan.role_requests import check_roles
from sftpgw.aws.session_policy.plan.transfer_policy import filled_policy
from sftpgw.aws.signer import ServiceSigner
from sftpgw.errors import BadAnswer, ConfigError, NoSessionPolicy
from sftpgw.http.certificates import Authorities, VerifyingPolicy
from sftpgw.http.service_client import ServiceClient
from sftpgw.model.events import EventSink
from sftpgw.model.settings import DYNAMODB_SOURCE, FILE_SOURCE, AuthSettings, MakeUser, Settings
from sftpgw.model.users import AssumedRole, User

SECRET_BYTES = 32


def chained(users: LiveUsers, settings: Settings, reactor: Any, events: EventSink) -> Authenticator:
    """The authenticator of all sources; that of files if there are no others.

    :param users: the users of files, and what files say of users of other sources.
    :param settings: the whole configuration.
    :param reactor: Twisted's.
    :param events: takes what is wrong with a source.
    """
    if settings.make_user is None:
        return users
    live = replace(settings, make_user=users.make)
    pool = HTTPConnectionPool(reactor)
    sources = asked_sources(live, reactor, events, pool, lambda: users.make_user)
    return SourceChain(users, sources)


def asked_sources(
    settings: Settings,
    reactor: Any,
    events: EventSink,
    pool: HTTPConnectionPool,
    rules_of: Callable[[], object] = lambda: None,
) -> list[AskedUserSource]:
    """The sources other than files, in their order.

    :param settings: the whole configuration.
    :param reactor: Twisted's.
    :param events: takes what is wrong with a source.
    :param pool: keeps connections to services.
    :param rules_of: returns another object once ``settings.make_user`` makes other users.
    """
    make_user = settings.make_user
    if make_user is None:
        return []
    network = _Network(reactor, pool)
    return [
        _asked_source(name, settings, make_user, network, events=events, rules_of=rules_of)
        for name in settings.auth.sources
        if name != FILE_SOURCE
    ]


@dataclass(frozen=True, slots=True)
class _Network:
    """How services are reached."""

    reactor: Any
    pool: HTTPConnectionPool

    def agent(self, authorities: Authorities, timeout_seconds: float) -> Agent:
        return Agent(
            self.reactor,
            contextFactory=VerifyingPolicy(lambda: authorities),
            connectTimeout=timeout_seconds,
            pool=self.pool,
        )


def _asked_source(
    name: str,
    settings: Settings,
    make_user: MakeUser,
    network: _Network,
    *,
    events: EventSink,
    rules_of: Callable[[], object],
) -> AskedUserSource:
    auth = settings.auth

    def user_of(user_name: str, said: GivenUser) -> User:
        try:
            return with_role(settings, said, lambda given: make_user(user_name, given, name))
        except ConfigError as error:
            raise BadAnswer("; ".join(error.faults)) from None
        except NoSessionPolicy as error:
            raise BadAnswer(error.message) from None

    asker, times = (
        (_table_asker(settings, network), auth.dynamodb_times)
        if name == DYNAMODB_SOURCE
        else (_http_asker(auth, network), auth.http_times)
    )
    return AskedUserSource(
        name,
        asker,
        user_of,
        AnswerTimes(*times),
        clock=network.reactor,
        events=events,
        secret=secrets.token_bytes(SECRET_BYTES),
        has_records=name == DYNAMODB_SOURCE,
        rules_of=rules_of,
    )


def with_role(
    settings: Settings, said: GivenUser, make: Callable[[Mapping[str, str]], User]
) -> User:
    """The user of an answer, with the role and the policy that it has.

    They count only where sessions have credentials of their own.

    :param settings: the whole configuration.
    :param said: the answer.
    :param make: makes a user of keys of users.ini.
    :raises NoSessionPolicy: the sessions of the user could not have any.
    """
    if not any(store.scoped_credentials for store in settings.all_stores):
        return make(said.given)
    user = make({**said.given, "role_arn": said.role_arn} if said.role_arn else said.given)
    if said.session_policy:
        policy = filled_policy(said.session_policy, user.name, user.mounts[0])
        user = replace(user, role=replace(user.role or AssumedRole(), policy=policy))
    keeps = settings.files.keep_empty_directories
    check_roles(user, settings.all_stores, keeps_empty_directories=keeps)
    return user


def _http_asker(auth: AuthSettings, network: _Network) -> Asker:
    setting = "[auth] http_ca_file"
    authorities = Authorities(auth.http_ca_file, setting, setting, "[auth] http_url")
    agent = network.agent(authorities, auth.http_timeout_seconds)
    token = Path(auth.http_token_file).read_text("utf-8").strip() if auth.http_token_file else ""
    client = ServiceClient(agent, network.reactor, auth.http_timeout_seconds, "[auth] http_timeout")
    return HttpAsker(auth, client, token)


def _table_asker(settings: Settings, network: _Network) -> Asker:
    reactor, auth, place = network.reactor, settings.auth, table_place(settings)
    setting, seconds = "[auth] dynamodb_endpoint", auth.dynamodb_timeout_seconds
    agent = network.agent(Authorities("", setting, setting, setting), seconds)
    reader = TableReader(
        auth.dynamodb_table,
        service_endpoint(DYNAMODB_SOURCE, place),
        client=ServiceClient(agent, reactor, seconds, TIMEOUT_KEY),
        credentials=credential_source(place, deferToThread, reactor),
        signer=ServiceSigner(time.time),
        clock=reactor,
        random=random.random,
        timeout_seconds=seconds,
    )
    return TableAsker(reader)
