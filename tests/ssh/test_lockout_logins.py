"""Guesses over real SSH connections in memory: delays, bans, and what a banned client is told."""

from __future__ import annotations

import struct
import time
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import bcrypt
import pyotp
import pytest
from twisted.conch.ssh.common import NS
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from sftpgw.aio.user_slots import UserSlots
from sftpgw.auth.authenticator import KeyRefusal, LoginAttempt, PasswordRefusal
from sftpgw.auth.checkers import RefusedProof, UndecidedProof, UnfitKey, UnknownName
from sftpgw.auth.lockout.lockout import Lockout, TooManyCodes
from sftpgw.auth.lockout.plan import GuessFailure
from sftpgw.auth.login_credentials import CodeCredentials, KeyCredentials, PasswordCredentials
from sftpgw.auth.offered_keys import OfferedKey
from sftpgw.auth.realm import make_portal
from sftpgw.auth.sources.chain import UNDECIDED_KEY
from sftpgw.model.settings import LockoutSettings, SshSettings
from sftpgw.model.users import LoginMethod, User
from sftpgw.ssh.admission import Refusal
from sftpgw.ssh.login_guard import failure_of
from sftpgw.testing.ssh_pairs import (
    ClientPair,
    RecordedEvents,
    make_factory,
    make_test_portal,
    make_user,
    new_key,
)

SERVICE_REQUEST, REQUEST, FAILURE, SUCCESS, PK_OK = 5, 50, 51, 52, 60
INFO_RESPONSE = 61
HERE, THERE = "192.0.2.1", "198.51.100.7"
KEY = new_key()
HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode("ascii")
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEH"
NOW = 2_000_000_000.0


def user_with(name: str, *require: tuple[LoginMethod, ...]) -> User:
    user = make_user(name, KEY, HASH)
    return replace(user, login=replace(user.login, require=require, totp_secret=SECRET))


USERS = {
    "alice": make_user("alice", KEY, HASH),
    "bob": make_user("bob", KEY, HASH),
    "coded": user_with("coded", (LoginMethod.PASSWORD, LoginMethod.TOTP)),
    "keyed": user_with("keyed", (LoginMethod.PUBLICKEY, LoginMethod.PASSWORD)),
}
FAST = LockoutSettings(max_delay_seconds=0)
FREE = SshSettings(penalties=None, startups_per_address=1000, startup_rate_per_address=1000)


class World:
    """A gateway, and clients at several addresses."""

    def __init__(self, settings: LockoutSettings = FAST, ssh: SshSettings = FREE) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.events = RecordedEvents()
        portal = make_test_portal(USERS, {})
        portal.lockout = self.lockout = Lockout(
            settings, self.clock.seconds, exempt_networks=ssh.exempt_networks
        )
        self.factory = make_factory(portal, self.clock, self.events, ssh)
        self.clients: list[Client] = []

    def connect(self, host: str = HERE) -> Client:
        self.clients.append(Client(self, host))
        return self.clients[-1]

    def is_refused(self, host: str = HERE) -> bool:
        """Whether a connection is closed before anything is read or sent."""
        built = self.factory.buildProtocol(IPv4Address("TCP", host, 1))
        if built is None:
            return True
        built.client.ticket.closed()
        return False

    def guess(self, times: int, user: bytes = b"alice", host: str = HERE) -> None:
        """Wrong passwords, over as many connections as that takes."""
        client = None
        for _ in range(times):
            if client is None or not client.pair.connected:
                client = self.connect(host)
            client.password(b"wrong", user)

    def close(self) -> None:
        for client in self.clients:
            client.pair.drop()
        self.clock.advance(0)
        self.factory.stopFactory()
        assert self.clock.getDelayedCalls() == []


