"""The transport: framing, allowed messages, limits and disconnects (RFC 4253)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.conch.ssh.common import NS, getNS
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPullProducer
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from sftpgw.aio.work.plan import WorkPlan
from sftpgw.aio.work.scheduler import Turns, WorkScheduler
from sftpgw.model.settings import SshSettings
from sftpgw.ssh.algorithms import STRICT_BY_CLIENT
from sftpgw.ssh.connection import GatewayConnection
from sftpgw.ssh.factory import SILENT_TALLY_SECONDS
from sftpgw.ssh.packet_cipher import PacketCiphers
from sftpgw.ssh.packet_transport import PACKETS_PER_LOOK, SMALL_PACKET
from sftpgw.ssh.packet_writer import PACKET_OVERHEAD_BYTES, UNREAD_CONTROL_BYTES
from sftpgw.ssh.transport import ABORT_AFTER_SECONDS, MAX_SERVICE_REQUESTS
from sftpgw.testing.cpu_clocks import CpuClock, dear_work
from sftpgw.testing.ssh_clients import SOCKET_BYTES, MemoryTransport
from sftpgw.testing.ssh_pairs import (
    ClientPair,
    LoggedInPair,
    RecordedEvents,
    RecordingSubsystem,
    make_factory,
    make_test_portal,
)
from tests.iterations import IterationClock

DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG, SERVICE_REQUEST = 1, 2, 3, 4, 5
KEXINIT, NEWKEYS, KEX_INIT = 20, 21, 30
GLOBAL_REQUEST, CHANNEL_DATA = 80, 94

BANNER = b"SSH-2.0-test\r\n"

DEFAULTS = SshSettings()
PACKET_BYTES_BEFORE_LOGIN = DEFAULTS.packet_before_login_bytes
PACKET_BYTES_AFTER_LOGIN = DEFAULTS.packet_after_login_bytes
KEY_EXCHANGE_SECONDS = DEFAULTS.key_exchange_timeout_seconds


class Fresh:
    """A server, and a client that has sent nothing yet unless `greet` is True."""

    def __init__(self, *, greet: bool = False) -> None:
        self.clock = Clock()
        self.events = RecordedEvents()
        factory = make_factory(make_test_portal({}, {}), self.clock, self.events)
        self.pair = ClientPair(factory, self.clock, greet=greet)

    def said(self) -> bytes:
        return b"".join(self.pair.server_io.stream)

    def is_hung_up(self) -> bool:
        return bool(self.pair.server_io.disconnecting)

    def hear(self, data: bytes) -> None:
        """Send bytes to the server without reading its replies."""
        self.pair.server.dataReceived(data)


@pytest.fixture
def fresh():
    fresh = Fresh()
    yield fresh
    fresh.pair.drop()
    has_spoken = fresh.pair.server.has_spoken
    assert fresh.events.names()[-1:] == (["session-closed"] if has_spoken else [])
    fresh.pair.factory.stopFactory()
    assert fresh.clock.getDelayedCalls() == []


@pytest.fixture
def made() -> list[RecordingSubsystem]:
    return []


@pytest.fixture
def pair(made):
    pair = LoggedInPair({b"sftp": RecordingSubsystem.into(made)})
    yield pair
    pair.drop()
    assert pair.clock.getDelayedCalls() == []
    assert pair.factory.connections == set()


def plain_packet(payload: bytes, padding_bytes: int | None = None) -> bytes:
    """A packet as before the first key exchange, with the given padding."""
    if padding_bytes is None:
        padding_bytes = 4 + -(len(payload) + 9) % 8
    length = 1 + len(payload) + padding_bytes
    return struct.pack(">LB", length, padding_bytes) + payload + bytes(padding_bytes)


# The banner.


def test_the_banner_tells_no_version(fresh: Fresh) -> None:
    assert fresh.said().startswith(b"SSH-2.0-sftpgw\r\n")


def test_no_weak_algorithm_is_offered(fresh: Fresh) -> None:
    kexinit = fresh.said().partition(b"\r\n")[2][5:]
    lists = [names.split(b",") for names in getNS(kexinit[17:], 8)[:-1]]
    assert lists[0][0] == b"mlkem768x25519-sha256"
    assert lists[1] == [b"ssh-ed25519"]
    for weak in (b"cbc", b"3des", b"md5", b"sha1", b"zlib", b"exchange", b"dss", b"ssh-rsa"):
        assert weak not in b",".join(b",".join(names) for names in lists)
    assert lists[6] == [b"none"]


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.0\r\n",
        b"SSH-1.5-old\r\n",
        b"\n",
        b"\0" * 255,
        b"S" * 300,
        b"hello\r\n" + BANNER,
    ],
)
def test_a_peer_that_does_not_speak_ssh_is_disconnected(fresh: Fresh, line: bytes) -> None:
    fresh.hear(line)
    assert fresh.is_hung_up()


def test_a_banner_in_single_bytes_and_with_a_bare_newline(fresh: Fresh) -> None:
    for byte in b"SSH-2.0-test\n":
        assert not fresh.pair.server.gotVersion
        fresh.hear(bytes((byte,)))
    assert fresh.pair.server.otherVersionString == b"SSH-2.0-test"


def test_packets_right_behind_the_banner_do_not_count_as_banner(fresh: Fresh) -> None:
    fresh.hear(BANNER + plain_packet(bytes((IGNORE,)) + NS(b"x" * 20_000)))
    assert not fresh.is_hung_up()


# Framing.


@pytest.mark.parametrize(
    "packet",
    [
        struct.pack(">LB", PACKET_BYTES_BEFORE_LOGIN + 4, 4) + bytes(64),
        struct.pack(">LB", 0xFFFFFFFF, 4) + bytes(64),
        struct.pack(">LB", 0, 0) + bytes(64),
        struct.pack(">LB", 13, 4) + bytes(64),
        plain_packet(b"\2" + bytes(7), padding_bytes=3 + 8 + 8)[:4] + b"\3" + bytes(64),
        struct.pack(">LB", 12, 11) + bytes(64),
        struct.pack(">LB", 12, 255) + bytes(64),
        struct.pack(">LB", 12, 0) + bytes(64),
    ],
    ids=["too long", "longest", "empty", "no block", "padding 3", "no payload", "all", "none"],
)
def test_a_malformed_packet_is_answered_by_a_disconnect(fresh: Fresh, packet: bytes) -> None:
    fresh.hear(BANNER + packet)
    assert fresh.is_hung_up()
    assert len(fresh.events.facts("protocol-broken")) == 1


def test_the_longest_packet_before_login(fresh: Fresh) -> None:
    fresh.hear(BANNER + struct.pack(">LB", PACKET_BYTES_BEFORE_LOGIN - 4, 4) + bytes(64))
    assert not fresh.is_hung_up()


def test_nothing_is_dispatched_after_a_disconnect(fresh: Fresh) -> None:
    bad = struct.pack(">LB", 12, 0) + bytes(11)
    fresh.hear(BANNER + bad + plain_packet(bytes((99,))) * 100)
    said = fresh.said()
    fresh.hear(plain_packet(bytes((99,))))
    assert fresh.said() == said
    assert len(fresh.events.facts("protocol-broken")) == 1


def test_a_damaged_packet_ends_the_connection(pair: LoggedInPair) -> None:
    pair.client.sendPacket(IGNORE, NS(b"x" * 100))
    data = bytearray(pair.client_io.take())
    data[-1] ^= 1
    pair.send_raw(bytes(data))
    assert pair.client.disconnect_text == b"a packet was damaged on its way"


def test_a_packet_in_single_bytes(pair: LoggedInPair, made: list[RecordingSubsystem]) -> None:
    channel = pair.open_subsystem()
    channel.write(b"x" * 100)
    for byte in pair.client_io.take():
        pair.server.dataReceived(bytes((byte,)))
    assert bytes(made[0].received) == b"x" * 100


@pytest.fixture
def slow_pair(made: list[RecordingSubsystem]) -> Iterator[LoggedInPair]:
    """A client whose turns are over after `PACKETS_PER_TURN`, once it has its channel."""
    clock, cpu = Clock(), CpuClock()
    work = dear_work(clock, LOOKS_PER_TURN, cpu)
    pair = LoggedInPair({b"sftp": RecordingSubsystem.into(made)}, clock=clock, work=work)
    pair.open_subsystem()
    cpu.step_seconds = 1.0
    yield pair
    pair.drop()
    pair.clock.advance(0)
    assert pair.clock.getDelayedCalls() == []


LOOKS_PER_TURN = 3
PACKETS_PER_TURN = LOOKS_PER_TURN * PACKETS_PER_LOOK // SMALL_PACKET


def test_many_small_packets_leave_time_for_others(
    slow_pair: LoggedInPair, made: list[RecordingSubsystem]
) -> None:
    channel = slow_pair.connection.channels[0]
    told = [b"%05d" % number for number in range(2 * PACKETS_PER_TURN + 10)]
    for each in told:
        channel.write(each)
    slow_pair.server.dataReceived(slow_pair.client_io.take())
    assert bytes(made[0].received) == b"".join(told[:PACKETS_PER_TURN])
    assert slow_pair.server._reads.is_held
    channel.write(b"the last")
    # It is handled after the packets before it.
    slow_pair.server.dataReceived(slow_pair.client_io.take())
    assert bytes(made[0].received) == b"".join(told[:PACKETS_PER_TURN])
    slow_pair.clock.advance(0)
    assert bytes(made[0].received) == b"".join(told) + b"the last"
    assert not slow_pair.server._reads.is_held


def test_a_defect_in_a_turn_ends_the_connection(
    slow_pair: LoggedInPair, monkeypatch: pytest.MonkeyPatch, logged_failures: Any
) -> None:
    """TCP is paused then, and would stay so."""
    channel = slow_pair.connection.channels[0]
    for _ in range(PACKETS_PER_TURN + 1):
        channel.write(b"x")
    slow_pair.server.dataReceived(slow_pair.client_io.take())

    def broken() -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(slow_pair.server, "_take_packets", broken)
    slow_pair.clock.advance(0)
    assert slow_pair.server.has_ended
    assert slow_pair.server_io.disconnecting
    (failure,) = logged_failures.found
    logged_failures.found.clear()
    assert "a defect" in failure


def test_small_packets_use_no_more_of_an_iteration_than_they_take(
    made: list[RecordingSubsystem],
) -> None:
    """READs of 200 downloads arrive in one iteration."""
    clock = Clock()
    work = WorkScheduler(clock, CpuClock())
    pair = LoggedInPair({b"sftp": RecordingSubsystem.into(made)}, clock=clock, work=work)
    channel = pair.open_subsystem()
    clock.advance(0)
    for _ in range(200):
        channel.write(b"x" * 30)
        pair.server.dataReceived(pair.client_io.take())
    assert len(made[0].received) == 200 * 30
    assert not pair.server._reads.is_held
    pair.drop()


def test_packets_that_wait_are_forgotten_with_the_connection(
    slow_pair: LoggedInPair, made: list[RecordingSubsystem]
) -> None:
    channel = slow_pair.connection.channels[0]
    for _ in range(PACKETS_PER_TURN + 10):
        channel.write(b"x")
    slow_pair.server.dataReceived(slow_pair.client_io.take())
    slow_pair.drop()
    assert len(made[0].received) == PACKETS_PER_TURN


def test_longer_packets_after_login_but_not_endless_ones(pair: LoggedInPair) -> None:
    pair.send_packet(IGNORE, NS(b"x" * PACKET_BYTES_BEFORE_LOGIN))
    assert pair.connected
    pair.send_packet(IGNORE, NS(b"x" * PACKET_BYTES_AFTER_LOGIN))
    assert pair.client.disconnect_text == b"bad packet length"


def test_sequence_numbers_start_over_at_two_to_the_32(pair: LoggedInPair) -> None:
    last = 2**32 - 1
    pair.client.outgoingPacketSequence = pair.server.incomingPacketSequence = last
    pair.send_packet(IGNORE, NS(b""))
    assert pair.server.incomingPacketSequence == 0
    pair.server.packet_writer.sequence = pair.client.incomingPacketSequence = last
    pair.server.sendPacket(IGNORE, NS(b""))
    assert pair.server.packet_writer.sequence == 0
    pair.pump()
    assert pair.connected


# Which messages are allowed when.


@pytest.mark.parametrize(
    "payload",
    [
        bytes((SERVICE_REQUEST,)) + NS(b"ssh-userauth"),
        bytes((NEWKEYS,)),
        bytes((KEX_INIT,)) + NS(bytes(32)),
        bytes((50,)) + NS(b"alice"),
        bytes((GLOBAL_REQUEST,)),
        bytes((KEXINIT,)),
        bytes((KEXINIT,)) + bytes(16) + b"\xff" * 100,
        bytes((KEXINIT,)) + bytes(16 + 40 + 5),
        bytes((7, 0, 0, 0, 9)),
        bytes((200,)),
        bytes((0,)),
    ],
)
def test_the_wrong_message_before_the_first_keys_ends_the_connection(
    fresh: Fresh, payload: bytes
) -> None:
    fresh.hear(BANNER + plain_packet(payload))
    assert fresh.is_hung_up()


@pytest.mark.parametrize("public", [b"", b"short", bytes(32), bytes(33)])
def test_a_public_value_that_is_none_ends_the_connection(fresh: Fresh, public: bytes) -> None:
    names = (b"curve25519-sha256", b"ssh-ed25519", *[b"aes128-ctr"] * 2, *[b"hmac-sha2-256"] * 2)
    lists = b"".join(map(NS, (*names, b"none", b"none", b"", b"")))
    fresh.hear(BANNER + plain_packet(bytes((KEXINIT,)) + bytes(16) + lists + bytes(5)))
    assert not fresh.is_hung_up()
    fresh.hear(plain_packet(bytes((KEX_INIT,)) + NS(public)))
    assert fresh.is_hung_up()


def kexinit(*more: bytes) -> bytes:
    """A client's KEXINIT, with `more` in its list of key exchanges."""
    key_exchanges = b",".join((b"curve25519-sha256", *more))
    names = (key_exchanges, b"ssh-ed25519", *[b"aes128-ctr"] * 2, *[b"hmac-sha2-256"] * 2)
    lists = b"".join(map(NS, (*names, b"none", b"none", b"", b"")))
    return plain_packet(bytes((KEXINIT,)) + bytes(16) + lists + bytes(5))


