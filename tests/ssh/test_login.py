"""Logging in over a real SSH connection in memory (RFC 4252)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import bcrypt
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from twisted.conch.interfaces import IConchUser
from twisted.conch.ssh.common import NS, getNS
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from sftpgw.auth.login_keys import LOGIN_ALGORITHMS, fingerprint
from sftpgw.auth.passwords import DEFAULT_DECOY, Decoys
from sftpgw.auth.realm import GatewayRealm, LoginPortal, make_portal
from sftpgw.auth.sources.static import StaticUserDirectory
from sftpgw.auth.user_records import RecordAuthenticator
from sftpgw.model.settings import Policy, SshSettings
from sftpgw.model.users import SessionLabels, User
from sftpgw.ssh.avatar import GatewayAvatar
from sftpgw.ssh.userauth import MAX_QUESTIONS
from sftpgw.testing.ssh_clients import ClientConnection, ClientUserAuth
from sftpgw.testing.ssh_pairs import (
    ClientPair,
    RecordedEvents,
    call_at_once,
    make_factory,
    make_test_portal,
    make_user,
    new_key,
)

SERVICE_REQUEST, SERVICE_ACCEPT, EXT_INFO = 5, 6, 7
NEWKEYS = 21
REQUEST, FAILURE, SUCCESS, BANNER, PK_OK = 50, 51, 52, 53, 60
INFO_REQUEST, INFO_RESPONSE = 60, 61
GLOBAL_REQUEST = 80
METHODS = b"publickey,password,keyboard-interactive"

KEY = new_key()
RSA_KEY = Key(rsa.generate_private_key(65537, 2048))
HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode("ascii")
USERS = {"alice": make_user("alice", KEY, HASH), "rita": make_user("rita", RSA_KEY)}


class Login:
    """A client whose requests the test writes."""

    def __init__(
        self,
        portal: LoginPortal | None = None,
        settings: SshSettings | None = None,
        *,
        start: bool = True,
    ) -> None:
        self.clock = Clock()
        self.events = RecordedEvents()
        self.logouts: list[str] = []
        portal = portal or make_test_portal(USERS, {}, self.logouts.append)
        factory = make_factory(portal, self.clock, self.events, settings)
        self.pair = ClientPair(factory, self.clock)
        if start:
            self.pair.send_packet(SERVICE_REQUEST, NS(b"ssh-userauth"))
            assert self.heard(SERVICE_ACCEPT)

    def heard(self, message: int) -> list[bytes]:
        return self.pair.client.answers(message)

    def ask(
        self, method: bytes, details: bytes = b"", user: bytes = b"alice", **more: bytes
    ) -> None:
        service = more.get("service", b"ssh-connection")
        self.pair.send_packet(REQUEST, NS(user) + NS(service) + NS(method) + details)

    def password(self, password: bytes, user: bytes = b"alice") -> None:
        self.ask(b"password", b"\0" + NS(password), user)

    def offer(
        self, key: Key = KEY, algorithm: bytes = b"ssh-ed25519", user: bytes = b"alice"
    ) -> None:
        self.ask(b"publickey", b"\0" + NS(algorithm) + NS(key.public().blob()), user)

    def sign(self, key: Key, algorithm: bytes, user: bytes, announced: bytes | None = None) -> None:
        """Send a signed request; `announced` is the algorithm that it names, if it is another."""
        details = b"\1" + NS(announced or algorithm) + NS(key.public().blob())
        request = NS(user) + NS(b"ssh-connection") + NS(b"publickey") + details
        message = NS(self.pair.client.sessionID or b"") + bytes((REQUEST,)) + request
        signature = key.sign(message, signatureType=algorithm)
        self.ask(b"publickey", details + NS(signature), user)

    def interact(self, user: bytes = b"alice") -> None:
        """Begin keyboard-interactive."""
        self.ask(b"keyboard-interactive", NS(b"") + NS(b""), user)

    def answer(self, *answers: bytes) -> None:
        """The prompts of the gateway."""
        count = struct.pack(">L", len(answers))
        self.pair.send_packet(INFO_RESPONSE, count + b"".join(map(NS, answers)))

    @property
    def disconnect_text(self) -> bytes | None:
        return self.pair.client.disconnect_text


@pytest.fixture
def login():
    login = Login()
    yield login
    login.pair.drop()
    login.pair.factory.stopFactory()
    assert login.clock.getDelayedCalls() == []


def test_a_right_password_opens(login: Login) -> None:
    login.password(b"secret")
    assert login.heard(SUCCESS) == [b""]
    assert login.events.facts("login-succeeded") == [
        {
            "session": "00000001",
            "peer": "local",
            "user": "alice",
            "method": "password",
            "policy": "compatible",
        }
    ]
    login.pair.drop()
    assert login.logouts == ["alice"]
    assert login.events.names() == [
        "session-opened",
        "client-version",
        "login-succeeded",
        "session-closed",
    ]


@pytest.mark.parametrize(
    ("key", "algorithm", "user"),
    [
        (KEY, b"ssh-ed25519", b"alice"),
        (RSA_KEY, b"rsa-sha2-256", b"rita"),
        (RSA_KEY, b"rsa-sha2-512", b"rita"),
    ],
)
def test_an_authorized_key_opens(login: Login, key: Key, algorithm: bytes, user: bytes) -> None:
    login.offer(key, algorithm, user)
    assert login.heard(PK_OK) == [NS(algorithm) + NS(key.public().blob())]
    login.sign(key, algorithm, user)
    assert login.heard(SUCCESS) == [b""]
    (facts,) = login.events.facts("login-succeeded")
    assert str(facts["key"]).startswith("SHA256:")


def test_conchs_own_client_logs_in_with_either() -> None:
    for key, password in ((KEY, None), (None, b"secret"), (new_key(), b"secret")):
        connection = ClientConnection()
        clock = Clock()
        auth = ClientUserAuth(b"alice", connection, key=key, password=password)
        factory = make_factory(make_test_portal(USERS, {}), clock, RecordedEvents())
        pair = ClientPair(
            factory, clock, lambda transport, auth=auth: transport.requestService(auth)
        )
        assert connection.started
        pair.drop()


@pytest.mark.parametrize("password", [b"", b"wrong", b"s" * 73, b"s" * 30_000, b"\xff\0"])
def test_a_wrong_password_is_one_failure(login: Login, password: bytes) -> None:
    login.password(password)
    assert login.heard(FAILURE) == [NS(METHODS) + b"\0"]
    assert not login.heard(SUCCESS)
    (facts,) = login.events.facts("login-failed")
    assert (facts["user"], facts["method"]) == ("alice", "password")
    assert all(repr(password) not in repr(told) for told in login.events.told if password)


@pytest.mark.parametrize("user", [b"nobody", b"\xff\xfe", b"", b"a" * 20_000, b"x\n[root]"])
def test_malformed_and_unknown_names_fail(login: Login, user: bytes) -> None:
    login.password(b"secret", user)
    assert len(login.heard(FAILURE)) == 1
    (facts,) = login.events.facts("login-failed")
    assert "\n" not in str(facts["user"])
    assert len(str(facts["user"])) < 1000


def test_a_refused_key_is_named_in_the_log(login: Login) -> None:
    key = new_key()
    login.offer(key)
    login.sign(key, b"ssh-ed25519", b"alice")
    for event in ("key-not-authorised", "login-failed"):
        (facts,) = login.events.facts(event)
        assert facts["key"] == fingerprint(key.public().blob())


def test_an_agent_that_asks_about_its_other_key_first_fails_nothing(login: Login) -> None:
    login.ask(b"none")
    login.offer(new_key())
    login.offer()
    login.sign(KEY, b"ssh-ed25519", b"alice")
    assert login.heard(SUCCESS)
    login.pair.drop()
    assert login.events.names() == [
        "session-opened",
        "client-version",
        "key-not-authorised",
        "login-succeeded",
        "session-closed",
    ]


def test_unauthorized_keys_are_not_confirmed(login: Login) -> None:
    login.offer(new_key())
    login.offer(user=b"nobody")
    login.offer(RSA_KEY, b"ssh-rsa", b"rita")
    assert not login.heard(PK_OK)
    assert len(login.heard(FAILURE)) == 3


@pytest.mark.parametrize(
    ("used", "announced"),
    [(b"ssh-rsa", b"ssh-rsa"), (b"ssh-rsa", b"rsa-sha2-256"), (b"rsa-sha2-256", b"rsa-sha2-512")],
)
def test_a_signature_by_the_wrong_algorithm_fails(
    login: Login, used: bytes, announced: bytes
) -> None:
    login.sign(RSA_KEY, used, b"rita", announced)
    assert len(login.heard(FAILURE)) == 1
    assert not login.heard(SUCCESS)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("key", "algorithm", "reason", "lets_in"),
    [
        (RSA_KEY, b"ssh-rsa", "the client signs with RSA and SHA-1", "[ssh] policy = legacy"),
        (
            Key(rsa.generate_private_key(65537, 1024)),
            b"rsa-sha2-256",
            "RSA keys must have 2048 to 16384 bits, this has 1024",
            "nothing: the user needs another key",
        ),
        (
            Key(dsa.generate_private_key(1024)),
            b"ssh-dss",
            "keys of the type ssh-dss are not accepted",
            "nothing: the user needs another key",
        ),
        (
            KEY,
            b"rsa-sha2-256",
            "the key cannot sign with the algorithm that the client names",
            "nothing: the user needs another key",
        ),
    ],
)
def test_the_log_says_what_is_wrong_with_a_key(
    login: Login, key: Key, algorithm: bytes, reason: str, lets_in: str, *, signed: bool
) -> None:
    """Not that it is not authorised, which it may be; the client is told nothing."""
    details = bytes([signed]) + NS(algorithm) + NS(key.public().blob())
    login.ask(b"publickey", details + (NS(NS(algorithm) + NS(b"x")) if signed else b""), b"rita")
    assert login.heard(FAILURE) == [NS(METHODS) + b"\0"]
    (facts,) = login.events.facts("login-key-unfit")
    assert (facts["user"], facts["reason"], facts["lets_in"]) == ("rita", reason, lets_in)
    assert str(facts["client"]).startswith("SSH-2.0-Twisted")
    assert not {"key-not-authorised", "login-failed"} & set(login.events.names())


def test_under_legacy_a_key_may_sign_with_sha1_and_the_log_warns_of_it() -> None:
    login = Login(settings=SshSettings(policy=Policy.LEGACY))
    login.offer(RSA_KEY, b"ssh-rsa", b"rita")
    assert len(login.heard(PK_OK)) == 1
    login.sign(RSA_KEY, b"rsa-sha2-256", b"rita", b"ssh-rsa")
    assert not login.heard(SUCCESS), "not the algorithm that was announced"
    login.sign(RSA_KEY, b"ssh-rsa", b"rita")
    assert len(login.heard(SUCCESS)) == 1
    (succeeded,) = login.events.facts("login-succeeded")
    assert succeeded["policy"] == "legacy"
    (warned,) = login.events.facts("legacy-login")
    assert (warned["user"], warned["algorithms"]) == ("rita", "ssh-rsa")
    login.pair.drop()


def test_under_legacy_no_warning_where_nothing_old_was_used() -> None:
    modern = Login(settings=SshSettings(policy=Policy.LEGACY))
    modern.sign(KEY, b"ssh-ed25519", b"alice")
    assert len(modern.heard(SUCCESS)) == 1
    assert not modern.events.facts("legacy-login")
    modern.pair.drop()


def test_a_signature_for_another_user_fails(login: Login) -> None:
    login.sign(RSA_KEY, b"rsa-sha2-512", b"alice")
    assert not login.heard(SUCCESS)


@pytest.mark.parametrize(
    "details",
    [b"", b"\0", b"\0\0\0\0\x20abc", b"\0" + NS(b"x") + b"more"],
    ids=["nothing", "no password", "cut short", "trailing"],
)
def test_a_malformed_request_ends_the_connection(login: Login, details: bytes) -> None:
    login.ask(b"password", details)
    assert login.disconnect_text
    assert not login.pair.connected
    assert "protocol-broken" in login.events.names()


def test_a_change_of_password_fails(login: Login) -> None:
    login.ask(b"password", b"\1" + NS(b"secret") + NS(b"new"))
    assert len(login.heard(FAILURE)) == 1


@pytest.mark.parametrize("method", [b"gssapi-with-mic", b"hostbased", b"\xff", b"__init__"])
def test_other_methods_fail(login: Login, method: bytes) -> None:
    login.ask(method)
    assert len(login.heard(FAILURE)) == 1


def test_another_service_than_connection_is_refused(login: Login) -> None:
    login.ask(b"password", b"\0" + NS(b"secret"), service=b"ssh-userauth")
    assert login.disconnect_text == b"no such service"


# keyboard-interactive.


@pytest.mark.parametrize("user", [b"alice", b"rita", b"nobody", b"\xff"])
def test_every_user_is_asked_for_one_password_without_an_echo(login: Login, user: bytes) -> None:
    login.interact(user)
    question = struct.pack(">L", 1) + NS(b"Password: ") + b"\0"
    assert login.heard(INFO_REQUEST) == [3 * NS(b"") + question]
    assert not login.heard(FAILURE)
    assert "login-failed" not in login.events.names()


def test_the_response_is_the_password(login: Login) -> None:
    login.interact()
    login.answer(b"secret")
    assert login.heard(SUCCESS) == [b""]
    (facts,) = login.events.facts("login-succeeded")
    assert (facts["user"], facts["method"]) == ("alice", "keyboard-interactive")


@pytest.mark.parametrize("answers", [(b"wrong",), (b"",), (), (b"secret", b"secret"), (b"",) * 99])
def test_a_wrong_response_is_one_failure(login: Login, answers: tuple[bytes, ...]) -> None:
    login.interact()
    login.answer(*answers)
    assert login.heard(FAILURE) == [NS(METHODS) + b"\0"]
    (facts,) = login.events.facts("login-failed")
    assert (facts["user"], facts["method"]) == ("alice", "keyboard-interactive")
    login.interact()
    login.answer(b"secret")
    assert login.heard(SUCCESS)


def test_a_response_is_for_the_user_of_the_request(login: Login) -> None:
    login.interact(b"rita")
    login.ask(b"none", user=b"alice")
    login.interact(b"rita")
    login.answer(b"secret")
    assert not login.heard(SUCCESS)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\0\0\0\1", b"\0\0\0\1\0\0\0\x20abc", b"\0\0\0\1" + NS(b"secret") + b"more"],
)
def test_a_malformed_response_ends_the_connection(login: Login, payload: bytes) -> None:
    login.interact()
    login.pair.send_packet(INFO_RESPONSE, payload)
    assert not login.heard(SUCCESS)
    assert "protocol-broken" in login.events.names()


@pytest.mark.parametrize("details", [b"", NS(b""), NS(b"") + NS(b"") + b"more"])
def test_a_malformed_beginning_ends_the_connection(login: Login, details: bytes) -> None:
    login.ask(b"keyboard-interactive", details)
    assert "protocol-broken" in login.events.names()


@pytest.mark.parametrize("before", [[], [b"none"], [b"keyboard-interactive", b"none"]])
def test_a_response_without_a_prompt_ends_the_connection(login: Login, before: list[bytes]) -> None:
    for method in before:
        login.ask(method, b"" if method == b"none" else NS(b"") + NS(b""))
    login.answer(b"secret")
    assert login.disconnect_text == b"a response without a prompt"
    assert not login.heard(SUCCESS)


def test_a_prompt_takes_one_response(login: Login) -> None:
    login.interact()
    login.answer(b"wrong")
    login.answer(b"secret")
    assert not login.heard(SUCCESS)


def test_both_ways_to_send_a_password_count_together() -> None:
    login = Login(settings=SshSettings(auth_tries=4))
    login.ask(b"none")
    for _ in range(2):
        login.interact()
        login.answer(b"wrong")
        login.password(b"wrong")
    assert login.disconnect_text == b"too many authentication failures ([ssh] auth_tries)"
    assert len(login.events.facts("login-failed")) == 4
    assert len(login.heard(FAILURE)) == 1 + 3


def test_a_service_request_does_not_start_a_new_count() -> None:
    login = Login(settings=SshSettings(auth_tries=3))
    for number in range(3):
        login.password(b"wrong")
        if number < 2:
            login.pair.send_packet(SERVICE_REQUEST, NS(b"ssh-userauth"))
    assert len(login.heard(SERVICE_ACCEPT)) == 3
    assert login.disconnect_text == b"too many authentication failures ([ssh] auth_tries)"


def test_prompts_without_a_response_count_as_attempts() -> None:
    login = Login(settings=SshSettings(auth_tries=3))
    for _ in range(3):
        login.interact()
    assert login.pair.connected
    login.answer(b"wrong")
    assert login.disconnect_text == b"too many authentication failures ([ssh] auth_tries)"
    login = Login(settings=SshSettings(auth_tries=3))
    for _ in range(4):
        login.interact()
    assert login.disconnect_text == b"too many authentication failures ([ssh] auth_tries)"
    assert len(login.heard(INFO_REQUEST)) == 3


def test_the_last_attempt_may_be_the_right_response() -> None:
    login = Login(settings=SshSettings(auth_tries=2))
    login.password(b"wrong")
    login.interact()
    login.answer(b"secret")
    assert login.heard(SUCCESS)


# The banner.


def test_a_banner_comes_once_before_the_first_reply() -> None:
    login = Login(settings=SshSettings(banner="Nur f\u00fcr Mitglieder\r\n"))
    login.ask(b"none")
    login.password(b"secret")
    heard = [number for number, _ in login.pair.client.heard if number >= REQUEST]
    assert heard == [BANNER, FAILURE, SUCCESS, GLOBAL_REQUEST]
    assert login.heard(BANNER) == [NS("Nur f\u00fcr Mitglieder\r\n".encode()) + NS(b"")]


def test_no_banner_is_sent_unless_it_is_configured(login: Login) -> None:
    login.ask(b"none")
    assert login.heard(BANNER) == []


@pytest.mark.parametrize("tries", [1, 3])
def test_the_last_failed_attempt_disconnects_the_client(tries: int) -> None:
    login = Login(settings=SshSettings(auth_tries=tries))
    login.ask(b"none")
    for _ in range(tries - 1):
        login.password(b"wrong")
    assert len(login.heard(FAILURE)) == 1 + tries - 1
    login.password(b"wrong")
    assert len(login.heard(FAILURE)) == 1 + tries - 1
    assert login.disconnect_text == b"too many authentication failures ([ssh] auth_tries)"
    assert not login.pair.connected
    assert login.clock.getDelayedCalls() == []


@pytest.mark.parametrize("before", [b"none", b"hostbased"])
def test_only_one_none_is_free(before: bytes) -> None:
    login = Login(settings=SshSettings(auth_tries=2))
    login.ask(before)
    login.ask(b"none")
    assert login.pair.connected
    login.ask(b"none")
    assert login.disconnect_text == b"too many authentication failures ([ssh] auth_tries)"


def test_an_agent_with_many_keys_ends_at_the_limit() -> None:
    login = Login(settings=SshSettings(auth_tries=6))
    login.ask(b"none")
    for _ in range(5):
        login.offer(new_key())
    assert login.pair.connected
    login.offer(new_key())
    assert login.disconnect_text == b"too many authentication failures ([ssh] auth_tries)"
    assert len(login.events.facts("key-not-authorised")) == 6


def test_the_last_attempt_may_be_the_right_one() -> None:
    login = Login(settings=SshSettings(auth_tries=2))
    login.password(b"wrong")
    login.password(b"secret")
    assert login.heard(SUCCESS)


def test_offers_that_are_confirmed_use_up_no_attempts() -> None:
    login = Login(settings=SshSettings(auth_tries=2))
    for _ in range(10):
        login.offer()
    assert len(login.heard(PK_OK)) == 10
    login.password(b"wrong")
    assert len(login.heard(FAILURE)) == 1
    login.sign(KEY, b"ssh-ed25519", b"alice")
    assert login.heard(SUCCESS)


def test_questions_about_a_good_key_are_bounded(login: Login) -> None:
    for _ in range(MAX_QUESTIONS + 1):
        login.offer()
    assert len(login.heard(PK_OK)) == MAX_QUESTIONS
    assert login.disconnect_text == b"too many questions about keys"
    assert not login.pair.connected


class SlowThread:
    """Replaces the thread pool: a check waits until the test lets it continue."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.asked: list[bytes] = []

    def run(
        self, source: str, function: Callable[..., Any], password: bytes, text: str
    ) -> Deferred[Any]:
        waiting: Deferred[Any] = Deferred()
        self.asked.append(password)
        self.waiting.append(lambda: waiting.callback(function(password, text)))
        return waiting

    def portal(self, on_logout: Callable[[str], None] = lambda name: None) -> LoginPortal:
        decoy = DEFAULT_DECOY.replace("$12$", "$04$")
        return make_portal(
            RecordAuthenticator(StaticUserDirectory(USERS), self.run, Decoys([decoy])),
            lambda user, session: GatewayAvatar({}, lambda: on_logout(user.name)),
        )


