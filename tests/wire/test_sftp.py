"""`wire/sftp`: the parser against its own writer, and against everything else."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.testing.sftp_requests import encode_request
from sftpgw.wire import sftp as wire
from sftpgw.wire.frames import MAX_FRAME_BYTES, Frame, Frames, FramingLost
from sftpgw.wire.sftp import Kind, Malformed

UINT32 = st.integers(0, 2**32 - 1)
UINT64 = st.integers(0, 2**64 - 1)
TEXT = st.binary(max_size=40)


@st.composite
def attributes(draw: st.DrawFn) -> wire.Attributes:
    found: wire.Attributes = {}
    if draw(st.booleans()):
        found["size"] = draw(UINT64)
    for names in (("uid", "gid"), ("permissions",), ("atime", "mtime")):
        if draw(st.booleans()):
            found |= {name: draw(UINT32) for name in names}
    return found


def one_of_kinds(kinds: frozenset[Kind]) -> st.SearchStrategy[Kind]:
    return st.sampled_from(sorted(kinds))


ON_HANDLE = frozenset({Kind.CLOSE, Kind.FSTAT, Kind.READDIR})
ON_PATH = frozenset(
    {Kind.LSTAT, Kind.OPENDIR, Kind.REMOVE, Kind.RMDIR, Kind.REALPATH, Kind.STAT, Kind.READLINK}
)
REQUESTS = st.one_of(
    st.builds(wire.Init, UINT32, st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple)),
    st.builds(wire.Open, UINT32, TEXT, UINT32, attributes()),
    st.builds(wire.Read, UINT32, TEXT, UINT64, UINT32),
    st.builds(wire.Write, UINT32, TEXT, UINT64, st.binary(max_size=300).map(lambda data: (data,))),
    st.builds(wire.OnHandle, one_of_kinds(ON_HANDLE), UINT32, TEXT),
    st.builds(wire.OnPath, one_of_kinds(ON_PATH), UINT32, TEXT),
    st.builds(wire.ChangeHandle, UINT32, TEXT, attributes()),
    st.builds(
        wire.ChangePath, st.sampled_from([Kind.SETSTAT, Kind.MKDIR]), UINT32, TEXT, attributes()
    ),
    st.builds(wire.OnTwoPaths, st.sampled_from([Kind.RENAME, Kind.SYMLINK]), UINT32, TEXT, TEXT),
    st.builds(wire.Extended, UINT32, TEXT, TEXT),
)


LENIENT = wire.Init | wire.Extended | wire.Write


def frames_of(stream: bytes, cuts: list[int], small_bytes: int = 1) -> list[Frame]:
    """The frames of a stream that arrives in pieces."""
    frames, found, at = Frames(small_piece_bytes=small_bytes), [], 0
    for size in [*cuts, len(stream)]:
        frames.feed(stream[at : at + size])
        at += size
        while (frame := frames.next()) is not None:
            found.append(frame)
    return found


@given(st.lists(REQUESTS, max_size=4), st.lists(st.integers(1, 60), max_size=20))
def test_a_stream_tells_whether_a_frame_is_whole(
    requests: list[wire.Request], cuts: list[int]
) -> None:
    stream, frames, at = b"".join(map(encode_request, requests)), Frames(), 0
    for size in [*cuts, len(stream)]:
        may_find = frames.feed(stream[at : at + size])
        at += size
        frame = frames.next()
        assert may_find is (frame is not None)
        while frame is not None:
            frame = frames.next()
    assert frames.is_empty


def parse(frame: bytes) -> wire.Request:
    """Type and body, read as a request whose data is in one piece."""
    (found,) = frames_of(wire.string(frame), [])
    return whole(wire.parse_request(found))


def whole(request: wire.Request) -> wire.Request:
    if isinstance(request, wire.Write):
        return replace(request, data=(b"".join(request.data),))
    return request


@settings(max_examples=400)
@given(
    st.lists(REQUESTS, max_size=6), st.lists(st.integers(0, 60), max_size=12), st.integers(0, 61)
)
def test_written_packets_are_read_back(
    requests: list[wire.Request], cuts: list[int], small_bytes: int
) -> None:
    stream = b"".join(map(encode_request, requests))
    frames = frames_of(stream, cuts, small_bytes)
    assert [whole(wire.parse_request(frame)) for frame in frames] == requests


@settings(max_examples=400)
@given(REQUESTS, st.data())
def test_a_truncated_body_is_malformed_and_carries_its_id(
    request: wire.Request, data: st.DataObject
) -> None:
    frame = encode_request(request)[4:]
    shorter = frame[: data.draw(st.integers(5, max(5, len(frame) - 1)))]
    if shorter == frame:
        return
    try:
        parsed = parse(shorter)
    except Malformed as error:
        assert isinstance(request, wire.Init) or error.request_id == request.request_id
    else:
        # Only what has no fixed end can be cut and still be whole.
        assert isinstance(parsed, wire.Init | wire.Extended)


@settings(max_examples=300)
@given(REQUESTS.filter(lambda r: not isinstance(r, LENIENT)), TEXT)
def test_bytes_behind_the_last_field_are_malformed(request: wire.Request, more: bytes) -> None:
    frame = encode_request(request)[4:]
    if more:
        with pytest.raises(Malformed, match="too many"):
            parse(frame + more)


@settings(max_examples=600)
@given(st.binary(min_size=5, max_size=80))
def test_any_frame_parses_or_is_malformed(frame: bytes) -> None:
    try:
        parse(frame)
    except Malformed as error:
        assert error.message


def test_bytes_behind_a_write_are_dropped() -> None:
    write = wire.Write(7, b"h", 3, (b"data",))
    assert parse(encode_request(write)[4:] + bytes(15536)) == write


def test_a_string_that_claims_more_than_is_there() -> None:
    frame = struct.pack(">BLL", Kind.REMOVE, 7, 1000) + b"thirteen byte"
    with pytest.raises(Malformed, match="claims 1000 bytes, 13 are there") as caught:
        parse(frame)
    assert caught.value.request_id == 7


@pytest.mark.parametrize("number", [0, 21, 99, 101, 102, 105, 150, 201, 255])
def test_types_that_are_no_requests_are_unknown(number: int) -> None:
    assert parse(struct.pack(">BL", number, 9)) == wire.Unknown(number, 9)


@pytest.mark.parametrize("length", [0, 4, MAX_FRAME_BYTES + 1, 2**32 - 1])
def test_an_absurd_length_loses_the_stream(length: int) -> None:
    frames = Frames()
    frames.feed(struct.pack(">L", length))
    with pytest.raises(FramingLost, match=str(length)):
        frames.next()


def test_the_largest_write_fits_into_a_frame() -> None:
    write = wire.Write(1, b"h" * 64, 0, (bytes(wire.MAX_WRITE_BYTES),))
    assert parse(encode_request(write)[4:]) == write


def test_extended_attributes_are_checked_and_dropped() -> None:
    pair = wire.string(b"name@example.com") + wire.string(b"value")
    body = struct.pack(">LLL", 0x80000004, 0o644, 1) + pair
    frame = struct.pack(">BL", Kind.SETSTAT, 1) + wire.string(b"/a") + body
    parsed = parse(frame)
    assert parsed == wire.ChangePath(Kind.SETSTAT, 1, b"/a", {"permissions": 0o644})
    with pytest.raises(Malformed):
        parse(frame[:-1])


def test_attribute_flags_of_later_versions_are_malformed() -> None:
    frame = struct.pack(">BL", Kind.SETSTAT, 1) + wire.string(b"/a") + struct.pack(">L", 0x10)
    with pytest.raises(Malformed, match="unknown attribute flags 0x10"):
        parse(frame)


@given(attributes())
def test_attributes_are_packed_as_they_are_read(found: wire.Attributes) -> None:
    fields = wire.SftpFields(wire.pack_attributes(found), 0, 0)
    assert fields.attributes() == found
    fields.end()


def test_replies_have_their_layout() -> None:
    assert wire.status(1, wire.Status.EOF, "é") == bytes.fromhex(
        "00000013 65 00000001 00000001 00000002 c3a9 00000000".replace(" ", "")
    )
    assert wire.handle(2, b"h") == bytes.fromhex(
        "0000000a 66 00000002 00000001 68".replace(" ", "")
    )
    assert wire.data_header(3, 5) == bytes.fromhex("0000000e 67 00000003 00000005".replace(" ", ""))
    assert wire.version([(b"a", b"1")]) == bytes.fromhex(
        "0000000f 02 00000003 00000001 61 00000001 31".replace(" ", "")
    )


def test_a_writes_data_is_not_copied_but_where_it_is_small_beside_its_packet() -> None:
    first = encode_request(wire.Write(1, b"h", 0, (b"a" * 900, b"b" * 100)))
    packets = [first[:500], first[500:]]
    frames = Frames(small_piece_bytes=1)
    for packet in packets:
        frames.feed(packet)
    (frame,) = [frames.next()]
    assert frame is not None
    assert [piece.obj for piece in frame.tail if isinstance(piece, memoryview)] == packets
    frames.feed(encode_request(wire.Write(2, b"h", 0, (b"small",))) + bytes(1000))
    (frame,) = [frames.next()]
    assert frame is not None
    assert frame.tail == (b"small",)
    assert isinstance(frame.tail[0], bytes)


def test_a_write_whose_handle_is_absurd_is_malformed() -> None:
    frame = struct.pack(">BLL", Kind.WRITE, 7, 2**32 - 1) + bytes(1000)
    with pytest.raises(Malformed) as caught:
        parse(frame)
    assert caught.value.request_id == 7


def test_bytes_dropped_behind_a_write_are_released() -> None:
    write = encode_request(wire.Write(1, b"h", 0, (bytes(5000),)))[4:] + bytes(100_000)
    request = parse_exactly(write)
    assert isinstance(request, wire.Write)
    assert [memoryview(piece).obj for piece in request.data] == [bytes(5000)]


def parse_exactly(frame: bytes) -> wire.Request:
    """Type and body, read as they are."""
    (found,) = frames_of(wire.string(frame), [])
    return wire.parse_request(found)
