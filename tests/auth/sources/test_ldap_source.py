"""LDAP servers that know the users, in memory: our client and a server with faults between us."""

from __future__ import annotations

import sys
from dataclasses import replace
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.auth.sources.ldap_connection import MAX_ANSWER_BYTES
from sftpgw.auth.sources.ldap_servers import AWAY_SECONDS, IDLE_SECONDS, MAX_IDLE, REFUSED_SECONDS
from sftpgw.auth.sources.ldap_source import MAX_AT_ONCE
from sftpgw.auth.sources.questions import AnswerUnusable
from sftpgw.errors import SourceAway
from sftpgw.model.users import User
from sftpgw.wire.ber import OCTETS, SEQUENCE, element, integer
from tests.auth.sources.directories import (
    BY_SEARCH,
    GROUPS,
    PEOPLE,
    SERVICE,
    World,
    entry,
    message,
    result,
)

BY_TEMPLATE = replace(
    BY_SEARCH,
    ldap_search_base="",
    ldap_service_dn="",
    ldap_bind_dn=f"uid={{username}},{PEOPLE}",
)
WITH_GROUPS = replace(BY_SEARCH, ldap_group_base=GROUPS, ldap_group_filter="(member={dn})")
TWO = replace(BY_SEARCH, ldap_urls=("ldap://one.example", "ldap://two.example"))


@pytest.fixture
def world() -> World:
    return World()


def test_the_server_knows_the_user_and_the_keys(world: World) -> None:
    assert world.find() == User.with_home("alice", "bucket", "home/alice/")
    assert world.find("carol") is None
    assert world.directory.asked == [f"bind {SERVICE}", f"search {PEOPLE}", f"search {PEOPLE}"]
    (said,) = world.given
    assert said.given == {"authorized_keys": "ssh-ed25519 AAAA alice"}
    assert said.groups == ("partners",)
    assert world.events.told == []


def test_the_server_checks_passwords(world: World) -> None:
    assert world.find(password=b"right") is not None
    assert world.find(password=b"wrong") is None
    assert world.directory.asked == [
        *(f"bind {SERVICE}", f"search {PEOPLE}", f"bind uid=alice,{PEOPLE}"),
        *(f"search {PEOPLE}", f"bind uid=alice,{PEOPLE}"),
    ]


@pytest.mark.parametrize("settings", [BY_SEARCH, BY_TEMPLATE, WITH_GROUPS])
def test_an_empty_password_is_never_sent(settings: Any) -> None:
    """Servers answer it with success, and have checked nothing (RFC 4513, section 5.1.2)."""
    world = World(settings)
    assert world.find(password=b"") is None
    assert world.find(password=b"right") is not None
    assert b"" not in world.directory.passwords_seen


@pytest.mark.parametrize("settings", [BY_SEARCH, BY_TEMPLATE, WITH_GROUPS])
def test_an_unknown_name_takes_the_steps_of_a_wrong_password(settings: Any) -> None:
    def steps_for(name: str) -> list[str]:
        world = World(settings)
        assert world.find(name, password=b"wrong") is None
        return [each.split()[0] for each in world.directory.asked]

    assert steps_for("carol") == steps_for("alice") == steps_for("Alice")


def test_an_unknown_name_takes_the_steps_of_a_known_one_with_a_key() -> None:
    world = World(WITH_GROUPS)
    world.find("alice")
    known, world.directory.asked = world.directory.asked[1:], []
    world.find("carol")
    assert world.directory.asked == known == [f"search {PEOPLE}", f"search {GROUPS}"]


def test_by_a_template_the_user_reads_the_own_entry() -> None:
    world = World(BY_TEMPLATE)
    alice = f"uid=alice,{PEOPLE}"
    assert world.find(password=b"right") is not None
    assert world.directory.asked == [f"bind {alice}", f"search {alice}"]
    world.directory.asked = []
    assert world.find(password=b"wrong") is None
    assert world.directory.asked == [f"bind {alice}"]
    world.directory.asked = []
    assert world.find() is not None
    assert world.directory.asked == [f"search {alice}"]


@pytest.mark.parametrize("settings", [BY_SEARCH, BY_TEMPLATE, WITH_GROUPS])
@pytest.mark.parametrize(
    "name",
    [
        "*",
        "ali*",
        "alice)(uid=*",
        "alice,ou=people",
        "a\\2a",
        "{username}",
        "Alice",
        "alice ",
        "#x",
    ],
)
def test_a_name_is_never_more_than_a_name(settings: Any, name: str) -> None:
    world = World(settings)
    assert world.find(name) is None
    assert world.find(name, password=b"right") is None
    assert world.find("alice") is not None


