"""``python -m sftpgw`` is the command ``sftpgw``."""

from __future__ import annotations

import sys

from sftpgw.cli import main

if __name__ == "__main__":
    sys.exit(main())