REMARK = bytes((IGNORE,)) + NS(b"")


def test_a_strict_exchange_allows_no_generic_message(fresh: Fresh) -> None:
    fresh.hear(BANNER + kexinit(STRICT_BY_CLIENT))
    assert not fresh.is_hung_up()
    fresh.hear(plain_packet(REMARK))
    assert fresh.is_hung_up()


def test_a_strict_exchange_begins_with_kexinit(fresh: Fresh) -> None:
    fresh.hear(BANNER + plain_packet(REMARK))
    assert not fresh.is_hung_up()
    fresh.hear(kexinit(STRICT_BY_CLIENT))
    assert fresh.is_hung_up()


def test_generic_messages_are_allowed_without_a_strict_exchange(fresh: Fresh) -> None:
    fresh.hear(BANNER + plain_packet(REMARK) + kexinit() + plain_packet(REMARK))
    assert not fresh.is_hung_up()


def test_a_strict_exchange_is_announced(fresh: Fresh) -> None:
    assert b"kex-strict-s-v00@openssh.com" in fresh.said()


def test_a_client_without_a_common_algorithm_is_disconnected(fresh: Fresh) -> None:
    lists = NS(b"diffie-hellman-group1-sha1") * 10
    fresh.hear(BANNER + plain_packet(bytes((KEXINIT,)) + bytes(16) + lists + bytes(5)))
    assert fresh.is_hung_up()


