"""All pages of a list, one after the other.

Knows: how one page leads to the next. Must not know: what is looked for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from sftpgw.model.limits import MAX_LISTED_KEYS
from sftpgw.model.store import ListPage, ObjectStore


async def all_pages(
    store: ObjectStore,
    bucket: str,
    prefix: str,
    *,
    delimiter: str = "",
    limit: int = MAX_LISTED_KEYS,
) -> AsyncIterator[ListPage]:
    """What has keys below `prefix`, grouped by `delimiter` if there is one.

    The next page is asked for when it is wanted.
    A store that repeats a token is at its end, or it would never be.

    :raises StoreError:
    """
    token: str | None = None
    while True:
        page = await store.list(bucket, prefix, delimiter=delimiter, token=token, limit=limit)
        yield page
        if page.next_token is None or page.next_token == token:
            return
        token = page.next_token
