"""The error map: what went wrong, as a status code and a sentence.

Knows: every error class and the code of SFTP version 3 that fits it best.
Must not know: how a reply is sent.

Codes over 8 belong to later versions and confuse clients of this one, so most
of what has no code of its own is FAILURE, and the sentence (`model/messages`) says the rest.

A file where a directory is needed is NO_SUCH_FILE: clients were written against OpenSSH, which
answers so, and look what is there when they get that code, not when they get FAILURE.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError

from sftpgw import errors
from sftpgw.model.messages import GIVEN_UP, INTERNAL, sentence_of
from sftpgw.wire.sftp import Malformed, Status

CODES: tuple[tuple[type[Exception], Status], ...] = (
    (errors.EndOfFile, Status.EOF),
    (errors.NoSuchFile, Status.NO_SUCH_FILE),
    (errors.NotADirectory, Status.NO_SUCH_FILE),
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


def status_of(error: BaseException) -> tuple[Status, str]:
    """The code and the sentence for an error that a handler raised.

    What is not in the map is a defect: FAILURE, and no word of its inside; but for what was
    cancelled, since the channel or the gateway ends.
    """
    for kind, code in CODES:
        if isinstance(error, kind):
            return code, _sentence(error)
    if isinstance(error, CancelledError):
        return Status.FAILURE, GIVEN_UP
    return Status.FAILURE, INTERNAL


def is_foreseen(error: BaseException) -> bool:
    """Whether the map has the error, so that it needs no traceback in the log."""
    return isinstance(error, tuple(kind for kind, _ in CODES))


def _sentence(error: BaseException) -> str:
    if isinstance(error, errors.GatewayError):
        return sentence_of(error)
    return "the request is not supported"
