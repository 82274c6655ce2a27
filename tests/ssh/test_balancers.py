"""Connections from load balancers: which are admitted, logged, refused, and not counted."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from sftpgw.model.events.session_events import LoginFailedEvent
from sftpgw.model.settings import SshSettings, StartupLimits
from sftpgw.ssh.balancers import (
    HEADER_SECONDS,
    BalancedConnection,
    BalancedEndpoint,
    BalancedFactory,
)
from sftpgw.ssh.factory import REFUSALS_TALLY_SECONDS, SILENT_TALLY_SECONDS
from sftpgw.testing.ssh_clients import (
    ClientConnection,
    ClientTransport,
    ClientUserAuth,
    MemoryTransport,
)
from sftpgw.testing.ssh_pairs import (
    RecordedEvents,
    make_factory,
    make_test_portal,
    make_user,
    new_key,
)
from sftpgw.wire.proxy_header import V2_START

NETWORKS = (ip_network("10.0.0.0/24"), ip_network("2001:db8::/64"))
BALANCER = IPv4Address("TCP", "10.0.0.5", 40_000)
VERSION = b"SSH-2.0-x\r\n"
LOCAL = V2_START + struct.pack(">BBH", 0x20, 0, 0)
KEY = new_key()


def header(host: str = "192.0.2.1", port: int = 4711) -> bytes:
    family = "TCP6" if ":" in host else "TCP4"
    target = "::1" if ":" in host else "127.0.0.1"
    return f"PROXY {family} {host} {target} {port} 22\r\n".encode()


class Wire:
    """A connection that a balancer has made."""

    def __init__(self, port: BalancedFactory, peer: Any = BALANCER) -> None:
        protocol = port.buildProtocol(peer)
        self.is_refused = protocol is None
        if isinstance(protocol, BalancedConnection):
            self.protocol: Any = protocol
            self.io = MemoryTransport(protocol, is_server=True)
            self.io.getPeer = lambda: peer  # type: ignore[method-assign]
            protocol.makeConnection(self.io)

    def hear(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def said(self) -> bytes:
        return self.io.take()

    @property
    def is_cut_off(self) -> bool:
        return self.io.aborted

    def drop(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))


class Door:
    """A port behind balancers."""

    def __init__(self, settings: SshSettings | None = None) -> None:
        self.clock = Clock()
        self.events = RecordedEvents()
        self.portal = make_test_portal({"alice": make_user("alice", KEY)}, {})
        self.gateway = make_factory(self.portal, self.clock, self.events, settings)
        self.port = BalancedFactory(self.gateway, NETWORKS)

    def connect(self, data: bytes = b"", peer: Any = BALANCER) -> Wire:
        wire = Wire(self.port, peer)
        if data:
            wire.hear(data)
        return wire

    def refusals(self) -> dict[str, object]:
        """The counts of refused connections, and the address of the last one."""
        self.clock.advance(REFUSALS_TALLY_SECONDS)
        (facts,) = self.events.facts("connections-refused")
        return {name: facts[name] for name in facts if name not in ("connected", "logging_in")}


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    for connection in tuple(door.gateway.connections):
        connection.connectionLost(Failure(ConnectionDone()))  # type: ignore[attr-defined]
    door.port.doStart()
    door.port.doStop()
    assert not door.port.waiting
    assert door.clock.getDelayedCalls() == []


def test_the_endpoint_provides_twisteds_interface() -> None:
    endpoint: Any = BalancedEndpoint(None, NETWORKS)  # type: ignore[arg-type]
    assert verifyObject(IStreamServerEndpoint, endpoint)


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("192.0.2.1", "192.0.2.1:4711"),
        ("2001:db8:1::1", "[2001:db8:1::1]:4711"),
        ("::ffff:192.0.2.1", "192.0.2.1:4711"),
    ],
)
def test_the_client_is_the_one_that_the_header_names(door: Door, host: str, told: str) -> None:
    wire = door.connect(header(host) + VERSION)
    assert wire.said().startswith(b"SSH-2.0-sftpgw\r\n")
    (opened,) = door.events.facts("session-opened")
    assert opened == {"session": "00000001", "peer": told, "via": "10.0.0.5:40000"}
    assert door.events.facts("client-version")[0]["peer"] == told
    wire.drop()
    assert door.events.facts("session-closed")[0]["peer"] == told


@pytest.mark.parametrize("cut", [1, 5, 7, 20, 39])
def test_a_header_may_arrive_in_fragments(door: Door, cut: int) -> None:
    data = header() + VERSION
    wire = door.connect(data[:cut])
    assert wire.said() == b""
    wire.hear(data[cut:])
    assert wire.said().startswith(b"SSH-2.0-sftpgw\r\n")
    assert door.events.names() == ["session-opened", "client-version"]


def test_a_whole_session_runs_behind_a_header(door: Door) -> None:
    connection = ClientConnection()
    auth = ClientUserAuth(b"alice", connection, key=KEY, password=None)
    client = ClientTransport(lambda transport: transport.requestService(auth))
    client_io = MemoryTransport(client, is_server=False)
    wire = door.connect(header())
    client.makeConnection(client_io)
    while (there := client_io.take()) or (back := wire.said()):
        if there:
            wire.hear(there)
        else:
            client.dataReceived(back)
    assert connection.started
    (facts,) = door.events.facts("login-succeeded")
    assert facts["peer"] == "192.0.2.1:4711"
    wire.drop()


def test_a_failed_login_names_the_client(door: Door) -> None:
    wire = door.connect(header() + VERSION)
    transport = next(iter(door.gateway.connections))
    transport.events.emit(LoginFailedEvent(user="alice", method="password"))  # type: ignore[attr-defined]
    assert door.events.facts("login-failed")[0]["peer"] == "192.0.2.1:4711"
    wire.drop()


def test_limits_count_clients_and_not_the_balancer() -> None:
    door = Door(SshSettings(startups_per_address=2))
    for number in range(5):
        assert not door.connect(header(f"192.0.2.{number}")).is_cut_off
    assert not door.connect(header("192.0.2.0")).is_cut_off
    third = door.connect(header("192.0.2.0"))
    assert third.is_cut_off
    assert third.said() == b""
    assert door.refusals() == {"address_busy": 1, "last_from": "192.0.2.0"}


def test_exempt_networks_are_the_clients() -> None:
    networks = (ip_network("192.0.2.0/24"),)
    door = Door(SshSettings(startups_per_address=1, exempt_networks=networks))
    assert not any(door.connect(header("192.0.2.9")).is_cut_off for _ in range(5))
    assert [door.connect(header("198.51.100.1")).is_cut_off for _ in range(2)] == [False, True]


@pytest.mark.parametrize(
    ("peer", "is_refused"),
    [
        (IPv4Address("TCP", "10.0.1.5", 1), True),
        (IPv6Address("TCP", "2001:db8:0:1::1", 1), True),
        (IPv6Address("TCP", "2001:db8::7", 1), False),
        (IPv6Address("TCP", "::ffff:10.0.0.7", 1), False),
        (UNIXAddress(None), False),
    ],
)
def test_only_balancers_may_connect(door: Door, peer: Any, is_refused: bool) -> None:
    wire = Wire(door.port, peer)
    assert wire.is_refused is is_refused
    if is_refused:
        assert door.refusals() == {"no_balancer": 1, "last_from": peer.host}
    else:
        wire.drop()


@pytest.mark.parametrize("data", [VERSION, b"PROXY TCP4 x\r\n", V2_START + b"\x21\x12\0\0"])
def test_a_bad_header_is_counted_and_disconnected(door: Door, data: bytes) -> None:
    wire = door.connect(data)
    assert wire.is_cut_off
    wire.hear(header() + VERSION)
    assert wire.said() == b""
    wire.drop()
    assert door.refusals() == {"bad_header": 1, "last_from": "10.0.0.5"}
    assert door.events.names() == ["connections-refused"]


def test_half_a_header_is_a_bad_header(door: Door) -> None:
    door.connect(header()[:10]).drop()
    assert door.refusals() == {"bad_header": 1, "last_from": "10.0.0.5"}


@pytest.mark.parametrize("data", [b"", b"PROXY TCP4 192.0.2.1 "])
def test_a_late_header_is_counted_and_disconnected(door: Door, data: bytes) -> None:
    wire = door.connect(data)
    door.clock.advance(HEADER_SECONDS - 1)
    assert not wire.is_cut_off
    door.clock.advance(1)
    assert wire.is_cut_off
    wire.drop()
    assert door.refusals() == {"no_header": 1, "last_from": "10.0.0.5"}


def test_a_header_takes_no_longer_than_a_login_may() -> None:
    door = Door(SshSettings(login_grace_seconds=HEADER_SECONDS / 2))
    wire = door.connect()
    door.clock.advance(HEADER_SECONDS / 2)
    assert wire.is_cut_off


def test_health_checks_are_quiet(door: Door) -> None:
    """A balancer that only connects, says LOCAL or UNKNOWN, or names itself as HAProxy does."""
    for data in (b"", LOCAL, b"PROXY UNKNOWN\r\n", header("10.0.0.5")):
        for _ in range(100):
            wire = door.connect(data)
            assert wire.said().startswith(b"SSH-2.0-sftpgw\r\n" if data else b"")
            wire.drop()
    door.clock.advance(2 * SILENT_TALLY_SECONDS)
    assert door.events.told == []


def test_a_client_without_an_address_is_seen_as_the_balancer(door: Door) -> None:
    wire = door.connect(b"PROXY UNKNOWN\r\n" + VERSION)
    (opened,) = door.events.facts("session-opened")
    assert opened["peer"] == "10.0.0.5:40000"
    wire.drop()


def test_connections_without_a_header_are_limited() -> None:
    door = Door(SshSettings(max_startups=StartupLimits(1, 100, 3)))
    waiting = [door.connect() for _ in range(3)]
    assert not any(wire.is_refused for wire in waiting)
    assert door.connect().is_refused
    waiting[0].drop()
    assert not door.connect().is_refused


def test_no_header_is_waited_for_once_nothing_listens(door: Door) -> None:
    door.port.doStart()
    waiting, session = door.connect(), door.connect(header() + VERSION)
    door.port.doStop()
    assert waiting.is_cut_off
    assert not session.is_cut_off
    waiting.drop()
    session.drop()
    assert "connections-refused" not in door.events.names()