def test_userauth_can_be_requested_some_times_and_nothing_else_ever() -> None:
    """paramiko requests it before each step of a login."""
    for requests in (
        [b"ssh-connection"],
        [b"ssh-userauth", b"ssh-connection"],
        [b"ssh-userauth"] * (MAX_SERVICE_REQUESTS + 1),
        [b"nonsense"],
    ):
        fresh = Fresh(greet=True)
        for name in requests:
            fresh.pair.send_packet(SERVICE_REQUEST, NS(name))
        assert fresh.pair.client.disconnect_text == b"no such service now"
        assert not fresh.pair.connected
        assert fresh.clock.getDelayedCalls() == []


def test_no_service_after_login(pair: LoggedInPair) -> None:
    pair.send_packet(SERVICE_REQUEST, NS(b"ssh-userauth"))
    assert pair.client.disconnect_text == b"no such service now"


def test_unimplemented_names_the_packet(pair: LoggedInPair) -> None:
    number = pair.client.outgoingPacketSequence
    pair.send_packet(199, b"what is this")
    assert pair.client.answers(UNIMPLEMENTED) == [struct.pack(">L", number)]
    assert pair.connected


@pytest.mark.parametrize(
    ("message", "payload"),
    [(IGNORE, b""), (DEBUG, b""), (UNIMPLEMENTED, b""), (7, b""), (IGNORE, NS(b"x"))],
)
def test_generic_messages_are_ignored(pair: LoggedInPair, message: int, payload: bytes) -> None:
    pair.send_packet(message, payload)
    assert pair.connected


