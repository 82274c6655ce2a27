"""One user's floods on many channels and connections: no iteration is long, and others log in.

A login beside a flood is told in seconds; the machine's speed is taken out as the target does it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from sftpgw.model.units import MIB
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind
from tests.attacks.floods import Flood, filled, login_seconds, open_channels
from tests.attacks.gateway import KEY
from tests.attacks.raw_ssh import IGNORE, RawClient, string
from tests.attacks.target import YARDSTICK_SECONDS, Figures, Target

pytestmark = [pytest.mark.slow, pytest.mark.costs(300 * MIB)]

CONNECTIONS = 10
CHANNELS = 10
ITERATION_SECONDS = 0.2
"""CPU time of the longest iteration. The promise is 0.1, which `bench attacks` shows on a quiet
machine; without turns it is 0.6."""

LOGIN_SECONDS = 3.0
"""A login beside any one user's flood. The promise is 1; without turns it is 25."""

MakeClient = Callable[..., RawClient]


def slowness(figures: Figures) -> float:
    """How much slower than expected the machine is."""
    return max(1.0, figures.yardstick_seconds / YARDSTICK_SECONDS)


def demand_latency(target: Target, flood: Flood) -> None:
    """Beside the flood others log in, and no iteration is long."""
    before = target.reset()
    flood.start()
    logins = sorted(login_seconds(target.port) for _ in range(5))
    figures = target.measure()
    assert figures.process_seconds - before.process_seconds > 0.1, "the flood has not arrived"
    factor = slowness(figures)
    assert figures.worst_stretch_seconds < ITERATION_SECONDS * factor
    assert logins[len(logins) // 2] < LOGIN_SECONDS * factor


@pytest.fixture
def mallories(attacker: MakeClient) -> Iterator[list[RawClient]]:
    """Many connections of one user."""
    clients = [attacker().log_in(b"mallory", KEY) for _ in range(CONNECTIONS)]
    yield clients
    for client in clients:
        with suppress(OSError):  # the threads of the flood are still in calls of the kernel
            client.socket.shutdown(socket.SHUT_RDWR)


def test_ignored_packets_on_ten_connections(target: Target, mallories: list[RawClient]) -> None:
    flood = Flood()
    for client in mallories:
        flood.add(client, [bytes([IGNORE]) + string(b"x" * 20)] * 8000)
    demand_latency(target, flood)


def test_realpaths_on_a_hundred_channels(target: Target, mallories: list[RawClient]) -> None:
    """The first windows of 100 channels held 40 seconds of work: logins took 25 s beside it."""
    request = encode_request(wire.OnPath(Kind.REALPATH, 1, b"/a"))
    flood = Flood()
    for client in mallories:
        channels = [filled(number, request) for number in open_channels(client, CHANNELS)]
        flood.add(client, [packet for packets in zip(*channels, strict=True) for packet in packets])
    demand_latency(target, flood)


def test_malformed_requests_on_a_hundred_channels(
    target: Target, mallories: list[RawClient]
) -> None:
    """Refusals cost more than what they refuse."""
    request = encode_request(wire.OnHandle(Kind.FSTAT, 1, b"nothing"))
    flood = Flood()
    for client in mallories:
        channels = [filled(number, request, 100_000) for number in open_channels(client, CHANNELS)]
        flood.add(client, [packet for packets in zip(*channels, strict=True) for packet in packets])
    demand_latency(target, flood)
