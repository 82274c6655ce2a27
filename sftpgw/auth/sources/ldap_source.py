"""LDAP servers that know users.

Knows: the steps by which a user is found and a password is tried.
Must not know: how long answers count (`asked_source`), connections (`ldap_servers`), or what
attributes mean (`ldap_entries`).

Rules

1. An unknown name takes the steps of a known one: where no entry was found, groups are searched for
   and the password is tried with a name of an entry that cannot exist.
2. A password is tried only with the name of an entry that is not the service account's, so that
   guesses do not lock that one.
3. Exactly one entry must be found, and it must have the name that was asked.
4. References to other servers are not followed.
5. Up to `MAX_AT_ONCE` questions are under way. Addresses take turns for them (`aio.fair_slots`).
6. Entries are read by the service account; without one as the user whose password was right, and
   without a password by a client without a name.
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted.internet.defer import Deferred, TimeoutError

from sftpgw.aio.fair_slots import FairSlots
from sftpgw.auth.sources.asked_source import SourceKind
from sftpgw.auth.sources.ldap_connection import ConnectionGone, LdapConnection
from sftpgw.auth.sources.ldap_entries import (
    MAX_GROUPS,
    given_user,
    has_name,
    wanted_attributes,
)
from sftpgw.auth.sources.ldap_servers import AWAY_CODES, LdapServers, ServerConnections
from sftpgw.auth.sources.questions import GivenUser, Question
from sftpgw.errors import BadAnswer, SourceAway
from sftpgw.model.clock import Clock
from sftpgw.model.settings import AuthSettings
from sftpgw.wire.ldap import (
    ANY_ATTRIBUTE_FILTER,
    NO_ATTRIBUTES,
    LdapEntry,
    Result,
    ResultCode,
    Scope,
    Search,
)
from sftpgw.wire.ldap_filters import Filter, read_filter
from sftpgw.wire.ldap_names import comparable, fill_name, name_above, read_name

MAX_AT_ONCE = 32
MAX_ENTRIES = 2
"""One more than may be found."""

USER_PLACEHOLDERS = frozenset({"username"})
GROUP_PLACEHOLDERS = frozenset({"username", "dn"})

REFUSALS = frozenset(
    {
        ResultCode.CONSTRAINT_VIOLATION,
        ResultCode.INVALID_ATTRIBUTE_SYNTAX,
        ResultCode.NO_SUCH_OBJECT,
        ResultCode.INVALID_DN_SYNTAX,
        ResultCode.INAPPROPRIATE_AUTHENTICATION,
        ResultCode.INVALID_CREDENTIALS,
        ResultCode.INSUFFICIENT_ACCESS_RIGHTS,
        ResultCode.UNWILLING_TO_PERFORM,
    }
)
"""What a server answers to a wrong password, an entry that is locked, or one that is not there."""

NO_ENTRY = {
    Scope.BASE: frozenset(
        {
            ResultCode.INVALID_ATTRIBUTE_SYNTAX,
            ResultCode.NO_SUCH_OBJECT,
            ResultCode.INVALID_DN_SYNTAX,
        }
    ),
    Scope.SUBTREE: frozenset({ResultCode.INVALID_ATTRIBUTE_SYNTAX}),
}
"""What a server answers where no entry can have the name that a client has given. It is no fault of
the server: else clients could fill the log, and their attempts would not count as failures."""

NEEDS_TLS = frozenset({ResultCode.CONFIDENTIALITY_REQUIRED, ResultCode.STRONGER_AUTH_REQUIRED})


def user_filter(settings: AuthSettings) -> Filter:
    """The filter by which users are searched for.

    :param settings: ``[auth]``.
    :raises ValueError: ``ldap_filter`` makes no sense.
    """
    text = settings.ldap_filter or f"({settings.ldap_name_attribute}={{username}})"
    return read_filter(text, USER_PLACEHOLDERS)


def directory_kind(settings: AuthSettings) -> SourceKind:
    """What the answers of the servers depend on: on passwords where users read their own entries.

    :param settings: ``[auth]``.
    """
    return SourceKind(tells_addresses_apart=False, needs_passwords=_users_read(settings))


def _users_read(settings: AuthSettings) -> bool:
    """Whether entries are read by the user whose password was right (rule 6)."""
    return bool(settings.ldap_bind_dn) and not settings.ldap_service_dn


@dataclass(frozen=True, slots=True)
class _LookedUp:
    """What is known of a user before the password is tried.

    :ivar entry: the user's entry; None for an unknown name.
    :ivar dn: the entry's name, or one that cannot exist.
    :ivar groups: the names of the entries of the user's groups.
    """

    entry: LdapEntry | None
    dn: str
    groups: tuple[str, ...] = ()


class LdapAsker:
    """An `Asker` of LDAP servers.

    :param settings: ``[auth]``: how entries are found, and what is read.
    :param servers: the servers.
    :param clock: ends questions that take too long.
    :param word: a random word, which is in no name of an entry.
    """

    def __init__(
        self,
        settings: AuthSettings,
        servers: LdapServers,
        clock: Clock,
        word: str,
    ) -> None:
        self._settings = settings
        self._servers = servers
        self._clock = clock
        below = settings.ldap_search_base or name_above(settings.ldap_bind_dn)
        self._no_dn = f"cn={word},{below}" if below else f"cn={word}"  # for rule 1
        self._slots = FairSlots(MAX_AT_ONCE)
        self._user_filter = user_filter(settings)
        self._group_filter = (
            read_filter(settings.ldap_group_filter, GROUP_PLACEHOLDERS)
            if settings.ldap_group_filter
            else None
        )
        self._attributes = wanted_attributes(settings)
        service = settings.ldap_service_dn
        self._service_name = comparable(read_name(service)) if service else None

    async def ask(self, source: str, question: Question) -> GivenUser | None:
        """What the servers say of a user; None if they do not know or let in the user.

        :param source: the client's address or /64, which takes turns with others.
        :param question: what is asked.
        :raises SourceAway: there is no answer.
        :raises BadAnswer: the answer makes no sense.
        """
        if question.password == b"":
            return None
        asking = Deferred.fromCoroutine(self._ask_in_turn(source, question))
        timeout_seconds = self._settings.ldap_timeout_seconds
        asking.addTimeout(timeout_seconds, self._clock)  # type: ignore[arg-type]
        try:
            return await asking
        except TimeoutError:
            text = f"no answer within {timeout_seconds:g} s ([auth] ldap_timeout)"
            raise SourceAway(text) from None

    async def _ask_in_turn(self, source: str, question: Question) -> GivenUser | None:
        async with self._slots.slot((source,)):
            return await self._servers.first_that(lambda server: self._ask(server, question))

    async def _ask(self, server: ServerConnections, question: Question) -> GivenUser | None:
        name, password = question.name, question.password
        if password is not None and _users_read(self._settings):
            return await server.proving(lambda binder: self._as_user(binder, name, password))
        found = await server.reading(lambda reader: self._look_up(reader, name))
        if password is not None:
            is_right = await server.proving(
                lambda binder: self._is_right(binder, found.dn, password)
            )
            if not is_right:
                return None
        if found.entry is None:
            return None
        return given_user(found.entry, found.groups, self._settings)

    async def _as_user(
        self, binder: LdapConnection, name: str, password: bytes
    ) -> GivenUser | None:
        """Bind as the user first, and read the user's own entry (rule 6)."""
        if not await self._is_right(binder, self._safe(self._template_dn(name)), password):
            return None
        found = await self._look_up(binder, name)
        if found.entry is None:
            return None
        return given_user(found.entry, found.groups, self._settings)

    async def _look_up(self, reader: LdapConnection, name: str) -> _LookedUp:
        entry = await self._entry(reader, name)
        if entry is not None and not has_name(entry, name, self._settings):
            entry = None
        dn = self._safe(entry.dn) if entry is not None else self._no_dn
        return _LookedUp(entry, dn, await self._groups(reader, name, dn))

    async def _entry(self, reader: LdapConnection, name: str) -> LdapEntry | None:
        known = {"username": name.encode()}
        if self._by_template:
            base, scope, filter_ = self._template_dn(name), Scope.BASE, ANY_ATTRIBUTE_FILTER
            if self._settings.ldap_filter:
                filter_ = self._user_filter.encoded(known)
        else:
            base, scope = self._settings.ldap_search_base, Scope.SUBTREE
            filter_ = self._user_filter.encoded(known)
        search = Search(base, scope, filter_, self._attributes, MAX_ENTRIES)
        entries = await self._search(reader, search)
        if len(entries) > 1:
            raise BadAnswer(
                "has several entries of the user: [auth] ldap_filter and ldap_search_base must "
                "find one"
            )
        return entries[0] if entries else None

    async def _groups(self, reader: LdapConnection, name: str, dn: str) -> tuple[str, ...]:
        if self._group_filter is None:
            return ()
        known = {"username": name.encode(), "dn": dn.encode()}
        search = Search(
            self._settings.ldap_group_base,
            Scope.SUBTREE,
            self._group_filter.encoded(known),
            (NO_ATTRIBUTES,),
            MAX_GROUPS,
        )
        return tuple(entry.dn for entry in await self._search(reader, search))

    async def _search(self, reader: LdapConnection, search: Search) -> list[LdapEntry]:
        """The entries. :raises BadAnswer, ConnectionGone: the server does not search"""
        time_limit_seconds = max(1, int(self._settings.ldap_timeout_seconds))
        result, entries = await reader.search(search, time_limit_seconds)
        _refuse_away(result)
        if result.code in NO_ENTRY[search.scope]:
            return []
        if result.code == ResultCode.SIZE_LIMIT_EXCEEDED and len(entries) > 1:
            raise BadAnswer(f"has more entries than {search.most} below {search.base}")
        if result.code != ResultCode.SUCCESS:
            raise BadAnswer(f"is that the search below {search.base} has failed ({result})")
        return entries

    async def _is_right(self, binder: LdapConnection, dn: str, password: bytes) -> bool:
        """Whether a password is that of an entry."""
        result = await binder.bind(dn, password)
        _refuse_away(result)
        if result.code in NEEDS_TLS:
            raise ConnectionGone(f"the server takes no password on this connection ({result})")
        if result.code not in REFUSALS and result.code != ResultCode.SUCCESS:
            raise BadAnswer(f"is that the bind has failed ({result})")
        return result.code == ResultCode.SUCCESS and dn != self._no_dn

    @property
    def _by_template(self) -> bool:
        return bool(self._settings.ldap_bind_dn)

    def _template_dn(self, name: str) -> str:
        return fill_name(self._settings.ldap_bind_dn, name)

    def _safe(self, dn: str) -> str:
        """The name of an entry; one that cannot exist for that of the service account (rule 2)."""
        try:
            is_service = comparable(read_name(dn)) == self._service_name
        except ValueError:
            raise BadAnswer(f"has an entry whose name is none: {dn[:100]!r}") from None
        return self._no_dn if is_service else dn


def _refuse_away(result: Result) -> None:
    """:raises ConnectionGone: the server cannot serve now; :raises BadAnswer: another one should"""
    if result.code in AWAY_CODES:
        raise ConnectionGone(f"the server cannot serve now ({result})")
    if result.code == ResultCode.REFERRAL:
        raise BadAnswer("refers to another server, which is not asked: name it in [auth] ldap_url")
