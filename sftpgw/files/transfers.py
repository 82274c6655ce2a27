"""The registry of files in flight.

Knows: which uploads concern one object, which of them are being published, what they
have in the store by then, how many files are being read, how often something was
changed, and whether the process still takes new transfers.
Must not know: how a transfer works.

It is one for the process, so that what one session writes another one sees. A
client that does not wait for the answer to CLOSE (sshfs) finds its file all the
same: whoever opens, looks at, renames or removes it waits for the commit first.

On a disk an open file has no name: it may be renamed or removed, and its writer goes on.
So here: a registration can get another name, under which CLOSE publishes, or none, and
then CLOSE publishes nothing. What an edit is made of, its *base*, moves with the stored file.
A multipart upload is *bound* to the key that it was begun for, whatever its file is called by
now: it needs that key for a moment at its end (`files/uploads/relocation`). Until then this process
stores no other file there.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count

from twisted.internet.defer import Deferred, TimeoutError

from sftpgw.aio.lru import LRUDict
from sftpgw.aio.notifier import Notifier
from sftpgw.errors import LimitReached
from sftpgw.files.renames.silly_rename import is_silly_rename
from sftpgw.model.clock import Clock
from sftpgw.model.filesystem import FileWriter
from sftpgw.model.store import MultipartUpload, ObjectInfo, ObjectName

Keepable = MultipartUpload | ObjectName
"""What an upload has in the store before it is published."""

MAX_GONE = 1024
"""So many directories that have gone are remembered."""

KEY_SECONDS = 20.0
"""So long does a CLOSE wait for the key that a renamed upload is bound to."""


class Registration:
    """One upload's place in the registry, from its open to its end.

    :param base: the stored object that is edited, as it is now.
    :param rebased: called when the base has got another name or ETag, with the same bytes.
    """

    def __init__(
        self,
        registry: TransferRegistry,
        name: ObjectName,
        writer: FileWriter | None,
        base: ObjectInfo | None = None,
        rebased: Callable[[ObjectInfo], None] | None = None,
    ) -> None:
        self.name = name
        self.writer = writer
        self.base = base
        self.bound_to: ObjectName | None = None
        self.is_committing = False
        self.is_publishing = False
        self.is_removed = False
        self.has_ended = False
        self.may_replace = False
        self.is_kept_open = False
        self.waits_for_key = False
        self._kept: set[Keepable] = set()
        self._registry = registry
        self._rebased = rebased
        self.number = 0
        """Its place in the line of all CLOSEs."""
        self._has_key = False
        self._stored_before: tuple[Registration, ...] = ()
        self._waiting = Notifier()
        self._closing = Notifier()
        self._holds = 0

    def bind(self, key: ObjectName) -> None:
        """What has been sent belongs to this key."""
        self.bound_to = key
        self._registry.bound(self, key)

    @property
    def is_movable(self) -> bool:
        """Whether its name can still change: it is not being published yet."""
        return not (self.is_publishing or self.is_removed or self.has_ended)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Publish nothing meanwhile: a rename is about to decide under which name."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            if not self._holds:
                self._registry.turns.notify_all()

    def rename(self, name: ObjectName, *, may_replace: bool) -> None:
        """It is to be published as `name`; it must be movable.

        :param may_replace: even if the file was to be a new one, when it was opened.
        """
        self._registry.renamed(self, name)
        self.may_replace = self.may_replace or may_replace
        self._closing.notify_all()

    def rebase(self, base: ObjectInfo) -> None:
        """The object that is edited is somewhere else now, or has another ETag."""
        self.base = base
        if self._rebased is not None:
            self._rebased(base)

    def remove(self) -> None:
        """It is to be published nowhere. Its writer notices nothing."""
        if not self.is_committing and not self.has_ended:
            self._registry.removed(self)
            self._closing.notify_all()

    def keeps(self, thing: Keepable) -> None:
        """Something in the store belongs to this upload until it ends: nobody sweeps it away."""
        self._kept.add(thing)
        self._registry.kept.add(thing)

    def committing(self, *, has_key: bool = False) -> None:
        """The client has closed the file; from now on others wait for it.

        :param has_key: only what is being stored now is waited for; all else waits for this one.
        """
        if not (self.is_committing or self.is_removed or self.has_ended):
            self.number = next(self._registry.numbers)
            self._has_key = has_key
            if has_key:
                self._stored_before = self._registry.stored_now(self.name)
            self.is_committing = True
            self._registry.joined(self)
            self._closing.notify_all()

    def kept_open(self) -> None:
        """Its client was given time to close it, and has not: it is not waited for any more."""
        self.is_kept_open = True
        self._closing.notify_all()

    def closing(self) -> Deferred[None]:
        """Fires when it is closed, renamed or gone, or else `kept_open`."""
        return self._closing.wait()

    async def turn(self) -> bool:
        """Wait for the commits of this object that began before: the last CLOSE wins.

        What counts is which name it has by now. Of two that wait, the later one waits for the
        other, whatever names they had: so none wait for each other. A rename of it that is under
        way is waited for, too. From now on it keeps its name.
        Returns whether there was anything to wait for.
        """
        has_waited = False
        while self._holds or self._gives_way():
            has_waited = True
            await self._registry.turns.wait()
        self.is_publishing = True
        return has_waited

    def _gives_way(self) -> bool:
        if self._has_key:
            return not all(each.has_ended for each in self._stored_before)
        line = self._registry.committing_to(self.name) if self.is_committing else [self]
        return line[0] is not self or any(
            each.is_publishing or each._has_key for each in line if each is not self
        )

    async def wait_for_key(self, clock: Clock) -> bool:
        """Wait until no renamed upload is bound to this name; whether there was one.

        It comes right behind `turn`, with nothing to wait for in between.

        :raises LimitReached: it takes too long.
        """
        if not self._registry.bound_elsewhere(self.name):
            return False
        self.waits_for_key = True
        try:
            await self._registry.free_key(self.name, clock)
        finally:
            self.waits_for_key = False
        return True

    def ended(self) -> None:
        """Published or given up, and nothing of it is under way any more."""
        self.has_ended = True
        self._registry.kept -= self._kept
        self._registry.forget(self)
        self._closing.notify_all()
        self._waiting.notify_all()

    def end(self) -> Deferred[None]:
        """Fires when it has ended."""
        return self._waiting.wait()


class TransferRegistry:
    """All work of the process: uploads by object, downloads and renames by number."""

    def __init__(self) -> None:
        self.changes = 0
        self.kept: set[Keepable] = set()
        self.numbers = count(1)
        self.turns = Notifier()
        """Let go whenever a CLOSE that waits for its turn may have it."""
        self._bound: dict[ObjectName, set[Registration]] = {}
        self._bindings = Notifier()
        self._lines: dict[ObjectName, list[Registration]] = {}
        self._registrations: dict[ObjectName, list[Registration]] = {}
        self._removed: set[Registration] = set()
        self._others = 0
        self._leaving: Counter[tuple[str, str]] = Counter()
        self._idle = Notifier()
        self._is_draining = False
        self._gone: LRUDict[tuple[str, str], int] = LRUDict(MAX_GONE)

    def changed(self) -> None:
        """Some session has changed what is stored: what was listed before is out of date."""
        self.changes += 1

    @contextmanager
    def leaving(self, bucket: str, key: str) -> Iterator[None]:
        """An object, or what a prefix stands for, is about to be removed, or has just been."""
        entry = (bucket, key)
        self._leaving[entry] += 1
        try:
            yield
        finally:
            self._leaving[entry] -= 1
            if not self._leaving[entry]:
                del self._leaving[entry]

    def leaving_below(self, bucket: str, prefix: str) -> set[str]:
        """The keys and prefixes that are about to be removed and begin with `prefix`."""
        return {key for held, key in self._leaving if held == bucket and key.startswith(prefix)}

    def directory_gone(self, bucket: str, prefix: str) -> None:
        """A directory was removed or renamed: no session shall believe in it any more."""
        self.changed()
        self._gone.put((bucket, prefix), self.changes)

    def is_gone(self, bucket: str, prefix: str, since: int) -> bool:
        """Whether a directory, or one above it, has gone since there were so many changes."""
        ends = [end for end, byte in enumerate(prefix, 1) if byte == "/"]
        return any(self._gone.get((bucket, prefix[:end]), 0) > since for end in ends)

    def drain(self) -> None:
        """From now on `demand_open` refuses."""
        self._is_draining = True

    def demand_open(self) -> None:
        """Whether a transfer may begin. :raises LimitReached: the process is about to end."""
        if self._is_draining:
            raise LimitReached("the gateway is shutting down; try again in a moment")

    def work_began(self) -> None:
        """A file was opened for reading, or a rename has begun."""
        self._others += 1

    def work_ended(self) -> None:
        """It was closed, or has been carried out."""
        self._others -= 1
        self._tell_if_idle()

    def register(
        self,
        name: ObjectName,
        writer: FileWriter | None,
        base: ObjectInfo | None = None,
        rebased: Callable[[ObjectInfo], None] | None = None,
    ) -> Registration:
        """An upload to `name` begins, or, without a writer, a rewrite of what is stored there."""
        registration = Registration(self, name, writer, base, rebased)
        self._registrations.setdefault(name, []).append(registration)
        return registration

    def is_edited(self, stored: ObjectInfo) -> bool:
        """Whether an upload edits this version of an object."""
        return bool(self._editing(stored))

    def rebased(self, before: ObjectInfo, after: ObjectInfo) -> None:
        """A stored object has another name or ETag now, and the same bytes as `before`."""
        for each in self._editing(before):
            each.rebase(after)

    def _editing(self, stored: ObjectInfo) -> list[Registration]:
        version = (stored.name, stored.etag)
        uploads = [each for found in self._registrations.values() for each in found]
        uploads += self._removed
        return [
            each for each in uploads if each.base and (each.base.name, each.base.etag) == version
        ]

    def bound(self, registration: Registration, key: ObjectName) -> None:
        """Called by the registration itself, as `renamed`, `removed` and `forget` are."""
        self._bound.setdefault(key, set()).add(registration)

    def bound_elsewhere(self, key: ObjectName) -> frozenset[Registration]:
        """The uploads that can be completed under `key` only, and whose file has another name.

        What libfuse has unlinked is not among them: it gives way.
        """
        return frozenset(
            each
            for each in self._bound.get(key, ())
            if each.name != key and not each.is_removed and not is_silly_rename(each.name.key)
        )

    async def free_key(
        self, key: ObjectName, clock: Clock, but_for: Iterable[Registration] = ()
    ) -> None:
        """Wait until `bound_elsewhere` has none. :raises LimitReached: it takes too long.

        :param but_for: uploads that are about to get this name back.
        """
        give_up_at = clock.seconds() + KEY_SECONDS
        while self.bound_elsewhere(key).difference(but_for):
            left_seconds = max(0.0, give_up_at - clock.seconds())
            try:
                await self._bindings.wait().addTimeout(left_seconds, clock)  # type: ignore[arg-type]
            except TimeoutError:
                raise LimitReached(
                    "a file that had this name is being uploaded under another one still, and the "
                    "store needs the name once more for it; try again when that upload has ended"
                ) from None

    def joined(self, registration: Registration) -> None:
        """It has been closed, or has another name since."""
        line = self._lines.setdefault(registration.name, [])
        insort(line, registration, key=lambda each: each.number)

    def renamed(self, registration: Registration, name: ObjectName) -> None:
        self._drop(registration)
        registration.name = name
        self._registrations.setdefault(name, []).append(registration)
        if registration.is_committing:
            self.joined(registration)
        self.changed()
        self._bindings.notify_all()
        self.turns.notify_all()

    def removed(self, registration: Registration) -> None:
        if registration in self._removed:
            return
        self._drop(registration)
        self._removed.add(registration)
        self.changed()
        registration.is_removed = True
        self._bindings.notify_all()

    def forget(self, registration: Registration) -> None:
        self.changed()
        key = registration.bound_to
        if key is not None and registration in self._bound.get(key, ()):
            self._bound[key].remove(registration)
            if not self._bound[key]:
                del self._bound[key]
            self._bindings.notify_all()
        if registration in self._removed:
            self._removed.remove(registration)
        else:
            self._drop(registration)
        self.turns.notify_all()
        self._tell_if_idle()

    def _drop(self, registration: Registration) -> None:
        _remove(self._registrations, registration)
        if registration.is_committing:
            _remove(self._lines, registration)

    def newest(
        self, name: ObjectName, among: Container[FileWriter] | None = None
    ) -> FileWriter | None:
        """The upload to `name` that was opened last, of all or of some."""
        writers = [each.writer for each in self._registrations.get(name, ()) if each.writer]
        return next((each for each in reversed(writers) if among is None or each in among), None)

    def directly_below(
        self, bucket: str, prefix: str, among: Container[FileWriter] | None = None
    ) -> list[tuple[str, FileWriter]]:
        """The keys of one directory that are being written, with the newest upload of each."""
        names = [
            name
            for name in self._registrations
            if name.bucket == bucket
            and name.key.startswith(prefix)
            and "/" not in name.key[len(prefix) :]
        ]
        return [(name.key, writer) for name in names if (writer := self.newest(name, among))]

    def writing(self, name: ObjectName) -> tuple[Registration, ...]:
        """The uploads to `name` that are not being published yet."""
        found = self._registrations.get(name, ())
        return tuple(each for each in found if not each.is_committing)

    def to_be_closed(
        self, name: ObjectName, among: Container[FileWriter] | None
    ) -> list[Registration]:
        """Of some uploads, or of all, those to `name` whose CLOSE may come at any moment."""
        return [
            each
            for each in self.writing(name)
            if each.writer and (among is None or each.writer in among) and not each.is_kept_open
        ]

    def writing_below(self, bucket: str, prefix: str) -> tuple[Registration, ...]:
        """Those to keys that begin with `prefix`."""
        names = [
            name
            for name in self._registrations
            if name.bucket == bucket and name.key.startswith(prefix)
        ]
        return tuple(each for name in names for each in self.writing(name))

    def below(self, bucket: str, prefix: str) -> bool:
        """Whether anything is being written to keys below `prefix`, its own not among them."""
        return any(
            name.bucket == bucket and name.key.startswith(prefix) and name.key != prefix
            for name in self._registrations
        )

    async def settled(self, name: ObjectName) -> None:
        """Wait for the commits of `name` that are under way now."""
        for ended in [each.end() for each in self.committing_to(name)]:
            await ended

    def committing_to(self, name: ObjectName) -> Sequence[Registration]:
        """The commits of `name` that are under way, in the order of their CLOSEs."""
        return self._lines.get(name, ())

    def stored_now(self, name: ObjectName) -> tuple[Registration, ...]:
        """Those of them that wait for nothing but the store."""
        return tuple(
            each
            for each in self.committing_to(name)
            if each.is_publishing and not each.waits_for_key
        )

    async def idle(self) -> None:
        """Wait until no transfer is left."""
        while self._is_busy:
            await self._idle.wait()

    @property
    def _is_busy(self) -> bool:
        return bool(self._registrations or self._removed or self._others)

    def _tell_if_idle(self) -> None:
        if not self._is_busy:
            self._idle.notify_all()


def _remove(lists: dict[ObjectName, list[Registration]], registration: Registration) -> None:
    left = lists[registration.name]
    left.remove(registration)
    if not left:
        del lists[registration.name]
