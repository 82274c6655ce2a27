"""The probe finds what a store supports, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import pytest_twisted

from sftpgw.errors import AccessDenied, NoSuchObject, NotImplementedByStore, StoreUnavailable
from sftpgw.model.store import Capabilities, ObjectInfo, ObjectName
from sftpgw.s3.probe import probe_capabilities
from sftpgw.testing.fake_store import FakeStore
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
    if "condition" in field.name or "checksums" in field.name
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
async def test_two_processes_probe_at_the_same_time() -> None:
    """The other process has just deleted the object with which both begin."""
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
        ("complete_upload", 4, "object_size"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_store_that_says_what_it_lacks(operation: str, skip: int, capability: str) -> None:
    store = FakeStore()
    error = NotImplementedByStore("no", code="NotImplemented", status=501)
    store.fail(operation, error, skip=skip)
    assert await probed(store) == replace(Capabilities(), **{capability: False})


@pytest.mark.parametrize(
    ("operation", "skip", "capability"),
    [
        ("copy", 0, "conditional_copy"),
        ("complete_upload", 0, "conditional_complete"),
        ("copy_part", 0, "part_copy"),
        ("copy_part", 2, "copied_checksums"),
        ("upload_part", 1, "checksums"),
    ],
)
@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailable("not an answer", code="BadAnswer"),
        StoreUnavailable("a defect", code="InternalError", status=500),
        StoreUnavailable("hung up", code="ConnectionLost"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_one_odd_answer_is_a_finding(
    error: Exception, operation: str, skip: int, capability: str
) -> None:
    """If plain requests still work; else the store is away."""
    store = FakeStore()
    store.fail(operation, error, skip=skip)
    assert await probed(store) == replace(Capabilities(), **{capability: False})


@pytest_twisted.ensureDeferred
async def test_a_store_that_is_away_has_no_odd_answers() -> None:
    store, away = FakeStore(), StoreUnavailable("hung up", code="ConnectionLost")
    store.fail("copy_part", away)
    store.fail("put", away, skip=9)
    with pytest.raises(StoreUnavailable):
        await probed(store)


class _Folds(FakeStore):
    """A store on a file system that treats a backslash as a slash."""

    async def put(self, name: ObjectName, *arguments: Any, **named: Any) -> str:
        folded = ObjectName(name.bucket, name.key.replace("\\", "/"))
        return await super().put(folded, *arguments, **named)

    async def head(self, name: ObjectName, **named: Any) -> ObjectInfo:
        folded = ObjectName(name.bucket, name.key.replace("\\", "/"))
        return replace(await super().head(folded, **named), name=name)


@pytest_twisted.ensureDeferred
async def test_a_store_that_takes_a_backslash_for_a_slash() -> None:
    assert await probed(_Folds()) == Capabilities(backslashes=False)


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
async def test_the_probe_finds_the_capabilities_of_moto(moto_url: str) -> None:
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
    """A store that checks only If-None-Match of a copy."""

    async def copy(self, *arguments: Any, if_match: str | None = None, **named: Any) -> str:
        return await super().copy(*arguments, **named)


@pytest_twisted.ensureDeferred
async def test_conditions_on_a_copys_target_are_both_wanted() -> None:
    assert await probed(_KnowsNoIfMatch()) == Capabilities(conditional_copy=False)
