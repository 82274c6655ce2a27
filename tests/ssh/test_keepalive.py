"""Keepalives, idle sessions, and peers that have vanished."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.conch.ssh.common import NS

from sftpgw.model.settings import SshSettings
from sftpgw.model.units import MIB
from sftpgw.ssh.keepalive import CHECK_SECONDS
from sftpgw.testing.sftp_sessions import GatewayInMemory
from sftpgw.testing.ssh_clients import ClientChannel
from sftpgw.testing.ssh_pairs import LoggedInPair, RecordingSubsystem
from sftpgw.wire.sftp import Kind, OnPath

GLOBAL_REQUEST, REQUEST_SUCCESS, REQUEST_FAILURE = 80, 81, 82
KEEPALIVE = NS(b"keepalive@openssh.com") + b"\1"
IDLE_SECONDS = 1800
NEVER_IDLE = SshSettings(idle_timeout_seconds=0)


class Watch:
    """A client that has logged in, with one subsystem, and its clock."""

    def __init__(self, settings: SshSettings | None = None) -> None:
        self.made: list[RecordingSubsystem] = []
        self.pair = LoggedInPair({b"sftp": RecordingSubsystem.into(self.made)}, settings)
        self.channel: ClientChannel = self.pair.open_subsystem()
        self.pair.client.heard.clear()

    @property
    def subsystem(self) -> RecordingSubsystem:
        return self.made[0]

    @property
    def questions(self) -> int:
        """The keepalives that the client has received."""
        return self.pair.client.answers(GLOBAL_REQUEST).count(KEEPALIVE)

    def wait(self, seconds: float, *, step: float = 1.0) -> None:
        """Let time pass while the client responds."""
        for _ in range(round(seconds / step)):
            self.pair.clock.advance(step)
            self.pair.pump()

    def wait_alone(self, seconds: int) -> None:
        """Let time pass while the client is gone."""
        for _ in range(seconds):
            self.pair.clock.advance(1)


@pytest.fixture
def watches() -> Iterator[list[Watch]]:
    watches: list[Watch] = []
    yield watches
    for watch in watches:
        watch.pair.drop()
        assert watch.pair.clock.getDelayedCalls() == []


def begin(watches: list[Watch], settings: SshSettings | None = None) -> Watch:
    watches.append(Watch(settings))
    return watches[-1]


# Keepalives.


def test_a_reply_counts_though_the_clock_was_set_back(watches: list[Watch]) -> None:
    """Twisted's timers follow the wall clock: they stand still until it has caught up."""
    watch = begin(watches, SshSettings(idle_timeout_seconds=0, keepalive_count=1))
    watch.wait_alone(60)
    watch.pair.clock.rightNow -= 30
    watch.pair.pump()
    assert watch.questions == 1
    watch.wait(90)
    assert watch.pair.connected
    assert watch.questions == 2


def test_a_silent_client_that_answers_keepalives_stays(watches: list[Watch]) -> None:
    watch = begin(watches, NEVER_IDLE)
    watch.wait(59)
    assert watch.questions == 0
    watch.wait(1)
    assert watch.questions == 1
    watch.wait(600)
    assert 10 <= watch.questions <= 11
    assert watch.pair.connected


def test_a_client_that_talks_gets_no_keepalive(watches: list[Watch]) -> None:
    watch = begin(watches, NEVER_IDLE)
    for _ in range(20):
        watch.channel.write(b"x")
        watch.wait(50)
    assert watch.questions == 0


def test_a_client_that_does_not_answer_is_disconnected(watches: list[Watch]) -> None:
    watch = begin(watches)
    watch.wait_alone(239)
    assert not watch.pair.server.has_ended
    watch.wait_alone(1)
    assert watch.pair.server.has_ended
    watch.pair.pump()
    assert watch.questions == 3
    (facts,) = watch.pair.events.facts("session-closed")
    assert facts["reason"] == "keepalives were not answered"


