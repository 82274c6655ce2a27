"""Attacks without an account on what all share: the CPU of the process, above all."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from sftpgw.model.units import KIB
from tests.attacks.honest import HonestUser
from tests.attacks.raw_ssh import IGNORE, Ended, RawClient
from tests.attacks.target import YARDSTICK_SECONDS, Target

pytestmark = pytest.mark.slow

MakeClient = Callable[..., RawClient]

EMPTY_IGNORE = struct.pack(">IB", 12, 6) + bytes([IGNORE]) + bytes(4) + bytes(6)
"""A packet without encryption, which costs a client nothing."""


def test_40_addresses_send_empty_packets_before_any_key(
    attacker: MakeClient, honest: HonestUser, target: Target
) -> None:
    """A round of the honest user took 15 times as long, for as long as the attack went on."""
    many = EMPTY_IGNORE * (64 * KIB // len(EMPTY_IGNORE))
    clients = [attacker() for _ in range(40)]
    ended = 0
    for client in clients:
        client.socket.settimeout(10.0)
        with suppress(Ended, TimeoutError):
            client.transmit(b"SSH-2.0-flood\r\n")
            for _ in range(320):  # 20 MiB, far more than the kernel keeps
                client.transmit(many)
            continue
        ended += 1
    assert ended == len(clients)
    began = time.monotonic()
    honest.demand_served()
    assert time.monotonic() - began < 10.0
    assert target.measure().told("protocol-broken") == len(clients)


def test_clients_that_connect_and_leave_by_the_hundred(
    attacker: MakeClient, honest: HonestUser, target: Target
) -> None:
    """Twisted accepted over 100 of them in one iteration, which took 0.18 CPU-s."""
    for _ in range(4):
        clients = [attacker() for _ in range(100)]
        for client in clients:
            with suppress(Ended):
                client.transmit(b"SSH-2.0-storm\r\n")
            client.close()
    honest.demand_served()
    slowness = max(1.0, target.measure().yardstick_seconds / YARDSTICK_SECONDS)
    assert target.measure().worst_stretch_seconds < 0.15 * slowness
