"""Ghost directories: those that a store still lists although their last key is gone.

Knows: the requests that make a store forget them. Must not know: why a directory shall go, SFTP.

On S3 a directory ends with its last key. A store that is built on a file system (s3proxy) or on a
tree of its own (SeaweedFS) creates directories for a key and does not remove them with it. It goes
on listing their prefixes until ``DELETE name/``. While anything is in the directory, it refuses or
ignores that DELETE; so the deepest directories go first. On S3 it finds nothing, and succeeds.
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
    """Remove a directory, and each directory in it, as far as no objects are in them.

    A LIST and a DELETE for each directory, and a HEAD for each marker.

    :param store: the store.
    :param bucket: the bucket.
    :param prefix: the prefix of the directory.
    :param twin: the prefix of the same directory under its other name: a marker that exists there,
        too, is not needed here.
    :param spares_top: whether the directory itself stays, without those in it.
    :param depth: how deep `prefix` is below the first one; at `MAX_DEPTH` nothing is removed.
    :returns: whether all of it is gone.
    :raises StoreError: a request failed.
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
