"""The requests for the base object of an edited file.

Knows: the base's name and ETag now, and whether bytes of it are used.
Must not know: which bytes are asked for, or why.

The base may be renamed while a request for it is under way: then the request is made again under
the new name. It must not be replaced: bytes of it are used only under the ETag that it had at OPEN.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from sftpgw.errors import NoSuchObject, ObjectChanged, PreconditionFailed
from sftpgw.files.transfers.registry import Registration
from sftpgw.model.store import ObjectInfo, ObjectStore

T = TypeVar("T")


class EditedBase:
    """The base object of one upload.

    :param store: where it is.
    :param registration: knows its name and ETag.
    """

    def __init__(self, store: ObjectStore, registration: Registration) -> None:
        self._store = store
        self._registration = registration
        self._is_used = False

    @property
    def info(self) -> ObjectInfo | None:
        """The base as it is now; None for a file that starts empty."""
        return self._registration.base

    async def ask(self, request: Callable[[ObjectInfo], Awaitable[T]]) -> T:
        """Make a request for the base, under the name that it has now.

        :param request: makes the request, under the base's ETag.
        :raises ObjectChanged: the base is not what it was.
        """
        self._is_used = True
        while True:
            base = self._known
            try:
                return await request(base)
            except (PreconditionFailed, NoSuchObject):
                if base is self._known:
                    raise _changed() from None

    async def check(self) -> None:
        """Check that the base, if bytes of it are used, was not replaced: they would come back.

        :raises ObjectChanged: it was.
        """
        if not self._is_used:
            return
        base = self._known
        try:
            found = await self._store.head(base.name)
        except NoSuchObject:
            raise _changed() from None
        if found.etag != base.etag:
            raise _changed()

    @property
    def _known(self) -> ObjectInfo:
        assert self._registration.base is not None, "a file without a base uses no bytes of it"
        return self._registration.base


def _changed() -> ObjectChanged:
    return ObjectChanged(
        "the file was changed by another client meanwhile, so that nothing of it was stored; "
        "open it again"
    )
