"""Random work on one file and on one tree, with a model of what must come of it.

Knows: what a file and a folder are to a program that believes in a disk.
Must not know: how they are reached; `Files` is a mount, or an SFTP session.

As file system exercisers do it: one file is written, read, cut, closed and opened at random
places, and compared with a bytearray; one tree is built, moved and torn down, and compared with
the same steps on a local disk. All that is random comes from the seed, and every failure tells the
steps that led to it.
"""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import paramiko

NAMES = ("a", "b", "c d", "é", "-x", "a.b", "*")
"""Names that shells, globs and key orders stumble over."""

PAGE_BYTES = 4096
GONE = "gone"
TAKEN = "taken"


class OpenFile(Protocol):
    """A handle for reading and writing."""

    def read_at(self, offset: int, length: int) -> bytes: ...

    def write_at(self, offset: int, data: bytes) -> None: ...

    def truncate(self, size_bytes: int) -> None: ...

    def size_bytes(self) -> int: ...

    def close(self) -> None: ...


class Files(Protocol):
    """What can be done with a tree; paths are relative. Failures are OSErrors."""

    def open(self, path: str) -> OpenFile:
        """An existing file, for reading and writing."""

    def write(self, path: str, data: bytes) -> None: ...

    def read(self, path: str) -> bytes: ...

    def remove(self, path: str) -> None: ...

    def make_directory(self, path: str) -> None: ...

    def remove_directory(self, path: str) -> None: ...

    def rename(self, old: str, new: str) -> None:
        """As POSIX has it: what can be replaced is replaced."""

    def entries(self, path: str) -> set[str]:
        """Names, those of directories with a slash."""

    def size_of(self, path: str) -> int:
        """Of a file; -1 for a directory."""


# On a disk, or what is mounted like one.


class LocalFile:
    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR)

    def read_at(self, offset: int, length: int) -> bytes:
        return os.pread(self._descriptor, length, offset)

    def write_at(self, offset: int, data: bytes) -> None:
        while data:
            count = os.pwrite(self._descriptor, data, offset)
            offset, data = offset + count, data[count:]

    def truncate(self, size_bytes: int) -> None:
        os.ftruncate(self._descriptor, size_bytes)

    def size_bytes(self) -> int:
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        os.close(self._descriptor)


