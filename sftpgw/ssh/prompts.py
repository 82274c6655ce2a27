"""keyboard-interactive: what the client is asked, and what it answers (RFC 4256).

Knows: the fields of the messages, and the words of the prompts.
Must not know: who is asked, or whether an answer is right.
"""

from __future__ import annotations

import struct

from twisted.conch.ssh.common import NS

from sftpgw.model.users import LoginMethod
from sftpgw.ssh.fields import PacketFields

MSG_USERAUTH_INFO_REQUEST, MSG_USERAUTH_INFO_RESPONSE = 60, 61
"""RFC 4256, section 5."""

PROMPTS = {LoginMethod.PASSWORD: b"Password: ", LoginMethod.TOTP: b"Verification code: "}
"""The prompts of sshd with PAM, by which clients recognise what is asked for."""


def check_beginning(details: PacketFields) -> None:
    """Read over what a client says as it begins; nothing of it matters (section 3.1).

    :param details: the language and the submethods.
    :raises MalformedPacket: there are too few fields, or too many.
    """
    details.string()
    details.string()
    details.end()


def info_request(prompt: bytes) -> bytes:
    """The payload of MSG_USERAUTH_INFO_REQUEST with one prompt, whose answer is not shown.

    :param prompt: what to ask.
    """
    name, instruction, language = NS(b""), NS(b""), NS(b"")
    return name + instruction + language + struct.pack(">L", 1) + NS(prompt) + b"\0"


def read_answer(packet: bytes) -> bytes | None:
    """The answer to one prompt; None for any other number of answers, which must fail (3.4).

    :param packet: the payload of MSG_USERAUTH_INFO_RESPONSE.
    :raises MalformedPacket: it is cut short, or goes on.
    """
    fields = PacketFields(packet)
    if fields.uint32() != 1:
        return None
    answer = fields.string()
    fields.end()
    return answer
