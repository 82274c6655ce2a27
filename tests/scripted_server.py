"""A scripted server and a client for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from sftpgw.model.settings import ChecksumChoice
from sftpgw.model.store import Capabilities
from sftpgw.s3.s3_client import S3Client
from sftpgw.testing.scripted_s3 import ScriptedS3
from tests.stores import RecordedEvents, connect, moto_settings, moto_url

__all__ = ["moto_url"]

Connect = Callable[..., S3Client]

DEFAULTS: dict[str, Any] = {"capabilities": Capabilities(), "checksum": ChecksumChoice.NONE}


@pytest.fixture
def server() -> Iterator[ScriptedS3]:
    from twisted.internet import reactor  # noqa: PLC0415

    server = pytest_twisted.blockon(Deferred.fromCoroutine(ScriptedS3.listen(reactor)))
    yield server
    pytest_twisted.blockon(Deferred.fromCoroutine(server.close()))


@pytest.fixture
def events() -> RecordedEvents:
    return RecordedEvents()


@pytest.fixture
def connected(server: ScriptedS3, events: RecordedEvents) -> Iterator[Connect]:
    """Makes clients of the server that never wait between attempts; closes them."""
    clients = []

    def make(*, credentials: Any = None, wall_clock: Any = None, **settings: Any) -> S3Client:
        changes = {"wall_clock": wall_clock} if wall_clock else {}
        client = connect(
            moto_settings(bucket="bucket", **({"endpoint": server.url} | DEFAULTS | settings)),
            events,
            random=lambda: 0.0,
            credentials=credentials,
            **changes,
        )
        clients.append(client)
        return client

    yield make
    for client in clients:
        pytest_twisted.blockon(Deferred.fromCoroutine(client.close()))


@pytest.fixture
def client(connected: Connect) -> S3Client:
    return connected()
