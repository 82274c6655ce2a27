"""Which actions of S3 the requests need that a permission leads to.

Knows: the permissions, and the requests that the gateway sends for them.
Must not know: buckets, keys, and how a policy is written.

* HEAD is ``s3:GetObject``, too: STAT without it is answered from a LIST.
* Copies need both tagging actions where the source has tags, and conditions on ETags of what is
  replaced or deleted need ``s3:GetObject``.
* ``s3:ListBucketMultipartUploads`` is in none of them. It cannot be limited to a prefix, so it
  would show the names of all uploads. Only the gateway itself lists uploads.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
"""

from __future__ import annotations

from sftpgw.model.mounts import SEEING, Permission
from sftpgw.model.object_settings import ObjectSettings

LIST_BUCKET = "s3:ListBucket"
GET, PUT, DELETE = "s3:GetObject", "s3:PutObject", "s3:DeleteObject"
ABORT = "s3:AbortMultipartUpload"
PUT_ACL = "s3:PutObjectAcl"
GET_TAGS, PUT_TAGS = "s3:GetObjectTagging", "s3:PutObjectTagging"

_COPY = (GET, GET_TAGS, PUT, PUT_TAGS, ABORT)

NEEDS: tuple[tuple[Permission, tuple[str, ...]], ...] = (
    (Permission.LIST, (LIST_BUCKET,)),
    (Permission.DOWNLOAD, (GET,)),
    (Permission.UPLOAD, (PUT, ABORT)),
    # Bytes of the file are kept: it is read, copied in ranges, and keeps its tags.
    (Permission.UPLOAD | Permission.OVERWRITE, _COPY),
    (Permission.DELETE, (DELETE, LIST_BUCKET)),  # RMDIR looks for entries
    (Permission.RENAME, (*_COPY, DELETE, LIST_BUCKET)),
    (Permission.MKDIR, (PUT, LIST_BUCKET)),
    (Permission.SETSTAT, (*_COPY, LIST_BUCKET)),
)
"""All permissions of a row together need its actions."""

NEEDS_UNSEEN: tuple[tuple[Permission, tuple[str, ...]], ...] = (
    (Permission.UPLOAD, (PUT, ABORT)),
    (Permission.DELETE, (DELETE,)),
    (Permission.RENAME, (*_COPY, DELETE)),
    (Permission.MKDIR, (PUT,)),
    (Permission.SETSTAT, _COPY),
)
"""The same where the user sees nothing. There nothing is looked for, and no byte of a stored file
is kept; only files that the session has stored are renamed, or get another time."""


def actions_for(granted: Permission, *, keeps_empty_directories: bool = False) -> frozenset[str]:
    """The actions that a user with these permissions needs.

    :param granted: the permissions.
    :param keeps_empty_directories: a marker is stored where the last file goes (``[files]
        keep_empty_directories``).
    """
    rows = NEEDS if granted & SEEING else NEEDS_UNSEEN
    found = {action for needed, actions in rows if needed in granted for action in actions}
    if keeps_empty_directories and DELETE in found:
        found |= {PUT, LIST_BUCKET}
    return frozenset(found)


def actions_for_objects(objects: ObjectSettings) -> frozenset[str]:
    """The actions that storing an object needs besides, since it has tags or an ACL.

    :param objects: how the object is stored.
    """
    needs = ((bool(objects.tags), PUT_TAGS), (bool(objects.acl), PUT_ACL))
    return frozenset(action for is_needed, action in needs if is_needed)
