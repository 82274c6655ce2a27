"""The sentences that tell clients about errors.

Knows: every class of errors. The words of the store itself are for the log, not for the client.
Must not know: the status codes of any protocol.
"""

from __future__ import annotations

from sftpgw import errors

SENTENCES: tuple[tuple[type[errors.StoreError], str], ...] = (
    (errors.NoSuchObject, "No such file or directory"),
    (errors.NoSuchBucket, "the bucket behind this directory does not exist; tell the operator"),
    (errors.NoSuchUpload, "the store has ended the upload; send the file again"),
    (errors.AccessDenied, "the store denies the gateway access to this file"),
    (
        errors.ObjectArchived,
        "the file is in an archive class; ask the operator to restore the object, then try again",
    ),
    (errors.PreconditionFailed, "the file was changed by another client meanwhile"),
    (errors.ConditionalConflict, "the file was changed by another client meanwhile"),
    (
        errors.RoleNotAssumed,
        "the gateway gets no access to your files just now; try again later, or tell the operator",
    ),
    (errors.CredentialsUnavailable, "the gateway has no valid credentials; tell the operator"),
    (
        errors.PartsMustBeEqual,
        "the store takes only parts of one size, as the gateway knows from now on; send it again",
    ),
    (errors.StoresDiffer, "the file cannot be copied from one store to another one"),
    (errors.NameInTheWay, "there is a folder of this name, and this store cannot keep both"),
    (errors.NameNotKept, "this store takes a backslash for a slash: give the file another name"),
    (
        errors.CopiesLackChecksums,
        "the store refused to join the parts; the gateway asks in another way now: send it again",
    ),
    (
        errors.StoreUnreachable,
        "the gateway cannot reach its store as configured; tell the operator",
    ),
    (
        errors.ListWithoutEnd,
        "the store's list of this directory goes on without an end; tell the operator",
    ),
    (errors.StoreUnavailable, "the store does not answer; try again later"),
    (errors.StoreError, "the store refused the request; the gateway's log says why"),
)

TOO_LONG = "the name is too long for the store; choose a shorter one"
TOO_LONG_CODES = frozenset({"KeyTooLongError", "XMinioInvalidObjectName"})
"""S3: a key over 1,024 bytes. MinIO: a name over 255 bytes, or a directory over 244."""

INTERNAL = "internal error; the gateway's log says more"

GIVEN_UP = "the gateway has given the request up, since the session ends; try again later"


def readable(name: bytes) -> str:
    """The bytes of a client as text for messages; unprintable characters are escaped."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def sentence_of(error: errors.GatewayError) -> str:
    """The sentence for an error of the gateway."""
    if isinstance(error, errors.StoreError) and error.code in TOO_LONG_CODES:
        return TOO_LONG
    for kind, sentence in SENTENCES:
        if isinstance(error, kind):
            return sentence
    return error.message
