"""An honest user's operations, each with a deadline.

Knows: how they are asked for, by a client that sends one request at a time and by OpenSSH's
``sftp``. Must not know: attacks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.attack_figures import NEVER_SECONDS
from bench.drivers import Client
from bench.figures import MIB
from bench.processes import BenchError
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Status
from tests.attacks.raw_sftp import RawSftp
from tests.attacks.raw_ssh import USERAUTH_SUCCESS, Ended, RawClient, password

NAME = "honest"
ADDRESS = "127.0.0.1"
CIPHER = "aes128-gcm"
PREPARE_SECONDS = 120.0
PAUSE_SECONDS = 0.05
LISTED = b"/listed"
SECOND_CHANNEL = "second channel"
RENAME = "rename of a folder"
FOLDER, MOVED_FOLDER = b"/folder", b"/moved"

Failure = (Ended, OSError, AssertionError)
"""What a raw client raises where it is refused, is not served, or waits too long."""


@dataclass(frozen=True)
class Effort:
    """How much is asked for.

    :param sizes_mib: of the files that are put and got.
    :param deadline_seconds: how long each operation may take.
    """

    sizes_mib: tuple[int, ...] = (24, 100)
    logins: int = 5
    stats: int = 100
    listings: int = 5
    listed_names: int = 100
    deadline_seconds: float = 60.0


@dataclass
class HonestUser:
    """One user; `seconds` and `refusals` are what it found."""

    client: Client
    key: Ed25519PrivateKey
    guess: bytes
    port: int
    folder: Path
    effort: Effort
    seconds: dict[str, float] = field(default_factory=dict)
    refusals: int = 0
    can_rename: bool = False
    """Whether the store keeps the record of a rename; one that keeps no bytes does not."""

    def prepare(self) -> None:
        """Put what is listed, got and renamed later. :raises BenchError: it cannot be put."""
        try:
            with self._log_in(self._by_key) as connection:
                connection.socket.settimeout(PREPARE_SECONDS)
                sftp = RawSftp(connection)
                sftp.put(LISTED + b"/first", b"x")  # before which the store is tried out
                sftp.put_many([LISTED + b"/%03d" % n for n in range(self.effort.listed_names - 1)])
                sftp.put(FOLDER + b"/file", b"x")
                self.can_rename = _rename(sftp, FOLDER, MOVED_FOLDER) is Status.OK
                _rename(sftp, MOVED_FOLDER, FOLDER)
        except Failure as problem:
            raise BenchError(f"the honest user could not prepare: {problem}") from problem
        self._transfer("put")
        if NEVER_SECONDS in self.seconds.values():
            raise BenchError("the honest user could not put its files")
        self.seconds.clear()
        self.refusals = 0

    def go_round(self) -> None:
        """Do all operations once."""
        self._log_in_often("login", self._by_key)
        self._log_in_often("login by password", self._by_password)
        self._use_a_session()
        self._transfer("put")
        self._transfer("get")

    # Logins.

    def _by_key(self, connection: RawClient) -> None:
        connection.finish_login(NAME.encode(), self.key)

    def _by_password(self, connection: RawClient) -> None:
        connection.send(password(NAME.encode(), self.guess))
        connection.expect(USERAUTH_SUCCESS)

    @contextmanager
    def _log_in(self, method: Callable[[RawClient], None]) -> Iterator[RawClient]:
        """A connection that is logged in; one that is refused is tried again."""
        deadline = time.monotonic() + self.effort.deadline_seconds
        while True:
            connection = None
            try:
                connection = RawClient(self.port, ADDRESS)
                connection.socket.settimeout(max(0.1, deadline - time.monotonic()))
                method(connection.start().request_login())
                break
            except Failure:
                self.refusals += 1
                if connection is not None:
                    connection.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE_SECONDS)
        with connection:
            yield connection

    def _log_in_often(self, name: str, method: Callable[[RawClient], None]) -> None:
        """Until all are done, or one was not; each with a session that has greeted."""
        found = []
        began = time.monotonic()
        for _ in range(self.effort.logins):
            if time.monotonic() > began + self.effort.deadline_seconds:
                break
            try:
                found.append(self._timed(lambda: self._log_in_once(method)))
            except Failure:
                found.append(NEVER_SECONDS)
                break
        self.seconds[name] = median(found)
        self.seconds[f"{name}, longest"] = max(found)

    def _log_in_once(self, method: Callable[[RawClient], None]) -> None:
        with self._log_in(method) as connection:
            RawSftp(connection)

    # One session.

    def _use_a_session(self) -> None:
        names = [SECOND_CHANNEL, "list", "STAT", "STAT, 99 of 100"]
        names += [RENAME] if self.can_rename else []
        self.seconds.update(dict.fromkeys(names, NEVER_SECONDS))
        try:
            with self._log_in(self._by_key) as connection:
                connection.socket.settimeout(self.effort.deadline_seconds)
                sftp = RawSftp(connection)
                with suppress(AssertionError):  # it may be refused; the first one may not
                    self.seconds[SECOND_CHANNEL] = self._timed(lambda: RawSftp(connection))
                self._list(sftp)
                self._stat(sftp)
                if self.can_rename:
                    self._rename(sftp)
        except Failure:
            pass

    def _list(self, sftp: RawSftp) -> None:
        found = self._until_deadline(lambda: sftp.entries(LISTED), self.effort.listings)
        self.seconds["list"] = median(found)

    def _stat(self, sftp: RawSftp) -> None:
        path = LISTED + b"/first"
        found = sorted(self._until_deadline(lambda: sftp.stat(path), self.effort.stats))
        self.seconds["STAT"] = median(found)
        self.seconds["STAT, 99 of 100"] = found[int(0.99 * (len(found) - 1))]

    def _rename(self, sftp: RawSftp) -> None:
        """There and back; the mean of both."""

        def both() -> None:
            for old, new in ((FOLDER, MOVED_FOLDER), (MOVED_FOLDER, FOLDER)):
                assert _rename(sftp, old, new) is Status.OK

        self.seconds[RENAME] = self._timed(both) / 2

    def _until_deadline(self, work: Callable[[], object], times: int) -> list[float]:
        """The seconds of each time; fewer times where they take too long together."""
        found: list[float] = []
        while len(found) < times and sum(found) < self.effort.deadline_seconds:
            found.append(self._timed(work))
        return found

    @staticmethod
    def _timed(work: Callable[[], object]) -> float:
        began = time.monotonic()
        work()
        return time.monotonic() - began

    # Files.

    def _transfer(self, operation: str) -> None:
        """The larger ones are not tried where a smaller one was not done."""
        seconds = 0.0
        for size_mib in self.effort.sizes_mib:
            source, remote = self.folder / f"{size_mib}", f"/file{size_mib}"
            if not source.exists():
                with source.open("wb") as file:
                    file.truncate(size_mib * MIB)
            command = f"put {source} {remote}" if operation == "put" else f"get {remote} /dev/null"
            seconds = seconds if seconds == NEVER_SECONDS else self._by_openssh(command)
            self.seconds[f"{operation} of {size_mib} MiB"] = seconds

    def _by_openssh(self, command: str) -> float:
        """The deadline is for the login, too, which is not in the figure."""
        limit_seconds = self.effort.deadline_seconds
        try:
            with self.client.session(NAME, self.port, CIPHER, limit_seconds) as session:
                return self._timed(lambda: session.run(command))
        except BenchError:
            return NEVER_SECONDS


def _rename(sftp: RawSftp, old: bytes, new: bytes) -> Status | None:
    return sftp.status(sftp.send(wire.OnTwoPaths(wire.Kind.RENAME, 0, old, new)))