def test_two_entries_of_one_name_are_none(world: World) -> None:
    world.directory.entries[f"uid=alice,ou=old,{PEOPLE}"] = {"uid": ["alice"]}
    with pytest.raises(AnswerUnusable):
        world.find(password=b"right")
    assert "several entries" in world.bad_reason()
    assert [each for each in world.directory.asked if each.startswith("bind uid")] == []


def test_guesses_do_not_lock_the_service_account(world: World) -> None:
    world.directory.entries[SERVICE] = {"uid": ["gateway"]}
    world = World(replace(BY_SEARCH, ldap_search_base="dc=example"))
    world.directory.entries["dc=example"] = {}
    world.directory.entries["CN=Gateway, dc=example"] = {"uid": ["gateway"]}
    assert world.find("gateway", password=b"guess") is None
    binds = [each for each in world.directory.asked if each.startswith("bind")]
    assert binds == [f"bind {SERVICE}", "bind cn=no-entry,dc=example"]


def test_a_service_account_that_is_refused_is_not_tried_again_at_once(world: World) -> None:
    world.service_password = b"an old one"
    for _ in range(5):
        with pytest.raises(SourceAway, match="refuses \\[auth\\] ldap_service_dn"):
            world.find()
    assert world.directory.asked.count(f"bind {SERVICE}") == 1
    world.clock.advance(REFUSED_SECONDS)
    world.service_password = b"the password of the gateway"
    assert world.find() is not None


def test_connections_are_used_again(world: World) -> None:
    for number in range(10):
        world.find(f"user{number}", password=b"wrong")
    assert world.directory.connections == 2
    assert world.directory.asked.count(f"bind {SERVICE}") == 1


def test_a_connection_that_has_ended_in_the_meantime_is_made_again(world: World) -> None:
    world.find(password=b"right")
    for client in world.clients:
        client.transport.other = None
        client.connectionLost()
    assert world.find("bob") is not None
    assert world.events.told == []


def test_a_request_on_a_connection_that_breaks_is_sent_again_once(world: World) -> None:
    world.find()
    broken = []

    def breaks(request: str, number: int, answer: bytes) -> bytes:
        if not broken:
            broken.append(request)
            world.pumps[0].server.transport.loseConnection()
            return b""
        return answer

    world.directory.answer = breaks
    assert world.find("bob") is not None
    assert broken
    assert world.directory.connections == 2


def test_connections_that_were_idle_for_long_end(world: World) -> None:
    world.find()
    world.clock.advance(IDLE_SECONDS + 1)
    world.find("bob")
    assert world.directory.connections == 2
    assert "unbind" in world.directory.asked


def test_so_many_at_once_and_one_address_does_not_stop_others(world: World) -> None:
    held: list[tuple[int, bytes]] = []

    def later(request: str, number: int, answer: bytes) -> bytes:
        if request.startswith("search"):
            held.append((number, answer))
            return b""
        return answer

    world.directory.answer = later
    asked = [
        world.asking(f"user{number}", host="198.51.100.1") for number in range(3 * MAX_AT_ONCE)
    ]
    alice = world.asking("alice")
    assert len(held) == MAX_AT_ONCE
    assert world.directory.connections == MAX_AT_ONCE
    world.directory.answer = lambda request, number, answer: answer
    world.clients[0].dataReceived(held[0][1])
    world.flush()
    assert alice[0] == User.with_home("alice", "bucket", "home/alice/")
    world.clock.advance(10)
    assert all(asked)
    idle = sum(client.is_usable for client in world.clients)
    assert idle <= MAX_IDLE


def test_a_slow_server_is_away_and_its_connection_ends(world: World) -> None:
    world.directory.answer = lambda request, number, answer: b""
    outcomes = world.asking()
    world.clock.advance(9)
    assert outcomes == []
    world.clock.advance(1.1)
    assert outcomes[0].check(SourceAway)
    assert "ldap_timeout" in str(outcomes[0].value)
    assert not world.clients[0].is_usable
    assert world.clock.getDelayedCalls() == []


def test_the_next_server_is_asked_where_one_does_not_answer() -> None:
    world = World(TWO)
    first, second = world.directories
    first.is_away = True
    assert world.find() is not None
    assert second.asked
    first.is_away = False
    world.find("bob")
    assert first.asked == []
    world.clock.advance(AWAY_SECONDS)
    world.find("carol")
    assert first.asked
    first.answer = second.answer = lambda request, number, answer: b""
    outcomes = world.asking("dave")
    world.clock.advance(5)
    world.clock.advance(5)
    assert outcomes[0].check(SourceAway)
    assert len(world.events.facts("user-source-away")) == 1


