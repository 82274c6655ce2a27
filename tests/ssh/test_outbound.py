"""Output that a client has asked for and does not read is counted as memory."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from twisted.conch.ssh.common import NS

from sftpgw.aio.work.socket_reads import SocketReads
from sftpgw.files.memory.budget import Budget
from sftpgw.model.settings import LimitSettings, StoreSettings
from sftpgw.model.units import KIB, MIB, Buffer
from sftpgw.sftp.protocol import OUTBOX_BYTES
from sftpgw.ssh.outbound import LOT_BYTES, UNREAD_SECONDS
from sftpgw.ssh.packet_transport import PACKETS_PER_LOOK, RECEIVED_BYTES
from sftpgw.ssh.packet_writer import PACKET_OVERHEAD_BYTES
from sftpgw.ssh.window_shares import WindowMemory
from sftpgw.ssh.windows import LEAST_WINDOW_BYTES
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.testing.sftp_sessions import CREATE, GatewayInMemory, SftpClient
from sftpgw.testing.ssh_clients import ClientChannel
from sftpgw.testing.ssh_pairs import AvatarParts, LoggedInPair, RecordingSubsystem, SubsystemRefused
from sftpgw.wire import sftp as wire

WINDOW_ADJUST = 93
READ_BYTES = 255 * KIB
UNREAD_READS = 40
WINDOW_BYTES = 64 * KIB


@pytest.fixture
def made() -> list[RecordingSubsystem]:
    return []


@pytest.fixture
def budget() -> Budget:
    return Budget(64 * MIB)


@pytest.fixture
def pair(made: list[RecordingSubsystem], budget: Budget) -> Iterator[LoggedInPair]:
    pair = LoggedInPair(
        {b"sftp": RecordingSubsystem.into(made)}, parts=AvatarParts(output_memory=budget)
    )
    yield pair
    pair.drop()
    assert budget.held_bytes == 0


def widen(pair: LoggedInPair, channel: ClientChannel) -> None:
    """Read two steps of `LOT_BYTES` more."""
    channel.localWindowLeft += 2 * LOT_BYTES
    pair.send_packet(WINDOW_ADJUST, struct.pack(">2L", 0, 2 * LOT_BYTES))


def test_unread_replies_are_counted_until_they_are_taken(
    pair: LoggedInPair, made: list[RecordingSubsystem], budget: Budget
) -> None:
    channel = pair.open_subsystem(refill=False, window_bytes=WINDOW_BYTES)
    made[0].transport.write(bytes(WINDOW_BYTES))
    assert budget.held_bytes == 0
    made[0].transport.write(bytes(3 * LOT_BYTES + 1))
    assert budget.held_bytes == 3 * LOT_BYTES
    widen(pair, channel)
    assert budget.held_bytes == LOT_BYTES
    widen(pair, channel)
    assert budget.held_bytes == 0
    assert len(channel.received) == WINDOW_BYTES + 3 * LOT_BYTES + 1


@pytest.mark.parametrize("by_client", [True, False])
def test_replies_that_will_never_be_taken_are_released(
    pair: LoggedInPair, made: list[RecordingSubsystem], budget: Budget, by_client: bool
) -> None:
    channel = pair.open_subsystem(refill=False, window_bytes=WINDOW_BYTES)
    made[0].transport.write(bytes(WINDOW_BYTES + MIB))
    assert budget.held_bytes == MIB
    if by_client:
        pair.connection.sendClose(channel)
        pair.pump()
    else:
        made[0].transport.loseConnection()
    assert budget.held_bytes == 0


def ask_for_all(client: SftpClient, handle: bytes) -> None:
    """READs for a whole file, of whose data the client reads next to nothing."""
    for number in range(UNREAD_READS):
        request = wire.Read(1000 + number, handle, number * READ_BYTES, READ_BYTES)
        client.channel.write(encode_request(request))  # type: ignore[no-untyped-call]
    client.pair.pump()


def test_many_clients_that_do_not_read_stay_within_the_budget() -> None:
    limits = LimitSettings(memory_bytes=32 * MIB)
    gateway = GatewayInMemory(
        settings=StoreSettings(bucket="bucket", part_size_bytes=MIB, download_part_size_bytes=MIB),
        limits=limits,
    )
    gateway.log_in().put(b"/big", bytes(UNREAD_READS * READ_BYTES), step_bytes=READ_BYTES)
    clients = [gateway.log_in(reads=False, window_bytes=WINDOW_BYTES) for _ in range(12)]
    handles = [client.open(b"/big") for client in clients]
    gate = gateway.store.hold("get")
    for client, handle in zip(clients, handles, strict=True):
        ask_for_all(client, handle)
    gate.open()
    for client in clients:
        client.pair.pump()
    unread_bytes = sum(
        channel.unsent_bytes
        for client in clients
        for channel in client.pair.server.service.channels.values()
    )
    assert unread_bytes > 8 * MIB
    assert unread_bytes - len(clients) * LOT_BYTES <= gateway.budget.held_bytes
    # The memory of a READ is given back before its reply is counted; another may take it, once.
    assert gateway.budget.held_bytes <= limits.memory_bytes * 11 // 10 + OUTBOX_BYTES
    for client in clients:
        client.drop()
    assert gateway.budget.held_bytes == 0


def test_a_client_that_does_not_read_for_a_minute_is_closed_when_others_wait(
    made: list[RecordingSubsystem],
) -> None:
    budget = Budget(8 * MIB)
    pair = LoggedInPair(
        {b"sftp": RecordingSubsystem.into(made)},
        parts=AvatarParts(output_memory=budget.share("mallory")),
    )
    for _ in range(3):
        pair.open_subsystem(refill=False, window_bytes=WINDOW_BYTES)
    for subsystem in made:
        subsystem.transport.write(bytes(2 * MIB + WINDOW_BYTES))
    honest = budget.share("alice")
    turn = honest.acquire(4 * MIB)
    assert turn is not None
    pair.clock.advance(UNREAD_SECONDS - 1)
    honest.request_reclaim()
    assert not turn.called
    pair.clock.advance(1)
    honest.request_reclaim()
    assert turn.called
    assert len(pair.events.facts("answers-unread")) >= 1
    assert pair.connected
    pair.drop()
    honest.release(4 * MIB)
    assert budget.held_bytes == 0


def test_a_further_session_on_a_connection_needs_memory_for_its_window(
    made: list[RecordingSubsystem],
) -> None:
    share = WindowMemory(Budget(64 * MIB), LEAST_WINDOW_BYTES).share("alice")
    pairs = [
        LoggedInPair(
            {b"sftp": RecordingSubsystem.into(made)}, parts=AvatarParts(window_memory=share)
        )
        for _ in range(2)
    ]
    for pair in pairs:
        channel = pair.open_subsystem()
        channel.write(NS(b"served"))  # type: ignore[no-untyped-call]
        pair.pump()
    assert len(made) == 2
    with pytest.raises(SubsystemRefused):
        pairs[0].open_subsystem()
    assert pairs[0].connected
    pairs[0].drop()
    assert isinstance(pairs[1].open_subsystem(), ClientChannel)
    pairs[1].drop()
    assert share.try_charge(LEAST_WINDOW_BYTES)


def test_small_replies_to_requests_that_come_together_leave_in_one_packet() -> None:
    client = GatewayInMemory().log_in()
    handle = client.open(b"/f", CREATE)
    before = client.pair.client.incomingPacketSequence
    for number in range(8):
        request = wire.Write(1000 + number, handle, number * KIB, (bytes(KIB),))
        client.channel.write(encode_request(request))  # type: ignore[no-untyped-call]
    client.pair.pump()
    assert client.pair.client.incomingPacketSequence == before + 1
    client.close(handle)
    assert client.get(b"/f") == bytes(8 * KIB)


class Packets:
    """What the server sends from now on: packets, and writes to its socket.

    :param pair: the connection.
    """

    def __init__(self, pair: LoggedInPair) -> None:
        self._writer = pair.server.packet_writer
        self._began = self._writer.sequence
        self.writes = 0
        sendmsg = pair.server_io.sendmsg

        def counted(buffers: list[Buffer], /) -> int:
            self.writes += 1
            return sendmsg(buffers)

        pair.server_io.sendmsg = counted  # type: ignore[method-assign]

    @property
    def packets(self) -> int:
        return self._writer.sequence - self._began


def pieces_of_32_kib(handle: bytes, count: int) -> bytes:
    """WRITEs in a row, as most clients send them."""
    block = bytes(32 * KIB)
    writes = (wire.Write(at, handle, at * 32 * KIB, (block,)) for at in range(count))
    return b"".join(map(encode_request, writes))


class Consumer(RecordingSubsystem):
    """Deals with all that comes at once."""

    def dataReceived(self, data: bytes | memoryview) -> None:
        super().dataReceived(data)
        self.transport.consumed(len(data))


def test_the_window_that_an_upload_has_used_returns_in_one_message() -> None:
    share = WindowMemory(Budget(MIB), LEAST_WINDOW_BYTES).share("alice")
    pair = LoggedInPair({b"sftp": Consumer}, parts=AvatarParts(window_memory=share))
    channel, sent = pair.open_subsystem(), Packets(pair)
    used_bytes = 10 * 32 * KIB
    assert channel.remoteWindowLeft == LEAST_WINDOW_BYTES
    channel.write(bytes(used_bytes))  # type: ignore[no-untyped-call]
    pair.pump()
    assert (sent.packets, sent.writes) == (1, 1)
    assert channel.remoteWindowLeft > LEAST_WINDOW_BYTES - 64 * KIB
    pair.drop()


def test_late_replies_and_their_window_leave_together() -> None:
    gateway = GatewayInMemory()
    client = gateway.log_in()
    handle = client.open(b"/f", CREATE)
    while gateway.budget.try_charge(KIB):
        pass
    others_bytes = gateway.budget.held_bytes
    client.channel.write(pieces_of_32_kib(handle, 40))  # type: ignore[no-untyped-call]
    client.pair.pump()
    sent = Packets(client.pair)
    gateway.budget.release(others_bytes)
    gateway.clock.advance(0)
    assert (sent.packets, sent.writes) == (2, 1)
    client.close(handle)


def test_a_closed_channel_gets_no_window() -> None:
    class Closer(Consumer):
        def dataReceived(self, data: bytes | memoryview) -> None:
            super().dataReceived(data)
            self.transport.loseConnection()

    share = WindowMemory(Budget(MIB), LEAST_WINDOW_BYTES).share("alice")
    pair = LoggedInPair({b"sftp": Closer}, parts=AvatarParts(window_memory=share))
    channel = pair.open_subsystem()
    channel.write(bytes(320 * KIB))  # type: ignore[no-untyped-call]
    pair.pump()
    assert channel.closed_by_server
    assert pair.connected
    pair.drop()


class Kernel:
    """A TCP connection that the reactor reads, and what has come on it.

    :param pair: whose server reads from it.
    """

    def __init__(self, pair: LoggedInPair) -> None:
        self.reads = 0
        self.came: list[bytes] = []
        self._server = pair.server

    def doRead(self) -> None:
        if self.came:
            self.reads += 1
            self._server.dataReceived(self.came.pop(0))

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...


def test_what_a_turn_sends_leaves_together_however_often_it_reads() -> None:
    client = GatewayInMemory().log_in()
    handle, server = client.open(b"/f", CREATE), client.pair.server
    kernel, sent = Kernel(client.pair), Packets(client.pair)
    server._reads = SocketReads(kernel, server._turns, server._may_read)
    for _ in range(2):
        client.channel.write(pieces_of_32_kib(handle, 12))  # type: ignore[no-untyped-call]
        kernel.came.append(client.pair.client_io.take())
    assert len(kernel.came[0]) >= RECEIVED_BYTES
    server._reads.hold()
    server._turns.wait()
    client.pair.clock.advance(0)
    assert (kernel.reads, sent.packets, sent.writes) == (2, 1, 1)


def test_a_read_takes_all_that_the_smallest_window_has() -> None:
    packets = -(-LEAST_WINDOW_BYTES // (32 * KIB))
    assert LEAST_WINDOW_BYTES + packets * PACKET_OVERHEAD_BYTES <= RECEIVED_BYTES
    assert packets <= PACKETS_PER_LOOK
