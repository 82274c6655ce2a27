"""Everything that changes files, cut off at every request to the store and every message.

Client, gateway or connection may die at any time. At each moment each key holds its whole content
of before or of afterwards, and a file that is being renamed exists under one of its names. A
confirmed file is stored. A later process removes everything else.

A world that goes wrong is built again by hand: ``demand_whole(JOB, Death(Fate.…, n))``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import pytest

from sftpgw.files import tree
from sftpgw.files.copies.copier import Copier
from sftpgw.files.renames import directory_rename
from sftpgw.files.uploads import opener
from sftpgw.files.uploads.plan.boundaries import BaseObject
from sftpgw.files.uploads.plan.part_sizes import Ladder
from sftpgw.files.uploads.plan.staging_layout import StagingLayout
from sftpgw.model.store import ObjectName
from sftpgw.testing.sftp_sessions import CREATE, SftpClient
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag
from tests.files.worlds import HOME, PART_BYTES, Death, Fate, World
from tests.scp.talking import Talk

OVER = OpenFlag.WRITE | OpenFlag.CREAT
STEP_BYTES = 10
SECONDS = 1_600_000_000


def content(letter: str, size_bytes: int) -> bytes:
    """Bytes that are those of no other file, and of no other place in this one."""
    return b"".join(b"%s%05d" % (letter.encode(), at) for at in range(size_bytes // 6 + 1))[
        :size_bytes
    ]


OLD, NEW = content("o", 90), content("n", 75)
SMALL, TINY = content("s", 12), content("t", 7)
LARGE = content("l", 9 * PART_BYTES + 5)
TREE = {"d/": b"", "d/a": b"a", "d/e/b": OLD, "d/e/c": b"c", "d/f": SMALL}
MOVED = {"n/" + key[2:]: data for key, data in TREE.items()}


@dataclass(frozen=True)
class Job:
    """Something that a client does.

    :param changes: the files that are there, or not, once it is done.
    :param moves: which key each old key becomes.
    """

    run: Callable[[SftpClient], None]
    before: Mapping[str, bytes] = field(default_factory=dict)
    changes: Mapping[str, bytes | None] = field(default_factory=dict)
    moves: Mapping[str, str] = field(default_factory=dict)

    @property
    def after(self) -> dict[str, bytes]:
        both = {**self.before, **self.changes}
        return {key: data for key, data in both.items() if data is not None}

    def allowed(self, key: str) -> set[bytes | None]:
        return {self.before.get(key), self.after.get(key)}


# What clients do.


def write(client: SftpClient, handle: bytes, offset: int, data: bytes) -> None:
    for at in range(0, len(data), STEP_BYTES):
        client.write(handle, offset + at, data[at : at + STEP_BYTES])


def put(data: bytes, flags: int = CREATE) -> Callable[[SftpClient], None]:
    return lambda client: client.put(b"/f", data, flags=flags, step_bytes=STEP_BYTES)


def put_with_times(client: SftpClient) -> None:
    """As ``sftp -p`` does: with OPEN, and before CLOSE, when parts are sent already."""
    handle = client.open(b"/f", CREATE, atime=SECONDS, mtime=SECONDS)
    write(client, handle, 0, NEW)
    set_on(client, handle, atime=SECONDS + 9, mtime=SECONDS + 9)
    client.close(handle)


def put_ahead(client: SftpClient) -> None:
    """As most clients do: nothing is waited for before the end."""
    handle = client.open(b"/f", CREATE)
    for at in range(0, len(LARGE), STEP_BYTES):
        client.send(wire.Write(0, handle, at, (LARGE[at : at + STEP_BYTES],)))
    client.close(handle)


def scp_over(data: bytes) -> Callable[[SftpClient], None]:
    """As OpenSSH's ``scp -p`` does."""

    def run(client: SftpClient) -> None:
        handle = client.open(b"/f", OVER)
        write(client, handle, 0, data)
        set_on(client, handle, size=len(data))
        set_on(client, handle, atime=SECONDS, mtime=SECONDS)
        client.close(handle)

    return run


