"""How a reader moves through a file.

Knows: the READs so far: where they began and ended, when they came, whether their bytes were here.
Must not know: which ranges are fetched, or how.

Rules

1. A *run* is a stretch that was read without a gap. A READ that touches a run makes it longer, at
   either end; two runs that meet become one. So a window of READs that comes out of order is one
   run, and so is each of several readers on one handle. A reader may leave out a sixth of a run.
2. A run that was made longer downwards twice in a row goes backwards.
3. The *window* of a run is how many bytes may wait for its reader. It grows fourfold when a READ
   had to wait, once per window; it is never smaller than what the reader asks for in a quarter of
   a second. It is halved when the reader has gone through half of it while nothing was under way:
   then the store is faster than the reader.
4. READs of one size at one distance from each other make a *stride*, after the fourth.
5. A run that was not touched while a whole part was read elsewhere is over.
"""

from __future__ import annotations

from collections.abc import Iterator

from sftpgw.model.store import ByteRange

MAX_RUNS = 32
SKIPPED_SHARE = 6
"""A reader may skip a sixth of its run: less than the 20 % that may be wasted."""

GROWTH = 4
PACE_SECONDS = 0.25
PACE_SAMPLE_SECONDS = 0.2
EQUAL_STEPS = 2


class Run:
    """A stretch that a reader goes through, in one direction.

    :param wanted: the bytes of its first READ.
    :param now_seconds: when that came.
    """

    __slots__ = (
        "_calm_bytes",
        "_downward",
        "_due_bytes",
        "_pace_began",
        "_pace_bytes",
        "_waited_at",
        "read_bytes",
        "reads",
        "start",
        "stop",
        "used_at",
        "window_bytes",
    )

    def __init__(self, wanted: ByteRange, now_seconds: float) -> None:
        self.start = wanted.start
        self.stop = wanted.stop
        self.reads = 1
        self.read_bytes = wanted.size_bytes
        self.window_bytes = 0
        self.used_at = 0
        """How many bytes of the whole file were requested before this run was last touched."""
        self._downward = 0
        self._calm_bytes = 0
        self._waited_at: int | None = None
        self._pace_bytes = 0
        self._pace_began = now_seconds
        self._due_bytes = 0
        """How many bytes the reader requests in `PACE_SECONDS`, as measured last."""

    @property
    def is_followed(self) -> bool:
        """Whether a second READ has shown that this is a run."""
        return self.reads > 1

    @property
    def is_backward(self) -> bool:
        return self._downward > 1

    @property
    def size_bytes(self) -> int:
        return self.stop - self.start

    def touches(self, wanted: ByteRange) -> bool:
        slack_bytes = (self.stop - self.start) // SKIPPED_SHARE
        return self.start - slack_bytes <= wanted.stop and wanted.start <= self.stop + slack_bytes

    def extend(self, wanted: ByteRange) -> None:
        if wanted.start < self.start:
            self.start = wanted.start
            self._downward += 1
        if wanted.stop > self.stop:
            self.stop = wanted.stop
            self._downward = 0
        self.reads += 1
        self.read_bytes += wanted.size_bytes

    def join(self, other: Run) -> None:
        """Take in a run that this one has met."""
        self.start = min(self.start, other.start)
        self.stop = max(self.stop, other.stop)
        self.reads += other.reads
        self.read_bytes += other.read_bytes
        self.window_bytes = max(self.window_bytes, other.window_bytes)

    # The window.

    def waited(self, least_bytes: int, most_bytes: int) -> None:
        """A READ found its bytes missing."""
        self._calm_bytes = 0
        has_used_it = (
            self._waited_at is None or self.read_bytes - self._waited_at >= self.window_bytes
        )
        if has_used_it:
            self._waited_at = self.read_bytes
            self.window_bytes = min(most_bytes, max(least_bytes, GROWTH * self.window_bytes))

    def was_calm(self, size_bytes: int, least_bytes: int) -> None:
        """A READ found its bytes here, and nothing under way."""
        self._calm_bytes += size_bytes
        if self._calm_bytes >= self.window_bytes // 2:
            self._calm_bytes = 0
            self.window_bytes = max(least_bytes, self.window_bytes // 2, self._due_bytes)

    def pace(self, size_bytes: int, now_seconds: float, most_bytes: int) -> None:
        """Measure how fast the reader is, and make the window large enough for that."""
        self._pace_bytes += size_bytes
        passed_seconds = now_seconds - self._pace_began
        if passed_seconds >= PACE_SAMPLE_SECONDS:
            due_bytes = int(self._pace_bytes * PACE_SECONDS / passed_seconds)
            self._pace_bytes, self._pace_began = 0, now_seconds
            self._due_bytes = min(most_bytes, due_bytes)
            self.window_bytes = max(self.window_bytes, self._due_bytes)


class Stride:
    """READs of one size at equal distances, upwards or downwards."""

    def __init__(self) -> None:
        self._last = ByteRange(0, 0)
        self._step = 0
        self._equal_steps = 0

    def requested(self, wanted: ByteRange) -> None:
        step = wanted.start - self._last.start
        is_equal = step == self._step and wanted.size_bytes == self._last.size_bytes
        self._equal_steps = self._equal_steps + 1 if is_equal else 0
        self._step = step
        self._last = wanted

    def expected(self, limit: int) -> Iterator[ByteRange]:
        """The ranges of the next READs, up to `limit`: more, the longer the stride holds."""
        size_bytes = self._last.size_bytes
        if self._equal_steps < EQUAL_STEPS or abs(self._step) <= size_bytes:
            return
        for number in range(1, min(limit, self._equal_steps) + 1):
            start = self._last.start + number * self._step
            if start >= 0:
                yield ByteRange(start, start + size_bytes)


class Movement:
    """How one file is being read: its runs and its stride.

    :param least_bytes: the smallest window of a run.
    :param most_bytes: the largest one.
    :param idle_bytes: how many bytes are read elsewhere until a run is over.
    """

    def __init__(self, *, least_bytes: int, most_bytes: int, idle_bytes: int) -> None:
        self._least_bytes = least_bytes
        self._most_bytes = most_bytes
        self._idle_bytes = idle_bytes
        self.requested_bytes = 0
        self.stride = Stride()
        self.runs: list[Run] = []
        """The run that was used last comes first."""

    def requested(
        self, wanted: ByteRange, *, now_seconds: float, is_here: bool, is_idle: bool
    ) -> Run:
        """A READ has come; returns the run that it belongs to.

        :param wanted: the range that the READ asks for.
        :param now_seconds: when it came.
        :param is_here: it can be answered at once.
        :param is_idle: nothing is under way.
        """
        self.requested_bytes += wanted.size_bytes
        self.stride.requested(wanted)
        run = self._run_of(wanted, now_seconds)
        run.used_at = self.requested_bytes
        if run.is_followed:
            run.pace(wanted.size_bytes, now_seconds, self._most_bytes)
            if not is_here:
                run.waited(self._least_bytes, self._most_bytes)
            elif is_idle:
                run.was_calm(wanted.size_bytes, self._least_bytes)
        return run

    def _run_of(self, wanted: ByteRange, now_seconds: float) -> Run:
        """The run that `wanted` makes longer, or a new one."""
        if self.runs and self.runs[0].touches(wanted):
            run = self.runs[0]
            run.extend(wanted)
        else:
            run = next((each for each in self.runs if each.touches(wanted)), None) or Run(
                wanted, now_seconds
            )
            if run in self.runs:
                self.runs.remove(run)
                run.extend(wanted)
            self.runs.insert(0, run)
        if len(self.runs) > 1:
            self._tidy(run)
        return run

    def _tidy(self, run: Run) -> None:
        """Join runs that have met, forget those that are over."""
        current = [run]
        reach = ByteRange(run.start, run.stop)
        for each in self.runs[1:]:
            if each.touches(reach):
                run.join(each)
            elif self.requested_bytes - each.used_at <= self._idle_bytes:
                current.append(each)
        self.runs = current[:MAX_RUNS]
