"""The bounds of requests under way, on real connections to a scripted S3."""

from __future__ import annotations

from collections import deque

import pytest_twisted
from twisted.internet import task
from twisted.internet.defer import Deferred, gatherResults

from sftpgw.model.store import MultipartUpload, ObjectName, StoredPart
from sftpgw.s3.request_budget.plan import RequestLimits
from sftpgw.s3.s3_client import S3Client
from sftpgw.testing.scripted_s3 import RecordedRequest, ScriptedResponse, ScriptedS3, scripted_error
from tests.stores import RecordedEvents, connect, moto_settings

HEADERS = {"ETag": '"e"', "Content-Length": "0", "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
NAME = ObjectName("bucket", "key")


class Held:
    """An S3 that answers each request when the test says so."""

    def __init__(self, server: ScriptedS3) -> None:
        self._server = server
        self._held: deque[Deferred[ScriptedResponse]] = deque()
        server.respond_with(self._hold)

    def _hold(self, request: RecordedRequest) -> Deferred[ScriptedResponse]:
        self._held.append(Deferred())
        return self._held[-1]

    def answer(self, response: ScriptedResponse | None = None) -> None:
        """The request that has waited longest gets its response."""
        self._held.popleft().callback(response or ScriptedResponse(200, headers=HEADERS))

    def answer_all(self) -> None:
        """All that wait, and those that come, get their responses at once."""
        self._server.respond_with(lambda _: ScriptedResponse(200, headers=HEADERS))
        while self._held:
            self.answer()

    async def methods(self, count: int) -> list[str]:
        """The methods of the first requests, once so many have arrived."""
        await self._server.arrived(count)
        return [request.method for request in self._server.requests]


def store_of(
    server: ScriptedS3, events: RecordedEvents, limits: RequestLimits, clock: task.Clock | None
) -> S3Client:
    settings = moto_settings(server.url, "bucket", max_attempts=5, retry_time_seconds=60.0)
    return connect(settings, events, clock=clock, limits=limits)


def head(store: S3Client) -> Deferred[object]:
    return Deferred.fromCoroutine(store.head(NAME))


async def moment() -> None:
    """What could be sent is sent."""
    from twisted.internet import reactor  # noqa: PLC0415

    for _ in range(20):
        await task.deferLater(reactor, 0)


@pytest_twisted.ensureDeferred
async def test_the_gateways_own_work_waits_behind_no_user(
    server: ScriptedS3, events: RecordedEvents
) -> None:
    store, held = store_of(server, events, RequestLimits(3, 2), None), Held(server)
    ann = store.bind(user="ann", session="1")
    try:
        waiting = [head(ann) for _ in range(5)]
        assert await held.methods(2) == ["HEAD", "HEAD"]
        own = Deferred.fromCoroutine(ann.of_gateway().delete(NAME))
        assert await held.methods(3) == ["HEAD", "HEAD", "DELETE"]
        await moment()
        assert len(server.requests) == 3, "ann has two under way, as many as a user may have"
        for number in range(6):
            await held.methods(number + 1)
            held.answer()
        for each in (*waiting, own):
            await each
    finally:
        await store.close()


@pytest_twisted.ensureDeferred
async def test_a_wait_before_the_next_attempt_holds_no_slot(
    server: ScriptedS3, events: RecordedEvents
) -> None:
    clock = task.Clock()
    store, held = store_of(server, events, RequestLimits(1, 1), clock), Held(server)
    try:
        failing = head(store.bind(user="ann"))
        await held.methods(1)
        held.answer(scripted_error(503, "InternalError"))
        await moment()
        other = head(store.bind(user="bob"))
        await held.methods(2)
        held.answer()
        await other
        assert not failing.called
        clock.advance(60.0)
        await held.methods(3)
        held.answer()
        await failing
    finally:
        await store.close()


@pytest_twisted.ensureDeferred
async def test_a_request_that_may_take_minutes_counts(
    server: ScriptedS3, events: RecordedEvents
) -> None:
    store, held = store_of(server, events, RequestLimits(1, 1), None), Held(server)
    upload = MultipartUpload(NAME, "upload-1")
    try:
        slow = Deferred.fromCoroutine(store.complete_upload(upload, (StoredPart(1, 5, '"e"'),)))
        await held.methods(1)
        other = head(store.bind(user="bob"))
        await moment()
        assert len(server.requests) == 1
        slow.addErrback(lambda failure: None)
        slow.cancel()
        await held.methods(2)
        held.answer()
        held.answer()
        await other
    finally:
        await store.close()


@pytest_twisted.ensureDeferred
async def test_2560_stats_of_one_user_leave_connections_for_others(
    server: ScriptedS3, events: RecordedEvents
) -> None:
    store, held = store_of(server, events, RequestLimits(40, 20), None), Held(server)
    mallory = [head(store.bind(user="mallory", session=str(number % 10))) for number in range(2560)]
    try:
        await held.methods(20)
        honest = Deferred.fromCoroutine(store.bind(user="ann").delete(NAME))
        assert (await held.methods(21)).count("DELETE") == 1
        held.answer_all()
        await gatherResults([*mallory, honest])
        assert server.connections <= 21
        assert len(server.requests) == 2561, "none is sent twice"
    finally:
        await store.close()
