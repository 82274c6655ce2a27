"""The seams between rooms.

Knows: which questions one room may ask another, as `typing.Protocol`.
Must not know: who answers them.

Everything that waits is ``async``, but for the two hot paths (READ and WRITE):
those return a plain value when there is nothing to wait for, else a Deferred.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from sftpgw.s3_limits import MAX_LISTED_KEYS
from sftpgw.values import (
    AttributeChanges,
    Body,
    Buffer,
    ByteRange,
    Capabilities,
    Checksum,
    DirectoryEntry,
    FileAttributes,
    ListPage,
    MultipartUpload,
    ObjectInfo,
    ObjectName,
    ObjectProperties,
    Space,
    StoredPart,
    UploadsPage,
    User,
    WriteCondition,
    WriteIntent,
)


class DelayedCall(Protocol):
    """A call that has been put off."""

    def cancel(self) -> None: ...

    def active(self) -> bool: ...


class Clock(Protocol):
    """The time, and a way to wait for it: Twisted's reactor or ``task.Clock``."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, callable: Any, *args: Any) -> Any: ...


class EventSink(Protocol):
    """Where the gateway tells what happened.

    `event` is a past-tense name in lower case (``file-stored``); `facts` are
    names and plain values. Secrets are never facts.
    """

    def tell(self, event: str, /, **facts: object) -> None: ...

    def bind(self, **facts: object) -> EventSink:
        """The same sink, with `facts` added to everything told."""


# The store.


class BodySink(Protocol):
    """Takes the body of a GET as it arrives."""

    def began(self, info: ObjectInfo) -> None:
        """The headers are there: `info` has the size of the whole object. Once only."""

    def received(self, data: bytes) -> None:
        """The next bytes of the range, in order, each once, retries unseen."""


