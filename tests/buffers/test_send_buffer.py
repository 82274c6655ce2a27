"""What waits for a socket goes out in order, each byte once, however little the socket takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport

from sftpgw.buffers.send_buffer import GATHERED_BUFFERS, SendBuffer, sink_of
from sftpgw.model.units import Buffer


class Socket:
    """Takes as many bytes as it was told to, then none."""

    def __init__(self) -> None:
        self.taken = bytearray()
        self.room_bytes = 0

    def sendmsg(self, buffers: list[Buffer], /) -> int:
        assert len(buffers) <= GATHERED_BUFFERS
        if not self.room_bytes:
            raise BlockingIOError
        data = b"".join(buffers)[: self.room_bytes]
        self.taken += data
        self.room_bytes -= len(data)
        return len(data)


STEPS = st.lists(
    st.lists(st.integers(0, 40), max_size=6).map(tuple) | st.integers(0, 100), max_size=30
)


@given(STEPS, st.integers(1, 60))
def test_the_buffer_behaves_as_a_bytearray(
    steps: list[tuple[int, ...] | int], limit_bytes: int
) -> None:
    outflow, socket, model, number = SendBuffer(), Socket(), bytearray(), 0
    for step in steps:
        if isinstance(step, tuple):
            buffers = [bytes((number + index,)) * size for index, size in enumerate(step)]
            number += len(step)
            outflow.extend(buffers, sum(step))
            model += b"".join(buffers)
        else:
            socket.room_bytes, before_bytes = step, len(socket.taken)
            sent_bytes = outflow.send(socket, limit_bytes)
            assert sent_bytes == len(socket.taken) - before_bytes
            assert sent_bytes or not outflow.size_bytes or not step
        assert outflow.size_bytes == len(model) - len(socket.taken)
    assert socket.taken + b"".join(outflow.take_all()) == model
    assert outflow.size_bytes == 0


def test_about_so_much_at_a_time() -> None:
    outflow, socket = SendBuffer([bytes(10)] * 10), Socket()
    socket.room_bytes = 1000
    assert outflow.send(socket, 25) == 30
    assert outflow.send(socket, 1000) == 70


def test_clear_releases_the_buffers() -> None:
    buffer, socket = bytearray(100), Socket()
    outflow = SendBuffer([buffer])
    socket.room_bytes = 30
    outflow.send(socket, 100)
    outflow.clear()
    assert outflow.size_bytes == 0
    buffer.clear()  # BufferError if a view of it were left


def test_below_what_carries_no_socket_there_is_none() -> None:
    assert sink_of(StringTransport()) is None