def password_packet(password: bytes) -> bytes:
    return NS(b"alice") + NS(b"ssh-connection") + NS(b"password") + b"\0" + NS(password)


def test_pipelined_passwords_are_checked_one_at_a_time() -> None:
    thread = SlowThread()
    login = Login(thread.portal())
    for password in (b"1", b"2", b"secret", b"4"):
        login.pair.client.sendPacket(REQUEST, password_packet(password))
    login.pair.pump()
    assert thread.asked == [b"1"]
    thread.waiting.pop()()
    assert thread.asked == [b"1", b"2"]
    thread.waiting.pop()()
    thread.waiting.pop()()
    login.pair.pump()
    assert thread.asked == [b"1", b"2", b"secret"]  # requests behind a success are ignored
    assert len(login.heard(FAILURE)) == 2
    assert login.heard(SUCCESS) == [b""]


def test_pipelined_responses_are_checked_one_at_a_time() -> None:
    """keyboard-interactive has the same limits as the method "password"."""
    thread = SlowThread()
    login = Login(thread.portal())
    begin = NS(b"alice") + NS(b"ssh-connection") + NS(b"keyboard-interactive") + NS(b"") * 2
    for guess in (b"1", b"secret"):
        login.pair.client.sendPacket(REQUEST, begin)
        login.pair.client.sendPacket(INFO_RESPONSE, struct.pack(">L", 1) + NS(guess))
        login.pair.client.sendPacket(REQUEST, password_packet(b"2"))
    login.pair.pump()
    assert thread.asked == [b"1"]
    for _ in range(3):
        thread.waiting.pop()()
    login.pair.pump()
    assert thread.asked == [b"1", b"2", b"secret"]
    assert len(login.heard(FAILURE)) == 2
    assert login.heard(SUCCESS) == [b""]


