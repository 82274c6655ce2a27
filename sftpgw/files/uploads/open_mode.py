"""How a file is opened for writing.

Knows: the flags of OPEN, whether the file exists, whether it may be replaced.
Must not know: how to find that out, or how to write.

Rules

1. CREAT with TRUNC need not know anything: an object that is there will be replaced.
2. EXCL must fail at OPEN if the file exists, and again at CLOSE if another client was faster: the
   store decides that one (`WriteCondition.IF_ABSENT`).
3. A user who may not overwrite always opens as if with EXCL.
4. Where the store does not tell whether the file exists (its policy lets the gateway not list the
   bucket, so that a missing object is a 403), OPEN goes on as if with EXCL.
5. Without TRUNC, an object that exists is the *base* of the written bytes. The result is the same
   file, with the class, tags and metadata of the old one, except for the time; with TRUNC it is a
   new file.
6. Where the file does not exist, but the user has a suspended upload of it, that counts as a file
   for EXCL, and goes on without TRUNC. No object is overwritten by that.
7. A user who sees nothing of what is stored (`files/drop_box`) cannot go on with it: there is no
   base. scp, which sends the whole file without TRUNC, replaces it if the user may overwrite; other
   clients may mean to keep bytes, so that OPEN without TRUNC stores new files only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sftpgw.errors import AlreadyExists, NoSuchFile, PermissionDenied
from sftpgw.files.uploads.suspended.plan import SuspendedUpload
from sftpgw.model.filesystem import WriteIntent
from sftpgw.model.store import ObjectInfo, WriteCondition


@dataclass(frozen=True, slots=True)
class OpenMode:
    """How a file is written.

    :param condition: what must hold when the object is stored.
    :param base: the object that is edited; None for a file that starts empty. The
        published object has its class, tags and metadata.
    :param resumed: the suspended upload that goes on.
    :param like: the object whose metadata, tags and the like a new file gets, as its copy.
    """

    condition: WriteCondition = WriteCondition.NONE
    base: ObjectInfo | None = None
    resumed: SuspendedUpload | None = None
    like: ObjectInfo | None = None


def must_look(intent: WriteIntent, *, may_overwrite: bool) -> bool:
    """Whether it matters at OPEN if the file exists.

    :param intent: the flags of OPEN.
    :param may_overwrite: whether the user may replace files.
    """
    return intent.exclusive or not (intent.create and intent.truncate) or not may_overwrite


def unseen_intent(intent: WriteIntent, *, may_overwrite: bool) -> tuple[WriteIntent, bool]:
    """What an OPEN means where the user sees nothing, and whether it may replace a file (rule 7).

    :param intent: the flags of the OPEN.
    :param may_overwrite: whether the user may replace files.
    """
    if intent.truncate or not may_overwrite:
        return intent, may_overwrite
    if intent.expected_bytes is not None:
        return replace(intent, truncate=True), True
    return intent, False


def decide(
    intent: WriteIntent,
    existing: ObjectInfo | None,
    *,
    may_overwrite: bool,
    path: str,
    is_hidden: bool = False,
    is_suspended: bool = False,
) -> OpenMode:
    """Grant or refuse an OPEN.

    :param intent: the flags of the OPEN.
    :param existing: the stored object; None if there is none, or it does not matter.
    :param may_overwrite: whether the user may replace files.
    :param path: the path of the file, for the client.
    :param is_hidden: whether the store does not tell if the file exists.
    :param is_suspended: whether the user has a suspended upload of the file.
    :raises NoSuchFile: the file must exist, and does not.
    :raises AlreadyExists: the file must not exist, and does.
    :raises PermissionDenied: the user may not overwrite, or the store does not tell.
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
