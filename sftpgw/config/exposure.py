"""Files with secrets that every account of the machine can read.

Knows: modes of files and folders. Must not know: what is in them.
"""

from __future__ import annotations

import stat
from pathlib import Path

from sftpgw.config.ini_file import Faults


def is_open_to_all(file: Path) -> bool:
    """Whether every account may read `file`: its mode, and those of the folders above it."""
    try:
        real = file.resolve()
        may_read = bool(real.stat().st_mode & stat.S_IROTH)
        return may_read and all(folder.stat().st_mode & stat.S_IXOTH for folder in real.parents)
    except OSError:
        return False


def warn_if_open_to_all(file: Path, content: str, faults: Faults) -> None:
    """Note it if every account may read `file`, which holds `content`."""
    if is_open_to_all(file):
        text = f"holds {content}, and every account of this machine can read it; chmod o-r it"
        faults.warnings.append(f"{file}: {text}")
