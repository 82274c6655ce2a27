"""Session channels: windows in both directions, pauses, and every way to end (RFC 4254)."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from twisted.conch.ssh.common import NS
from twisted.internet.error import ConnectionDone, ConnectionLost

from sftpgw.model.units import KIB, MIB
from sftpgw.ssh.channels import (
    MAX_ERROR_BYTES,
    MAX_PACKET_BYTES,
    MAX_SENT_BYTES,
    PAUSE_ABOVE_BYTES,
    RESUME_BELOW_BYTES,
)
from sftpgw.ssh.windows import WINDOW_BYTES
from sftpgw.testing.ssh_clients import SOCKET_BYTES, ClientChannel
from sftpgw.testing.ssh_pairs import AvatarParts, LoggedInPair, RecordingSubsystem, SubsystemRefused

WINDOW_ADJUST, DATA, EXTENDED_DATA, EOF, CLOSE, REQUEST = 93, 94, 95, 96, 97, 98


class Conversation:
    """A client's channel and the subsystem at its other end."""

    def __init__(self, **channel_options: object) -> None:
        made: list[RecordingSubsystem] = []
        self.pair = LoggedInPair({b"sftp": RecordingSubsystem.into(made)})
        self.channel: ClientChannel = self.pair.open_subsystem(b"sftp", **channel_options)
        (self.subsystem,) = made

    @property
    def lost_by(self) -> list[type[BaseException]]:
        return [loss.type for loss in self.subsystem.losses]


@pytest.fixture
def talk():
    talk = Conversation()
    yield talk
    talk.pair.drop()
    assert len(talk.subsystem.losses) == 1
    assert talk.pair.clock.getDelayedCalls() == []


# Bytes from the client.


def test_a_greedy_writer_gets_the_window_and_no_more(talk: Conversation) -> None:
    talk.channel.write(b"x" * (10 * MIB))
    talk.pair.pump()
    assert len(talk.subsystem.received) == WINDOW_BYTES
    assert talk.pair.connected


