"""One gateway for all attacks, measured for each of them, while an honest user works."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from itertools import count

import pytest

from sftpgw.model.units import MIB
from tests.attacks.gateway import KEY
from tests.attacks.honest import HonestUser
from tests.attacks.raw_sftp import RawSftp
from tests.attacks.raw_ssh import RawClient
from tests.attacks.target import Target

ADDRESSES = (str(IPv4Address("127.1.0.0") + number) for number in count(1))

GROWTH_BYTES = 24 * MIB
"""What an attack may cost, unless a test says otherwise. Six times a channel's two queues."""


POLICY = os.environ.get("SFTPGW_TEST_POLICY", "compatible")
"""``[ssh] policy`` of the gateway, by its name."""


@pytest.fixture(scope="session")
def running_target() -> Iterator[Target]:
    target = Target(auth_tries=6, policy=POLICY)
    yield target
    target.stop()


@pytest.fixture
def target(running_target: Target) -> Target:
    """The gateway, without any connection."""
    running_target.when(lambda now: not now.sessions, "alone")
    return running_target


@pytest.fixture(autouse=True)
def unharmed(target: Target, request: pytest.FixtureRequest) -> Iterator[None]:
    """After each attack: `Target.require_unharmed`, with the marker's bound on memory."""
    yield
    marker = request.node.get_closest_marker("costs")
    target.require_unharmed(growth_bytes=marker.args[0] if marker else GROWTH_BYTES)


@pytest.fixture(autouse=True)
def honest(target: Target, unharmed: None) -> Iterator[HonestUser]:
    """An honest user, served before, during and right after the attack, or the test fails."""
    with HonestUser(target.port) as user:
        target.reset()
        yield user


@pytest.fixture
def attacker(target: Target, honest: HonestUser) -> Iterator[Callable[..., RawClient]]:
    """Makes clients that have sent nothing yet; at the end they are closed.

    Each has an address of its own unless it names one: attacks must fail for what they
    do, not for coming too often. Before they are closed, an honest user is served while
    they are still connected.
    """
    made: list[RawClient] = []

    def make(source: str = "", **options: int) -> RawClient:
        made.append(RawClient(target.port, source or next(ADDRESSES), **options))
        return made[-1]

    yield make
    try:
        honest.demand_served()
    finally:
        for client in made:
            client.close()


@pytest.fixture
def mallory(attacker: Callable[..., RawClient]) -> RawClient:
    """An attacker with an account, logged in."""
    return attacker().log_in(b"mallory", KEY)


@pytest.fixture
def session(mallory: RawClient) -> RawSftp:
    """An attacker with an SFTP session."""
    return RawSftp(mallory)


@pytest.fixture
def many_files() -> Iterator[int]:
    """Raises this process's limit of open files as far as possible; yields the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
