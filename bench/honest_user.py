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
RENAME = "rename of a folder and back"
FOLDER, MOVED_FOLDER = b"/folder", b"/moved"

LOGIN, PASSWORD_LOGIN, LIST, STAT = "login", "login by password", "list", "STAT"
LONGEST_OF = (LOGIN, PASSWORD_LOGIN)
"""Of these, the longest one is told as well."""

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
    listed_names: int = 1000
    deadline_seconds: float = 5.0


class DeadlineClient(RawClient):
    """A connection on which no wait goes on behind a deadline.

    :ivar deadline: of `time.monotonic`; to be set before each operation.
    """

    deadline = float("inf")

    def _receive_from_wire(self) -> bytes:
        left_seconds = self.deadline - time.monotonic()
        if left_seconds <= 0:
            raise TimeoutError
        if left_seconds < float("inf"):
            self.socket.settimeout(left_seconds)
        return super()._receive_from_wire()


@dataclass
class HonestUser:
    """One user; `found` and `refusals` are what it met with.

    :ivar found: the seconds of each operation, each time.
    """

    client: Client
    key: Ed25519PrivateKey
    guess: bytes
    port: int
    folder: Path
    effort: Effort
    found: dict[str, list[float]] = field(default_factory=dict)
    refusals: int = 0
    can_rename: bool = False
    """Whether the store keeps the record of a rename; one that keeps no bytes does not."""

    def prepare(self) -> None:
        """Put what is listed, got and renamed later. :raises BenchError: it cannot be put."""
        try:
            with self._log_in(self._by_key) as connection:
                connection.deadline = time.monotonic() + PREPARE_SECONDS
                sftp = RawSftp(connection)
                sftp.put(LISTED + b"/first", b"x")  # before which the store is tried out
                sftp.put_many([LISTED + b"/%04d" % n for n in range(self.effort.listed_names - 1)])
                sftp.put(FOLDER + b"/file", b"x")
                self.can_rename = _rename(sftp, FOLDER, MOVED_FOLDER) is Status.OK
                _rename(sftp, MOVED_FOLDER, FOLDER)
        except Failure as problem:
            raise BenchError(f"the honest user could not prepare: {problem}") from problem
        self._transfer("put", PREPARE_SECONDS)
        if any(NEVER_SECONDS in each for each in self.found.values()):
            raise BenchError("the honest user could not put its files")
        self.found.clear()
        self.refusals = 0

    def go_round(self) -> None:
        """Do all operations once."""
        self._do_small_ones()
        self._transfer("put", self.effort.deadline_seconds)
        self._transfer("get", self.effort.deadline_seconds)

    def go_on(self, until: float) -> None:
        """Do all but the transfers again and again.

        :param until: of `time.monotonic`.
        """
        while time.monotonic() < until:
            self._do_small_ones()
            time.sleep(PAUSE_SECONDS)

    def _do_small_ones(self) -> None:
        self._log_in_often(LOGIN, self._by_key)
        self._log_in_often(PASSWORD_LOGIN, self._by_password)
        self._use_a_session()

    @property
    def seconds(self) -> dict[str, float]:
        """The median of each operation; `NEVER_SECONDS` for one that was not done by the
        deadline."""
        told = {}
        for name, found in self.found.items():
            told[name] = median(found)
            if name in LONGEST_OF:
                told[f"{name}, longest"] = max(found)
            elif name == STAT:
                told["STAT, 99 of 100"] = sorted(found)[int(0.99 * (len(found) - 1))]
        return told

    def _note(self, name: str, *seconds: float) -> None:
        self.found.setdefault(name, []).extend(seconds)

    # Logins.

    def _by_key(self, connection: DeadlineClient) -> None:
        connection.finish_login(NAME.encode(), self.key)

    def _by_password(self, connection: DeadlineClient) -> None:
        connection.send(password(NAME.encode(), self.guess))
        connection.expect(USERAUTH_SUCCESS)

    @contextmanager
    def _log_in(self, method: Callable[[DeadlineClient], None]) -> Iterator[DeadlineClient]:
        """A connection that is logged in; one that is refused is tried again."""
        deadline = time.monotonic() + self.effort.deadline_seconds
        while True:
            connection = None
            try:
                connection = DeadlineClient(self.port, ADDRESS)
                connection.deadline = deadline
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

    def _log_in_often(self, name: str, method: Callable[[DeadlineClient], None]) -> None:
        """Until all are done, or one was not; each with a session that has greeted."""
        began = time.monotonic()
        for _ in range(self.effort.logins):
            if time.monotonic() > began + self.effort.deadline_seconds:
                break
            try:
                self._note(name, self._timed(lambda: self._log_in_once(method)))
            except Failure:
                self._note(name, NEVER_SECONDS)
                break

    def _log_in_once(self, method: Callable[[DeadlineClient], None]) -> None:
        with self._log_in(method) as connection:
            RawSftp(connection)

    # One session.

    def _use_a_session(self) -> None:
        """What is not done because an operation before it was not, counts as not done."""
        missing = [SECOND_CHANNEL, LIST, STAT, *([RENAME] if self.can_rename else [])]
        with suppress(*Failure), self._log_in(self._by_key) as connection:
            sftp = RawSftp(connection)
            with suppress(AssertionError):  # it may be refused; the first one may not
                self._until_deadline(connection, SECOND_CHANNEL, lambda: RawSftp(connection), 1)
                missing.remove(SECOND_CHANNEL)
            effort = self.effort
            for name, work, times in (
                (LIST, lambda: sftp.entries(LISTED), effort.listings),
                (STAT, lambda: sftp.stat(LISTED + b"/first"), effort.stats),
                (RENAME, lambda: _there_and_back(sftp), 1),
            ):
                if name in missing:
                    self._until_deadline(connection, name, work, times)
                    missing.remove(name)
        for name in missing:
            self._note(name, NEVER_SECONDS)

    def _until_deadline(
        self, connection: DeadlineClient, name: str, work: Callable[[], object], times: int
    ) -> None:
        """The seconds of each time; fewer times where they take too long together."""
        limit_seconds = self.effort.deadline_seconds
        took_seconds, done = 0.0, 0
        while done < times and took_seconds < limit_seconds:
            connection.deadline = time.monotonic() + limit_seconds
            seconds = self._timed(work)
            self._note(name, seconds)
            took_seconds, done = took_seconds + seconds, done + 1

    @staticmethod
    def _timed(work: Callable[[], object]) -> float:
        began = time.monotonic()
        work()
        return time.monotonic() - began

    # Files.

    def _transfer(self, operation: str, limit_seconds: float) -> None:
        """The larger ones are not tried where a smaller one was not done."""
        seconds = 0.0
        for size_mib in self.effort.sizes_mib:
            source, remote = self.folder / f"{size_mib}", f"/file{size_mib}"
            if not source.exists():
                with source.open("wb") as file:
                    file.truncate(size_mib * MIB)
            command = f"put {source} {remote}" if operation == "put" else f"get {remote} /dev/null"
            seconds = (
                seconds if seconds == NEVER_SECONDS else self._by_openssh(command, limit_seconds)
            )
            self._note(f"{operation} of {size_mib} MiB", seconds)

    def _by_openssh(self, command: str, limit_seconds: float) -> float:
        """The deadline is for the login, too, which is not in the figure."""
        try:
            with self.client.session(NAME, self.port, CIPHER, limit_seconds) as session:
                return self._timed(lambda: session.run(command))
        except BenchError:
            return NEVER_SECONDS


def _there_and_back(sftp: RawSftp) -> None:
    for old, new in ((FOLDER, MOVED_FOLDER), (MOVED_FOLDER, FOLDER)):
        assert _rename(sftp, old, new) is Status.OK


def _rename(sftp: RawSftp, old: bytes, new: bytes) -> Status | None:
    return sftp.status(sftp.send(wire.OnTwoPaths(wire.Kind.RENAME, 0, old, new)))
