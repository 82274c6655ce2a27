"""The client of a command, which may send anything."""

from __future__ import annotations

from tests.attacks.raw_sftp import RawSftp
from tests.attacks.raw_ssh import CHANNEL_SUCCESS, RawClient, string, uint32

CHANNEL_REQUEST = 98


class RawCommand(RawSftp):
    """One command on a channel of its own; its output is in `printed`."""

    def __init__(self, client: RawClient, line: bytes, *, window_bytes: int = 2**21) -> None:
        self._line = line
        self.printed = bytearray()
        super().__init__(client, window_bytes=window_bytes, greet=False)

    def _request_subsystem(self) -> None:
        request = string(b"exec") + b"\x01" + string(self._line)
        self.client.send(bytes([CHANNEL_REQUEST]) + uint32(self.number) + request)
        self.client.expect(CHANNEL_SUCCESS)

    def _take_data(self, data: bytes) -> None:
        self.printed += data
        self._received_bytes += len(data)

    def listen_for(self, text: bytes) -> None:
        """Receive messages until `text` was printed."""
        while text not in self.printed:
            self._listen()
