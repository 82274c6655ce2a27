"""The JSON of the gateway's own records, which other writers of the bucket may have put there.

Knows: what Python's parser does with JSON that no gateway has written.
Must not know: what a record says, or where it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

MAX_VALUES = 250_000
"""How many commas and brackets a record may have; a list of 4 MiB takes a third of a second. A page
of a rename has 200 names of a thousand characters at most; a suspended upload has 10,000 parts."""


def loaded(text: bytes) -> Any:
    """The value of a JSON text.

    :param text: the JSON.
    :raises ValueError: it is none, has too many values, or is nested too deeply: Python's
        `RecursionError` is not one.
    """
    if sum(map(text.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise ValueError("too many values")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def require_storable(words: Iterable[str]) -> None:
    """Check that words may stand in a request.

    JSON can spell half a character (``"\\ud800"``), which no encoding has.

    :param words: keys and other names of a record.
    :raises ValueError: one has half a character.
    """
    "".join(words).encode("utf-8", "surrogateescape")
