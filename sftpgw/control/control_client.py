"""Asks a running gateway, from a command: one request on its control socket.

Knows: sockets that block. Must not know: what is asked.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping
from typing import Any

from sftpgw.control.control_lines import (
    MAX_ANSWER_BYTES,
    ControlError,
    read_result,
    request_line,
)

ANSWER_SECONDS = 30.0
_PIECE_BYTES = 65536


def ask_gateway(path: str, name: str, arguments: Mapping[str, Any]) -> Any:
    """The result of one request.

    :param path: the gateway's control socket.
    :param name: what is to be done.
    :param arguments: with what.
    :raises ControlError: there is no result; says why.
    """
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ControlError(f"{path} is not a socket")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(path)
            connection.sendall(request_line(name, arguments) + b"\n")
            return read_result(_line_from(connection))
    except TimeoutError:
        raise ControlError(f"the gateway at {path} does not answer") from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise ControlError(
            f"no gateway listens at {path}; is it running, with [gateway] control?"
        ) from None
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror or error}") from None


def _line_from(connection: socket.socket) -> bytes:
    """The answer's line, without its end."""
    received = bytearray()
    while b"\n" not in received:
        piece = connection.recv(_PIECE_BYTES)
        if not piece:
            raise ControlError("the gateway has closed the connection; it has too many, or ends")
        received += piece
        if len(received) > MAX_ANSWER_BYTES + 1:
            raise ControlError("the answer is too long")
    return bytes(received.partition(b"\n")[0])