def set_on(client: SftpClient, handle: bytes, **attributes: int) -> None:
    client.ask(wire.ChangeHandle(0, handle, attributes))


def set_on_path(path: bytes, **attributes: int) -> Callable[[SftpClient], None]:
    return lambda client: client.ask(wire.ChangePath(Kind.SETSTAT, 0, path, attributes)) and None


def resume(client: SftpClient) -> None:
    handle = client.open(b"/f", OVER)
    write(client, handle, len(OLD), NEW)
    client.close(handle)


def edit_here_and_there(client: SftpClient) -> None:
    handle = client.open(b"/f", OpenFlag.READ | OVER)
    for at in (70, 2, 130):
        client.write(handle, at, TINY)
    client.read(handle, 60, 20)
    client.close(handle)


def overlay(data: bytes, *offsets: int) -> bytes:
    changed = bytearray(data)
    for at in offsets:
        changed[at : at + len(TINY)] = TINY
    return bytes(changed)


def rename(old: bytes, new: bytes) -> Callable[[SftpClient], None]:
    return lambda client: client.rename(old, new)


def replace(old: bytes, new: bytes) -> Callable[[SftpClient], None]:
    return lambda client: client.posix_rename(old, new)


def while_open(
    flags: int, steps: list[tuple[int, bytes]], meanwhile: Callable[[SftpClient], None]
) -> Callable[[SftpClient], None]:
    """WRITEs to /f, between the first and the others something else."""

    def run(client: SftpClient) -> None:
        handle = client.open(b"/f", flags)
        write(client, handle, *steps[0])
        meanwhile(client)
        for offset, data in steps[1:]:
            write(client, handle, offset, data)
        client.close(handle)

    return run


def put_beside_and_replace(client: SftpClient) -> None:
    """As WinSCP and rsync-like tools do."""
    client.put(b"/f.part", NEW, step_bytes=STEP_BYTES)
    client.posix_rename(b"/f.part", b"/f")


def over(old: bytes, run: Callable[[SftpClient], None], new: bytes | None) -> Job:
    return Job(run, {"f": old, "beside": SMALL}, {"f": new})


