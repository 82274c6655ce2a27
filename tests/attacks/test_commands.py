"""Attacks by commands: before login, too many, too long, too deep."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sftpgw.model.units import KIB
from tests.attacks.raw_command import CHANNEL_REQUEST, RawCommand
from tests.attacks.raw_ssh import (
    CHANNEL_CLOSE,
    CHANNEL_CONFIRMATION,
    CHANNEL_OPEN_FAILURE,
    CHANNEL_SUCCESS,
    UNIMPLEMENTED,
    Ended,
    RawClient,
    channel_open,
    string,
    uint32,
)

pytestmark = pytest.mark.slow

SESSIONS = 10


def execute(number: int, line: bytes) -> bytes:
    """The request for a command."""
    asked = string(b"exec") + b"\1" + string(line)
    return bytes([CHANNEL_REQUEST]) + uint32(number) + asked


def test_a_command_before_login(attacker: Callable[..., RawClient]) -> None:
    client = attacker().start()
    for _ in range(3):
        client.send(execute(0, b"pwd"))
        client.expect(UNIMPLEMENTED)
    client.request_login()
    for _ in range(3):
        client.send(execute(0, b"pwd"))
        client.expect(UNIMPLEMENTED)


def test_commands_on_all_channels_and_one_more(mallory: RawClient) -> None:
    for number in range(SESSIONS + 1):
        mallory.send(channel_open(number), execute(number, b"scp -t ."))
        if number < SESSIONS:
            while mallory.receive()[0] != CHANNEL_SUCCESS:
                pass
    while mallory.receive()[0] != CHANNEL_OPEN_FAILURE:
        pass


@pytest.mark.parametrize("line", [b"x", b"'", b"zz*", b"[", b"\\", b"x ;"])
def test_the_longest_command_lines(mallory: RawClient, line: bytes) -> None:
    for size_bytes in (16_000, 250 * KIB):
        mallory.send(channel_open(0))
        number = int.from_bytes(mallory.expect(CHANNEL_CONFIRMATION)[5:9], "big")
        mallory.send(execute(number, b"md5sum " + line * (size_bytes // len(line))))
        while mallory.receive()[0] != CHANNEL_CLOSE:
            pass
        mallory.send(bytes([CHANNEL_CLOSE]) + uint32(number))


def test_a_line_without_end(mallory: RawClient) -> None:
    command = RawCommand(mallory, b"scp -t .")
    command.listen_for(b"\0")
    with pytest.raises(Ended):
        for _ in range(4000):
            command.client.send(command.data(b"C"))
        command.client.send(*[command.data(b"C" * 30_000)] * 100)
        command.listen_for(b"\0\0")


def test_times_without_end_whose_replies_stay_unread(mallory: RawClient) -> None:
    command = RawCommand(mallory, b"scp -t .", window_bytes=1)
    with pytest.raises(Ended):
        for _ in range(2000):
            command.client.send(command.data(b"T0 0 0 0\n" * 3000))


def test_a_flood_of_time_lines_holds_up_no_other_user(mallory: RawClient) -> None:
    """No other user waits until all of them are done."""
    command = RawCommand(mallory, b"scp -t .")
    for _ in range(30):
        command.transmit(b"T0 0 0 0\n" * 3000)


def test_endlessly_nested_directories_are_bounded(mallory: RawClient) -> None:
    command = RawCommand(mallory, b"scp -r -t .")
    for _ in range(2000):
        command.transmit(b"D0755 0 d\n")
    command.listen_for(b"too long")


def test_a_file_of_the_greatest_size(mallory: RawClient) -> None:
    command = RawCommand(mallory, b"scp -t .")
    command.transmit(b"C0644 9223372036854775807 x\n")
    command.listen_for(b"the file is too large")
    command.printed.clear()
    command.transmit(b"C0644 17592186044416 x\n")  # 16 TiB
    command.listen_for(b"\0")
    command.transmit(bytes(1000 * KIB))


def test_patterns_of_many_stars_take_no_time(mallory: RawClient) -> None:
    command = RawCommand(mallory, b"md5sum " + b"*a" * 200 + b"/" + b"*/" * 10)
    with pytest.raises(Ended):
        command.listen_for(b"nothing of the kind")
