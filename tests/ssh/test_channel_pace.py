"""A user's rates, through a real SSH connection in memory."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from sftpgw.aio.rate_limiter import BURST_SECONDS, RateLimiter
from sftpgw.model.units import KIB
from sftpgw.ssh.channel_pace import InputPace, SessionLimits, largest_window_bytes
from sftpgw.ssh.windows import LEAST_WINDOW_BYTES, WINDOW_BYTES
from sftpgw.testing.ssh_clients import ClientChannel
from sftpgw.testing.ssh_pairs import AvatarParts, LoggedInPair, RecordingSubsystem

RATE = 100 * KIB
SECONDS = 60


def opened(
    limits: SessionLimits, channels: int, clock: Clock
) -> tuple[LoggedInPair, list[RecordingSubsystem], list[ClientChannel]]:
    made: list[RecordingSubsystem] = []
    parts = AvatarParts(limits=limits)
    pair = LoggedInPair({b"sftp": RecordingSubsystem.into(made)}, clock=clock, parts=parts)
    opened = [pair.open_subsystem(b"sftp") for _ in range(channels)]
    return pair, made, opened


def pass_time(pair: LoggedInPair, seconds: float) -> None:
    for _ in range(round(seconds / 0.05)):
        pair.clock.advance(0.05)
        pair.pump()


@pytest.mark.parametrize("channels", [1, 10])
def test_uploads_keep_to_the_rate(channels: int) -> None:
    clock = Clock()
    limits = SessionLimits(upload=RateLimiter(RATE, clock))
    pair, made, opened_channels = opened(limits, channels, clock)
    for channel in opened_channels:
        channel.write(b"x" * (SECONDS * RATE))
    consumed = [0] * channels
    for _ in range(SECONDS * 10):
        pair.clock.advance(0.1)
        pair.pump()
        for number, subsystem in enumerate(made):
            fresh = len(subsystem.received) - consumed[number]
            if fresh:
                subsystem.transport.consumed(fresh)
                consumed[number] += fresh
    received = [len(subsystem.received) for subsystem in made]
    # What the first windows let in is paid first, so that nothing is above the rate in the end.
    first_bytes = largest_window_bytes(limits.upload)
    expected_bytes = max(SECONDS * RATE, channels * first_bytes)
    assert sum(received) == pytest.approx(expected_bytes, rel=0.05)
    assert max(received) - min(received) <= first_bytes
    pair.drop()
    assert clock.getDelayedCalls() == []


def test_what_a_channel_was_granted_and_has_not_used_is_paid_back() -> None:
    clock = Clock()
    limiter = RateLimiter(RATE, clock)
    granted: list[int] = []
    pace = InputPace(limiter, ("session", "0"), granted.append, 10 * KIB)
    pace.received(10 * KIB)
    pace.refill(500 * KIB)
    pace.received(100 * KIB)
    assert granted == [500 * KIB]
    pace.end()
    clock.advance((10 + 100) * KIB / RATE)
    assert limiter.is_at_rest


@pytest.mark.parametrize("channels", [1, 10])
def test_downloads_keep_to_the_rate_and_are_equal(channels: int) -> None:
    clock = Clock()
    limits = SessionLimits(download=RateLimiter(RATE, clock))
    pair, made, opened_channels = opened(limits, channels, clock)
    for subsystem in made:
        subsystem.transport.write(b"x" * (SECONDS * RATE))
    pass_time(pair, SECONDS)
    received = [len(channel.received) for channel in opened_channels]
    assert sum(received) == pytest.approx(SECONDS * RATE, rel=0.05)
    # The first channel had what could be had at once.
    assert max(received) - min(received) <= RATE * BURST_SECONDS + 8 * KIB
    pair.drop()
    assert clock.getDelayedCalls() == []


def test_a_channel_that_ends_while_it_waits_gives_its_turn_up() -> None:
    clock = Clock()
    limits = SessionLimits(download=RateLimiter(RATE, clock), upload=RateLimiter(RATE, clock))
    pair, made, opened_channels = opened(limits, 2, clock)
    for subsystem in made:
        subsystem.transport.write(b"x" * (10 * RATE))
    opened_channels[1].write(b"x" * (10 * RATE))
    pair.pump()
    made[1].transport.consumed(len(made[1].received))
    made[1].transport.loseConnection()
    pass_time(pair, 11)
    assert len(opened_channels[0].received) == 10 * RATE
    pair.drop()
    assert clock.getDelayedCalls() == []


def test_a_command_ends_once_all_its_output_has_been_sent() -> None:
    clock = Clock()
    limits = SessionLimits(download=RateLimiter(RATE, clock))
    pair, made, (channel,) = opened(limits, 1, clock)
    made[0].transport.write(b"x" * (3 * RATE))
    made[0].transport.finish(7)
    pass_time(pair, 1)
    assert channel.exit_status is None
    pass_time(pair, 3)
    assert len(channel.received) == 3 * RATE
    assert channel.exit_status == 7


def test_windows_are_small_where_the_rate_is_low() -> None:
    assert largest_window_bytes(None) == WINDOW_BYTES
    assert largest_window_bytes(RateLimiter(1000, Clock())) == LEAST_WINDOW_BYTES
    assert largest_window_bytes(RateLimiter(2**40, Clock())) == WINDOW_BYTES
