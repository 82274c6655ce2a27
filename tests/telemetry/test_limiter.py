"""What each kind of line from each source may fill of the log."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure

from sftpgw.model.events import Event
from sftpgw.model.events.catalogue import EVENTS
from sftpgw.model.events.file_events import FileRead, FileRemoved
from sftpgw.model.events.gateway_events import Defect, SweepFailed
from sftpgw.model.events.session_events import (
    ClientVersion,
    LoginFailedEvent,
    LoginSucceeded,
    RequestRefused,
    SessionClosed,
    SessionOpened,
)
from sftpgw.model.events.upload_events import FileStored
from sftpgw.telemetry.allowance import (
    MAX_COUNTS,
    OTHERS,
    SHARED_BYTES,
    SHARED_BYTES_PER_SECOND,
    SOURCE_BYTES,
    SOURCE_BYTES_PER_SECOND,
    LogAllowance,
    Source,
)
from sftpgw.telemetry.foreign_lines import limit_observers
from sftpgw.telemetry.limiter import TELL_SECONDS, LogLimiter
from sftpgw.telemetry.logs import LogSink
from tests.log_files import LogFile

LINE_AT_MOST = 4096
REFUSED = RequestRefused(request="stat", status="failure", reason="no " * 100)
STORED = FileStored(
    key="home/alice/file",
    bucket="uploads",
    size_bytes=0,
    received_bytes=0,
    seconds=0.001,
    purpose="upload",
    etag="d41d8cd98f00b204e9800998ecf8427e",
)


def test_a_flood_fills_what_its_source_may_and_is_summed_up() -> None:
    log = LogFile()
    alice = log.sink.bind(session="1", peer="192.0.2.1:1", user="alice")
    for _ in range(5000):
        alice.emit(REFUSED)
    told = log.lines["request-refused"]
    assert SOURCE_BYTES <= log.size_bytes["request-refused"] <= SOURCE_BYTES + LINE_AT_MOST
    log.clock.advance(TELL_SECONDS)
    assert log.last["events-suppressed"] == (
        f"events-suppressed kind=request-refused count={5000 - told} source=alice "
        f"seconds={TELL_SECONDS:.3f}"
    )
    assert log.clock.getDelayedCalls() == []


def test_the_long_run_is_bounded_for_a_user_with_any_number_of_sessions() -> None:
    log = LogFile()
    seconds = 900
    for second in range(seconds):
        for number in range(5):
            log.sink.bind(session=f"{second}-{number}", user="mallory").emit(REFUSED)
        log.clock.advance(1)
    most = SOURCE_BYTES + seconds * SOURCE_BYTES_PER_SECOND + LINE_AT_MOST
    assert 0.9 * most < log.size_bytes["request-refused"] <= most
    assert log.lines["events-suppressed"] <= seconds / TELL_SECONDS


def test_a_flood_hides_no_other_kind_and_no_other_source() -> None:
    log = LogFile()
    mallory = log.sink.bind(session="1", peer="192.0.2.1:1")
    for _ in range(2000):
        mallory.emit(ClientVersion(version="x" * 200))
    before = log.lines.copy()
    mallory.emit(SessionOpened())
    log.sink.bind(session="2", peer="192.0.2.2:1").emit(ClientVersion(version="x"))
    log.sink.bind(session="3", peer="192.0.2.1:1", user="alice").emit(ClientVersion(version="x"))
    log.sink.emit(ClientVersion(version="x"))
    assert log.lines - before == Counter({"client-version": 3, "session-opened": 1})


def test_many_addresses_share_a_bound() -> None:
    log = LogFile()
    for number in range(5000):
        peer = f"[2001:db8:{number // 65536:x}:{number % 65536:x}::1]:4711"
        sink = log.sink.bind(session="1", peer=peer)
        for _ in range(3):
            sink.emit(LoginFailedEvent(user="root", method="password"))
    assert log.size_bytes["login-failed"] <= SHARED_BYTES + LINE_AT_MOST
    log.clock.advance(TELL_SECONDS)
    assert log.lines["events-suppressed"] == MAX_COUNTS + 1
    assert f"source={OTHERS}" in log.last["events-suppressed"]


def test_neighbours_in_an_ipv6_site_are_one_source() -> None:
    log = LogFile()
    for number in range(2000):
        sink = log.sink.bind(session="1", peer=f"[2001:db8::{number:x}]:4711")
        sink.emit(ClientVersion(version="x" * 200))
    assert log.size_bytes["client-version"] <= SOURCE_BYTES + LINE_AT_MOST
    log.limiter.flush()
    assert "source=2001:db8::/64" in log.last["events-suppressed"]


def test_a_fast_and_honest_batch_is_told_of_in_full() -> None:
    """500 small files a second."""
    log = LogFile()
    seconds = 20
    for second in range(seconds):
        sink = log.sink.bind(session=f"{second}", peer="192.0.2.1:1", user="alice")
        for _ in range(500):
            sink.emit(STORED)
        sink.emit(FileRemoved(key="home/alice/file", bucket="uploads"))
        log.clock.advance(1)
    assert log.lines["file-stored"] == 500 * seconds
    assert log.lines["file-removed"] == seconds
    assert not log.lines["events-suppressed"]


def test_what_must_be_told_is_told_in_a_flood_of_it() -> None:
    log = LogFile()
    read = {"key": "k", "bucket": "b", "file_bytes": 9, "seconds": 0.0, "purpose": "download"}
    stranger = log.sink.bind(session="1", peer="192.0.2.1:1")
    for _ in range(3000):
        stranger.emit(LoginSucceeded(user="alice", method="password"))
        stranger.emit(SessionClosed(reason="bye", seconds=1.0, received_bytes=0))
        stranger.emit(SessionClosed(reason="bye", seconds=1.0))
        log.sink.bind(user="alice").emit(FileRead(**read, size_bytes=1, etag="e"))
        log.sink.bind(user="bob").emit(FileRead(**read, size_bytes=0, etag="e"))
    assert log.lines["login-succeeded"] == 3000
    assert 3000 < log.lines["session-closed"] < 5500
    assert 3000 < log.lines["file-read"] < 5500


def test_a_traceback_counts() -> None:
    log = LogFile()
    sink = log.sink.bind(session="1", user="alice")
    try:
        raise ValueError("a bug " * 1000)
    except ValueError:
        failure = Failure()
    for _ in range(1000):
        sink.emit(Defect(where="test", failure=failure))
    assert log.lines["defect"] <= SOURCE_BYTES // len(failure.getTraceback()) + 1


def test_the_gateways_own_events_are_bounded_too() -> None:
    log = LogFile()
    for _ in range(2000):
        log.sink.emit(SweepFailed(reason="denied", code="AccessDenied", bucket="uploads"))
    assert log.size_bytes["sweep-failed"] <= SOURCE_BYTES + LINE_AT_MOST
    log.limiter.flush()
    assert "source=gateway" in log.last["events-suppressed"]


def test_nothing_is_told_of_where_nothing_was_left_out() -> None:
    log = LogFile()
    log.sink.bind(user="alice").emit(REFUSED)
    log.limiter.flush()
    assert not log.lines["events-suppressed"]
    assert log.clock.getDelayedCalls() == []


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.event_name)
def test_every_event_is_audited_or_bounded(kind: type[Event]) -> None:
    """What is audited tells of a login, of stored data, or of the end of the process."""
    audited = """
        login-succeeded file-stored file-removed file-renamed copy-differed directory-made
        directory-removed directory-renamed rename-left-behind rename-spared-files
        interrupted-rename-finished time-set stale-upload-aborted stale-piece-deleted draining
    """
    assert kind.is_audited == (kind.event_name in audited.split())


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.sampled_from([Source("alice"), Source("::1", "strangers"), Source("l", "l")]),
            st.floats(0, 400),
            st.integers(1, 200_000),
        ),
        max_size=100,
    )
)
def test_no_kind_fills_more_than_its_bound(steps: list[tuple[str, Source, float, int]]) -> None:
    now = 0.0
    allowance = LogAllowance(lambda: now)
    filled: Counter[tuple[str, str]] = Counter()
    left_out = 0
    for kind, source, passed, size_bytes in steps:
        now += passed
        buckets = allowance.buckets_for(kind, source)
        for bucket in buckets:
            bucket.spend(size_bytes)
        filled[kind, source.name] += size_bytes if buckets else 0
        left_out += not buckets
    for bound_bytes in filled.values():
        assert bound_bytes <= SOURCE_BYTES + now * SOURCE_BYTES_PER_SECOND + 200_000
    assert sum(each.count for each in allowance.take_left_out()) == left_out
    assert allowance.take_left_out() == []
    assert SHARED_BYTES_PER_SECOND > SOURCE_BYTES_PER_SECOND


# Lines that are no events.


class Observed:
    """A publisher with one observer, and what that was told."""

    def __init__(self) -> None:
        self.seen: list[LogEvent] = []
        self.publisher = LogPublisher(self.seen.append)
        self.clock = Clock()
        self.limiter = LogLimiter(self.clock)
        self.limiter.tell(LogSink(Logger("sftpgw", observer=self.publisher)))
        limit_observers(self.publisher, self.limiter)


def test_a_line_of_a_library_is_repeated_so_often_and_summed_up() -> None:
    observed = Observed()
    log = Logger("twisted.internet.tcp", observer=observed.publisher)
    for number in range(4000):
        log.error("Could not accept new connection ({number})", number=number)
    assert 500 < len(observed.seen) < 3000
    observed.clock.advance(TELL_SECONDS)
    last = observed.seen[-1]
    assert last["log_level"] is LogLevel.warn
    assert last["line"].startswith(
        'events-suppressed kind="twisted.internet.tcp: Could not accept new connection ({number})"'
    )
    assert "source=libraries" in last["line"]


def test_libraries_have_a_bound_for_all_their_lines() -> None:
    observed = Observed()
    for number in range(60):
        log = Logger(f"library-{number}", observer=observed.publisher)
        for _ in range(20):
            log.failure("a bug", Failure(ValueError("x")))
    assert sum("log_failure" in event for event in observed.seen) <= SHARED_BYTES // 2048 + 1


def test_events_pass_the_observer_untouched() -> None:
    observed = Observed()
    sink = LogSink(Logger("sftpgw", observer=observed.publisher))
    for _ in range(2000):
        sink.emit(STORED)
    assert len(observed.seen) == 2000
