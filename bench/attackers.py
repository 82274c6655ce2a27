"""Users with a login who do their worst, each attack in a process of its own.

Knows: what each attack sends. Must not know: how the gateway is measured, or honest users.

``python -m bench.attackers NAME PORT KEY_FILE PROGRESS_FILE`` prints ``ready`` once the attack is
under way, and goes on until its standard input ends. What it does stands in the file meanwhile
(`bench.attack_progress`).
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from bench.attack_progress import SHARED_BYTES, ProgressCounter, shared_memory
from bench.hostile_s3 import ENDLESS, ERRORS
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag
from tests.attacks.raw_command import RawCommand
from tests.attacks.raw_sftp import CREATE, RawSftp
from tests.attacks.raw_ssh import (
    CHANNEL_CLOSE,
    IGNORE,
    USERAUTH_FAILURE,
    USERAUTH_SUCCESS,
    Ended,
    RawClient,
    password,
    string,
    uint32,
)

NICENESS = 19
"""So that the attacker does not take the CPU from those who are measured."""

KIB = 1024
LARGE = b"/large"
MALLORY, PARTNER = "mallory", "partner%03d"
PARTNERS = 60
CONNECTIONS = 99
"""One user's, with the default of connections_per_user."""

STACK_BYTES = 512 * KIB
PATIENCE_SECONDS = 900.0
PATIENT_SECONDS = 20.0
"""How long slow uploads may take to get past their first bytes, before honest users come."""
PAUSE_SECONDS = 0.2
PACKET_BYTES = 32 * KIB
IGNORES = 2500
BURST_SECONDS = 10.0
"""Between bursts, in which the packets are sealed."""

REWRITE_SECONDS = 2.0
SLOW_BYTES_PER_SECOND = 5 * KIB
SLOW_FIRST_BYTES = 288 * KIB
LONG, SHORT = b"/long", b"/short"
LONG_NAMES, SHORT_NAMES = 1100, 3000
LONG_NAME_BYTES = 200
RANGES = 5400

Failure = (Ended, OSError, AssertionError)


class CountedClient(RawClient):
    """A connection that tells what it sends and receives, and that it has ended.

    :param counter: where it counts.
    """

    _is_open = False

    def __init__(self, port: int, source: str, counter: ProgressCounter) -> None:
        self._counter = counter
        super().__init__(port, source)
        self.socket.settimeout(PATIENCE_SECONDS)
        self._is_open = True
        counter.count("connections")

    def on_refused(self) -> None:
        """The gateway has refused something."""
        self._counter.count("refusals")

    def transmit(self, data: bytes) -> None:
        try:
            super().transmit(data)
        except Ended as end:
            self._on_ended(end)
            raise
        self._counter.count("sent_bytes", len(data))

    def _receive_from_wire(self) -> bytes:
        try:
            payload = super()._receive_from_wire()
        except Ended as end:
            self._on_ended(end)
            raise
        self._counter.count("received_bytes", len(payload))
        return payload

    def _take(self, size_bytes: int) -> bytes:
        try:
            return super()._take(size_bytes)
        except Ended as end:
            self._on_ended(end)
            raise

    def _on_ended(self, end: Ended) -> None:
        if self._is_open:
            self._counter.count_end(str(end))
        self._leave()

    def _leave(self) -> None:
        if self._is_open:
            self._is_open = False
            self._counter.count("connections", -1)

    def close(self) -> None:
        self._leave()
        super().close()


class Flood(RawSftp):
    """A session that counts its answers, and looks at no more of them.

    :ivar is_counting: False while an answer is needed.
    """

    is_counting = False
    answers = 0

    def __init__(self, client: CountedClient) -> None:
        self._on_refused = client.on_refused
        super().__init__(client)
        self.is_counting = True

    def _take_data(self, data: bytes) -> None:
        if not self.is_counting:
            super()._take_data(data)
            return
        self._frames.feed(data)
        while (frame := self._frames.next()) is not None:
            self.answers += 1
            if frame.head[0] == Kind.STATUS and frame.head[5:9] != bytes(4):
                self._on_refused()
        self._unread_bytes += len(data)
        if self._unread_bytes > 2**19:
            self.client.send(self.widen(self._unread_bytes))
            self._unread_bytes = 0

    def wait_for(self, answers: int) -> None:
        """Until so many answers have come."""
        while self.answers < answers:
            self._listen()

    def drain(self) -> None:
        """Take what has come, and wait for no more than the rest of a packet."""
        poll = select.poll()
        poll.register(self.client.socket, select.POLLIN)
        while self.client._arrived or poll.poll(0):
            self._listen()


