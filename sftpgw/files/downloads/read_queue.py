"""The READs of one file that wait for their bytes, in order.

Knows: which READ is next, and how each is answered.
Must not know: where bytes come from.

READs are answered in the order in which they came, errors and EOF too, though SFTP would allow any
order (draft-ietf-secsh-filexfer-02, section 6.1). OpenSSH 9.2's scp cuts a file off where two
replies change places, and reports success; PuTTY's pscp stops at an EOF that overtakes data.
"""

from __future__ import annotations

from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sftpgw.errors import GatewayError, again
from sftpgw.model.filesystem import Cork
from sftpgw.model.store import ByteRange
from sftpgw.model.units import Body


@dataclass(eq=False, slots=True)
class WaitingRead:
    """A READ without a reply.

    :param wanted: the bytes that it asks for.
    :param reply: fires with the bytes.
    :param failure: its reply, once it is known that the bytes will not come.
    """

    wanted: ByteRange
    reply: Deferred[Body]
    failure: Failure | None = None


class ByteSource(Protocol):
    """The download that the READs belong to."""

    def has_received(self, wanted: ByteRange) -> bool:
        """Whether all of `wanted` is here."""

    def take(self, wanted: ByteRange) -> Body | None:
        """The bytes of `wanted`, which count as read then; None if they are not all here."""

    def read_ended(self, wanted: ByteRange) -> None:
        """A READ has its reply, will fail, or was given up: its bytes need not be fetched."""


class ReadQueue:
    """Answers READs in order.

    :param source: the download.
    :ivar reads: the READs that wait; the next one comes first.
    :ivar cork: held while several READs are answered.
    """

    def __init__(self, source: ByteSource) -> None:
        self.reads: deque[WaitingRead] = deque()
        self.cork: Cork = nullcontext
        self._source = source

    def put(self, wanted: ByteRange, failure: Failure | None = None) -> Deferred[Body]:
        """A READ has to wait; cancel what this returns to give it up.

        :param wanted: the bytes that it asks for.
        :param failure: its reply, if that is known already and waits for earlier READs.
        """
        read = WaitingRead(wanted, Deferred(self._give_up), failure)
        self.reads.append(read)
        return read.reply

    def answer(self) -> None:
        """Answer the READs at the head whose bytes are here."""
        if self.reads and self._can_answer(self.reads[0]):
            with self.cork():
                while self.reads and self._answer_head():
                    pass

    def _can_answer(self, head: WaitingRead) -> bool:
        return head.failure is not None or self._source.has_received(head.wanted)

    def _answer_head(self) -> bool:
        """Answer the next READ; False if it has to wait."""
        head = self.reads[0]
        if head.failure is not None:
            self.reads.popleft()
            head.reply.errback(head.failure)
            return True
        data = self._source.take(head.wanted)
        if data is None:
            return False
        self.reads.popleft()
        self._source.read_ended(head.wanted)
        head.reply.callback(data)
        return True

    def refuse(self, lost: ByteRange, failure: Failure) -> None:
        """The bytes of `lost` will not come: READs that want some of them fail, in order."""
        for read in self.reads:
            wanted = read.wanted
            if read.failure is None and wanted.start < lost.stop and lost.start < wanted.stop:
                read.failure = failure
                self._source.read_ended(wanted)

    def refuse_all(self, error: GatewayError) -> None:
        """No byte will come any more."""
        for read in self.reads:
            read.failure = read.failure or Failure(again(error))

    def close(self) -> None:
        """No READ comes any more: what leads back to the download goes."""
        del self._source

    def _give_up(self, reply: Deferred[Body]) -> None:
        for read in self.reads:
            if read.reply is reply:
                self.reads.remove(read)
                if read.failure is None:
                    self._source.read_ended(read.wanted)
                return
