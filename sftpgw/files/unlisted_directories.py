"""Directories that exist although no key begins with their prefix.

Knows: the two kinds that other programs and some stores leave, and which request finds each.
Must not know: when it is worth asking.

Hadoop's s3n and EMR mark a directory with an object beside it (`files/listing/markers`). Stores on
a file system keep a directory after its last key is gone (`files/housekeeping/ghost_directories`).
"""

from __future__ import annotations

from sftpgw.errors import NoSuchObject, StoreError, refuses_one_object
from sftpgw.files.housekeeping.pages import all_pages
from sftpgw.files.listing.markers import hadoop_marker, marks_directory
from sftpgw.files.paths import Location
from sftpgw.model.limits import is_longer_than_files
from sftpgw.model.store import ObjectInfo, ObjectName, ObjectStore

MAX_SIBLING_PAGES = 5


class UnlistedDirectories:
    """Asks one store for directories without keys.

    :param store: the store.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def has_hadoop_marker(self, location: Location) -> bool:
        """Whether Hadoop's marker of a directory exists. A HEAD.

        Without a request it does not, if its name would be too long for file systems: no program
        can have written it, and stores on file systems refuse to look for it.

        :raises StoreError: the store does not tell.
        """
        marker = hadoop_marker(location)
        if is_longer_than_files(marker.key):
            return False
        try:
            return marks_directory(await self._store.head(marker))
        except NoSuchObject:
            return False
        except StoreError as error:
            if not refuses_one_object(error):
                raise
            # The marker exists with a key of its own (SSE-C), or the store does not tell.
            found = await listed_object(self._store, marker)
            return found is not None and marks_directory(found)

    async def is_ghost(self, location: Location) -> bool:
        """Whether the directory above still lists this one, in which nothing is. Mostly one LIST.

        The LIST asks for one character less than the name: SeaweedFS shows an empty directory in
        every list but that of its own prefix. If many names have the same beginning, it reads up to
        `MAX_SIBLING_PAGES` pages.

        :raises StoreError: as the LIST does.
        """
        pages = 0
        async for page in all_pages(
            self._store, location.bucket, location.prefix[:-2], delimiter="/"
        ):
            pages += 1
            if location.prefix in page.prefixes:
                return True
            is_past = any(name > location.prefix for name in page.prefixes)
            if is_past or pages == MAX_SIBLING_PAGES:
                break
        return False


async def listed_object(store: ObjectStore, name: ObjectName) -> ObjectInfo | None:
    """An object as a LIST shows it, where a HEAD of it is refused; None if it is absent.

    Its key sorts first of all keys that begin with it, so a page of one row is enough.

    :raises StoreError: as the LIST does.
    """
    page = await store.list(name.bucket, name.key, delimiter="/", limit=1)
    return next((info for info in page.objects if info.name == name), None)
