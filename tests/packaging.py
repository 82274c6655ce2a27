"""Is an installed sftpgw whole? Run by ``.ci/run`` with the bin folder of a fresh venv.

Not a pytest module: it must not see this source tree, so it works from another folder.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import paramiko

SECONDS = 120


def check_help(bin_folder: Path, folder: str) -> None:
    """``twistd --help`` lists sftpgw, and nothing complains while the plugin is found."""
    done = subprocess.run(
        [bin_folder / "twistd", "--help"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert "An SFTP server whose disk is S3." in done.stdout, done.stdout
    assert done.stderr == "", done.stderr


def check_command(bin_folder: Path, folder: str) -> None:
    """There is a ``sftpgw``, and it is the one that was installed."""
    done = subprocess.run(
        [bin_folder / "sftpgw", "--version"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert done.stdout.startswith("sftpgw "), done.stdout


def check_examples(bin_folder: Path) -> None:
    """The annotated configuration is installed, too."""
    for name in ("sftpgw.ini", "users.ini"):
        text = (bin_folder.parent / "share" / "sftpgw" / name).read_text(encoding="utf-8")
        assert text.startswith("# "), text[:100]


def check_demo(bin_folder: Path, folder: str) -> None:
    """The demo comes up, and a client can log in and keep a file."""
    process = subprocess.Popen(
        [bin_folder / "sftpgw", "demo"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = password = ""
        for line in process.stdout:
            if "sftp -P" in line:
                port = line.split()[2]
            if "password:" in line:
                password = line.split()[-1]
                break
        assert password, "the demo did not start"
        exchange_a_file(int(port), password)
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


def exchange_a_file(port: int, password: str) -> None:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    with client:
        client.connect("127.0.0.1", port, "demo", password, allow_agent=False, look_for_keys=False)
        sftp = client.open_sftp()
        with sftp.open("hello", "wb") as file:
            file.write(b"world")
        with sftp.open("hello", "rb") as file:
            assert file.read() == b"world"


def main() -> None:
    bin_folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        check_help(bin_folder, folder)
        check_command(bin_folder, folder)
        check_examples(bin_folder)
        check_demo(bin_folder, folder)
        assert not list(Path(folder).iterdir()), "something was left on disk"


if __name__ == "__main__":
    main()