# Key exchange by the client.


def test_rekeying_in_the_middle_of_a_transfer(
    pair: LoggedInPair, made: list[RecordingSubsystem]
) -> None:
    channel = pair.open_subsystem()
    channel.write(b"a" * 100_000)
    pair.client.sendKexInit()
    channel.write(b"b" * 100_000)
    made[0].transport.write(b"c" * 500_000)
    pair.pump()
    assert bytes(made[0].received) == b"a" * 100_000 + b"b" * 100_000
    assert bytes(channel.received) == b"c" * 500_000
    assert pair.server.incomingPacketSequence > 0


def test_during_a_key_exchange_channels_wait_with_their_data(
    pair: LoggedInPair, made: list[RecordingSubsystem]
) -> None:
    channel = pair.open_subsystem()
    pair.client.sendKexInit()
    pair.server.dataReceived(pair.client_io.take())
    assert not pair.server.can_send
    made[0].transport.write(b"x" * 2_000_000)
    assert made[0].pauses == ["pause"]
    pair.pump()
    assert len(channel.received) == 2_000_000
    assert made[0].pauses == ["pause", "resume"]


def test_data_during_the_clients_key_exchange_ends_the_connection(pair: LoggedInPair) -> None:
    channel = pair.open_subsystem()
    pair.client.sendKexInit()
    pair.client._keyExchangeState = pair.client._KEY_EXCHANGE_NONE
    channel.write(b"x")
    pair.server.dataReceived(pair.client_io.take())
    assert pair.events.facts("protocol-broken")[0]["reason"] == "message 94 at the wrong time"