def test_a_busy_server_is_passed_over() -> None:
    world = World(TWO)
    world.directories[0].answer = lambda request, number, answer: (
        message(number, result(0x65, 51)) if request.startswith("search") else answer
    )
    assert world.find() is not None


@pytest.mark.parametrize("password", [None, b"right"])
def test_no_answer_is_used_once_the_server_has_said_that_the_user_is_gone(
    world: World, password: bytes | None
) -> None:
    """From whatever address it was asked: a server does not learn the address of a client."""
    for host in ("192.0.2.1", "198.51.100.7"):
        assert world.find("alice", password, host) is not None
    del world.directory.entries[f"uid=alice,{PEOPLE}"]
    world.clock.advance(61)
    assert world.find("alice", None, "192.0.2.1") is None
    world.be_away()
    world.clock.advance(61)
    with pytest.raises(SourceAway):
        world.find("alice", password, "198.51.100.7")


@pytest.mark.parametrize("settings", [BY_SEARCH, WITH_GROUPS])
def test_a_user_of_a_password_is_looked_at_again(settings: Any) -> None:
    world = World(settings)
    user = world.find(password=b"right")
    assert user.is_of_password
    assert world.source.may_look_again(user)
    assert world.look_again(user) == user
    del world.directory.entries[f"uid=alice,{PEOPLE}"]
    assert world.look_again(user) is None
    assert world.find(password=b"right") is None


def test_a_user_who_reads_the_own_entry_is_not_looked_at_without_the_password() -> None:
    world = World(BY_TEMPLATE)
    assert not world.source.may_look_again(world.find(password=b"right"))
    assert world.source.may_look_again(world.find())


def test_the_last_answer_is_used_while_no_server_answers(world: World) -> None:
    assert world.find(password=b"right") is not None
    world.be_away()
    world.clock.advance(61)
    assert world.find(password=b"right") is not None
    with pytest.raises(SourceAway, match="Connection refused"):
        world.find(password=b"wrong")
    world.clock.advance(3600)
    with pytest.raises(SourceAway):
        world.find(password=b"right")


def of_search(body: bytes) -> Any:
    """An answer to searches with this body in place of their results."""
    return lambda request, number, answer: body if request.startswith("search") else answer


HUGE = element(0x64, element(OCTETS, b"x" * MAX_ANSWER_BYTES))
MANY = b"".join(message(2, entry(f"cn={n}", {})) for n in range(3))
DRIPS = message(2, element(0x73, b"y" * 4000)) * (MAX_ANSWER_BYTES // 4000 + 1)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is no LDAP"),
        (element(SEQUENCE), "no number"),
        (element(SEQUENCE, integer(2)), "no answer"),
        (element(SEQUENCE, element(0x02, b""), result(0x65)), "a number has no byte"),
        (b"\x30\x80", "indefinite"),
        (b"\x30\x85\x01\0\0\0\0", "more than four bytes"),
        (b"\x3f\x81\x01\0", "no sequence"),
        (element(SEQUENCE, b"\x3f\x81\x01\0"), "more than one byte"),
        (b"\x30\x84\xff\xff\xff\xff", "more than 256 KiB"),
        (message(2, HUGE), "more than 256 KiB"),
        (DRIPS, "more than 256 KiB"),
        (message(9, result(0x65)), "belongs to no request"),
        (message(2, result(0x61)), "another kind"),
        (MANY + message(2, result(0x65)), "more than 2 entries"),
        (message(2, result(0x65, 10)), "refers to another server"),
        (message(2, result(0x65, 80, "internal")), "result 80: internal"),
        (message(2, element(0x73)) * 101, "over 100 references"),
        (message(2, entry("cn=x", {f"a{n}": ["b"] for n in range(600)})), "over 1000 values"),
        (message(2, element(0x64, element(OCTETS, b"\xff"), element(SEQUENCE))), "not UTF-8"),
        (message(2, entry("x", {"uid": ["alice"]})) + message(2, result(0x65)), "name is none"),
        (
            message(2, entry(f"uid=alice,{PEOPLE}", {"uid": ["alice"], "sshPublicKey": ["\udcff"]}))
            + message(2, result(0x65)),
            "not UTF-8",
        ),
    ],
)
def test_nonsense_is_refused_and_told(world: World, body: bytes, why: str) -> None:
    world.directory.answer = of_search(body)
    with pytest.raises(AnswerUnusable):
        world.find()
    assert why in world.bad_reason()
    world.directory.answer = lambda request, number, answer: answer
    assert world.find() is not None


