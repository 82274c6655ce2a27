"""OpenSSH's sftp, a process for each step. Started with the paths of sftp and ssh, and the task."""

from __future__ import annotations

import calendar
import os
import re
import subprocess
import sys
import time

from driver import Lacks, Library, main

SFTP, SSH = sys.argv[1:3]
ALWAYS = (
    *("-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"),
    *("-o", "UserKnownHostsFile=/dev/null", "-o", "GlobalKnownHostsFile=/dev/null"),
)


class Refused(Exception):
    """What sftp prints when it fails."""


class OpenSsh(Library):
    name = "OpenSSH sftp"

    def login(self, login):
        self._login = login
        self._askpass = os.path.join(os.environ["HOME"], "askpass")
        with open(self._askpass, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\necho '{login.password}'\n")
        os.chmod(self._askpass, 0o700)
        self._run("pwd")

    def _run(self, *lines):
        login = self._login
        secret = (
            ("-o", "PreferredAuthentications=publickey", "-i", login.key_file)
            if login.key_file
            else ("-o", "PreferredAuthentications=password")
        )
        batch = ("-o", "BatchMode=no", "-o", "IdentitiesOnly=yes", "-b", "-")
        done = subprocess.run(
            [
                *(SFTP, "-S", SSH, *ALWAYS, *secret, *batch),
                *("-P", str(login.port), f"{login.user}@{login.host}"),
            ],
            input="".join(f"{line}\n" for line in lines),
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                "SSH_ASKPASS": self._askpass,
                "SSH_ASKPASS_REQUIRE": "force",
                "TZ": "UTC",
                "LC_ALL": "C",
            },
        )
        if done.returncode:
            raise Refused(done.stderr.strip())
        return [line for line in done.stdout.splitlines() if not line.startswith("sftp> ")]

    def put(self, local, path):
        self._run(f"put {local} {path}")

    def get(self, path, local):
        self._run(f"get {path} {local}")

    def resume_put(self, local, path):
        self._run(f"reput {local} {path}")

    def resume_get(self, path, local):
        self._run(f"reget {path} {local}")

    def list(self, path):
        return [line.rsplit("/", 1)[-1].strip() for line in self._run(f"ls -1 {path}")]

    def stat(self, path):
        (line,) = self._run(f"ls -ln {path}")
        words = re.split(r"\s+", line.strip())
        day = " ".join(words[5:8])
        kind = "%b %d %H:%M" if ":" in words[7] else "%b %d %Y"
        now = time.gmtime()
        year = "" if ":" not in words[7] else f" {now.tm_year}"
        found = time.strptime(day + year, kind + (" %Y" if year else ""))
        return {"size": int(words[4]), "mtime": calendar.timegm(found)}

    def mkdir(self, path):
        self._run(f"mkdir {path}")

    def rename(self, old, new):
        self._run(f"rename -l {old} {new}")

    def replace(self, old, new):
        self._run(f"rename {old} {new}")
        return "posix-rename"

    def chmod(self, path, mode):
        self._run(f"chmod {mode:o} {path}")

    def utime(self, path, seconds):
        """By -p of a put, its only way."""
        raise Lacks

    def remove(self, path):
        self._run(f"rm {path}")

    def rmdir(self, path):
        self._run(f"rmdir {path}")


said = subprocess.run([SSH, "-V"], capture_output=True, text=True, check=False)
OpenSsh.version = re.search(r"OpenSSH_(\S+?)[ ,]", said.stderr)[1]
main(OpenSsh())
