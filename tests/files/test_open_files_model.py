"""Random renames and removals of open files, against what a disk would do.

A name has what was published under it last. A handle has what it has written, over what was
there when it was opened, and a name that renames and removals change; its CLOSE publishes that.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import partial

import pytest

from sftpgw.errors import ObjectChanged
from sftpgw.files.uploads import opener
from sftpgw.files.uploads.plan.boundaries import BaseObject
from sftpgw.files.uploads.plan.part_sizes import Ladder
from sftpgw.files.uploads.plan.staging_layout import StagingLayout
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.filesystem import NO_CHANGES, WriteIntent
from sftpgw.model.store import Capabilities, ObjectName
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import GatewayInMemory
from tests.results import failure_of, result_of

HOME = "home/alice/"
NAMES = ("a", "b", "d/c")
PART_BYTES = 16
STEPS = 80


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = StagingLayout(
        Ladder(PART_BYTES, PART_BYTES), 4, Ladder(2 * PART_BYTES, 2 * PART_BYTES)
    )
    monkeypatch.setattr(opener, "layout_for", lambda *_, **__: layout)
    monkeypatch.setattr(
        opener, "BaseObject", partial(BaseObject, min_part_bytes=5, copy_limit_bytes=50)
    )


@dataclass(eq=False)
class Handle:
    """An open file; `version` is of what it was opened over, None for a new one."""

    upload: Upload
    name: str | None
    content: bytearray
    version: int | None
    end: int = 0
    is_changed: bool = False


@dataclass
class Disk:
    """The model beside the gateway."""

    gateway: GatewayInMemory
    random: random.Random
    published: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    handles: list[Handle] = field(default_factory=list)
    versions: int = 0
    renamed_when_bound: int = 0

    def __post_init__(self) -> None:
        self.tree = self.gateway.tree()

    # What is done.

    def step(self) -> None:
        name, other = self.random.sample(NAMES, 2)
        choice = self.random.choices(
            ["new", "edit", "write", "rename", "remove", "close", "abandon"],
            [2, 2, 8, 4, 1, 3, 1],
        )[0]
        if choice in ("new", "edit"):
            self.open(name, is_new=choice == "new")
        elif choice == "rename":
            self.rename(name, other)
        elif choice == "remove":
            self.remove(name)
        elif self.handles:
            getattr(self, choice)(self.random.choice(self.handles))

    def open(self, name: str, *, is_new: bool) -> None:
        if len(self.handles) > 5 or (not is_new and name not in self.published):
            return
        intent = WriteIntent(truncate=is_new)
        tree = self.gateway.tree()  # of another session: one's own handles are waited for
        upload = result_of(tree.open_writer(name.encode(), intent, NO_CHANGES))
        version, content = (None, b"") if is_new else self.published[name]
        self.handles.append(Handle(upload, name, bytearray(content), version, is_changed=is_new))

    def write(self, handle: Handle) -> None:
        data = self.random.randbytes(self.random.choice([1, 5, 20, 70]))
        offset = self.random.choice([handle.end, len(handle.content)])
        try:
            handle.upload.write(offset, data)
        except ObjectChanged:
            assert self.is_overtaken(handle)
            self.abandon(handle)
            return
        handle.content[offset : offset + len(data)] = data
        handle.end, handle.is_changed = offset + len(data), True

    def rename(self, source: str, target: str) -> None:
        moved = self.open_under(source)
        is_there = source in self.published or moved
        if not is_there or self.is_owed(target, but_for=moved):
            return
        result_of(self.tree.rename(source.encode(), target.encode(), replace=True))
        for handle in self.open_under(target):
            handle.name = None
        for handle in moved:
            handle.name = target
            self.renamed_when_bound += handle.upload._executor.has_moved
        if source in self.published:
            self.published[target] = self.published.pop(source)

    def remove(self, name: str) -> None:
        if name in self.published or self.open_under(name):
            result_of(self.tree.remove_file(name.encode()))
            self.published.pop(name, None)
            for handle in self.open_under(name):
                handle.name = None

    def close(self, handle: Handle) -> None:
        name = handle.name
        if name is not None and self.is_owed(name, but_for=[handle]):
            return
        self.handles.remove(handle)
        is_published = name is not None and handle.is_changed
        if is_published and self.is_overtaken(handle):
            if self.fails(handle):
                return
        else:
            result_of(handle.upload.commit())
        if name is not None and is_published:
            self.versions += 1
            self.published[name] = (self.versions, bytes(handle.content))

    def fails(self, handle: Handle) -> bool:
        """What another file has taken the place of is not undone, unless nothing of it stays."""
        before = dict(self.gateway.store.objects)
        try:
            result_of(handle.upload.commit())
        except ObjectChanged:
            assert self.gateway.store.objects == before
            return True
        return False

    def abandon(self, handle: Handle) -> None:
        self.handles.remove(handle)
        result_of(handle.upload.abandon())

    # What is known.

    def is_overtaken(self, handle: Handle) -> bool:
        """Whether another file has its name than the one that it was opened over."""
        now, _ = self.published.get(handle.name or "", (None, b""))
        return handle.version is not None and handle.name is not None and now != handle.version

    def open_under(self, name: str) -> list[Handle]:
        return [handle for handle in self.handles if handle.name == name]

    def is_owed(self, name: str, but_for: list[Handle]) -> bool:
        """A renamed upload needs this name once more: who publishes there would wait."""
        owed = self.gateway.transfers.bindings.bound_elsewhere(ObjectName("bucket", HOME + name))
        return bool({each.writer for each in owed} - {handle.upload for handle in but_for})  # type: ignore[attr-defined]

    def check(self) -> None:
        stored = {
            name.key.removeprefix(HOME): held.data
            for name, held in self.gateway.store.objects.items()
            if name.key.startswith(HOME)
        }
        assert stored == {name: content for name, (_, content) in self.published.items()}


@pytest.mark.parametrize("conditions", [True, False])
@pytest.mark.parametrize("seed", range(40))
def test_open_renamed_and_removed_files_behave_as_on_a_disk(seed: int, conditions: bool) -> None:
    able = Capabilities(
        conditional_put=conditions,
        conditional_complete=conditions,
        conditional_copy=conditions,
        conditional_delete=conditions,
    )
    gateway = GatewayInMemory(FakeStore(min_part_bytes=5, capabilities=able))
    disk = Disk(gateway, random.Random(seed))
    for _ in range(STEPS):
        disk.step()
        disk.check()
    while disk.handles:
        before = len(disk.handles)
        for handle in list(disk.handles):
            disk.close(handle)
            disk.check()
        if len(disk.handles) == before:  # each waits for the name of another one
            disk.abandon(disk.handles[0])
    gateway.assert_idle()
    assert not gateway.transfers.pinned
    assert [name for name in gateway.store.objects if not name.key.startswith(HOME)] == []


def test_uploads_are_renamed_when_parts_of_them_are_sent() -> None:
    """What this is about does happen."""
    disk = Disk(GatewayInMemory(FakeStore(min_part_bytes=5)), random.Random(1))
    for _ in range(400):
        disk.step()
    assert disk.renamed_when_bound > 10


def test_a_wrong_file_would_be_seen() -> None:
    disk = Disk(GatewayInMemory(FakeStore(min_part_bytes=5)), random.Random(1))
    disk.gateway.store.seed(HOME + "a", b"x")
    with pytest.raises(AssertionError):
        disk.check()
    assert isinstance(failure_of(disk.tree.remove_file(b"b")).value, Exception)
