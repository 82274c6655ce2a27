"""What follows from an answer of DynamoDB: it is one, it is asked again, or there is none.

Knows: DynamoDB's error codes. Must not know: how a request is sent, or which clock runs.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass

from sftpgw.aio.backoff import random_wait_seconds

MAX_TRIES = 5
FIRST_WAIT_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 1.0
LONGEST_TEXT = 200

_OK = 200
_FIRST_FAULT_OF_SERVER = 500
_PASSING = frozenset(
    {
        "InternalServerError",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingException",
    }
)
_CREDENTIALS = frozenset(
    {
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "UnrecognizedClientException",
    }
)


_HINTS = {
    "AccessDeniedException": "the credentials need dynamodb:GetItem on the table",
    "ResourceNotFoundException": (
        "see [auth] dynamodb_table and dynamodb_region; sftpgw user create-table makes it"
    ),
    "UnrecognizedClientException": "DynamoDB does not know the access key",
    "InvalidSignatureException": "the secret key is not the one of the access key",
    "ValidationException": "the table needs the partition key name, a text (S), and no sort key",
}


class Verdict(enum.Enum):
    """What becomes of an answer."""

    DONE = "done"
    AGAIN = "again"
    RENEW = "renew"  # the credentials or the clock, and then again
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class TableFault:
    """Why DynamoDB has refused a request.

    :ivar code: its error code; empty if it has named none.
    :ivar text: its words, cut short.
    """

    code: str
    text: str


def fault_of(body: bytes) -> TableFault:
    """The code and the words of an answer with a fault.

    :param body: the whole body.
    """
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        return TableFault("", "")
    code, text = said.get("__type"), said.get("message", said.get("Message"))
    return TableFault(
        code.rpartition("#")[2][:LONGEST_TEXT] if isinstance(code, str) else "",
        text[:LONGEST_TEXT] if isinstance(text, str) else "",
    )


def reason_of(status: int, fault: TableFault) -> str:
    """What DynamoDB has answered, and what to do about it where that is known.

    :param status: the status of HTTP.
    :param fault: what `fault_of` has found.
    """
    text = f"DynamoDB answers {status} {fault.code}: {fault.text}".rstrip(": ")
    return text + hint_of(fault.code)


def hint_of(code: str) -> str:
    """What to do about a fault, to be put behind its words; empty if that is not known.

    :param code: DynamoDB's error code.
    """
    return f"; {_HINTS[code]}" if code in _HINTS else ""


def judge(status: int, fault: TableFault) -> Verdict:
    """What becomes of an answer.

    :param status: the status of HTTP.
    :param fault: what `fault_of` has found.
    """
    if status == _OK:
        return Verdict.DONE
    if fault.code in _CREDENTIALS:
        return Verdict.RENEW
    if fault.code in _PASSING or status >= _FIRST_FAULT_OF_SERVER:
        return Verdict.AGAIN
    return Verdict.REFUSED


def wait_seconds(tries: int, random: float) -> float:
    """How long to wait before another try: at random, with a bound that doubles each time.

    :param tries: how many tries there were.
    :param random: a number in [0, 1).
    """
    return random_wait_seconds(
        tries, random, first_seconds=FIRST_WAIT_SECONDS, longest_seconds=LONGEST_WAIT_SECONDS
    )
