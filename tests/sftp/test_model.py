"""Random sessions through SSH and SFTP against a plain dict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from sftpgw.files.lookup import CLOSE_WAIT_SECONDS
from sftpgw.model.settings import FilesSettings, StoreSettings
from sftpgw.model.units import KIB
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import CREATE, GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag, Status

NAMES = st.sampled_from([b"a", b"b", b"a-", "é f".encode(), b"d"])
DIRECTORIES = st.sampled_from([b"", b"d", b"d/e", b"x"])
SIZES = st.one_of(st.integers(0, 70), st.integers(0, 900 * KIB))

OFFSETS = st.one_of(st.integers(0, 100), st.integers(0, 700 * KIB))
EDITS = st.lists(
    st.tuples(st.sampled_from(["read", "write", "truncate"]), OFFSETS, st.integers(0, 12 * KIB)),
    max_size=8,
)
"""Less than a part, so that nothing is sent before the end."""


def content(seed: int, size: int) -> bytes:
    return bytes((seed + index * 7) % 251 for index in range(256)) * (size // 256 + 1)


def parents(path: bytes) -> set[bytes]:
    """All directories above a path, but for the root."""
    segments = path.split(b"/")
    return {b"/".join(segments[:count]) for count in range(1, len(segments))}


@dataclass
class Writer:
    """An open handle; `path` is where its CLOSE publishes, None if nowhere."""

    session: int
    path: bytes | None
    handle: bytes
    is_exclusive: bool


class Sessions(RuleBasedStateMachine):
    """The tree against a dict of paths; parents of files exist, others were made."""

    writers = Bundle("writers")

    def __init__(self) -> None:
        super().__init__()
        store = FakeStore(min_part_bytes=1, page_limit=3, chunk_bytes=1000)
        self.gateway = GatewayInMemory(
            store,
            settings=StoreSettings(part_size_bytes=100 * KIB, download_part_size_bytes=64 * KIB),
            files=FilesSettings(strict_parents=True),
        )
        self.client = self.log_in()
        self.files: dict[bytes, bytes] = {}
        self.made: set[bytes] = set()
        self.ghosts: set[bytes] = set()
        self.session = 1
        self.open_writers: list[Writer] = []

    def log_in(self) -> SftpClient:
        """It opens again what it has open for writing, for which the gateway waits in vain."""
        client = self.gateway.log_in()
        client.open_seconds = CLOSE_WAIT_SECONDS
        return client

    # The model.

    def directories(self) -> set[bytes]:
        found = {b"", *self.made}
        for path in (*self.files, *self.made):
            found.update(parents(path))
        return found

    def below(self, directory: bytes) -> set[bytes]:
        prefix = directory + b"/" if directory else b""
        paths = {*self.files, *self.directories()} - {b""}
        return {path[len(prefix) :].split(b"/")[0] for path in paths if path.startswith(prefix)} - {
            b""
        }

    def emptied(self, path: bytes) -> None:
        """Directories that lose their last entry live on in the session that emptied them."""
        self.ghosts.update(parents(path))

    def is_ghost(self, directory: bytes) -> bool:
        return directory in self.ghosts and directory not in self.directories()

    def attempt(self, expected: set[Status], function: Any, *arguments: Any) -> Any:
        """Call, and demand one of the `expected` failures, or success if there are none."""
        try:
            result = function(*arguments)
        except SftpFailure as failure:
            assert failure.code in expected, failure
            return None
        assert not expected, f"{arguments} should have failed"
        return result

    # The rules.

    @rule(directory=DIRECTORIES, name=NAMES, size=SIZES, seed=st.integers(0, 250))
    def put(self, directory: bytes, name: bytes, size: int, seed: int) -> None:
        path = b"/".join(filter(None, (directory, name)))
        if path in self.directories() or self.is_ghost(path) or self.client_writes_below(path):
            return
        if self.has_file_above(path):
            self.attempt({Status.NO_SUCH_FILE}, self.client.open, path, CREATE)
            return
        data = content(seed, size)[:size]
        self.client.put(path, data, step_bytes=30 * KIB + 7)
        self.files[path] = data

    def has_file_above(self, path: bytes) -> bool:
        """Nothing is made there: S3 would be no tree any more.

        A name that is written to as a file may be made as a directory meanwhile; then it is one.
        """
        above = parents(path) - self.directories()
        return any(parent in self.files or self.is_being_written(parent) for parent in above)

    @rule(directory=DIRECTORIES, name=NAMES, exclusive=st.booleans(), target=writers)
    def open_writer(self, directory: bytes, name: bytes, exclusive: bool) -> Any:
        path = b"/".join(filter(None, (directory, name)))
        if path in self.directories() or self.is_ghost(path) or self.client_writes_below(path):
            return None
        if self.has_file_above(path):
            return self.attempt({Status.NO_SUCH_FILE}, self.client.open, path, CREATE)
        flags = CREATE | (OpenFlag.EXCL if exclusive else 0)
        expected = {Status.FAILURE} if exclusive and path in self.files else set()
        handle = self.attempt(expected, self.client.open, path, flags)
        if handle is None:
            return None
        writer = Writer(self.session, path, handle, exclusive)
        self.open_writers.append(writer)
        return writer

    @rule(
        writer=consumes(writers),
        size=st.integers(0, 300 * KIB),
        seed=st.integers(0, 250),
        order=st.permutations(range(5)),
        gap=st.booleans(),
    )
    def finish_writer(self, writer: Any, size: int, seed: int, order: list[int], gap: bool) -> None:
        """Writes in any order, one of them perhaps never; what is missing is zeros."""
        if writer is None or writer.session != self.session:
            return
        self.open_writers.remove(writer)
        path, handle, exclusive = writer.path, writer.handle, writer.is_exclusive
        data = bytearray(content(seed, size)[:size])
        offsets = [index * 64 * KIB for index in order if index * 64 * KIB < size]
        if gap and offsets and (skipped := offsets.pop()) + 64 * KIB < size:
            data[skipped : skipped + 64 * KIB] = bytes(64 * KIB)
        elif gap and offsets:
            del data[max(offsets) + 64 * KIB :]
        elif gap:
            data.clear()
        for offset in offsets:
            self.client.write(handle, offset, bytes(data[offset : offset + 64 * KIB]))
        if path is None:  # it was removed: nothing fails, and nothing is published
            self.client.close(handle)
            return
        if path in self.directories() or self.has_file_above(path):
            self.reconnect()
            return
        expected = {Status.FAILURE} if exclusive and path in self.files else set()
        self.attempt(expected, self.client.close, handle)
        if not expected:
            self.files[path] = bytes(data)

    @rule(path=st.tuples(DIRECTORIES, NAMES), edits=EDITS, append=st.booleans())
    def edit(self, path: tuple[bytes, bytes], edits: list[Any], append: bool) -> None:
        """Open for reading and writing, look and change here and there, close."""
        joined = b"/".join(filter(None, path))
        flags = OpenFlag.READ | OpenFlag.WRITE | (OpenFlag.APPEND if append else 0)
        expected = set() if joined in self.files else {Status.NO_SUCH_FILE, Status.FAILURE}
        handle = self.attempt(expected, self.client.open, joined, flags)
        if handle is None:
            return
        data = bytearray(self.files[joined])
        for what, offset, size in edits:
            if what == "truncate":
                self.client.ask(wire.ChangeHandle(0, handle, {"size": offset}))
                data = data[:offset] + bytes(max(0, offset - len(data)))
            elif what == "write" and size:
                at = len(data) if append else offset
                new = content(size, size)[:size]
                self.client.write(handle, offset, new)
                data.extend(bytes(max(0, at - len(data))))
                data[at : at + size] = new
            elif what == "read" and offset < len(data) and size:
                assert self.client.read(handle, offset, size) == data[offset : offset + size]
        assert self.client.ask(wire.OnHandle(Kind.FSTAT, 0, handle)).attributes["size"] == len(data)
        self.client.close(handle)
        self.files[joined] = bytes(data)

    @rule(path=st.tuples(DIRECTORIES, NAMES))
    def get(self, path: tuple[bytes, bytes]) -> None:
        joined = b"/".join(filter(None, path))
        if joined in self.files:
            assert self.client.get(joined, step_bytes=50_001) == self.files[joined]
        else:
            self.attempt({Status.NO_SUCH_FILE, Status.FAILURE}, self.client.get, joined)

    @rule(path=st.tuples(DIRECTORIES, NAMES), offset=st.integers(0, 10**6), size=SIZES)
    def get_a_range(self, path: tuple[bytes, bytes], offset: int, size: int) -> None:
        data = self.files.get(b"/".join(filter(None, path)))
        if data is None or not size:
            return
        handle = self.client.open(b"/".join(filter(None, path)))
        wanted = data[offset : offset + min(size, 255 * KIB)]
        if wanted:
            assert self.client.read(handle, offset, size) == wanted
        else:
            self.attempt({Status.EOF}, self.client.read, handle, offset, size)
        self.client.close(handle)

    @rule(
        path=st.tuples(DIRECTORIES, NAMES),
        flags=st.sampled_from([CREATE, OpenFlag.READ, OpenFlag.READ | OpenFlag.WRITE]),
        seconds=st.integers(1, 1000),
    )
    def with_a_slash(self, path: tuple[bytes, bytes], flags: int, seconds: int) -> None:
        """What ends with one is no file, whatever is done to it."""
        joined = b"/".join(filter(None, path)) + b"/"
        name = joined[:-1]
        is_known = name in self.directories() or self.client_writes_below(name)
        is_directory = is_known or self.is_ghost(name)
        refusal = {Status.FAILURE if is_directory else Status.NO_SUCH_FILE}
        of_open = {Status.FAILURE} if flags == CREATE else refusal
        self.attempt(of_open, self.client.open, joined, flags)
        self.attempt(refusal, self.client.remove, joined)
        self.attempt(set() if is_directory else {Status.NO_SUCH_FILE}, self.client.stat, joined)
        size = wire.ChangePath(Kind.SETSTAT, 0, joined, {"size": seconds})
        self.attempt(refusal, self.client.ask, size)

    @rule(
        old=st.tuples(DIRECTORIES, NAMES),
        new=st.tuples(DIRECTORIES, NAMES),
        hard=st.booleans(),
        slash=st.booleans(),
    )
    def rename_of_a_file_with_a_slash(
        self, old: tuple[bytes, bytes], new: tuple[bytes, bytes], hard: bool, slash: bool
    ) -> None:
        """At the end of the old name or of the new one: nothing happens."""
        source, target = b"/".join(filter(None, old)), b"/".join(filter(None, new))
        is_file = source in self.files or self.is_being_written(source)
        if not is_file or source in self.directories() or self.client_writes_below(source):
            return
        rename = self.client.posix_rename if hard else self.client.rename
        pair = (source + b"/", target) if slash else (source, target + b"/")
        self.attempt({Status.NO_SUCH_FILE, Status.FAILURE}, rename, *pair)

    @rule(
        old=st.tuples(DIRECTORIES, NAMES),
        new=st.tuples(DIRECTORIES, NAMES),
        hard=st.booleans(),
        slash=st.sampled_from([b"", b"/"]),
    )
    def rename(
        self, old: tuple[bytes, bytes], new: tuple[bytes, bytes], hard: bool, slash: bytes
    ) -> None:
        """:param slash: behind both names, if it is a directory."""
        source, target = b"/".join(filter(None, old)), b"/".join(filter(None, new))
        if target.startswith(source + b"/"):
            return
        if self.has_file_above(target):
            if not self.is_ghost(source) and source != target:
                rename = self.client.posix_rename if hard else self.client.rename
                self.attempt({Status.NO_SUCH_FILE}, rename, source, target)
            return
        if self.is_being_written(source) and source in self.directories():
            return  # as with a file that has others below it, on S3 it is no tree any more
        if source in self.files or self.is_being_written(source):
            self.rename_file(source, target, hard)
        elif source in self.directories() or self.client_writes_below(source):
            self.rename_directory(source, target, hard, slash)
        elif not self.is_ghost(source):
            self.attempt({Status.NO_SUCH_FILE}, self.client.rename, source, target)

    def rename_file(self, source: bytes, target: bytes, hard: bool) -> None:
        is_taken = target in self.directories() or self.is_ghost(target)
        is_taken |= self.client_writes_below(target)
        is_taken |= not hard and (target in self.files or self.is_being_written(target))
        expected = {Status.FAILURE} if is_taken and source != target else set()
        self.attempt(
            expected, self.client.posix_rename if hard else self.client.rename, source, target
        )
        if not expected and source != target:
            if source in self.files:
                self.files[target] = self.files.pop(source)
            self.uploads_moved(source, target, may_replace=hard or target in self.files)
            self.emptied(source)

    def rename_directory(self, source: bytes, target: bytes, hard: bool, slash: bytes) -> None:
        """Nothing but an empty directory may be replaced."""
        is_empty = target in self.directories() and not self.below(target)
        is_free = target not in self.files and target not in self.directories()
        is_free &= not self.is_ghost(target) and not self.is_being_written(target)
        is_writing = self.client_writes_below(target)
        if self.is_ghost(target) or (is_free and is_writing):
            return
        is_fine = source == target or is_free or (hard and is_empty and not is_writing)
        rename = self.client.posix_rename if hard else self.client.rename
        is_over_file = target in self.files or self.is_being_written(target)
        is_over_file &= hard or bool(slash)
        # A file in a directory's place is told as OpenSSH tells ENOTDIR.
        refusal = Status.NO_SUCH_FILE if is_over_file else Status.FAILURE
        self.attempt(set() if is_fine else {refusal}, rename, source + slash, target + slash)
        if not is_fine or source == target:
            return
        if source not in self.directories():
            self.made.add(target)  # it held nothing but uploads, and is to be there all the same
        for held in [path for path in self.files if path.startswith(source + b"/")]:
            self.files[target + held[len(source) :]] = self.files.pop(held)
        inside = {path for path in self.made if (path + b"/").startswith(source + b"/")}
        self.made -= inside
        self.made |= {target + path[len(source) :] for path in inside}
        self.uploads_moved(source, target, may_replace=True)
        self.emptied(source)
        self.ghosts = {path for path in self.ghosts if not (path + b"/").startswith(source + b"/")}

    def uploads_moved(self, source: bytes, target: bytes, *, may_replace: bool) -> None:
        """Files that are being written go along; those that were at the target go nowhere."""
        for writer in self.open_writers:
            path = writer.path
            if path == target:
                writer.path = None
            elif path is not None and (path + b"/").startswith(source + b"/"):
                writer.path = target + path[len(source) :]
                writer.is_exclusive &= not may_replace

    def is_being_written(self, path: bytes) -> bool:
        return any(writer.path == path for writer in self.open_writers)

    @rule(path=st.tuples(DIRECTORIES, NAMES))
    def remove(self, path: tuple[bytes, bytes]) -> None:
        joined = b"/".join(filter(None, path))
        is_there = joined in self.files or self.is_being_written(joined)
        expected = set() if is_there else {Status.NO_SUCH_FILE, Status.FAILURE}
        self.attempt(expected, self.client.remove, joined)
        if is_there:
            self.files.pop(joined, None)
            self.emptied(joined)
        for writer in self.open_writers:
            if writer.path == joined:
                writer.path = None

    @rule(directory=DIRECTORIES.filter(bool))
    def mkdir(self, directory: bytes) -> None:
        if self.has_file_above(directory):
            self.attempt({Status.NO_SUCH_FILE}, self.client.mkdir, directory)
            return
        exists = directory in self.directories() or directory in self.files
        exists = exists or self.client_writes_below(directory)
        expected = {Status.FAILURE} if exists or self.is_ghost(directory) else set()
        self.attempt(expected, self.client.mkdir, directory)
        if not expected:
            self.made.add(directory)

    @rule(directory=DIRECTORIES.filter(bool))
    def rmdir(self, directory: bytes) -> None:
        expected = set()
        if directory in self.directories():
            expected = {Status.FAILURE} if self.below(directory) else set()
        elif not self.is_ghost(directory):
            expected = {Status.NO_SUCH_FILE, Status.FAILURE}
        if expected == set() and self.client_writes_below(directory):
            return
        self.attempt(expected, self.client.rmdir, directory)
        if not expected:
            self.made.discard(directory)
            self.emptied(directory)
            self.ghosts.discard(directory)

    def client_writes_below(self, directory: bytes) -> bool:
        """Whether a file is open for writing under a name in `directory`, however deep."""
        prefix = directory + b"/"
        return any(writer.path and writer.path.startswith(prefix) for writer in self.open_writers)

    def being_written(self, directory: bytes) -> set[bytes]:
        """The names of files in `directory` itself that are open for writing."""
        return {
            name
            for head, _, name in (
                writer.path.rpartition(b"/") for writer in self.open_writers if writer.path
            )
            if head == directory
        }

    @rule(directory=DIRECTORIES)
    def listdir(self, directory: bytes) -> None:
        if directory in self.directories():
            listed = self.client.listdir(directory)
            assert len(listed) == len(set(listed))
            assert set(listed) == self.below(directory) | self.being_written(directory)
        elif not self.is_ghost(directory) and not self.client_writes_below(directory):
            self.attempt({Status.NO_SUCH_FILE, Status.FAILURE}, self.client.listdir, directory)

    @rule()
    def reconnect(self) -> None:
        """A session ends with uploads open: nothing of them remains."""
        self.client.drop()
        assert self.gateway.budget.held_bytes == 0
        assert not self.gateway.store.uploads
        self.client = self.log_in()
        self.session += 1
        self.open_writers.clear()
        self.ghosts.clear()

    @invariant()
    def the_bucket_is_the_model(self) -> None:
        stored = {
            name.key.removeprefix("home/alice/").encode(): held.data
            for name, held in self.gateway.store.objects.items()
        }
        files = {key: data for key, data in stored.items() if not key.endswith(b"/")}
        assert files == self.files
        assert {key[:-1] for key in stored if key.endswith(b"/")} == self.made

    def teardown(self) -> None:
        self.client.drop()
        self.gateway.assert_idle()


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=400, stateful_step_count=25, deadline=None)
