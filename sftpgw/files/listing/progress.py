"""Whether the pages of a list come to an end.

Knows: the continuation tokens of a list, and which of its pages were empty.
Must not know: requests, or what a page contains.

Rules

1. A token that comes again leads in a circle. The last one is known, and one from before is
   remembered, which is replaced after 1, 2, 4, … pages: so a circle of any length is found by the
   time it was gone through three times (R. P. Brent, "An improved Monte Carlo factorization
   algorithm", 1980).
2. Pages without entries are normal: AWS, GCS and MinIO send them, most of all where thousands of
   delete markers lie side by side. `MAX_EMPTY_PAGES` of them in a row are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from sftpgw.errors import ListWithoutEnd

MAX_EMPTY_PAGES = 1000
"""At 30 milliseconds for a LIST they take half a minute."""

BAD_ANSWER = "BadAnswer"
"""As in `s3/error_codes`: the response is not what it should be."""

Token: TypeAlias = str | tuple[str, str]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a list has come. It does not change; `after` returns the next one.

    :param last: the token that was given last.
    :param remembered: one that was given before.
    :param pages_since: how many pages came since that one.
    :param pages_at_most: after how many another token is remembered.
    :param empty_pages: how many of the last pages were empty.
    """

    last: Token | None = None
    remembered: Token | None = None
    pages_since: int = 0
    pages_at_most: int = 1
    empty_pages: int = 0

    def after(self, next_token: Token | None, *, is_empty: bool) -> Progress:
        """Count a page.

        :param next_token: the token for the next page; None on the last one.
        :param is_empty: whether the page had no entries.
        :raises ListWithoutEnd: the next page would not lead further.
        """
        if next_token is None:
            return self
        if next_token in (self.last, self.remembered):
            raise ListWithoutEnd("a list of the store leads in a circle", code=BAD_ANSWER)
        empty_pages = self.empty_pages + 1 if is_empty else 0
        if empty_pages > MAX_EMPTY_PAGES:
            raise ListWithoutEnd(
                f"over {MAX_EMPTY_PAGES} pages of a list were empty, and more are to come",
                code=BAD_ANSWER,
            )
        remembered, since, at_most = self.remembered, self.pages_since + 1, self.pages_at_most
        if since == at_most:
            remembered, since, at_most = next_token, 0, at_most * 2
        return Progress(next_token, remembered, since, at_most, empty_pages)
