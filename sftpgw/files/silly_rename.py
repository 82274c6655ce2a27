"""Silly renames: how FUSE clients unlink a file that is open.

Knows: the names that libfuse gives to such files. Must not know: who opened them.

A FUSE file system has no open files without a name. If a program unlinks an open file, libfuse
renames it to ``.fuse_hidden`` and at least sixteen hexadecimal digits, and removes that name after
CLOSE (``hide_node`` in libfuse's lib/fuse.c). sshfs is built on libfuse. Only programs that have
the file open still use it, through their handles. NFS calls this a silly rename.
"""

from __future__ import annotations

import re

_HIDDEN = re.compile(r"(.*/)?\.fuse_hidden[0-9a-f]{16,}", re.DOTALL)


def is_silly_rename(key: str) -> bool:
    """Whether a key is that of a file which libfuse has unlinked."""
    return _HIDDEN.fullmatch(key) is not None