class Client:
    """A client whose requests the test writes."""

    def __init__(self, world: World, host: str) -> None:
        address = IPv4Address("TCP", host, 1)
        self.pair = ClientPair(world.factory, world.clock, address=address)
        server = self.pair.server
        server.client = replace(server.client, address=address)  # the transport of tests has none
        self.pair.send_packet(SERVICE_REQUEST, NS(b"ssh-userauth"))

    def heard(self, message: int) -> list[bytes]:
        return self.pair.client.answers(message)

    def ask(self, method: bytes, details: bytes, user: bytes) -> None:
        self.pair.send_packet(REQUEST, NS(user) + NS(b"ssh-connection") + NS(method) + details)

    def password(self, password: bytes, user: bytes = b"alice") -> None:
        self.ask(b"password", b"\0" + NS(password), user)

    def offer(self, key: Any, user: bytes = b"alice") -> None:
        self.ask(b"publickey", b"\0" + NS(b"ssh-ed25519") + NS(key.public().blob()), user)

    def sign(self, key: Any, user: bytes = b"alice") -> None:
        details = b"\1" + NS(b"ssh-ed25519") + NS(key.public().blob())
        request = NS(user) + NS(b"ssh-connection") + NS(b"publickey") + details
        signed = NS(self.pair.client.sessionID or b"") + bytes((REQUEST,)) + request
        self.ask(b"publickey", details + NS(key.sign(signed)), user)

    def interact(self, user: bytes) -> None:
        self.ask(b"keyboard-interactive", NS(b"") + NS(b""), user)

    def answer(self, answer: bytes) -> None:
        self.pair.send_packet(INFO_RESPONSE, struct.pack(">L", 1) + NS(answer))

    @property
    def is_in(self) -> bool:
        return bool(self.heard(SUCCESS))


@pytest.fixture
def world():
    world = World()
    yield world
    world.close()


def test_the_guess_that_bans_has_no_reply_and_neither_has_anything_after_it(world: World) -> None:
    settings = replace(FAST, user_score=3, address_score=3)
    world.lockout._settings = settings
    client = world.connect()
    client.password(b"wrong")
    client.password(b"wrong")
    assert len(client.heard(FAILURE)) == 2
    client.password(b"wrong")
    assert len(client.heard(FAILURE)) == 2
    assert client.pair.client.disconnect_text is None
    assert not client.pair.connected
    assert world.is_refused()
    assert not world.is_refused(THERE)
    facts = world.events.facts("banned")
    assert [(each["address"], each.get("user")) for each in facts] == [
        (HERE, "alice"),
        (HERE, None),
    ]
    assert facts[1]["seconds"] == 600
    assert facts[1]["reason"] == "wrong password"
    (closed,) = world.events.facts("session-closed")
    assert closed["reason"] == "banned ([lockout])"
    assert len(world.events.facts("login-failed")) == 3
    world.clock.advance(10)
    (refused,) = world.events.facts("connections-refused")
    assert refused["banned"] == 1
    world.clock.advance(600)
    again = world.connect()
    again.password(b"secret")
    assert again.is_in


def test_an_open_connection_of_a_banned_address_is_closed_at_its_next_guess(world: World) -> None:
    waiting, let_in = world.connect(), world.connect()
    let_in.password(b"secret", b"bob")
    for number in range(7):
        world.guess(1, b"nosuch%d" % number)
    assert world.lockout.bars_user(b"alice", HERE)
    waiting.password(b"secret")
    assert not waiting.pair.connected
    assert waiting.heard(FAILURE) == []
    assert not waiting.is_in
    assert let_in.pair.connected, "who is in stays in"


def test_a_user_who_is_banned_at_an_address_gets_in_elsewhere_and_with_a_key(world: World) -> None:
    world.guess(10)
    there = world.connect(THERE)
    there.password(b"secret")
    assert there.is_in
    with_password = world.connect()
    with_password.password(b"secret")
    assert not with_password.is_in
    assert not with_password.pair.connected
    with_key = world.connect()
    with_key.sign(KEY)
    assert with_key.is_in, "a key is no guess"


def test_beside_an_attacker_behind_one_nat_a_user_who_has_been_there_gets_in(world: World) -> None:
    first = world.connect()
    first.sign(KEY, b"bob")
    assert first.is_in
    for number in range(7):
        world.guess(1, b"nosuch%d" % number)
    assert not world.is_refused(), "bob may come"
    bob = world.connect()
    bob.password(b"secret", b"bob")
    assert bob.is_in
    attacker = world.connect()
    attacker.password(b"secret", b"alice")
    assert not attacker.is_in
    assert not attacker.pair.connected


def test_keys_that_an_agent_offers_in_vain_count_nothing(world: World) -> None:
    for _ in range(30):
        client = world.connect()
        client.offer(new_key())
        client.sign(new_key())
        client.offer(new_key(), b"nosuch")
        client.pair.drop()
    assert len(world.lockout._state) == 0  # type: ignore[arg-type]