class Interest(Protocol):
    """Whether anybody still wants what a request is for. Once lost it stays so."""

    @property
    def is_lost(self) -> bool: ...

    def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake`, once, when the interest is lost; now if it is already."""

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Do not call it any more."""


class ObjectStore(Protocol):
    """An S3 bucket's worth of operations, retried where that can help.

    Raises `sftpgw.errors.StoreError` and its subclasses, and nothing else. To
    cancel, cancel the Deferred that runs the coroutine: the request is dropped.
    What is not among the bucket's capabilities (a condition, checksums) is left out
    of the request. https://docs.aws.amazon.com/AmazonS3/latest/API/
    """

    def capabilities_of(self, bucket: str) -> Capabilities:
        """What is known by now; final once something was written to the bucket."""

    async def learn_capabilities(self, bucket: str) -> Capabilities:
        """The same once it has been tried out, which may take a while. Never raises."""

    def believing(self, capabilities: Capabilities) -> ObjectStore:
        """The same store, taken to be able to do exactly this: for trying that out."""

    def while_wanted(self, interest: Interest) -> ObjectStore:
        """The same store, for requests that are of no use once `interest` is lost.

        What is on its way then is waited for. Nothing is tried again, nor waits for a better
        moment, or for its turn; nothing need be begun. The error is StoreUnavailable.
        """

    async def head_bucket(self, bucket: str) -> None:
        """HeadBucket. :raises NoSuchBucket, AccessDenied:"""

    async def head(self, name: ObjectName, *, with_checksum: bool = False) -> ObjectInfo:
        """HeadObject.

        :param with_checksum: whoever may not decrypt the object (KMS) is refused then.
        :raises NoSuchObject:
        """

    async def get(
        self,
        name: ObjectName,
        wanted: ByteRange | None,
        sink: BodySink,
        *,
        if_match: str | None = None,
    ) -> None:
        """GetObject into `sink`; returns when the body is whole.

        `wanted` may reach behind the end: what there is comes. A body that
        breaks off is gone on with from its last byte, with If-Match.

        :raises NoSuchObject, PreconditionFailed, ObjectArchived:
        :raises RangeNotSatisfiable: `wanted` begins at or behind the end.
        """

    async def put(
        self,
        name: ObjectName,
        body: Body,
        properties: ObjectProperties,
        condition: WriteCondition = WriteCondition.NONE,
        *,
        checksum: Checksum | None = None,
    ) -> str:
        """PutObject; returns the ETag.

        :param checksum: of `body`, for who knows it, or knows it to be wrong.
        :raises PreconditionFailed, ConditionalConflict:
        """

    async def delete(self, name: ObjectName, *, if_match: str | None = None) -> None:
        """DeleteObject; success if there was none. :raises PreconditionFailed:"""

    async def copy(
        self,
        source: ObjectInfo,
        target: ObjectName,
        condition: WriteCondition = WriteCondition.NONE,
        properties: ObjectProperties | None = None,
        *,
        if_match: str | None = None,
    ) -> str:
        """CopyObject (up to 5 GiB) if the source still has its ETag; returns the new ETag.

        Metadata and tags are kept unless `properties` replaces the metadata;
        the storage class is the source's.

        :param if_match: the ETag that the target must have, for a copy that replaces it.
        :raises NoSuchObject, PreconditionFailed, ObjectArchived:
        """

    async def tags(self, name: ObjectName) -> Mapping[str, str]:
        """GetObjectTagging. :raises NoSuchObject:"""

    async def list(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        limit: int = MAX_LISTED_KEYS,
    ) -> ListPage:
        """One page of ListObjectsV2, keys in UTF-8 binary order."""

    async def create_upload(
        self, name: ObjectName, properties: ObjectProperties, *, copies: bool = False
    ) -> MultipartUpload:
        """CreateMultipartUpload.

        :param copies: whether parts may be copied into it. Where that does not go together with
            checksums, it gets none.
        """

    async def upload_part(
        self,
        upload: MultipartUpload,
        number: int,
        body: Body,
        *,
        checksum: Checksum | None = None,
    ) -> StoredPart:
        """UploadPart, 1 ≤ `number` ≤ 10,000; `checksum` as for `put`. :raises NoSuchUpload:"""

    async def copy_part(
        self, upload: MultipartUpload, number: int, source: ObjectInfo, wanted: ByteRange
    ) -> StoredPart:
        """UploadPartCopy if the source still has its ETag.

        :raises PreconditionFailed:
        :raises CopiesLackChecksums: another upload, begun now to copy into, would do.
        """

    async def complete_upload(
        self,
        upload: MultipartUpload,
        parts: tuple[StoredPart, ...],
        condition: WriteCondition = WriteCondition.NONE,
    ) -> str:
        """CompleteMultipartUpload; returns the object's ETag.

        If every part has a checksum, the object's is made of them and demanded.

        A 200 with an ``<Error>`` body is an error. An answer that was lost is
        settled by a HEAD before this returns or raises.

        :raises NoSuchUpload, PreconditionFailed, ConditionalConflict:
        """

    async def abort_upload(self, upload: MultipartUpload) -> None:
        """AbortMultipartUpload; success if it is gone already."""

    async def list_uploads(
        self, bucket: str, prefix: str, marker: tuple[str, str] | None = None
    ) -> UploadsPage:
        """One page of ListMultipartUploads."""


# Memory.


class MemoryBudget(Protocol):
    """The bytes that all transfers of the process may hold together.

    Read-ahead takes what is free (`try_acquire`), uploads stand in line for whole
    parts (`acquire`), and what cannot wait may overdraw a little (`try_charge`). What is
    here already, whoever is to blame, is counted (`charge`).
    """

    def try_acquire(self, size_bytes: int) -> bool:
        """Count bytes if there is room and nobody waits in line."""

    def try_charge(self, size_bytes: int) -> bool:
        """Count bytes past the line, and past the limit as far as the overdraft goes."""

    def charge(self, size_bytes: int) -> None:
        """Count bytes that are here already, past every limit."""

    def acquire(self, size_bytes: int) -> Deferred[None] | None:
        """Count bytes now (None) or once it is our turn; cancel to leave the line."""

    def release(self, size_bytes: int) -> None:
        """Give bytes back."""

    @property
    def spare_bytes(self) -> int:
        """What one transfer may hold for nobody yet: a fair share, once memory is short."""

    def watch(self, shed: Callable[[], None], *, is_transfer: bool = True) -> None:
        """Call `shed` when somebody has to wait: give back what you hold in vain.

        :param is_transfer: whether it takes part in the sharing of what is spare.
        """

    def unwatch(self, shed: Callable[[], None]) -> None:
        """Do not call it any more."""

    def press(self) -> None:
        """Ask all who watch to shed, if somebody stands in line."""

    def is_greedy(self) -> bool:
        """Whether others wait while this user holds more than they could."""


# Files.


class Traffic(Protocol):
    """Takes note of bytes of one open file that no client sent, or was sent."""

    def hashed(self, size_bytes: int) -> None:
        """So many of the bytes read were for a digest."""

    def copied_out(self, size_bytes: int) -> None:
        """So many of the bytes read are for another file."""

    def copied_in(self, size_bytes: int) -> None:
        """So many of the bytes written come from another file."""


Together = Callable[[], AbstractContextManager[None]]
"""While it is held, answers gather; at its end they leave together."""


class FileReader(Protocol):
    """A file open for reading."""

    @property
    def traffic(self) -> Traffic: ...

    def read(self, offset: int, length: int) -> Body | Deferred[Body]:
        """All of ``[offset, offset + length)`` that exists, in pieces.

        :raises EndOfFile: at or behind the end.
        :raises ObjectChanged: the object was replaced since the open.
        """

    def answer_together(self, together: Together) -> None:
        """Hold ``together()`` while several READs are answered at once."""

    async def attributes(self) -> FileAttributes: ...

    def close(self) -> None:
        """Stop fetching and let go of all memory."""


class FileWriter(Protocol):
    """A file open for writing. An error sticks: every later call raises it."""

    @property
    def published_as(self) -> ObjectName | None:
        """The object that `commit` would store, if it came now; None if it stores nothing."""

    @property
    def traffic(self) -> Traffic: ...

    def write(self, offset: int, *pieces: Buffer) -> Deferred[None] | None:
        """Take `pieces` of bytes, one behind the other; they may be kept.

        None or a fired Deferred means: send more.
        """

    def read(self, offset: int, length: int) -> Body | Deferred[Body]:
        """The file as it would be now, as `FileReader.read`, if it was opened for that.

        :raises Unsupported: it was not, or the bytes are not to be had before the end.
        :raises PermissionDenied: the user may not.
        """

    async def set_attributes(self, changes: AttributeChanges) -> None: ...

    async def attributes(self) -> FileAttributes: ...

    @property
    def takes_time(self) -> bool:
        """Whether a time that came now would be stored with the file, and none has come yet."""

    def foresee_time(self, seconds: float) -> None:
        """The time that is about to be set once the file is published: it may have it at once."""

    async def sync(self) -> None:
        """Wait for the parts under way."""

    async def commit(self) -> None:
        """Publish. Returns when the store has confirmed the whole object."""

    async def abandon(self) -> None:
        """Publish nothing and leave nothing behind. Never raises."""


class DirectoryReader(Protocol):
    """A directory open for listing."""

    async def next_entries(self) -> tuple[DirectoryEntry, ...]:
        """The next entries, one page at the most; empty at the end."""

    def close(self) -> None: ...


class FileTree(Protocol):
    """One user's files: a bucket and prefix seen as a tree, behind the permission gate.

    Paths are bytes as the client sent them. Raises `sftpgw.errors.FileError`
    or `sftpgw.errors.StoreError`.
    """

    def canonical(self, path: bytes) -> bytes:
        """The absolute path that `path` stands for, existing or not."""

    async def stat(self, path: bytes) -> FileAttributes: ...

    async def open_reader(self, path: bytes) -> FileReader: ...

    async def open_made(
        self, path: bytes, intent: WriteIntent, changes: AttributeChanges
    ) -> FileReader:
        """A reader of a file that `intent` may have made or emptied before."""

    async def open_writer(
        self, path: bytes, intent: WriteIntent, changes: AttributeChanges
    ) -> FileWriter: ...

    def path_of(self, writer: FileWriter) -> bytes | None:
        """Under which path `writer` is to publish; None if under none of this user's."""

    async def open_directory(self, path: bytes) -> DirectoryReader: ...

    async def make_directory(self, path: bytes) -> None: ...

    async def remove_directory(self, path: bytes) -> None: ...

    async def remove_file(self, path: bytes) -> None: ...

    async def rename(self, old: bytes, new: bytes, *, replace: bool) -> None: ...

    async def set_attributes(self, path: bytes, changes: AttributeChanges) -> None: ...

    async def space(self, path: bytes) -> Space: ...


# Users and sessions.


class UserDirectory(Protocol):
    """Knows the users."""

    async def find(self, name: str) -> User | None: ...


class FlowControl(Protocol):
    """The byte stream below a subsystem: an SSH channel, seen from above."""

    @property
    def unsent_bytes(self) -> int:
        """What was written, and the client has not taken yet."""

    def write(self, *pieces: Buffer) -> None:
        """Send `pieces`, one behind the other; what is given together leaves together."""

    def write_error(self, text: bytes) -> None:
        """Send `text` to the client's standard error; what nobody reads is dropped in the end."""

    def consumed(self, size_bytes: int) -> None:
        """The peer may send this many bytes more: theirs have been dealt with."""

    def finish(self, exit_status: int) -> None:
        """Send what was written, then the exit status, EOF and CLOSE."""

    def loseConnection(self) -> None:
        """Close the channel at once, an answer to nobody."""


class Subsystem(Protocol):
    """A protocol on an SSH channel.

    The channel calls `pauseProducing` when its peer reads more slowly than we
    answer, and `resumeProducing` when that is over.
    """

    @property
    def is_busy(self) -> bool:
        """Whether something that was asked for is under way. Waiting for the peer is not."""

    def makeConnection(self, transport: Any) -> None: ...

    def dataReceived(self, data: bytes | memoryview) -> None:
        """The next bytes; they may be kept, since nobody changes them any more."""

    def inputEnded(self) -> None:
        """The client's EOF: answer what was asked, then `FlowControl.finish`."""

    def connectionLost(self, reason: Any) -> None:
        """The channel is gone, with or without a goodbye. Called once."""

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...


SubsystemFactory = Callable[[], Subsystem]

CommandFactory = Callable[[bytes], Subsystem]
"""Makes what runs a command line, whatever it says: an unknown command says so itself."""
