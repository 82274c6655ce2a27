"""FileZilla: the program by which its engine speaks SFTP, driven as the engine drives it.

A command is a line on its input. Its output is a letter for the kind of message, and then so many
lines as that kind has. Bytes of files pass through memory that both share, one buffer at a time.
"""

from __future__ import annotations

import mmap
import os
import re
import subprocess

from driver import Library, main

BUFFER_BYTES = 262_144
DONE, ERROR, VERBOSE = "1", "2", "3"
REPLY = "0"
LIST_ENTRY = "8"
HOST_KEY, CHANGED_HOST_KEY = "9", ":"
PASSWORD = "<"
QUOTA_IN, QUOTA_OUT = "@", "A"
SIZE, OPEN, NEXT_BUFFER, FINALIZE = "J", "K", "L", "M"
WITHOUT_A_LINE = QUOTA_IN + QUOTA_OUT + SIZE


class Refused(Exception):
    """What fzsftp tells as an error."""


class Transfer:
    """The local side of one transfer; the engine's side of the shared memory."""

    def __init__(self, local, is_upload, resume):
        flags = "rb" if is_upload else ("r+b" if resume else "wb")
        self.file = open(local, flags)  # noqa: SIM115
        self.is_upload = is_upload
        self.resume = resume


class Fzsftp(Library):
    name = "FileZilla (fzsftp)"
    version = ""

    def __init__(self):
        self._process = None
        self._transfer = None

    def login(self, login):
        self._login = login
        self._shared = os.memfd_create("fzsftp", 0)
        os.set_inheritable(self._shared, True)
        os.ftruncate(self._shared, BUFFER_BYTES)
        self._memory = mmap.mmap(self._shared, BUFFER_BYTES)
        home = os.environ["HOME"]
        self._process = subprocess.Popen(
            ["fzsftp", "-v"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[self._shared],
            env={"HOME": home, "PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        )
        self._wait()
        if login.key_file:
            self._command("keyfile", login.key_file)
        self._say(f'open "{login.user}@{login.host}" {login.port}')
        self._wait()

    def close(self):
        if self._process is not None:
            self._process.stdin.close()
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self._memory.close()
            os.close(self._shared)
        self._process = None

    def _say(self, line):
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def _command(self, *words):
        """Send a command with quoted arguments; what it answers, and what it lists."""
        quoted = ['"' + each.replace('"', '""') + '"' for each in words[1:]]
        self._say(" ".join([words[0], *quoted]))
        return self._wait()

    def _line(self):
        return self._process.stdout.readline().decode().rstrip("\r\n")

    def _wait(self):
        errors, listed = [], []
        while True:
            kind = self._process.stdout.read(1).decode()
            if not kind:
                raise Refused("; ".join(errors) or "fzsftp has ended")
            text = "" if kind in WITHOUT_A_LINE else self._line()
            if kind == REPLY:
                return text
            if kind == DONE:
                if text != "1":
                    raise Refused("; ".join(errors))
                return listed
            if kind in (ERROR, VERBOSE):
                errors.append(text)
            elif kind == LIST_ENTRY:
                listed.append((text, int(self._line()), self._line()))
            else:
                self._answer(kind, text)

    def _answer(self, kind, text):
        if kind in (HOST_KEY, CHANGED_HOST_KEY):
            self._line()
            self._say("n")
        elif kind == PASSWORD:
            self._say(self._login.password)
        elif kind in (QUOTA_IN, QUOTA_OUT):
            self._say(f"-{int(kind == QUOTA_OUT)}-")
        elif kind == OPEN:
            self._open(int(text))
        elif kind == NEXT_BUFFER:
            self._next_buffer(int(text or 0))
        elif kind == FINALIZE:
            self._keep(int(text))
            self._say("-1")
        elif kind == SIZE:
            self._say(f"-{os.fstat(self._transfer.file.fileno()).st_size}")

    def _open(self, offset):
        transfer = self._transfer
        if not transfer.is_upload:
            offset = os.fstat(transfer.file.fileno()).st_size if transfer.resume else 0
        transfer.file.seek(offset)
        self._say(f"-{self._shared} {BUFFER_BYTES} {offset}")

    def _next_buffer(self, processed):
        if self._transfer.is_upload:
            data = self._transfer.file.read(BUFFER_BYTES)
            self._memory[: len(data)] = data
            self._say(f"-0 {len(data)}" if data else "-0")
        else:
            self._keep(processed)
            self._say(f"-0 {BUFFER_BYTES}")

    def _keep(self, count):
        self._transfer.file.write(self._memory[:count])

    def _move(self, command, local, path, is_upload):
        self._transfer = Transfer(local, is_upload, command.startswith("re"))
        try:
            self._command(command, *((local, path) if is_upload else (path, local)))
        finally:
            self._transfer.file.close()

    def put(self, local, path):
        self._move("put", local, path, True)

    def resume_put(self, local, path):
        self._move("reput", local, path, True)

    def get(self, path, local):
        self._move("get", local, path, False)

    def resume_get(self, path, local):
        self._move("reget", local, path, False)

    def _entries(self, path):
        self._command("cd", path)
        return self._command("ls")

    def list(self, path):
        return [name for _, _, name in self._entries(path)]

    def stat(self, path):
        folder, _, wanted = path.rpartition("/")
        for text, mtime, name in self._entries(folder or "/"):
            if name == wanted:
                return {"size": int(re.split(r"\s+", text)[4]), "mtime": mtime}
        raise Refused("no such file")

    def mkdir(self, path):
        self._command("mkdir", path)

    def rename(self, old, new):
        self._command("mv", old, new)

    def chmod(self, path, mode):
        self._say(f'chmod {mode:o} "{path}"')
        self._wait()

    def utime(self, path, seconds):
        self._say(f'chmtime {seconds} "{path}"')
        self._wait()

    def remove(self, path):
        self._command("rm", path)

    def rmdir(self, path):
        self._command("rmdir", path)


def _version():
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", "filezilla"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.partition("-")[0]


Fzsftp.version = _version()
main(Fzsftp())
