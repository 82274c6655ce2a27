"""Logins in several steps: partial success, one-time codes, and what others can do with them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import bcrypt
import pyotp
import pytest
from twisted.conch.ssh.common import NS
from twisted.internet.address import IPv4Address

from sftpgw.auth.authenticator import KeyGrant, KeyRefusal, LoginAttempt, PasswordRefusal
from sftpgw.auth.key_rules import KeyRules
from sftpgw.auth.offered_keys import OfferedKey
from sftpgw.auth.passwords import DEFAULT_DECOY, Decoys
from sftpgw.auth.plan import Alternatives, first_methods
from sftpgw.auth.realm import make_portal
from sftpgw.auth.sources.static import StaticUserDirectory
from sftpgw.auth.user_records import RecordAuthenticator
from sftpgw.model.key_trust import NO_TRUST, KeyTrust, RevokedKeys
from sftpgw.model.settings import SshSettings
from sftpgw.model.users import NO_OPTIONS, LoginMethod, User
from sftpgw.ssh.avatar import GatewayAvatar
from sftpgw.testing.ssh_pairs import call_at_once, make_user, new_key
from tests.ssh.test_login import (
    FAILURE,
    INFO_REQUEST,
    PK_OK,
    REQUEST,
    SUCCESS,
    Login,
)

KEY, PASSWORD, TOTP = LoginMethod.PUBLICKEY, LoginMethod.PASSWORD, LoginMethod.TOTP
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEH"
LOGIN_KEY = new_key()
HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode("ascii")
NOW = 2_000_000_000
ASK_PASSWORD = 3 * NS(b"") + struct.pack(">L", 1) + NS(b"Password: ") + b"\0"
ASK_CODE = 3 * NS(b"") + struct.pack(">L", 1) + NS(b"Verification code: ") + b"\0"


def user_with(name: str, *require: tuple[LoginMethod, ...], **rules: Any) -> User:
    user = make_user(name, LOGIN_KEY, HASH)
    return replace(user, login=replace(user.login, require=require, totp_secret=SECRET, **rules))


def code(steps: int = 0) -> bytes:
    return pyotp.TOTP(SECRET).generate_otp(NOW // 30 + steps).encode()


class Steps(Login):
    """A client of a gateway with some users."""

    def __init__(self, *users: User, settings: SshSettings | None = None) -> None:
        self.made: list[str] = []
        self.now = float(NOW)
        self.hashed: list[str] = []
        self.users = {user.name: user for user in users}
        self.trust = NO_TRUST
        portal = make_portal(self, self._make_avatar, wall_clock=lambda: self.now)
        super().__init__(portal, settings)

    @property
    def authenticator(self) -> RecordAuthenticator:
        """That of the users as they are now."""
        return RecordAuthenticator(
            StaticUserDirectory(self.users),
            self._hash,
            Decoys([DEFAULT_DECOY.replace("$12$", "$04$")]),
            first_methods=first_methods(user.login.require for user in self.users.values()),
            key_rules=KeyRules(self.trust),
        )

    def first_methods(self) -> tuple[LoginMethod, ...]:
        return self.authenticator.first_methods()

    async def user_of_key(self, attempt: LoginAttempt, key: OfferedKey) -> KeyGrant | KeyRefusal:
        return await self.authenticator.user_of_key(attempt, key)

    async def user_of_password(
        self, attempt: LoginAttempt, password: bytes
    ) -> User | PasswordRefusal:
        return await self.authenticator.user_of_password(attempt, password)

    def _hash(self, source: str, function: Any, password: bytes, password_hash: str) -> Any:
        self.hashed.append(password_hash)
        return call_at_once(source, function, password, password_hash)

    def _make_avatar(self, user: User, labels: object) -> GatewayAvatar:
        self.made.append(user.name)
        return GatewayAvatar({}, user=user.name)

    def key(self, user: bytes = b"alice") -> None:
        self.sign(LOGIN_KEY, b"ssh-ed25519", user)

    @property
    def replies(self) -> list[tuple[str, bool]]:
        """The methods that can continue and the partial success, of each FAILURE."""
        return [(payload[4:-1].decode(), bool(payload[-1])) for payload in self.heard(FAILURE)]

    @property
    def prompts(self) -> list[bytes]:
        return self.heard(INFO_REQUEST)

    @property
    def is_in(self) -> bool:
        return self.heard(SUCCESS) == [b""]


def test_a_key_and_then_a_code() -> None:
    login = Steps(user_with("alice", (KEY, TOTP)))
    login.ask(b"none")
    login.key()
    assert login.replies == [("publickey", False), ("keyboard-interactive", True)]
    assert login.made == [], "no avatar before the last step"
    login.interact()
    assert login.prompts == [ASK_CODE]
    login.answer(code())
    assert login.is_in
    assert login.made == ["alice"]
    (continued,) = login.events.facts("login-continues")
    assert (continued["method"], continued["needs"]) == ("publickey", "totp")
    (facts,) = login.events.facts("login-succeeded")
    assert facts["method"] == "publickey+keyboard-interactive"
    assert facts["proofs"] == "publickey+totp"
    assert str(facts["key"]).startswith("SHA256:")
    assert SECRET not in repr(login.events.told)
    assert SECRET not in repr(login.users)


def test_a_key_and_then_a_password_by_either_method() -> None:
    for is_interactive in (False, True):
        login = Steps(user_with("alice", (KEY, PASSWORD)))
        login.key()
        assert login.replies == [("password,keyboard-interactive", True)]
        if is_interactive:
            login.interact()
            assert login.prompts == [ASK_PASSWORD]
            login.answer(b"secret")
        else:
            login.password(b"secret")
        assert login.is_in


def test_a_key_that_is_removed_between_two_steps_does_not_count() -> None:
    login = Steps(user_with("alice", (KEY, PASSWORD)))
    login.key()
    login.users["alice"] = replace(
        login.users["alice"],
        login=replace(login.users["alice"].login, authorized_keys={b"another": NO_OPTIONS}),
    )
    login.password(b"secret")
    assert not login.is_in
    assert login.made == []
    assert login.replies[-1] == ("publickey", False), "it begins anew"
    login.users["alice"] = user_with("alice", (KEY, PASSWORD))
    login.key()
    login.password(b"secret")
    assert login.is_in


def test_a_password_that_is_changed_between_two_steps_does_not_count() -> None:
    login = Steps(user_with("alice", (PASSWORD, KEY)))
    login.password(b"secret")
    alice = login.users["alice"]
    login.users["alice"] = replace(alice, login=replace(alice.login, password_hash=HASH + "x"))
    login.key()
    assert not login.is_in
    assert login.replies[-1][1] is False


@pytest.mark.parametrize("last", [PASSWORD, TOTP])
def test_a_key_that_is_revoked_between_two_steps_does_not_count(last: LoginMethod) -> None:
    login = Steps(user_with("alice", (KEY, last)))
    login.key()
    login.trust = KeyTrust(revoked=RevokedKeys(frozenset({LOGIN_KEY.public().blob()})))
    if last is PASSWORD:
        login.password(b"secret")
    else:
        login.interact()
        login.answer(code())
    assert not login.is_in
    assert login.made == []
    told = login.events.facts("login-failed")[-1]
    assert "does not count any more" in str(told)


def test_a_password_and_a_code_in_one_conversation() -> None:
    login = Steps(user_with("alice", (PASSWORD, TOTP)))
    login.interact()
    login.answer(b"secret")
    assert login.prompts == [ASK_PASSWORD, ASK_CODE]
    login.answer(code())
    assert login.is_in
    (facts,) = login.events.facts("login-succeeded")
    assert (facts["method"], facts["proofs"]) == ("keyboard-interactive", "password+totp")


def test_a_password_by_its_own_method_and_then_a_code() -> None:
    login = Steps(user_with("alice", (PASSWORD, TOTP)))
    login.password(b"secret")
    assert login.replies == [("keyboard-interactive", True)]
    login.interact()
    login.answer(code())
    assert login.prompts == [ASK_CODE]
    assert login.is_in


@pytest.mark.parametrize("first", ["key", "password"])
def test_one_of_two_alternatives(first: str) -> None:
    login = Steps(user_with("alice", (KEY, TOTP), (PASSWORD, TOTP)))
    login.ask(b"none")
    if first == "key":
        login.key()
    else:
        login.password(b"secret")
    offered, is_partial = login.replies[-1]
    assert is_partial
    assert "keyboard-interactive" in offered
    login.interact()
    login.answer(code())
    assert login.is_in


def test_three_steps() -> None:
    login = Steps(user_with("alice", (KEY, PASSWORD, TOTP)))
    login.key()
    login.interact()
    login.answer(b"secret")
    login.answer(code())
    assert login.is_in


def test_a_password_is_not_judged_where_a_key_must_come_first() -> None:
    """Right and wrong passwords have the same answer, after the same work, as for any name."""
    outcomes = []
    for user, password in ((b"alice", b"secret"), (b"alice", b"wrong"), (b"nobody", b"secret")):
        login = Steps(user_with("alice", (KEY, PASSWORD)), user_with("bob"))
        login.password(password, user)
        login.interact(user)
        login.answer(password)
        outcomes.append((login.replies, login.prompts, len(login.hashed), login.disconnect_text))
        assert not login.is_in
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_a_key_is_not_confirmed_where_a_password_must_come_first() -> None:
    login = Steps(user_with("alice", (PASSWORD, KEY)), user_with("bob"))
    login.offer(LOGIN_KEY)
    login.key()
    assert not login.heard(PK_OK)
    assert [is_partial for _, is_partial in login.replies] == [False, False]
    login.password(b"secret")
    login.offer(LOGIN_KEY)
    assert len(login.heard(PK_OK)) == 1
    login.key()
    assert login.is_in


RULES: Mapping[str, tuple[tuple[LoginMethod, ...], ...]] = {
    "any": (),
    "keyed": ((KEY, TOTP),),
    "both": ((PASSWORD, TOTP),),
    "turned": ((PASSWORD, KEY),),
}


@pytest.mark.parametrize("guess", [b"wrong", b""])
def test_all_names_are_offered_the_same_and_fail_alike(guess: bytes) -> None:
    """Known ones with any rule, disabled ones and unknown ones, as long as nothing is proven."""
    users = [user_with(name, *require) for name, require in RULES.items()]
    users.append(user_with("gone", is_disabled=True))
    seen = {}
    for name in [*RULES, "gone", "nobody", "\xff"]:
        login = Steps(*users)
        login.ask(b"none", user=name.encode())
        login.password(guess, name.encode())
        login.interact(name.encode())
        login.answer(guess)
        login.offer(new_key(), user=name.encode())
        seen[name] = (login.replies, login.prompts, len(login.hashed))
    assert len({repr(each) for each in seen.values()}) == 1, seen


def test_a_step_of_one_user_is_no_step_of_another() -> None:
    login = Steps(user_with("alice", (KEY, TOTP)), user_with("bob", (KEY, TOTP)))
    login.key(b"alice")
    login.interact(b"bob")
    assert login.replies[-1] == ("publickey", False), "bob has proven nothing"
    login.interact(b"alice")
    assert login.replies[-1] == ("publickey", False), "and alice starts over"
    assert login.prompts == []
    assert not login.is_in


def test_a_conversation_of_one_user_is_not_ended_by_another() -> None:
    login = Steps(user_with("alice", (PASSWORD, TOTP)), user_with("bob", (PASSWORD, TOTP)))
    login.interact(b"alice")
    login.answer(b"secret")
    login.interact(b"bob")
    login.answer(code())  # bob is asked for a password
    assert login.replies[-1] == ("password,keyboard-interactive", False)
    assert not login.is_in


def test_another_method_ends_a_conversation_and_what_it_has_proven() -> None:
    login = Steps(user_with("alice", (PASSWORD, TOTP)))
    login.interact()
    login.answer(b"secret")
    login.ask(b"none")
    login.answer(code())
    assert login.disconnect_text == b"a response without a prompt"
    assert not login.is_in


def test_a_wrong_code_ends_the_conversation_from_its_beginning() -> None:
    login = Steps(user_with("alice", (PASSWORD, TOTP)))
    login.interact()
    login.answer(b"secret")
    login.answer(b"000000")
    assert login.replies == [("password,keyboard-interactive", False)]
    (facts,) = login.events.facts("login-failed")
    assert facts["reason"] == "the code is wrong"
    login.interact()
    assert login.prompts[-1] == ASK_PASSWORD


def test_a_step_that_stands_outside_of_a_conversation_outlives_a_wrong_code() -> None:
    login = Steps(user_with("alice", (KEY, TOTP)))
    login.key()
    for answer in (b"000000", b"", b"1234567", code(5)):
        login.interact()
        login.answer(answer)
        assert login.replies[-1] == ("keyboard-interactive", False)
    login.interact()
    login.answer(code())
    assert login.is_in


def test_a_code_opens_once() -> None:
    login = Steps(user_with("alice", (KEY, TOTP)))
    login.key()
    login.interact()
    login.answer(code())
    assert login.is_in
    again = Login(login.pair.factory.portal)
    again.sign(LOGIN_KEY, b"ssh-ed25519", b"alice")
    again.interact()
    again.answer(code())
    assert not again.heard(SUCCESS)
    (facts,) = again.events.facts("login-failed")
    assert "has been used" in str(facts["reason"])
    again.interact()
    again.answer(code(1))
    assert again.heard(SUCCESS) == [b""]


def test_thousands_of_codes_end_at_the_limit() -> None:
    login = Steps(user_with("alice", (KEY, TOTP)), settings=SshSettings(auth_tries=4))
    login.key()
    for number in range(5000):
        if not login.pair.connected:
            break
        login.interact()
        login.answer(b"%06d" % number)
    assert login.disconnect_text == b"too many authentication failures ([ssh] auth_tries)"
    assert len(login.events.facts("login-failed")) == 4


def test_a_key_again_and_again_is_no_way_around_the_limit() -> None:
    login = Steps(user_with("alice", (KEY, TOTP)), settings=SshSettings(auth_tries=3))
    for _ in range(20):
        if login.pair.connected:
            login.key()
    assert login.disconnect_text == b"too many authentication failures ([ssh] auth_tries)"
    assert login.replies[0] == ("keyboard-interactive", True)
    assert len(login.replies) == 1 + 2


def test_two_accounts_in_turns_are_no_way_around_the_limit() -> None:
    """Each step is right, and would be checked without end."""
    users = [user_with(name, (PASSWORD, TOTP)) for name in ("alice", "bob")]
    login = Steps(*users, settings=SshSettings(auth_tries=5))
    for number in range(100):
        if login.pair.connected:
            login.password(b"secret", users[number % 2].name.encode())
    assert login.disconnect_text == b"too many authentication failures ([ssh] auth_tries)"
    assert len(login.hashed) <= 6


def test_steps_use_up_no_attempts() -> None:
    login = Steps(user_with("alice", (KEY, PASSWORD, TOTP)), settings=SshSettings(auth_tries=1))
    login.ask(b"none")
    login.key()
    login.password(b"secret")
    login.interact()
    login.answer(code())
    assert login.is_in


def test_the_spelling_of_a_name_does_not_start_over() -> None:
    login = Steps(user_with("j\u00f6rg", (KEY, TOTP)))
    login.key("j\u00f6rg".encode())
    login.interact("jo\u0308rg".encode())
    login.answer(code())
    assert login.is_in


def test_the_rules_of_the_last_step_count() -> None:
    """They have changed since the first one: what was proven must fit the new ones."""
    login = Steps(user_with("alice", (KEY, PASSWORD)), user_with("bob"))
    login.key()
    login.users["alice"] = user_with("alice", (PASSWORD, KEY))
    login.password(b"secret")
    assert login.replies[-1] == ("publickey", True), "it begins anew"
    assert not login.is_in
    login.key()
    assert login.is_in


def test_pipelined_steps_are_answered_in_order() -> None:
    login = Steps(user_with("alice", (PASSWORD, TOTP)))
    send = login.pair.client.sendPacket
    begin = NS(b"alice") + NS(b"ssh-connection") + NS(b"keyboard-interactive") + NS(b"") * 2
    send(REQUEST, begin)
    send(61, struct.pack(">L", 1) + NS(b"secret"))
    send(61, struct.pack(">L", 1) + NS(code()))
    login.pair.pump()
    assert login.is_in


@pytest.mark.parametrize("answers", [(), (b"", b""), (b"081804",) * 50])
def test_another_number_of_codes_fails(answers: tuple[bytes, ...]) -> None:
    login = Steps(user_with("alice", (KEY, TOTP)))
    login.key()
    login.interact()
    login.answer(*answers)
    assert login.replies[-1] == ("keyboard-interactive", False)


def test_a_huge_code_fails() -> None:
    login = Steps(user_with("alice", (KEY, TOTP)))
    login.key()
    login.interact()
    login.answer(b"1" * 30_000)
    assert login.replies[-1] == ("keyboard-interactive", False)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"is_disabled": True}, "the user is disabled"),
        ({"expires_seconds": NOW}, "the account has expired"),
        (
            {"networks": (ip_network("192.0.2.0/24"),)},
            "the client's address is in none of the user's networks",
        ),
    ],
)
def test_an_account_that_may_not_be_used_is_refused_like_a_wrong_proof(
    monkeypatch: pytest.MonkeyPatch, rules: dict[str, Any], reason: str
) -> None:
    login = Steps(user_with("alice", **rules))
    server = type(login.pair.server)
    monkeypatch.setattr(server, "_peer", lambda self: IPv4Address("TCP", "198.51.100.7", 5))
    login.offer(LOGIN_KEY)
    assert not login.heard(PK_OK)
    login.key()
    login.password(b"secret")
    login.interact()
    login.answer(b"secret")
    assert login.replies == [("publickey,password,keyboard-interactive", False)] * 4
    assert len(login.hashed) == 2
    assert {facts["reason"] for facts in login.events.facts("login-failed")} == {reason}


def test_what_is_first_is_refused_where_no_rule_begins_with_it() -> None:
    """No hash is computed where no user may begin with a password."""
    rule: Alternatives = ((KEY, PASSWORD),)
    login = Steps(user_with("alice", *rule))
    login.password(b"secret")
    login.interact()
    assert login.replies == [("publickey", False)] * 2
    assert login.hashed == []
