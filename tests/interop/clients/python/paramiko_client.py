"""paramiko, old and new."""

from __future__ import annotations

import os
import warnings

warnings.simplefilter("ignore")

import paramiko  # noqa: E402
from driver import Library, main  # noqa: E402

STEP_BYTES = 32_768


class Paramiko(Library):
    name = "paramiko"
    version = paramiko.__version__

    def __init__(self):
        self._client = None

    def login(self, login):
        self._client = paramiko.SSHClient()
        self._client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        secret = (
            {"key_filename": login.key_file} if login.key_file else {"password": login.password}
        )
        self._client.connect(
            login.host,
            login.port,
            login.user,
            allow_agent=False,
            look_for_keys=False,
            timeout=30,
            **secret,
        )
        self._sftp = self._client.open_sftp()

    def close(self):
        if self._client is not None:
            self._client.close()

    def mkdir(self, path):
        self._sftp.mkdir(path)

    def put(self, local, path):
        self._sftp.put(local, path)

    def get(self, path, local):
        self._sftp.get(path, local)

    def resume_put(self, local, path):
        with open(local, "rb") as source, self._sftp.open(path, "ab") as target:
            target.set_pipelined(True)
            source.seek(target.stat().st_size)
            while step := source.read(STEP_BYTES):
                target.write(step)

    def resume_get(self, path, local):
        with self._sftp.open(path, "rb") as source, open(local, "ab") as target:
            offset = os.path.getsize(local)
            source.prefetch(source.stat().st_size)
            source.seek(offset)
            while step := source.read(STEP_BYTES):
                target.write(step)

    def list(self, path):
        return self._sftp.listdir(path)

    def stat(self, path):
        found = self._sftp.stat(path)
        return {"size": found.st_size, "mtime": found.st_mtime}

    def rename(self, old, new):
        self._sftp.rename(old, new)

    def replace(self, old, new):
        self._sftp.posix_rename(old, new)
        return "posix-rename"

    def chmod(self, path, mode):
        self._sftp.chmod(path, mode)

    def utime(self, path, seconds):
        self._sftp.utime(path, (seconds, seconds))

    def remove(self, path):
        self._sftp.remove(path)

    def rmdir(self, path):
        self._sftp.rmdir(path)


main(Paramiko())
