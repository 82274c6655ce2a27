"""Files that were removed while they were open, by clients that cannot say so.

Knows: the name that libfuse gives such a file. Must not know: who opened it.

A FUSE file system has no open files without a name. When an open file is unlinked, libfuse
renames it to ``.fuse_hidden`` and sixteen hexadecimal digits (more in some builds), and removes
that when it is closed (``hide_node`` in libfuse's lib/fuse.c). sshfs is built on it. Only programs
that have the file open still read it, through the handle that they have.
"""

from __future__ import annotations

import re

_HIDDEN = re.compile(r"(.*/)?\.fuse_hidden[0-9a-f]{16,}", re.DOTALL)


def is_silly_rename(key: str) -> bool:
    """Whether `key` is that of a file which libfuse has unlinked."""
    return _HIDDEN.fullmatch(key) is not None
