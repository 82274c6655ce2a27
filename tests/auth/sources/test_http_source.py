"""A web service that knows the users, in memory: a real server and client of HTTP between us."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from time import process_time
from typing import Any

import pytest
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from sftpgw.auth.authenticator import LoginAttempt, PasswordRefusal
from sftpgw.auth.sources.asked_source import AnswerTimes, AskedUserSource
from sftpgw.auth.sources.chain import SourceChain
from sftpgw.auth.sources.http_source import HttpAsker
from sftpgw.auth.sources.live import LiveUsers
from sftpgw.auth.sources.questions import AnswerUnusable, GivenUser
from sftpgw.errors import BadAnswer, SourceAway
from sftpgw.http.certificates import AuthoritiesUnusable
from sftpgw.http.service_client import MAX_ANSWER_BYTES, MAX_AT_ONCE, MAX_TRIES, ServiceClient
from sftpgw.model.settings import AuthSettings
from sftpgw.model.users import User
from sftpgw.testing.ssh_pairs import RecordedEvents, call_at_once

SETTINGS = AuthSettings(
    http_url="https://idp.example/users", http_cache_seconds=60, http_stale_seconds=600
)


class Service(Resource):
    """Answers each question as `answer` says."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.answer: Callable[[Any, dict[str, Any]], Any] = self.knows_alice

    def render_POST(self, request: Any) -> Any:
        question = json.loads(request.content.read())
        self.asked.append(question)
        self.headers.append(request.requestHeaders)
        return self.answer(request, question)

    def knows_alice(self, request: Any, question: dict[str, Any]) -> bytes:
        if question["user"] != "alice" or question.get("password", "right") != "right":
            request.setResponseCode(404)
            return b""
        return json.dumps({"user": "alice", "key_prefix": "home/alice/"}).encode()


class Response:
    """An answer whose body the test delivers."""

    code = 200
    length = UNKNOWN_LENGTH
    protocol: Any

    def __init__(self) -> None:
        self.headers = Headers()
        self.transport = StringTransport()

    def deliverBody(self, protocol: Any) -> None:
        self.protocol = protocol
        protocol.makeConnection(self.transport)


class World:
    """A source, its service, and the time."""

    def __init__(self, settings: AuthSettings = SETTINGS) -> None:
        self.clock = Clock()
        self.service = Service()
        self.events = RecordedEvents()
        self.agent = RequestTraversalAgent(self.service)
        self.faults: list[Exception] = []
        self.tries = 0
        self.rules = "bucket"
        self.settings = settings
        self.source = self.source_of(self)

    def source_of(self, agent: Any) -> AskedUserSource:
        settings = self.settings
        client = ServiceClient(
            agent, self.clock, settings.http_timeout_seconds, "[auth] http_timeout"
        )
        return AskedUserSource(
            "http",
            HttpAsker(settings, client, "the-token"),
            self.make_user,
            AnswerTimes(settings.http_cache_seconds, settings.http_stale_seconds),
            clock=self.clock,
            events=self.events,
            secret=b"secret",
            rules_of=lambda: self.rules,
        )

    def request(self, *arguments: Any, **more: Any) -> Deferred[Any]:
        """What the agent does, unless there is no connection."""
        self.tries += 1
        if self.faults:
            return fail(self.faults.pop(0))
        return self.agent.request(*arguments, **more)

    def make_user(self, name: str, said: GivenUser) -> User:
        if "key_prefix" not in said.given:
            raise BadAnswer("has no key_prefix")
        if self.rules == "wrong":
            raise BadAnswer("has no place in the new rules")
        return User.with_home(name, self.rules, said.given["key_prefix"])

    def asking(
        self, name: str = "alice", password: bytes | None = None, host: str = "192.0.2.1"
    ) -> list[Any]:
        outcomes: list[Any] = []
        Deferred.fromCoroutine(self.source.find(name, host, password)).addBoth(outcomes.append)
        self.agent.flush()
        return outcomes

    def find(self, *arguments: Any, **more: Any) -> Any:
        (outcome,) = self.asking(*arguments, **more)
        if isinstance(outcome, Failure):
            outcome.raiseException()
        return outcome

    def be_away(self) -> None:
        self.faults = [ConnectionRefusedError()] * MAX_TRIES


