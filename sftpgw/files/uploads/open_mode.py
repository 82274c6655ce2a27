"""What OPEN for writing comes to.

Knows: the flags, whether something exists, whether it may be replaced.
Must not know: how to find out, or how to write.

Rules

1. CREAT with TRUNC needs to know nothing: whatever is there will be replaced.
2. EXCL must fail at OPEN if the file exists, and again at CLOSE if somebody was
   faster: the store decides that one (`WriteCondition.IF_ABSENT`).
3. A user who may not overwrite always opens as if with EXCL.
4. Where the store does not say whether the file exists (its policy lets nobody list the
   bucket, so that a missing object is a 403), OPEN goes on as if with EXCL.
5. Without TRUNC, what exists stays below what is written: an overlay. It is the same
   file afterwards, with the old one's class, tags and metadata but the time; with TRUNC
   it is a new one.
6. Where nothing exists, but an upload of this user's was cut off and kept, that is a file
   for EXCL, and goes on without TRUNC. Nothing is overwritten by that.
"""

from __future__ import annotations

from dataclasses import dataclass

from sftpgw.errors import AlreadyExists, NoSuchFile, PermissionDenied
from sftpgw.files.uploads.suspended.plan import SuspendedUpload
from sftpgw.model.filesystem import WriteIntent
from sftpgw.model.store import ObjectInfo, WriteCondition


@dataclass(frozen=True, slots=True)
class OpenMode:
    """How a file is written.

    :param condition: what must hold when the object is stored.
    :param base: the object that is edited; None for a file that starts empty. What is published
        has its class, tags and metadata.
    :param resumed: the suspended upload that goes on.
    """

    condition: WriteCondition = WriteCondition.NONE
    base: ObjectInfo | None = None
    resumed: SuspendedUpload | None = None


def must_look(intent: WriteIntent, *, may_overwrite: bool) -> bool:
    """Whether it matters at OPEN if the file exists."""
    return intent.exclusive or not (intent.create and intent.truncate) or not may_overwrite


def decide(
    intent: WriteIntent,
    existing: ObjectInfo | None,
    *,
    may_overwrite: bool,
    path: str,
    is_hidden: bool = False,
    is_suspended: bool = False,
) -> OpenMode:
    """Grant or refuse. `existing` is None if nothing is there or nobody looked.

    :param is_hidden: somebody looked, and was not told.
    :param is_suspended: the user's last upload of it was cut off, and kept.
    :raises NoSuchFile, AlreadyExists, PermissionDenied:
    """
    if existing is None:
        if is_suspended and intent.exclusive and intent.create:
            raise AlreadyExists(f"{path}: a part of the file exists already; go on with it")
        if is_hidden and not intent.create:
            raise PermissionDenied(f"{path}: the store does not tell whether the file exists")
        if not intent.create and not is_suspended:
            raise NoSuchFile(f"{path}: No such file or directory")
        guarded = intent.exclusive or not may_overwrite or is_hidden
        return OpenMode(WriteCondition.IF_ABSENT if guarded else WriteCondition.NONE)
    if intent.exclusive and intent.create:
        raise AlreadyExists(f"{path}: the file exists already")
    if not may_overwrite:
        raise PermissionDenied(f"{path}: the file exists, and you may not overwrite files here")
    return OpenMode(base=None if intent.truncate else existing)
