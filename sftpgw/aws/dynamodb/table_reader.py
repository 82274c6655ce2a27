"""Reads users from a table of DynamoDB: one signed request for each.

Knows: GetItem, and when it is asked again.
Must not know: what an item says of a user, or how long it counts.

A login must not hold a thread: botocore's client blocks, cannot be cancelled, and reads an answer
of any size. So requests are signed here and sent by `http.service_client`, with its bounds.

Rules

1. Reads are consistent: a key that was taken away does not log in because a replica is behind.
2. What passes (`plan`) is asked again, `MAX_TRIES` times at most, after a random wait.
3. Credentials that are refused are renewed once, with the clock, and the request is sent again.
4. All of it takes `timeout_seconds` at most.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_GetItem.html
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from botocore.credentials import ReadOnlyCredentials
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import deferLater

from sftpgw.aws.credentials import CredentialSource
from sftpgw.aws.dynamodb.items import MAX_NAME_BYTES, NAME, TableUser, read_item
from sftpgw.aws.dynamodb.plan import MAX_TRIES, Verdict, fault_of, judge, reason_of, wait_seconds
from sftpgw.aws.endpoints import ServiceEndpoint
from sftpgw.aws.signer import ServiceSigner
from sftpgw.errors import CredentialsUnavailable, SourceAway
from sftpgw.http.service_client import ServiceAnswer, ServiceClient, ServiceRequest, json_object
from sftpgw.model.clock import Clock
from sftpgw.model.numbers import date_seconds_of

TIMEOUT_KEY = "[auth] dynamodb_timeout"
GET_ITEM = "DynamoDB_20120810.GetItem"
CONTENT_TYPE = "application/x-amz-json-1.0"


class TableReader:
    """Reads items of one table.

    :param table: the name of the table.
    :param endpoint: where it is.
    :param client: sends the requests.
    :param credentials: sign them.
    :param signer: signs them.
    :param clock: times waits.
    :param random: returns a number in [0, 1) each time.
    :param timeout_seconds: how long reading an item may take.
    """

    def __init__(
        self,
        table: str,
        endpoint: ServiceEndpoint,
        *,
        client: ServiceClient,
        credentials: CredentialSource,
        signer: ServiceSigner,
        clock: Clock,
        random: Callable[[], float],
        timeout_seconds: float,
    ) -> None:
        self._table = table
        self._endpoint = endpoint
        self._client = client
        self._credentials = credentials
        self._signer = signer
        self._clock = clock
        self._random = random
        self._timeout_seconds = timeout_seconds

    async def get(self, name: str, source: str) -> TableUser | None:
        """What the table says of a user; None if it has none of this name.

        :param name: the user's name.
        :param source: the client's address, which takes turns with others.
        :raises SourceAway: the table cannot be read.
        :raises BadAnswer: the item is none of a user.
        """
        if not 0 < len(name.encode("utf-8")) <= MAX_NAME_BYTES:
            return None
        asking = Deferred.fromCoroutine(self._ask(_get_item(self._table, name), source))
        asking.addTimeout(self._timeout_seconds, self._clock)  # type: ignore[arg-type]
        try:
            body = await asking
        except TimeoutError:
            text = f"no answer within {self._timeout_seconds:g} s ({TIMEOUT_KEY})"
            raise SourceAway(text) from None
        item = _item_in(body)
        return None if item is None else read_item(item, name)

    async def _ask(self, body: bytes, source: str) -> bytes:
        """The body of the answer to a request."""
        renewed = False
        text = ""
        for tries in range(MAX_TRIES):
            credentials = await self._current()
            answer = await self._client.send(source, self._request(body, credentials))
            fault = fault_of(answer.body)
            verdict = judge(answer.status, fault)
            if verdict is Verdict.DONE:
                return answer.body
            text = reason_of(answer.status, fault)
            if verdict is Verdict.RENEW and not renewed:
                renewed = True
                await self._renew(answer, credentials)
            elif verdict is Verdict.AGAIN:
                seconds = wait_seconds(tries, self._random())
                await deferLater(self._clock, seconds)  # type: ignore[arg-type]
            else:
                break
        raise SourceAway(text)

    def _request(self, body: bytes, credentials: ReadOnlyCredentials) -> ServiceRequest:
        url = f"{self._endpoint.url}/"
        headers = self._signer.sign(
            "POST",
            url,
            headers=(("Content-Type", CONTENT_TYPE), ("X-Amz-Target", GET_ITEM)),
            payload_hash=hashlib.sha256(body).hexdigest(),
            endpoint=self._endpoint,
            credentials=credentials,
        )
        sent = {name: value.encode() for name, value in headers if name != "Host"}
        return ServiceRequest("POST", url, sent, body)

    async def _current(self) -> ReadOnlyCredentials:
        try:
            return await self._credentials.current()
        except CredentialsUnavailable as error:
            raise SourceAway(error.message) from None

    async def _renew(self, answer: ServiceAnswer, refused: ReadOnlyCredentials) -> None:
        """Set the clock by that of DynamoDB, and fetch other credentials if there are any."""
        seconds = date_seconds_of(answer.date)
        if seconds is not None:
            self._signer.correct_clock(seconds)
        try:
            await self._credentials.renew(refused)
        except CredentialsUnavailable as error:
            raise SourceAway(error.message) from None


def _get_item(table: str, name: str) -> bytes:
    key = {NAME: {"S": name}}
    return json.dumps({"TableName": table, "Key": key, "ConsistentRead": True}).encode()


def _item_in(body: bytes) -> Any:
    """The item of an answer; None if there is none."""
    return json_object(body).get("Item")
