"""Attacks by one who has read the code: what is measured, counted or limited, except here."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sftpgw.model.units import KIB, MIB
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind
from tests.attacks.floods import open_channels
from tests.attacks.gateway import KEY
from tests.attacks.honest import HonestUser
from tests.attacks.raw_ssh import CHANNEL_DATA, RawClient, string, uint32
from tests.attacks.target import YARDSTICK_SECONDS, Target

pytestmark = pytest.mark.slow

ITERATION_SECONDS = 0.15
"""It was 0.25 CPU-s, and is 0.013."""

LAST_BYTES = 100


@pytest.mark.costs(100 * MIB)
def test_a_large_packet_whose_last_bytes_come_late(
    target: Target, honest: HonestUser, attacker: Callable[..., RawClient]
) -> None:
    """A few bytes that complete a packet of 16,000 requests are no small work."""
    clients = [attacker().log_in(b"mallory", KEY) for _ in range(10)]
    request = encode_request(wire.OnPath(Kind.REALPATH, 1, b"/a"))
    ends = []
    for client in clients:
        (number,) = open_channels(client, 1)
        requests = request * (250 * KIB // len(request))
        sealed = client.sealed(bytes([CHANNEL_DATA]) + uint32(number) + string(requests))
        client.socket.sendall(sealed[:-LAST_BYTES])
        ends.append(sealed[-LAST_BYTES:])
    honest.demand_served()  # meanwhile the gateway has got all but the ends
    target.reset()
    for client, end in zip(clients, ends, strict=True):
        client.socket.sendall(end)
    honest.demand_served()
    figures = target.measure()
    slowness = max(1.0, figures.yardstick_seconds / YARDSTICK_SECONDS)
    assert figures.worst_stretch_seconds < ITERATION_SECONDS * slowness
