"""How long an upload may be silent while others wait for the memory that it holds.

Knows: the uploads of one session whose WRITEs are not answered, and since when there are none.
Must not know: who holds memory or waits for it, or what is written.

Rules

1. It may be silent for a minute.
2. WRITEs that are not answered stay in the window of their channel, and whatever the client has
   sent behind them waits, WRITEs and CLOSEs of its other files, too. So nobody in the session
   is taken for silent meanwhile; their minute begins when all have their answers.
3. After five minutes they are, whatever has held them up: all memory may be held by uploads that
   are held up like this, each by one that stands in line for it. Nothing else would end that.
"""

from __future__ import annotations

from sftpgw.model.clock import Clock

IDLE_SECONDS = 60.0
HELD_UP_SECONDS = 300.0


class StallTimeout:
    """With the uploads of one session."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._withheld: set[object] = set()
        self._free_since_seconds = clock.seconds()

    @property
    def is_held_up(self) -> bool:
        """Whether what a client sends for one file may wait behind what it has sent for another."""
        return bool(self._withheld)

    @property
    def limit_seconds(self) -> float:
        """How long an upload may be silent now."""
        return HELD_UP_SECONDS if self.is_held_up else IDLE_SECONDS

    def withheld(self, upload: object) -> None:
        """An upload has WRITEs that it does not answer yet."""
        self._withheld.add(upload)

    def answered(self, upload: object) -> None:
        """It has none any more."""
        self._withheld.discard(upload)
        if not self._withheld:
            self._free_since_seconds = self._clock.seconds()

    def is_over(self, since_seconds: float) -> bool:
        """Whether an upload has been silent for too long, if nothing of it has come since then."""
        if not self.is_held_up:
            since_seconds = max(since_seconds, self._free_since_seconds)
        return since_seconds < self._clock.seconds() - self.limit_seconds