def test_a_peer_that_vanished_with_data_unsent_is_cut_off(watches: list[Watch]) -> None:
    watch = begin(watches)
    watch.pair.client_reads = False
    watch.subsystem.transport.write(b"x" * MIB)
    watch.wait_alone(240)
    assert watch.pair.server.has_ended
    watch.wait_alone(10)
    assert watch.pair.server_io.aborted


def test_a_slow_reader_is_alive_as_long_as_it_reads(watches: list[Watch]) -> None:
    watch = begin(watches)
    watch.subsystem.transport.write(b"x" * 2 * MIB)
    for _ in range(6):
        watch.wait_alone(50)
        watch.pair.client.dataReceived(watch.pair.server_io.take())
        watch.pair.client_io.take()  # the client's bytes never arrive, but TCP has made room
    assert watch.questions == 0
    assert not watch.pair.server.has_ended


@pytest.mark.parametrize("answer", [REQUEST_SUCCESS, REQUEST_FAILURE, 3, 2])
def test_any_reply_counts_as_alive(watches: list[Watch], answer: int) -> None:
    watch = begin(watches)
    for _ in range(5):
        watch.wait_alone(60)
        assert watch.pair.server_io.take()
        watch.pair.client.sendPacket(answer, bytes(4))
        watch.pair.server.dataReceived(watch.pair.client_io.take())
    watch.wait_alone(239)
    assert not watch.pair.server.has_ended


def test_late_replies_are_accepted_unless_there_are_too_many(watches: list[Watch]) -> None:
    watch = begin(watches)
    watch.wait_alone(180)
    for _ in range(1 + 3):  # of the host keys, as phpseclib has it, and of the keepalives
        watch.pair.client.sendPacket(REQUEST_FAILURE, b"")
    watch.pair.server.dataReceived(watch.pair.client_io.take())
    assert not watch.pair.server.has_ended
    watch.pair.client.sendPacket(REQUEST_FAILURE, b"")
    watch.pair.server.dataReceived(watch.pair.client_io.take())
    assert watch.pair.server.has_ended
    assert watch.pair.events.facts("protocol-broken")


def test_other_intervals_and_counts(watches: list[Watch]) -> None:
    watch = begin(watches, SshSettings(keepalive_interval_seconds=5, keepalive_count=1))
    watch.wait_alone(9)
    assert not watch.pair.server.has_ended
    watch.wait_alone(1)
    assert watch.pair.server.has_ended


def test_keepalives_can_be_turned_off(watches: list[Watch]) -> None:
    settings = SshSettings(keepalive_interval_seconds=0, idle_timeout_seconds=0)
    watch = begin(watches, settings)
    watch.wait_alone(3000)
    assert not watch.pair.server.has_ended
    watch.pair.pump()
    assert watch.questions == 0


def test_no_keepalive_before_login_or_during_a_key_exchange(watches: list[Watch]) -> None:
    watch = begin(watches)
    watch.wait_alone(59)
    watch.pair.server.rekey()
    watch.wait_alone(59)
    assert watch.pair.server.packet_writer._held_back == []
    watch.wait_alone(1)
    (facts,) = watch.pair.events.facts("protocol-broken")
    assert facts["reason"] == "the key exchange took too long ([ssh] key_exchange_timeout)"


def test_a_keepalive_that_was_not_sent_counts_as_no_unanswered_one(watches: list[Watch]) -> None:
    settings = SshSettings(keepalive_interval_seconds=5, keepalive_count=1)
    watch = begin(watches, settings)
    watch.pair.server.rekey()
    watch.wait_alone(59)
    assert not watch.pair.server.has_ended
    watch.wait_alone(1)
    (facts,) = watch.pair.events.facts("protocol-broken")
    assert facts["reason"] == "the key exchange took too long ([ssh] key_exchange_timeout)"


