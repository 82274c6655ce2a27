"""What this process has changed at a place, and how much of it since some moment.

Knows: sums of changes, and when they had which value.
Must not know: where the clock comes from.

Another gateway tells when the count began that it has published. What this process has stored
before is in that count, what it has stored later is not.
"""

from __future__ import annotations

from sftpgw.files.quotas.plan.usage import NOTHING_STORED, Usage

STEP_SECONDS = 1.0
"""Changes within a second are not told apart."""

MAX_MARKS = 256
"""How many moments are remembered. The older ones get sparser, and none is forgotten at once."""


class DeltaHistory:
    """The sum of all changes of this process at one place.

    :ivar total: of all changes so far.
    """

    __slots__ = ("_marks", "total")

    def __init__(self) -> None:
        self.total = NOTHING_STORED
        self._marks: list[tuple[float, Usage]] = []

    def add(self, delta: Usage, now_seconds: float) -> None:
        """Something was stored or removed.

        :param delta: how much more is stored.
        :param now_seconds: the time.
        """
        marks = self._marks
        if not marks or now_seconds - marks[-1][0] >= STEP_SECONDS:
            marks.append((now_seconds, self.total))
            if len(marks) > MAX_MARKS:
                half = MAX_MARKS // 2
                marks[:half] = marks[:half:2]
        self.total += delta

    def at(self, moment_seconds: float) -> Usage:
        """The sum as it was at a moment.

        :param moment_seconds: the moment.
        """
        for seconds, before in self._marks:
            if seconds >= moment_seconds:
                return before
        return self.total
