"""Attacks on channels: their number, windows and packets."""

from __future__ import annotations

import struct

import pytest

from sftpgw.model.units import KIB, MIB
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind
from tests.attacks.raw_sftp import RawSftp
from tests.attacks.raw_ssh import (
    CHANNEL_CONFIRMATION,
    CHANNEL_OPEN_FAILURE,
    Ended,
    RawClient,
    channel_open,
)

pytestmark = pytest.mark.slow

SESSIONS = 10


def test_opening_500_channels_is_refused_beyond_the_limit(mallory: RawClient) -> None:
    mallory.send(*[channel_open(number) for number in range(500)])
    heard = [mallory.receive()[0] for _ in range(500)]
    assert heard.count(CHANNEL_CONFIRMATION) == SESSIONS
    assert heard.count(CHANNEL_OPEN_FAILURE) == 500 - SESSIONS


@pytest.mark.parametrize("size_bytes", [0, 1, 1023])
def test_the_client_takes_packets_of_one_byte(mallory: RawClient, size_bytes: int) -> None:
    """One reply would become a thousand packets."""
    mallory.send(channel_open(0, max_packet_bytes=size_bytes))
    mallory.expect(CHANNEL_OPEN_FAILURE)


def test_the_window_is_widened_by_a_byte_at_a_time(mallory: RawClient) -> None:
    session = RawSftp(mallory, window_bytes=64 * KIB)
    handle = session.open(b"/huge")
    for number in range(64):
        session.send(wire.Read(0, handle, number * 255 * KIB, 255 * KIB))
    session.listen_until(64 * KIB)
    for _ in range(20):
        mallory.send(*[session.widen(1)] * 1000)
    session.listen_until(64 * KIB + 20_000)


@pytest.mark.parametrize("times", [1, 3])
def test_the_window_grows_beyond_its_numbers(session: RawSftp, times: int) -> None:
    for _ in range(times):
        try:
            session.client.send(session.widen(2**32 - 1))
        except Ended:
            break
    assert "window" in session.client.wait_for_the_end()


def test_more_data_than_the_window_allows(session: RawSftp) -> None:
    """A client that does not read gets no more of the window, and may not send more than that."""
    request = encode_request(wire.OnPath(Kind.REALPATH, 0, b"x" * 1000))
    with pytest.raises(Ended):
        for _ in range(20_000):
            session.client.send(session.data(request * 30))


def test_a_packet_larger_than_announced(session: RawSftp) -> None:
    session.client.send(session.data(bytes(256 * KIB + 1)))
    assert session.client.wait_for_the_end()


def test_windows_filled_a_byte_at_a_time(session: RawSftp) -> None:
    """A frame that arrives a byte at a time."""
    session.client.send(session.data(struct.pack(">L", 250 * KIB)))
    for _ in range(100):
        session.client.send(*[session.data(b"\x05")] * 1000)


@pytest.mark.costs(40 * MIB)
def test_empty_data_by_the_hundred_thousand(session: RawSftp) -> None:
    for _ in range(100):
        session.client.send(*[session.data(b"")] * 1000)
    assert session.entries(b"/") >= 1
