"""The capabilities of a bucket are probed once, when they first matter."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import task
from twisted.internet.defer import CancelledError, Deferred

from sftpgw.errors import AccessDenied, StoreError, StoreUnavailable
from sftpgw.model.settings import ChecksumChoice, Probe, StoreSettings
from sftpgw.model.store import (
    Capabilities,
    ChecksumAlgorithm,
    ObjectName,
    ObjectProperties,
    WriteCondition,
)
from sftpgw.s3.capabilities import MAX_WAIT_SECONDS, PROBE_AGAIN_SECONDS, ProbedCapabilities
from sftpgw.testing.scripted_s3 import ScriptedResponse, ScriptedS3, scripted_error
from tests.scripted_server import Connect
from tests.stores import (
    MOTO_CAPABILITIES,
    CollectingSink,
    RecordedEvents,
    connect,
    create_bucket,
    moto_settings,
    new_bucket_name,
)

NO_COPY = Capabilities(conditional_copy=False)
NO_SUMS = Capabilities(checksums=False)


class Probing:
    """A probe whose outcome a test decides, and the capabilities that use it."""

    def __init__(self, **settings: Any) -> None:
        self.clock = task.Clock()
        self.events = RecordedEvents()
        self.asked: list[str] = []
        self.cancelled = 0
        self._outcomes: list[Deferred[Capabilities]] = []
        self.capabilities = ProbedCapabilities(
            StoreSettings(**settings), self._probe, self.clock, self.events
        )

    async def _probe(self, bucket: str) -> Capabilities:
        self.asked.append(bucket)
        outcome: Deferred[Capabilities] = Deferred()
        self._outcomes.append(outcome)
        try:
            return await outcome
        except CancelledError:
            self.cancelled += 1
            raise

    def known(self, bucket: str = "bucket") -> Deferred[Capabilities]:
        return Deferred.fromCoroutine(self.capabilities.known(bucket))

    def find(self, capabilities: Capabilities) -> None:
        self._outcomes.pop(0).callback(capabilities)

    def fail(self, error: StoreError) -> None:
        self._outcomes.pop(0).errback(error)


def result_of(waiting: Deferred[Any]) -> Any:
    assert waiting.called
    return waiting.result


def test_all_wait_for_one_probe() -> None:
    probing = Probing()
    first, second = probing.known(), probing.known()
    assert not first.called
    first.cancel()
    first.addErrback(lambda failure: failure.trap(CancelledError))
    probing.find(NO_SUMS)
    assert result_of(second) == result_of(probing.known()) == NO_SUMS
    assert probing.asked == ["bucket"]
    assert probing.capabilities.of("bucket") == NO_SUMS
    assert probing.capabilities.checksum("bucket") is None
    assert not probing.clock.getDelayedCalls()


def test_each_bucket_is_asked_for_itself() -> None:
    probing = Probing()
    one, other = probing.known("one"), probing.known("other")
    probing.find(NO_SUMS)
    probing.find(Capabilities())
    assert (result_of(one), result_of(other)) == (NO_SUMS, Capabilities())
    assert probing.capabilities.checksum("other") is ChecksumAlgorithm.CRC64NVME


def test_capabilities_declared_unsupported_are_not_used() -> None:
    probing = Probing(capabilities=NO_COPY)
    assert probing.capabilities.of("bucket") == NO_COPY
    waiting = probing.known()
    probing.find(NO_SUMS)
    assert result_of(waiting) == Capabilities(conditional_copy=False, checksums=False)


def test_nothing_is_tried_if_it_is_not_wanted() -> None:
    probing = Probing(probe=Probe.NO, capabilities=NO_COPY)
    assert result_of(probing.known()) == NO_COPY
    assert result_of(probing.known()) == NO_COPY
    assert probing.asked == []
    assert probing.events.names() == ["capabilities-known"]


def test_the_log_says_once_what_was_found_and_chosen() -> None:
    probing = Probing(capabilities=NO_COPY)
    probing.known()
    probing.find(NO_SUMS)
    probing.known()
    assert probing.events.told == [
        (
            "capabilities-known",
            {
                "bucket": "bucket",
                "source": "probe",
                "lacking": "conditional-copy checksums",
                "checksum": "md5",
            },
        )
    ]


def test_without_rights_the_configuration_is_believed_for_good() -> None:
    probing = Probing(capabilities=NO_COPY)
    waiting = probing.known()
    probing.fail(AccessDenied("no", code="AccessDenied"))
    assert result_of(waiting) == NO_COPY
    assert probing.events.names() == ["capabilities-unknown", "capabilities-known"]
    probing.clock.advance(10 * PROBE_AGAIN_SECONDS)
    assert result_of(probing.known()) == NO_COPY
    assert len(probing.asked) == 1


def test_a_store_that_is_away_is_asked_again_later() -> None:
    probing = Probing()
    waiting = probing.known()
    probing.fail(StoreUnavailable("away"))
    assert result_of(waiting) == result_of(probing.known()) == Capabilities()
    assert len(probing.asked) == 1
    probing.clock.advance(PROBE_AGAIN_SECONDS)
    later = probing.known()
    probing.find(NO_SUMS)
    assert result_of(later) == NO_SUMS


def test_a_refusal_outlives_the_probe_that_it_came_before() -> None:
    probing = Probing()
    probing.known()
    probing.capabilities.must_do_without("bucket", "unequal_parts")
    probing.find(Capabilities())
    assert not probing.capabilities.of("bucket").unequal_parts
    assert probing.capabilities.of("other").unequal_parts
    lacking = [facts["lacking"] for _, facts in probing.events.told]
    assert lacking == ["unequal-parts"] * 2


def test_a_refusal_does_not_keep_a_bucket_from_being_tried_out() -> None:
    probing = Probing()
    probing.known()
    probing.fail(StoreUnavailable("down"))
    probing.capabilities.must_do_without("bucket", "unequal_parts")
    probing.clock.advance(PROBE_AGAIN_SECONDS)
    later = probing.known()
    probing.find(NO_SUMS)
    found = result_of(later)
    assert not found.checksums
    assert not found.unequal_parts


def test_a_probe_is_waited_for_only_so_long() -> None:
    probing = Probing(capabilities=NO_COPY)
    first = probing.known()
    probing.clock.advance(MAX_WAIT_SECONDS - 1)
    second = probing.known()
    assert not first.called
    probing.clock.advance(1)
    assert result_of(first) == result_of(second) == result_of(probing.known()) == NO_COPY
    probing.find(NO_SUMS)
    assert result_of(probing.known()).checksums is False


def test_closing_cancels_the_probe() -> None:
    probing = Probing()
    waiting = probing.known()
    closing = Deferred.fromCoroutine(probing.capabilities.close())
    assert closing.called
    assert waiting.called
    assert probing.cancelled == 1
    assert not probing.clock.getDelayedCalls()


class TestWithAStore:
    @pytest_twisted.ensureDeferred
    async def test_the_first_write_finds_out(self, moto_url: str) -> None:
        bucket, events = new_bucket_name(), RecordedEvents()
        create_bucket(moto_url, bucket)
        settings = moto_settings(moto_url, bucket, capabilities=Capabilities(), probe=Probe.AUTO)
        client = connect(settings, events)
        name, sink = ObjectName(bucket, "a"), CollectingSink()
        try:
            assert client.capabilities_of(bucket) == Capabilities()
            view = client.bind(session="s")
            await view.put(name, (b"1",), ObjectProperties())
            assert client.capabilities_of(bucket) == MOTO_CAPABILITIES
            asked = sum(client.requests.values())
            await view.put(name, (b"2",), ObjectProperties())
            assert sum(client.requests.values()) == asked + 1
            await view.get(name, None, sink)
            left = await client.list(bucket, "")
        finally:
            await client.close()
        assert [info.name for info in left.objects] == [name]
        assert sink.data == b"2"
        # What is tried out is refused on purpose: the log has nothing of it.
        assert events.names() == ["capabilities-known"]

    @pytest_twisted.ensureDeferred
    async def test_without_rights_uploads_go_on(
        self, server: ScriptedS3, connected: Connect, events: RecordedEvents
    ) -> None:
        client = connected(probe=Probe.AUTO, checksum=ChecksumChoice.AUTO)
        server.script(
            scripted_error(403, "AccessDenied"), ScriptedResponse(200, headers={"ETag": '"e"'})
        )
        name = ObjectName("bucket", "a")
        etag = await client.put(name, (b"x",), ObjectProperties(), WriteCondition.IF_ABSENT)
        assert etag == '"e"'
        probed, stored = server.requests
        assert probed.target.startswith("/bucket/.sftpgw/probe/")
        assert stored.headers["if-none-match"] == "*"
        assert "x-amz-checksum-crc64nvme" in stored.headers
        assert events.names() == ["capabilities-unknown", "capabilities-known"]

    @pytest_twisted.ensureDeferred
    async def test_closing_in_the_middle_leaves_nothing_behind(
        self, server: ScriptedS3, connected: Connect
    ) -> None:
        client = connected(probe=Probe.AUTO)
        server.script(ScriptedResponse(is_silent=True))
        writing = Deferred.fromCoroutine(
            client.put(ObjectName("bucket", "a"), (b"x",), ObjectProperties())
        )
        await server.arrived(1)
        writing.addErrback(lambda failure: failure.trap(CancelledError))
        writing.cancel()
        await client.close()
        await server.all_gone()
        assert len(server.requests) == 1


@pytest.mark.parametrize("choice", ChecksumChoice)
def test_the_choice_outranks_what_is_found(choice: ChecksumChoice) -> None:
    probing = Probing(checksum=choice, probe=Probe.NO, capabilities=NO_SUMS)
    chosen = probing.capabilities.checksum("bucket")
    expected = "none" if chosen is None else chosen.value
    others = (ChecksumChoice.AUTO, ChecksumChoice.MD5)
    assert expected == (choice.value if choice not in others else "none")


def test_missing_checksums_of_copies_do_not_matter_without_checksums() -> None:
    probing = Probing()
    probing.known()
    probing.find(Capabilities(checksums=False, copied_checksums=False))
    assert probing.capabilities.of("bucket") == NO_SUMS
    silent = Probing(checksum=ChecksumChoice.NONE)
    silent.known()
    silent.find(Capabilities(copied_checksums=False))
    assert silent.capabilities.of("bucket").copied_checksums


def test_only_what_was_seen_is_proved() -> None:
    probing = Probing(probe=Probe.NO)
    probing.known()
    assert probing.capabilities.of("bucket").copied_checksums
    assert not probing.capabilities.is_proved("bucket", "copied_checksums")
    probing.capabilities.proved("bucket", "copied_checksums")
    assert probing.capabilities.is_proved("bucket", "copied_checksums")
    found = Probing()
    found.known()
    found.find(NO_COPY)
    assert found.capabilities.is_proved("bucket", "copied_checksums")
    assert not found.capabilities.is_proved("bucket", "conditional_copy")
