"""The table as moto serves it: real requests over a real connection."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import pytest_twisted
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.internet.tcp import Client
from twisted.web.client import HTTPConnectionPool
from twisted.web.resource import Resource
from twisted.web.server import Site

from sftpgw.auth.sources.chain import UserSource
from sftpgw.errors import SourceAway
from sftpgw.model.settings import (
    AuthSettings,
    FilesSettings,
    GatewaySettings,
    LimitSettings,
    Settings,
    SshSettings,
    StoreSettings,
)
from sftpgw.model.users import User
from sftpgw.testing.ssh_pairs import RecordedEvents
from sftpgw.user_source_trials import try_sources
from sftpgw.user_sources import asked_sources

REGION = "eu-west-1"


class MotoTable:
    """A table of moto's, and the source that reads it."""

    def __init__(self, url: str) -> None:
        from twisted.internet import reactor  # noqa: PLC0415

        self.reactor = reactor
        self.pool = HTTPConnectionPool(reactor)
        self.url = url
        self.name = f"users-{uuid.uuid4().hex[:12]}"
        self.client = boto3.client(
            "dynamodb",
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id="AK",
            aws_secret_access_key="SK",
        )
        self.client.create_table(
            TableName=self.name,
            AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.events = RecordedEvents()

    def put(self, name: str, **attributes: Any) -> None:
        self.client.put_item(TableName=self.name, Item={"name": {"S": name}, **attributes})

    def source(self, **changes: Any) -> UserSource:
        """The source, put together as the gateway does it."""
        settings = self.settings(**changes)
        (source,) = asked_sources(settings, self.reactor, self.events, self.pool)
        return source

    async def findings(self, **changes: Any) -> list[str]:
        """What ``--check`` finds."""
        return [str(each) async for each in try_sources(self.settings(**changes), self.reactor)]

    def settings(self, **changes: Any) -> Settings:
        given: dict[str, Any] = {
            "sources": ("file", "dynamodb"),
            "dynamodb_table": self.name,
            "dynamodb_region": REGION,
            "dynamodb_endpoint": self.url,
            "dynamodb_access_key": "AK",
            "dynamodb_secret_key": "SK",
        }
        auth = AuthSettings(**given | changes)
        return Settings(
            GatewaySettings(),
            StoreSettings(),
            SshSettings(),
            LimitSettings(),
            FilesSettings(),
            {},
            auth=auth,
            make_user=lambda name, given, source, groups: User.with_home(
                name, "bucket", given["key_prefix"]
            ),
        )


@pytest.fixture
def table(moto_url: str) -> Iterator[MotoTable]:
    table = MotoTable(moto_url)
    yield table
    table.client.close()
    pytest_twisted.blockon(table.pool.closeCachedConnections())
    reactor = table.reactor
    while any(isinstance(each, Client) for each in (*reactor.getReaders(), *reactor.getWriters())):
        pytest_twisted.blockon(deferLater(reactor, 0.0))


@pytest_twisted.ensureDeferred
async def test_a_user_of_the_table_is_found_and_another_is_not(table: MotoTable) -> None:
    table.put("alice", key_prefix={"S": "home/alice/"})
    table.put("ålice ü", key_prefix={"S": "home/umlauts/"})
    source = table.source()
    assert not source.verifies_passwords
    assert await source.find("alice", "192.0.2.1") == User.with_home(
        "alice", "bucket", "home/alice/"
    )
    found = await source.find("ålice ü", None)
    assert found is not None
    assert found.mounts[0].key_prefix == "home/umlauts/"
    assert await source.find("bob", "192.0.2.1") is None
    assert table.events.told == []


@pytest_twisted.ensureDeferred
async def test_an_item_counts_for_all_addresses_until_its_time_has_passed(table: MotoTable) -> None:
    table.put("alice", key_prefix={"S": "old/"})
    kept, fresh = table.source(dynamodb_cache_seconds=600), table.source(dynamodb_cache_seconds=0)
    for source in (kept, fresh):
        assert await source.find("alice", "192.0.2.1") is not None
    table.put("alice", key_prefix={"S": "new/"})
    assert (await kept.find("alice", "192.0.2.2")).mounts[0].key_prefix == "old/"
    assert (await fresh.find("alice", "192.0.2.2")).mounts[0].key_prefix == "new/"


@pytest_twisted.ensureDeferred
async def test_nonsense_in_the_table_is_told(table: MotoTable) -> None:
    table.put("alice", key_prefix={"M": {"a": {"S": "b"}}})
    with pytest.raises(SourceAway):
        await table.source().find("alice", "192.0.2.1")
    (facts,) = table.events.facts("user-source-answer-bad")
    assert facts["source"] == "dynamodb"
    assert facts["user"] == "alice"
    assert "'key_prefix' of the type M" in facts["reason"]


@pytest_twisted.ensureDeferred
async def test_a_table_that_does_not_exist_is_away(table: MotoTable) -> None:
    table.client.delete_table(TableName=table.name)
    with pytest.raises(SourceAway, match=r"ResourceNotFoundException.*sftpgw user create-table"):
        await table.source().find("alice", "192.0.2.1")
    (facts,) = table.events.facts("user-source-away")
    assert (facts["source"], facts["stale"]) == ("dynamodb", False)


@pytest_twisted.ensureDeferred
async def test_the_last_item_is_used_while_the_table_is_away(table: MotoTable) -> None:
    table.put("alice", key_prefix={"S": "home/"})
    source = table.source(dynamodb_cache_seconds=0)
    assert await source.find("alice", "192.0.2.1") is not None
    table.client.delete_table(TableName=table.name)
    assert await source.find("alice", "192.0.2.9") is not None
    (facts,) = table.events.facts("user-source-away")
    assert facts["stale"] is True


@pytest_twisted.ensureDeferred
async def test_the_check_reads_the_table_as_a_login_does(table: MotoTable) -> None:
    assert await table.findings() == [f"ok: dynamodb {table.name}: may be read"]
    table.client.delete_table(TableName=table.name)
    (line,) = await table.findings()
    assert line.startswith(f"fault: dynamodb {table.name}: DynamoDB answers 400 ResourceNotFound")
    assert line.endswith(
        "; see [auth] dynamodb_table and dynamodb_region; sftpgw user create-table makes it"
    )


@pytest_twisted.ensureDeferred
async def test_the_check_finds_a_table_with_another_key(table: MotoTable) -> None:
    table.client.delete_table(TableName=table.name)
    table.client.create_table(
        TableName=table.name,
        AttributeDefinitions=[{"AttributeName": "user", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "user", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    (line,) = await table.findings()
    assert "ValidationException" in line
    assert line.endswith("; the table needs the partition key name, a text (S), and no sort key")


@pytest_twisted.ensureDeferred
async def test_the_check_finds_an_endpoint_that_is_away(table: MotoTable) -> None:
    closed: Any = table.reactor.listenTCP(0, Factory(), interface="127.0.0.1")
    number = closed.getHost().port
    await closed.stopListening()
    (line,) = await table.findings(dynamodb_endpoint=f"http://127.0.0.1:{number}")
    assert line.startswith(f"fault: dynamodb {table.name}: ")
    assert "refused" in line


@pytest_twisted.ensureDeferred
async def test_the_check_asks_a_web_service_for_no_user(table: MotoTable) -> None:
    asked: list[bytes] = []

    class Service(Resource):
        isLeaf = True

        def render(self, request: Any) -> bytes:
            asked.append(request.method + b" " + request.uri)
            request.setResponseCode(405)
            return b""

    port: Any = table.reactor.listenTCP(0, Site(Service()), interface="127.0.0.1")
    url = f"http://127.0.0.1:{port.getHost().port}"
    given = {"sources": ("file", "http"), "http_url": f"{url}/users/"}
    assert await table.findings(**given) == [f"ok: http {url}: answers"]
    assert asked == [b"OPTIONS /"]
    await port.stopListening()
    (line,) = await table.findings(**given)
    assert line.startswith(f"fault: http {url}: ")