class LocalFiles:
    """Implements `Files` below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, path: str) -> LocalFile:
        return LocalFile(self._folder / path)

    def write(self, path: str, data: bytes) -> None:
        (self._folder / path).write_bytes(data)

    def read(self, path: str) -> bytes:
        return (self._folder / path).read_bytes()

    def remove(self, path: str) -> None:
        (self._folder / path).unlink()

    def make_directory(self, path: str) -> None:
        (self._folder / path).mkdir()

    def remove_directory(self, path: str) -> None:
        (self._folder / path).rmdir()

    def rename(self, old: str, new: str) -> None:
        (self._folder / old).rename(self._folder / new)

    def entries(self, path: str) -> set[str]:
        with os.scandir(self._folder / path) as found:
            return {entry.name + "/" * entry.is_dir() for entry in found}

    def size_of(self, path: str) -> int:
        found = (self._folder / path).stat()
        return -1 if stat.S_ISDIR(found.st_mode) else found.st_size


# By SFTP.


class SftpFile:
    def __init__(self, file: paramiko.SFTPFile) -> None:
        self._file = file

    def read_at(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)

    def write_at(self, offset: int, data: bytes) -> None:
        self._file.seek(offset)
        self._file.write(data)
        self._file.flush()

    def truncate(self, size_bytes: int) -> None:
        self._file.truncate(size_bytes)

    def size_bytes(self) -> int:
        return self._file.stat().st_size or 0

    def close(self) -> None:
        self._file.close()


class SftpFiles:
    """Implements `Files` below a folder of an SFTP session."""

    def __init__(self, client: paramiko.SFTPClient, folder: str) -> None:
        self._client = client
        self._folder = folder

    def _at(self, path: str) -> str:
        return f"{self._folder}/{path}"

    def open(self, path: str) -> SftpFile:
        return SftpFile(self._client.open(self._at(path), "r+"))

    def write(self, path: str, data: bytes) -> None:
        with self._client.open(self._at(path), "w") as file:
            file.write(data)

    def read(self, path: str) -> bytes:
        with self._client.open(self._at(path), "r") as file:
            return file.read()

    def remove(self, path: str) -> None:
        self._client.remove(self._at(path))

    def make_directory(self, path: str) -> None:
        self._client.mkdir(self._at(path))

    def remove_directory(self, path: str) -> None:
        self._client.rmdir(self._at(path))

    def rename(self, old: str, new: str) -> None:
        self._client.posix_rename(self._at(old), self._at(new))

    def entries(self, path: str) -> set[str]:
        found = self._client.listdir_attr(self._at(path))
        return {each.filename + "/" * stat.S_ISDIR(each.st_mode or 0) for each in found}

    def size_of(self, path: str) -> int:
        found = self._client.stat(self._at(path))
        return -1 if stat.S_ISDIR(found.st_mode or 0) else found.st_size or 0


class FileExerciser:
    """One file, which is compared with a bytearray at every step.

    :param largest_bytes: no step makes the file longer.
    """

    def __init__(self, files: Files, path: str, *, seed: int, largest_bytes: int) -> None:
        self._files = files
        self._path = path
        self._random = random.Random(seed)
        self._largest_bytes = largest_bytes
        self._expected = bytearray()
        self.steps: list[str] = [f"seed {seed}"]
        files.write(path, b"")
        self._file = files.open(path)

    def run(self, count: int) -> None:
        """Take so many steps, and compare the whole file at the end."""
        steps: list[Callable[[], None]] = [
            *[self._write] * 5,
            *[self._read] * 5,
            *[self._cut] * 2,
            self._lengthen,
            self._look,
            self._reopen,
        ]
        try:
            for _ in range(count):
                self._random.choice(steps)()
            self._reopen()
        except Exception as error:
            raise AssertionError("after " + "; ".join(self.steps[-40:])) from error
        finally:
            self._file.close()

    def _extent(self, within_bytes: int) -> tuple[int, int]:
        """A place and a length, either often at the edge of a page or of the file."""
        offset = self._random.randrange(within_bytes + 1)
        if self._random.random() < 0.3:
            offset -= offset % PAGE_BYTES
        longest = min(within_bytes - offset, self._random.choice([1, 100, 70_000, within_bytes]))
        return offset, self._random.randint(0, longest)

    def _write(self) -> None:
        offset, length = self._extent(self._largest_bytes)
        data = self._random.randbytes(length)
        self.steps.append(f"write {offset}+{length}")
        self._file.write_at(offset, data)
        if length:
            self._pad(offset)
            self._expected[offset : offset + length] = data

    def _read(self) -> None:
        offset, length = self._extent(max(len(self._expected), 1))
        self.steps.append(f"read {offset}+{length}")
        self._compare(self._file.read_at(offset, length), offset, length)

    def _cut(self) -> None:
        self._resize(self._random.randint(0, len(self._expected)))

    def _lengthen(self) -> None:
        self._resize(self._random.randint(len(self._expected), self._largest_bytes))

    def _resize(self, size_bytes: int) -> None:
        self.steps.append(f"truncate {size_bytes}")
        self._file.truncate(size_bytes)
        del self._expected[size_bytes:]
        self._pad(size_bytes)

    def _pad(self, size_bytes: int) -> None:
        self._expected.extend(bytes(max(0, size_bytes - len(self._expected))))

    def _look(self) -> None:
        self.steps.append("stat")
        assert self._file.size_bytes() == len(self._expected)

    def _reopen(self) -> None:
        self.steps.append("close, open")
        self._file.close()
        # Read first: an OPEN for reading waits three seconds for a handle that may write.
        self._compare(self._files.read(self._path), 0, self._largest_bytes)
        self._file = self._files.open(self._path)

    def _compare(self, found: bytes, offset: int, length: int) -> None:
        expected = bytes(self._expected[offset : offset + length])
        if found != expected:
            both = zip(found, expected, strict=False)
            shorter = min(len(found), len(expected))
            differs = next((at for at, (a, b) in enumerate(both) if a != b), shorter)
            raise AssertionError(
                f"{len(found)} bytes instead of {len(expected)}, other ones from {offset + differs}"
            )


class TreeExerciser:
    """A tree, and beside it a local one on which every step is taken first.

    :param tried: what is exercised.
    :param model: a folder of a local disk.
    """

    def __init__(self, tried: Files, model: Files, *, seed: int) -> None:
        self._tried = tried
        self._model = model
        self._random = random.Random(seed)
        self.steps: list[str] = [f"seed {seed}"]

    def run(self, count: int) -> None:
        """Take so many steps, and compare all that is there every now and then."""
        try:
            for number in range(count):
                self._step()
                if number % 10 == 9:
                    self._compare("")
        except Exception as error:
            raise AssertionError("after " + "; ".join(self.steps[-40:])) from error

    def _step(self) -> None:
        path, other = self._path(), self._path()
        data = self._random.randbytes(self._random.choice([0, 1, 5000]))
        name, step = self._random.choice(
            [
                (f"write {path}", lambda files: files.write(path, data)),
                (f"write {path}", lambda files: files.write(path, data)),
                (f"remove {path}", lambda files: files.remove(path)),
                (f"mkdir {path}", lambda files: files.make_directory(path)),
                (f"mkdir {path}", lambda files: files.make_directory(path)),
                (f"rmdir {path}", lambda files: files.remove_directory(path)),
                (f"rename {path} to {other}", lambda files: files.rename(path, other)),
                (f"rename {path} to {other}", lambda files: files.rename(path, other)),
                (f"read {path}", lambda files: files.read(path)),
                (f"stat {path}", lambda files: files.size_of(path)),
                (f"list {path}", lambda files: files.entries(path)),
            ]
        )
        if not self._is_asked_of_stores(path, other):
            return
        self.steps.append(name)
        expected, found = outcome_of(step, self._model), outcome_of(step, self._tried)
        assert found == expected, f"{name}: {found!r}, on a disk {expected!r}"

    def _is_asked_of_stores(self, path: str, other: str) -> bool:
        """Without parents there is nothing on a disk; on S3 a file needs none."""
        return all(
            outcome_of(lambda files, each=each: files.entries(os.path.dirname(each)), self._model)
            not in (GONE, TAKEN)
            for each in (path, other)
        )

    def _path(self) -> str:
        depth = self._random.choice([1, 1, 2, 2, 3])
        return "/".join(self._random.choice(NAMES) for _ in range(depth))

    def _compare(self, path: str) -> None:
        expected, found = self._model.entries(path), self._tried.entries(path)
        assert found == expected, f"in {path!r}: {found ^ expected}"
        for name in sorted(expected):
            below = f"{path}/{name}".lstrip("/").rstrip("/")
            if name.endswith("/"):
                self._compare(below)
            else:
                assert self._tried.read(below) == self._model.read(below), below


def outcome_of(step: Callable[[Files], object], files: Files) -> object:
    """What a step returns; or that nothing is there, or that something is in its way."""
    try:
        return step(files)
    except FileNotFoundError:
        return GONE
    except OSError as error:
        # SFTP has one code for all of these, and ENOTDIR's is that of ENOENT.
        return GONE if error.errno == errno.ENOTDIR else TAKEN
