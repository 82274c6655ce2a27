"""Who holds memory, and how much.

Knows: the bytes of one holder, by what they wait for. Must not know: who else holds some.
"""

from __future__ import annotations

from sftpgw.aio.fair_order import Path
from sftpgw.model.moving_upload import MovingUpload


class Holder:
    """Bytes that count for one user.

    :param path: the user, and what of the user's holds them.
    :ivar held_bytes: how many there are.
    """

    __slots__ = ("held_bytes", "path", "since_seconds")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.held_bytes = 0
        self.since_seconds = 0.0


class HeldUpload(Holder):
    """The bytes of one upload. It holds those that are sent, and those that it fills a part with.

    :param path: the user and the upload.
    :param filler: tells how the upload gets on.
    :ivar sent_bytes: how many bytes are on their way to the store.
    :ivar uncounted_bytes: how many of these are not counted. They came while it waited, and count
        in the window of its client.
    :ivar lent_bytes: how many are on loan from the reserve, to fill a part.
    :ivar in_vain_since_seconds: when it was found to have a loan, and not to move; None once it
        has moved since.
    :ivar missing_bytes: how many it waits for.
    :ivar part_bytes: with how many filling bytes it can send a part.
    """

    __slots__ = (
        "filler",
        "in_vain_since_seconds",
        "lent_bytes",
        "missing_bytes",
        "part_bytes",
        "sent_bytes",
        "uncounted_bytes",
    )

    def __init__(self, path: Path, filler: MovingUpload) -> None:
        super().__init__(path)
        self.filler = filler
        self.sent_bytes = 0
        self.uncounted_bytes = 0
        self.lent_bytes = 0
        self.in_vain_since_seconds: float | None = None
        self.missing_bytes = 0
        self.part_bytes = 0

    @property
    def filling_bytes(self) -> int:
        """How many bytes it may fill parts with."""
        return self.held_bytes - self.sent_bytes + self.uncounted_bytes

    @property
    def loan_bytes(self) -> int:
        """How many bytes are missing until it can send a part."""
        return max(self.missing_bytes, self.part_bytes - self.filling_bytes)
