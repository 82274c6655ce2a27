"""Keeping directories that would be gone with their last file.

Knows: whether it is wanted, and which request shows that a file is the last one.
Must not know: what takes the file away.

On S3 a directory is what its keys begin with, and ends with the last of them. With `[files]
keep_empty_directories` it gets a marker before that, for a LIST request each time that
something is removed or renamed.
"""

from __future__ import annotations

from sftpgw.files.resources import Resources
from sftpgw.plan.markers import MARKER
from sftpgw.plan.paths import Place, is_hidden


class Keeping:
    """Keeps directories, if it is wanted."""

    def __init__(self, resources: Resources) -> None:
        self._store = resources.store
        self._is_wanted = resources.files.keep_empty_directories

    async def keep(self, directory: Place, *, without: str) -> None:
        """Make sure that `directory` outlives an entry: the key of a file, or a prefix."""
        if not self._is_wanted or directory.is_root:
            return
        # The entry, the state prefix, and one more.
        page = await self._store.list(
            directory.root.bucket, directory.prefix, delimiter="/", limit=3
        )
        entries = [*(info.name.key for info in page.objects), *page.prefixes]
        if all(key == without or is_hidden(directory.root, key) for key in entries):
            await self._store.put(directory.marker, (), MARKER)