@pytest.fixture
def world() -> World:
    return World()


def test_the_service_knows_the_user(world: World) -> None:
    assert world.find() == User.with_home("alice", "bucket", "home/alice/")
    assert world.find("bob") is None
    assert world.service.asked[0] == {
        "user": "alice",
        "method": "publickey",
        "address": "192.0.2.1",
    }
    assert world.service.headers[0].getRawHeaders("Authorization") == ["Bearer the-token"]
    assert world.events.told == []


def test_the_service_checks_passwords(world: World) -> None:
    assert world.find(password=b"right") is not None
    assert world.find(password=b"wrong") is None
    assert [each["password"] for each in world.service.asked] == ["right", "wrong"]


def test_an_answer_counts_for_a_while_and_a_refused_password_does_not(world: World) -> None:
    for _ in range(3):
        assert world.find(password=b"right") is not None
        assert world.find(password=b"wrong") is None
    assert len(world.service.asked) == 1 + 3
    world.clock.advance(61)
    world.find(password=b"right")
    assert len(world.service.asked) == 5


def test_a_name_that_is_unknown_is_as_quick_as_one_that_is_known(world: World) -> None:
    """Else the second question about a name tells whether it is known."""
    for _ in range(3):
        assert world.find("alice") is not None
        assert world.find("bob") is None
    assert [each["user"] for each in world.service.asked] == ["alice", "bob"]
    world.clock.advance(61)
    world.service.answer = lambda request, question: json.dumps(
        {"user": question["user"], "key_prefix": "home/"}
    ).encode()
    assert world.find("bob") is not None
    world.clock.advance(61)
    world.be_away()
    assert world.find("bob") is not None


def test_a_refusal_is_not_used_while_the_service_is_away(world: World) -> None:
    assert world.find("bob") is None
    world.clock.advance(61)
    world.be_away()
    with pytest.raises(SourceAway):
        world.find("bob")
    (facts,) = world.events.facts("user-source-away")
    assert facts["stale"] is False


def test_an_answer_is_for_one_address_and_not_for_its_neighbours(world: World) -> None:
    """The service may let in one address of a network, and refuse the next one."""
    world.service.answer = lambda request, question: (
        b"" if question["address"] != "2001:db8::1" else b'{"user": "alice", "key_prefix": "a/"}'
    )
    assert world.find(host="2001:db8::1") is not None
    assert world.find(host="2001:db8::2") is None
    assert world.find(host="::ffff:192.0.2.1") is None
    addresses = ["2001:db8::1", "2001:db8::2", "192.0.2.1"]
    assert [each["address"] for each in world.service.asked] == addresses