def test_a_flood_of_responses_is_cut_off() -> None:
    thread = SlowThread()
    login = Login(thread.portal())
    login.interact()
    for _ in range(50):
        login.pair.client.sendPacket(INFO_RESPONSE, struct.pack(">L", 1) + NS(b"guess"))
    login.pair.pump()
    assert login.disconnect_text == b"too many login requests at once"
    assert thread.asked == [b"guess"]


def test_a_flood_of_passwords_is_cut_off_before_it_is_checked() -> None:
    thread = SlowThread()
    login = Login(thread.portal())
    for number in range(500):
        login.pair.client.sendPacket(REQUEST, password_packet(b"%d" % number))
    login.pair.client.sendPacket(REQUEST, password_packet(b"secret"))
    login.pair.pump()
    assert login.disconnect_text == b"too many login requests at once"
    assert thread.asked == [b"0"]


def test_pipelined_failures_stop_at_the_limit_even_if_checks_are_instant() -> None:
    login = Login(settings=SshSettings(auth_tries=4))
    for _ in range(6):
        login.pair.client.sendPacket(REQUEST, password_packet(b"wrong"))
    login.pair.client.sendPacket(REQUEST, password_packet(b"secret"))
    login.pair.pump()
    assert not login.heard(SUCCESS)
    assert len(login.events.facts("login-failed")) == 4


