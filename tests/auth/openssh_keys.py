"""Keys, certificates and revocation lists that ``ssh-keygen`` makes."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path


class MadeKeys:
    """A folder in which ``ssh-keygen`` works."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str, is_right: bool = True) -> str:
        """What it prints."""
        program = shutil.which("ssh-keygen")
        assert program is not None
        done = subprocess.run(
            [program, *arguments], cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) is is_right, done.stderr + done.stdout
        return done.stdout

    def key(self, name: str, kind: str = "ed25519") -> Path:
        """A key without a passphrase."""
        self.run("-q", "-t", kind, "-N", "", "-C", name, "-f", name)
        return self.folder / name

    def certificate(self, authority: str, name: str, *options: str) -> bytes:
        """A certificate for a key, in the file ``NAME-cert.pub``."""
        self.run("-q", "-s", authority, "-I", f"id of {name}", *options, f"{name}.pub")
        return self.blob(f"{name}-cert")

    def blob(self, name: str) -> bytes:
        """The public key or certificate in a file."""
        return base64.b64decode(self.line(name).split()[1])

    def line(self, name: str) -> str:
        """The line of a public key."""
        return (self.folder / f"{name}.pub").read_text().strip()
