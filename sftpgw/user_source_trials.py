"""Tries the sources of users for ``--check``: are they there, and would they answer a login?

Knows: what of a source can be tried without a user. Must not know: where a finding is printed.

Rules

1. What is tried is what a login does, with the same credentials and certificates. So no permission
   is needed that the gateway does not need.
2. Nothing is written, and nothing counts as a login.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from twisted.web.client import HTTPConnectionPool

from sftpgw.auth.sources.ldap_connection import LdapConnection
from sftpgw.auth.sources.ldap_servers import LdapServers, ServerConnections
from sftpgw.checks import Finding, Level
from sftpgw.errors import BadAnswer, SourceAway
from sftpgw.http.service_client import ServiceRequest
from sftpgw.model.settings import (
    DYNAMODB_SOURCE,
    FILE_SOURCE,
    HTTP_SOURCE,
    LDAP_SOURCE,
    AuthSettings,
    Settings,
)
from sftpgw.user_sources import ServiceNetwork, http_client, ldap_servers, table_reader
from sftpgw.wire.ldap import ANY_ATTRIBUTE_FILTER as ANY_ENTRY
from sftpgw.wire.ldap import NO_ATTRIBUTES, Scope, Search

NAME_BYTES = 16
NO_ADDRESS = ""


async def try_sources(settings: Settings, reactor: Any) -> AsyncIterator[Finding]:
    """Try each source but files, in their order.

    :param settings: the whole configuration.
    :param reactor: Twisted's.
    """
    network = ServiceNetwork(reactor, HTTPConnectionPool(reactor, persistent=False))
    trials = {
        HTTP_SOURCE: lambda: _try_http(settings.auth, network),
        LDAP_SOURCE: lambda: _try_ldap(settings.auth, reactor),
        DYNAMODB_SOURCE: lambda: _try_table(settings, network),
    }
    for name in settings.auth.sources:
        if name != FILE_SOURCE:
            async for finding in trials[name]():
                yield finding


async def _try_http(auth: AuthSettings, network: ServiceNetwork) -> AsyncIterator[Finding]:
    """Ask the server what it can do, without a user: OPTIONS is no question about one.

    Any answer will do: the service need not know the method.
    """
    parts = urlsplit(auth.http_url)
    what = f"http {parts.scheme}://{parts.netloc}"
    request = ServiceRequest("OPTIONS", f"{parts.scheme}://{parts.netloc}/", {})
    fault = ""
    try:
        await http_client(auth, network).send(NO_ADDRESS, request)
    except SourceAway as error:
        fault = str(error)
    except BadAnswer:
        """It has answered."""
    yield _finding(what, fault, "answers")


async def _try_table(settings: Settings, network: ServiceNetwork) -> AsyncIterator[Finding]:
    """Read an item that is not there, as a login does."""
    auth, fault = settings.auth, ""
    try:
        await table_reader(settings, network).get(secrets.token_hex(NAME_BYTES), NO_ADDRESS)
    except SourceAway as error:
        fault = str(error)
    except BadAnswer as error:
        fault = f"the answer {error}"
    yield _finding(f"dynamodb {auth.dynamodb_table}", fault, "may be read")


async def _try_ldap(auth: AuthSettings, reactor: Any) -> AsyncIterator[Finding]:
    """Bind as the service account, and read the entry below which users are."""

    async def look(reader: LdapConnection) -> str:
        search = Search(auth.ldap_search_base, Scope.BASE, ANY_ENTRY, (NO_ATTRIBUTES,), 1)
        result, found = await reader.search(search, int(auth.ldap_timeout_seconds) or 1)
        return "" if found else f"ldap_search_base cannot be read ({result})"

    async def nothing(reader: LdapConnection) -> str:
        return ""

    for url, server in zip(auth.ldap_urls, ldap_servers(auth, reactor), strict=True):
        tried = LdapServers([server], reactor, auth.ldap_timeout_seconds)
        work = look if auth.ldap_search_base else nothing
        try:
            fault = await tried.first_that(partial(ServerConnections.reading, work=work))
        except (SourceAway, BadAnswer) as error:
            fault = str(error).removeprefix(f"{url}: ")
        finally:
            server.close()
        yield _finding(f"ldap {url}", fault, "reached and bound")


def _finding(what: str, fault: str, otherwise: str) -> Finding:
    return Finding(Level.FAULT if fault else Level.OK, f"{what}: {fault or otherwise}")
