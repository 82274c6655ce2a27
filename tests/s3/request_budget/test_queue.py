"""A store that asks for fewer requests at once gets fewer, and all of them succeed in the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import pytest_twisted
from twisted.internet import task
from twisted.internet.defer import CancelledError, Deferred, gatherResults

from sftpgw.model.store import MultipartUpload, ObjectName, StoredPart
from sftpgw.s3.request_budget.plan import RequestLimits
from sftpgw.s3.request_budget.queue import RequestQueue, Slot
from sftpgw.s3.s3_client import S3Client
from sftpgw.testing.scripted_s3 import RecordedRequest, ScriptedResponse, ScriptedS3, scripted_error
from tests.s3.test_outages import client_on
from tests.stores import RecordedEvents

UPLOAD = MultipartUpload(ObjectName("bucket", "key"), "upload-1")


class Crowd:
    """Requests of some users in one queue."""

    def __init__(self, at_once: int = 10_000) -> None:
        self.clock = task.Clock()
        self.events = RecordedEvents()
        limits = RequestLimits(at_once=at_once, per_user=at_once)
        self.lines = RequestQueue(limits, self.clock, self.events)
        self.begun: list[str] = []
        self.slots: dict[str, Slot] = {}
        self.turns: dict[str, Deferred[None]] = {}

    def come(self, *names: str) -> None:
        """Requests, named ``user-number``, or ``user-slow``."""
        for name in names:
            user, _, rest = name.partition("-")
            slot = self.slots[name] = self.lines.slot(
                "bucket", (user, "", ""), is_slow=rest == "slow"
            )
            slot.__enter__()
            if slot.ready is None:
                self.begun.append(name)
            else:
                self.turns[name] = slot.ready
                slot.ready.addCallbacks(lambda _, name=name: self.begun.append(name), lambda _: 0)

    def go(self, *names: str) -> None:
        for name in names:
            self.slots.pop(name).__exit__(None, None, None)

    def throttle(self) -> None:
        """From now on one request may be in flight, and none is."""
        self.come("first", "second")
        self.slots["first"].refused()
        self.go("first", "second")
        self.begun.clear()


class TestTheBound:
    """An operator sees that requests wait for ``[s3] max_requests``."""

    def test_a_wait_of_a_second_is_told_with_the_setting_and_who_waits(self) -> None:
        crowd = Crowd(at_once=2)
        crowd.come("ann-1", "ann-2", "ann-3", "bob-1")
        crowd.clock.advance(1)
        crowd.come("bob-2")
        fields = {"setting": "[s3] max_requests", "at_once": 2}
        now = {"waiting": 3, "users": 2, "seconds": 1.0}
        assert crowd.events.told == [("requests-waiting", fields | now)]

    def test_it_is_told_once_a_minute_while_it_lasts(self) -> None:
        crowd = Crowd(at_once=1)
        crowd.come(*(f"ann-{number}" for number in range(200)))
        for _ in range(150):
            crowd.clock.advance(1)
            crowd.go(crowd.begun[-1])
        assert [facts["seconds"] for _, facts in crowd.events.told] == [
            1.0,
            61.0,
            121.0,
        ]

    def test_a_short_wait_is_not_told(self) -> None:
        crowd = Crowd(at_once=1)
        for number in range(100):
            crowd.come(f"ann-{2 * number}", f"bob-{2 * number + 1}")
            crowd.clock.advance(0.5)
            crowd.go(f"ann-{2 * number}", f"bob-{2 * number + 1}")
        assert not crowd.events.names()


class TestTheLine:
    def test_nothing_waits_without_a_refusal(self) -> None:
        crowd = Crowd()
        crowd.come(*(f"ann-{number}" for number in range(1000)))
        assert len(crowd.begun) == 1000
        assert not crowd.turns

    def test_users_take_turns(self) -> None:
        crowd = Crowd()
        crowd.throttle()
        crowd.come("ann-1", "ann-2", "ann-3", "bob-1", "bob-2", "cid-1")
        for _ in range(6):
            crowd.go(crowd.begun[-1])
        assert crowd.begun == ["ann-1", "ann-2", "bob-1", "cid-1", "ann-3", "bob-2"]

    def test_requests_that_may_take_minutes_count_but_hold_up_no_other(self) -> None:
        crowd = Crowd()
        crowd.throttle()
        crowd.come("ann-1", "bob-slow", "cid-1", "dan-1")
        assert crowd.begun == ["ann-1"]
        crowd.go("ann-1")
        assert crowd.begun == ["ann-1", "bob-slow", "cid-1"]
        crowd.go("bob-slow")
        assert crowd.begun == ["ann-1", "bob-slow", "cid-1"]
        crowd.go("cid-1")
        assert crowd.begun[-1] == "dan-1"

    def test_a_cancelled_request_leaves_the_queue(self) -> None:
        crowd = Crowd()
        crowd.throttle()
        crowd.come("ann-1", "ann-2", "bob-1", "bob-2")
        crowd.turns["ann-2"].cancel()
        crowd.turns["bob-1"].cancel()
        crowd.go("ann-2", "bob-1", "ann-1", "bob-2")
        crowd.come("ann-4")
        assert crowd.begun == ["ann-1", "bob-2", "ann-4"]

    def test_the_log_says_once_when_it_begins_and_when_it_is_over(self) -> None:
        crowd = Crowd()
        crowd.throttle()
        assert crowd.events.names() == [], "no request had to wait"
        crowd.come("ann-1", "ann-2", "bob-1")
        crowd.go("ann-1", "ann-2")
        crowd.clock.advance(100.0)
        crowd.slots["bob-1"].served()
        crowd.go("bob-1")
        crowd.come("ann-5", "ann-6", "ann-7")
        assert crowd.events.told == [
            ("throttling-began", {"bucket": "bucket", "in_flight": 1}),
            ("throttling-ended", {"bucket": "bucket", "seconds": 100.0, "refusals": 1}),
        ]
        assert crowd.begun[-3:] == ["ann-5", "ann-6", "ann-7"]

    def test_a_thousand_that_end_at_once_are_no_deep_recursion(self) -> None:
        crowd = Crowd()
        crowd.throttle()
        names = [f"ann-{number}" for number in range(1000)]
        crowd.come(*names)
        for name in names[1:]:
            crowd.turns[name].addCallback(lambda _, name=name: crowd.go(name))
        crowd.go(names[0])
        assert crowd.begun == names


class Busy:
    """A store that serves `at_once` requests at a time, each until the test ends it."""

    def __init__(self, server: ScriptedS3, at_once: int) -> None:
        self.held: deque[Deferred[ScriptedResponse]] = deque()
        self.refused = self.done = 0
        self._at_once = at_once
        server.respond_with(self._answer)

    def _answer(self, request: RecordedRequest) -> ScriptedResponse | Deferred[ScriptedResponse]:
        if len(self.held) >= self._at_once:
            self.refused += 1
            return scripted_error(503, "SlowDown")
        self.held.append(Deferred())
        return self.held[-1]

    def finish_one(self) -> None:
        self.done += 1
        self.held.popleft().callback(ScriptedResponse(200, headers={"ETag": '"e"'}))


class TestRequests:
    @pytest_twisted.ensureDeferred
    async def test_all_is_done_with_few_refusals(
        self, server: ScriptedS3, events: RecordedEvents
    ) -> None:
        """Two hundred parts, forty of them at once, to a store that takes eight at once."""
        clock = task.Clock()
        store = Busy(server, at_once=8)
        client = client_on(server.url, events, clock, max_attempts=8, retry_time_seconds=20.0)
        stored = []

        async def upload(numbers: Iterator[int]) -> None:
            for number in numbers:
                stored.append(await client.upload_part(UPLOAD, number, (b"%d" % number,)))

        numbers = iter(range(1, 201))
        work = gatherResults([Deferred.fromCoroutine(upload(numbers)) for _ in range(40)])
        try:
            while not work.called:
                await self.all_is_told(server, client, events, store, stored)
                if store.held:
                    store.finish_one()
                clock.advance(0.01)
            await work
        finally:
            await client.close()
        assert len(stored) == store.done == 200
        assert store.refused < 32 + 200 // 10, "the first wave, and the feeling about after it"
        assert events.names().count("throttling-began") == 1

    @pytest_twisted.ensureDeferred
    async def test_a_queued_request_can_be_cancelled_and_its_deadline_does_not_run(
        self, server: ScriptedS3, events: RecordedEvents
    ) -> None:
        clock, stored = task.Clock(), []
        store = Busy(server, at_once=1)
        client = client_on(server.url, events, clock, max_attempts=9, retry_time_seconds=20.0)

        async def upload(number: int) -> None:
            stored.append(await client.upload_part(UPLOAD, number, (b"%d" % number,)))

        try:
            held = Deferred.fromCoroutine(upload(1))
            await server.arrived(1)
            refused = Deferred.fromCoroutine(upload(2))
            await server.arrived(2)
            await self.all_is_told(server, client, events, store, stored)
            clock.advance(1.0)
            waiting, given_up = (Deferred.fromCoroutine(upload(number)) for number in (3, 4))
            clock.advance(100.0)
            given_up.addErrback(lambda failure: failure.trap(CancelledError))
            given_up.cancel()
            assert len(server.requests) == 2, "one may be in flight, and is"
            work = gatherResults([held, refused, waiting])
            store.finish_one()
            while not work.called:
                await self.all_is_told(server, client, events, store, stored)
                clock.advance(1.0)
                if store.held:
                    store.finish_one()
            await work
        finally:
            await client.close()
        assert sorted(part.number for part in stored) == [1, 2, 3]

    async def all_is_told(
        self,
        server: ScriptedS3,
        client: S3Client,
        events: RecordedEvents,
        store: Busy,
        stored: list[StoredPart],
    ) -> None:
        """All bytes in flight have arrived, on both sides."""
        from twisted.internet import reactor  # noqa: PLC0415

        def told() -> int:
            return sum(name in ("s3-request-retried", "s3-gave-up") for name in events.names())

        while (client.requests.total(), store.refused, store.done) != (
            len(server.requests),
            told(),
            len(stored),
        ):
            await task.deferLater(reactor, 0)
