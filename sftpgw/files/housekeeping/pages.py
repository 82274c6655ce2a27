"""All pages of a list, one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sftpgw.files.listing.progress import Progress
from sftpgw.model.limits import MAX_LISTED_KEYS
from sftpgw.model.store import ListPage, ObjectStore


async def all_pages(
    store: ObjectStore,
    bucket: str,
    prefix: str,
    *,
    delimiter: str = "",
    limit: int = MAX_LISTED_KEYS,
    token: str | None = None,
) -> AsyncIterator[ListPage]:
    """The pages of a list. Each page is a LIST, sent when the iteration gets there.

    :param store: the store.
    :param bucket: the bucket.
    :param prefix: the prefix of all keys.
    :param delimiter: groups keys into common prefixes; empty for none.
    :param limit: the most rows of a page.
    :param token: the `next_token` of the page before the first one that is wanted.
    :raises StoreError: as a LIST does.
    :raises ListWithoutEnd: the pages lead nowhere (`listing/progress`). What has come is not all,
        so that it must not be taken for it.
    """
    progress = Progress()
    while True:
        page = await store.list(bucket, prefix, delimiter=delimiter, token=token, limit=limit)
        yield page
        if page.next_token is None:
            return
        progress = progress.after(page.next_token, is_empty=not (page.objects or page.prefixes))
        token = page.next_token
