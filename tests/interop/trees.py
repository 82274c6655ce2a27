"""Trees of files as partners send them, and what must be stored of them.

Knows: names, bytes and times, on a disk and in a bucket.
Must not know: which client copies them.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

from tests.interop.spawning import Bucket

MIB = 1024 * 1024
LONG_AGO = 1_500_000_000
"""In seconds since the epoch: no file of these trees is as young as its object."""

LARGE = "deep/er/large.bin"
SIZES = {
    "empty": 0,
    "small.txt": 1000,
    "two words/it's ünïcode.dat": 300_000,
    "two words/other.txt": 77,
    LARGE: 8 * MIB + 1,
}
"""The large one takes two parts."""


def content(size_bytes: int, seed: object = "") -> bytes:
    """Bytes that are the same each time, and others for another seed."""
    return random.Random(f"{size_bytes} {seed}").randbytes(size_bytes)


def make_file(path: Path, size_bytes: int, mtime: int = LONG_AGO) -> bytes:
    """A file of long ago; what is in it."""
    data = content(size_bytes, path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (mtime, mtime))
    return data


def make_tree(folder: Path) -> Path:
    """A tree with a file of several parts, each file with a time of its own."""
    for number, (name, size_bytes) in enumerate(SIZES.items()):
        make_file(folder / name, size_bytes, LONG_AGO + number)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """The bytes of all files below, by their paths."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in _files(folder)}


def times_of(folder: Path) -> dict[str, int]:
    """The times of all files below, in whole seconds, by their paths."""
    return {str(path.relative_to(folder)): int(path.stat().st_mtime) for path in _files(folder)}


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def demand_copied(source: Path, target: Path, *, times: bool = True) -> None:
    """Both folders have the same files, with the same bytes and times."""
    assert files_of(target) == files_of(source)
    if times:
        assert times_of(target) == times_of(source)


def demand_stored(bucket: Bucket, key: str, source: Path, *, times: bool = True) -> None:
    """The files of `source`, and no others, are stored below `key`, and no upload is open."""
    keys = [found for found in bucket.keys(f"{key}/") if not found.endswith("/")]
    assert {found.removeprefix(f"{key}/"): bucket.body(found) for found in keys} == files_of(source)
    if times:
        stored = {found.removeprefix(f"{key}/"): stored_time(bucket, found) for found in keys}
        assert stored == times_of(source)
    assert bucket.uploads(f"{key}/") == []


def stored_time(bucket: Bucket, key: str) -> int | None:
    """The time that an object carries, in whole seconds."""
    mtime = bucket.metadata(key).get("mtime")
    return None if mtime is None else int(float(mtime))
