"""One function for each layer: feeds it a script, and raises if it does what it must not.

Knows: the layers' public faces, and `sftpgw.testing`.
Must not know: who invents the scripts.

For all of them: nothing is logged as a failure, nothing waits after the end, and a
client that broke the protocol was hung up on in good order.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from ipaddress import ip_network
from typing import Any

import bcrypt
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from fuzz.scripts import Script
from sftpgw.model.settings import SshSettings
from sftpgw.model.units import Buffer
from sftpgw.sftp.protocol import SFTPProtocol
from sftpgw.ssh.balancers import HEADER_SECONDS, BalancedFactory
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.testing.sftp_sessions import GatewayInMemory
from sftpgw.testing.ssh_clients import MemoryTransport
from sftpgw.testing.ssh_pairs import (
    ClientPair,
    LoggedInPair,
    RecordedEvents,
    make_factory,
    make_test_portal,
    make_user,
    new_key,
)
from sftpgw.wire import sftp as wire
from sftpgw.wire.frames import MAX_FRAME_BYTES, MIN_FRAME_BYTES, Frames
from sftpgw.wire.sftp import Kind, Malformed

SERVICE_REQUEST, USERAUTH_FAILURE, USERAUTH_SUCCESS = 5, 51, 52
FIRST_OF_SERVICES = 50
SERVER_EXCHANGES_KEYS = b"\xf0"
SETTINGS = SshSettings()
BANNER = b"SSH-2.0-fuzz\r\n"


@contextmanager
def no_failure_logged() -> Iterator[None]:
    """Raise if anything is logged as a failure."""
    found: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if "log_failure" in event or event.get("isError"):
            found.append(f"{formatEvent(event)}\n{event.get('log_failure')}")

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)
    assert not found, "\n".join(found)


# Packets: the transport.


def packets(data: bytes) -> None:
    """Bytes, packets in clear, a real client's bytes tampered with, packets under keys."""
    script = Script(data)
    ways = (_raw_bytes, _clear_packets, _tampered_bytes, _sealed_packets)
    way = ways[script.number() % len(ways)]
    clock, events = Clock(), RecordedEvents()
    pair = ClientPair(
        make_factory(make_test_portal({}, {}), clock, events), clock, greet=way is _sealed_packets
    )
    # But for the real one, no client is there that could make sense of the answers.
    pair.client_reads = way is _tampered_bytes
    with no_failure_logged():
        way(pair, script)
        _end(pair)
    last = [name for name in events.names() if name != "clients-unfit"][-1]
    assert last in ("session-closed", "connections-silent")


def _end(pair: ClientPair) -> None:
    pair.drop()
    pair.factory.stopFactory()
    assert pair.clock.getDelayedCalls() == []


def _raw_bytes(pair: ClientPair, script: Script) -> None:
    for piece in script.pieces():
        pair.send_raw(piece)


def _clear_packets(pair: ClientPair, script: Script) -> None:
    pair.send_raw(BANNER)
    for piece in script.pieces():
        padding_bytes = 4 + -(len(piece) + 9) % 8
        header = struct.pack(">LB", 1 + len(piece) + padding_bytes, padding_bytes)
        pair.send_raw(header + piece + bytes(padding_bytes))


def _tampered_bytes(pair: ClientPair, script: Script) -> None:
    """A piece says where in the client's next bytes to cut, and what to put there."""
    changes = script.pieces()
    as_written = pair.client_io.take

    def tampered() -> bytes:
        sent = as_written()
        change = next(changes, b"") if sent else b""
        if not change:
            return sent
        at = int.from_bytes(change[:2], "big") % len(sent)
        return sent[:at] + change[3:] + sent[at + int.from_bytes(change[2:3], "big") :]

    pair.client_io.take = tampered  # type: ignore[method-assign]
    pair.client.makeConnection(pair.client_io)
    pair.pump()
    pair.send_packet(SERVICE_REQUEST, wire.string(b"ssh-userauth"))


def _sealed_packets(pair: ClientPair, script: Script) -> None:
    for piece in script.pieces():
        _send(pair, piece[0] if piece else 0, piece[1:])


def _send(pair: ClientPair, number: int, payload: bytes) -> None:
    if pair.connected:
        pair.send_packet(number, payload)


# The PROXY protocol, before SSH.


