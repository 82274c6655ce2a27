"""The connection: which channels are opened, and how everything else is refused."""

from __future__ import annotations

import struct

import pytest
from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.common import NS

from sftpgw.model.settings import SshSettings
from sftpgw.ssh.connection import MAX_NAME_BYTES, MAX_REFUSALS_KNOWN
from sftpgw.testing.ssh_clients import ClientChannel
from sftpgw.testing.ssh_pairs import LoggedInPair, RecordingSubsystem, SubsystemRefused

GLOBAL_REQUEST, REQUEST_SUCCESS, REQUEST_FAILURE = 80, 81, 82
OPEN, OPEN_CONFIRMATION, OPEN_FAILURE = 90, 91, 92


@pytest.fixture
def pair():
    pair = LoggedInPair({b"sftp": RecordingSubsystem})
    yield pair
    pair.drop()
    assert pair.clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (b"direct-tcpip", 1),
        (b"forwarded-tcpip", 1),
        (b"direct-streamlocal@openssh.com", 1),
        (b"x11", 1),
        (b"auth-agent@openssh.com", 1),
        (b"tun@openssh.com", 1),
        (b"whatever", 3),
        (b"\xff\n", 3),
    ],
)
def test_other_channels_are_refused(pair: LoggedInPair, kind: bytes, reason: int) -> None:
    pair.connection.openChannel(failing := ForeignChannel(kind))
    pair.pump()
    assert failing.code == reason
    assert pair.connected
    (facts,) = pair.events.facts("request-refused")
    assert facts["kind"] == "channel"
    assert "\n" not in str(facts["name"])


class ForeignChannel(SSHChannel):
    """A channel of any type; it records why it was refused."""

    code: int | None = None

    def __init__(self, kind: bytes) -> None:
        super().__init__()
        self.name = kind

    def openFailed(self, reason) -> None:
        self.code = reason.data


@pytest.mark.parametrize("size", [0, 1, 1023])
def test_a_client_that_takes_only_tiny_packets_is_refused(pair: LoggedInPair, size: int) -> None:
    channel = ClientChannel(window_bytes=1000, refill=True)
    channel.localMaxPacket = size
    pair.connection.openChannel(channel)
    pair.pump()
    assert channel.open_failure is not None
    assert pair.connected


def test_sessions_are_limited() -> None:
    pair = LoggedInPair({b"sftp": RecordingSubsystem}, SshSettings(sessions_per_connection=3))
    channels = [pair.open_subsystem() for _ in range(3)]
    with pytest.raises(SubsystemRefused, match="too many sessions"):
        pair.open_subsystem()
    channels[1].close()
    pair.pump()
    pair.open_subsystem()
    assert pair.connected
    pair.drop()


@pytest.mark.parametrize(
    "name",
    [b"tcpip-forward", b"cancel-tcpip-forward", b"keepalive@openssh.com", b"no-more", b"\xff"],
)
def test_global_requests_are_refused_and_answered_if_a_reply_is_wanted(
    pair: LoggedInPair, name: bytes
) -> None:
    refused: list[object] = []
    pair.connection.sendGlobalRequest(name, b"", wantReply=1).addErrback(refused.append)
    pair.connection.sendGlobalRequest(name, b"", wantReply=0)
    pair.pump()
    assert len(refused) == 1
    assert len(pair.client.answers(REQUEST_FAILURE)) == 1
    told = pair.events.facts("request-refused")
    assert len(told) == (0 if name.startswith(b"keepalive") else 1)


def test_a_refusal_is_logged_once_for_each_name_that_is_remembered(pair: LoggedInPair) -> None:
    for _ in range(3):
        for number in range(MAX_REFUSALS_KNOWN):
            pair.connection.sendGlobalRequest(b"request-%d" % number, b"")
    pair.pump()
    assert len(pair.events.facts("request-refused")) == MAX_REFUSALS_KNOWN
    pair.connection.sendGlobalRequest(b"one more", b"")
    pair.connection.sendGlobalRequest(b"request-0", b"")
    pair.pump()
    assert len(pair.events.facts("request-refused")) == MAX_REFUSALS_KNOWN + 2


def test_little_is_kept_of_the_names_of_refused_requests(pair: LoggedInPair) -> None:
    for number in range(2 * MAX_REFUSALS_KNOWN):
        pair.connection.sendGlobalRequest(b"%04d" % number + b"x" * 20_000, b"")
    pair.pump()
    kept = [name for _, name in pair.server.service._reported_refusals._known]
    assert len(kept) == MAX_REFUSALS_KNOWN
    assert {len(name) for name in kept} == {MAX_NAME_BYTES}


@pytest.mark.parametrize(
    ("message", "payload"),
    [
        (GLOBAL_REQUEST, b""),
        (GLOBAL_REQUEST, NS(b"x")),
        (REQUEST_SUCCESS, b""),
        (OPEN, b""),
        (OPEN, NS(b"session") + b"\0" * 11),
        (OPEN_CONFIRMATION, struct.pack(">4L", 0, 0, 1000, 1000)),
        (OPEN_FAILURE, struct.pack(">2L", 0, 1) + NS(b"") + NS(b"")),
        (93, struct.pack(">2L", 77, 1)),
        (93, b"\0"),
        (94, struct.pack(">L", 77) + NS(b"data")),
        (94, struct.pack(">2L", 0, 1000) + b"short"),
        (95, struct.pack(">2L", 77, 1) + NS(b"data")),
        (96, struct.pack(">L", 77)),
        (97, struct.pack(">L", 77)),
        (97, b""),
        (98, struct.pack(">L", 77) + NS(b"shell") + b"\1"),
        (98, struct.pack(">L", 0) + NS(b"shell")),
        (99, struct.pack(">L", 0)),
        (100, struct.pack(">L", 0)),
    ],
)
def test_malformed_messages_end_the_connection_cleanly(
    pair: LoggedInPair, message: int, payload: bytes
) -> None:
    pair.open_subsystem()
    pair.send_packet(message, payload)
    assert pair.client.disconnect_text
    assert pair.client.disconnect_text != b"internal error"
    assert not pair.connected
    assert len(pair.events.facts("protocol-broken")) == 1


def test_host_keys_may_be_refused_once_as_phpseclib_does(pair: LoggedInPair) -> None:
    """It answers each global request, also one that wants no reply."""
    pair.send_packet(REQUEST_FAILURE, b"")
    assert pair.connected
    pair.send_packet(REQUEST_FAILURE, b"")
    assert not pair.connected
    assert len(pair.events.facts("protocol-broken")) == 1


def test_late_login_requests_are_ignored(pair: LoggedInPair) -> None:
    pair.send_packet(50, NS(b"alice") + NS(b"ssh-connection") + NS(b"none"))
    assert pair.connected
    assert pair.client.answers(3) == []