def test_a_key_exchange_has_a_time_limit(pair: LoggedInPair) -> None:
    pair.client.sendKexInit()
    pair.server.dataReceived(pair.client_io.take())
    pair.clock.advance(KEY_EXCHANGE_SECONDS - 1)
    assert not pair.server.has_ended
    pair.clock.advance(1)
    assert pair.server.has_ended


# Limits and disconnects.


def test_a_client_that_does_not_log_in_is_cut_off() -> None:
    fresh = Fresh(greet=True)
    fresh.clock.advance(59)
    fresh.pair.pump()
    assert fresh.pair.connected
    fresh.clock.advance(1)
    fresh.pair.pump()
    assert fresh.pair.client.disconnect_text == b"the time to log in is over ([ssh] login_grace)"
    assert not fresh.pair.connected
    assert fresh.clock.getDelayedCalls() == []


def test_a_silent_client_is_cut_off(fresh: Fresh) -> None:
    fresh.clock.advance(60)
    assert fresh.is_hung_up()


def test_ten_connections_without_a_byte_are_one_line() -> None:
    clock, events = Clock(), RecordedEvents()
    factory = make_factory(make_test_portal({}, {}), clock, events)
    for _ in range(10):
        ClientPair(factory, clock, greet=False).drop()
    assert events.told == []
    clock.advance(SILENT_TALLY_SECONDS)
    assert events.told == [("connections-silent", {"count": 10, "last_from": "local"})]
    assert clock.getDelayedCalls() == []


