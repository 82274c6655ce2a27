"""A count that is under way: pages of a list, and what this process changes meanwhile.

Knows: how far the list has come, and which changes the next page may show or not.
Must not know: requests.

Rules

1. Pages come in the order of their keys (binary, UTF-8). A key up to the last one of a page is
   *counted*. A change of a counted key changes the sum.
2. A change of a key that is not counted yet, while a page is asked for: whether that page shows it
   cannot be known. What this process knows of the key counts, and not the page.
3. A change before a page is asked for is shown by it: S3 lists what was stored before.
4. No more changes than `MAX_CHANGED` are kept for one page. With more the count is void.
"""

from __future__ import annotations

from collections.abc import Iterable

from sftpgw.files.quotas.plan.usage import NOTHING_STORED, Usage

MAX_CHANGED = 10_000
"""How many keys are kept that have changed while a page is waited for, at 0.3 KiB each."""


class RunningCount:
    """One count of a place.

    :ivar total: what is counted so far.
    :ivar doubtful: how much of it may be counted in vain, see `PlaceAccount.doubtful`.
    :ivar is_void: whether too much has changed to be followed.
    """

    def __init__(self) -> None:
        self.total = NOTHING_STORED
        self.doubtful = NOTHING_STORED
        self.is_void = False
        self._position: bytes | None = None
        self._is_complete = False
        self._changed: dict[bytes, Usage] = {}

    def change(self, key: str, before: Usage, after: Usage, *, is_doubtful: bool) -> None:
        """This process has changed a key.

        :param key: the key.
        :param before: what was stored there.
        :param after: what is stored there now.
        :param is_doubtful: whether `before` is not known.
        """
        binary = _binary(key)
        if self._is_counted(binary):
            self.total += after - before
            if is_doubtful:
                self.doubtful += after
        elif len(self._changed) < MAX_CHANGED or binary in self._changed:
            self._changed[binary] = after
        else:
            self.is_void = True

    def _is_counted(self, key: bytes) -> bool:
        return self._is_complete or (self._position is not None and key <= self._position)

    def add_held(self, held: Usage) -> None:
        """Suspended uploads that are kept at the place.

        :param held: what they count together.
        """
        self.total += held

    def take_page(self, objects: Iterable[tuple[str, Usage]], *, is_last: bool) -> None:
        """The next page has come; the one behind it was not asked for yet.

        :param objects: its keys, in their order, with what they count.
        :param is_last: whether no page follows.
        """
        changed, self._changed = self._changed, {}
        size_bytes = files = 0
        key = ""
        for key, counted in objects:
            known = changed.pop(_binary(key), None) if changed else None
            found = counted if known is None else known
            size_bytes += found.size_bytes
            files += found.files
        self.total += Usage(size_bytes, files)
        if key:
            self._position = _binary(key)
        self._is_complete = is_last
        # Keys that the page did not show, though they are in its range.
        for missed, known in changed.items():
            if self._is_counted(missed):
                self.total += known


def _binary(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")
