"""A store of which operations fail at random, late or early, and take their time.

Knows: which faults S3 shows to the gateway once its client has given up retrying.
Must not know: what is being stored.
"""

from __future__ import annotations

import random

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from sftpgw.errors import StoreUnavailable
from sftpgw.testing.fake_store import FakeStore


class StormyStore(FakeStore):
    """Every operation takes up to `longest_seconds`, and some fail.

    :param fault_share: how many operations of a hundred fail without effect; a GET's
        body may break off instead.
    """

    def __init__(
        self,
        clock: Clock,
        dice: random.Random,
        *,
        fault_share: float = 0.03,
        longest_seconds: float = 0.2,
    ) -> None:
        super().__init__(min_part_bytes=1, chunk_bytes=1500)
        self.clock = clock
        self.faults = 0
        self._dice = dice
        self._fault_share = fault_share
        self._longest_seconds = longest_seconds

    async def _enter(self, operation: str, bucket: str) -> None:
        await self._pass()
        if operation != "abort_upload" and self._dice.random() < self._fault_share:
            self.faults += 1
            if operation == "get":
                self.cut_body(self._dice.randrange(4000))
            else:
                self.fail(operation, StoreUnavailable("down"))
        await super()._enter(operation, bucket)

    def _pass(self) -> Deferred[None]:
        passed: Deferred[None] = Deferred(lambda _: call.cancel())
        seconds = self._dice.random() * self._longest_seconds
        call = self.clock.callLater(seconds, passed.callback, None)
        return passed
