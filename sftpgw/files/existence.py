"""Whether an object is there.

Knows: the request that tells it. Must not know: what it is asked for.
"""

from __future__ import annotations

from sftpgw.errors import NoSuchObject
from sftpgw.model.store import ObjectName, ObjectStore


async def is_stored(store: ObjectStore, name: ObjectName) -> bool:
    """Whether there is an object of this name. A HEAD.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html

    :raises StoreError: the store does not tell.
    """
    try:
        await store.head(name)
    except NoSuchObject:
        return False
    return True