def test_a_session_is_logged_with_its_first_byte(fresh: Fresh) -> None:
    assert fresh.events.told == []
    fresh.hear(b"S")
    fresh.hear(b"SH")
    assert fresh.events.names() == ["session-opened"]


def test_a_client_that_has_logged_in_is_not_cut_off(pair: LoggedInPair) -> None:
    pair.clock.advance(DEFAULTS.login_grace_seconds + 1)
    pair.pump()
    assert pair.connected


def test_a_disconnect_that_is_never_read_becomes_an_abort(pair: LoggedInPair) -> None:
    pair.client_reads = False
    pair.server.sendDisconnect(11, "bye")
    pair.pump()
    assert pair.connected
    pair.clock.advance(ABORT_AFTER_SECONDS)
    assert pair.server_io.aborted


def test_a_disconnect_behind_a_full_tcp_buffer_ends_the_connection(
    pair: LoggedInPair, made: list[RecordingSubsystem]
) -> None:
    pair.open_subsystem()
    pair.client_reads = False
    made[0].transport.write(b"x" * 2 * SOCKET_BYTES)
    pair.server.sendDisconnect(11, "bye")
    assert not pair.server_io.has_closed
    pair.client.dataReceived(pair.server_io.take())
    assert pair.client.disconnect_text == b"bye"
    assert pair.server_io.has_closed


def test_a_client_that_sends_requests_but_does_not_read_is_cut_off(pair: LoggedInPair) -> None:
    pair.client_reads = False
    question = NS(b"keepalive@openssh.com") + b"\1"
    waiting_bytes = 0
    for _ in range(50):
        for _ in range(200):
            pair.client.sendPacket(GLOBAL_REQUEST, question)
        pair.pump()
        waiting_bytes = max(waiting_bytes, pair.unread_bytes)
    assert pair.server_io.aborted
    # Only replies that come after the socket is full count against the client.
    answered_together_bytes = 200 * PACKET_OVERHEAD_BYTES
    most_bytes = SOCKET_BYTES + answered_together_bytes + UNREAD_CONTROL_BYTES
    assert SOCKET_BYTES < waiting_bytes <= most_bytes


def test_an_error_of_ours_is_logged_once_and_ends_the_connection(logged_failures: Any) -> None:
    class Broken(RecordingSubsystem):
        def dataReceived(self, data: bytes) -> None:
            raise LookupError("a bug")

    broken = Broken()
    pair = LoggedInPair({b"broken": lambda: broken})
    channel = pair.open_subsystem(b"broken")
    for _ in range(5):
        channel.write(b"x")
    pair.pump()
    (found,), logged_failures.found = logged_failures.found, []
    assert "session 00000001" in found
    assert "a bug" in found
    assert pair.client.disconnect_text == b"internal error"
    assert len(broken.losses) == 1


