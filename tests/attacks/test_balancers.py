"""Attacks on the port for load balancers: before the header, in it, and behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.attacks.gateway import KEY
from tests.attacks.honest import HonestUser
from tests.attacks.raw_ssh import Ended, RawClient
from tests.attacks.target import Target

pytestmark = pytest.mark.slow

Connect = Callable[[bytes], RawClient]
WITHOUT_HEADER = 200
"""The last number of max_startups."""


def header(host: str) -> bytes:
    return f"PROXY TCP4 {host} 192.0.2.2 4711 22\r\n".encode()


@pytest.fixture
def connect(target: Target, honest: HonestUser) -> Iterator[Connect]:
    """Makes connections to the balancers' port that begin with these bytes."""
    made: list[RawClient] = []

    def connect(data: bytes) -> RawClient:
        client = RawClient(target.proxied_port)
        made.append(client)
        with suppress(Ended):
            client.transmit(data)
        return client

    yield connect
    try:
        honest.demand_served()
    finally:
        for client in made:
            client.close()


def test_1000_connections_bring_no_header(
    connect: Connect, honest: HonestUser, target: Target, many_files: int
) -> None:
    for number in range(1000):
        connect(b"PROXY TCP4 " if number % 2 else b"")
    honest.demand_served()
    held = target.measure()
    assert held.sessions <= 1
    assert held.descriptors <= target.before.descriptors + WITHOUT_HEADER + 5
    target.when(lambda now: now.told("connections-refused") > 0, "told of refusals")


def test_headers_that_never_end(connect: Connect) -> None:
    for start in (
        b"PROXY UNKNOWN ",
        b"PROXY TCP4 1.1.1.1",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ):
        client = connect(start)
        with suppress(Ended):
            client.transmit(b" " * 200_000)
        client.wait_for_the_end()


def test_one_client_behind_a_balancer_takes_all_it_gets(connect: Connect, target: Target) -> None:
    """Another client of the same balancer is still accepted."""
    for _ in range(300):
        connect(header("198.51.100.1"))
    other = connect(header("198.51.100.2"))
    other.log_in(b"mallory", KEY)
    assert target.measure().told("login-succeeded") >= 1


def test_a_second_header_is_no_ssh(connect: Connect) -> None:
    client = connect(header("198.51.100.3") * 2)
    client.wait_for_the_end()
