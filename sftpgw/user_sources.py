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
from sftpgw.auth.sources.asked_source import AnswerTimes, AskedUserSource, Asker
from sftpgw.auth.sources.chain import SourceChain
from sftpgw.auth.sources.http_source import HttpAsker
from sftpgw.auth.sources.live import LiveUsers
from sftpgw.auth.sources.questions import GivenUser
from sftpgw.errors import BadAnswer, ConfigError
from sftpgw.http.certificates import Authorities, VerifyingPolicy
from sftpgw.http.service_client import ServiceClient
from sftpgw.model.events import EventSink
from sftpgw.model.settings import FILE_SOURCE, AuthSettings, MakeUser, Settings
from sftpgw.model.users import User

SECRET_BYTES = 32


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

    def user_of(user_name: str, said: GivenUser) -> User:
        try:
            return make_user(user_name, said.given, name)
        except ConfigError as error:
            raise BadAnswer("; ".join(error.faults)) from None

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
