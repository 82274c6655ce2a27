"""Requests whose result is not wanted any more are neither sent nor sent again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import task
from twisted.internet.defer import CancelledError, Deferred

from sftpgw import errors
from sftpgw.aio.cancel import CancelToken
from sftpgw.model.store import MultipartUpload, ObjectName, StoredPart
from sftpgw.s3.s3_client import S3Client
from sftpgw.testing.scripted_s3 import ScriptedResponse, ScriptedS3, scripted_error
from tests.s3.test_outages import FINE, client_on
from tests.stores import RecordedEvents

UPLOAD = MultipartUpload(ObjectName("bucket", "key"), "upload-1")
REFUSAL = scripted_error(503, "SlowDown")


class Pauses(task.Clock):
    """A clock that reports the first wait that begins; no wait ever ends."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: Deferred[None] = Deferred()
        self._untold: Deferred[None] | None = self.begun

    def callLater(self, *arguments: Any, **named: Any) -> Any:
        from twisted.internet import reactor  # noqa: PLC0415

        call = super().callLater(*arguments, **named)
        begun, self._untold = self._untold, None
        if begun is not None:
            reactor.callLater(0, begun.callback, None)
        return call


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def client(server: ScriptedS3, events: RecordedEvents, pauses: Pauses) -> Iterator[S3Client]:
    client = client_on(server.url, events, pauses)
    yield client
    pytest_twisted.blockon(Deferred.fromCoroutine(client.close()))


def sent(client: S3Client, cancel_token: CancelToken, number: int = 1) -> Deferred[StoredPart]:
    wanted = client.with_cancel(cancel_token).bind(session="s1")
    return Deferred.fromCoroutine(wanted.upload_part(UPLOAD, number, (b"x",)))


@pytest_twisted.ensureDeferred
async def test_a_cancelled_request_leaves_its_pause(
    server: ScriptedS3, client: S3Client, pauses: Pauses
) -> None:
    cancel_token = CancelToken()
    server.script(REFUSAL)
    part = sent(client, cancel_token)
    await pauses.begun
    cancel_token.cancel()
    with pytest.raises(errors.StoreUnavailable):
        await part
    assert len(server.requests) == 1
    assert not pauses.getDelayedCalls()


@pytest_twisted.ensureDeferred
async def test_a_cancelled_request_leaves_the_queue(
    server: ScriptedS3, client: S3Client, pauses: Pauses
) -> None:
    cancel_token, held = CancelToken(), Deferred[ScriptedResponse]()
    server.script(REFUSAL)
    server.respond_with(lambda _: held)
    refused = sent(client, cancel_token, 1)
    await pauses.begun
    in_flight = sent(client, CancelToken(), 2)
    waiting = [sent(client, cancel_token, number) for number in (3, 4)]
    following = sent(client, CancelToken(), 5)
    cancel_token.cancel()
    for each in (refused, *waiting):
        with pytest.raises(errors.StoreUnavailable):
            await each
    held.callback(FINE)
    server.script(FINE)
    assert [(await each).number for each in (in_flight, following)] == [2, 5]
    assert len(server.requests) == 3


@pytest.mark.parametrize("reply", [FINE, REFUSAL, ScriptedResponse(is_reset=True)])
@pytest_twisted.ensureDeferred
async def test_a_cancelled_request_in_flight_is_waited_for(
    server: ScriptedS3, client: S3Client, events: RecordedEvents, reply: ScriptedResponse
) -> None:
    """The result of the attempt in flight counts; no other one follows."""
    cancel_token, held = CancelToken(), Deferred[ScriptedResponse]()
    server.respond_with(lambda _: held)
    part = sent(client, cancel_token)
    await server.arrived(1)
    cancel_token.cancel()
    assert not part.called
    held.callback(reply)
    if reply is FINE:
        assert (await part).etag == '"e"'
    else:
        with pytest.raises(errors.StoreUnavailable):
            await part
        assert events.names()[-1] == "s3-request-dropped"
    assert len(server.requests) == 1


@pytest_twisted.ensureDeferred
async def test_a_cancelled_request_is_not_begun(server: ScriptedS3, client: S3Client) -> None:
    cancel_token = CancelToken()
    cancel_token.cancel()
    with pytest.raises(errors.StoreUnavailable):
        await sent(client, cancel_token)
    assert server.requests == []


@pytest_twisted.ensureDeferred
async def test_requests_of_others_to_the_same_store_go_on(
    server: ScriptedS3, connected: Any
) -> None:
    client, cancel_token = connected(), CancelToken()
    client.with_cancel(cancel_token)
    cancel_token.cancel()
    server.script(REFUSAL, REFUSAL, ScriptedResponse(204))
    await client.abort_upload(UPLOAD)
    assert len(server.requests) == 3


@pytest_twisted.ensureDeferred
async def test_a_cancelled_deferred_fails_with_cancelled_error(
    server: ScriptedS3, client: S3Client, pauses: Pauses
) -> None:
    cancel_token = CancelToken()
    server.script(REFUSAL)
    part = sent(client, cancel_token)
    await pauses.begun
    part.cancel()
    with pytest.raises(CancelledError):
        await part
    cancel_token.cancel()
    assert not pauses.getDelayedCalls()
