"""Probing finds what a store can do, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import pytest_twisted

from sftpgw.errors import AccessDenied, NoSuchObject, NotImplementedByStore, StoreUnavailable
from sftpgw.s3.probing import probe_capabilities
from sftpgw.testing.fake_store import FakeStore
from sftpgw.values import Capabilities
from tests.stores import (
    MOTO_CAPABILITIES,
    RecordedEvents,
    connect,
    create_bucket,
    moto_settings,
    new_bucket_name,
)

CONDITIONS = [
    field.name
    for field in fields(Capabilities)
    if "condition" in field.name or field.name == "checksums"
]


async def probed(store: FakeStore) -> Capabilities:
    found = await probe_capabilities(store, "bucket", ".sftpgw/", "token")
    assert store.keys() == []
    assert store.uploads == {}
    return found


@pytest_twisted.ensureDeferred
async def test_a_store_that_can_do_all() -> None:
    assert await probed(FakeStore()) == Capabilities()


@pytest_twisted.ensureDeferred
async def test_another_process_tries_it_out_at_the_same_time() -> None:
    """And has just removed the object that both begin with."""
    store = FakeStore()
    store.fail("head", NoSuchObject("gone", code="NoSuchKey", status=404))
    assert await probed(store) == Capabilities()


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest_twisted.ensureDeferred
async def test_a_store_that_ignores_a_condition(condition: str) -> None:
    expected = replace(Capabilities(), **{condition: False})
    assert await probed(FakeStore(capabilities=expected)) == expected


@pytest.mark.parametrize(
    ("operation", "skip", "capability"),
    [
        ("put", 1, "conditional_put"),
        ("copy_part", 0, "part_copy"),
        ("complete_upload", 3, "object_size"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_store_that_says_what_it_lacks(operation: str, skip: int, capability: str) -> None:
    store = FakeStore()
    error = NotImplementedByStore("no", code="NotImplemented", status=501)
    store.fail(operation, error, skip=skip)
    assert await probed(store) == replace(Capabilities(), **{capability: False})


@pytest.mark.parametrize("error", [AccessDenied("no"), StoreUnavailable("not now")])
@pytest_twisted.ensureDeferred
async def test_trouble_is_no_finding(error: Exception) -> None:
    store = FakeStore()
    store.fail("complete_upload", error)
    with pytest.raises(type(error)):
        await probed(store)
    assert store.keys() == []
    assert store.uploads == {}


@pytest_twisted.ensureDeferred
async def test_what_moto_can_do(moto_url: str) -> None:
    bucket = new_bucket_name()
    create_bucket(moto_url, bucket)
    client = connect(moto_settings(moto_url, bucket), RecordedEvents())
    try:
        found = await probe_capabilities(client, bucket, ".sftpgw/", "token")
        left = await client.list(bucket, "")
    finally:
        await client.close()
    assert found == MOTO_CAPABILITIES
    assert left.objects == ()


class _KnowsNoIfMatch(FakeStore):
    """A store that looks at If-None-Match of a copy only."""

    async def copy(self, *arguments: Any, if_match: str | None = None, **named: Any) -> str:
        return await super().copy(*arguments, **named)


@pytest_twisted.ensureDeferred
async def test_conditions_on_a_copys_target_are_both_wanted() -> None:
    assert await probed(_KnowsNoIfMatch()) == Capabilities(conditional_copy=False)