def test_keepalives_count_again_after_a_key_exchange(watches: list[Watch]) -> None:
    settings = SshSettings(keepalive_interval_seconds=5, keepalive_count=1)
    watch = begin(watches, settings)
    watch.pair.server.rekey()
    watch.wait_alone(30)
    watch.pair.pump()
    assert watch.questions == 0
    watch.wait_alone(9)
    assert not watch.pair.server.has_ended
    watch.wait_alone(1)
    assert watch.pair.server.has_ended
    watch.pair.pump()
    (facts,) = watch.pair.events.facts("session-closed")
    assert facts["reason"] == "keepalives were not answered"


# Idle sessions.


def test_an_idle_session_is_disconnected(watches: list[Watch]) -> None:
    watch = begin(watches)
    watch.wait(IDLE_SECONDS - 1)
    assert watch.pair.connected
    watch.wait(1)
    assert (
        watch.pair.client.disconnect_text
        == b"the session was idle for too long ([ssh] idle_timeout)"
    )
    assert not watch.pair.connected


@pytest.mark.parametrize("keepalive_seconds", [60, 0])
def test_data_either_way_is_activity(watches: list[Watch], keepalive_seconds: float) -> None:
    settings = SshSettings(keepalive_interval_seconds=keepalive_seconds)
    watch = begin(watches, settings)
    for _ in range(2):
        watch.wait(IDLE_SECONDS - 1)
        watch.channel.write(b"x")
        watch.pair.pump()
        watch.wait(IDLE_SECONDS - 1)
        watch.subsystem.transport.write(b"x")
        watch.pair.pump()
    watch.wait(IDLE_SECONDS - 1)
    assert watch.pair.connected
    watch.wait(CHECK_SECONDS + 1)
    assert not watch.pair.connected


def test_keepalives_and_key_exchanges_are_not_activity(watches: list[Watch]) -> None:
    watch = begin(watches)
    for number in range(IDLE_SECONDS // 20 + 4):
        if watch.pair.connected:
            watch.pair.connection.sendGlobalRequest(b"keepalive@openssh.com", b"")
            if number % 10 == 0:
                watch.pair.client.sendKexInit()
        watch.wait(20)
    assert not watch.pair.connected


def test_a_client_that_waits_for_the_store_is_not_idle(watches: list[Watch]) -> None:
    watch = begin(watches)
    watch.subsystem.is_busy = True
    watch.wait(2 * IDLE_SECONDS, step=10)
    assert watch.pair.connected
    watch.subsystem.is_busy = False
    watch.wait(IDLE_SECONDS + CHECK_SECONDS)
    assert not watch.pair.connected


def test_a_client_that_does_not_read_is_idle(watches: list[Watch]) -> None:
    made: list[RecordingSubsystem] = []
    pair = LoggedInPair({b"sftp": RecordingSubsystem.into(made)})
    pair.open_subsystem(refill=False, window_bytes=1000)
    made[0].transport.write(b"x" * 2000)
    for _ in range(IDLE_SECONDS + round(CHECK_SECONDS)):
        pair.clock.advance(1)
        pair.pump()
    assert not pair.connected


def test_a_session_can_be_idle_for_ever(watches: list[Watch]) -> None:
    watch = begin(watches, NEVER_IDLE)
    watch.wait(86_400, step=30)
    assert watch.pair.connected


def test_the_sftp_server_is_busy_while_the_store_is() -> None:
    gateway = GatewayInMemory()
    client = gateway.log_in()
    gate = gateway.store.hold("head")
    sent = client.send(OnPath(Kind.STAT, 0, b"/file"))
    assert client.pair.server.is_busy
    for _ in range(IDLE_SECONDS + 100):
        client.pair.clock.advance(1)
        client.pump()
    assert client.pair.connected
    gate.open()
    client.pump()
    assert not client.pair.server.is_busy
    assert sent in client.replies
    client.pair.drop()
