"""How bodies are sent: by the kernel as they are, or copied into a transport."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import ISystemHandle
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from sftpgw.buffers.send_buffer import GATHERED_BUFFERS
from sftpgw.http.body_producers import WRITTEN_BYTES, DirectBody, WrittenBody, body_on
from sftpgw.model.units import Body

BUFFER_BYTES = 4096
LARGE = bytes(32 * BUFFER_BYTES)
"""More than the socket takes."""


@implementer(ISystemHandle)
class Tcp:
    """A TCP transport as a pull producer sees it; the far end reads when the test says so."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        for end in (self.near, self.far):
            end.setblocking(False)
        self.producer: Any = None
        self.wants_to_write = False

    def getHandle(self) -> socket.socket:
        return self.near

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert not streaming
        self.producer = producer
        producer.resumeProducing()  # at once, as Twisted does

    def unregisterProducer(self) -> None:
        self.producer = None

    def startWriting(self) -> None:
        self.wants_to_write = True

    def drained(self) -> None:
        """The socket takes more."""
        self.wants_to_write = False
        if self.producer is not None:
            self.producer.resumeProducing()

    def read(self) -> bytes:
        try:
            return self.far.recv(1 << 20)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        self.near.close()
        self.far.close()


class Progress:
    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.ends = 0

    def __call__(self, size_bytes: int, is_all: bool) -> None:
        self.sizes.append(size_bytes)
        self.ends += is_all


@pytest.fixture
def tcp() -> Iterator[Tcp]:
    tcp = Tcp()
    yield tcp
    tcp.close()


def read_all(tcp: Tcp) -> bytes:
    """The whole body, as the far end empties the socket again and again."""
    tcp.drained()
    data = tcp.read()
    while tcp.wants_to_write:
        tcp.drained()
        data += tcp.read()
    return data + tcp.read()


SIZES = st.lists(st.integers(0, 3 * BUFFER_BYTES), min_size=1, max_size=8)


@given(SIZES)
def test_every_byte_goes_out_once_and_in_order(sizes: list[int]) -> None:
    buffers: Body = (LARGE, *(bytes([index + 1]) * size for index, size in enumerate(sizes)))
    tcp, progress = Tcp(), Progress()
    try:
        body_on(tcp, buffers, progress).start()
        assert read_all(tcp) == b"".join(buffers)
    finally:
        tcp.close()
    assert sum(progress.sizes) == len(LARGE) + sum(sizes)
    assert progress.ends == 1
    assert tcp.producer is None


def test_bytes_that_the_socket_takes_go_out_at_once(tcp: Tcp) -> None:
    progress = Progress()
    body_on(tcp, (b"head", b"body"), progress).start()
    assert tcp.read() == b"headbody"
    assert (progress.sizes, progress.ends) == ([8], 1)
    assert tcp.producer is None


def test_more_buffers_than_one_call_takes(tcp: Tcp) -> None:
    buffers = (LARGE, *(b"%03d" % (number % 1000) for number in range(3 * GATHERED_BUFFERS)))
    body_on(tcp, buffers, Progress()).start()
    assert read_all(tcp) == b"".join(buffers)


def test_a_body_that_is_stopped_lets_go_and_sends_nothing_more(tcp: Tcp) -> None:
    buffer, progress = bytearray(2 * len(LARGE)), Progress()
    body = body_on(tcp, (buffer,), progress)
    body.start()
    tcp.drained()
    tcp.read()
    body.stop()
    tcp.drained()
    assert tcp.read() == b""
    assert progress.ends == 0
    buffer.clear()  # BufferError if it were still in use


def test_a_broken_connection_is_left_to_the_transport(tcp: Tcp) -> None:
    body = body_on(tcp, (LARGE, b"x"), Progress())
    body.start()
    tcp.far.close()
    tcp.drained()
    assert tcp.wants_to_write
    body.stopProducing()
    tcp.drained()


def test_the_way_depends_on_the_transport(tcp: Tcp) -> None:
    assert isinstance(body_on(tcp, (LARGE, b"x"), Progress()), DirectBody)
    assert isinstance(body_on(StringTransport(), (LARGE, b"x"), Progress()), WrittenBody)


@given(st.lists(st.integers(0, 3 * WRITTEN_BYTES), min_size=1, max_size=6))
def test_copies_are_written_where_there_is_no_socket(sizes: list[int]) -> None:
    buffers: Body = tuple(bytes([index]) * size for index, size in enumerate(sizes))
    transport, progress = StringTransport(), Progress()
    body_on(transport, buffers, progress).start()
    assert transport.value() == b"".join(buffers)
    assert sum(progress.sizes) == sum(sizes)
    assert progress.ends == 1
