"""How much waits for a client that reads slowly, or not at all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.connection import MSG_CHANNEL_DATA
from twisted.internet.testing import StringTransport

from sftpgw.model.units import KIB, MIB
from sftpgw.ssh.channels import MAX_SENT_BYTES
from sftpgw.ssh.packet_cipher import PacketCiphers
from sftpgw.ssh.packet_writer import PACKET_OVERHEAD_BYTES, UNREAD_CONTROL_BYTES, PacketWriter
from sftpgw.ssh.rekey import KeyUsage
from sftpgw.testing.ssh_clients import SOCKET_BYTES, ClientChannel
from sftpgw.testing.ssh_pairs import LoggedInPair, RecordingSubsystem

GLOBAL_REQUEST = 80
QUESTION = NS(b"keepalive@openssh.com") + b"\1"


@pytest.fixture
def made() -> list[RecordingSubsystem]:
    return []


@pytest.fixture
def pair(made: list[RecordingSubsystem]) -> Iterator[LoggedInPair]:
    pair = LoggedInPair({b"sftp": RecordingSubsystem.into(made)})
    yield pair
    pair.drop()
    assert pair.clock.getDelayedCalls() == []


def open_for_large_packets(pair: LoggedInPair) -> ClientChannel:
    """A subsystem one packet of which may fill TCP."""
    channel = ClientChannel(window_bytes=64 * MIB, refill=True)
    channel.localMaxPacket = MAX_SENT_BYTES
    pair.connection.openChannel(channel)
    pair.pump()
    assert pair.ask(channel, b"subsystem", NS(b"sftp"))
    return channel


def test_channel_data_that_fills_tcp_does_not_count_as_unread(
    pair: LoggedInPair, made: list[RecordingSubsystem]
) -> None:
    channel = open_for_large_packets(pair)
    for _ in range(3):
        made[0].transport.write(bytes(2 * MIB))
        pair.pump()
    assert pair.connected
    assert len(channel.received) == 6 * MIB


def test_bytes_for_a_client_that_does_not_read_are_bounded(
    pair: LoggedInPair, made: list[RecordingSubsystem]
) -> None:
    for _ in range(3):
        open_for_large_packets(pair)
    pair.client_reads = False
    most_bytes = 0
    for number in range(100):
        made[number % 3].transport.write(bytes(100 * KIB))
        for _ in range(100):
            pair.client.sendPacket(GLOBAL_REQUEST, QUESTION)
        pair.server.dataReceived(pair.client_io.take())
        most_bytes = max(most_bytes, pair.unread_bytes)
        if pair.server.has_ended:
            break
    assert pair.server_io.aborted
    assert "does not read" in pair.server._close_reason
    one_packet_bytes = MAX_SENT_BYTES + PACKET_OVERHEAD_BYTES
    assert most_bytes > SOCKET_BYTES
    assert most_bytes <= SOCKET_BYTES + one_packet_bytes + UNREAD_CONTROL_BYTES + KIB


class NoSocket(StringTransport):
    """Buffers everything, as TLS does, and pauses its push producer above `LIMIT`."""

    LIMIT = 1000

    def write(self, data: bytes) -> None:
        super().write(data)
        if len(self.value()) > self.LIMIT:
            self.producer.pauseProducing()

    def drain(self) -> None:
        self.clear()
        self.producer.resumeProducing()


def test_a_transport_without_a_socket_pauses_its_producer() -> None:
    transport, room = NoSocket(), [0]
    packet_writer = PacketWriter(
        transport,
        PacketCiphers(b"none", b"none", b"none", b"none").sealer,
        KeyUsage(1 << 30, 3600.0, 0.0),
        on_room=lambda: room.append(len(room)),
        on_taken=lambda: None,
        on_overflow=lambda reason: None,
    )
    packet_writer.start()
    assert transport.streaming
    with packet_writer.cork():
        packet_writer.send(MSG_CHANNEL_DATA, ((b"x" * 400,) for _ in range(2)))
        assert transport.value() == b""
    assert len(transport.value()) > 800
    assert packet_writer.has_room
    packet_writer.send(MSG_CHANNEL_DATA, ((b"x" * 400,) for _ in range(600)))
    assert packet_writer.waiting_bytes == 0
    assert not packet_writer.has_room
    told = len(room)
    transport.drain()
    assert packet_writer.has_room
    assert len(room) == told + 1
    packet_writer.end()
    assert transport.producer is None
