"""Sends small requests to services that are not a store: sources of users.

Knows: treq, and the bounds on time, size and number of requests.
Must not know: what is asked, or what an answer means.

HTTP is treq's here: a request comes with a login, and no byte of a file passes through it.

Rules

1. Up to `MAX_AT_ONCE` requests are under way. Addresses take turns for them (`aio.fair_slots`).
2. A request takes `timeout_seconds` at most, with its wait and all its tries.
3. Only a connection that was not made, or was lost before the answer, is tried again.
4. Redirects are not followed: they could send passwords elsewhere.
5. An answer has at most `MAX_ANSWER_BYTES`, and is not compressed: a small one could grow huge.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
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
from sftpgw.errors import BadAnswer, SourceAway
from sftpgw.http.certificates import AuthoritiesUnusable
from sftpgw.model.clock import Clock
from sftpgw.model.units import KIB

MAX_AT_ONCE = 32
MAX_ANSWER_BYTES = 256 * KIB
MAX_TRIES = 3

_LOST = (ConnectError, ConnectionLost, DNSLookupError, ResponseFailed)


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """A request to a service.

    :ivar method: GET, POST or OPTIONS.
    :ivar url: where to.
    :ivar headers: what is sent beside the usual ones.
    :ivar body: the body; empty for none.
    """

    method: str
    url: str
    headers: Mapping[str, bytes] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """What a service has answered.

    :ivar status: the status of HTTP.
    :ivar body: the whole body.
    :ivar date: the service's clock, as its header ``Date`` has it; empty if it has none.
    """

    status: int
    body: bytes = field(repr=False)
    date: str = ""


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is.

    :param body: the whole body.
    :raises BadAnswer: it is none.
    """
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise BadAnswer("is not JSON") from None
    if not isinstance(said, dict):
        raise BadAnswer("is not a JSON object")
    return said


class ServiceClient:
    """Sends requests to one service.

    :param agent: makes the requests: Twisted's, which verifies certificates.
    :param clock: ends those that take too long.
    :param timeout_seconds: how long a request may take.
    :param timeout_key: the setting that says so, for messages.
    """

    def __init__(self, agent: Any, clock: Clock, timeout_seconds: float, timeout_key: str) -> None:
        self._agent = _PlainAgent(agent)
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._timeout_key = timeout_key
        self._slots = FairSlots(MAX_AT_ONCE)

    async def send(self, source: str, request: ServiceRequest) -> ServiceAnswer:
        """The answer, whatever its status.

        :param source: the client's address, which takes turns with others.
        :param request: the request.
        :raises SourceAway: there is no answer.
        :raises BadAnswer: it is too long, or compressed.
        """
        sending = Deferred.fromCoroutine(self._try(source, request))
        sending.addTimeout(self._timeout_seconds, self._clock)  # type: ignore[arg-type]
        try:
            return await sending
        except TimeoutError:
            text = f"no answer within {self._timeout_seconds:g} s ({self._timeout_key})"
            raise SourceAway(text) from None

    async def _try(self, source: str, request: ServiceRequest) -> ServiceAnswer:
        async with self._slots.slot((source,)):
            for tries_left in reversed(range(MAX_TRIES)):
                try:
                    return await self._send(request)
                except AuthoritiesUnusable as error:
                    raise SourceAway(str(error)) from None
                except _LOST as error:
                    if _was_cancelled(error):
                        raise CancelledError from None
                    if not tries_left:
                        raise SourceAway(_reason(error)) from None
        raise AssertionError("the loop returns or raises")

    async def _send(self, request: ServiceRequest) -> ServiceAnswer:
        headers = Headers({name.encode(): [value] for name, value in request.headers.items()})
        # A client of its own for each request: cookies are not kept.
        client = HTTPClient(self._agent, data_to_body_producer=_RequestBody)
        response = await client.request(
            request.method,
            request.url,
            headers=headers,
            data=request.body or None,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._clock,  # type: ignore[arg-type]
        )
        answer = _AnswerBody()
        response.deliverBody(answer)
        (date,) = response.headers.getRawHeaders("Date", [""])[:1]
        return ServiceAnswer(response.code, await answer.whole, date)


@implementer(IBodyProducer)
class _RequestBody:
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
