"""`aio/lru`: the bound, and which entry goes."""

from __future__ import annotations

from sftpgw.aio.lru import LRUDict


def test_the_least_recently_put_entry_goes() -> None:
    known: LRUDict[str, int] = LRUDict(2)
    known.put("a", 1)
    known.put("b", 2)
    known.put("a", 3)
    known.put("c", 4)
    assert dict(known) == {"a": 3, "c": 4}
