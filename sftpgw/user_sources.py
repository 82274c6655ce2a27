"""The sources of users that [auth] names, put together.

Knows: which objects a source needs. Must not know: how it finds a user.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.threads import deferToThread
from twisted.web.client import Agent, HTTPConnectionPool

from sftpgw.auth.authenticator import Authenticator
from sftpgw.auth.sources.asked_source import (
    SERVICE,
    TABLE,
    AnswerTimes,
    AskedUserSource,
    Asker,
    SourceKind,
)
from sftpgw.auth.sources.chain import SourceChain
from sftpgw.auth.sources.http_source import HttpAsker
from sftpgw.auth.sources.ldap_connection import ConnectionGone, LdapConnection
from sftpgw.auth.sources.ldap_servers import (
    LdapServer,
    LdapServers,
    ServerConnections,
    ServiceAccount,
)
from sftpgw.auth.sources.ldap_source import LdapAsker, directory_kind
from sftpgw.auth.sources.live import LiveUsers
from sftpgw.auth.sources.questions import GivenUser
from sftpgw.auth.sources.table_source import TableAsker
from sftpgw.aws.credentials import credential_source
from sftpgw.aws.dynamodb.table_place import TABLE_KEYS, table_place
from sftpgw.aws.dynamodb.table_reader import TIMEOUT_KEY, TableReader
from sftpgw.aws.endpoints import service_endpoint
from sftpgw.aws.session_policy.plan.role_requests import check_roles
from sftpgw.aws.session_policy.plan.transfer_policy import filled_policy
from sftpgw.aws.signer import ServiceSigner
from sftpgw.errors import BadAnswer, ConfigError, NoSessionPolicy
from sftpgw.http.certificates import Authorities, AuthoritiesUnusable, VerifyingPolicy
from sftpgw.http.quiet_endpoint import QuietEndpoint, quiet_pool
from sftpgw.http.service_client import ServiceClient
from sftpgw.model.events import EventSink
from sftpgw.model.settings import (
    DYNAMODB_SOURCE,
    FILE_SOURCE,
    HTTP_SOURCE,
    LDAP_SOURCE,
    AuthSettings,
    MakeUser,
    Settings,
)
from sftpgw.model.users import AssumedRole, User

SECRET_BYTES = 32
WORD_BYTES = 16
LDAP_PORT, LDAPS_PORT = 389, 636


def chained(users: LiveUsers, sources: Sequence[AskedUserSource]) -> Authenticator:
    """The authenticator of all sources; that of files if there are no others.

    :param users: the users of files.
    :param sources: the others (`asked_sources`).
    """
    return SourceChain(users, sources) if sources else users


def live_sources(
    users: LiveUsers, settings: Settings, reactor: Any, events: EventSink
) -> list[AskedUserSource]:
    """The sources other than files; what files say of their users may be exchanged.

    :param users: the users of files, and what files say of users of other sources.
    :param settings: the whole configuration.
    :param reactor: Twisted's.
    :param events: takes what is wrong with a source.
    """
    if settings.make_user is None:
        return []
    live = replace(settings, make_user=users.make)
    return asked_sources(live, reactor, events, quiet_pool(reactor), lambda: users.make_user)


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
    network = ServiceNetwork(reactor, pool)
    return [
        _asked_source(name, settings, make_user, network, events=events, rules_of=rules_of)
        for name in settings.auth.sources
        if name != FILE_SOURCE
    ]


@dataclass(frozen=True, slots=True)
class ServiceNetwork:
    """How services are reached.

    :ivar reactor: Twisted's.
    :ivar pool: keeps connections to services.
    """

    reactor: Any
    pool: HTTPConnectionPool

    def agent(self, authorities: Authorities, timeout_seconds: float) -> Agent:
        """What makes requests, and verifies certificates.

        :param authorities: sign the certificates.
        :param timeout_seconds: how long it may take to connect.
        """
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
    network: ServiceNetwork,
    *,
    events: EventSink,
    rules_of: Callable[[], object],
) -> AskedUserSource:
    auth = settings.auth

    def user_of(user_name: str, said: GivenUser) -> User:
        try:
            return with_role(
                settings, said, lambda given: make_user(user_name, given, name, said.groups)
            )
        except ConfigError as error:
            raise BadAnswer("; ".join(error.faults)) from None
        except NoSessionPolicy as error:
            raise BadAnswer(error.message) from None

    asker, times = {
        HTTP_SOURCE: lambda: (_http_asker(auth, network), auth.http_times),
        LDAP_SOURCE: lambda: (_ldap_asker(auth, network.reactor), auth.ldap_times),
        DYNAMODB_SOURCE: lambda: (_table_asker(settings, network), auth.dynamodb_times),
    }[name]()
    return AskedUserSource(
        name,
        asker,
        user_of,
        AnswerTimes(*times),
        clock=network.reactor,
        events=events,
        secret=secrets.token_bytes(SECRET_BYTES),
        kind=_kind_of(name, auth),
        rules_of=rules_of,
    )


def _kind_of(name: str, auth: AuthSettings) -> SourceKind:
    if name == DYNAMODB_SOURCE:
        return TABLE
    return directory_kind(auth) if name == LDAP_SOURCE else SERVICE


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


def _http_asker(auth: AuthSettings, network: ServiceNetwork) -> Asker:
    token = Path(auth.http_token_file).read_text("utf-8").strip() if auth.http_token_file else ""
    return HttpAsker(auth, http_client(auth, network), token)


def http_client(auth: AuthSettings, network: ServiceNetwork) -> ServiceClient:
    """The client of the web service that knows users.

    :param auth: ``[auth]``.
    :param network: how services are reached.
    """
    setting = "[auth] http_ca_file"
    authorities = Authorities(auth.http_ca_file, setting, setting, "[auth] http_url")
    agent = network.agent(authorities, auth.http_timeout_seconds)
    return ServiceClient(agent, network.reactor, auth.http_timeout_seconds, "[auth] http_timeout")


def _table_asker(settings: Settings, network: ServiceNetwork) -> Asker:
    return TableAsker(table_reader(settings, network))


def table_reader(settings: Settings, network: ServiceNetwork) -> TableReader:
    """What reads the table of users.

    :param settings: the whole configuration.
    :param network: how services are reached.
    """
    reactor, auth, place = network.reactor, settings.auth, table_place(settings)
    setting, seconds = "[auth] dynamodb_endpoint", auth.dynamodb_timeout_seconds
    agent = network.agent(Authorities("", setting, setting, setting), seconds)
    return TableReader(
        auth.dynamodb_table,
        service_endpoint(DYNAMODB_SOURCE, place),
        client=ServiceClient(agent, reactor, seconds, TIMEOUT_KEY),
        credentials=credential_source(place, deferToThread, reactor, TABLE_KEYS),
        signer=ServiceSigner(time.time),
        clock=reactor,
        random=random.random,
        timeout_seconds=seconds,
    )


def _ldap_asker(auth: AuthSettings, reactor: Any) -> Asker:
    servers = LdapServers(ldap_servers(auth, reactor), reactor, auth.ldap_timeout_seconds)
    return LdapAsker(auth, servers, reactor, secrets.token_hex(WORD_BYTES))


def ldap_servers(auth: AuthSettings, reactor: Any) -> list[ServerConnections]:
    """The LDAP servers, in their order.

    :param auth: ``[auth]``.
    :param reactor: Twisted's.
    """
    setting = "[auth] ldap_ca_file"
    authorities = Authorities(auth.ldap_ca_file, setting, setting, "[auth] ldap_url")
    policy = VerifyingPolicy(lambda: authorities)
    account = ServiceAccount(auth.ldap_service_dn, lambda: _service_password(auth))
    return [
        ServerConnections(_ldap_server(url, auth, policy, reactor), account, reactor)
        for url in auth.ldap_urls
    ]


def _ldap_server(url: str, auth: AuthSettings, policy: VerifyingPolicy, reactor: Any) -> LdapServer:
    parts = urlsplit(url)
    host, is_tls = parts.hostname or "", parts.scheme == "ldaps"
    port = parts.port or (LDAPS_PORT if is_tls else LDAP_PORT)
    timeout_seconds = auth.ldap_timeout_seconds / len(auth.ldap_urls)
    endpoint: Any = HostnameEndpoint(reactor, host, port, timeout=timeout_seconds)

    def creator() -> Any:
        try:
            return policy.creatorForNetloc(host.encode("ascii"), port)
        except AuthoritiesUnusable as error:
            raise ConnectionGone(str(error)) from None

    def connect() -> Deferred[LdapConnection]:
        wrapped = wrapClientTLS(creator(), endpoint) if is_tls else endpoint
        connecting: Deferred[LdapConnection] = connectProtocol(
            QuietEndpoint(wrapped), LdapConnection()
        )
        return connecting

    return LdapServer(url, connect, creator if auth.ldap_starttls and not is_tls else None)


def _service_password(auth: AuthSettings) -> bytes:
    """The password of the service account. :raises ValueError: there is none"""
    if auth.ldap_service_password_env:
        name = auth.ldap_service_password_env
        password, where = os.environ.get(name, "").encode(), f"the environment variable {name}"
    else:
        where = auth.ldap_service_password_file
        try:
            password = Path(where).read_bytes()
        except OSError as error:
            raise ValueError(f"{where} cannot be read: {error.strerror}") from None
    password = password.rstrip(b"\r\n")
    if not password:
        raise ValueError(f"{where} has no password of [auth] ldap_service_dn")
    return password
