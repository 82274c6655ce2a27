"""Which keys are needed by uploads whose file has another name by now.

Knows: for which key each multipart upload was begun.
Must not know: how an upload is completed.

A multipart upload can be completed only under the key that it was begun for, whatever its file
is called by then. It needs that key for a moment at its end (`files/uploads/relocation`), and
until then this process stores no other file there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from twisted.internet.defer import Deferred, TimeoutError

from sftpgw.aio.notifier import Notifier
from sftpgw.errors import LimitReached
from sftpgw.files.silly_rename import is_silly_rename
from sftpgw.model.clock import Clock
from sftpgw.model.store import ObjectName

KEY_SECONDS = 20.0
"""How long a CLOSE waits for a key that a renamed upload needs."""


class BoundUpload(Protocol):
    """An upload with a key that it was begun for."""

    @property
    def name(self) -> ObjectName:
        """The object that CLOSE publishes now."""

    @property
    def is_removed(self) -> bool:
        """Whether the file was removed, so that CLOSE publishes nothing."""


class KeyBindings:
    """The keys for which the multipart uploads of the process were begun."""

    def __init__(self) -> None:
        self._bound: dict[ObjectName, set[BoundUpload]] = {}
        self._waiting: dict[ObjectName, Notifier] = {}
        """What waits for each key."""

    def bind(self, key: ObjectName, upload: BoundUpload) -> None:
        """An upload was begun for `key`."""
        self._bound.setdefault(key, set()).add(upload)

    def unbind(self, key: ObjectName, upload: BoundUpload) -> None:
        """An upload has ended."""
        bound = self._bound.get(key, set())
        if upload in bound:
            bound.remove(upload)
            if not bound:
                del self._bound[key]
            self.look_again(key)

    def bound_elsewhere(self, key: ObjectName) -> frozenset[BoundUpload]:
        """The uploads that can be completed under `key` only, and whose file has another name.

        A file that libfuse has unlinked is not among them: it gives way.
        """
        return frozenset(
            each
            for each in self._bound.get(key, ())
            if each.name != key and not each.is_removed and not is_silly_rename(each.name.key)
        )

    def look_again(self, key: ObjectName) -> None:
        """An upload that is bound to `key` has another name, or none: the key may be free now."""
        if (waiting := self._waiting.get(key)) is not None:
            waiting.notify_all()

    async def wait_until_free(
        self, key: ObjectName, clock: Clock, but_for: Iterable[object] = ()
    ) -> None:
        """Wait until no upload with another name needs `key`.

        :param key: the key that is about to be used.
        :param clock: measures how long that takes.
        :param but_for: uploads that are about to get this name back.
        :raises LimitReached: it takes longer than `KEY_SECONDS`.
        """
        give_up_at = clock.seconds() + KEY_SECONDS
        while self.bound_elsewhere(key).difference(but_for):
            left_seconds = max(0.0, give_up_at - clock.seconds())
            try:
                await self._change_of(key).addTimeout(left_seconds, clock)  # type: ignore[arg-type]
            except TimeoutError:
                raise LimitReached(
                    "a file that had this name is being uploaded under another one still, and the "
                    "store needs the name once more for it; try again when that upload has ended"
                ) from None

    def _change_of(self, key: ObjectName) -> Deferred[None]:
        """Fires with the next `look_again` for the key."""

        def forget() -> None:
            del self._waiting[key]

        if key not in self._waiting:
            self._waiting[key] = Notifier(forget)
        return self._waiting[key].wait()
