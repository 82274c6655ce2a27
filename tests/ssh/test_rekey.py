"""New keys during transfers: begun by the gateway, by the client, and by both at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.conch.ssh.common import NS
from twisted.internet.task import Clock

from sftpgw.config.tables import SECTIONS
from sftpgw.model.settings import SshSettings
from sftpgw.model.units import GIB, KIB, MIB
from sftpgw.ssh.channels import PAUSE_ABOVE_BYTES
from sftpgw.ssh.packet_writer import UNREAD_CONTROL_BYTES
from sftpgw.ssh.rekey import (
    BYTES_AN_EXCHANGE,
    CLIENT_EXCHANGES,
    LEAST_PACKET_BYTES,
    MAX_ROUNDS,
    SECONDS_AN_EXCHANGE,
    ClientExchanges,
    ExchangeLimit,
)
from sftpgw.testing.ssh_clients import ClientChannel
from sftpgw.testing.ssh_pairs import (
    ClientPair,
    LoggedInPair,
    RecordedEvents,
    RecordingSubsystem,
    make_factory,
    make_test_portal,
)

KEXINIT, NEWKEYS, GLOBAL_REQUEST = 20, 21, 80
WINDOW_BYTES = 2 * MIB


class Talk:
    """A transfer in progress, and the bytes that each side has received."""

    def __init__(self, settings: SshSettings, *, strict: bool = False) -> None:
        made: list[RecordingSubsystem] = []
        self.pair = LoggedInPair({b"sftp": RecordingSubsystem.into(made)}, settings, strict=strict)
        self.channel: ClientChannel = self.pair.open_subsystem()
        (self.subsystem,) = made

    @property
    def exchanges(self) -> int:
        """Key exchanges since the first one."""
        return len(self.pair.client.answers(NEWKEYS)) - 1

    def consume(self) -> None:
        """Give the window back to the client."""
        channel = self.subsystem.transport
        channel.consumed(channel._unconsumed_bytes)

    def to_server(self) -> None:
        """Move the client's bytes to the server, but not the replies to the client."""
        self.pair.server.dataReceived(self.pair.client_io.take())

    def to_client(self) -> None:
        self.pair.client.dataReceived(self.pair.server_io.take())


@pytest.fixture
def talks() -> Iterator[list[Talk]]:
    talks: list[Talk] = []
    yield talks
    for talk in talks:
        talk.pair.drop()
        assert talk.pair.clock.getDelayedCalls() == []
        assert len(talk.subsystem.losses) == 1


def begin(talks: list[Talk], settings: SshSettings | None = None) -> Talk:
    talks.append(Talk(settings or SshSettings()))
    return talks[-1]


def test_the_server_rekeys_in_the_middle_of_an_upload(talks: list[Talk]) -> None:
    talk = begin(talks, SshSettings(rekey_bytes=200 * KIB))
    sent = bytearray()
    for number in range(100):
        piece = bytes((number,)) * (32 * KIB)
        sent += piece
        talk.channel.write(piece)
        talk.pair.pump()
        talk.consume()
    talk.pair.pump()
    assert bytes(talk.subsystem.received) == bytes(sent)
    assert 8 <= talk.exchanges <= 20
    assert talk.pair.connected


def test_the_server_rekeys_in_the_middle_of_a_download(talks: list[Talk]) -> None:
    talk = begin(talks, SshSettings(rekey_bytes=200 * KIB))
    sent = bytearray()
    for number in range(100):
        piece = bytes((number,)) * (32 * KIB)
        sent += piece
        talk.subsystem.transport.write(piece)
        talk.channel.write(b"next")
        talk.pair.pump()
    assert bytes(talk.channel.received) == bytes(sent)
    assert 8 <= talk.exchanges <= 20


