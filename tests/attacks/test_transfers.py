"""Attacks by users: greedy readers and writers, too many files, broken requests."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from sftpgw.model.units import KIB, MIB
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag, Status
from tests.attacks.gateway import HUGE_BYTES, KEY, MANY_NAMES
from tests.attacks.honest import HonestUser
from tests.attacks.raw_sftp import CREATE, RawSftp
from tests.attacks.raw_ssh import Ended, RawClient
from tests.attacks.target import Target

pytestmark = pytest.mark.slow

MakeClient = Callable[..., RawClient]
HANDLES = 256
READ_BYTES = 255 * KIB
UNREAD = 2**32 - 1 - 2**21
READER_COST_BYTES = 72 * MIB


def ask_for_all(session: RawSftp) -> None:
    """READs for the whole of the huge file, with a window that admits all of them."""
    session.client.send(session.widen(UNREAD))
    handle = session.open(b"/huge")
    for offset in range(0, HUGE_BYTES, READ_BYTES):
        session.send(wire.Read(0, handle, offset, READ_BYTES))


@pytest.mark.costs(READER_COST_BYTES)
def test_512_mib_are_requested_and_not_read(session: RawSftp, honest: HonestUser) -> None:
    ask_for_all(session)
    for _ in range(5):
        honest.demand_served()


@pytest.mark.costs(READER_COST_BYTES)
def test_512_mib_are_requested_and_read_slowly(session: RawSftp, honest: HonestUser) -> None:
    ask_for_all(session)
    for _ in range(10):
        assert len(session.client.socket.recv(16 * KIB)) > 0
        honest.demand_served()


@pytest.mark.costs(READER_COST_BYTES)
def test_keys_are_exchanged_before_what_waits_is_read(session: RawSftp) -> None:
    """Data under the old keys arrives first, then the rest under the new ones."""
    ask_for_all(session)
    for _ in range(5):
        session.client.exchange_keys()
    session.listen_to_answers(100)


@pytest.mark.costs(96 * MIB)
def test_a_writer_never_waits_for_replies(session: RawSftp) -> None:
    """160 MiB, as fast as the window allows; parts wait for confirmation by S3."""
    handle = session.open(b"/greedy", CREATE)
    block = bytes(READ_BYTES)
    for number in range(160 * MIB // READ_BYTES):
        session.send(wire.Write(0, handle, number * READ_BYTES, (block,)))
    session.close(handle)


def test_a_writer_never_reads_anything(session: RawSftp) -> None:
    handle = session.open(b"/deaf", CREATE)
    write = encode_request(wire.Write(0, handle, 0, (bytes(100),)))
    with pytest.raises((Ended, TimeoutError)):
        session.client.socket.settimeout(0.5)
        for _ in range(4_000):
            session.client.send(session.data(write * 200))


@pytest.mark.costs(48 * MIB)
def test_10000_files_are_opened(session: RawSftp, target: Target) -> None:
    ids = [session.send(wire.Open(0, b"/new-%d" % number, CREATE, {})) for number in range(10_000)]
    codes = [session.status(each) for each in ids]
    assert codes.count(None) == HANDLES
    assert codes.count(Status.FAILURE) == 10_000 - HANDLES


@pytest.mark.costs(48 * MIB)
def test_a_directory_of_10000_names_of_1000_bytes(attacker: MakeClient) -> None:
    session = RawSftp(attacker().log_in(b"archivist", KEY))
    for _ in range(2):
        assert session.entries(b"/many") == MANY_NAMES


@pytest.mark.costs(64 * MIB)
def test_256_directories_are_open_in_each_of_two_sessions(
    attacker: MakeClient, target: Target
) -> None:
    """300 names each. They are counted, and packed."""
    sessions = [RawSftp(attacker().log_in(b"mallory", KEY)) for _ in range(2)]
    for number in range(300):
        sessions[0].close(sessions[0].open(b"/usual/a-file-with-a-name-%04d" % number, CREATE))
    for session in sessions:
        for _ in range(HANDLES):
            assert session.status(session.send(wire.OnPath(Kind.OPENDIR, 0, b"/usual"))) is None
    held_bytes = target.measure().held_bytes
    assert 2 * HANDLES * 10 * KIB < held_bytes < 2 * HANDLES * 40 * KIB


def every_request(handle: bytes) -> Iterator[wire.Request]:
    """One request of each format that has a string, all of them for existing files."""
    for kind in (Kind.CLOSE, Kind.FSTAT, Kind.READDIR):
        yield wire.OnHandle(kind, 0, handle)
    paths = "LSTAT OPENDIR REMOVE RMDIR REALPATH STAT READLINK"
    for name in paths.split():
        yield wire.OnPath(Kind[name], 0, b"/keep-me-as-i-am")
    for kind in (Kind.SETSTAT, Kind.MKDIR):
        yield wire.ChangePath(kind, 0, b"/keep-me-as-i-am", {"size": 1})
    for kind in (Kind.RENAME, Kind.SYMLINK):
        yield wire.OnTwoPaths(kind, 0, b"/keep-me-as-i-am", b"/keep")
    yield wire.Open(0, b"/keep-me-as-i-am", CREATE, {"permissions": 0o600})
    yield wire.Read(0, handle, 0, 10)
    yield wire.Write(0, handle, 0, (b"overwritten",))
    yield wire.ChangeHandle(0, handle, {"size": 1})
    path, target = wire.string(b"/keep-me-as-i-am"), wire.string(b"/keep")
    for name, payload in {
        b"posix-rename": path + target,
        b"hardlink": path + target,
        b"statvfs": path,
        b"fstatvfs": wire.string(handle),
        b"fsync": wire.string(handle),
        b"lsetstat": path + wire.pack_attributes({"size": 1}),
    }.items():
        yield wire.Extended(0, name + b"@openssh.com", payload)


def test_strings_are_cut_short_in_every_request(session: RawSftp, target: Target) -> None:
    """Each gets one reply, which is not a success, and changes nothing."""
    session.put(b"/keep-me-as-i-am", b"content")
    handle = session.open(b"/keep-me-as-i-am")
    target.reset()
    request_id = 1_000_000
    for request in every_request(handle):
        whole = encode_request(request)[4:]
        for size in range(5, len(whole)):
            request_id += 1
            body = whole[:1] + struct.pack(">L", request_id) + whole[5:size]
            session.transmit(struct.pack(">L", len(body)) + body)
            code = session.status(request_id)
            foreseen = {Status.BAD_MESSAGE}
            if isinstance(request, wire.Extended):
                foreseen.add(Status.OP_UNSUPPORTED)
            assert code in foreseen, (request, size, code)
    done = target.measure()
    for event in ("file-removed", "file-renamed", "directory-made", "file-overwritten"):
        assert not done.told(event)
    assert session.get(b"/keep-me-as-i-am") == b"content"


def leave_in_the_middle(client: RawClient) -> None:
    """Open many files, request a lot of data, then send nothing."""
    session = RawSftp(client.log_in(b"mallory", KEY))
    session.send(wire.Open(0, b"/huge", OpenFlag.READ, {}))
    for number in range(20):
        session.send(wire.Open(0, b"/left-%d" % number, CREATE, {}))
        session.send(wire.OnPath(Kind.OPENDIR, 0, b"/"))
    reading, writing = session.open(b"/huge"), session.open(b"/left", CREATE)
    for number in range(8):
        session.send(wire.Read(0, reading, number * READ_BYTES, READ_BYTES))
        session.send(wire.Write(0, writing, number * READ_BYTES, (bytes(READ_BYTES),)))
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.costs(96 * MIB)
def test_clients_leave_in_the_middle_again_and_again(
    attacker: MakeClient, honest: HonestUser, target: Target
) -> None:
    """Their handles are freed: only the first rounds take more memory."""

    def after_rounds(rounds: int) -> tuple[int, int]:
        for _ in range(rounds):
            leave_in_the_middle(attacker())
        figures = target.when(
            lambda now: now.sessions <= 1 and not (now.held_bytes or now.uploads), "rid of them"
        )
        return figures.resident_bytes, figures.descriptors

    memory_bytes, descriptors = after_rounds(20)
    more_bytes, more_descriptors = after_rounds(20)
    assert more_bytes - memory_bytes < 16 * MIB
    assert more_descriptors <= descriptors + 2  # the honest user comes and goes


def crowded(request: bytes) -> bytes:
    """As many requests as fit into one packet."""
    return request * ((256 * KIB) // len(request))


@pytest.mark.parametrize(
    "request_bytes",
    [
        encode_request(wire.OnPath(Kind.STAT, 1, b"")),
        encode_request(wire.OnPath(Kind.REALPATH, 1, b"")),
        wire.string(struct.pack(">BL", 99, 1)),
        wire.string(struct.pack(">BLL", Kind.READ, 1, 0)),
        wire.string(struct.pack(">BLL", Kind.WRITE, 1, 0)),
    ],
    ids=["stat", "realpath", "unknown", "short read", "short write"],
)
def test_a_packet_crowded_with_requests(
    session: RawSftp, honest: HonestUser, request_bytes: bytes
) -> None:
    session.client.send(session.widen(UNREAD))
    session.client.send(session.data(crowded(request_bytes)))
    honest.demand_served()
    session.client.send(session.data(crowded(request_bytes)))
    honest.demand_served()


@pytest.mark.costs(64 * MIB)
def test_writes_that_claim_less_than_they_bring(session: RawSftp) -> None:
    """A file of 2.3 MiB in frames of 250 KiB, most of which is dropped."""
    handle = session.open(b"/short-claims", CREATE)
    claimed = 4 * KIB
    for number in range(600):
        body = struct.pack(">BL", Kind.WRITE, 1) + wire.string(handle)
        body += struct.pack(">Q", number * claimed) + wire.string(bytes(claimed))
        session.transmit(wire.string(body + bytes(250 * KIB)), 256 * KIB)
        assert session.reply(1)[0] == Kind.STATUS