def test_requests_after_a_success_are_ignored(login: Login) -> None:
    login.password(b"secret")
    login.password(b"wrong")
    assert login.pair.connected
    assert not login.heard(FAILURE)


def test_a_result_after_the_connection_is_gone_is_ignored() -> None:
    thread = SlowThread()
    logouts: list[str] = []
    login = Login(thread.portal(logouts.append))
    login.password(b"secret")
    login.pair.drop()
    thread.waiting.pop()()
    assert "login-succeeded" not in login.events.names()
    assert logouts == []  # the realm was never asked for an avatar
    assert login.clock.getDelayedCalls() == []


def test_an_avatar_after_the_disconnect_is_logged_out_again() -> None:
    """The realm takes its time, and we disconnect meanwhile; TCP still holds our message."""
    logouts: list[str] = []
    portal = make_test_portal(USERS, {}, logouts.append)
    realm, waiting = portal.realm, Deferred[None]()

    class SlowRealm(GatewayRealm):
        def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Deferred[Any]:
            asked = realm.requestAvatar(avatarId, mind, *interfaces)
            if IConchUser not in interfaces:
                return asked
            return asked.addCallback(lambda avatar: waiting.addCallback(lambda _: avatar))

    portal.realm = SlowRealm(lambda user, labels: GatewayAvatar({}))
    login = Login(portal)
    login.pair.client_reads = False
    login.password(b"secret")
    login.clock.advance(60)
    assert logouts == []
    waiting.callback(None)
    assert logouts == ["alice"]
    assert "login-succeeded" not in login.events.names()
    login.pair.drop()
    login.pair.factory.stopFactory()
    assert login.clock.getDelayedCalls() == []


