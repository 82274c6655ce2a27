"""What is read from a server with nothing behind it.

Knows: nothing. Imports neither Twisted nor asyncio, since both kinds of servers use it.
"""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=8)
def filling(size_bytes: int) -> bytes:
    """Bytes, made once for each length that a client asks for.

    Not zeros: ``bytes(n)`` is one page of the kernel's, mapped again and again, and reading it
    costs less than reading memory does.
    """
    return b"~" * size_bytes