def test_an_address_that_asks_for_many_does_not_push_out_what_others_need(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sftpgw.auth.sources.asked_source.MAX_ANSWERS", 10)
    world.source = world.source_of(world)
    world.service.answer = lambda request, question: json.dumps(
        {"user": question["user"], "key_prefix": "home/"}
    ).encode()
    world.find("alice")
    for number in range(50):
        world.find(f"user{number}", host=f"2001:db8::{number}")
    world.find("alice")
    assert [each["user"] for each in world.service.asked].count("alice") == 1


@pytest.mark.parametrize(
    "name", [b"", b".", b"..", b"a/b", b" a", b"a\nb", b"*", b"*partners", b"a" * 129, b"\xff"]
)
def test_what_is_no_name_is_not_sent_to_the_service(world: World, name: bytes) -> None:
    live = LiveUsers({}, call_at_once)
    chain = SourceChain(live, [world.source])
    outcomes: list[Any] = []
    attempt = LoginAttempt(name, "192.0.2.1")
    Deferred.fromCoroutine(chain.user_of_password(attempt, b"pass")).addBoth(outcomes.append)
    world.agent.flush()
    assert outcomes == [PasswordRefusal.WRONG]
    assert world.service.asked == []


def test_an_answer_counts_for_its_password_and_its_address(world: World) -> None:
    world.find(password=b"right")
    assert world.find(password=b"right2") is None
    world.find(password=b"right", host="192.0.2.2")
    world.find()
    assert len(world.service.asked) == 4


def test_a_user_whom_the_service_removes_is_forgotten(world: World) -> None:
    assert world.find() is not None
    world.clock.advance(61)
    world.service.answer = lambda request, question: b"{}"
    assert world.find() is None
    world.clock.advance(61)
    world.be_away()
    with pytest.raises(SourceAway):
        world.find()


def test_the_last_answer_is_used_while_the_service_is_away(world: World) -> None:
    assert world.find() is not None
    world.clock.advance(599)
    world.be_away()
    assert world.find() is not None
    world.clock.advance(2)
    world.be_away()
    with pytest.raises(SourceAway):
        world.find()
    assert [facts["stale"] for facts in world.events.facts("user-source-away")] == [True, False]


def test_a_connection_that_fails_is_tried_again_and_an_answer_is_not(world: World) -> None:
    world.faults = [ConnectionRefusedError()] * (MAX_TRIES - 1)
    assert world.find() is not None
    assert world.tries == MAX_TRIES

    def fault(request: Any, question: object) -> bytes:
        request.setResponseCode(503)
        return b""

    world.service.answer = fault
    world.clock.advance(10_000)
    with pytest.raises(SourceAway, match="503"):
        world.find()
    assert world.tries == MAX_TRIES + 1


def test_authorities_that_cannot_be_read_are_told(world: World) -> None:
    world.faults = [AuthoritiesUnusable("[auth] http_ca_file = ca.pem: no certificate")]
    with pytest.raises(SourceAway, match="http_ca_file"):
        world.find()
    assert world.tries == 1


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"<html>", "not JSON"),
        (b'{"user": "bob", "key_prefix": "home/bob/"}', "another user"),
        (b'{"user": "alice"}', "has no key_prefix"),
        (b" " * (MAX_ANSWER_BYTES + 1), "more than 256 KiB"),
    ],
)
def test_nonsense_is_refused_and_told(world: World, answer: bytes, why: str) -> None:
    world.service.answer = lambda request, question: answer
    with pytest.raises(AnswerUnusable):
        world.find()
    (facts,) = world.events.facts("user-source-answer-bad")
    assert facts["user"] == "alice"
    assert why in facts["reason"]


def test_a_compressed_answer_is_not_unpacked(world: World) -> None:
    def packed(request: Any, question: object) -> bytes:
        request.setHeader("Content-Encoding", "gzip")
        return gzip.compress(b" " * 2**24)

    world.service.answer = packed
    with pytest.raises(AnswerUnusable):
        world.find()
    (facts,) = world.events.facts("user-source-answer-bad")
    assert "compressed" in facts["reason"]


def test_a_redirect_is_not_followed(world: World) -> None:
    def elsewhere(request: Any, question: object) -> bytes:
        request.redirect(b"https://evil.example/")
        return b""

    world.service.answer = elsewhere
    with pytest.raises(SourceAway, match="302"):
        world.find(password=b"right")
    assert world.tries == 1


def test_a_service_that_is_slow_is_away(world: World) -> None:
    world.service.answer = lambda request, question: NOT_DONE_YET
    outcomes = world.asking()
    world.clock.advance(9)
    assert outcomes == []
    world.clock.advance(1.1)
    assert outcomes[0].check(SourceAway)
    assert "http_timeout" in str(outcomes[0].value)
    assert world.clock.getDelayedCalls() == []


def test_a_body_that_never_ends_is_away(world: World) -> None:
    def drips(request: Any, question: object) -> Any:
        request.write(b"{")
        return NOT_DONE_YET

    world.service.answer = drips
    outcomes = world.asking()
    world.clock.advance(10.1)
    assert outcomes[0].check(SourceAway)


def test_nobody_waits_for_the_rest_of_a_body_and_its_connection_ends(world: World) -> None:
    answers: list[Response] = []

    class Stalled:
        def request(self, *arguments: Any, **more: Any) -> Deferred[Any]:
            answers.append(Response())
            return succeed(answers[-1])

    world.source = world.source_of(Stalled())
    outcomes = world.asking()
    world.clock.advance(10.1)
    assert outcomes[0].check(SourceAway)
    assert [each.transport.disconnecting for each in answers] == [True]


