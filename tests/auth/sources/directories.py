"""An LDAP server in memory, with faults on demand, and the source that asks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect

from sftpgw.auth.sources.asked_source import AnswerTimes, AskedUserSource
from sftpgw.auth.sources.ldap_connection import LdapConnection
from sftpgw.auth.sources.ldap_servers import (
    LdapServer,
    LdapServers,
    ServerConnections,
    ServiceAccount,
)
from sftpgw.auth.sources.ldap_source import LdapAsker, directory_kind
from sftpgw.auth.sources.questions import GivenUser
from sftpgw.errors import BadAnswer
from sftpgw.model.settings import AuthSettings
from sftpgw.model.users import User
from sftpgw.testing.ssh_pairs import RecordedEvents
from sftpgw.wire.ber import (
    ENUMERATED,
    INTEGER,
    OCTETS,
    SEQUENCE,
    SET,
    Fields,
    element,
    elements,
    integer,
    whole_size_bytes,
)
from sftpgw.wire.ldap_names import comparable, lies_below, read_name

PEOPLE = "ou=people,dc=example"
GROUPS = "ou=groups,dc=example"
SERVICE = "cn=gateway,dc=example"
SERVICE_PASSWORD = b"the password of the gateway"

Attributes = Mapping[str, Sequence[str]]


def result(tag: int, code: int = 0, text: str = "") -> bytes:
    return element(tag, integer(code, ENUMERATED), element(OCTETS), element(OCTETS, text.encode()))


def entry(dn: str, attributes: Attributes) -> bytes:
    listed = (
        element(
            SEQUENCE,
            element(OCTETS, name.encode()),
            element(
                SET, *(element(OCTETS, each.encode("utf-8", "surrogateescape")) for each in values)
            ),
        )
        for name, values in attributes.items()
    )
    return element(0x64, element(OCTETS, dn.encode()), element(SEQUENCE, *listed))


def message(number: int, body: bytes) -> bytes:
    return element(SEQUENCE, integer(number), body)


class Directory:
    """What the server has, what it is asked, and how it answers.

    :ivar asked: the requests, as ``bind DN``, ``search BASE``, ``starttls``.
    :ivar answer: takes a request, its number and the answer; returns what is sent in its place.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Attributes] = {
            PEOPLE: {},
            f"uid=alice,{PEOPLE}": {
                "uid": ["alice"],
                "sshPublicKey": ["ssh-ed25519 AAAA alice"],
                "memberOf": [f"cn=partners,{GROUPS}"],
            },
            f"uid=bob,{PEOPLE}": {"uid": ["bob"]},
            f"cn=partners,{GROUPS}": {"member": [f"uid=alice,{PEOPLE}"]},
            f"cn=auditors,{GROUPS}": {"member": [f"uid=alice,{PEOPLE}"]},
        }
        self.passwords = {f"uid=alice,{PEOPLE}": b"right", SERVICE: SERVICE_PASSWORD}
        self.asked: list[str] = []
        self.passwords_seen: list[bytes] = []
        self.connections = 0
        self.is_away = False
        self.answer: Callable[[str, int, bytes], bytes] = lambda request, number, answer: answer

    def matching(self, base: str, scope: int, filter_: tuple[int, bytes]) -> Iterator[str]:
        above = read_name(base)
        for dn, attributes in self.entries.items():
            name = read_name(dn)
            is_base = comparable(name) == comparable(above)
            if (is_base or (scope == 2 and lies_below(name, above))) and _fits(attributes, filter_):
                yield dn


def _fits(attributes: Attributes, filter_: tuple[int, bytes]) -> bool:
    tag, content = filter_
    if tag in (0xA0, 0xA1):
        parts = [_fits(attributes, each) for each in elements(content)]
        return all(parts) if tag == 0xA0 else any(parts)
    if tag == 0xA2:
        return not _fits(attributes, next(elements(content)))
    if tag == 0x87:
        return content == b"objectClass" or content.decode() in attributes
    assert tag == 0xA3, hex(tag)
    fields = Fields(content)
    name, value = fields.take(OCTETS).decode(), fields.take(OCTETS).decode()
    return any(value.strip().lower() == each.lower() for each in attributes.get(name, ()))


