"""A store that is away, hard to reach, or silent: for a while, or for good."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import task
from twisted.internet.defer import Deferred

from sftpgw import errors
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import ByteRange, MultipartUpload, ObjectName, ObjectProperties
from sftpgw.model.units import MIB
from sftpgw.s3.error_codes import CONNECT_FAILED
from sftpgw.s3.retry.plan import Fault, RetryPlan
from sftpgw.s3.s3_client import S3Client
from sftpgw.testing.scripted_s3 import ScriptedResponse, ScriptedS3, scripted_error
from tests.scripted_names import ScriptedNames
from tests.scripted_server import DEFAULTS
from tests.stores import CollectingSink, RecordedEvents, connect, moto_settings

NAME = ObjectName("bucket", "key")
UPLOAD = MultipartUpload(NAME, "upload-1")
PLAIN = ObjectProperties()
FINE = ScriptedResponse(200, headers={"ETag": '"e"'})
OUTAGE_SECONDS = 20.0


def client_on(
    url: str, events: RecordedEvents, clock: task.Clock | None = None, **settings: Any
) -> S3Client:
    """A client with the default retries, whose waits pass by `clock`."""
    return connect(
        moto_settings(url, "bucket", **(DEFAULTS | settings)),
        events,
        clock=clock,
        random=random.Random(7).random,
    )


async def passing_time(work: Deferred[Any], clock: task.Clock, events: RecordedEvents) -> Any:
    """The result of `work`; each of its waits ends as soon as it begins."""
    from twisted.internet import reactor  # noqa: PLC0415

    while not work.called:
        await task.deferLater(reactor, 0.001)
        if waits := clock.getDelayedCalls():
            clock.advance(min(call.getTime() for call in waits) - clock.seconds())
    return await work


class TestTwentySecondsAway:
    @pytest.mark.parametrize("seed", range(200))
    def test_the_default_retries_outlast_it(self, seed: int) -> None:
        """For any random waits: each attempt is refused at once, as by a host without a server."""
        settings, now_seconds = StoreSettings(), 0.0
        plan = RetryPlan(
            settings.max_attempts,
            random.Random(seed).random,
            now_seconds,
            settings.retry_time_seconds,
        )
        while now_seconds < OUTAGE_SECONDS:
            again = plan.after(Fault(CONNECT_FAILED), now_seconds)
            assert again is not None, f"given up after {now_seconds:.1f} s"
            now_seconds += again.wait_seconds
        assert now_seconds < OUTAGE_SECONDS + 10, "back, and not noticed"

    @pytest_twisted.ensureDeferred
    async def test_an_upload_goes_on(self, server: ScriptedS3, events: RecordedEvents) -> None:
        clock = task.Clock()
        client = client_on(server.url, events, clock)
        try:
            server.script(FINE)
            await client.upload_part(UPLOAD, 1, (b"one",))
            server.go_away()
            second = Deferred.fromCoroutine(client.upload_part(UPLOAD, 2, (b"two",)))
            await self.sit_out(server, clock)
            server.script(FINE)
            part = await passing_time(second, clock, events)
        finally:
            await client.close()
        assert (part.number, part.etag) == (2, '"e"')
        assert [request.body for request in server.requests] == [b"one", b"two"]
        assert len(events.told) >= 5

    @pytest_twisted.ensureDeferred
    async def test_a_download_goes_on(self, server: ScriptedS3, events: RecordedEvents) -> None:
        clock, sink = task.Clock(), CollectingSink()
        client = client_on(server.url, events, clock)

        def piece(start: int, **reply: Any) -> ScriptedResponse:
            headers = {
                "ETag": '"e"',
                "Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT",
                "Content-Range": f"bytes {start}-9/10",
            }
            return ScriptedResponse(206, b"0123456789"[start:], headers, **reply)

        try:
            server.script(piece(0, cut_after_bytes=4, stalls=True))
            getting = Deferred.fromCoroutine(client.get(NAME, ByteRange(0, 10), sink))
            while len(sink.data) < 4:
                await self.a_moment()
            server.go_away()
            await self.sit_out(server, clock)
            server.script(piece(4))
            await passing_time(getting, clock, events)
        finally:
            await client.close()
        assert sink.data == b"0123456789"
        assert server.requests[-1].headers["if-match"] == '"e"'

    async def sit_out(self, server: ScriptedS3, clock: task.Clock) -> None:
        """Let the attempts fail until the outage is over, and bring the server back."""
        while clock.seconds() < OUTAGE_SECONDS:
            await self.a_moment()
            if waits := clock.getDelayedCalls():
                clock.advance(min(call.getTime() for call in waits) - clock.seconds())
        server.come_back()

    async def a_moment(self) -> None:
        from twisted.internet import reactor  # noqa: PLC0415

        await task.deferLater(reactor, 0.001)


class TestStorms:
    @pytest_twisted.ensureDeferred
    async def test_a_storm_of_503s_passes(self, server: ScriptedS3, events: RecordedEvents) -> None:
        """Many parts at once, each refused several times: all are stored in the end."""
        clock = task.Clock()
        client = client_on(server.url, events, clock)
        server.script(*[scripted_error(503, "SlowDown", {"Retry-After": "1"})] * 32, *[FINE] * 8)
        parts = [
            Deferred.fromCoroutine(client.upload_part(UPLOAD, number, (b"%d" % number,)))
            for number in range(1, 9)
        ]
        try:
            found = [await passing_time(part, clock, events) for part in parts]
        finally:
            await client.close()
        assert [part.number for part in found] == list(range(1, 9))
        assert len(server.requests) == 40
        assert clock.seconds() >= 4.0, "Retry-After is heeded"

    @pytest_twisted.ensureDeferred
    async def test_one_that_does_not_is_given_up(
        self, server: ScriptedS3, events: RecordedEvents
    ) -> None:
        clock = task.Clock()
        client = client_on(server.url, events, clock)
        server.script(*[scripted_error(503, "SlowDown")] * 100)
        work = Deferred.fromCoroutine(client.put(NAME, (b"x",), PLAIN))
        try:
            with pytest.raises(errors.StoreUnavailable):
                await passing_time(work, clock, events)
        finally:
            await client.close()
        settings = StoreSettings()
        put = [request for request in server.requests if request.method == "PUT"]
        assert len(put) <= settings.max_attempts
        looks = [request for request in server.requests if request.method == "HEAD"]
        assert 1 <= len(looks) <= 3, "the store may be back, but it is not waited for once more"
        assert clock.seconds() <= settings.retry_time_seconds + 15.0


class TestReachingIt:
    @pytest_twisted.ensureDeferred
    async def test_a_connection_that_is_never_made(self, events: RecordedEvents) -> None:
        """A host whose queue of connections is full does not respond at all."""
        with ExitStack() as stack:
            port = stack.enter_context(full_port())
            client = client_on(
                f"http://127.0.0.1:{port}", events, connect_timeout_seconds=0.05, max_attempts=1
            )
            try:
                with pytest.raises(errors.StoreUnavailable) as refused:
                    await client.head(NAME)
            finally:
                await client.close()
        assert refused.value.code == "ConnectFailed"

    @pytest_twisted.ensureDeferred
    async def test_a_store_that_takes_no_more_of_a_body(
        self, server: ScriptedS3, events: RecordedEvents
    ) -> None:
        client = client_on(server.url, events, read_timeout_seconds=0.05, max_attempts=1)
        server.script(ScriptedResponse(is_early=True, is_silent=True))
        try:
            with pytest.raises(errors.StoreUnavailable) as refused:
                await client.upload_part(UPLOAD, 1, (bytes(32 * MIB),))
        finally:
            await client.close()
        assert refused.value.code == "TimedOut"

    @pytest_twisted.ensureDeferred
    async def test_a_name_that_cannot_be_looked_up_for_a_while(
        self, server: ScriptedS3, events: RecordedEvents, names: Names
    ) -> None:
        clock = task.Clock()
        port = server.url.rsplit(":", 1)[1]
        client = client_on(f"http://store.example:{port}", events, clock)
        names.answers = [[], [], ["127.0.0.1"]]
        server.script(FINE)
        work = Deferred.fromCoroutine(client.put(NAME, (b"x",), PLAIN))
        try:
            assert await passing_time(work, clock, events) == '"e"'
        finally:
            await client.close()
        assert names.asked == ["store.example"] * 3
        assert len(server.requests) == 1

    @pytest_twisted.ensureDeferred
    async def test_a_name_that_does_not_exist(self, events: RecordedEvents, names: Names) -> None:
        client = client_on("http://store.example", events, max_attempts=1)
        try:
            with pytest.raises(errors.StoreUnavailable) as refused:
                await client.put(NAME, (b"x",), PLAIN)
        finally:
            await client.close()
        assert refused.value.code == "ConnectFailed"
        assert "s3-gave-up" in events.names()


class full_port:
    """A loopback port that listens, and whose queue of connections is full."""

    def __enter__(self) -> int:
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        port: int = self.listener.getsockname()[1]
        self.waiting = []
        for _ in range(4):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
            self.waiting.append(waiting)
        return port

    def __exit__(self, *_: object) -> None:
        for each in (*self.waiting, self.listener):
            each.close()


class Names(ScriptedNames):
    """Each lookup gets the next result, or an empty one."""

    def __init__(self) -> None:
        self.answers: list[list[str]] = []
        super().__init__(lambda _: self.answers.pop(0) if self.answers else [])


@pytest.fixture
def names() -> Iterator[Names]:
    """The reactor uses this instead of DNS."""
    from twisted.internet import reactor  # noqa: PLC0415

    names = Names()
    before = reactor.installNameResolver(names)  # type: ignore[attr-defined]
    yield names
    reactor.installNameResolver(before)  # type: ignore[attr-defined]
