"""What can go wrong, one class for each outcome that is handled in its own way.

Knows: the outcomes, and what each of them means.
Must not know: SFTP status codes (``sftp/statuses``), HTTP.

There are two families. A `FileError` goes to a client: its message is for a person and names the
path or the limit. A `StoreError` comes from a store: its message, code and request id are for the
log, and `files/` turns it into a `FileError` where it knows better what it means.
"""

from __future__ import annotations

from typing import TypeVar


class GatewayError(Exception):
    """Everything that the gateway raises on purpose."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


GatewayErrorT = TypeVar("GatewayErrorT", bound=GatewayError)


def again(error: GatewayErrorT) -> GatewayErrorT:
    """The same error, to be raised: by what keeps it for each call that comes.

    Its traceback leads to what raises it. If that kept it, the two would be a cycle.

    :param error: what is kept, and never raised itself.
    """
    copied = type(error).__new__(type(error), *error.args)
    copied.__dict__.update(error.__dict__)
    return copied


def without_traces(error: GatewayErrorT) -> GatewayErrorT:
    """An error, without its traceback and what it came from: it is kept, and must keep nothing.

    :param error: the error.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


class ConfigError(GatewayError):
    """The configuration cannot be used.

    :param faults: one line for each reason, with its place as far as it has one.
    :param unplaced: the same reasons without the numbers of lines; none if they have no numbers.
    """

    def __init__(self, faults: tuple[str, ...], unplaced: tuple[str, ...] = ()) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults
        self.unplaced = unplaced or faults


class NoSessionPolicy(GatewayError):
    """No session policy can be written for a user, in words that the operator can act on."""


class SourceAway(GatewayError):
    """A source of users does not answer, or has a fault of its own. The text says which."""


class BadAnswer(GatewayError):
    """A source of users has answered something else than a user. The text says what is wrong, and
    begins with the verb: ``is not JSON``."""


# Errors for clients.


class FileError(GatewayError):
    """A request that cannot be granted, in words that a person can act on."""


class NoSuchFile(FileError):
    """Nothing exists under this path."""


class PermissionDenied(FileError):
    """The user, or the gateway on the user's behalf, may not do this."""


class AlreadyExists(FileError):
    """The target exists and the request forbids to replace it."""


class DirectoryNotEmpty(FileError):
    """RMDIR of a directory that has entries."""


class NotADirectory(FileError):
    """A directory was needed, a file is there."""


class IsADirectory(FileError):
    """A file was needed, a directory is there."""


class InvalidPath(FileError):
    """A path that no object key can stand for (NUL, not UTF-8, too long)."""


class InvalidHandle(FileError):
    """A handle that was never given out, is closed, or is of the other kind."""


class BadRequest(FileError):
    """A request whose bytes do not parse, or whose fields contradict each other."""


class Unsupported(FileError):
    """A request that an object store cannot fulfil."""


class EndOfFile(FileError):
    """A READ at or behind the end of the file, a READDIR behind the last entry."""


class LimitReached(FileError):
    """A limit of the gateway or of S3 (open handles, parts, reorder allowance)."""


class QuotaExceeded(LimitReached):
    """So much may not be stored."""


class ObjectChanged(FileError):
    """The object was replaced while it was being read or copied."""


class UploadFailed(FileError):
    """An upload that will never be published; every later request on it fails."""


class StoreTrouble(FileError):
    """The store did not do its part: unreachable, refusing or contradicting itself."""


# Errors of stores.


class StoreError(GatewayError):
    """A request to the store failed.

    :param message: the store's message, or the gateway's.
    :param code: the S3 error code (``NoSuchKey``), or one of the gateway's for failures that have
        none (``ConnectionLost``, see `s3/error_codes`).
    :param status: the HTTP status, 0 without a response.
    :param request_id: S3's id of the request, for the support of the store.
    """

    def __init__(
        self, message: str, *, code: str = "", status: int = 0, request_id: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.request_id = request_id


class NoSuchObject(StoreError):
    """404 on an object."""


def refuses_one_object(error: StoreError) -> bool:
    """Whether HEAD or GET of an object was refused because of this one object.

    An example is an object that is encrypted with a key which the gateway lacks: 403 with KMS, 400
    with a customer's key (SSE-C). The store works, and a list shows the object.
    """
    return isinstance(error, AccessDenied) or (type(error) is StoreError and error.status == 400)


class NoSuchBucket(StoreError):
    """404 on a bucket."""


class NoSuchUpload(StoreError):
    """The multipart upload was aborted, completed or never was."""


class AccessDenied(StoreError):
    """403: the gateway's credentials do not allow the request."""


class NotSignedForSession(AccessDenied):
    """The gateway itself refuses to sign a request of a session with its own credentials.

    Its code has asked for more than a session may have.
    """


class PreconditionFailed(StoreError):
    """412: If-Match or If-None-Match did not hold."""


class ConditionalConflict(StoreError):
    """409 ConditionalRequestConflict: another client wrote at the same moment."""


class RangeNotSatisfiable(StoreError):
    """416: the range begins at or behind the end of the object (an empty one, too)."""


class ObjectArchived(StoreError):
    """403 InvalidObjectState: the object must be restored before it can be read."""


class NotImplementedByStore(StoreError):
    """501, or another response by which a store says that it lacks a feature."""


class PartsMustBeEqual(StoreError):
    """The store takes no file whose parts differ in size."""


class StoresDiffer(StoreError):
    """A copy from one store to another one, which no store can make: the bytes must be moved."""


class NameInTheWay(StoreError):
    """There is a folder of this name, and the store cannot keep a file beside it."""


class NameNotKept(StoreError):
    """The store would store the object under another name."""


class CopiesLackChecksums(StoreError):
    """The store copies no parts into an upload with checksums, or reports wrong ones for them.

    From now on this is known: a new upload for copies has no checksums.
    """


class StoreUnavailable(StoreError):
    """Still failing after every retry: throttled, broken, unreachable or silent."""


class ListWithoutEnd(StoreUnavailable):
    """A list of the store goes on and on and leads nowhere."""


class StoreUnreachable(StoreUnavailable):
    """The settings do not reach the store: certificate, TLS, proxy. Waiting does not help."""


class CredentialsUnavailable(StoreError):
    """No credentials could be found or refreshed."""


class RoleNotAssumed(CredentialsUnavailable):
    """The sessions of a user have no credentials of their own. The log has said so."""
