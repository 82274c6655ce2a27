"""sshfs, and programs that believe in a disk. Needs FUSE; skipped without."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.spawning import (
    CLIENT_SECONDS,
    NO_HOST_FILE,
    QUIET,
    Account,
    Bucket,
    Gateway,
    program,
    wait_until,
)
from tests.interop.trees import (
    LARGE,
    LONG_AGO,
    MIB,
    content,
    demand_copied,
    demand_stored,
    make_file,
    make_tree,
)
from tests.needs import needs

LARGE_BYTES = 20 * MIB + 7


@pytest.fixture
def mounted(gateway: Gateway, account: Account, tmp_path: Path, bucket: Bucket) -> Iterator[Path]:
    """A folder of alice's own, as a file system."""
    sshfs = program("sshfs")
    folder = tmp_path / f"on-{tmp_path.name}"
    folder.mkdir()
    bucket.put(f"alice/{folder.name}/", b"")
    key = ["-o", f"IdentityFile={account.key_file}", "-o", "IdentitiesOnly=yes"]
    command = [sshfs, "-f", "-p", str(gateway.port), *QUIET, *NO_HOST_FILE, *key]
    mounting = subprocess.Popen(
        [*command, f"alice@127.0.0.1:/{folder.name}", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_until(lambda: folder.is_mount() or mounting.poll() is not None)
    if mounting.poll() is not None:
        said, _ = mounting.communicate()
        bucket.remove(f"alice/{folder.name}/")
        if "fuse" in said and "permitted" in said:
            pytest.skip(f"no FUSE here: {said.strip()}")
        pytest.fail(said)
    yield folder
    with mounting:
        try:
            subprocess.run(["fusermount3", "-u", str(folder)], check=True)
            mounting.communicate(timeout=CLIENT_SECONDS)
        finally:
            mounting.kill()


def keys(bucket: Bucket, mounted: Path) -> list[str]:
    """What is stored below the mounted folder."""
    prefix = f"alice/{mounted.name}/"
    return [key.removeprefix(prefix) for key in bucket.keys(prefix)]


def settled(bucket: Bucket, mounted: Path) -> None:
    """Wait until nothing is being stored: sshfs does not wait for the answer to CLOSE."""
    for path in mounted.rglob("*"):
        path.stat()  # which the gateway answers when the file is published
    wait_until(lambda: not bucket.uploads(f"alice/{mounted.name}/"))


def test_moving_files_and_folders(mounted: Path, bucket: Bucket) -> None:
    (mounted / "trip" / "day").mkdir(parents=True)
    (mounted / "trip" / "one").write_bytes(b"one")
    (mounted / "trip" / "day" / "two").write_bytes(b"two" * 100_000)
    subprocess.run(["mv", "trip", "journey"], cwd=mounted, check=True)
    assert sorted(path.name for path in mounted.rglob("*")) == ["day", "journey", "one", "two"]
    assert (mounted / "journey" / "day" / "two").read_bytes() == b"two" * 100_000
    subprocess.run(["mv", "journey/one", "journey/day/two"], cwd=mounted, check=True)
    assert keys(bucket, mounted) == ["", "journey/", "journey/day/", "journey/day/two"]
    assert bucket.body(f"alice/{mounted.name}/journey/day/two") == b"one"


def test_a_file_is_saved_as_editors_do(mounted: Path, bucket: Bucket) -> None:
    """Written beside the old one, closed, and renamed over it at once."""
    target = mounted / "text"
    for version in range(5):
        beside = mounted / ".text.new"
        beside.write_bytes(b"version %d" % version)
        beside.rename(target)
        assert target.read_bytes() == b"version %d" % version
    wait_until(lambda: keys(bucket, mounted) == ["", "text"])


def test_renamed_when_parts_of_it_are_sent(mounted: Path, bucket: Bucket) -> None:
    """A log is rotated while it is written: its upload is bound to its first name."""
    begun = content(LARGE_BYTES)
    with (mounted / "log").open("wb") as old:
        old.write(begun)
        os.fsync(old)
        (mounted / "log").rename(mounted / "log.1")
        assert [path.name for path in mounted.iterdir()] == ["log.1"]
        (mounted / "log").write_bytes(b"the next one")
        old.write(b"the last line")
    wait_until(lambda: keys(bucket, mounted) == ["", "log", "log.1"])
    # Until then the first name shows the first file, and nothing for a moment.
    wait_until(lambda: bucket.body_if_any(f"alice/{mounted.name}/log") == b"the next one")
    assert bucket.body(f"alice/{mounted.name}/log.1") == begun + b"the last line"


def test_renamed_while_it_is_edited(mounted: Path, bucket: Bucket) -> None:
    data = bytearray(content(LARGE_BYTES))
    (mounted / "old").write_bytes(data)
    with (mounted / "old").open("r+b") as edited:
        edited.seek(5)
        edited.write(b"EDIT")
        edited.flush()
        (mounted / "old").rename(mounted / "new")
        edited.seek(len(data) - 4)
        assert edited.read() == bytes(data[-4:])
        edited.write(b"more")
    data[5:9] = b"EDIT"
    assert (mounted / "new").read_bytes() == bytes(data) + b"more"
    wait_until(lambda: keys(bucket, mounted) == ["", "new"])


@pytest.mark.parametrize("is_new", [True, False])
def test_unlinked_while_it_is_written_and_made_anew(
    mounted: Path, bucket: Bucket, is_new: bool
) -> None:
    """libfuse renames it to .fuse_hidden…, and removes that once it is closed."""
    data = content(LARGE_BYTES)
    if not is_new:
        (mounted / "f").write_bytes(data)
    with (mounted / "f").open("wb" if is_new else "r+b") as unlinked:
        unlinked.write(data if is_new else b"edit")
        os.fsync(unlinked)
        (mounted / "f").unlink()
        (mounted / "f").write_bytes(b"another one")
        unlinked.write(b"more")
    wait_until(lambda: keys(bucket, mounted) == ["", "f"])
    assert (mounted / "f").read_bytes() == b"another one"
    settled(bucket, mounted)


def test_renamed_and_removed_while_it_is_written(mounted: Path, bucket: Bucket) -> None:
    with (mounted / "one").open("wb") as renamed, (mounted / "two").open("wb") as removed:
        renamed.write(b"content")
        removed.write(b"content")
        renamed.flush()
        (mounted / "one").rename(mounted / "three")
        (mounted / "two").unlink()
    wait_until(lambda: "three" in keys(bucket, mounted))
    assert (mounted / "three").read_bytes() == b"content"
    assert not (mounted / "one").exists()
    assert "two" not in keys(bucket, mounted)


APPENDING = 'for i in $(seq 100); do echo "line $i" >> "$1" || exit 1; done'


@pytest.mark.parametrize("attempt", range(2))
def test_no_appended_line_is_lost(mounted: Path, bucket: Bucket, attempt: int) -> None:
    """sshfs sends the OPEN of a file before the CLOSE that its user has made before."""
    path = mounted / f"log {attempt}"
    subprocess.run(["sh", "-c", APPENDING, "sh", str(path)], check=True)
    assert path.read_text() == "".join(f"line {each}\n" for each in range(1, 101))
    settled(bucket, mounted)
    stored = bucket.body(f"alice/{mounted.name}/{path.name}")
    assert stored.decode() == path.read_text()


def test_files_are_made_and_changed_in_place(mounted: Path, bucket: Bucket) -> None:
    path = mounted / "file"
    model = bytearray(make_file(path, 9 * MIB))
    with path.open("r+b") as file:
        for offset in (10, 4 * MIB, 9 * MIB - 3):
            file.seek(offset)
            file.write(b"edited")
            model[offset : offset + 6] = b"edited"
    with path.open("ab") as file:
        file.write(b"appended")
    model += b"appended"
    # The kernel may open a file anew before it has let go of it: that reads what is published.
    wait_until(lambda: path.read_bytes() == model)
    for size_bytes in (6 * MIB, 100, 5000):
        os.truncate(path, size_bytes)
        model = model[:size_bytes] + bytes(max(0, size_bytes - len(model)))
        assert path.stat().st_size == size_bytes
        wait_until(lambda expected=bytes(model): path.read_bytes() == expected)
    path.write_bytes(b"a new one")
    wait_until(lambda: path.read_bytes() == b"a new one")
    settled(bucket, mounted)
    assert bucket.body(f"alice/{mounted.name}/file") == b"a new one"


def test_trees_are_copied_with_their_times(mounted: Path, bucket: Bucket, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree")
    subprocess.run(["cp", "-a", str(tree), "copied"], cwd=mounted, check=True)
    demand_copied(tree, mounted / "copied")
    settled(bucket, mounted)
    demand_stored(bucket, f"alice/{mounted.name}/copied", tree)
    subprocess.run(["cp", "-a", "copied", str(tmp_path / "back")], cwd=mounted, check=True)
    demand_copied(tree, tmp_path / "back")
    subprocess.run(["rm", "-r", "copied"], cwd=mounted, check=True)
    settled(bucket, mounted)
    assert keys(bucket, mounted) == [""]


@needs("rsync")
@pytest.mark.parametrize("way", [["--inplace", "--no-whole-file"], []])
def test_rsync_sends_what_has_changed(
    mounted: Path, bucket: Bucket, tmp_path: Path, way: list[str]
) -> None:
    tree = make_tree(tmp_path / "tree")
    command = [program("rsync"), "-a", "--itemize-changes", *way, f"{tree}/", "rsynced/"]

    def rsync() -> str:
        done = subprocess.run(command, cwd=mounted, check=True, capture_output=True, text=True)
        return done.stdout

    rsync()
    demand_copied(tree, mounted / "rsynced")
    with (tree / LARGE).open("r+b") as file:
        file.seek(MIB)
        file.write(b"changed")
    os.utime(tree / LARGE, (LONG_AGO + 600, LONG_AGO + 600))
    make_file(tree / "small.txt", 999, LONG_AGO + 500)
    assert rsync().count(">f") == 2
    demand_copied(tree, mounted / "rsynced")
    settled(bucket, mounted)
    demand_stored(bucket, f"alice/{mounted.name}/rsynced", tree)
    assert ">f" not in rsync()


@needs("git")
def test_git_works_in_it(mounted: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    names = ["user.name=a", "user.email=a@b", "gc.auto=0", f"init.templateDir={tmp_path}/none"]
    git = [program("git"), *(word for name in names for word in ("-c", name))]

    def run(folder: Path, *arguments: str) -> str:
        done = subprocess.run(
            [*git, "-C", str(folder), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=CLIENT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    origin = tmp_path / "origin"
    data = make_file(origin / "two words/ünïcode", 200_000)
    make_file(origin / "small", 100)
    run(origin, "init", "-q", "-b", "main")
    run(origin, "add", ".")
    run(origin, "commit", "-q", "-m", "first")
    clone = mounted / "clone"
    run(mounted, "clone", "-q", "--no-hardlinks", str(origin), "clone")
    assert run(clone, "status", "--porcelain") == ""
    (clone / "small").write_text("changed")
    run(clone, "mv", "two words/ünïcode", "moved")
    run(clone, "commit", "-q", "-a", "-m", "second")
    assert run(clone, "status", "--porcelain") == ""
    run(clone, "fsck", "--full", "--strict")
    run(origin, "pull", "-q", "--ff-only", str(clone), "main")
    assert (origin / "small").read_text() == "changed"
    assert (origin / "moved").read_bytes() == data
