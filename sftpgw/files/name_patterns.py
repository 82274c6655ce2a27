"""Patterns of names that users may or may not use (users.ini ``deny`` and ``allow``).

Knows: how a name is compared with patterns.
Must not know: paths, and what follows from a match.

A pattern has ``*``, ``?`` and ``[…]``, as in a shell, and is compared with a whole name. A leading
dot is a character like any other. Neither case counts nor the Unicode spelling: ``*.exe`` stands
for ``A.EXE``, which is the same kind of file to whom it is meant for.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from sftpgw.model.normalization import normalized


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of some patterns stands for a name."""
    folded = _folded(name)
    return any(fnmatchcase(folded, _folded(pattern)) for pattern in patterns)


def _folded(text: str) -> str:
    return normalized(normalized(text).casefold())
