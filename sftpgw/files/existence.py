"""Whether an object exists."""

from __future__ import annotations

from sftpgw.errors import NoSuchObject
from sftpgw.model.store import ObjectName, ObjectStore


async def is_stored(store: ObjectStore, name: ObjectName) -> bool:
    """Whether an object exists. A HEAD.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html

    :param store: the store.
    :param name: the object.
    :raises StoreError: the store does not tell.
    """
    try:
        await store.head(name)
    except NoSuchObject:
        return False
    return True