def test_none_and_prompts_count_nothing(world: World) -> None:
    client = world.connect()
    client.ask(b"none", b"", b"nosuch")
    client.interact(b"nosuch")
    client.interact(b"nosuch")
    assert len(world.lockout._state) == 0  # type: ignore[arg-type]


def test_attempts_wait_longer_and_longer_before_they_are_judged() -> None:
    world = World(LockoutSettings(max_delay_seconds=4))
    world.guess(3)
    for seconds in (1, 2, 4, 4):
        client = world.connect()
        client.password(b"wrong")
        world.clock.advance(seconds - 0.01)
        client.pair.pump()
        assert client.heard(FAILURE) == []
        world.clock.advance(0.02)
        client.pair.pump()
        assert len(client.heard(FAILURE)) == 1
    client = world.connect(THERE)
    client.password(b"secret")
    assert not client.is_in, "a right password waits, too, and at any address"
    world.clock.advance(4)
    client.pair.pump()
    assert client.is_in
    unhurried = world.connect(THERE)
    unhurried.password(b"secret")
    assert unhurried.is_in, "but not where the user has been"
    world.close()


def test_a_client_that_gives_up_while_it_waits_leaves_nothing_and_learns_nothing() -> None:
    world = World(LockoutSettings())
    world.guess(3)
    before = world.lockout.delay_seconds(b"alice", HERE)
    client = world.connect()
    client.password(b"secret")
    client.pair.drop()
    assert not client.is_in
    assert world.lockout.delay_seconds(b"alice", HERE) == before
    world.close()


def test_unknown_names_ban_sooner_than_wrong_passwords(world: World) -> None:
    world.guess(9)
    assert not world.lockout.bans()[1]
    for number in range(7):
        world.guess(1, b"nosuch%d" % number, THERE)
    assert [(ban.address, ban.user, ban.reason) for ban in world.lockout.bans()[1]] == [
        (THERE, "", "unknown name")
    ]


