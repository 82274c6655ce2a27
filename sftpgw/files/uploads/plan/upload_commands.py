"""The commands of an upload's plan: the requests that it asks for.

Knows: the commands. Must not know: when they are given, or how they are carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from sftpgw.model.store import ByteRange, StoredPart
from sftpgw.model.units import Body


@dataclass(frozen=True, slots=True)
class CreateUpload:
    """Create a multipart upload.

    :param upload: 0 is the object's own, others are staging uploads.
    """

    upload: int = 0


@dataclass(frozen=True, slots=True)
class SendPart:
    """Send a part.

    :param number: its part number in the multipart upload.
    :param body: its bytes.
    :param size_bytes: how many they are.
    :param upload: the multipart upload.
    :param offset: where the part begins in the file.
    """

    number: int
    body: Body
    size_bytes: int
    upload: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class CopyBase:
    """Copy preserved bytes of the base object into upload 0, as part `number`."""

    number: int
    wanted: ByteRange


@dataclass(frozen=True, slots=True)
class CompleteStaging:
    """Complete a staging upload, which makes a staging object."""

    upload: int
    parts: tuple[StoredPart, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class CopyStaging:
    """Copy a staging object into upload 0, as part `number`."""

    upload: int
    number: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class DropStaging:
    """Delete a staging object, if it is there."""

    upload: int


@dataclass(frozen=True, slots=True)
class CompleteUpload:
    """Complete upload 0, which publishes the object."""

    parts: tuple[StoredPart, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class AbortUpload:
    """Abort a multipart upload; no other request for it is under way."""

    upload: int = 0


@dataclass(frozen=True, slots=True)
class SuspendUpload:
    """Leave upload 0 open and write a record of its parts, or else abort it."""

    parts: tuple[StoredPart, ...]


Step: TypeAlias = (
    CreateUpload
    | SendPart
    | CopyBase
    | CompleteStaging
    | CopyStaging
    | DropStaging
    | CompleteUpload
    | AbortUpload
    | SuspendUpload
)


@dataclass(frozen=True, slots=True)
class PutWhole:
    """Publish the whole file with one PutObject."""

    body: Body
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FetchBase:
    """Fetch bytes of the base object, as it was when the file was opened."""

    wanted: ByteRange


Command: TypeAlias = Step | PutWhole | FetchBase
Commands: TypeAlias = tuple[Command, ...]
CommandResult: TypeAlias = StoredPart | Body | None
"""The stored part of a command that sends or copies one, or the bytes that were fetched."""

NOTHING: Commands = ()
