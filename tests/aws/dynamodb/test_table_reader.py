"""A table of users that answers late, wrongly, too much or not at all, without a network."""

from __future__ import annotations

import json
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from botocore.credentials import ReadOnlyCredentials
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from sftpgw.aws.dynamodb.plan import MAX_TRIES, wait_seconds
from sftpgw.aws.dynamodb.table_reader import TIMEOUT_KEY, TableReader
from sftpgw.aws.endpoints import ServiceEndpoint
from sftpgw.aws.signer import ServiceSigner
from sftpgw.errors import BadAnswer, CredentialsUnavailable, SourceAway
from sftpgw.http.service_client import MAX_ANSWER_BYTES, ServiceClient
from sftpgw.http.service_client import MAX_TRIES as MAX_CONNECTIONS

NOW_SECONDS = 1_800_000_000.0
ITEM = {"name": {"S": "alice"}, "key_prefix": {"S": "home/alice/"}}

Answer = Callable[[Any], Any]


def says(body: object, status: int = 200, **headers: str) -> Answer:
    def answer(request: Any) -> bytes:
        request.setResponseCode(status)
        for name, value in headers.items():
            request.setHeader(name, value)
        return body if isinstance(body, bytes) else json.dumps(body).encode()

    return answer


def refuses(code: str, status: int = 400, **headers: str) -> Answer:
    said = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "because"}
    return says(said, status, **headers)