def test_wrong_codes_count_for_the_user_over_all_connections(world: World) -> None:
    for number in range(5):
        client = world.connect()
        client.interact(b"coded")
        client.answer(b"secret")
        client.answer(b"%06d" % number)
    (ban,) = world.lockout.bans()[1]
    assert (ban.user, ban.reason) == ("coded", "wrong code")
    right = pyotp.TOTP(SECRET).generate_otp(int(NOW) // 30).encode()
    client = world.connect()
    client.interact(b"coded")
    client.answer(b"secret")
    assert not client.pair.connected
    assert world.lockout.delay_seconds(b"coded", THERE) == 0.0
    world.lockout._settings = LockoutSettings()
    assert world.lockout.delay_seconds(b"coded", THERE) == 4.0
    assert right


def test_codes_of_a_user_are_judged_one_after_the_other_from_any_number_of_addresses() -> None:
    """Also while many wait: one for each longest delay, whatever number of addresses there is."""
    world = World(LockoutSettings(max_delay_seconds=4, user_score=1000, address_score=1000))
    for _ in range(6):
        world.lockout.count_failure(b"coded", THERE, GuessFailure.WRONG_CODE)
    botnet = [world.connect(f"203.0.113.{number}") for number in range(10)]
    for client in botnet:
        client.interact(b"coded")
        client.answer(b"secret")
    world.clock.advance(4)
    for client in botnet:
        client.pair.pump()
        client.answer(b"000000")
    judged = []
    for _ in range(4):
        world.clock.advance(4)
        for client in botnet:
            client.pair.pump()
        judged.append(sum(bool(client.heard(FAILURE)) for client in botnet))
    assert judged == [1, 2, 3, 4]
    world.lockout.count_login(b"coded", HERE)
    honest = world.connect()
    honest.interact(b"coded")
    honest.answer(b"secret")
    honest.answer(pyotp.TOTP(SECRET).generate_otp(int(time.time()) // 30).encode())
    assert honest.is_in, "at an address that is known for the user nothing waits"
    for client in botnet:
        client.pair.drop()
    world.clock.advance(0)
    assert len(world.lockout.code_turns) == 0
    world.close()


def test_so_many_codes_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(LockoutSettings(user_score=1000, address_score=1000))
    world.lockout.code_turns = UserSlots(1, 1, TooManyCodes)
    clients = [world.connect() for _ in range(3)]
    for client in clients:
        client.interact(b"coded")
        client.answer(b"secret")
    for _ in range(3):
        world.lockout.count_failure(b"coded", HERE, GuessFailure.WRONG_CODE)
    for client in clients:
        client.answer(b"000000")
    assert [client.pair.connected for client in clients] == [True, True, False]
    (closed,) = world.events.facts("session-closed")
    assert closed["reason"] == "too many one-time codes of the user wait"
    assert len(world.events.facts("login-failed")) == 0
    world.close()


def test_a_right_password_that_is_not_next_counts_like_a_wrong_one(world: World) -> None:
    for host, password in ((HERE, b"secret"), (THERE, b"wrong")):
        for _ in range(10):
            world.connect(host).password(password, b"keyed")
    assert [(ban.user, ban.score) for ban in world.lockout.bans()[1]] == [("keyed", 10)] * 2


def test_exempt_networks_of_ssh_are_never_banned() -> None:
    network = ip_network("192.0.2.0/24")
    world = World(ssh=replace(FREE, exempt_networks=(network,)))
    world.guess(100)
    client = world.connect()
    client.password(b"secret")
    assert client.is_in
    world.close()


def test_the_operator_can_end_the_penalties_of_an_address() -> None:
    world = World(LockoutSettings(enabled=False), SshSettings())
    admission = world.factory.admission
    for _ in range(10):
        world.guess(1)
        world.clients[-1].pair.drop()
        world.clock.advance(0)
        if world.is_refused():
            break
    assert admission.admit(HERE) is Refusal.PENALISED
    admission.forgive(THERE)
    admission.forgive("no address")
    assert admission.admit(HERE) is Refusal.PENALISED
    admission.forgive(HERE)
    assert not world.is_refused()
    world.close()


class AwaySource:
    """An authenticator whose source of users does not answer."""

    def first_methods(self) -> tuple[LoginMethod, ...]:
        return (LoginMethod.PUBLICKEY, LoginMethod.PASSWORD)

    async def user_of_key(self, attempt: LoginAttempt, key: OfferedKey) -> KeyRefusal:
        return UNDECIDED_KEY

    async def user_of_password(self, attempt: LoginAttempt, password: bytes) -> PasswordRefusal:
        return PasswordRefusal.UNDECIDED


@pytest.mark.parametrize("proof", ["password", "offer", "sign"])
def test_a_source_that_is_away_costs_a_partner_no_penalty(proof: str) -> None:
    world = World(ssh=replace(FREE, penalties=SshSettings().penalties))
    world.factory.portal = make_portal(AwaySource(), lambda user, labels: None)
    for _ in range(10):
        client = world.connect()
        if proof == "password":
            client.password(b"secret")
        elif proof == "offer":
            client.offer(KEY)
        else:
            client.sign(KEY)
        assert len(client.heard(FAILURE)) == 1
        client.pair.drop()
        world.clock.advance(0)
    assert not world.is_refused()
    world.close()


PASSWORD = PasswordCredentials(LoginAttempt(b"alice", HERE), b"x")
CODE = CodeCredentials(USERS["coded"], b"000000")
OFFERED = KeyCredentials(
    LoginAttempt(b"alice", HERE), algorithm=b"", blob=b"", message=b"", signature=None
)


@pytest.mark.parametrize(
    ("credentials", "outcome", "failure"),
    [
        (PASSWORD, UnauthorizedLogin(), GuessFailure.WRONG_PASSWORD),
        (PASSWORD, RefusedProof("not next"), GuessFailure.WRONG_PASSWORD),
        (PASSWORD, UnknownName(), GuessFailure.UNKNOWN_NAME),
        (PASSWORD, UndecidedProof("the source is away"), None),
        (PASSWORD, ValueError("a defect of ours"), None),
        (CODE, RefusedProof("the code is wrong"), GuessFailure.WRONG_CODE),
        (CODE, ValueError("a defect of ours"), None),
        (OFFERED, RefusedProof(""), None),
        (OFFERED, UnfitKey(), None),
        (None, LoginFailed(), None),
        (None, None, None),
    ],
)
def test_what_counts(credentials: Any, outcome: Any, failure: GuessFailure | None) -> None:
    assert failure_of(credentials, outcome) is failure
