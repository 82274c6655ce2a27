"""What tests of HTTP clients keep of a response."""

from __future__ import annotations

from twisted.web.http_headers import Headers


class Answer:
    """A `ResponseSink` that collects the response."""

    def __init__(self) -> None:
        self.status = 0
        self.headers = Headers()
        self._pieces: list[bytes] = []

    @property
    def body(self) -> bytes:
        """What has come of the body so far."""
        return b"".join(self._pieces)

    def began(self, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = headers

    def received(self, data: bytes) -> None:
        self._pieces.append(data)