@pytest.mark.parametrize("broken", ["setKeys", "transport_writable"])
def test_an_error_of_ours_in_a_key_exchange_is_not_blamed_on_the_client(
    pair: LoggedInPair, logged_failures: Any, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("a bug")

    where = {"setKeys": PacketCiphers, "transport_writable": GatewayConnection}[broken]
    pair.server.rekey()
    monkeypatch.setattr(where, broken, fail)
    pair.pump()
    (found,), logged_failures.found = logged_failures.found, []
    assert "a bug" in found
    assert pair.client.disconnect_text == b"internal error"
    assert pair.events.facts("protocol-broken") == []


def test_the_events_of_a_session(pair: LoggedInPair) -> None:
    pair.clock.advance(5)
    pair.client.sendDisconnect(11, b"bye\nnow")
    pair.pump()
    assert pair.events.names() == [
        "session-opened",
        "client-version",
        "login-succeeded",
        "session-closed",
    ]
    assert {facts["session"] for _, facts in pair.events.told} == {"00000001"}
    (closed,) = pair.events.facts("session-closed")
    assert closed["seconds"] == 5
    assert "\n" not in str(closed["reason"])
    assert pair.logouts == ["alice"]


def test_the_clients_version_is_told_once_and_cannot_forge_a_line(fresh: Fresh) -> None:
    fresh.hear(b"SSH-2.0-PuTTY\x1b[2J" + b"x" * 200 + b"\r\n" + kexinit())
    (facts,) = fresh.events.facts("client-version")
    version = str(facts["version"])
    assert version.startswith("SSH-2.0-PuTTY\\x1b[2Jxx")
    assert len(version) < 150


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        (ConnectionDone(), "Connection was closed cleanly"),
        (ConnectionLost("reset by peer"), "reset by peer"),
        (TimeoutError(110, "Connection timed out"), "timed out"),
    ],
)
def test_the_log_says_how_a_connection_was_lost(lost: Exception, told: str) -> None:
    fresh = Fresh(greet=True)
    fresh.pair.server.connectionLost(Failure(lost))
    (facts,) = fresh.events.facts("session-closed")
    assert told in str(facts["reason"])
    assert set(facts) == {"session", "peer", "reason", "seconds"}  # no totals without a login


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (IPv4Address("TCP", "192.0.2.1", 2022), "192.0.2.1:2022"),
        (IPv6Address("TCP", "::1", 2022), "[::1]:2022"),
    ],
)
def test_the_log_names_the_clients_address(address: object, told: str) -> None:
    clock, events = Clock(), RecordedEvents()
    server = make_factory(make_test_portal({}, {}), clock, events).buildProtocol(None)
    transport = MemoryTransport(server, is_server=True)
    transport.getPeer = lambda: address
    server.makeConnection(transport)
    server.dataReceived(b"S")
    assert events.facts("session-opened")[0]["peer"] == told
    server.connectionLost(Failure(ConnectionDone()))
    assert clock.getDelayedCalls() == []


def test_all_clients_can_be_disconnected(pair: LoggedInPair) -> None:
    pair.factory.disconnect_all("the gateway is shutting down")
    pair.pump()
    assert pair.client.disconnect_text == b"the gateway is shutting down"
    assert not pair.connected


def test_the_transport_has_a_pull_producer(pair: LoggedInPair) -> None:
    producer: Any = pair.server.packet_writer
    assert verifyObject(IPullProducer, producer)
    assert pair.server_io.producer is producer


def test_every_connection_has_its_own_label() -> None:
    clock, events = Clock(), RecordedEvents()
    factory = make_factory(make_test_portal({}, {}), clock, events)
    pairs = [ClientPair(factory, clock) for _ in range(3)]
    assert [facts["session"] for facts in events.facts("session-opened")] == [
        "00000001",
        "00000002",
        "00000003",
    ]
    for one in pairs:
        one.drop()
    assert clock.getDelayedCalls() == []


# Fuzz.


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=60)), min_size=1, max_size=5))
@settings(max_examples=150)
def test_no_bytes_before_login_cause_an_internal_error(
    logged_failures: Any, messages: list[tuple[int, bytes]]
) -> None:
    fresh = Fresh()
    fresh.hear(BANNER)
    for number, payload in messages:
        fresh.hear(plain_packet(bytes((number,)) + payload))
    fresh.pair.drop()
    logged_failures.demand_none()
    assert fresh.clock.getDelayedCalls() == []


