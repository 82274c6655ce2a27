"""Each request to the store is reported once, when its last attempt is over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred

from sftpgw.aio.cancel import CancelToken
from sftpgw.errors import NoSuchObject, StoreUnavailable
from sftpgw.model.measurements import FinishedRequest
from sftpgw.model.store import ByteRange, ObjectName, ObjectProperties
from sftpgw.s3.s3_client import S3Client
from sftpgw.testing.scripted_s3 import ScriptedResponse, ScriptedS3, scripted_error
from tests.scripted_server import DEFAULTS
from tests.stores import CollectingSink, connect, moto_settings

NAME = ObjectName("bucket", "key")
BODY = b"x" * 1000
HEADERS = {"ETag": '"e"', "Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT"}


@pytest.fixture
def finished() -> list[FinishedRequest]:
    return []


@pytest.fixture
def client(server: ScriptedS3, finished: list[FinishedRequest]) -> Iterator[S3Client]:
    settings = moto_settings(bucket="bucket", endpoint=server.url, **DEFAULTS)
    client = connect(settings, random=lambda: 0.0, on_finished=finished.append)
    yield client
    pytest_twisted.blockon(Deferred.fromCoroutine(client.close()))


async def put(client: S3Client) -> Any:
    return await client.put(NAME, (BODY,), ObjectProperties())


@pytest_twisted.ensureDeferred
async def test_a_success(
    server: ScriptedS3, client: S3Client, finished: list[FinishedRequest]
) -> None:
    server.script(ScriptedResponse(200, headers=HEADERS))
    await put(client.bind(user="alice"))
    (one,) = finished
    assert replace(one, seconds=0.0, sent_bytes=0) == FinishedRequest(
        "PutObject", "bucket", "alice", 200, "", 0.0, 1, 0, 0
    )
    assert 0 < one.seconds < 60
    assert len(BODY) < one.sent_bytes < len(BODY) + 2000  # the head counts, too


@pytest_twisted.ensureDeferred
async def test_all_attempts_count(
    server: ScriptedS3, client: S3Client, finished: list[FinishedRequest]
) -> None:
    refused = scripted_error(503, "SlowDown")
    server.script(refused, ScriptedResponse(200, headers=HEADERS))
    await put(client)
    (one,) = finished
    assert (one.attempts, one.status, one.code) == (2, 200, "")
    assert 2 * len(BODY) < one.sent_bytes < 2 * (len(BODY) + 2000)
    assert one.received_bytes == len(refused.body)


@pytest_twisted.ensureDeferred
async def test_bytes_in_are_counted_apart(
    server: ScriptedS3, client: S3Client, finished: list[FinishedRequest]
) -> None:
    told = HEADERS | {"Content-Range": f"bytes 0-{len(BODY) - 1}/5000"}
    server.script(
        ScriptedResponse(206, BODY, told, cut_after_bytes=400),
        ScriptedResponse(
            206, BODY[400:], HEADERS | {"Content-Range": f"bytes 400-{len(BODY) - 1}/5000"}
        ),
    )
    sink = CollectingSink()
    await client.get(NAME, ByteRange(0, len(BODY)), sink)
    assert sink.data == BODY
    (one,) = finished
    assert (one.operation, one.attempts, one.received_bytes) == ("GetObject", 2, len(BODY))
    assert one.sent_bytes < 4000


@pytest_twisted.ensureDeferred
async def test_failures_count(
    server: ScriptedS3, client: S3Client, finished: list[FinishedRequest]
) -> None:
    server.script(scripted_error(404, "NoSuchKey"))
    with pytest.raises(NoSuchObject):
        await client.get(NAME, None, CollectingSink())
    (one,) = finished
    assert (one.status, one.code, one.attempts) == (404, "NoSuchKey", 1)


@pytest_twisted.ensureDeferred
async def test_a_cancelled_request_counts(
    server: ScriptedS3, client: S3Client, finished: list[FinishedRequest]
) -> None:
    server.script(ScriptedResponse(is_silent=True))
    running = Deferred.fromCoroutine(put(client))
    await server.arrived(1)
    running.cancel()
    with pytest.raises(CancelledError):
        await running
    (one,) = finished
    assert (one.status, one.code, one.attempts) == (0, "Unwanted", 1)


@pytest_twisted.ensureDeferred
async def test_a_request_that_is_not_sent_has_no_attempts(
    client: S3Client, finished: list[FinishedRequest]
) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(StoreUnavailable):
        await put(client.with_cancel(token))
    (one,) = finished
    assert (one.code, one.attempts, one.sent_bytes) == ("Unwanted", 0, 0)
