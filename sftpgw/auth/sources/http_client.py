"""Sends questions to the web service that knows the users.

Knows: treq, and the bounds on time, size and number of requests.
Must not know: what is asked, or what an answer means.

HTTP is treq's here: a question comes with a login, and no byte of a file passes through it.

Rules

1. Up to `MAX_AT_ONCE` requests are under way. Addresses take turns for them (`aio.fair_slots`).
2. A question takes `timeout_seconds` at most, with its wait and all its tries.
3. Only a connection that was not made, or was lost before the answer, is tried again.
4. Redirects are not followed: they could send passwords elsewhere.
5. An answer has at most `MAX_ANSWER_BYTES`, and is not compressed: a small one could grow huge.
"""

from __future__ import annotations

from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.internet.error import ConnectError, ConnectionLost, DNSLookupError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from sftpgw.aio.fair_slots import FairSlots
from sftpgw.auth.sources.http_dialects import HttpQuestion
from sftpgw.auth.sources.questions import BadAnswer, SourceAway
from sftpgw.model.clock import Clock
from sftpgw.model.units import KIB

MAX_AT_ONCE = 32
MAX_ANSWER_BYTES = 256 * KIB
MAX_TRIES = 3

_OK = 200
_UNKNOWN = frozenset({404})
_REFUSED = frozenset({401, 403})
_LOST = (ConnectError, ConnectionLost, DNSLookupError, ResponseFailed)


class HttpUserClient:
    """Asks the service.

    :param agent: makes the requests: Twisted's, which verifies certificates.
    :param clock: ends those that take too long.
    :param timeout_seconds: how long a question may take.
    :param token: sent as a bearer token; empty for none.
    """

    def __init__(self, agent: Any, clock: Clock, timeout_seconds: float, token: str = "") -> None:
        self._agent = _PlainAgent(agent)
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._token = token
        self._slots = FairSlots(MAX_AT_ONCE)

    async def ask(self, source: str, question: HttpQuestion) -> bytes | None:
        """The body of the answer; None if the service refuses or does not know the user.

        :param source: the client's address, which takes turns with others.
        :param question: the request.
        :raises SourceAway: there is no answer.
        :raises BadAnswer: it is too long, or compressed.
        """
        asking = Deferred.fromCoroutine(self._ask(source, question))
        asking.addTimeout(self._timeout_seconds, self._clock)  # type: ignore[arg-type]
        try:
            return await asking
        except TimeoutError:
            text = f"no answer within {self._timeout_seconds:g} s ([auth] http_timeout)"
            raise SourceAway(text) from None

    async def _ask(self, source: str, question: HttpQuestion) -> bytes | None:
        async with self._slots.slot((source,)):
            for tries_left in reversed(range(MAX_TRIES)):
                try:
                    return await self._send(question)
                except _LOST as error:
                    if _was_cancelled(error):
                        raise CancelledError from None
                    if not tries_left:
                        raise SourceAway(_reason(error)) from None
        raise AssertionError("the loop returns or raises")

    async def _send(self, question: HttpQuestion) -> bytes | None:
        headers = Headers({name.encode(): [value] for name, value in question.headers.items()})
        if self._token:
            headers.setRawHeaders(b"Authorization", [f"Bearer {self._token}".encode()])
        # A client of its own for each question: cookies are not kept.
        client = HTTPClient(self._agent, data_to_body_producer=_QuestionBody)
        response = await client.request(
            question.method,
            question.url,
            headers=headers,
            data=question.body or None,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._clock,  # type: ignore[arg-type]
        )
        answer = _AnswerBody()
        response.deliverBody(answer)
        body = await answer.whole
        if response.code == _OK:
            return body
        if response.code in _UNKNOWN | _REFUSED:
            return None
        raise SourceAway(f"the service answers with status {response.code}")


@implementer(IBodyProducer)
class _QuestionBody:
    """A small body, which is written at once. Twisted's own takes turns of the reactor for it.

    :param content: the body.
    """

    def __init__(self, content: bytes) -> None:
        self.length = len(content)
        self._content = content

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._content)
        return succeed(None)

    def pauseProducing(self) -> None:
        """All of it is written already."""

    def resumeProducing(self) -> None:
        """All of it is written already."""

    def stopProducing(self) -> None:
        """All of it is written already."""


class _AnswerBody(Protocol):
    """Takes the body of an answer. Its connection ends with the wait for it, unlike with treq.

    :ivar whole: fires with the body, at its end.
    """

    def __init__(self) -> None:
        self.whole: Deferred[bytes] = Deferred(self._give_up)
        self._content = bytearray()

    def dataReceived(self, data: bytes) -> None:
        if self.whole.called:
            return
        self._content += data
        if len(self._content) > MAX_ANSWER_BYTES:
            self._hang_up()
            self.whole.errback(BadAnswer(f"has more than {MAX_ANSWER_BYTES // KIB} KiB"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.whole.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(bytes(self._content))
        else:
            self.whole.errback(reason)

    def _give_up(self, whole: Deferred[bytes]) -> None:
        whole.errback(CancelledError())
        self._hang_up()

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


@implementer(IAgent)
class _PlainAgent:
    """Refuses compressed answers before treq unpacks them.

    :param agent: makes the requests.
    """

    def __init__(self, agent: Any) -> None:
        self._agent = agent

    def request(
        self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None
    ) -> Deferred[IResponse]:
        headers.removeHeader(b"Accept-Encoding")
        asked: Deferred[IResponse] = self._agent.request(method, uri, headers, bodyProducer)
        return asked.addCallback(_require_plain)


def _require_plain(response: Any) -> Any:
    encoding = response.headers.getRawHeaders(b"Content-Encoding", [b"identity"])
    if encoding != [b"identity"]:
        response.deliverBody(_Dropped())
        raise BadAnswer("is compressed; the service must send it as it is")
    return response


class _Dropped:
    """Takes the body of an answer that is not wanted, and ends its connection."""

    transport: Any = None

    def makeConnection(self, transport: Any) -> None:
        transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Nothing is kept."""

    def connectionLost(self, reason: Any) -> None:
        """It is over."""


def _was_cancelled(error: BaseException) -> bool:
    """Whether we have given the request up: Twisted then says that no response came."""
    return isinstance(error, ResponseFailed) and any(
        each.check(CancelledError) for each in error.reasons
    )


def _reason(error: BaseException) -> str:
    """Why there is no answer, in a few words."""
    if isinstance(error, ResponseFailed):
        return "; ".join(each.getErrorMessage() for each in error.reasons) or "no answer"
    return str(error) or type(error).__name__