class Attacker:
    """What every attack uses: connections, and threads that begin anew when they fail."""

    def __init__(
        self, port: int, key: Ed25519PrivateKey, counter: ProgressCounter | None = None
    ) -> None:
        self._port, self._key = port, key
        self._lock = threading.Lock()
        self._to_begin = 0
        self._counter = counter or ProgressCounter(bytearray(SHARED_BYTES))
        self.has_begun = threading.Event()

    def count_refusal(self) -> None:
        """An error as an answer, or a connection that was ended."""
        self._counter.count("refusals")

    def connect(self, source: str = "127.0.0.2") -> CountedClient:
        """A connection that has not logged in."""
        try:
            return CountedClient(self._port, source, self._counter)
        except ConnectionError as problem:
            self._counter.count_end(str(problem))
            raise

    def log_in(self, user: str = MALLORY) -> CountedClient:
        """A connection of a user."""
        client = self.connect()
        try:
            client.log_in(user.encode(), self._key)
        except BaseException:
            client.close()
            raise
        return client

    def crowd(self, count: int, strike: Strike) -> None:
        """Threads that strike again and again."""
        self._to_begin += count
        for number in range(count):
            threading.Thread(target=self._again, args=(strike, number), daemon=True).start()

    def _again(self, strike: Strike, number: int) -> None:
        begun: list[bool] = []

        def begin() -> None:
            if not begun:
                begun.append(True)
                with self._lock:
                    self._to_begin -= 1
                    if not self._to_begin:
                        self.has_begun.set()

        while True:
            try:
                strike(self, number, begin)
            except Failure:
                self.count_refusal()
                time.sleep(PAUSE_SECONDS)
            except Exception:
                traceback.print_exc()  # to the log of the attackers
                self._counter.count("broken")
                return


Strike = Callable[[Attacker, int, Callable[[], None]], None]
"""Attack once: given a thread's number, and what it calls once it is in place."""


@dataclass(frozen=True)
class Attack:
    """One attack.

    :param prepare: what mallory does before, while nothing is measured.
    :param least_seconds: how long it is watched at least.
    :param latency_seconds: of the store, if the attack needs a slow one.
    :param holds: it does harm by what it holds, and need not send anything for that.
    """

    about: str
    threads: int
    strike: Strike
    prepare: Callable[[RawSftp], None] = lambda sftp: None
    least_seconds: float = 10.0
    latency_seconds: float = 0.0
    needs_hostile_store: bool = False
    holds: bool = False


def _make_long_names(sftp: RawSftp) -> None:
    tail = b"n" * (LONG_NAME_BYTES - 4)
    sftp.put_many([LONG + b"/%04d" % number + tail for number in range(LONG_NAMES)])


def _make_short_names(sftp: RawSftp) -> None:
    sftp.put_many([SHORT + b"/f%04d" % number for number in range(SHORT_NAMES)])


def _make_folders(sftp: RawSftp) -> None:
    sftp.put_many([b"/r%03d/x" % number for number in range(256)])


def _hold(session: RawSftp) -> None:
    """Stay connected and take what comes."""
    while True:
        session._listen()


# Uploads.


def rewrite_behind_gaps(attacker: Attacker, number: int, begin: Callable[[], None]) -> None:
    """63 uploads of 320 KiB behind a gap, written again and again."""
    with attacker.log_in() as client:
        session = Flood(client)
        handles = _open_uploads(session, 63, b"/gap")
        while True:
            for handle in handles:
                for at in range(64 * KIB, 384 * KIB, PACKET_BYTES):
                    session.send(wire.Write(0, handle, at, (bytes(PACKET_BYTES),)))
                session.drain()
            begin()
            until = time.monotonic() + REWRITE_SECONDS
            while time.monotonic() < until:
                session.drain()
                time.sleep(0.1)


def _open_uploads(session: Flood, count: int, name: bytes) -> list[bytes]:
    session.is_counting = False
    handles = [session.open(name + b"%d" % number, CREATE) for number in range(count)]
    session.is_counting = True
    return handles