def test_the_server_rekeys_with_both_ways_full(talks: list[Talk]) -> None:
    talk = begin(talks, SshSettings(rekey_bytes=100 * KIB))
    there, back = bytearray(), bytearray()
    for number in range(60):
        there += bytes((number,)) * 40_000
        back += bytes((255 - number,)) * 50_000
        talk.channel.write(bytes((number,)) * 40_000)
        talk.subsystem.transport.write(bytes((255 - number,)) * 50_000)
        talk.consume()
        if number % 7 == 0:
            talk.pair.pump()
    talk.pair.pump()
    assert bytes(talk.subsystem.received) == bytes(there)
    assert bytes(talk.channel.received) == bytes(back)
    assert talk.exchanges > 3


def test_the_server_rekeys_only_when_due(talks: list[Talk]) -> None:
    talk = begin(talks, SshSettings(rekey_bytes=MIB))
    talk.channel.write(b"x" * (MIB - 64 * KIB))
    talk.pair.pump()
    assert talk.exchanges == 0
    talk.channel.write(b"x" * (64 * KIB))
    talk.pair.pump()
    assert talk.exchanges == 1
    talk.consume()
    talk.channel.write(b"x" * (MIB - 64 * KIB))
    talk.pair.pump()
    assert talk.exchanges == 1


def test_the_server_rekeys_after_an_hour(talks: list[Talk]) -> None:
    talk = begin(talks, SshSettings(idle_timeout_seconds=0, keepalive_interval_seconds=0))
    for _ in range(3 * 60):
        talk.pair.clock.advance(60)
        talk.pair.pump()
    assert talk.exchanges == 3
    assert talk.pair.connected


def test_the_server_does_not_rekey_before_login(talks: list[Talk]) -> None:
    talk = begin(talks)
    server = talk.pair.server
    server.is_logged_in = False
    server._keys.used(2 * GIB)
    talk.channel.write(b"x")
    talk.pair.pump()
    assert talk.exchanges == 0


# While our KEXINIT is out and the client's has not come.


def test_data_that_lies_before_the_clients_kexinit_is_served(talks: list[Talk]) -> None:
    talk = begin(talks)
    talk.pair.server.rekey()
    for number in range(50):
        talk.channel.write(bytes((number,)) * (32 * KIB))
        talk.to_server()
    assert len(talk.subsystem.received) == 50 * 32 * KIB
    talk.pair.pump()
    assert talk.exchanges == 1
    assert talk.pair.connected


def test_a_kexinit_is_no_longer_than_before_login_and_is_kept_for_the_exchange_only(
    talks: list[Talk],
) -> None:
    talk = begin(talks)
    server = talk.pair.server
    assert server.otherKexInitPayload == server.ourKexInitPayload == b""
    server.rekey()
    talk.pair.pump()
    assert talk.exchanges == 1
    assert server.otherKexInitPayload == server.ourKexInitPayload == b""
    names = NS(b",".join([b"name"] * 8_000))
    assert len(names) > SshSettings().packet_before_login_bytes
    talk.pair.client.sendPacket(KEXINIT, bytes(16) + names + NS(b"") * 9 + bytes(5))
    talk.to_server()
    assert server.has_ended
    assert len(server.otherKexInitPayload) <= SshSettings().packet_before_login_bytes


def test_our_messages_wait_in_order_and_within_bounds(talks: list[Talk]) -> None:
    talk = begin(talks)
    talk.pair.server.rekey()
    assert not talk.pair.server.can_send
    talk.subsystem.transport.write(b"x" * (3 * MIB))
    talk.channel.write(b"y" * WINDOW_BYTES)
    talk.to_server()
    talk.consume()  # a window adjust, which has to wait
    assert talk.subsystem.pauses == ["pause"]
    assert talk.pair.server_io.waiting_bytes < 2 * KIB
    assert len(talk.pair.server.packet_writer._held_back) == 1
    talk.pair.pump()
    assert len(talk.channel.received) == 3 * MIB > PAUSE_ABOVE_BYTES
    assert talk.subsystem.pauses == ["pause", "resume"]
    assert talk.exchanges == 1


