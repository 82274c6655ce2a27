"""The table as moto serves it: real requests over a real connection."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.internet.tcp import Client
from twisted.web.client import HTTPConnectionPool

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
from sftpgw.user_sources import asked_sources, try_asked

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

    def settings(self, **changes: Any) -> Settings:
        auth = AuthSettings(
            sources=("file", "dynamodb"),
            dynamodb_table=self.name,
            dynamodb_region=REGION,
            dynamodb_endpoint=self.url,
            dynamodb_access_key="AK",
            dynamodb_secret_key="SK",
            **changes,
        )
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

    def source(self, **changes: Any) -> UserSource:
        """The source, put together as the gateway does it."""
        settings = self.settings(**changes)
        (source,) = asked_sources(settings, self.reactor, self.events, self.pool)
        return source


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
async def test_check_tries_the_table(table: MotoTable) -> None:
    where = f"dynamodb {table.name}"
    settings = table.settings()
    assert [found async for found in try_asked(settings, table.reactor)] == [(where, "")]
    table.client.delete_table(TableName=table.name)
    ((told, fault),) = [found async for found in try_asked(settings, table.reactor)]
    assert told == where
    assert fault.count("sftpgw user create-table makes it") == 1
    of_files = replace(settings, auth=AuthSettings())
    assert [found async for found in try_asked(of_files, table.reactor)] == []


@pytest_twisted.ensureDeferred
async def test_the_last_item_is_used_while_the_table_is_away(table: MotoTable) -> None:
    table.put("alice", key_prefix={"S": "home/"})
    source = table.source(dynamodb_cache_seconds=0)
    assert await source.find("alice", "192.0.2.1") is not None
    table.client.delete_table(TableName=table.name)
    assert await source.find("alice", "192.0.2.9") is not None
    (facts,) = table.events.facts("user-source-away")
    assert facts["stale"] is True