class SlowUpload:
    """Sends `SLOW_FIRST_BYTES` as fast as it may, and then a little each second."""

    def __init__(self, session: Flood, handle: bytes) -> None:
        self._session, self._handle = session, handle
        self.sent_bytes = 0
        self.has_ended = False
        self._began = time.monotonic()

    def tick(self) -> None:
        """Send what is due, as far as the window allows."""
        session = self._session
        session.drain()
        due_bytes = SLOW_FIRST_BYTES
        due_bytes += int((time.monotonic() - self._began) * SLOW_BYTES_PER_SECOND)
        while self.sent_bytes < due_bytes and session.remote_window_bytes > 2 * PACKET_BYTES:
            size_bytes = min(PACKET_BYTES, due_bytes - self.sent_bytes)
            session.send(wire.Write(0, self._handle, self.sent_bytes, (bytes(size_bytes),)))
            self.sent_bytes += size_bytes


def slow_uploads(connections: int, uploads: int) -> Strike:
    """Uploads of many users at 5 KiB/s, each past 256 KiB."""

    def strike(attacker: Attacker, number: int, begin: Callable[[], None]) -> None:
        found: list[SlowUpload] = []
        for connection in range(connections):
            session = Flood(attacker.log_in(PARTNER % (connection % PARTNERS)))
            name = b"/slow%d-" % connection
            handles = _open_uploads(session, uploads, name)
            found += [SlowUpload(session, handle) for handle in handles]
            for each in found:
                _tick(attacker, each)
        patient_until = time.monotonic() + PATIENT_SECONDS
        while True:
            for each in found:
                _tick(attacker, each)
            if time.monotonic() > patient_until or all(
                each.has_ended or each.sent_bytes >= SLOW_FIRST_BYTES for each in found
            ):
                begin()
            time.sleep(0.2)

    return strike


def _tick(attacker: Attacker, upload: SlowUpload) -> None:
    if not upload.has_ended:
        try:
            upload.tick()
        except Failure:
            upload.has_ended = True
            attacker.count_refusal()


def open_for_writing(attacker: Attacker, number: int, begin: Callable[[], None]) -> None:
    """256 files are opened at once, held for a while, and given up."""
    with attacker.log_in() as client:
        session = Flood(client)
        begin()
        for count in range(256):
            session.send(wire.Open(0, b"/w%d-%d" % (number, count), CREATE, {}))
        session.wait_for(256)
        time.sleep(5.0)


# Directories, STATs and renames.


def hold_directories(attacker: Attacker, number: int, begin: Callable[[], None]) -> None:
    """256 open directories of long names, each read once."""
    with attacker.log_in() as client:
        session = RawSftp(client)
        asked = [session.send(wire.OnPath(Kind.OPENDIR, 0, LONG)) for _ in range(256)]
        begin()
        for each in asked:
            handle = wire.SftpFields(session.reply(each), 5, 0).string()
            session.send(wire.OnHandle(Kind.READDIR, 0, handle))
        _hold(session)


def open_directories(attacker: Attacker, number: int, begin: Callable[[], None]) -> None:
    """256 OPENDIRs of 1,100 names at once, again and again."""
    with attacker.log_in() as client:
        session = Flood(client)
        session.transmit(_many(Kind.OPENDIR, LONG, 256))
        begin()
        session.wait_for(256)


def stat_without_end(attacker: Attacker, number: int, begin: Callable[[], None]) -> None:
    """256 STATs under way, always."""
    with attacker.log_in() as client:
        session = Flood(client)
        batch = 0
        while True:
            path = b"/none-%d-%d-%%d" % (number, batch)
            session.transmit(_many(Kind.STAT, path, 256))
            begin()
            batch += 1
            session.wait_for(256 * batch)


def _make_large_file(sftp: RawSftp) -> None:
    sftp.put(LARGE, bytes(8 * 1024 * KIB))


def drop_downloads(attacker: Attacker, number: int, begin: Callable[[], None]) -> None:
    """Large files are opened and closed at once: each request to the store is given up."""
    with attacker.log_in() as client:
        session = RawSftp(client)
        while True:
            ids = [session.send(wire.Open(0, LARGE, OpenFlag.READ, {})) for _ in range(16)]
            begin()
            for reply in [session.reply(each) for each in ids]:
                if reply[0] == Kind.HANDLE:
                    session.send(
                        wire.OnHandle(Kind.CLOSE, 0, wire.SftpFields(reply, 5, 0).string())
                    )


def leave_stats(attacker: Attacker, number: int, begin: Callable[[], None]) -> None:
    """Channels that are closed while 256 STATs are under way."""
    with attacker.log_in() as client:
        batch = 0
        while True:
            session = Flood(client)
            session.transmit(_many(Kind.STAT, b"/left-%d-%d-%%d" % (number, batch), 256))
            client.send(bytes([CHANNEL_CLOSE]) + uint32(session.number))
            client.expect(CHANNEL_CLOSE)
            begin()
            batch += 1