def test_a_client_that_makes_us_hold_back_ever_more_is_cut_off(talks: list[Talk]) -> None:
    talk = begin(talks)
    talk.pair.server.rekey()
    question = NS(b"keepalive@openssh.com") + b"\1"
    asked = 0
    while not talk.pair.server.has_ended:
        talk.pair.client.sendPacket(GLOBAL_REQUEST, question)
        talk.to_server()
        asked += 1
    assert asked <= UNREAD_CONTROL_BYTES // 64 + 1
    assert talk.pair.server_io.aborted


def test_requests_during_an_exchange_are_answered_afterwards(talks: list[Talk]) -> None:
    talk = begin(talks)
    refused: list[object] = []
    for _ in range(3):
        talk.pair.server.rekey()
        for _ in range(3000):
            asked = talk.pair.connection.sendGlobalRequest(b"keepalive@openssh.com", b"", 1)
            asked.addErrback(refused.append)
        talk.to_server()
        talk.pair.pump()
    assert talk.pair.connected
    assert talk.exchanges == 3
    assert len(refused) == 9000


def test_a_client_that_never_answers_our_kexinit_is_cut_off(talks: list[Talk]) -> None:
    talk = begin(talks, SshSettings(keepalive_interval_seconds=0))
    talk.pair.server.rekey()
    talk.pair.clock.advance(59)
    assert not talk.pair.server.has_ended
    talk.pair.clock.advance(1)
    assert talk.pair.server.has_ended
    (facts,) = talk.pair.events.facts("protocol-broken")
    assert facts["reason"] == "the key exchange took too long ([ssh] key_exchange_timeout)"


def test_a_slow_client_has_more_time_but_not_for_ever(talks: list[Talk]) -> None:
    talk = begin(talks, SshSettings(keepalive_interval_seconds=0))
    talk.pair.server.rekey()
    seconds = 0
    while not talk.pair.server.has_ended:
        talk.channel.write(b"x")
        talk.to_server()
        talk.pair.clock.advance(30)
        seconds += 30
        assert seconds <= 60 * (MAX_ROUNDS + 1)
    assert seconds == 60 * (MAX_ROUNDS + 1)


def test_a_slow_client_that_answers_in_the_end_goes_on(talks: list[Talk]) -> None:
    talk = begin(talks)
    talk.pair.server.rekey()
    for _ in range(4):
        talk.pair.clock.advance(45)
        talk.channel.write(b"x" * 1000)
        talk.to_server()
    talk.pair.pump()
    assert talk.exchanges == 1
    talk.pair.clock.advance(61)
    talk.pair.pump()
    assert talk.pair.connected
    assert len(talk.subsystem.received) == 4000


def test_the_time_limit_is_not_extended_once_the_client_has_begun() -> None:
    clock, expired = Clock(), []
    limit = ExchangeLimit(
        clock,
        60,
        heard_at_seconds=clock.seconds,
        on_expired=lambda: expired.append(clock.seconds()),
    )
    limit.we_began()
    clock.advance(59)
    limit.client_began()
    clock.advance(59)
    assert expired == []
    clock.advance(1)
    assert expired == [119]
    assert clock.getDelayedCalls() == []


# Both at once.


def test_both_kexinits_cross(talks: list[Talk]) -> None:
    talk = begin(talks)
    talk.channel.write(b"before")
    talk.pair.client.sendKexInit()
    talk.pair.server.rekey()
    talk.channel.write(b", after")
    talk.subsystem.transport.write(b"z" * MIB)
    talk.pair.pump()
    assert bytes(talk.subsystem.received) == b"before, after"
    assert len(talk.channel.received) == MIB
    assert talk.exchanges == 1
    talk.pair.clock.advance(61)
    assert not talk.pair.server.has_ended


def test_both_kexinits_cross_again_and_again(talks: list[Talk]) -> None:
    talk = begin(talks, SshSettings(rekey_bytes=64 * KIB))
    for number in range(30):
        talk.channel.write(bytes((number,)) * 70_000)
        if talk.pair.client._keyExchangeState == talk.pair.client._KEY_EXCHANGE_NONE:
            talk.pair.client.sendKexInit()
        talk.subsystem.transport.write(b"z" * 70_000)
        talk.pair.pump()
        talk.consume()
    talk.pair.pump()
    assert len(talk.subsystem.received) == len(talk.channel.received) == 30 * 70_000
    assert talk.exchanges >= 30