def proxy(data: bytes) -> None:
    """What comes where balancers connect: it is handed over once, or hung up on; all of it ends."""
    clock, events = Clock(), RecordedEvents()
    gateway = make_factory(make_test_portal({}, {}), clock, events)
    port = BalancedFactory(gateway, (ip_network("10.0.0.0/8"),))
    connection: Any = port.buildProtocol(IPv4Address("TCP", "10.0.0.1", 1))
    transport = MemoryTransport(connection, is_server=True)
    transport.getPeer = lambda: IPv4Address("TCP", "10.0.0.1", 1)  # type: ignore[method-assign]
    with no_failure_logged():
        port.doStart()
        connection.makeConnection(transport)
        for piece in Script(data).pieces():
            connection.dataReceived(piece)
            assert len(port.waiting) + len(gateway.connections) + transport.aborted <= 1
        clock.advance(HEADER_SECONDS)
        assert not port.waiting
        connection.connectionLost(Failure(ConnectionError()))
        port.doStop()
    assert not gateway.connections
    assert clock.getDelayedCalls() == []


# Login.


def login(data: bytes) -> None:
    """Messages of ssh-userauth. None of them can be the right password."""
    clock, events = Clock(), RecordedEvents()
    key = new_key()
    password_hash = bcrypt.hashpw(secrets.token_hex(8).encode(), bcrypt.gensalt(4)).decode()
    users = {"alice": make_user("alice", key), "bob": make_user("bob", None, password_hash)}
    factory = make_factory(make_test_portal(users, {}), clock, events)
    pair = ClientPair(factory, clock)
    with no_failure_logged():
        pair.send_packet(SERVICE_REQUEST, wire.string(b"ssh-userauth"))
        for piece in Script(data).pieces():
            _send(pair, 50 + (piece[0] if piece else 0) % 30, piece[1:])
        _end(pair)
    answers = [number for number, _ in pair.client.heard]
    assert USERAUTH_SUCCESS not in answers
    assert answers.count(USERAUTH_FAILURE) <= SETTINGS.auth_tries  # "none" is free, once
    assert "login-succeeded" not in events.names()


# Connection and channels.


class Echo:
    """A subsystem that sends back what it gets."""

    def __init__(self) -> None:
        self.losses = 0

    def makeConnection(self, transport: Any) -> None:
        self._transport = transport

    def dataReceived(self, data: bytes) -> None:
        self._transport.write(data)
        self._transport.consumed(len(data))

    def inputEnded(self) -> None:
        self._transport.finish(0)

    def connectionLost(self, reason: Failure) -> None:
        self.losses += 1

    def pauseProducing(self) -> None:
        """The queue has no bound of its own here; scripts are short."""

    def resumeProducing(self) -> None:
        """As above."""


def channels(data: bytes) -> None:
    """Messages of ssh-connection, after login, while the server exchanges keys now and then.

    A piece is a message, or has the server begin: it hears the next message before the
    client has heard of that.
    """
    made: list[Echo] = []

    def echo() -> Echo:
        made.append(Echo())
        return made[-1]

    pair = LoggedInPair({b"sftp": echo})
    heard: list[int] = []
    exchange_keys = pair.client.dispatchMessage

    def hear(number: int, payload: bytes) -> None:
        heard.append(number)
        if number < FIRST_OF_SERVICES:
            exchange_keys(number, payload)

    pair.client.dispatchMessage = hear  # type: ignore[method-assign]
    with no_failure_logged():
        for piece in Script(data).pieces():
            if piece[:1] >= SERVER_EXCHANGES_KEYS:
                pair.server.rekey()
                continue
            _send(pair, 80 + (piece[0] if piece else 0) % 24, piece[1:])
            service: Any = pair.server.service
            assert service is None or len(service.channels) <= SETTINGS.sessions_per_connection
        _end(pair)
    assert all(subsystem.losses <= 1 for subsystem in made)
    assert pair.logouts == ["alice"]


# SFTP.

SLOW = ("head", "list", "get", "body", "put", "delete", "copy", "upload_part")


class Recorder:
    """The channel below a protocol: keeps what is written, and how it ended."""

    unsent_bytes = 0

    def __init__(self) -> None:
        self.written = bytearray()
        self.consumed_bytes = 0
        self.is_lost = False

    def write(self, *pieces: Buffer) -> None:
        for piece in pieces:
            self.written += piece

    @property
    def held_back(self) -> Recorder:
        return self

    def before_release(self, call: object) -> bool:
        """Nothing is held back here."""
        return False

    def cork(self) -> AbstractContextManager[None]:
        return nullcontext()

    def write_error(self, text: bytes) -> None:
        """What a command complains of."""

    def consumed(self, size_bytes: int) -> None:
        self.consumed_bytes += size_bytes

    def finish(self, exit_status: int) -> None:
        self.is_lost = True

    def loseConnection(self) -> None:
        self.is_lost = True


