"""What a client is told of an error, in words that a person can act on.

Knows: every error class, and that what a store said is for the log.
Must not know: the codes of any protocol.
"""

from __future__ import annotations

from sftpgw import errors

SENTENCES: tuple[tuple[type[errors.StoreError], str], ...] = (
    (errors.NoSuchObject, "No such file or directory"),
    (errors.NoSuchBucket, "the bucket behind this directory does not exist; tell the operator"),
    (errors.NoSuchUpload, "the upload was ended in the store; send the file again"),
    (errors.AccessDenied, "the store denies the gateway access to this file"),
    (
        errors.ObjectArchived,
        "the file is in an archive class; ask the operator to restore the object, then try again",
    ),
    (errors.PreconditionFailed, "the file was changed by another client meanwhile"),
    (errors.ConditionalConflict, "the file was changed by another client meanwhile"),
    (errors.CredentialsUnavailable, "the gateway has no valid credentials; tell the operator"),
    (
        errors.PartsMustBeEqual,
        "the store takes parts of one size only, as is known from now on; send the file again",
    ),
    (errors.NameInTheWay, "there is a folder of this name, and this store cannot keep both"),
    (errors.NameNotKept, "this store takes a backslash for a slash: give the file another name"),
    (
        errors.CopiesLackChecksums,
        "the store refused to join parts, and is asked in another way from now on; send it again",
    ),
    (
        errors.StoreUnreachable,
        "the gateway cannot reach its store as it is set up; tell the operator",
    ),
    (errors.StoreUnavailable, "the store does not answer; try again later"),
    (errors.StoreError, "the store refused the request; the gateway's log says why"),
)

TOO_LONG = "the store takes no name as long as this one; choose a shorter one"
TOO_LONG_CODES = frozenset({"KeyTooLongError", "XMinioInvalidObjectName"})
"""S3's for a key of over 1,024 bytes; MinIO's for a name of over 255, a folder's of over 244."""

INTERNAL = "internal error; the gateway's log says more"

GIVEN_UP = "the gateway has given the request up, since the session ends; try again later"


def readable(name: bytes) -> str:
    """What a client calls something, as text: what cannot be shown is an escape."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def sentence_of(error: errors.GatewayError) -> str:
    """The sentence for an error that was raised on purpose."""
    if isinstance(error, errors.StoreError) and error.code in TOO_LONG_CODES:
        return TOO_LONG
    for kind, sentence in SENTENCES:
        if isinstance(error, kind):
            return sentence
    return error.message
