"""An upload, as the memory budget sees it."""

from __future__ import annotations

from typing import Protocol


class MovingUpload(Protocol):
    """How an upload gets on, and what it can do when memory is short."""

    @property
    def is_slow(self) -> bool:
        """Whether its client could write, and has hardly written anything new for a while."""

    @property
    def is_still(self) -> bool:
        """Whether its client could write, and has hardly written anything new since the last looks.

        To be asked again and again: what is new is what has come since it was asked before.
        """

    @property
    def is_stalled(self) -> bool:
        """Whether it has been slow for as long as an upload may be silent."""

    @property
    def is_silent(self) -> bool:
        """Whether its client has written nothing new for so long that it may be gone."""

    @property
    def can_cut(self) -> bool:
        """Whether what is here could be sent as a part now."""

    @property
    def unused_bytes(self) -> int:
        """How many of the bytes that it may fill parts with it does not need yet."""

    def cut(self) -> None:
        """Send what is here as a part."""

    def come_again(self) -> None:
        """End the upload, and tell its client to send the file again later."""
