"""Two tenants, and requests of one that try to reach the other: nothing may cross.

Knows: SFTP requests that look for a way out, and how a crossing shows.
Must not know: how the gateway keeps users apart.

One history runs twice, with the files of the other tenant and without them. The answers must be
the same, have nothing of the other's names and bytes in them, and leave the other's keys alone.

    python -m fuzz.isolation 100000
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable

from fuzz.layers import Recorder
from sftpgw.model.users import User
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.testing.sftp_sessions import GatewayInMemory
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag

REQUESTS = 40
"""In one history."""

NOW_SECONDS = 1_700_000_100.0

TOKEN = b"Zq7bobs"
"""Is in every name and in all bytes of the other tenant."""

ALICE = User.with_home("alice", "bucket", "home/alice/")
BOB = User.with_home("bob", "bucket", "home/bob/")
NAMES = (b"", b".", b"..", b"../..", b"a", b"d", b"d/b", b"new", b"home", b"bob", b"alice")
NAMES += (b"%2e%2e", b"..%2fbob", b"..\\bob", b"\xc0\xae\xc0\xae", b"\0", b".sftpgw", b"bob/")
NAMES += (b"../bob/Zq7bobs-file", b"Zq7bobs-file", b"s3://bucket/home/bob", b"*", b"alice2")
EXTENSIONS = (b"posix-rename@openssh.com", b"hardlink@openssh.com", b"statvfs@openssh.com")
EXTENSIONS += (b"check-file-name", b"copy-data", b"fsync@openssh.com", b"limits@openssh.com")
ON_PATH = (Kind.STAT, Kind.LSTAT, Kind.REALPATH, Kind.READLINK, Kind.REMOVE, Kind.RMDIR)
FLAGS = (OpenFlag.READ, OpenFlag.WRITE, OpenFlag.WRITE | OpenFlag.CREAT)
FLAGS += (OpenFlag.WRITE | OpenFlag.CREAT | OpenFlag.TRUNC, OpenFlag.READ | OpenFlag.WRITE)


def history(seed: int) -> list[wire.Request]:
    """The requests of one history, always the same for one seed."""
    made = random.Random(seed)
    return [_request(made, number) for number in range(1, REQUESTS + 1)]


def _path(made: random.Random) -> bytes:
    names = [made.choice(NAMES) for _ in range(made.randint(1, 4))]
    return made.choice((b"", b"/", b"//", b"/../")) + b"/".join(names)


def _handle(made: random.Random) -> bytes:
    return b"%016x" % made.randint(0, 12)


def _request(made: random.Random, number: int) -> wire.Request:  # noqa: PLR0911
    match made.randint(0, 8):
        case 0 | 1:
            return wire.OnPath(made.choice((*ON_PATH, Kind.OPENDIR)), number, _path(made))
        case 2 | 3:
            return wire.Open(number, _path(made), made.choice(FLAGS), {})
        case 4:
            kind = made.choice((Kind.CLOSE, Kind.FSTAT, Kind.READDIR))
            return wire.OnHandle(kind, number, _handle(made))
        case 5:
            return wire.Read(number, _handle(made), made.randint(0, 9), 100)
        case 6:
            return wire.Write(number, _handle(made), made.randint(0, 9), (b"alices",))
        case 7:
            kind = made.choice((Kind.RENAME, Kind.SYMLINK))
            return wire.OnTwoPaths(kind, number, _path(made), _path(made))
    data = wire.string(_path(made)) + wire.string(_path(made))
    return wire.Extended(number, made.choice(EXTENSIONS), data)


def answers(requests: list[wire.Request], user: User = ALICE, *, has_other: bool) -> bytes:
    """All that the one tenant hears.

    :param requests: what that tenant asks.
    :param user: that tenant.
    :param has_other: whether the other tenant has files.
    """
    store = FakeStore(min_part_bytes=1)
    store.seed("home/alice/a", b"alices")
    store.seed("home/alice/d/b", b"alices")
    if has_other:
        for key in ("home/bob/Zq7bobs-file", "home/bob/Zq7bobs-dir/x", "home/bob/a"):
            store.seed(key, TOKEN * 3)
    store.now_seconds = NOW_SECONDS  # each object that is stored moves the clock on
    before = _of_other(store)
    gateway = GatewayInMemory(store)
    session, other = gateway.subsystem(user), gateway.subsystem(BOB)
    channel, others_channel = Recorder(), Recorder()
    for protocol, below in ((other, others_channel), (session, channel)):
        protocol.makeConnection(below)
        protocol.dataReceived(encode_request(wire.Init(3)))
    other.dataReceived(encode_request(wire.OnPath(Kind.OPENDIR, 1, b"/")))
    for request in requests:
        session.dataReceived(encode_request(request))
        gateway.clock.advance(0)
    gateway.clock.advance(30)
    assert _of_other(store) == before, "the other tenant's keys have changed"
    return bytes(channel.written)


def _of_other(store: FakeStore) -> dict[str, bytes]:
    return {
        name.key: store.content(name.key)
        for name in store.objects
        if not name.key.startswith("home/alice/")
    }


def run(seeds: Iterable[int], user: User = ALICE) -> int:
    """Run histories; returns how many requests were sent. :raises AssertionError: one crosses"""
    count = 0
    for seed in seeds:
        requests = history(seed)
        heard = answers(requests, user, has_other=True)
        assert heard == answers(requests, user, has_other=False), f"seed {seed}: existence crosses"
        assert TOKEN * 2 not in heard, f"seed {seed}: bytes cross"
        assert b"Zq7bobs-dir" not in heard, f"seed {seed}: a name crosses"
        count += len(requests)
    return count


if __name__ == "__main__":
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print(run(range(-(-total // REQUESTS))), "requests, nothing has crossed")  # noqa: T201
