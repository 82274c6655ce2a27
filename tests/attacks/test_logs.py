"""Attacks on the log: bytes of it for each byte that a client sends."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

import pytest

from sftpgw.telemetry.allowance import SOURCE_BYTES, SOURCE_BYTES_PER_SECOND
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind
from tests.attacks.raw_command import RawCommand
from tests.attacks.raw_sftp import CREATE, RawSftp
from tests.attacks.raw_ssh import (
    CHANNEL_CLOSE,
    CHANNEL_EOF,
    CHANNEL_OPEN,
    GLOBAL_REQUEST,
    RawClient,
    string,
    uint32,
)
from tests.attacks.target import Target

pytestmark = pytest.mark.slow

LONGEST_LINE_BYTES = 4096
TIMES = 20
FLOOD = 2500

Step = Callable[[RawSftp, int], object]


def asked(make: Callable[[int], wire.Request]) -> Step:
    """Sends a request and waits for its reply."""
    return lambda session, number: session.reply(session.send(make(number)))


def opened_and_closed(session: RawSftp, number: int) -> None:
    session.close(session.open(b"/file"))


def read(session: RawSftp, number: int) -> None:
    handle = session.open(b"/file")
    session.reply(session.send(wire.Read(0, handle, 0, 10)))
    session.close(handle)


def renamed_and_back(session: RawSftp, number: int) -> None:
    for names in ((b"/file", b"/other"), (b"/other", b"/file")):
        session.reply(session.send(wire.OnTwoPaths(Kind.RENAME, 0, *names)))


def made_and_removed(session: RawSftp, number: int) -> None:
    session.reply(session.send(wire.ChangePath(Kind.MKDIR, 0, b"/folder", {})))
    session.reply(session.send(wire.OnPath(Kind.RMDIR, 0, b"/folder")))


def stored_and_removed(session: RawSftp, number: int) -> None:
    session.close(session.open(b"/empty", CREATE))
    session.reply(session.send(wire.OnPath(Kind.REMOVE, 0, b"/empty")))


def malformed(session: RawSftp, number: int) -> None:
    session.transmit(struct.pack(">LBL", 5, Kind.STAT, 10_000 + number))
    session.reply(10_000 + number)


BOUNDED: dict[str, Step] = {
    "FSTAT of no handle": asked(lambda number: wire.OnHandle(Kind.FSTAT, 0, b"h")),
    "malformed": malformed,
    "OPEN, CLOSE": opened_and_closed,
}
"""What has a rate."""

AUDITED: dict[str, Step] = {
    "OPEN, READ, CLOSE": read,
    "RENAME": renamed_and_back,
    "MKDIR, RMDIR": made_and_removed,
    "empty files": stored_and_removed,
}
"""What is logged however often it comes, since it tells what became of stored data."""


@pytest.mark.parametrize("name", [*BOUNDED, *AUDITED])
def test_no_request_costs_more_than_five_bytes_of_log_for_each_byte_sent(
    session: RawSftp, target: Target, name: str
) -> None:
    session.put(b"/file", b"0123456789")
    target.reset()
    before_bytes = session.client.sent_bytes
    for number in range(TIMES):
        (BOUNDED | AUDITED)[name](session, number)
    log_bytes = sum(target.measure().log_bytes.values())
    sent_bytes = session.client.sent_bytes - before_bytes
    assert 0 < log_bytes <= 5 * sent_bytes, f"{log_bytes / sent_bytes:.2f}"


@pytest.mark.parametrize("name", BOUNDED)
def test_a_flood_fills_the_allowance_and_no_more(
    session: RawSftp, target: Target, name: str
) -> None:
    session.put(b"/file", b"0123456789")
    target.reset()
    began = time.monotonic()
    for number in range(FLOOD):
        BOUNDED[name](session, number)
    seconds = time.monotonic() - began
    for size_bytes in target.measure().log_bytes.values():
        allowed_bytes = SOURCE_BYTES + seconds * SOURCE_BYTES_PER_SECOND + LONGEST_LINE_BYTES
        assert size_bytes <= allowed_bytes


def test_commands_and_channels_fill_no_more_than_their_allowance(
    mallory: RawClient, target: Target
) -> None:
    began = time.monotonic()
    for number in range(400):
        command = RawCommand(mallory, b"x" + b"\xff" * 1000)
        while (heard := mallory.receive()[0]) not in (CHANNEL_EOF, CHANNEL_CLOSE):
            pass
        mallory.send(bytes([CHANNEL_CLOSE]) + uint32(command.number))
        while heard != CHANNEL_CLOSE:
            heard = mallory.receive()[0]
        kind = b"%d" % number + b"\x01" * 300
        mallory.send(
            bytes([CHANNEL_OPEN]) + string(kind) + struct.pack(">3L", 0, 2**21, 2**15),
            bytes([GLOBAL_REQUEST]) + string(kind) + b"\0",
        )
        mallory.receive()
    seconds = time.monotonic() - began
    allowed_bytes = SOURCE_BYTES + seconds * SOURCE_BYTES_PER_SECOND + LONGEST_LINE_BYTES
    figures = target.measure()
    assert figures.log_bytes["command-ended"] > SOURCE_BYTES / 2
    assert all(size_bytes <= allowed_bytes for size_bytes in figures.log_bytes.values())