JOBS = {
    "a small new file": Job(put(SMALL), {}, {"f": SMALL}),
    "a small file over one": over(OLD, put(SMALL), SMALL),
    "an empty file over one": over(OLD, put(b""), b""),
    "a new file in parts": Job(put(NEW), {}, {"f": NEW}),
    "a file in parts over one": over(OLD, put(NEW), NEW),
    "a file in pieces over one": over(OLD, put(LARGE), LARGE),
    "a file in pieces, sent ahead": over(OLD, put_ahead, LARGE),
    "a new file that must be new": Job(put(NEW, CREATE | OpenFlag.EXCL), {}, {"f": NEW}),
    "put -p": over(OLD, put_with_times, NEW),
    "scp, shorter": over(OLD, scp_over(NEW), NEW),
    "scp, longer": over(NEW, scp_over(OLD), OLD),
    "scp, as long": over(OLD, scp_over(content("q", len(OLD))), content("q", len(OLD))),
    "scp, small over small": over(SMALL, scp_over(TINY), TINY),
    "resume": over(OLD, resume, OLD + NEW),
    "append": over(SMALL, put(NEW, OVER | OpenFlag.APPEND), SMALL + NEW),
    "edit here and there": over(LARGE, edit_here_and_there, overlay(LARGE, 70, 2, 130)),
    "edit a small file": over(SMALL, put(TINY, OVER), TINY + SMALL[len(TINY) :]),
    "cut": over(OLD, set_on_path(b"/f", size=40), OLD[:40]),
    "cut to nothing": over(OLD, set_on_path(b"/f", size=0), b""),
    "make longer": over(OLD, set_on_path(b"/f", size=120), OLD + bytes(30)),
    "set a time": over(OLD, set_on_path(b"/f", atime=SECONDS, mtime=SECONDS), OLD),
    "remove": over(OLD, lambda client: client.remove(b"/f"), None),
    "rename": Job(rename(b"/f", b"/g"), {"f": OLD}, {"f": None, "g": OLD}, {"f": "g"}),
    "rename a large file": Job(
        rename(b"/f", b"/g"), {"f": LARGE}, {"f": None, "g": LARGE}, {"f": "g"}
    ),
    "posix-rename over a file": Job(
        replace(b"/f", b"/g"), {"f": LARGE, "g": OLD}, {"f": None, "g": LARGE}, {"f": "g"}
    ),
    "put beside, and replace": Job(put_beside_and_replace, {"f": OLD}, {"f": NEW}),
    "rename while it is uploaded": Job(
        while_open(CREATE, [(0, NEW[:40]), (40, NEW[40:])], rename(b"/f", b"/g")), {}, {"g": NEW}
    ),
    "rename while it is uploaded over one": Job(
        while_open(CREATE, [(0, NEW[:40]), (40, NEW[40:])], rename(b"/f", b"/g")),
        {"f": OLD},
        {"f": None, "g": NEW},
    ),
    "rename while it is edited": Job(
        while_open(OVER, [(70, TINY), (2, TINY), (130, TINY)], rename(b"/f", b"/g")),
        {"f": LARGE},
        {"f": None, "g": overlay(LARGE, 70, 2, 130)},
    ),
    "rename while it is gone on with": Job(
        while_open(OVER, [(len(OLD), NEW[:40]), (len(OLD) + 40, NEW[40:])], rename(b"/f", b"/g")),
        {"f": OLD},
        {"f": None, "g": OLD + NEW},
    ),
    "remove while it is uploaded": over(
        OLD,
        while_open(CREATE, [(0, NEW[:40]), (40, NEW[40:])], lambda client: client.remove(b"/f")),
        None,
    ),
    "remove while it is edited": over(
        OLD,
        while_open(OVER, [(2, TINY), (60, NEW)], lambda client: client.remove(b"/f")),
        None,
    ),
    "rename a folder": Job(
        rename(b"/d", b"/n"),
        {**TREE, "d.txt": b"no"},
        {**dict.fromkeys(TREE), **MOVED},
        dict(zip(TREE, MOVED, strict=True)),
    ),
    "posix-rename over an empty folder": Job(
        replace(b"/d", b"/n"),
        {**TREE, "n/": b""},
        {**dict.fromkeys(TREE), **MOVED},
        dict(zip(TREE, MOVED, strict=True)),
    ),
}