@given(
    st.lists(
        st.tuples(
            st.integers(0, 255) | st.sampled_from([20, 30, 80, *range(90, 101)]),
            st.builds(
                lambda head, tail: head + tail, st.sampled_from([b"", bytes(4)]), st.binary()
            ),
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=150)
def test_no_packets_after_login_cause_an_internal_error(
    logged_failures: Any, messages: list[tuple[int, bytes]]
) -> None:
    made: list[RecordingSubsystem] = []
    pair = LoggedInPair({b"sftp": RecordingSubsystem.into(made)})
    pair.open_subsystem()
    for number, payload in messages:
        # Conch's client would hold a message back during a key exchange.
        pair.client._keyExchangeState = pair.client._KEY_EXCHANGE_NONE
        pair.client.sendPacket(number, payload)
        pair.server.dataReceived(pair.client_io.take())
    pair.drop()
    logged_failures.demand_none()
    assert len(made[0].losses) == 1
    assert pair.clock.getDelayedCalls() == []


@pytest.mark.parametrize("host", ["2001:db8::1", "2001:db8::2:3"])
def test_addresses_of_one_ipv6_network_share_a_place_before_the_login(host: str) -> None:
    clock = Clock()
    work = dear_work(clock, 1_000_000)
    factory = make_factory(make_test_portal({}, {}), clock, RecordedEvents(), work=work)
    server = factory.buildProtocol(None)
    transport = MemoryTransport(server, is_server=True)
    transport.getPeer = lambda: IPv6Address("TCP", host, 4711)
    server.makeConnection(transport)
    server.dataReceived(b"SSH-2.0-client\r\n" * 100)
    assert work.longest.path[0] == "/2001:db8::/64"
    server.connectionLost(Failure(ConnectionDone()))


@pytest.mark.parametrize(("size_bytes", "count"), [(0, 2200), (20_000, 60)])
def test_a_client_may_send_only_so_much_before_its_login(
    fresh: Fresh, size_bytes: int, count: int
) -> None:
    """IGNORE needs no keys: 80 addresses kept the process busy, each with a user's share."""
    fresh.hear(BANNER)
    remark = plain_packet(bytes((IGNORE,)) + NS(bytes(size_bytes)))
    heard = 0
    while heard < count and not fresh.is_hung_up():
        fresh.hear(remark)
        heard += 1
    assert count / 2 < heard < count
    (facts,) = fresh.events.facts("protocol-broken")
    assert facts["reason"] == "too much before the login"


def test_after_the_login_a_client_may_send_what_it_likes(pair: LoggedInPair) -> None:
    for _ in range(4000):
        pair.send_packet(IGNORE, NS(bytes(1000)))
    assert pair.connected


def test_single_bytes_count_as_more_before_the_login(fresh: Fresh) -> None:
    """Each takes a turn of its own; a packet of 35 KiB may have 35,000 of them."""
    fresh.hear(BANNER)
    remark = plain_packet(bytes((IGNORE,)) + NS(bytes(4000)))
    reads = 0
    while reads < 40_000 and not fresh.is_hung_up():
        fresh.hear(remark[reads % len(remark) :][:1])
        reads += 1
    assert 10_000 < reads < 25_000


def test_sessions_that_end_at_the_same_moment_end_in_turns() -> None:
    """A client's process dies, and a thousand connections with it: all in one iteration."""
    clock, cpu = IterationClock(), CpuClock()
    plan: WorkPlan[Turns] = WorkPlan(round_seconds=3.0, quantum_seconds=1.0)
    work = WorkScheduler(clock, cpu, plan, most_seconds=1.0)
    pairs = [LoggedInPair({}, clock=clock, work=work) for _ in range(10)]
    cpu.step_seconds = 1.0
    for pair in pairs:
        pair.drop()

    def ended() -> int:
        return sum("session-closed" in pair.events.names() for pair in pairs)

    assert ended() == 3
    clock.iterate()
    assert ended() == 6
    clock.iterate()
    clock.iterate()
    assert ended() == 10
    assert not any(pair.factory.connections for pair in pairs)
