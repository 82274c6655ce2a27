"""Folders that a store keeps though nothing makes them one any more.

Knows: how such a store is asked to let go of them.
Must not know: why they are to be gone, SFTP.

On S3 a folder ends with its last key. Stores on a file system or a tree of their own (SeaweedFS,
s3proxy) keep the directories that they had to make for a key, and list them as prefixes until
``DELETE name/`` comes; that is refused, or does nothing, while anything is in them. So the
deepest go first. On S3 such a DELETE finds nothing, which is success.
"""

from __future__ import annotations

from sftpgw.files.existence import is_stored
from sftpgw.files.housekeeping.pages import all_pages
from sftpgw.files.listing.markers import is_empty_marker
from sftpgw.model.store import ObjectName, ObjectStore

MAX_DEPTH = 100


async def clear_ghosts(
    store: ObjectStore,
    bucket: str,
    prefix: str,
    *,
    twin: str,
    spares_top: bool = False,
    depth: int = 0,
) -> bool:
    """Have the store let go of the folder `prefix`, and of all in it in which there is no object.

    A LIST and a DELETE for each, and a HEAD for a marker.

    :param twin: the same folder under its other name: a marker that is there, too, may go.
    :param spares_top: `prefix` itself is to stay.
    :returns: whether all of it is gone.
    :raises StoreError:
    """
    is_empty = depth < MAX_DEPTH
    async for page in all_pages(store, bucket, prefix, delimiter="/"):
        for info in page.objects:
            is_own_marker = info.name.key == prefix and is_empty_marker(info)
            is_empty &= is_own_marker and await is_stored(store, ObjectName(bucket, twin))
        for each in page.prefixes:
            if each != prefix and depth < MAX_DEPTH:
                inner = twin + each.removeprefix(prefix)
                is_empty &= await clear_ghosts(store, bucket, each, twin=inner, depth=depth + 1)
    if is_empty and not spares_top:
        await store.delete(ObjectName(bucket, prefix))
    return is_empty
