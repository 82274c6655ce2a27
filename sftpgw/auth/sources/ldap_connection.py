"""One connection to an LDAP server, on which one request is under way at a time.

Knows: how bytes become messages, and what a server may send when.
Must not know: which server it is, who is bound, or why something is searched for.

Rules

1. What the server sends is bounded: `MAX_ANSWER_BYTES` for all messages of one answer together, and
   `MAX_REFERENCES` references to other servers, which are counted and not followed.
2. Each byte is looked at a bounded number of times, however small the pieces are.
3. A message that makes no sense, or that nothing waits for, ends the connection.
4. A request that is given up ends the connection: its answer could be taken for that of the next.
5. What a server sends before TLS, behind its answer to StartTLS, could be of an attacker: such a
   connection ends.
6. An empty password is never sent (`wire.ldap.bind_request`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from sftpgw.errors import BadAnswer
from sftpgw.model.units import KIB
from sftpgw.wire.ber import SEQUENCE, BadBer, whole_size_bytes
from sftpgw.wire.ldap import (
    LdapEntry,
    LdapMessage,
    Reply,
    Result,
    ResultCode,
    Search,
    bind_request,
    read_entry,
    read_message,
    read_result,
    search_request,
    start_tls_request,
    unbind_request,
)

MAX_ANSWER_BYTES = 256 * KIB
MAX_REFERENCES = 100
SEQUENCE_BYTE = bytes((SEQUENCE,))
UNSOLICITED = 0
"""The number of a message by which a server says that it ends the connection."""


class ConnectionGone(Exception):
    """The connection was not made, was lost, or the server does not want to serve. Says why."""


class LdapConnection(Protocol):
    """Sends requests, one after the other, and takes their answers.

    :ivar is_usable: whether the next request may be sent.
    :ivar idle_since_seconds: when it was put aside; for its owner.
    """

    def __init__(self) -> None:
        self.is_usable = False
        self.idle_since_seconds = 0.0
        self._received = bytearray()
        self._whole_bytes: int | None = None
        self._last_number = 0
        self._answer: _LdapAnswer | None = None
        self._why = "the connection has ended"

    def connectionMade(self) -> None:
        self.is_usable = True

    async def bind(self, dn: str, password: bytes) -> Result:
        """Try to become an entry. Whatever comes of it, the one before is forgotten.

        :param dn: the name of the entry.
        :param password: its password; never empty.
        :raises ConnectionGone: there is no answer.
        :raises BadAnswer: it makes no sense.
        """
        found = await self._ask(Reply.BIND, lambda number: bind_request(number, dn, password))
        return found.result

    async def search(
        self, search: Search, time_limit_seconds: int
    ) -> tuple[Result, list[LdapEntry]]:
        """How a search has ended, and the entries that it has found.

        :param search: what is searched for.
        :param time_limit_seconds: how long the server may search.
        :raises ConnectionGone: there is no answer.
        :raises BadAnswer: it makes no sense.
        """
        found = await self._ask(
            Reply.SEARCH_DONE,
            lambda number: search_request(number, search, time_limit_seconds),
            search.most,
        )
        return found.result, found.entries

    async def start_tls(self, creator: Any) -> None:
        """Speak TLS from now on. The handshake fails with the next request if it fails.

        :param creator: makes and verifies the connection, as Twisted's ``startTLS`` takes it.
        :raises ConnectionGone: the server does not offer TLS.
        :raises BadAnswer: its answer makes no sense.
        """
        found = await self._ask(Reply.EXTENDED, start_tls_request)
        if found.result.code != ResultCode.SUCCESS:
            self.give_up()
            raise ConnectionGone(
                f"the server does not start TLS ({found.result}); use an ldaps:// URL, or set "
                "[auth] ldap_starttls = no if passwords may be read on the way"
            )
        if self._received:
            self.give_up()
            raise BadAnswer("goes on behind the answer to StartTLS, before TLS")
        self.transport.startTLS(creator)  # type: ignore[union-attr]

    def close(self) -> None:
        """End the connection politely: the server need not wait."""
        if self.is_usable:
            self._write(unbind_request(self._last_number + 1))
            self.is_usable = False
            self.transport.loseConnection()  # type: ignore[union-attr]

    def give_up(self) -> None:
        """End the connection at once."""
        if self.is_usable:
            self.is_usable = False
            self.transport.abortConnection()  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        if not self.is_usable:
            return
        self._received += data
        try:
            while self.is_usable and (message := self._next_message()) is not None:
                self._on_message(message)
        except BadBer as error:
            self._fail(BadAnswer(f"is no LDAP: {error}"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_usable = False
        self._received.clear()
        if not reason.check(ConnectionDone, ConnectionAborted):
            self._why = reason.getErrorMessage() or self._why
        self._fail(ConnectionGone(self._why))

    async def _ask(
        self, last: Reply, request: Callable[[int], bytes], most_entries: int = 0
    ) -> _LdapAnswer:
        if not self.is_usable:
            raise ConnectionGone(self._why)
        self._last_number += 1
        data = request(self._last_number)
        answer = self._answer = _LdapAnswer(self._last_number, last, most_entries)
        self._write(data)
        try:
            await answer.whole
        except CancelledError:
            self.give_up()
            raise
        finally:
            self._answer = None
        return answer

    def _write(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]

    def _next_message(self) -> LdapMessage | None:
        """The next whole message. :raises BadBer: it is none, or too long"""
        if self._whole_bytes is None:
            if self._received[:1] not in (b"", SEQUENCE_BYTE):
                raise BadBer("a message is no sequence")
            self._whole_bytes = whole_size_bytes(self._received)
            if self._whole_bytes is not None and self._whole_bytes > MAX_ANSWER_BYTES:
                raise BadBer(f"a message has more than {MAX_ANSWER_BYTES // KIB} KiB")
        if self._whole_bytes is None or len(self._received) < self._whole_bytes:
            return None
        data = bytes(self._received[: self._whole_bytes])
        del self._received[: self._whole_bytes]
        self._whole_bytes = None
        return read_message(data)

    def _on_message(self, message: LdapMessage) -> None:
        if message.number == UNSOLICITED:
            text = read_result(message.content)
            self._fail(ConnectionGone(f"the server ends the connection ({text})"))
        elif self._answer is None or message.number != self._answer.number:
            self._fail(BadAnswer("has a message that belongs to no request"))
        else:
            self._answer.take(message)

    def _fail(self, error: Exception) -> None:
        self._why = str(error)
        answer = self._answer
        self.give_up()
        if answer is not None and not answer.whole.called:
            answer.whole.errback(error)


class _LdapAnswer:
    """What has come of an answer.

    :ivar number: that of the request.
    :ivar whole: fires when the answer is complete.
    :ivar entries: the entries so far.
    :ivar result: how the request has ended, once it has.
    """

    result: Result

    def __init__(self, number: int, last: Reply, most_entries: int) -> None:
        self.number = number
        self.whole: Deferred[None] = Deferred()
        self.entries: list[LdapEntry] = []
        self._last = last
        self._most_entries = most_entries
        self._references = 0
        self._left_bytes = MAX_ANSWER_BYTES

    def take(self, message: LdapMessage) -> None:
        """Add a message. :raises BadBer: it makes no sense here"""
        self._left_bytes -= len(message.content)
        if self.whole.called:
            raise BadBer("an answer goes on behind its end")
        if self._left_bytes < 0:
            raise BadBer(f"an answer has more than {MAX_ANSWER_BYTES // KIB} KiB")
        if message.tag == self._last:
            self.result = read_result(message.content)
            self.whole.callback(None)
        elif self._last is Reply.SEARCH_DONE and message.tag == Reply.ENTRY:
            if len(self.entries) == self._most_entries:
                raise BadBer(f"an answer has more than {self._most_entries} entries, as asked for")
            self.entries.append(read_entry(message.content))
        elif self._last is Reply.SEARCH_DONE and message.tag == Reply.REFERENCE:
            self._references += 1
            if self._references > MAX_REFERENCES:
                raise BadBer(f"an answer has over {MAX_REFERENCES} references")
        else:
            raise BadBer("an answer is of another kind than the request")