def rename_folders(count: int) -> Strike:
    """That many folders at once, there and back."""

    def strike(attacker: Attacker, number: int, begin: Callable[[], None]) -> None:
        with attacker.log_in() as client:
            session = Flood(client)
            sent = 0
            while True:
                for old, new in ((b"/r%03d", b"/s%03d"), (b"/s%03d", b"/r%03d")):
                    for each in range(count):
                        session.send(wire.OnTwoPaths(Kind.RENAME, 0, old % each, new % each))
                    begin()
                    sent += count
                    session.wait_for(sent)

    return strike


def ask_poison(path: bytes, kind: Kind) -> Strike:
    """16 requests for a path on which the store answers with poison."""

    def strike(attacker: Attacker, number: int, begin: Callable[[], None]) -> None:
        with attacker.log_in() as client:
            session = Flood(client)
            sent = 0
            while True:
                session.transmit(_many(kind, path + b"/%d", 16))
                begin()
                sent += 16
                session.wait_for(sent)

    return strike


def _many(kind: Kind, path: bytes, count: int) -> bytes:
    """That many requests for a path, in which ``%d`` stands for their number."""
    numbered = b"%d" in path
    paths = (path % each if numbered else path for each in range(count))
    return b"".join(
        encode_request(wire.OnPath(kind, number, each)) for number, each in enumerate(paths, 1)
    )


# Packets, windows, commands.


def realpath_without_end(attacker: Attacker, number: int, begin: Callable[[], None]) -> None:
    """Two packets full of REALPATHs under way, always."""
    path = b"/a/../b/./c"
    count = PACKET_BYTES // len(_many(Kind.REALPATH, path, 1))
    batch = _many(Kind.REALPATH, path, count)
    with attacker.log_in() as client:
        session = Flood(client)
        begin()
        sent = 0
        while True:
            session.transmit(batch)
            sent += count
            session.wait_for(sent - count)


def ignore_without_end(attacker: Attacker, number: int, begin: Callable[[], None]) -> None:
    """IGNORE packets of no bytes; all connections send theirs at the same moment."""
    with attacker.log_in() as client:
        ignore = bytes([IGNORE]) + string(b"")
        begin()
        while True:
            packets = b"".join(client.sealed(ignore) for _ in range(IGNORES))
            time.sleep(-time.time() % BURST_SECONDS)
            client.transmit(packets)


def open_windows(attacker: Attacker, number: int, begin: Callable[[], None]) -> None:
    """Ten channels of a connection, open and idle."""
    with attacker.log_in() as client:
        sessions = []
        for _ in range(10):
            try:
                sessions.append(RawSftp(client, greet=False))
            except AssertionError:  # refused: what is open stays open
                break
        begin()
        _hold(sessions[0])


def match_ranges(attacker: Attacker, number: int, begin: Callable[[], None]) -> None:
    """A pattern of 16 KiB with one set of many ranges, against many names."""
    line = b"md5sum " + SHORT + b"/*[" + b"b-c" * RANGES + b"]"
    _run(attacker, line, begin)


def run_nothing(attacker: Attacker, number: int, begin: Callable[[], None]) -> None:
    """Commands that are over at once, one after the other."""
    with attacker.log_in() as client:
        while True:
            begin()
            _run_on(client, b"x")


def _run(attacker: Attacker, line: bytes, begin: Callable[[], None]) -> None:
    with attacker.log_in() as client:
        begin()
        _run_on(client, line)


def _run_on(client: RawClient, line: bytes) -> None:
    command = RawCommand(client, line)
    while client.receive()[0] != CHANNEL_CLOSE:
        pass
    client.send(bytes([CHANNEL_CLOSE]) + uint32(command.number))


def open_and_close(attacker: Attacker, number: int, begin: Callable[[], None]) -> None:
    """Files that are opened and closed at once, each of which has lines in the log."""
    with attacker.log_in() as client:
        session = RawSftp(client)
        while True:
            begin()
            session.put_many([b"/log%d-%d" % (number, each) for each in range(100)])


def fill_the_log(attacker: Attacker, number: int, begin: Callable[[], None]) -> None:
    """Half of the threads run commands, half of them make files."""
    (run_nothing, open_and_close)[number % 2](attacker, number, begin)


