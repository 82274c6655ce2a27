"""The stores that tests run against: the fake, moto's server, and a real one if there is one.

A real store is named by ``SFTPGW_TEST_S3_ENDPOINT``, ``_BUCKET``, ``_ACCESS_KEY`` and
``_SECRET_KEY`` in the environment; by ``_REGION``, if it is not us-east-1; and by ``_UNSUPPORTED``,
if it needs that line in ``[s3]``. `tests.assumed_capabilities` finds out what else it lacks.
"""

from __future__ import annotations

import os
import random
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from twisted.internet import threads

from sftpgw.aio.work.scheduler import WorkScheduler
from sftpgw.model.events import Event, EventSink
from sftpgw.model.settings import Probe, StoreSettings
from sftpgw.model.store import Capabilities, ObjectInfo, ObjectName, ObjectStore
from sftpgw.model.units import MIB
from sftpgw.s3.s3_client import S3Client
from sftpgw.s3.store_factory import open_store
from tests.assumed_capabilities import need

MOTO_MIN_PART_BYTES = 64 * 1024
REAL_MIN_PART_BYTES = 5 * MIB
MOTO_CAPABILITIES = Capabilities(
    conditional_copy=False, copy_source_condition=False, checksums=False
)

# moto answers 500 for an upload it does not know, and completes one a second time.
MOTO_LACKS = frozenset({"aborted-uploads-told", "completing-once"})

REAL_STORE_VARIABLES = tuple(
    f"SFTPGW_TEST_S3_{name}" for name in ("ENDPOINT", "BUCKET", "ACCESS_KEY", "SECRET_KEY")
)


@dataclass
class RecordedEvents:
    """An `EventSink` that collects events."""

    told: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    context: dict[str, str] = field(default_factory=dict)

    def emit(self, event: Event) -> None:
        self.told.append((event.event_name, self.context | event.facts()))

    def bind(self, **context: str) -> EventSink:
        return RecordedEvents(self.told, self.context | context)

    def names(self) -> list[str]:
        return [event for event, _ in self.told]


class CollectingSink:
    """A `BodySink` that collects everything, and how often it was begun."""

    def __init__(self) -> None:
        self.infos: list[ObjectInfo] = []
        self.chunks: list[bytes] = []

    @property
    def info(self) -> ObjectInfo:
        (info,) = self.infos
        return info

    @property
    def data(self) -> bytes:
        return b"".join(self.chunks)

    def began(self, info: ObjectInfo) -> None:
        self.infos.append(info)

    def received(self, data: bytes) -> None:
        assert self.infos, "bytes before began"
        self.chunks.append(data)


@dataclass(frozen=True)
class StoreUnderTest:
    """A store and what a test must know of it.

    :param prefix: of the keys of this test alone.
    :param lacks: the names of capabilities that the store lacks, those of
        `tests.assumed_capabilities` and of ``[s3] unsupported``.
    """

    store: ObjectStore
    bucket: str
    prefix: str
    min_part_bytes: int
    capabilities: Capabilities
    lacks: frozenset[str] = frozenset()

    def needs(self, *capabilities: str) -> None:
        """Skip the test, by name, if the store lacks one of these."""
        need(self.lacks, *capabilities)

    def name(self, key: str) -> ObjectName:
        return ObjectName(self.bucket, self.prefix + key)


@contextmanager
def moto_server() -> Iterator[str]:
    """The URL of moto's server, on a free loopback port, with small parts allowed."""
    # Imported here: it costs a second, and most tests do without.
    from moto.s3 import models  # noqa: PLC0415
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    usual = models.S3_UPLOAD_PART_MIN_SIZE  # type: ignore[attr-defined]
    models.S3_UPLOAD_PART_MIN_SIZE = MOTO_MIN_PART_BYTES  # type: ignore[attr-defined]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
        models.S3_UPLOAD_PART_MIN_SIZE = usual  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """moto's server for a session; import this into the conftest that needs it."""
    with moto_server() as url:
        yield url


def create_bucket(endpoint: str, bucket: str) -> None:
    """Create a bucket on a server that checks no signature. Blocks."""
    request = urllib.request.Request(f"{endpoint}/{bucket}", method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def new_bucket_name() -> str:
    return f"test-{uuid.uuid4().hex[:16]}"


def moto_settings(endpoint: str, bucket: str, **changes: Any) -> StoreSettings:
    """Settings for moto's server, or a scripted one."""
    values: dict[str, Any] = {
        "bucket": bucket,
        "endpoint": endpoint,
        "access_key": "AKIDEXAMPLE",
        "secret_key": "secret-of-the-test",
        "capabilities": MOTO_CAPABILITIES,
        "probe": Probe.NO,
    }
    return StoreSettings(**(values | changes))


def real_settings() -> StoreSettings | None:
    """Settings of the real store that the environment names, None without one."""
    if not all(os.environ.get(name) for name in REAL_STORE_VARIABLES):
        return None
    endpoint, bucket, access_key, secret_key = (os.environ[name] for name in REAL_STORE_VARIABLES)
    region = os.environ.get("SFTPGW_TEST_S3_REGION", "us-east-1")
    unsupported = os.environ.get("SFTPGW_TEST_S3_UNSUPPORTED", "").replace("-", "_").split()
    return StoreSettings(
        bucket=bucket,
        endpoint=endpoint,
        region=region,
        access_key=access_key,
        secret_key=secret_key,
        capabilities=Capabilities(**dict.fromkeys(unsupported, False)),
    )


def connect(settings: StoreSettings, events: EventSink | None = None, **changes: Any) -> S3Client:
    """An `S3Client` on the running reactor; close it."""
    from twisted.internet import reactor  # noqa: PLC0415

    arguments: dict[str, Any] = {
        "work": WorkScheduler(reactor, time.perf_counter),
        "wall_clock": time.time,
        "random": random.Random(1).random,
        "in_thread": threads.deferToThread,
    }
    return open_store(settings, reactor, events or RecordedEvents(), **(arguments | changes))