def test_a_result_after_the_disconnect_is_ignored() -> None:
    thread = SlowThread()
    logouts: list[str] = []
    login = Login(thread.portal(logouts.append))
    login.pair.client_reads = False
    login.password(b"secret")
    login.clock.advance(60)
    thread.waiting.pop()()
    assert logouts == []  # the realm was never asked for an avatar
    assert "login-succeeded" not in login.events.names()
    login.pair.drop()
    login.pair.factory.stopFactory()
    assert login.clock.getDelayedCalls() == []


def test_a_portal_that_breaks_is_a_failed_login_and_one_logged_failure(
    logged_failures: Any,
) -> None:
    class BrokenDirectory:
        async def find(self, name: str) -> None:
            raise RuntimeError("the directory is on fire")

    portal = make_portal(
        RecordAuthenticator(BrokenDirectory(), call_at_once, Decoys([])),
        lambda user, session: GatewayAvatar({}),
    )
    login = Login(portal)
    login.password(b"secret")
    assert len(login.heard(FAILURE)) == 1
    login.pair.drop()
    (found,), logged_failures.found = logged_failures.found, []
    assert "session 00000001" in found
    assert "the directory is on fire" in found


def test_an_avatar_is_made_for_the_session_that_the_log_names() -> None:
    made: list[SessionLabels] = []

    def make_avatar(user: User, labels: SessionLabels) -> GatewayAvatar:
        made.append(labels)
        return GatewayAvatar({})

    users = StaticUserDirectory(USERS)
    login = Login(make_portal(RecordAuthenticator(users, call_at_once, Decoys([])), make_avatar))
    login.password(b"secret")
    (told,) = login.events.facts("login-succeeded")
    assert made == [SessionLabels(str(told["session"]), str(told["peer"]))]


