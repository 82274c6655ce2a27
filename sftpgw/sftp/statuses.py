"""The error map: what went wrong, as a status code and a sentence.

Knows: every error class and the code of SFTP version 3 that fits it best.
Must not know: how an answer is sent.

Codes over 8 belong to later versions and confuse clients of this one, so most
of what has no code of its own is FAILURE, and the sentence says the rest. What
a store said is for the log: the client learns what it means for its request.
"""

from __future__ import annotations

from sftpgw import errors
from sftpgw.wire.sftp import Malformed, Status

CODES: tuple[tuple[type[Exception], Status], ...] = (
    (errors.EndOfFile, Status.EOF),
    (errors.NoSuchFile, Status.NO_SUCH_FILE),
    (errors.PermissionDenied, Status.PERMISSION_DENIED),
    (errors.BadRequest, Status.BAD_MESSAGE),
    (errors.Unsupported, Status.OP_UNSUPPORTED),
    (errors.FileError, Status.FAILURE),
    (errors.NoSuchObject, Status.NO_SUCH_FILE),
    (errors.AccessDenied, Status.PERMISSION_DENIED),
    (errors.ObjectArchived, Status.PERMISSION_DENIED),
    (errors.StoreError, Status.FAILURE),
    (Malformed, Status.BAD_MESSAGE),
    (NotImplementedError, Status.OP_UNSUPPORTED),
)

SENTENCES: tuple[tuple[type[errors.StoreError], str], ...] = (
    (errors.NoSuchObject, "no such file"),
    (errors.NoSuchBucket, "the bucket behind this directory does not exist; tell the operator"),
    (errors.NoSuchUpload, "the upload was ended in the store; send the file again"),
    (errors.AccessDenied, "the store denies the gateway access to this file"),
    (
        errors.ObjectArchived,
        "the file is in an archive class; ask the operator to restore the object, then try again",
    ),
    (errors.PreconditionFailed, "the file was changed by somebody else meanwhile"),
    (errors.ConditionalConflict, "the file was changed by somebody else meanwhile"),
    (errors.CredentialsUnavailable, "the gateway has no valid credentials; tell the operator"),
    (errors.StoreUnavailable, "the store does not answer; try again later"),
    (errors.StoreError, "the store refused the request; the gateway's log says why"),
)


def status_of(error: BaseException) -> tuple[Status, str]:
    """The code and the sentence for an error that a handler raised.

    What is not in the map is a defect: FAILURE, and no word of its inside.
    """
    for kind, code in CODES:
        if isinstance(error, kind):
            return code, _sentence(error)
    return Status.FAILURE, "internal error; the gateway's log says more"


def is_foreseen(error: BaseException) -> bool:
    """Whether the map has the error, so that it needs no traceback in the log."""
    return isinstance(error, tuple(kind for kind, _ in CODES))


def _sentence(error: BaseException) -> str:
    for kind, sentence in SENTENCES:
        if isinstance(error, kind):
            return sentence
    if isinstance(error, errors.GatewayError):
        return error.message
    return "the request is not supported"
