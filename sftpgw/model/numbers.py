"""Numbers that come from outside, as text or in records, within bounds.

A number of 26 digits is no size, and Python refuses texts of over 4,300 digits with an error of its
own; a time of the year 99999 fits into no date.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime

MAX_SIZE_BYTES = 2**63 - 1
"""The largest size of a file (``off_t`` of 64 bits); S3's objects have 5 TiB at most."""

LAST_SECONDS = 253_370_764_800
"""The beginning of the year 9999, so that some time can be added."""

_DIGITS = 19
_LONGEST_DATE = 64


def whole_number(text: str, most: int = MAX_SIZE_BYTES) -> int | None:
    """The number that ASCII digits stand for; None for any other text, or if it is above `most`.

    :param text: the digits, at most 19 of them.
    :param most: the largest number.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        return None
    number = int(text)
    return number if number <= most else None


def is_time(seconds: float) -> bool:
    """Whether seconds since 1970 are a time that every date type has: not before 1970, not NaN."""
    return 0 <= seconds < LAST_SECONDS


def date_seconds_of(text: str) -> float | None:
    """The time of an HTTP date in seconds since 1970; None for any other text.

    :param text: the value of a header.
    """
    try:
        seconds = parsedate_to_datetime(text[:_LONGEST_DATE]).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if is_time(seconds) else None
