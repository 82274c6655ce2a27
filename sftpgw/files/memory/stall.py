"""How long an upload may be silent while others wait for the memory that it holds.

Knows: the uploads of one session whose WRITEs wait for a reply, and since when there are none.
Must not know: which transfer holds memory or waits for it, or which bytes are written.

Rules

1. An upload may be silent for a minute. It is slow when it has moved hardly anything for ten
   seconds, and still after a second: then it only gives back what it does not use.
2. WRITEs without a reply stay in the window of their channel, and what the client has sent behind
   them waits: WRITEs and CLOSEs of its other files, too. So no upload of the session counts as
   silent or slow meanwhile; their time begins when all WRITEs have their replies.
3. After five minutes such an upload counts as silent all the same. Otherwise uploads could hold
   all memory and wait for each other for ever.
"""

from __future__ import annotations

from sftpgw.model.clock import Clock

STILL_SECONDS = 1.0
SLOW_SECONDS = 10.0
IDLE_SECONDS = 60.0
HELD_UP_SECONDS = 300.0


class StallTimeout:
    """The stall timeout that the uploads of one session share.

    :param clock: the process's clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._withheld: set[object] = set()
        self._free_since_seconds = clock.seconds()

    @property
    def is_held_up(self) -> bool:
        """Whether bytes that the client sends for one file may wait behind those of another."""
        return bool(self._withheld)

    def limit_seconds(self, seconds: float = IDLE_SECONDS) -> float:
        """How long an upload may be silent now, if it is `seconds` otherwise."""
        return HELD_UP_SECONDS if self.is_held_up else seconds

    def replies_withheld(self, upload: object) -> None:
        """An upload has WRITEs that wait for a reply."""
        self._withheld.add(upload)

    def replies_sent(self, upload: object) -> None:
        """An upload has none any more."""
        self._withheld.discard(upload)
        if not self._withheld:
            self._free_since_seconds = self._clock.seconds()

    def is_over(self, since_seconds: float, seconds: float = IDLE_SECONDS) -> bool:
        """Whether an upload has been silent for too long.

        :param since_seconds: when its client wrote last.
        :param seconds: how long it may be silent if nothing holds the session up.
        """
        if not self.is_held_up:
            since_seconds = max(since_seconds, self._free_since_seconds)
        return since_seconds < self._clock.seconds() - self.limit_seconds(seconds)
