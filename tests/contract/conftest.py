"""The stores that the contract suite runs against, each test with a prefix of its own."""

from __future__ import annotations

import uuid
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from sftpgw.model.settings import Probe, StoreSettings
from sftpgw.model.store import ObjectStore
from sftpgw.s3.probe import probe_capabilities
from sftpgw.testing.fake_store import FakeStore
from tests.assumed_capabilities import amazon_client, found_lacking
from tests.stores import (
    MOTO_LACKS,
    MOTO_MIN_PART_BYTES,
    REAL_MIN_PART_BYTES,
    REAL_STORE_VARIABLES,
    StoreUnderTest,
    connect,
    create_bucket,
    moto_settings,
    moto_url,
    new_bucket_name,
    real_settings,
)

__all__ = ["moto_url"]


def wait_for(work: Coroutine[Any, Any, Any]) -> Any:
    """Run the reactor until `work` is done, from a fixture."""
    return pytest_twisted.blockon(Deferred.fromCoroutine(work))


@pytest.fixture(scope="session")
def real_store_settings() -> StoreSettings:
    """The real store's settings, with the capabilities that the probe has found."""
    settings = real_settings()
    assert settings is not None, f"no real store: set {', '.join(REAL_STORE_VARIABLES)}"
    return wait_for(probed(settings))


@pytest.fixture(scope="session")
def real_store_lacks(real_store_settings: StoreSettings) -> frozenset[str]:
    """What tests may not assume of the real store, by name."""
    return lacking(real_store_settings, f"contract-{uuid.uuid4().hex}/")


@pytest.fixture(params=["fake", "moto", *(["real"] if real_settings() else [])])
def under_test(request: pytest.FixtureRequest) -> Iterator[StoreUnderTest]:
    prefix = f"contract-{uuid.uuid4().hex}/"
    if request.param == "fake":
        store = FakeStore(("bucket",), min_part_bytes=MOTO_MIN_PART_BYTES)
        yield StoreUnderTest(
            store, "bucket", prefix, MOTO_MIN_PART_BYTES, store.capabilities_of("bucket")
        )
    elif request.param == "moto":
        url, bucket = request.getfixturevalue("moto_url"), new_bucket_name()
        create_bucket(url, bucket)
        settings = moto_settings(url, bucket)
        lacks = MOTO_LACKS | frozenset(settings.capabilities.names(value=False))
        yield from connected(settings, prefix, MOTO_MIN_PART_BYTES, lacks)
    else:
        settings = request.getfixturevalue("real_store_settings")
        lacks = request.getfixturevalue("real_store_lacks")
        yield from connected(settings, prefix, REAL_MIN_PART_BYTES, lacks)


def connected(
    settings: StoreSettings, prefix: str, min_part_bytes: int, lacks: frozenset[str]
) -> Iterator[StoreUnderTest]:
    client = connect(settings)
    yield StoreUnderTest(
        client,
        settings.bucket,
        prefix,
        min_part_bytes,
        client.capabilities_of(settings.bucket),
        lacks,
    )
    wait_for(remove_all(client, settings.bucket, prefix))
    wait_for(client.close())


def lacking(settings: StoreSettings, prefix: str) -> frozenset[str]:
    """What a store lacks: found by Amazon's client, and declared in `settings`."""
    endpoint, access_key, secret_key = settings.endpoint, settings.access_key, settings.secret_key
    assert endpoint is not None
    assert access_key is not None
    assert secret_key is not None
    client = amazon_client(endpoint, access_key, secret_key, settings.region or "us-east-1")
    try:
        found = found_lacking(client, settings.bucket, prefix)
    finally:
        client.close()
    return found | frozenset(settings.capabilities.names(value=False))


async def probed(settings: StoreSettings) -> StoreSettings:
    client = connect(settings)
    try:
        found = await probe_capabilities(
            client, settings.bucket, settings.state_prefix, uuid.uuid4().hex
        )
    finally:
        await client.close()
    lacking = settings.capabilities.names(value=False)
    return replace(settings, capabilities=found.without(lacking), probe=Probe.NO)


async def remove_all(store: ObjectStore, bucket: str, prefix: str) -> None:
    """Leave nothing under `prefix`."""
    for upload in (await store.list_uploads(bucket, prefix)).uploads:
        await store.abort_upload(upload)
    while (page := await store.list(bucket, prefix)).objects:
        for info in page.objects:
            await store.delete(info.name)