def test_the_client_learns_which_algorithms_its_keys_may_use() -> None:
    login = Login(start=False)
    (payload,) = login.heard(EXT_INFO)
    assert struct.unpack(">L", payload[:4]) == (1,)
    name, algorithms, rest = getNS(payload[4:], 2)
    assert (name, rest) == (b"server-sig-algs", b"")
    assert algorithms.split(b",") == list(LOGIN_ALGORITHMS)
    assert b"rsa-sha2-512" in algorithms  # though the host key is ed25519
    login.pair.drop()


@pytest.mark.parametrize("strict", [False, True])
def test_the_client_learns_the_algorithms_before_it_has_sent_newkeys(strict: bool) -> None:
    """RFC 8308, section 2.4: right behind our NEWKEYS. libssh 0.10 ignores a later one."""
    clock = Clock()
    factory = make_factory(make_test_portal({}, {}), clock, RecordedEvents())
    pair = ClientPair(factory, clock, greet=False, strict=strict)
    send = pair.client.sendPacket
    pair.client.sendPacket = lambda number, payload: number != NEWKEYS and send(number, payload)
    pair.client.makeConnection(pair.client_io)
    pair.pump()
    # KEXINIT, KEX_REPLY and NEWKEYS; after a strict exchange the count begins anew.
    assert pair.server.packet_writer.sequence == (1 if strict else 4)
    assert pair.client.answers(EXT_INFO)
    pair.drop()
