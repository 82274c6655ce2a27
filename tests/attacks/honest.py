"""An honest user, who uses the gateway again and again while others attack it.

Knows: a thread, and a round of ordinary operations. Must not know: any attack.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Self

from sftpgw.model.units import KIB
from tests.attacks.gateway import KEY
from tests.attacks.raw_sftp import RawSftp
from tests.attacks.raw_ssh import Ended, RawClient

ADDRESS = "127.0.0.1"
FILE_BYTES = 200 * KIB
ROUND_SECONDS = 120.0
PAUSE_SECONDS = 0.05


def connect(port: int) -> RawClient:
    """A connection after the key exchange. In a crowd it may take more than one attempt."""
    deadline = time.monotonic() + ROUND_SECONDS
    while True:
        client = RawClient(port, ADDRESS)
        try:
            return client.start()
        except Ended:
            client.close()
            assert time.monotonic() < deadline, "an honest user was not let in"
        except BaseException:
            client.close()
            raise
        threading.Event().wait(PAUSE_SECONDS)


def one_round(port: int, content: bytes) -> None:
    """Log in, upload, stat, download, list, and check each result."""
    with connect(port) as client:
        sftp = RawSftp(client.request_login().finish_login(b"honest", KEY))
        sftp.put(b"/file", content)
        assert sftp.stat(b"/file") == len(content)
        assert sftp.get(b"/file") == content
        assert sftp.entries(b"/") == 1


class HonestUser:
    """Runs round after round in a thread until the end of the ``with``, which requires success."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ended = threading.Event()
        self._news = threading.Condition()
        self._begun = 0
        self._finished = 0
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        random_bytes = random.Random(1).randbytes
        try:
            while not self._ended.is_set():
                self._begun += 1
                one_round(self._port, random_bytes(FILE_BYTES))
                self._tell(None)
                self._ended.wait(PAUSE_SECONDS)
        except BaseException as problem:  # raised in the test's own thread
            self._tell(problem)

    def _tell(self, problem: BaseException | None) -> None:
        with self._news:
            self._problem = problem
            self._finished += problem is None
            self._news.notify_all()

    def demand_served(self) -> None:
        """Wait for the end of a round that begins from now on."""
        with self._news:
            enough = self._begun + 1
            self._news.wait_for(
                lambda: self._problem is not None or self._finished >= enough, ROUND_SECONDS
            )
            if self._problem is not None:
                raise self._problem
            assert self._finished >= enough, "an honest user was not served"

    def __enter__(self) -> Self:
        self._thread.start()
        self.demand_served()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.demand_served()
        finally:
            self._ended.set()
            self._thread.join(ROUND_SECONDS)