def test_the_window_returns_in_steps_as_bytes_are_consumed(talk: Conversation) -> None:
    talk.channel.write(b"x" * (10 * MIB))
    talk.pair.pump()
    talk.subsystem.transport.consumed(WINDOW_BYTES // 2 - 1)
    talk.pair.pump()
    assert talk.pair.client.answers(WINDOW_ADJUST) == []
    talk.subsystem.transport.consumed(1)
    talk.pair.pump()
    assert len(talk.pair.client.answers(WINDOW_ADJUST)) == 1
    assert len(talk.subsystem.received) == WINDOW_BYTES + WINDOW_BYTES // 2


def test_a_consumer_gets_everything(talk: Conversation) -> None:
    sent = bytes(range(256)) * (5 * MIB // 256)
    talk.channel.write(sent)
    seen = 0
    while seen < len(sent):
        talk.pair.pump()
        fresh = len(talk.subsystem.received) - seen
        assert fresh > 0
        talk.subsystem.transport.consumed(fresh)
        seen += fresh
    assert bytes(talk.subsystem.received) == sent


def test_no_more_can_be_consumed_than_arrived(talk: Conversation) -> None:
    talk.channel.write(b"12345")
    talk.pair.pump()
    with pytest.raises(ValueError, match="consumed"):
        talk.subsystem.transport.consumed(6)
    with pytest.raises(ValueError, match="consumed"):
        talk.subsystem.transport.consumed(-1)
    talk.subsystem.transport.consumed(5)


def test_ignoring_the_window_ends_the_connection(talk: Conversation) -> None:
    talk.channel.remoteWindowLeft = 10 * MIB
    talk.channel.write(b"x" * (3 * MIB))
    talk.pair.pump()
    assert talk.pair.client.disconnect_text == b"more data than the window allows"
    assert len(talk.subsystem.received) <= WINDOW_BYTES


def test_a_packet_larger_than_announced_ends_the_connection(talk: Conversation) -> None:
    data = b"x" * (MAX_PACKET_BYTES + 1)
    talk.pair.send_packet(DATA, struct.pack(">L", 0) + NS(data))
    assert talk.pair.client.disconnect_text == b"more data than the maximum packet size allows"


def test_extended_data_is_dropped_but_not_lost_from_the_window(talk: Conversation) -> None:
    piece = struct.pack(">2L", 0, 1) + NS(b"e" * 32 * KIB)
    for _ in range(3 * WINDOW_BYTES // (32 * KIB)):
        talk.pair.send_packet(EXTENDED_DATA, piece)
    assert talk.pair.connected
    assert talk.subsystem.received == b""


def test_data_before_any_subsystem_is_dropped() -> None:
    pair = LoggedInPair({})
    channel = pair.open_channel()
    channel.write(b"x" * (5 * MIB))
    pair.pump()
    assert not channel.buf
    pair.drop()


def test_data_after_eof_ends_the_connection(talk: Conversation) -> None:
    talk.channel.send_eof()
    talk.channel.write(b"x")
    talk.pair.pump()
    assert talk.pair.client.disconnect_text == b"data after EOF"


# Bytes to the client.


def test_output_arrives_whole_and_in_order(talk: Conversation) -> None:
    pieces = [bytes((n % 251,)) * (n * 37 % 5000) for n in range(1000)]
    for piece in pieces:
        talk.subsystem.transport.write(piece)
    talk.pair.pump()
    assert bytes(talk.channel.received) == b"".join(pieces)


def test_a_client_that_keeps_its_window_shut_pauses_the_subsystem() -> None:
    talk = Conversation(window_bytes=100 * KIB, refill=False)
    transport = talk.subsystem.transport
    transport.write(b"x" * 100 * KIB)
    talk.pair.pump()
    transport.write(b"x" * PAUSE_ABOVE_BYTES)
    assert talk.subsystem.pauses == []
    transport.write(b"x")
    assert talk.subsystem.pauses == ["pause"]
    talk.pair.pump()
    assert len(talk.channel.received) == 100 * KIB

    adjust = PAUSE_ABOVE_BYTES - RESUME_BELOW_BYTES + 1
    talk.channel.localWindowLeft += 4 * MIB
    talk.pair.send_packet(WINDOW_ADJUST, struct.pack(">2L", 0, adjust))
    assert talk.subsystem.pauses == ["pause"]  # exactly at the mark
    talk.pair.send_packet(WINDOW_ADJUST, struct.pack(">2L", 0, 1))
    assert talk.subsystem.pauses == ["pause", "resume"]
    talk.pair.drop()


def test_a_client_that_does_not_read_its_socket_pauses_the_subsystem(talk: Conversation) -> None:
    talk.pair.client_reads = False
    written = 0
    while not talk.subsystem.pauses:
        talk.subsystem.transport.write(b"x" * 32 * KIB)
        written += 32 * KIB
        talk.pair.pump()
        assert written < 2 * MIB
    assert talk.pair.server_io.waiting_bytes <= SOCKET_BYTES + MAX_PACKET_BYTES
    talk.pair.client_reads = True
    talk.pair.pump()
    assert talk.subsystem.pauses == ["pause", "resume"]
    assert len(talk.channel.received) == written


def test_writing_when_resumed_keeps_the_order() -> None:
    class Refilling(RecordingSubsystem):
        def resumeProducing(self) -> None:
            super().resumeProducing()
            if self.pauses == ["pause", "resume"]:
                self.transport.write(b"b" * MIB)

    subsystem = Refilling()
    pair = LoggedInPair({b"sftp": lambda: subsystem})
    channel = pair.open_subsystem(b"sftp", window_bytes=64 * KIB)
    subsystem.transport.write(b"a" * (2 * MIB))
    pair.pump()
    assert bytes(channel.received) == b"a" * (2 * MIB) + b"b" * MIB
    pair.drop()


class Download(RecordingSubsystem):
    """A subsystem that always has more to send, `left_bytes` in all."""

    left_bytes = 0

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self.fill()

    def fill(self) -> None:
        while self.left_bytes and self.pauses[-1:] != ["pause"]:
            self.left_bytes -= 256 * KIB
            self.transport.write(bytes(256 * KIB))


def test_no_channel_starves_another() -> None:
    """A reply to ``ls`` does not wait for the end of a download on the same connection."""
    made: list[RecordingSubsystem] = []
    pair = LoggedInPair({b"sftp": Download.into(made)})
    channels = [pair.open_subsystem(window_bytes=64 * MIB) for _ in range(3)]
    for download in made[:2]:
        assert isinstance(download, Download)
        download.left_bytes = 20 * MIB
        download.fill()
    made[2].transport.write(b"an answer to ls")
    while not channels[2].received:
        pair.client.dataReceived(pair.server_io.take())
    first, second = (len(channel.received) for channel in channels[:2])
    assert first <= MIB
    assert second <= MIB
    pair.pump()
    assert [len(channel.received) for channel in channels[:2]] == [20 * MIB] * 2
    pair.drop()


def test_channels_share_what_tcp_takes() -> None:
    made: list[RecordingSubsystem] = []
    pair = LoggedInPair({b"sftp": Download.into(made)})
    channels = [pair.open_subsystem(window_bytes=64 * MIB) for _ in range(3)]
    for download in made:
        assert isinstance(download, Download)
        download.left_bytes = 10 * MIB
        download.fill()
    for _ in range(30):
        pair.client.dataReceived(pair.server_io.take())
    sizes_bytes = [len(channel.received) for channel in channels]
    # The first channel was alone until TCP was full.
    assert max(sizes_bytes) - min(sizes_bytes) <= SOCKET_BYTES + MAX_SENT_BYTES
    assert min(sizes_bytes) > MIB
    pair.drop()


def test_a_window_beyond_32_bits_ends_the_connection(talk: Conversation) -> None:
    talk.pair.send_packet(WINDOW_ADJUST, struct.pack(">2L", 0, 2**32 - 1))
    assert b"window" in (talk.pair.client.disconnect_text or b"")


def test_a_small_remote_packet_size_is_respected() -> None:
    made: list[RecordingSubsystem] = []
    pair = LoggedInPair({b"sftp": RecordingSubsystem.into(made)})
    channel = ClientChannel(window_bytes=MIB, refill=True)
    channel.localMaxPacket = 1024
    pair.connection.openChannel(channel)
    pair.pump()
    assert pair.ask(channel, b"subsystem", NS(b"sftp"))
    made[0].transport.write(b"x" * 10_000)
    pair.pump()
    sizes = [len(payload) - 8 for payload in pair.client.answers(DATA)]
    assert sum(sizes) == 10_000
    assert max(sizes) == 1024
    pair.drop()


# The end.


def test_replies_in_progress_are_sent_after_eof_and_before_the_exit_status() -> None:
    talk = Conversation(window_bytes=64 * KIB, refill=False)
    talk.subsystem.transport.write(b"x" * 200 * KIB)
    talk.channel.send_eof()
    talk.pair.pump()
    assert talk.subsystem.input_ended
    talk.subsystem.transport.write(b"last words")
    talk.subsystem.transport.finish(7)
    talk.pair.pump()
    assert len(talk.channel.received) == 64 * KIB
    assert (talk.channel.exit_status, talk.channel.closed_by_server) == (None, False)
    assert talk.lost_by == []

    talk.channel.localWindowLeft += MIB
    talk.pair.send_packet(WINDOW_ADJUST, struct.pack(">2L", 0, MIB))
    assert bytes(talk.channel.received[-10:]) == b"last words"
    assert talk.channel.exit_status == 7
    assert talk.channel.got_eof
    assert talk.channel.closed_by_server
    assert talk.channel.is_closed
    assert talk.lost_by == [ConnectionDone]
    assert talk.pair.server.service.channels == {}
    talk.pair.drop()
    assert talk.lost_by == [ConnectionDone]


def test_nothing_is_sent_after_finish(talk: Conversation) -> None:
    talk.subsystem.transport.finish(0)
    talk.subsystem.transport.write(b"too late")
    talk.subsystem.transport.finish(1)
    talk.subsystem.transport.loseConnection()
    talk.pair.pump()
    assert talk.channel.received == b""
    assert talk.channel.exit_status == 0
    assert len(talk.pair.client.answers(CLOSE)) == 1


def test_lose_connection_closes_at_once_and_drops_what_waits() -> None:
    talk = Conversation(window_bytes=KIB, refill=False)
    talk.subsystem.transport.write(b"x" * MIB)
    talk.subsystem.transport.loseConnection()
    assert talk.lost_by == [ConnectionDone]
    talk.pair.pump()
    assert talk.channel.closed_by_server
    assert talk.channel.exit_status is None
    assert len(talk.channel.received) == KIB
    talk.pair.drop()
    assert talk.lost_by == [ConnectionDone]


def test_a_close_by_the_client_is_answered_and_reported_once(talk: Conversation) -> None:
    talk.subsystem.transport.write(b"unread")
    talk.channel.close()
    talk.pair.pump()
    assert talk.lost_by == [ConnectionDone]
    assert talk.channel.is_closed
    talk.subsystem.transport.write(b"too late")
    talk.subsystem.transport.consumed(0)
    talk.subsystem.transport.finish(0)
    talk.pair.pump()
    assert talk.pair.connected


def test_a_subsystem_that_hangs_up_when_told_of_the_end_does_no_harm() -> None:
    class Polite(RecordingSubsystem):
        def connectionLost(self, reason) -> None:
            super().connectionLost(reason)
            self.transport.finish(0)
            self.transport.loseConnection()

    polite = Polite()
    pair = LoggedInPair({b"sftp": lambda: polite})
    channel = pair.open_subsystem(b"sftp")
    channel.close()
    pair.pump()
    pair.drop()
    assert len(polite.losses) == 1


def test_a_lost_connection_is_reported_to_every_subsystem_once() -> None:
    made: list[RecordingSubsystem] = []
    pair = LoggedInPair({b"sftp": RecordingSubsystem.into(made)})
    for _ in range(3):
        pair.open_subsystem(b"sftp")
    pair.drop()
    assert [[loss.type for loss in one.losses] for one in made] == [[ConnectionLost]] * 3
    assert pair.logouts == ["alice"]
    made[0].transport.write(b"into the void")
    made[0].transport.finish(0)


def test_data_for_a_channel_that_we_have_closed_is_dropped(talk: Conversation) -> None:
    talk.subsystem.transport.loseConnection()
    talk.channel.write(b"crossing on the wire")
    talk.channel.send_eof()
    talk.pair.pump()
    assert talk.subsystem.received == b""
    assert talk.pair.connected
    assert talk.channel.is_closed


# Requests.


@pytest.mark.parametrize(
    ("request_name", "data"),
    [
        (b"shell", b""),
        (b"exec", NS(b"rm -rf /")),
        (b"pty-req", NS(b"xterm") + struct.pack(">4L", 80, 24, 0, 0) + NS(b"")),
        (b"env", NS(b"LANG") + NS(b"C")),
        (b"x11-req", b""),
        (b"auth-agent-req@openssh.com", b""),
        (b"window-change", struct.pack(">4L", 80, 24, 0, 0)),
        (b"signal", NS(b"KILL")),
        (b"subsystem", NS(b"nope")),
        (b"subsystem", NS(b"")),
        (b"\xff\x00nonsense", b"\xff"),
    ],
)
def test_everything_but_a_known_subsystem_is_refused(request_name: bytes, data: bytes) -> None:
    pair = LoggedInPair({b"sftp": RecordingSubsystem})
    channel = pair.open_channel()
    assert not pair.ask(channel, request_name, data)
    assert not pair.ask(channel, request_name, data)
    # OpenSSH sends its locale in every session; that refusal is not logged.
    assert len(pair.events.facts("request-refused")) == (request_name != b"env")
    assert pair.connected
    assert pair.ask(channel, b"subsystem", NS(b"sftp"))
    pair.drop()


@pytest.fixture
def running():
    """A client's command, the command lines that were looked up, and the client's channel."""
    lines: list[bytes] = []
    made: list[RecordingSubsystem] = []

    def command(line: bytes) -> RecordingSubsystem:
        lines.append(line)
        return RecordingSubsystem.into(made)()

    pair = LoggedInPair({b"sftp": RecordingSubsystem}, parts=AvatarParts(commands=command))
    channel = pair.open_command(b"do 'this'", window_bytes=100 * KIB, refill=False)
    assert lines == [b"do 'this'"]
    yield pair, made[0], channel
    pair.drop()
    assert len(made[0].losses) == 1
    assert len(made) == 1


def test_a_command_is_a_subsystem_like_others(running: Any) -> None:
    pair, command, channel = running
    channel.write(b"input")
    pair.pump()
    assert bytes(command.received) == b"input"
    command.transport.write(b"output")
    command.transport.finish(3)
    pair.pump()
    assert bytes(channel.received) == b"output"
    assert channel.exit_status == 3
    assert channel.closed_by_server


def test_a_second_command_on_a_channel_is_refused(running: Any) -> None:
    pair, _, channel = running
    assert not pair.ask(channel, b"exec", NS(b"again"))
    assert not pair.ask(channel, b"subsystem", NS(b"sftp"))


def test_complaints_go_to_the_standard_error_before_the_status(running: Any) -> None:
    pair, command, channel = running
    command.transport.write_error(b"it went wrong\n")
    command.transport.write(b"as far as it went")
    command.transport.finish(1)
    command.transport.write_error(b"too late")
    pair.pump()
    assert bytes(channel.complaints) == b"it went wrong\n"
    assert bytes(channel.received) == b"as far as it went"
    assert channel.exit_status == 1


def test_complaints_count_against_the_clients_window_and_are_bounded(running: Any) -> None:
    pair, command, channel = running
    command.transport.write(bytes(90 * KIB))
    for _ in range(100):
        command.transport.write_error(b"x" * KIB)
    pair.pump()
    assert len(channel.received) + len(channel.complaints) == 100 * KIB
    server = next(iter(pair.server.service.channels.values()))
    assert server._errors.size_bytes == MAX_ERROR_BYTES
    command.transport.finish(0)
    assert channel.exit_status is None
    channel.localWindowLeft += MIB
    pair.connection.transport.sendPacket(WINDOW_ADJUST, struct.pack(">2L", 0, MIB))
    pair.pump()
    assert len(channel.complaints) == 10 * KIB + MAX_ERROR_BYTES
    assert channel.exit_status == 0


def test_a_client_whose_shell_was_refused_can_leave() -> None:
    pair = LoggedInPair({})
    channel = pair.open_channel()
    assert not pair.ask(channel, b"shell")
    channel.send_eof()
    pair.pump()
    assert channel.closed_by_server
    assert channel.is_closed
    pair.drop()


def test_a_second_subsystem_on_a_channel_is_refused(talk: Conversation) -> None:
    assert not talk.pair.ask(talk.channel, b"subsystem", NS(b"sftp"))


def test_an_unknown_subsystem_is_an_error_of_the_pair() -> None:
    pair = LoggedInPair({})
    with pytest.raises(SubsystemRefused):
        pair.open_subsystem(b"sftp")
    pair.drop()


def test_a_subsystem_starts_after_its_request_was_granted() -> None:
    class Eager(RecordingSubsystem):
        def makeConnection(self, transport) -> None:
            super().makeConnection(transport)
            transport.write(b"hello")
            transport.finish(0)

    pair = LoggedInPair({b"eager": Eager})
    channel = pair.open_subsystem(b"eager")
    pair.pump()
    assert bytes(channel.received) == b"hello"
    assert channel.exit_status == 0
    heard = [number for number, _ in pair.client.heard]
    assert heard.index(99) < heard.index(DATA)
    pair.drop()


@pytest.mark.parametrize("data", [b"", b"\0\0\0\x09sftp", NS(b"sftp") + b"x"])
def test_a_malformed_subsystem_request_ends_the_connection(data: bytes) -> None:
    pair = LoggedInPair({b"sftp": RecordingSubsystem})
    channel = pair.open_channel()
    assert not pair.ask(channel, b"subsystem", data)
    assert not pair.connected


def test_a_subsystem_that_fails_at_the_end_does_not_keep_it_from_others(
    logged_failures: Any,
) -> None:
    class Failing(RecordingSubsystem):
        def connectionLost(self, reason) -> None:
            super().connectionLost(reason)
            raise RuntimeError("a bug at the end")

    made: list[RecordingSubsystem] = []
    failing = Failing()
    pair = LoggedInPair({b"bad": lambda: failing, b"sftp": RecordingSubsystem.into(made)})
    pair.open_subsystem(b"bad")
    pair.open_subsystem(b"sftp")
    pair.drop()
    assert [len(one.losses) for one in (failing, *made)] == [1, 1]
    assert pair.logouts == ["alice"]
    (found,), logged_failures.found = logged_failures.found, []
    assert "a bug at the end" in found


def test_a_subsystem_ends_before_its_memory_goes_to_others() -> None:
    subsystem = RecordingSubsystem()
    pair = LoggedInPair({b"sftp": lambda: subsystem})
    pair.open_subsystem(b"sftp")
    window, losses = pair.server.service.channels[0]._window, list[int]()
    window.close = lambda: losses.append(len(subsystem.losses))
    pair.drop()
    assert losses
    assert losses[0] == 1


def test_no_second_subsystem_on_a_channel_that_we_have_closed(talk: Conversation) -> None:
    pair, made = talk.pair, [talk.subsystem]
    pair.client.dispatchMessage = lambda number, payload: None  # it never answers CLOSE
    talk.subsystem.transport.loseConnection()
    pair.pump()
    channel = pair.server.service.channels[0]
    pair.send_packet(REQUEST, struct.pack(">L", 0) + NS(b"subsystem") + b"\1" + NS(b"sftp"))
    assert channel._subsystem is None
    assert len(made[0].losses) == 1
