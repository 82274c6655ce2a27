r"""The lines of the control socket: a request is a line of JSON, and so is its answer.

Knows: how both are written, and how long they may be.
Must not know: which requests there are, or sockets.

A request::

    {"version": 1, "request": "unban", "arguments": {"name": "alice"}}

Its answer has a result, or says why there is none::

    {"version": 1, "result": …}
    {"version": 1, "error": "…"}

Requests are answered one at a time, in their order. A version changes when a line that is right
today would mean something else; new requests, arguments and fields do not change it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sftpgw.model.units import KIB, MIB

VERSION = 1
MAX_REQUEST_BYTES = 16 * KIB
MAX_ANSWER_BYTES = 4 * MIB


class ControlError(Exception):
    """A request cannot be answered. The text is for the operator."""


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """What is asked.

    :ivar name: what is to be done.
    :ivar arguments: with what.
    """

    name: str
    arguments: Mapping[str, Any]


def read_request(line: bytes) -> ControlRequest:
    """The request in a line.

    :param line: the line, without its end.
    :raises ControlError: it is none, or of a version that we do not speak.
    """
    said = _object_in(line)
    name, arguments = said.get("request"), said.get("arguments", {})
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ControlError("the line has no request with arguments")
    return ControlRequest(name, arguments)


def request_line(name: str, arguments: Mapping[str, Any]) -> bytes:
    """The line of a request, without its end.

    :param name: what is to be done.
    :param arguments: with what.
    """
    return _line({"version": VERSION, "request": name, "arguments": dict(arguments)})


def result_line(result: object) -> bytes:
    """The line of an answer, without its end.

    :param result: what JSON can have.
    """
    line = _line({"version": VERSION, "result": result})
    return line if len(line) <= MAX_ANSWER_BYTES else error_line("the answer would be too long")


def error_line(text: str) -> bytes:
    """The line of an answer that there is no result, without its end.

    :param text: why.
    """
    return _line({"version": VERSION, "error": text})


def read_result(line: bytes) -> Any:
    """The result in the line of an answer.

    :param line: the line, without its end.
    :raises ControlError: the answer is an error, or none that we understand.
    """
    said = _object_in(line)
    if "error" in said:
        raise ControlError(str(said["error"]))
    if "result" not in said:
        raise ControlError("the answer has no result")
    return said["result"]


def _line(said: object) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode("ascii")


def _object_in(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        raise ControlError("the line is not JSON") from None
    if not isinstance(said, dict):
        raise ControlError("the line is not a JSON object")
    if said.get("version") != VERSION:
        raise ControlError(f"the line is not of version {VERSION}, which this program speaks")
    return said