def test_a_body_in_small_pieces_costs_no_more_than_another() -> None:
    """Each piece is counted once: an answer that comes byte by byte took minutes of the reactor."""
    world, response = World(), Response()

    class Whole:
        def request(self, *arguments: Any, **more: Any) -> Deferred[Any]:
            return succeed(response)

    world.source = world.source_of(Whole())
    outcomes = world.asking()
    body = json.dumps({"user": "alice", "key_prefix": "home/alice/"}).encode()
    pieces = body.ljust(MAX_ANSWER_BYTES)
    took_seconds = -process_time()
    for each in pieces:
        response.protocol.dataReceived(bytes((each,)))
    response.protocol.connectionLost(Failure(ResponseDone()))
    took_seconds += process_time()
    assert outcomes == [User.with_home("alice", "bucket", "home/alice/")], world.events.told
    assert took_seconds < 5, world.events.told


def test_an_empty_password_is_for_files_only(world: World) -> None:
    """Services take it for none, and answer as for a login by key: with the user."""
    world.service.answer = lambda request, question: b'{"user": "alice", "key_prefix": "home/"}'
    live = LiveUsers({}, call_at_once)
    chain = SourceChain(live, [world.source])

    def entering(password: bytes) -> list[Any]:
        outcomes: list[Any] = []
        attempt = LoginAttempt(b"alice", "192.0.2.1")
        entered = Deferred.fromCoroutine(chain.user_of_password(attempt, password))
        entered.addBoth(outcomes.append)
        world.agent.flush()
        return outcomes

    assert entering(b"") == [PasswordRefusal.WRONG]
    assert world.service.asked == []
    assert entering(b"right") == [User.with_home("alice", "bucket", "home/")]


@pytest.mark.parametrize("kind", ["away", "nonsense", "wrong"])
def test_a_service_that_fails_is_no_failure_of_the_client(world: World, kind: str) -> None:
    live = LiveUsers({}, call_at_once)
    chain = SourceChain(live, [world.source])
    if kind == "away":
        world.be_away()
    elif kind == "nonsense":
        world.service.answer = lambda request, question: b"<html>"
    outcomes: list[Any] = []
    attempt = LoginAttempt(b"alice", "192.0.2.1")
    entered = Deferred.fromCoroutine(chain.user_of_password(attempt, b"guess"))
    entered.addBoth(outcomes.append)
    world.agent.flush()
    is_judged = kind == "wrong"
    assert outcomes == [PasswordRefusal.WRONG if is_judged else PasswordRefusal.UNDECIDED]


def test_so_many_at_once_and_one_address_does_not_stop_others(world: World) -> None:
    under_way = []

    def later(request: Any, question: object) -> Any:
        under_way.append(request)
        return NOT_DONE_YET

    world.service.answer = later
    for number in range(3 * MAX_AT_ONCE):
        world.asking(f"user{number}", host="198.51.100.1")
    world.asking("alice", host="192.0.2.1")
    assert len(world.service.asked) == MAX_AT_ONCE
    under_way[0].finish()
    world.agent.flush()
    assert world.service.asked[-1]["user"] == "alice"
    assert len(world.service.asked) == MAX_AT_ONCE + 1


def test_the_same_question_is_asked_once_at_a_time() -> None:
    world = World(replace(SETTINGS, http_cache_seconds=0))
    world.service.answer = lambda request, question: NOT_DONE_YET
    waiting = [world.asking() for _ in range(5)]
    assert len(world.service.asked) == 1
    world.clock.advance(10.1)
    assert all(outcomes[0].check(SourceAway) for outcomes in waiting)


def test_no_password_is_kept(world: World) -> None:
    world.find(password=b"right")
    assert "right" not in repr(vars(world.source))


def test_what_files_say_of_all_users_counts_for_remembered_answers() -> None:
    world = World()
    assert world.find().mounts[0].bucket == "bucket"
    before = len(world.service.asked)
    world.rules = "partners"
    assert world.find().mounts[0].bucket == "partners"
    assert world.find() is not None
    assert len(world.service.asked) == before, "the service is not asked for that"
    world.rules = "wrong"
    with pytest.raises(AnswerUnusable):
        world.find()
    assert world.events.facts("user-source-answer-bad") != []