class DirectoryProtocol(Protocol):
    """One connection."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        while (size := whole_size_bytes(self.received)) and len(self.received) >= size:
            whole, self.received = self.received[:size], self.received[size:]
            fields = Fields(next(elements(whole))[1])
            number = fields.take_number(INTEGER)
            for tag, read in ((0x60, self.bind), (0x63, self.search), (0x77, self.extended)):
                content = fields.take_if(tag)
                if content is not None:
                    self.transport.write(read(number, Fields(content)))
            if fields.take_if(0x42) is not None:
                self.directory.asked.append("unbind")
                self.transport.loseConnection()

    def bind(self, number: int, fields: Fields) -> bytes:
        fields.take(INTEGER)
        dn, password = fields.take(OCTETS).decode(), fields.take(0x80)
        self.directory.passwords_seen.append(password)
        is_right = not password or self.directory.passwords.get(dn) == password
        return self.told(f"bind {dn}", number, message(number, result(0x61, 0 if is_right else 49)))

    def search(self, number: int, fields: Fields) -> bytes:
        base, scope = fields.take(OCTETS).decode(), fields.take_number(ENUMERATED)
        fields.take(ENUMERATED)
        most, _ = fields.take_number(INTEGER), fields.take_number(INTEGER)
        fields.take(0x01)
        filter_ = fields._next
        found = list(self.directory.matching(base, scope, filter_))
        code = 32 if base not in self.directory.entries and base != GROUPS else 0
        body = [entry(dn, self.directory.entries[dn]) for dn in found[:most]]
        body.append(result(0x65, 4 if len(found) > most else code))
        return self.told(f"search {base}", number, b"".join(message(number, x) for x in body))

    def extended(self, number: int, fields: Fields) -> bytes:
        return self.told("starttls", number, message(number, result(0x78)))

    def told(self, request: str, number: int, answer: bytes) -> bytes:
        self.directory.asked.append(request)
        return self.directory.answer(request, number, answer)


BY_SEARCH = AuthSettings(
    ldap_urls=("ldap://one.example",),
    ldap_search_base=PEOPLE,
    ldap_service_dn=SERVICE,
    ldap_timeout_seconds=10,
)


class World:
    """A source, its servers, and the time."""

    def __init__(self, settings: AuthSettings = BY_SEARCH, tls_creator: Any = None) -> None:
        self.settings = settings
        self.clock = Clock()
        self.events = RecordedEvents()
        self.directories = [Directory() for _ in settings.ldap_urls]
        self.directory = self.directories[0]
        self.pumps: list[IOPump] = []
        self.clients: list[LdapConnection] = []
        self.service_password: bytes = SERVICE_PASSWORD
        self.given: list[GivenUser] = []
        account = ServiceAccount(settings.ldap_service_dn, lambda: self.service_password)
        self.connections = [
            ServerConnections(
                LdapServer(url, lambda directory=directory: self.connect(directory), tls_creator),
                account,
                self.clock,
            )
            for url, directory in zip(settings.ldap_urls, self.directories, strict=True)
        ]
        servers = LdapServers(self.connections, self.clock, settings.ldap_timeout_seconds)
        self.source = AskedUserSource(
            "ldap",
            LdapAsker(settings, servers, self.clock, "no-entry"),
            self.make_user,
            AnswerTimes(settings.ldap_cache_seconds, settings.ldap_stale_seconds),
            clock=self.clock,
            events=self.events,
            secret=b"secret",
            kind=directory_kind(settings),
        )

    def connect(self, directory: Directory) -> Deferred[LdapConnection]:
        if directory.is_away:
            return fail(ConnectionRefusedError("Connection refused"))
        client, server = LdapConnection(), DirectoryProtocol(directory)
        directory.connections += 1
        self.clients.append(client)
        self.pumps.append(
            connect(server, FakeTransport(server, True), client, FakeTransport(client, False))
        )
        return succeed(client)

    def make_user(self, name: str, said: GivenUser) -> User:
        self.given.append(said)
        if "at-fault" in said.given:
            raise BadAnswer("is at fault")
        return User.with_home(name, "bucket", f"home/{name}/")

    def flush(self) -> None:
        while sum(pump.pump() for pump in list(self.pumps)):
            pass

    def asking(
        self, name: str = "alice", password: bytes | None = None, host: str = "192.0.2.1"
    ) -> list[Any]:
        outcomes: list[Any] = []
        Deferred.fromCoroutine(self.source.find(name, host, password)).addBoth(outcomes.append)
        self.flush()
        return outcomes

    def find(self, *arguments: Any, **more: Any) -> Any:
        (outcome,) = self.asking(*arguments, **more)
        if isinstance(outcome, Failure):
            outcome.raiseException()
        return outcome

    def look_again(self, user: User) -> Any:
        outcomes: list[Any] = []
        looking = self.source.look_again(user, "192.0.2.1")
        Deferred.fromCoroutine(looking).addBoth(outcomes.append)
        self.flush()
        return outcomes[0]

    def be_away(self) -> None:
        """The first server takes no connections any more."""
        for client in self.clients:
            client.give_up()
        self.directory.is_away = True

    def bad_reason(self) -> str:
        (facts,) = self.events.facts("user-source-answer-bad")
        return str(facts["reason"])
