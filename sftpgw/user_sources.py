"""The sources of users that [auth] names, put together.

Knows: which objects a source needs. Must not know: how it finds a user.
"""

from __future__ import annotations

import secrets
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
from sftpgw.errors import ConfigError
from sftpgw.http.certificates import Authorities, VerifyingPolicy
from sftpgw.model.events import EventSink
from sftpgw.model.settings import HTTP_SOURCE, MakeUser, Settings
from sftpgw.model.users import User

SECRET_BYTES = 32


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

    def user_of(name: str, said: GivenUser) -> User:
        try:
            return make_user(name, said.given, HTTP_SOURCE)
        except ConfigError as error:
            raise BadAnswer("; ".join(error.faults)) from None

    return HttpUserSource(
        service,
        HttpUserClient(agent, reactor, service.http_timeout_seconds, token),
        user_of,
        clock=reactor,
        events=events,
        secret=secrets.token_bytes(SECRET_BYTES),
    )