class Table(Resource):
    """Answers as a test has scripted, and then with the item."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.script: list[Answer] = []
        self.asked: list[dict[str, Any]] = []
        self.headers: list[Any] = []

    def render_POST(self, request: Any) -> Any:
        self.asked.append(json.loads(request.content.read()))
        self.headers.append(request.requestHeaders)
        return (self.script.pop(0) if self.script else says({"Item": ITEM}))(request)


class Credentials:
    """Two pairs of keys, the second after a renewal."""

    def __init__(self) -> None:
        self.number = 1
        self.are_there = True

    async def current(self) -> ReadOnlyCredentials:
        if not self.are_there:
            raise CredentialsUnavailable("credentials: none")
        return ReadOnlyCredentials(f"AK{self.number}", "secret", "token")

    async def renew(self, refused: ReadOnlyCredentials, *, is_guess: bool = False) -> bool:
        self.number += 1
        return True


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.table = Table()
        self.agent = RequestTraversalAgent(self.table)
        self.credentials = Credentials()
        self.faults: list[Exception] = []
        self.connections = 0
        self.signer = ServiceSigner(lambda: NOW_SECONDS)
        self.reader = TableReader(
            "sftp-users",
            ServiceEndpoint("https://dynamodb.eu-west-1.amazonaws.com", "eu-west-1", "dynamodb"),
            client=ServiceClient(self, self.clock, 5.0, TIMEOUT_KEY),
            credentials=self.credentials,
            signer=self.signer,
            clock=self.clock,
            random=lambda: 1.0,
            timeout_seconds=5.0,
        )

    def request(self, *arguments: Any, **more: Any) -> Deferred[Any]:
        self.connections += 1
        if self.faults:
            return fail(self.faults.pop(0))
        return self.agent.request(*arguments, **more)

    def begin(self, name: str = "alice", source: str = "192.0.2.1") -> list[Any]:
        outcomes: list[Any] = []
        Deferred.fromCoroutine(self.reader.get(name, source)).addBoth(outcomes.append)
        self.agent.flush()
        return outcomes

    def get(self, name: str = "alice") -> Any:
        outcomes = self.begin(name)
        while not outcomes and self.clock.getDelayedCalls():
            self.clock.advance(0.01)
            self.agent.flush()
        if isinstance(outcomes[0], Failure):
            outcomes[0].raiseException()
        return outcomes[0]


@pytest.fixture
def world() -> World:
    return World()


def test_an_item_is_read_consistently_and_signed(world: World) -> None:
    assert world.get().given == {"key_prefix": "home/alice/"}
    assert world.table.asked == [
        {"TableName": "sftp-users", "Key": {"name": {"S": "alice"}}, "ConsistentRead": True}
    ]
    (headers,) = world.table.headers
    (signature,) = headers.getRawHeaders("Authorization")
    assert signature.startswith("AWS4-HMAC-SHA256 Credential=AK1/20270115/eu-west-1/dynamodb/")
    assert "content-type;host;x-amz-date;x-amz-security-token;x-amz-target" in signature
    assert headers.getRawHeaders("X-Amz-Target") == ["DynamoDB_20120810.GetItem"]
    assert headers.getRawHeaders("Content-Type") == ["application/x-amz-json-1.0"]
    assert headers.getRawHeaders("X-Amz-Content-SHA256") is None
    assert world.clock.getDelayedCalls() == []


def test_an_unknown_name_has_no_item(world: World) -> None:
    world.table.script = [says({})]
    assert world.get() is None


def test_a_name_that_no_key_can_be_is_not_asked(world: World) -> None:
    assert world.get("") is None
    assert world.get("é" * 1025) is None
    assert world.table.asked == []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (says(b"<html>"), "not JSON"),
        (says([]), "not a JSON object"),
        (says({"Item": "alice"}), "not an item"),
        (says({"Item": {"name": {"S": "bob"}}}), "another user"),
        (says(b" " * (MAX_ANSWER_BYTES + 1)), "more than 256 KiB"),
        (says(b"", **{"Content-Encoding": "gzip"}), "compressed"),
    ],
)
def test_nonsense_is_told_and_not_asked_again(world: World, answer: Answer, why: str) -> None:
    world.table.script = [answer]
    with pytest.raises(BadAnswer, match=why):
        world.get()
    assert len(world.table.asked) == 1


@pytest.mark.parametrize(
    "fault",
    [
        refuses("ProvisionedThroughputExceededException"),
        refuses("ThrottlingException"),
        refuses("RequestLimitExceeded"),
        refuses("InternalServerError", 500),
        says(b"upstream", 503),
    ],
)
def test_what_passes_is_asked_again_within_bounds(world: World, fault: Answer) -> None:
    world.table.script = [fault] * (MAX_TRIES - 1)
    assert world.get() is not None
    world.table.asked.clear()
    world.table.script = [fault] * 100
    with pytest.raises(SourceAway, match="DynamoDB answers"):
        world.get()
    assert len(world.table.asked) == MAX_TRIES
    assert world.clock.getDelayedCalls() == []


def test_waits_are_random_and_bounded() -> None:
    assert [wait_seconds(tries, 1.0) for tries in range(6)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0]
    assert wait_seconds(3, 0.0) == 0.0


@pytest.mark.parametrize(
    "code", ["AccessDeniedException", "ResourceNotFoundException", "ValidationException"]
)
def test_a_refusal_that_stays_is_not_asked_again(world: World, code: str) -> None:
    world.table.script = [refuses(code)]
    with pytest.raises(SourceAway, match=f"DynamoDB answers 400 {code}: because"):
        world.get()
    assert len(world.table.asked) == 1


def test_credentials_that_are_refused_are_renewed_once(world: World) -> None:
    world.table.script = [refuses("ExpiredTokenException")]
    assert world.get() is not None
    signatures = [headers.getRawHeaders("Authorization")[0] for headers in world.table.headers]
    assert ["AK1" in signatures[0], "AK2" in signatures[1]] == [True, True]
    world.table.script = [refuses("ExpiredTokenException")] * 9
    world.table.asked.clear()
    with pytest.raises(SourceAway, match="ExpiredTokenException"):
        world.get()
    assert len(world.table.asked) == 2


@pytest.mark.parametrize("year", ["9999", "99999999999999999999"])
def test_a_date_that_makes_no_sense_sets_no_clock(world: World, year: str) -> None:
    """Formerly a large year ended the login as a defect."""
    date = f"Mon, 29 Nov {year} 12:00:00 GMT"
    world.table.script = [refuses("InvalidSignatureException", Date=date)]
    assert world.get() is not None
    assert world.signer.offset_seconds == 0


def test_a_clock_that_is_wrong_is_set_by_that_of_the_service(world: World) -> None:
    date = formatdate(NOW_SECONDS + 3600, usegmt=True)
    world.table.script = [refuses("InvalidSignatureException", Date=date)]
    assert world.get() is not None
    assert world.signer.offset_seconds == 3600
    (sent,) = world.table.headers[1].getRawHeaders("X-Amz-Date")
    assert sent == "20270115T090000Z"


def test_without_credentials_the_table_is_away(world: World) -> None:
    world.credentials.are_there = False
    with pytest.raises(SourceAway, match="credentials: none"):
        world.get()
    assert world.table.asked == []


def test_a_table_that_is_silent_is_away(world: World) -> None:
    world.table.script = [lambda request: NOT_DONE_YET]
    outcomes = world.begin()
    world.clock.advance(4.9)
    assert outcomes == []
    world.clock.advance(0.2)
    assert outcomes[0].check(SourceAway)
    assert "[auth] dynamodb_timeout" in str(outcomes[0].value)
    assert world.clock.getDelayedCalls() == []


def test_all_tries_together_take_no_longer_than_the_timeout(world: World) -> None:
    world.table.script = [refuses("ThrottlingException"), lambda request: NOT_DONE_YET]
    outcomes = world.begin()
    for _ in range(51):
        world.clock.advance(0.1)
        world.agent.flush()
    assert outcomes[0].check(SourceAway)


def test_a_connection_that_is_refused_is_tried_again(world: World) -> None:
    world.faults = [ConnectionRefusedError()] * (MAX_CONNECTIONS - 1)
    assert world.get() is not None
    world.faults = [ConnectionRefusedError()] * MAX_CONNECTIONS
    with pytest.raises(SourceAway):
        world.get()


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("AccessDeniedException", "the credentials need dynamodb:GetItem on the table"),
        (
            "ResourceNotFoundException",
            "see [auth] dynamodb_table and dynamodb_region; sftpgw user create-table makes it",
        ),
        ("ConditionalCheckFailedException", "because"),
    ],
)
def test_a_refusal_says_what_to_do_where_that_is_known(world: World, code: str, hint: str) -> None:
    world.table.script = [refuses(code)]
    with pytest.raises(SourceAway) as refused:
        world.get()
    assert str(refused.value).endswith(hint)
