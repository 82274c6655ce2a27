"""The registry of transfers: all files that are open in this process.

Knows: which uploads concern which object, what they have in the store before they are
published, which files are being read, and whether the process still accepts transfers.
Must not know: how a transfer works.

There is one registry for the process, so that each session sees what the others write. A
client that does not wait for the reply to CLOSE (sshfs) finds its file all the same: a session
that opens, looks at, renames or removes a file first waits for its commit.

On a disk an open file has no name: it may be renamed or removed, and its writer goes on. The
registry does the same. A registration can get another name, under which CLOSE publishes, or
none, and then CLOSE publishes nothing. The *base* of an edit moves with the stored object.

What is in here, no store is asked about. So each session has a view (`TransferRegistry.seen_from`)
that answers only below the mounts of its user, and takes uploads only below those where anything
may be written. A path that leads elsewhere by mistake is refused here as it is in the store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Container, Iterable
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass
from typing import TypeAlias

from twisted.internet.defer import Deferred

from sftpgw.aio.notifier import Notifier
from sftpgw.aio.user_slots import UserSlots
from sftpgw.errors import AccessDenied, LimitReached
from sftpgw.files.transfers.change_log import ChangeLog
from sftpgw.files.transfers.commit_queue import Commit, CommitQueue
from sftpgw.files.transfers.key_bindings import KeyBindings
from sftpgw.files.transfers.name_index import NameIndex
from sftpgw.files.transfers.transfer_view import Transfer, TransferView, UploadWriter
from sftpgw.model.clock import Clock
from sftpgw.model.filesystem import FileWriter
from sftpgw.model.mounts import Mount
from sftpgw.model.store import MultipartUpload, ObjectInfo, ObjectName

Pinned = MultipartUpload | ObjectName
"""A multipart upload or staging object of an upload that is not published yet."""


Prefixes: TypeAlias = tuple[tuple[str, str], ...]
"""Buckets, and prefixes in them."""

WAITING_RENAMES = 256
"""For each rename of a directory that a user may have under way, so many may wait."""


class Registration:
    """One upload's entry in the registry, from its OPEN to its end.

    :param registry: the registry.
    :param commit: the publication of the file, which also has its name.
    :param writer: the upload; None for a rewrite of a stored object, such as a new mtime, and once
        the upload has ended.
    :param base: the stored object that is edited, as it is now.
    :param on_rebased: called when the base has another name or ETag, with the same bytes.
    """

    def __init__(
        self,
        registry: TransferRegistry,
        commit: Commit,
        writer: UploadWriter | None,
        base: ObjectInfo | None = None,
        on_rebased: Callable[[ObjectInfo], None] | None = None,
    ) -> None:
        self.commit = commit
        self.writer = writer
        self.base = base
        self.bound_to: ObjectName | None = None
        self.is_removed = False
        self.may_replace = False
        self.is_left_open = False
        """Its client had time to close it, and did not."""
        self.pinned: set[Pinned] = set()
        self._registry = registry
        self._on_rebased = on_rebased
        self._closed = Notifier()

    @property
    def name(self) -> ObjectName:
        """The object that CLOSE publishes now."""
        return self.commit.name

    @property
    def has_ended(self) -> bool:
        """It was published or given up."""
        return self.commit.has_ended

    @property
    def is_awaited(self) -> bool:
        """Whether its CLOSE may come at any moment, so that others wait for it."""
        is_open = not (self.commit.has_begun or self.is_removed or self.has_ended)
        return self.writer is not None and is_open and not self.is_left_open

    # Renames and removals.

    @property
    def is_movable(self) -> bool:
        """Whether its name can still change: it is not being published yet."""
        return not (self.commit.is_publishing or self.is_removed or self.has_ended)

    def rename(self, name: ObjectName, *, may_replace: bool) -> None:
        """CLOSE is to publish `name`; the registration must be movable.

        :param name: the new name.
        :param may_replace: another file of that name may be replaced, even if OPEN asked for a
            new file.
        """
        self._registry.renamed(self, name)
        self.may_replace = self.may_replace or may_replace
        self._closed.notify_all()

    def rebase(self, base: ObjectInfo) -> None:
        """The object that is edited has another name or ETag now."""
        self.base = base
        if self._on_rebased is not None:
            self._on_rebased(base)

    def remove(self) -> None:
        """CLOSE is to publish nothing. The writer notices nothing."""
        if not self.commit.has_begun and not self.has_ended:
            self._registry.removed(self)
            self._closed.notify_all()

    # Told by the upload itself.

    def bind(self, key: ObjectName) -> None:
        """A multipart upload was begun for this key."""
        self.bound_to = key
        self._registry.bindings.bind(key, self)

    def pin(self, pinned: Pinned) -> None:
        """Something in the store belongs to this upload until its end: the sweeper leaves it."""
        self.pinned.add(pinned)
        self._registry.pinned.add(pinned)

    def close(self) -> None:
        """The client has closed the file; from now on other sessions wait for its commit."""
        if not (self.commit.has_begun or self.is_removed or self.has_ended):
            self.commit.begin()
            self._closed.notify_all()

    async def wait_for_key(self, clock: Clock) -> bool:
        """Wait until no renamed upload is bound to this name; whether there was one.

        It directly follows `Commit.wait`, without any other wait in between.

        :raises LimitReached: it takes too long.
        """
        if not self._registry.bindings.bound_elsewhere(self.name):
            return False
        self.commit.waits_for_binding = True
        try:
            await self._registry.bindings.wait_until_free(self.name, clock)
        finally:
            self.commit.waits_for_binding = False
        return True

    def end(self) -> None:
        """The upload was published or given up, and nothing of it is under way any more."""
        self.commit.has_ended = True
        self._registry.ended(self)
        self._closed.notify_all()
        self.commit.tell_end()
        self.writer = self._on_rebased = None  # the upload has this: no cycle is left

    # Other sessions that wait.

    def leave_open(self) -> None:
        """Its client had time to close it, and did not: sessions do not wait for it any more."""
        self.is_left_open = True
        self._closed.notify_all()

    def wait_for_close(self) -> Deferred[None]:
        """Fires when it is closed, renamed or gone, or else left open."""
        return self._closed.wait()


@dataclass(slots=True)
class _Process:
    """What all views of the registry share, beside its tables."""

    other_work: int = 0
    is_draining: bool = False


class TransferRegistry:
    """All transfers of the process.

    :ivar changes: the changes that the sessions of this process have made in the store.
    :ivar commits: the commits that are under way, by object.
    :ivar bindings: the keys that renamed uploads need.
    :ivar pinned: the uploads and objects in use by transfers, which the sweeper leaves alone.
    :ivar rename_slots: how many directories of a user are renamed at once.

    :param directory_renames_per_user: as of `LimitSettings`.
    :param weight_of: returns the weight of a user.
    """

    def __init__(
        self,
        directory_renames_per_user: int = 4,
        weight_of: Callable[[str], float] = lambda user: 1.0,
    ) -> None:
        self.changes = ChangeLog(weight_of)
        self.commits = CommitQueue()
        self.bindings = KeyBindings()
        self.pinned: set[Pinned] = set()
        self._uploads: dict[ObjectName, dict[Registration, None]] = {}
        self._names = NameIndex()
        """The names in `_uploads`."""
        self._edits: dict[tuple[ObjectName, str], dict[Registration, None]] = {}
        """The uploads that edit a version of an object."""
        self._removed: set[Registration] = set()
        self._downloads: dict[Transfer, bool] = {}
        self._process = _Process()
        self._seen: Prefixes | None = None
        self._writable: Prefixes | None = None
        self.rename_slots = UserSlots(
            directory_renames_per_user,
            max_waiting=WAITING_RENAMES * directory_renames_per_user,
            refusal=_too_many_renames,
        )
        self._idle = Notifier()

    def seen_from(self, mounts: Iterable[Mount]) -> TransferRegistry:
        """The same registry, for a session.

        :param mounts: what its user has; nothing is told of what is elsewhere.
        """
        view = copy(self)
        known = tuple(mounts)
        view._seen = tuple((mount.bucket, mount.key_prefix) for mount in known)
        view._writable = tuple(
            (mount.bucket, mount.key_prefix) for mount in known if mount.is_writable
        )
        return view

    def _require_seen(self, bucket: str, key: str) -> None:
        _require_below(self._seen, bucket, key)

    # The process.

    def drain(self) -> None:
        """From now on `require_open` refuses."""
        self._process.is_draining = True

    def require_open(self) -> None:
        """Check that a transfer may begin.

        :raises LimitReached: the process is about to end.
        """
        if self._process.is_draining:
            raise LimitReached("the gateway is shutting down; try again in a moment")

    def begin_work(self) -> None:
        """Something other than a transfer has begun, such as a rename: `idle` waits for it."""
        self._process.other_work += 1

    def end_work(self) -> None:
        """It has ended."""
        self._process.other_work -= 1
        self._tell_if_idle()

    def begin_download(self, download: Transfer, *, is_shown: bool = True) -> None:
        """A file was opened for reading.

        :param download: the download.
        :param is_shown: whether it has a view of its own; the reader of a base object has none,
            since it belongs to an upload.
        """
        self._downloads[download] = is_shown

    def end_download(self, download: Transfer) -> None:
        """It was closed."""
        self._downloads.pop(download, None)
        self._tell_if_idle()

    async def idle(self) -> None:
        """Wait until no transfer is left."""
        while self._is_busy:
            await self._idle.wait()

    @property
    def _is_busy(self) -> bool:
        under_way = self._uploads or self._removed or self._downloads
        return bool(under_way or self._process.other_work)

    def _tell_if_idle(self) -> None:
        if not self._is_busy:
            self._idle.notify_all()

    def views(self) -> tuple[TransferView, ...]:
        """All uploads and downloads as they are now, those that began first at the head."""
        transfers: list[Transfer] = [
            each.writer for each in self._all_uploads() if each.writer is not None
        ]
        transfers += [each for each, is_shown in self._downloads.items() if is_shown]
        views = [each.view() for each in transfers]
        return tuple(sorted(views, key=lambda view: view.since_seconds))

    # Uploads.

    def register(
        self,
        name: ObjectName,
        writer: UploadWriter | None,
        base: ObjectInfo | None = None,
        on_rebased: Callable[[ObjectInfo], None] | None = None,
    ) -> Registration:
        """An upload to `name` begins.

        :param name: the object that CLOSE publishes.
        :param writer: the upload; None for a rewrite of the stored object.
        :param base: the stored object that is edited.
        :param on_rebased: called when the base has another name or ETag, with the same bytes.
        """
        _require_below(self._writable, name.bucket, name.key)
        commit = Commit(self.commits, name)
        registration = Registration(self, commit, writer, base, on_rebased)
        self._remember(registration)
        if base is not None:
            self._edits.setdefault((base.name, base.etag), {})[registration] = None
        return registration

    @asynccontextmanager
    async def in_turn(self, name: ObjectName, *, may_overtake: bool = False) -> AsyncIterator[None]:
        """Rewrite a stored object as if it were an upload that is closed now.

        The commits of the object that are under way are waited for before; later ones wait
        until this has ended.

        :param name: the object.
        :param may_overtake: see rule 3 of `commit_queue`.
        """
        registration = self.register(name, None)
        registration.commit.begin(may_overtake=may_overtake)
        try:
            await registration.commit.wait()
            yield
        finally:
            registration.end()

    def renamed(self, registration: Registration, name: ObjectName) -> None:
        """Called by the registration itself, as `removed` and `ended` are."""
        self._forget(registration)
        self._note_change(registration)
        registration.commit.rename(name)
        self._remember(registration)
        self._note_change(registration)
        self._look_at_binding(registration)

    def removed(self, registration: Registration) -> None:
        """The file of an upload was removed."""
        if registration in self._removed:
            return
        self._forget(registration)
        self._removed.add(registration)
        self._note_change(registration)
        registration.is_removed = True
        self._look_at_binding(registration)

    def ended(self, registration: Registration) -> None:
        """An upload was published or given up."""
        self.pinned -= registration.pinned
        self._note_change(registration)
        if registration.bound_to is not None:
            self.bindings.unbind(registration.bound_to, registration)
        self._forget_edit(registration)
        if registration in self._removed:
            self._removed.remove(registration)
        else:
            self._forget(registration)
            registration.commit.leave()
        self._tell_if_idle()

    def _note_change(self, registration: Registration) -> None:
        self.changes.changed(registration.name.bucket, registration.name.key)

    def _remember(self, registration: Registration) -> None:
        name = registration.name
        if name not in self._uploads:
            self._uploads[name] = {}
            self._names.add(name)
        self._uploads[name][registration] = None

    def _forget(self, registration: Registration) -> None:
        name = registration.name
        left = self._uploads[name]
        del left[registration]
        if not left:
            del self._uploads[name]
            self._names.remove(name)

    def _look_at_binding(self, registration: Registration) -> None:
        if registration.bound_to is not None:
            self.bindings.look_again(registration.bound_to)

    # Edits.

    def is_edited(self, stored: ObjectInfo) -> bool:
        """Whether an upload edits this version of an object."""
        return (stored.name, stored.etag) in self._edits

    def rebased(self, before: ObjectInfo, after: ObjectInfo) -> None:
        """A stored object has another name or ETag now, and the same bytes as `before`."""
        for each in self._edits.pop((before.name, before.etag), ()):
            self._edits.setdefault((after.name, after.etag), {})[each] = None
            each.rebase(after)

    def _forget_edit(self, registration: Registration) -> None:
        if (base := registration.base) is None:
            return
        editing = self._edits[base.name, base.etag]
        del editing[registration]
        if not editing:
            del self._edits[base.name, base.etag]

    def _all_uploads(self) -> list[Registration]:
        return [each for found in self._uploads.values() for each in found] + [*self._removed]

    # Questions by name.

    def newest(
        self, name: ObjectName, among: Container[FileWriter] | None = None
    ) -> UploadWriter | None:
        """The upload to `name` that was opened last, of all or of some."""
        self._require_seen(name.bucket, name.key)
        for each in reversed(self._uploads.get(name, {})):
            if each.writer and (among is None or each.writer in among):
                return each.writer
        return None

    def directly_under(
        self, bucket: str, prefix: str, among: Container[FileWriter] | None = None
    ) -> list[tuple[str, UploadWriter]]:
        """The keys of one directory that are being written, with the newest upload of each."""
        self._require_seen(bucket, prefix)
        keys = self._names.directly_under(bucket, prefix)
        writers = ((key, self.newest(ObjectName(bucket, key), among)) for key in keys)
        return [(key, writer) for key, writer in writers if writer]

    def writing(self, name: ObjectName) -> tuple[Registration, ...]:
        """The uploads to `name` that are not closed yet."""
        self._require_seen(name.bucket, name.key)
        found = self._uploads.get(name, ())
        return tuple(each for each in found if not each.commit.has_begun)

    def writing_under(self, bucket: str, prefix: str) -> tuple[Registration, ...]:
        """The uploads to keys that begin with `prefix` that are not closed yet."""
        self._require_seen(bucket, prefix)
        names = (ObjectName(bucket, key) for key in self._names.under(bucket, prefix))
        return tuple(each for name in names for each in self.writing(name))

    def to_be_closed(
        self, name: ObjectName, among: Container[FileWriter] | None
    ) -> list[Registration]:
        """Of some uploads, or of all, those to `name` whose CLOSE may come at any moment."""
        return [
            each
            for each in self.writing(name)
            if each.is_awaited and (among is None or each.writer in among)
        ]

    def has_uploads_under(self, bucket: str, prefix: str) -> bool:
        """Whether keys under `prefix`, other than `prefix` itself, are being written."""
        self._require_seen(bucket, prefix)
        return any(key != prefix for key in self._names.under(bucket, prefix))

    async def settled(self, name: ObjectName) -> None:
        """Wait for the commits of `name` that are under way now.

        The last one is awaited, since mostly it ends last. Then what is left of the others: those
        that it has overtaken.
        """
        self._require_seen(name.bucket, name.key)
        last = self.commits.last_of(name)
        number = last.number if last is not None else 0
        while last is not None:
            await last.wait_for_end()
            last = self.commits.last_of(name, up_to=number)


def _require_below(prefixes: Prefixes | None, bucket: str, key: str) -> None:
    """Check that a key, or a prefix of keys, is below one of some prefixes; None: below any.

    :raises AccessDenied: it is not
    """
    if prefixes is None:
        return
    for mounted, prefix in prefixes:
        if bucket == mounted and key.startswith(prefix):
            return
    raise AccessDenied(f"{bucket}/{key} is in no mount of the session", code="AccessDenied")


def _too_many_renames() -> LimitReached:
    return LimitReached(
        "too many folders wait to be renamed; try again later; see [limits] "
        "directory_renames_per_user"
    )