def test_a_client_that_does_not_read_may_rekey(talks: list[Talk]) -> None:
    talk = begin(talks, SshSettings(rekey_bytes=64 * KIB))
    talk.pair.client_reads = False
    talk.subsystem.transport.write(b"z" * MIB)
    talk.channel.write(b"y" * 100_000)
    talk.pair.pump()
    talk.pair.client_reads = True
    talk.pair.pump()
    assert len(talk.channel.received) == MIB
    assert len(talk.subsystem.received) == 100_000
    assert talk.exchanges >= 1


# Too many of them.


def exchange(pair: ClientPair) -> None:
    pair.client.sendKexInit()
    pair.pump()


def test_a_client_may_begin_one_more_exchange_before_login() -> None:
    clock, events = Clock(), RecordedEvents()
    pair = ClientPair(make_factory(make_test_portal({}, {}), clock, events), clock)
    exchange(pair)
    assert pair.connected
    exchange(pair)
    assert pair.client.disconnect_text == b"too many key exchanges"
    assert not pair.connected
    assert len(events.facts("protocol-broken")) == 1
    assert clock.getDelayedCalls() == []


def test_a_user_may_not_exchange_keys_without_end(talks: list[Talk]) -> None:
    talk = begin(talks)
    while talk.pair.connected and talk.exchanges <= CLIENT_EXCHANGES:
        exchange(talk.pair)
    assert talk.exchanges == CLIENT_EXCHANGES
    assert talk.pair.client.disconnect_text == b"too many key exchanges"


def test_a_client_that_moves_data_may_exchange_keys_all_the_time(talks: list[Talk]) -> None:
    talk = begin(talks)
    for _ in range(CLIENT_EXCHANGES + 50):
        talk.channel.write(b"x" * BYTES_AN_EXCHANGE)
        talk.pair.pump()
        talk.consume()
        exchange(talk.pair)
    assert talk.pair.connected


def test_our_own_exchanges_do_not_count_for_the_client(talks: list[Talk]) -> None:
    talk = begin(talks)
    for _ in range(CLIENT_EXCHANGES + 50):
        talk.pair.server.rekey()
        talk.pair.pump()
    assert talk.pair.connected


def test_time_adds_exchanges_up_to_the_limit() -> None:
    exchanges, allowed = ClientExchanges(), [True] * CLIENT_EXCHANGES + [False]
    assert [exchanges.may_begin(1e6, 0) for _ in range(CLIENT_EXCHANGES + 1)] == allowed
    assert [exchanges.may_begin(2e6, 0) for _ in range(CLIENT_EXCHANGES + 1)] == allowed
    assert exchanges.may_begin(2e6 + 3 * SECONDS_AN_EXCHANGE, 0)


# Strict key exchange.


def test_sequence_numbers_start_over_at_every_newkeys(talks: list[Talk]) -> None:
    talks.append(talk := Talk(SshSettings(), strict=True))
    server = talk.pair.server
    for begun_by in ("server", "client", "both"):
        talk.channel.write(b"x" * 50_000)
        talk.pair.pump()
        assert server.incomingPacketSequence > 0
        if begun_by != "client":
            server.rekey()
        if begun_by != "server":
            talk.pair.client.sendKexInit()
        talk.pair.pump()
        assert server.incomingPacketSequence == server.packet_writer.sequence == 0
        talk.subsystem.transport.write(b"answer")
        talk.pair.pump()
        assert server.packet_writer.sequence == 1
    assert bytes(talk.channel.received) == b"answer" * 3
    assert talk.pair.connected


# Bounds.


def test_keys_are_renewed_before_their_packets_can_be_counted_out() -> None:
    parse = SECTIONS["ssh"]["rekey_bytes"].parse
    most_bytes = parse("32GiB")
    assert isinstance(most_bytes, int)
    assert most_bytes // LEAST_PACKET_BYTES < 2**31
    with pytest.raises(ValueError, match="out of bounds"):
        parse("33GiB")