def test_a_connection_on_which_an_answer_goes_on_is_not_used_again(world: World) -> None:
    world.directory.answer = of_search(message(2, result(0x65)) * 2)
    assert world.find() is None
    assert not world.clients[0].is_usable
    assert world.events.told == []


@pytest.mark.parametrize(
    ("settings", "code"), [(BY_TEMPLATE, 32), (BY_TEMPLATE, 34), (BY_TEMPLATE, 21), (BY_SEARCH, 21)]
)
def test_a_name_that_no_entry_can_have_is_unknown(settings: Any, code: int) -> None:
    """Clients choose names: they must not fill the log, and their attempts are failures."""
    world = World(settings)
    world.directory.answer = lambda request, number, answer: (
        message(number, result(0x65, code)) if request.startswith("search") else answer
    )
    assert world.find("odd") is None
    assert world.find("odd", password=b"x") is None
    assert world.events.told == []


def test_what_follows_a_fault_is_not_read(world: World) -> None:
    world.directory.answer = of_search(message(9, result(0x65)) + b"HTTP" + b"x" * 80)
    with pytest.raises(AnswerUnusable):
        world.find()
    assert "belongs to no request" in world.bad_reason()


def test_a_server_that_says_goodbye_is_away(world: World) -> None:
    world.directory.answer = of_search(message(0, result(0x78, 52, "shutting down")))
    with pytest.raises(SourceAway, match="shutting down"):
        world.find()


def test_references_to_other_servers_are_not_followed(world: World) -> None:
    world.directory.answer = lambda request, number, answer: (
        message(number, element(0x73, element(OCTETS, b"ldap://evil.example/"))) + answer
        if request.startswith("search")
        else answer
    )
    assert world.find() is not None
    assert world.directory.connections == 1


@given(data=st.binary(max_size=400))
def test_whatever_a_server_sends_ends_in_a_result_or_a_refusal(data: bytes) -> None:
    world = World()
    world.directory.answer = of_search(data)
    outcomes = world.asking()
    world.clock.advance(11)
    (outcome,) = outcomes
    assert outcome is None or isinstance(outcome, User) or outcome.check(SourceAway)


def test_an_answer_in_small_pieces_costs_no_more_than_another(world: World) -> None:
    world.directory.answer = of_search(b"")
    outcomes = world.asking()
    values = ["x" * 200] * 900
    answer = message(2, entry(f"uid=alice,{PEOPLE}", {"uid": ["alice"], "more": values}))
    answer += message(2, result(0x65))
    took_seconds = -process_time()
    for each in answer:
        world.clients[0].dataReceived(bytes((each,)))
    took_seconds += process_time()
    assert outcomes == [User.with_home("alice", "bucket", "home/alice/")]
    assert took_seconds < 5


class TestStartTls:
    def test_nothing_else_is_sent_to_a_server_that_does_not_start_tls(self) -> None:
        world = World(tls_creator=object)
        world.directory.answer = lambda request, number, answer: message(number, result(0x78, 2))
        with pytest.raises(SourceAway, match="does not start TLS"):
            world.find(password=b"right")
        assert world.directory.asked == ["starttls"]
        assert not world.clients[0].is_usable

    def test_what_comes_before_tls_does_not_count_behind_it(self) -> None:
        world = World(tls_creator=object)
        world.directory.answer = lambda request, number, answer: answer + message(2, result(0x61))
        with pytest.raises(SourceAway):
            world.find(password=b"right")
        assert world.directory.asked == ["starttls"]


def test_many_tiny_values_cost_little(world: World) -> None:
    """They are counted while they are read: 120,000 of them took 46 ms of the reactor."""
    values = element(0x31, b"\x04\x00" * 120_000)
    listed = element(SEQUENCE, element(SEQUENCE, element(OCTETS, b"a"), values))
    read: list[int] = []
    world.directory.answer = of_search(message(2, element(0x64, element(OCTETS, b"cn=x"), listed)))

    def count(frame: Any, event: str, argument: object) -> None:
        if event == "call":
            read.append(1)

    sys.setprofile(count)
    try:
        outcomes = world.asking()
    finally:
        sys.setprofile(None)
    assert outcomes[0].check(AnswerUnusable)
    assert len(read) < 20_000


def test_no_password_is_kept(world: World) -> None:
    world.find(password=b"right")
    assert "right" not in repr(vars(world.source))