TRANSIENT: dict[tuple[str, str], set[bytes | None]] = {
    ("put beside, and replace", "f.part"): {NEW},
    ("rename while it is uploaded", "f"): {NEW},
    ("rename while it is uploaded over one", "f"): {NEW},
    ("rename while it is uploaded over one", "g"): {OLD},
    ("rename while it is edited", "f"): {overlay(LARGE, 70, 2, 130)},
    ("rename while it is edited", "g"): {LARGE},
    ("rename while it is gone on with", "f"): {OLD + NEW},
    ("rename while it is gone on with", "g"): {OLD},
}
"""What is there on the way, and may stay if the way ends."""


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts, pieces, copies and pages as in files of terabytes."""
    layout = StagingLayout(
        Ladder(PART_BYTES, PART_BYTES), 4, Ladder(2 * PART_BYTES, 2 * PART_BYTES)
    )
    monkeypatch.setattr(opener, "layout_for", lambda *_, **__: layout)
    monkeypatch.setattr(
        opener, "BaseObject", partial(BaseObject, min_part_bytes=5, copy_limit_bytes=50)
    )
    monkeypatch.setattr(tree, "Copier", partial(Copier, limit_bytes=100, part_bytes=40))
    monkeypatch.setattr(directory_rename, "PAGE_OBJECTS", 2)


def demand_invariants(world: World, name: str) -> None:
    """What must be true at any moment, for every reader of the bucket."""
    job, there = JOBS[name], world.files()
    for key in {*there, *job.before}:
        allowed = job.allowed(key) | TRANSIENT.get((name, key), set())
        assert there.get(key) in allowed, f"{key}: {there.get(key)!r}"
    for old, new in job.moves.items():
        assert job.before[old] in (there.get(old), there.get(new)), f"{old} is lost"


def lived(name: str, death: Death | None = None, **client: int | bool) -> World:
    """A world in which the job was done, or not."""
    world = World(JOBS[name].before, death)
    world.store.look = lambda: demand_invariants(world, name)
    with world.may_end():
        JOBS[name].run(world.client(**client))  # type: ignore[arg-type]
    demand_invariants(world, name)
    world.settle()
    demand_invariants(world, name)
    return world


def demand_all_well(world: World, name: str) -> None:
    """What has to be true once a later process has cleared up."""
    later = world.restarted()
    demand_invariants(world, name)
    assert later.store.uploads == {}
    own = [key for key in later.store.keys() if not key.startswith(HOME)]  # noqa: SIM118
    assert own == [], "records and pieces are left"
    assert later.events.facts("finish-failed") == later.events.facts("sweep-failed") == []
    if not world.has_failed:
        assert world.files() == JOBS[name].after
    if name.endswith("folder"):
        assert world.files() in (JOBS[name].before, JOBS[name].after)


@pytest.mark.parametrize("name", JOBS)
def test_each_job_succeeds_undisturbed(name: str) -> None:
    world = lived(name)
    assert not world.has_failed
    assert world.files() == JOBS[name].after
    assert world.store.uploads == {}


@pytest.mark.parametrize("fate", Fate, ids=lambda fate: fate.name)
@pytest.mark.parametrize("name", JOBS)
def test_a_job_killed_at_any_request_leaves_whole_files(name: str, fate: Fate) -> None:
    number = 0
    while (world := lived(name, Death(fate, number))).store.has_struck:
        demand_all_well(world, name)
        number += 1
    assert number > 0


@pytest.mark.parametrize("name", JOBS)
def test_the_client_is_lost_before_and_within_every_message(name: str) -> None:
    for in_the_middle in (False, True):
        for world in _clients_lost(name, in_the_middle):
            assert world.store.uploads == {}, "the gateway lives, and clears up at once"
            demand_all_well(world, name)


def _clients_lost(name: str, in_the_middle: bool) -> Iterator[World]:
    dies_at = 0
    while (world := lived(name, dies_at=dies_at, in_the_middle=in_the_middle)).has_failed:
        yield world
        dies_at += 1
    assert dies_at > 0


def test_classic_scp_is_cut_off_at_every_byte() -> None:
    said = b"C0644 %d f\n" % len(NEW) + NEW + b"\0"
    for told_bytes in range(len(said) + 1):
        world = World({"f": OLD})
        talk = Talk(world.gateway, b"scp -t /f")
        for at in range(told_bytes):
            talk.say(said[at : at + 1])
        talk.drop()
        assert world.files() == {"f": NEW if told_bytes == len(said) else OLD}
        world.gateway.assert_idle()


def test_jobs_take_the_ways_that_they_are_named_for() -> None:
    def requests(name: str) -> Mapping[str, int]:
        return lived(name).store.requests

    assert requests("a file in pieces over one")["create_upload"] > 2
    assert requests("a file in parts over one")["upload_part"] > 3
    assert requests("edit here and there")["copy_part"] > 1
    assert requests("resume")["copy_part"] > 1
    assert requests("rename a large file")["copy_part"] > 2
    assert requests("put -p")["copy"] == 1
    markers = [key for key in TREE if key.endswith("/")]  # are put, not copied
    assert requests("rename a folder")["copy"] == len(TREE) - len(markers)
    for name in ("is uploaded", "is uploaded over one", "is edited", "is gone on with"):
        assert requests(f"rename while it {name}")["complete_upload"] >= 1


def test_a_half_file_would_be_seen() -> None:
    """The invariant itself can fail."""
    world = World(JOBS["resume"].before)
    for data in (OLD[:50], OLD + NEW[:10], b""):
        world.store.seed(HOME + "f", data)
        with pytest.raises(AssertionError):
            demand_invariants(world, "resume")
    del world.store.objects[ObjectName("bucket", HOME + "f")]
    with pytest.raises(AssertionError):
        demand_invariants(world, "resume")
