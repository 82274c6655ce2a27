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
then CLOSE publishes nothing. Once something was sent that belongs to one key (a multipart
upload does) it is *bound*: it can still lose its name, but not change it.
"""

from __future__ import annotations

from collections.abc import Container

from twisted.internet.defer import Deferred

from sftpgw.errors import LimitReached
from sftpgw.files.recent import Recent
from sftpgw.files.waiting import Waiting
from sftpgw.interfaces import FileWriter
from sftpgw.values import MultipartUpload, ObjectName

Keepable = MultipartUpload | ObjectName
"""What an upload has in the store before it is published."""

MAX_GONE = 1024
"""So many directories that have gone are remembered."""


class Registration:
    """One upload's place in the registry, from its open to its end."""

    def __init__(self, registry: InFlight, name: ObjectName, writer: FileWriter | None) -> None:
        self.name = name
        self.writer = writer
        self.is_committing = False
        self.is_bound = False
        self.is_removed = False
        self.has_ended = False
        self.may_replace = False
        self.is_kept_open = False
        self._kept: set[Keepable] = set()
        self._registry = registry
        self._before: list[Deferred[None]] = []
        self._waiting = Waiting()
        self._closing = Waiting()

    def bind(self) -> None:
        """What has been sent, or what it builds upon, belongs to this name."""
        self.is_bound = True

    def rename(self, name: ObjectName, *, may_replace: bool) -> None:
        """It is to be published as `name`; it must not be bound, or being published.

        :param may_replace: even if the file was to be a new one, when it was opened.
        """
        self._registry.renamed(self, name)
        self.may_replace = self.may_replace or may_replace
        self._closing.let_go()

    def remove(self) -> None:
        """It is to be published nowhere. Its writer notices nothing."""
        if not self.is_committing and not self.has_ended:
            self._registry.removed(self)
            self.is_removed = True
            self._closing.let_go()

    def keeps(self, thing: Keepable) -> None:
        """Something in the store belongs to this upload until it ends: nobody sweeps it away."""
        self._kept.add(thing)
        self._registry.kept.add(thing)

    def committing(self) -> None:
        """The client has closed the file; from now on others wait for it."""
        if not self.is_committing and not self.is_removed:
            self._before = self._registry.commits(self.name)
            self.is_committing = True
            self._closing.let_go()

    def kept_open(self) -> None:
        """Its client was given time to close it, and has not: it is not waited for any more."""
        self.is_kept_open = True
        self._closing.let_go()

    def closing(self) -> Deferred[None]:
        """Fires when it is closed, renamed or gone, or else `kept_open`."""
        return self._closing.turn()

    async def turn(self) -> bool:
        """Wait for the commits of this object that began before: the last CLOSE wins.

        Returns whether there were any.
        """
        has_waited = bool(self._before)
        while self._before:
            await self._before.pop()
        return has_waited

    def ended(self) -> None:
        """Published or given up, and nothing of it is under way any more."""
        self.has_ended = True
        self._registry.kept -= self._kept
        self._registry.forget(self)
        self._closing.let_go()
        self._waiting.let_go()

    def end(self) -> Deferred[None]:
        """Fires when it has ended."""
        return self._waiting.turn()


class InFlight:
    """All work of the process: uploads by object, downloads and renames by number."""

    def __init__(self) -> None:
        self.changes = 0
        self.kept: set[Keepable] = set()
        self._registrations: dict[ObjectName, list[Registration]] = {}
        self._removed: set[Registration] = set()
        self._others = 0
        self._idle = Waiting()
        self._is_draining = False
        self._gone: Recent[tuple[str, str], int] = Recent(MAX_GONE)

    def changed(self) -> None:
        """Some session has changed what is stored: what was listed before is out of date."""
        self.changes += 1

    def directory_gone(self, bucket: str, prefix: str) -> None:
        """A directory was removed or renamed: no session shall believe in it any more."""
        self.changed()
        self._gone.keep((bucket, prefix), self.changes)

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

    def register(self, name: ObjectName, writer: FileWriter | None) -> Registration:
        """An upload to `name` begins, or, without a writer, a rewrite of what is stored there."""
        registration = Registration(self, name, writer)
        self._registrations.setdefault(name, []).append(registration)
        return registration

    def renamed(self, registration: Registration, name: ObjectName) -> None:
        """Called by the registration itself, as the next two are."""
        self._drop(registration)
        registration.name = name
        self._registrations.setdefault(name, []).append(registration)
        self.changed()

    def removed(self, registration: Registration) -> None:
        if registration in self._removed:
            return
        self._drop(registration)
        self._removed.add(registration)
        self.changed()

    def forget(self, registration: Registration) -> None:
        self.changed()
        if registration in self._removed:
            self._removed.remove(registration)
        else:
            self._drop(registration)
        self._tell_if_idle()

    def _drop(self, registration: Registration) -> None:
        left = self._registrations[registration.name]
        left.remove(registration)
        if not left:
            del self._registrations[registration.name]

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

    def to_be_closed(self, name: ObjectName, among: Container[FileWriter]) -> list[Registration]:
        """Of some uploads, those to `name` whose CLOSE may come at any moment."""
        return [
            each
            for each in self.writing(name)
            if each.writer and each.writer in among and not each.is_kept_open
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
        """Whether anything is being written to keys that begin with `prefix`."""
        return any(
            name.bucket == bucket and name.key.startswith(prefix) for name in self._registrations
        )

    async def settled(self, name: ObjectName) -> None:
        """Wait for the commits of `name` that are under way now."""
        for ended in self.commits(name):
            await ended

    def commits(self, name: ObjectName) -> list[Deferred[None]]:
        """One Deferred for each commit of `name` under way; it fires at the end of that."""
        registered = self._registrations.get(name, ())
        return [each.end() for each in registered if each.is_committing]

    async def idle(self) -> None:
        """Wait until no transfer is left."""
        while self._is_busy:
            await self._idle.turn()

    @property
    def _is_busy(self) -> bool:
        return bool(self._registrations or self._removed or self._others)

    def _tell_if_idle(self) -> None:
        if not self._is_busy:
            self._idle.let_go()