def sftp(data: bytes) -> None:
    """Framed requests, whatever is in them: each gets exactly one answer.

    A piece is a type and a body; the ids are ours. The store answers at once, or
    everything waits for it until all was asked.
    """
    script = Script(data)
    store = FakeStore(min_part_bytes=1)
    store.seed("home/alice/a", b"content")
    gates = [store.hold(operation) for operation in SLOW if script.number() % 2]
    gateway = GatewayInMemory(store)
    protocol, channel = gateway.subsystem(), Recorder()
    with no_failure_logged():
        protocol.makeConnection(channel)
        protocol.dataReceived(encode_request(wire.Init(3)))
        sent = [_request(protocol, *numbered) for numbered in enumerate(script.pieces(), 1)]
        for gate in gates:
            gate.open()
        gateway.clock.advance(0)
        asked_bytes = 9 + sum(size_bytes for _, size_bytes in sent)
        assert channel.is_lost or channel.consumed_bytes == asked_bytes
        expected = [request_id for request_id, _ in sent]
        answered = sorted(_ids_of(bytes(channel.written)))
        assert channel.is_lost or answered == expected, (expected, answered)
        protocol.connectionLost(Failure(ConnectionError()))
        gateway.clock.advance(600)
    gateway.assert_idle()


def _request(protocol: SFTPProtocol, request_id: int, piece: bytes) -> tuple[int, int]:
    """Its id and its size."""
    number = piece[0] if piece else 0
    number += number == Kind.INIT  # a second one loses the stream: that is tested elsewhere
    body = struct.pack(">BL", number, request_id) + piece[1:MAX_FRAME_BYTES]
    protocol.dataReceived(wire.string(body))
    return request_id, 4 + len(body)


def _ids_of(written: bytes) -> Iterator[int]:
    frames = Frames(2 * MAX_FRAME_BYTES)
    frames.feed(written)
    while (frame := frames.next()) is not None:
        if frame.head[0] != Kind.VERSION:
            yield int.from_bytes(frame.head[1:5], "big")


def stream(data: bytes) -> None:
    """SFTP as bytes, in segments: a stream is cut into frames, or lost."""
    gateway = GatewayInMemory()
    protocol, channel = gateway.subsystem(), Recorder()
    with no_failure_logged():
        protocol.makeConnection(channel)
        for piece in Script(data).pieces():
            if not channel.is_lost:
                protocol.dataReceived(piece)
        protocol.connectionLost(Failure(ConnectionError()))
        gateway.clock.advance(600)
    gateway.assert_idle()


COMMANDS = (b"scp -r -p -t .", b"scp -t one", b"scp -r -p -f here 'a b'", b"md5sum - here/*")


def commands(data: bytes) -> None:
    """Both halves of scp, and sums: whatever is said, they end, and nothing is left open."""
    script = Script(data)
    store = FakeStore(min_part_bytes=1)
    store.seed("home/alice/here/a", b"content")
    gateway, channel, fed_bytes = GatewayInMemory(store), Recorder(), 0
    console = gateway.command(COMMANDS[script.number() % len(COMMANDS)])
    with no_failure_logged():
        console.makeConnection(channel)
        for piece in script.pieces():
            if piece:
                console.dataReceived(piece)
            gateway.clock.advance(0)
            fed_bytes += len(piece)
            assert channel.consumed_bytes <= fed_bytes
            assert not channel.is_lost or channel.consumed_bytes == fed_bytes
        console.inputEnded()
        gateway.clock.advance(0)
        assert channel.is_lost
        console.connectionLost(Failure(ConnectionError()))
        gateway.clock.advance(600)
    gateway.assert_idle()


def codec(data: bytes) -> None:
    """What parses is written, and read back, as it was."""
    for piece in Script(data).pieces():
        with suppress(Malformed):
            request = _parsed(wire.string(piece.ljust(MIN_FRAME_BYTES, b"\0")))
            if not isinstance(request, wire.Unknown):
                assert _parsed(encode_request(request)) == request


def _parsed(framed: bytes) -> wire.Request:
    frames = Frames(len(framed))
    frames.feed(framed)
    frame = frames.next()
    assert frame is not None
    return wire.parse_request(frame)


LAYERS: dict[str, Callable[[bytes], None]] = {
    "packets": packets,
    "proxy": proxy,
    "login": login,
    "channels": channels,
    "sftp": sftp,
    "stream": stream,
    "commands": commands,
    "codec": codec,
}
