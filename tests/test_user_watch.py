"""Where a change of users shows, and that inotify tells of it: also of files that are replaced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sftpgw.user_reload.directory_watch import DirectoryWatch, open_inotify
from sftpgw.user_reload.watched_places import MAX_DIRECTORIES, places_of, tell_all_changes


class Reactor:
    """As much of a reactor as a reader needs. The test lets it read."""

    def __init__(self) -> None:
        self.readers: list[Any] = []
        self.later: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def removeWriter(self, writer: Any) -> None: ...

    def callLater(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        self.later.append((call, args))

    def turn(self) -> None:
        for reader in list(self.readers):
            reader.doRead()
        later, self.later = self.later, []
        for call, args in later:
            call(*args)


class Watched:
    """Files that are watched."""

    def __init__(self, *paths: Path, folder: Path | None = None) -> None:
        self.reactor = Reactor()
        self.paths, self.folder = paths, folder
        self.events = 0
        self.watch = DirectoryWatch(self.reactor, self._count)
        self.follow()

    def _count(self) -> None:
        self.events += 1

    def follow(self) -> None:
        assert self.watch.follow(places_of(self.paths, self.folder))

    def tells(self, change: Callable[[], object]) -> bool:
        """Whether a change is told."""
        self.reactor.turn()
        self.events = 0
        change()
        self.reactor.turn()
        return self.events > 0


@pytest.fixture(autouse=True)
def _has_inotify() -> None:
    try:
        open_inotify(Reactor()).loseConnection()
    except Exception as problem:
        pytest.skip(f"no inotify here: {problem}")


def test_a_file_that_is_written_or_replaced_is_told(tmp_path: Path) -> None:
    file = tmp_path / "users.ini"
    file.write_text("old")
    watched = Watched(file)
    assert watched.tells(lambda: file.write_text("new"))
    (tmp_path / "users.ini~").write_text("other")
    assert watched.tells(lambda: os.replace(tmp_path / "users.ini~", file))
    assert watched.tells(lambda: file.write_text("newer")), "the new one is watched, too"
    assert watched.tells(file.unlink)
    assert watched.tells(lambda: file.write_text("again"))
    assert watched.tells(lambda: file.chmod(0o600))
    assert not watched.tells(lambda: (tmp_path / "other.log").write_text("line"))
    assert not watched.tells(file.read_text)


def test_a_file_that_is_open_for_writing_is_told_once_it_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "users.ini"
    file.write_text("old")
    watched = Watched(file)
    with file.open("a") as opened:
        assert not watched.tells(lambda: (opened.write("half"), opened.flush()))
        assert watched.tells(opened.close)


def test_any_name_counts_in_a_directory_of_users(tmp_path: Path) -> None:
    watched = Watched(folder=tmp_path)
    assert watched.tells(lambda: (tmp_path / "new.ini").write_text("[new]"))
    assert watched.tells((tmp_path / "new.ini").unlink)


def volume(folder: Path, name: str, text: str) -> None:
    """A volume of Kubernetes, or what it is changed to: all files change in one rename."""
    (folder / name).mkdir(parents=True)
    (folder / name / "users.ini").write_text(text)
    (folder / "..data_tmp").symlink_to(name)
    os.replace(folder / "..data_tmp", folder / "..data")


@pytest.mark.parametrize("is_linked_from_elsewhere", [False, True])
def test_the_exchange_of_a_link_on_the_way_is_told(
    tmp_path: Path, is_linked_from_elsewhere: bool
) -> None:
    mounted = tmp_path / "volume"
    volume(mounted, "..first", "old")
    file = mounted / "users.ini"
    file.symlink_to("..data/users.ini")
    if is_linked_from_elsewhere:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc" / "users.ini").symlink_to("../volume/users.ini")
        file = tmp_path / "etc" / "users.ini"
    watched = Watched(file)
    assert watched.tells(lambda: volume(mounted, "..second", "new"))
    assert file.read_text() == "new"
    watched.follow()
    assert watched.tells(lambda: shutil.rmtree(mounted / "..first")) is False
    assert watched.tells(lambda: volume(mounted, "..third", "newer"))
    shutil.rmtree(mounted / "..second")
    watched.reactor.turn()
    watched.follow()
    assert watched.tells(lambda: volume(mounted, "..fourth", "newest"))


def test_a_directory_that_goes_and_comes_again_is_watched_again(tmp_path: Path) -> None:
    folder = tmp_path / "users.d"
    folder.mkdir()
    watched = Watched(folder=folder)
    assert watched.tells(lambda: shutil.rmtree(folder))
    folder.mkdir()
    watched.reactor.turn()
    watched.follow()
    assert len(watched.reactor.readers) == 1
    assert watched.tells(lambda: (folder / "new.ini").write_text("[new]"))
    assert watched.tells(lambda: folder.rename(tmp_path / "old"))
    folder.mkdir()
    watched.follow()
    assert watched.tells(lambda: (folder / "new.ini").write_text("[new]"))


def test_a_descriptor_is_closed_once_however_many_directories_go(tmp_path: Path) -> None:
    files = []
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        files.append(tmp_path / name / "users.ini")
    watched = Watched(*files)
    (reader,) = watched.reactor.readers
    watched.reactor.turn()
    number = reader.fileno()
    for file in files:
        shutil.rmtree(file.parent)
    watched.reactor.turn()
    taken = os.open("/dev/null", os.O_RDONLY)
    assert taken == number, "the number is free, and another file has it"
    watched.watch.stop()
    os.fstat(taken)
    os.close(taken)


def test_where_it_cannot_be_watched_it_says_so(tmp_path: Path) -> None:
    def refused(_: Any) -> Any:
        raise OSError("too many open files")

    places = places_of([tmp_path / "users.ini"], None)
    assert not DirectoryWatch(Reactor(), lambda: None, refused).follow(places)
    watch = DirectoryWatch(Reactor(), lambda: None)
    assert not watch.follow({str(tmp_path / "nowhere"): None})
    assert not watch.follow(dict.fromkeys(map(str, range(MAX_DIRECTORIES + 1))))
    assert watch.follow(places)


@pytest.mark.parametrize(
    ("kind", "is_local"),
    [("ext4", True), ("overlay", True), ("nfs4", False), ("fuse.sshfs", False), ("cifs", False)],
)
def test_network_file_systems_are_polled(tmp_path: Path, kind: str, is_local: bool) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda1 / ext4 rw 0 0\n"
        f"server:/x /srv/with\\040blank {kind} rw 0 0\n"
        "tmpfs /srv/with\\040blank/inside tmpfs rw 0 0\n"
    )
    assert tell_all_changes({"/etc/sftpgw": None}, mounts)
    assert tell_all_changes({"/etc": None, "/srv/with blank/users": None}, mounts) is is_local
    assert tell_all_changes({"/srv/with blank/inside/x": None}, mounts)
    assert not tell_all_changes({"/etc": None}, tmp_path / "nowhere")


def test_links_that_lead_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    places = places_of([tmp_path / "a" / "users.ini"], None)
    assert {"a", "b"} <= set(places[str(tmp_path)] or ())
