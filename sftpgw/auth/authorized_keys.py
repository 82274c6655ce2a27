"""Lines of OpenSSH's ``authorized_keys``: options, a key, a comment.

Knows: sshd(8), "AUTHORIZED_KEYS FILE FORMAT".
Must not know: whose line it is.

Options that restrict are enforced or refused, never left aside: a key could do more than intended
otherwise. Those that forbid what the gateway does not have, such as terminals and forwarding, are
taken.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from sftpgw.auth.encoded_fields import EncodedFields
from sftpgw.auth.login_keys import KEY_TYPES, LoginKey, read_key_blob
from sftpgw.auth.user_certificates import SUFFIX, certified_blob
from sftpgw.model.address_patterns import read_patterns
from sftpgw.model.normalization import normalized
from sftpgw.model.users import NO_OPTIONS, AuthorizedKey, KeyOptions

_WITHOUT_EFFECT = frozenset(
    f"{no}{name}"
    for no in ("", "no-")
    for name in ("pty", "port-forwarding", "agent-forwarding", "x11-forwarding", "user-rc")
) | {"restrict"}
"""Options about what no user has here."""

_UNSUPPORTED = {
    "environment": "the gateway runs no program that could have an environment",
    "permitopen": "the gateway forwards no ports",
    "permitlisten": "the gateway forwards no ports",
    "tunnel": "the gateway has no tunnels",
}
"""Options that would have an effect, and why they have none."""

_OPTION = re.compile(r'([A-Za-z0-9-]+)(?:="((?:[^"\\]|\\.)*)")?')
_TIME = re.compile(r"(\d{4})(\d{2})(\d{2})(?:(\d{2})(\d{2})(\d{2})?)?(?i:(Z|UTC))?")
_KNOWN_TYPES = frozenset(map(bytes.decode, KEY_TYPES)) | {"ssh-dss"}


def read_authorized_key(line: str) -> AuthorizedKey:
    """The key of a line, with what its options say.

    :param line: options, if there are any; the type of the key; the key; a comment.
    :raises ValueError: it cannot be used; says why, without quoting it.
    """
    options_text, rest = _split(line)
    login_key = _read_key(rest)
    options = NO_OPTIONS
    is_authority = False
    for name, value in _options(options_text):
        if name == "cert-authority" and value is None:
            is_authority = True
        else:
            options = _with_option(options, name, value)
    if options.principals and not is_authority:
        raise ValueError("principals= is of use with cert-authority only")
    may_be_verified = is_authority or not options.needs_verification
    if not (may_be_verified or login_key.key.isSecurityKey()):
        raise ValueError("verify-required is for FIDO keys only; this is none, and would log in")
    return AuthorizedKey(login_key.blob, options, is_authority)


def read_public_key(line: str) -> LoginKey:
    """The key of a line without options.

    :param line: the type of the key; the key; a comment.
    :raises ValueError: it cannot be used, or has options; says why.
    """
    options_text, rest = _split(line)
    if options_text:
        raise ValueError("options before the key are not taken here")
    return _read_key(rest)


def raw_public_key(line: str) -> bytes:
    """The key of a line without options, of whatever type and size; of a certificate its key.

    :param line: the type of the key; the key; a comment.
    :raises ValueError: there is none.
    """
    kind, blob = _blob(line.split(None, 2))
    if EncodedFields(blob).string() != kind.encode("utf-8"):
        raise ValueError("the key is not of the type that the line names")
    return certified_blob(blob) if kind.endswith(SUFFIX.decode()) else blob


def _read_key(text: str) -> LoginKey:
    kind, blob = _blob(text.split(None, 2))
    login_key = read_key_blob(blob)
    if EncodedFields(login_key.blob).string() != kind.encode("ascii"):
        raise ValueError("the key is not of the type that the line names")
    return login_key


def _blob(words: list[str]) -> tuple[str, bytes]:
    """The type of a key and the key."""
    if len(words) < 2:
        raise ValueError("the key is missing after its type" if words else "the line is empty")
    try:
        return words[0], base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError) as problem:
        raise ValueError("the key is not valid base64") from problem


def _split(line: str) -> tuple[str, str]:
    """The options of a line, and what follows them."""
    line = line.strip()
    if not line:
        raise ValueError("the line is empty")
    first = line.split(None, 1)[0]
    if first.endswith(SUFFIX.decode()):
        raise ValueError("certificates are not listed; list their authority with cert-authority")
    if first in _KNOWN_TYPES:
        return "", line
    end = _end_of_options(line)
    rest = line[end:].strip()
    if rest.split(None, 1)[:1] and rest.split(None, 1)[0] in _KNOWN_TYPES:
        return line[:end], rest
    raise ValueError("the line must begin with a key type such as ssh-ed25519, or with options")


def _end_of_options(line: str) -> int:
    """Where the first blank outside of quotes is."""
    is_quoted = is_escaped = False
    for place, letter in enumerate(line):
        if letter in " \t" and not is_quoted:
            return place
        if letter == '"' and not is_escaped:
            is_quoted = not is_quoted
        is_escaped = letter == "\\" and not is_escaped
    return len(line)


def _options(text: str) -> Iterator[tuple[str, str | None]]:
    """The options by name in lower case, and their values; each with a value stands there once."""
    given: set[str] = set()
    while text:
        found = _OPTION.match(text)
        if found is None:
            raise ValueError("the options are not written as in sshd(8)")
        name, value = found[1].lower(), found[2]
        if value is not None and name in given and name != "expiry-time":
            raise ValueError(f"{name}= stands there twice")
        given.add(name)
        yield name, None if value is None else value.replace('\\"', '"')
        text = text[found.end() :]
        if text and (text[0] != "," or text == ","):
            raise ValueError("the options are not written as in sshd(8)")
        text = text[1:]


def _with_option(options: KeyOptions, name: str, value: str | None) -> KeyOptions:
    """`options` with one more.

    :raises ValueError: it is not supported, or its value is wrong.
    """
    if name in _UNSUPPORTED:
        raise ValueError(f"the option {name} is not supported: {_UNSUPPORTED[name]}")
    if value is not None and name in _WITH_VALUE:
        return _WITH_VALUE[name](options, value)
    if value is None and name in _FLAGS:
        return _FLAGS[name](options)
    if value is None and name in _WITHOUT_EFFECT:
        return options
    raise ValueError(f"the option {name} is not known, or not written in this way")


def _with_command(options: KeyOptions, value: str) -> KeyOptions:
    if value != "internal-sftp":
        raise ValueError("command= may be internal-sftp only: the gateway runs no other command")
    return options


def _with_expiry(options: KeyOptions, value: str) -> KeyOptions:
    expires_seconds = _seconds(value)
    if options.expires_seconds is not None:
        expires_seconds = min(expires_seconds, options.expires_seconds)
    return replace(options, expires_seconds=expires_seconds)


def _seconds(text: str) -> float:
    """A time as sshd(8) has it, in the time zone of the system without a Z."""
    found = _TIME.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        numbers = [int(each or 0) for each in found.groups()[:6]]
        return datetime(*numbers[:6], tzinfo=UTC if found[7] else None).timestamp()  # type: ignore[misc,arg-type]
    except (ValueError, OverflowError, OSError) as problem:
        raise ValueError(
            "expiry-time= must be a date such as 20270331 or a time such as 202703312359, "
            "with a Z at its end for UTC"
        ) from problem


_WITH_VALUE: dict[str, Callable[[KeyOptions, str], KeyOptions]] = {
    "command": _with_command,
    "expiry-time": _with_expiry,
    "from": lambda options, value: replace(options, sources=read_patterns(value)),
    "principals": lambda options, value: replace(options, principals=_principals(value)),
}
_FLAGS: dict[str, Callable[[KeyOptions], KeyOptions]] = {
    "no-touch-required": lambda options: replace(options, needs_touch=False),
    "touch-required": lambda options: replace(options, needs_touch=True),
    "verify-required": lambda options: replace(options, needs_verification=True),
    "no-verify-required": lambda options: replace(options, needs_verification=False),
}


def _principals(text: str) -> tuple[str, ...]:
    names = tuple(normalized(name) for name in text.split(",") if name)
    if not names:
        raise ValueError("principals= names none")
    return names


def read_authorities(data: bytes) -> frozenset[bytes]:
    """The keys of a file that lists authorities: a public key on each line, without options.

    :param data: what the file has.
    :raises ValueError: a line cannot be used, or there is none; says which and why.
    """
    blobs = set()
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), start=1):
        if line.strip() and not line.strip().startswith("#"):
            try:
                blobs.add(read_public_key(line).blob)
            except ValueError as problem:
                raise ValueError(f"line {number}: {problem}") from problem
    if not blobs:
        raise ValueError("has no key of an authority")
    return frozenset(blobs)
