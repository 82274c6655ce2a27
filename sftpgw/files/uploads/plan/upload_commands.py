"""What an upload asks for: the commands of its plan.

Knows: the words. Must not know: when they are given, or how they are carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from sftpgw.model.store import ByteRange, StoredPart
from sftpgw.model.units import Body


@dataclass(frozen=True, slots=True)
class CreateUpload:
    """Ask the store for a multipart upload."""

    upload: int = 0


@dataclass(frozen=True, slots=True)
class SendPart:
    """`offset` is where the part begins in the file."""

    number: int
    body: Body
    size_bytes: int
    upload: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class CopyBase:
    """Copy bytes of the object below into upload 0, as part `number`."""

    number: int
    wanted: ByteRange


@dataclass(frozen=True, slots=True)
class CompleteStaging:
    """Make a hidden object of a piece."""

    upload: int
    parts: tuple[StoredPart, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class CopyStaging:
    """Copy a whole piece into upload 0, as part `number`."""

    upload: int
    number: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class DropStaging:
    """Delete the hidden object, if it is there."""

    upload: int


@dataclass(frozen=True, slots=True)
class CompleteUpload:
    parts: tuple[StoredPart, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class AbortUpload:
    """Tell the store to forget a multipart upload; nothing else is under way."""

    upload: int = 0


@dataclass(frozen=True, slots=True)
class SuspendUpload:
    """Leave upload 0 open and write down what it has, or else abort it."""

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
    """Send everything as one object."""

    body: Body
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FetchBase:
    """Get bytes of the object below, as it was when the file was opened."""

    wanted: ByteRange


Command: TypeAlias = Step | PutWhole | FetchBase
Commands: TypeAlias = tuple[Command, ...]
Outcome: TypeAlias = StoredPart | Body | None
"""What a part that was sent or copied has become, or the bytes that were fetched."""

NOTHING: Commands = ()
