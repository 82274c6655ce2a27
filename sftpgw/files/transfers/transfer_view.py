"""How a transfer looks from outside: for a status page, an audit log, or the end of the process.

Knows: the facts about one open file.
Must not know: how it is transferred.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from sftpgw.model.filesystem import FileWriter


class TransferKind(enum.Enum):
    UPLOAD = "upload"
    DOWNLOAD = "download"


@dataclass(frozen=True, slots=True)
class TransferView:
    """One transfer at one moment.

    :param kind: an upload or a download.
    :param user: the name of the user whose session has the file open.
    :param session: the session's label in the log.
    :param path: the path under which the client opened the file.
    :param key: the key that is read, or that CLOSE publishes now; None for an upload whose file
        was removed.
    :param done_bytes: how many bytes the client has sent, or was sent.
    :param size_bytes: the size of the file, or what its size would be now; None while an object
        that is read has not told its size.
    :param since_seconds: when the file was opened, by the process's clock.
    """

    kind: TransferKind
    user: str
    session: str
    path: str
    key: str | None
    done_bytes: int
    size_bytes: int | None
    since_seconds: float


class Transfer(Protocol):
    """An open file that the registry knows."""

    def view(self) -> TransferView:
        """The transfer as it is now."""


class UploadWriter(FileWriter, Transfer, Protocol):
    """A file that is open for writing."""