# Passwords.


def guess(addresses: int) -> Strike:
    """Guesses from this many addresses, 20 connections each."""

    def strike(attacker: Attacker, number: int, begin: Callable[[], None]) -> None:
        source = f"127.0.0.{10 + number % addresses}"
        begin()  # a gateway that refuses guessers lets not all of them in
        with attacker.connect(source) as client:
            client.start().request_login()
            while True:
                user = b"honest" if number % 2 else b"nosuchuser"
                client.send(password(user, b"guess %d" % number))
                client.expect(USERAUTH_FAILURE, USERAUTH_SUCCESS)

    return strike


ATTACKS = {
    "gaps": Attack(
        "63 uploads of 320 KiB behind a gap, written again and again",
        1,
        rewrite_behind_gaps,
    ),
    "slow-57": Attack("57 users, an upload each at 5 KiB/s, past 256 KiB", 1, slow_uploads(57, 1)),
    "slow-1000": Attack(
        "1,000 uploads at 5 KiB/s, past 256 KiB, of 60 users", 1, slow_uploads(250, 4)
    ),
    "directories": Attack(
        "2,560 open directories of 1,100 names, each read once",
        10,
        hold_directories,
        _make_long_names,
        least_seconds=40.0,
        holds=True,
    ),
    "stats": Attack(
        "2,560 STATs under way; the store takes 0.5 s for each request",
        10,
        stat_without_end,
        latency_seconds=0.5,
    ),
    "left-stats": Attack(
        "channels that end while 256 STATs are under way; the store takes 0.5 s for each request",
        5,
        leave_stats,
        latency_seconds=0.5,
    ),
    "dropped-gets": Attack(
        "large files are opened and closed at once, on ten connections",
        10,
        drop_downloads,
        _make_large_file,
    ),
    "realpaths": Attack(
        "REALPATHs without end on 99 connections", CONNECTIONS, realpath_without_end
    ),
    "ignores": Attack(
        "IGNORE packets on 99 connections, all at the same moment",
        CONNECTIONS,
        ignore_without_end,
        least_seconds=3 * BURST_SECONDS,
    ),
    "windows": Attack("39 connections with ten channels each", 39, open_windows, holds=True),
    "ranges": Attack(
        "md5sum with a set of 5,400 ranges beside 3,000 names, five at once",
        5,
        match_ranges,
        _make_short_names,
    ),
    "error-bodies": Attack(
        "STATs, on which the store answers with errors of 16 MiB",
        2,
        ask_poison(b"/" + ERRORS, Kind.STAT),
        needs_hostile_store=True,
    ),
    "endless-lists": Attack(
        "OPENDIRs, on which the store sends the same page without end",
        2,
        ask_poison(b"/" + ENDLESS, Kind.OPENDIR),
        needs_hostile_store=True,
    ),
    "guesses-1": Attack("passwords are guessed from one address", 20, guess(1)),
    "guesses-8": Attack("passwords are guessed from eight addresses", 160, guess(8)),
    "renames-60": Attack(
        "60 folders are renamed at once, again and again", 1, rename_folders(60), _make_folders
    ),
    "renames-256": Attack(
        "256 folders are renamed at once, again and again", 1, rename_folders(256), _make_folders
    ),
    "opendirs": Attack(
        "256 OPENDIRs of 1,100 names at once on one channel, again and again",
        1,
        open_directories,
        _make_long_names,
    ),
    "opens": Attack("7,680 files are opened for writing", 30, open_for_writing, holds=True),
    "log": Attack("commands and files that fill the log, on 30 connections", 30, fill_the_log),
}
"""The attacks by name."""


def load_key(path: Path) -> Ed25519PrivateKey:
    """The key of every user here."""
    key = load_ssh_private_key(path.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def main(name: str, port: int, key_file: Path, progress_file: Path) -> None:
    """Attack until standard input ends."""
    os.nice(NICENESS)
    threading.stack_size(STACK_BYTES)
    with shared_memory(progress_file) as shared:
        attacker = Attacker(port, load_key(key_file), ProgressCounter(shared))
        attack = ATTACKS[name]
        attacker.crowd(attack.threads, attack.strike)
        threading.Thread(target=_tell_ready, args=(attacker,), daemon=True).start()
        sys.stdin.read()
        os._exit(0)  # the threads still count in that memory


def _tell_ready(attacker: Attacker) -> None:
    attacker.has_begun.wait()
    sys.stdout.write("ready\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
