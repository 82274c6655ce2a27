"""Takes the steps of a task file with one client, and answers each in a line of JSON.

Knows: task files, and what a client can do.
Must not know: any client; sftpgw, since this runs in environments that have it not.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor


class Lacks(Exception):
    """The client has no such function."""


class Login:
    """Who logs in, where, and with what; `key_file` is None for a login by password."""

    def __init__(self, host, port, user, password, key_file=None):
        self.host = host
        self.port = int(port)
        self.user = user
        self.password = password
        self.key_file = key_file


class Library:
    """One connection by one client. What a client lacks stays as it is here."""

    name = ""
    version = ""

    def login(self, login):
        raise NotImplementedError

    def close(self):
        """End the connection, if there is one."""

    def resume_put(self, local, path):
        raise Lacks

    def resume_get(self, path, local):
        raise Lacks

    def chmod(self, path, mode):
        raise Lacks

    def utime(self, path, seconds):
        raise Lacks

    def replace(self, old, new):
        """Tells how."""
        self.remove(new)
        self.rename(old, new)
        return "remove, then rename"

    def put_many(self, login, pairs):
        """Each over a connection of its own, as programs with a pool have it."""

        def put_one(pair):
            other = type(self)()
            try:
                other.login(login)
                other.put(*pair)
            finally:
                other.close()

        with ThreadPoolExecutor(len(pairs)) as pool:
            list(pool.map(put_one, pairs))


class Driver:
    def __init__(self, library):
        self._library = library
        self._login = None

    def take(self, operation, *arguments):
        """Take one step; what it found."""
        if operation == "to":
            self._login = Login(*arguments)
            return None
        if operation == "login":
            return self._log_in(*arguments)
        if operation == "chmod":
            return self._library.chmod(arguments[0], int(arguments[1], 8))
        if operation == "utime":
            return self._library.utime(arguments[0], int(arguments[1]))
        if operation == "put_many":
            pairs = list(zip(arguments[::2], arguments[1::2], strict=True))
            return self._library.put_many(self._login, pairs)
        return getattr(self._library, operation)(*arguments)

    def _log_in(self, _how, key_file=None):
        self._library.close()
        self._login.key_file = key_file
        self._library.login(self._login)


def main(library):
    """Answer every line of the task file that the command line names."""
    answer(client=library.name, version=library.version)
    driver = Driver(library)
    with open(sys.argv[-1], encoding="utf-8") as task:
        for line in task:
            try:
                answer(ok=True, value=driver.take(*line.rstrip("\n").split("\t")))
            except Lacks:
                answer(ok=False, lacks=True)
            except Exception as error:
                answer(ok=False, error=f"{type(error).__name__}: {error}")
    library.close()


def answer(**found):
    print(json.dumps(found), flush=True)  # noqa: T201
