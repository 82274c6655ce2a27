"""How single values are written in the ini files.

Knows: sizes, times, prefixes, names; for each what is wrong and what would be right.
Must not know: sections, keys or files.

Every parser takes the text of a value and raises ValueError in words for the person who
wrote it. None of them is given a secret.
"""

from __future__ import annotations

import base64
import binascii
import configparser
import difflib
import ipaddress
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Generic, TypeVar
from urllib.parse import SplitResult, urlsplit

import idna

from sftpgw.model.addresses import Network
from sftpgw.model.limits import MAX_KEY_BYTES
from sftpgw.model.mounts import Permission
from sftpgw.model.object_settings import PLACEHOLDERS
from sftpgw.model.settings import (
    DYNAMODB_SOURCE,
    FILE_SOURCE,
    HTTP_SOURCE,
    LDAP_SOURCE,
    PenaltySettings,
    StartupLimits,
)
from sftpgw.model.store import Capabilities
from sftpgw.model.units import GIB, KIB, MIB
from sftpgw.model.users import LoginMethod

Value_co = TypeVar("Value_co", covariant=True)
Quantity = TypeVar("Quantity", int, float)


@dataclass(frozen=True, slots=True)
class ValueFormat(Generic[Value_co]):
    """How a value is written.

    :param parse: makes the value of its text; raises ValueError in words for who wrote it.
    :param kind: the name of the format in the configuration reference: ``size``.
    :param bounds: which values are taken, as they are written: ``5MiB to 5GiB``.
    """

    parse: Callable[[str], Value_co]
    kind: str
    bounds: str = ""

    def __call__(self, text: str) -> Value_co:
        """The value of `text`. :raises ValueError: it has none."""
        return self.parse(text)


_UNIT_BYTES = {"KiB": KIB, "MiB": MIB, "GiB": GIB}
_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BOOLEANS = configparser.ConfigParser.BOOLEAN_STATES
_LONGEST_PREFIX_BYTES = 900  # the rest of MAX_KEY_BYTES is for names

_BRACES = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")
_OTHER_PLACEHOLDER = re.compile(r"(?:^|(?<=/))(?:\$\w+|%\(\w+\)s?|%[A-Za-z]|<[\w -]+>)(?=/|$)")
"""What stands for a user's name or home elsewhere: in shells, sshd_config and manuals."""
_ONLY_A_PLACEHOLDER = re.compile(r"\$\{.+\}|\$[A-Za-z_]\w*|\{\{?.+\}\}?|%\(.+\)s|<.+>")


def _parse_size(text: str) -> int:
    """Bytes, from ``8MiB`` and the like."""
    found = re.fullmatch(r"([0-9]{1,15}) ?(KiB|MiB|GiB)", text)
    if found is None:
        raise ValueError(f"{text!r} is not a size; write a whole number and KiB, MiB or GiB: 8MiB")
    return int(found[1]) * _UNIT_BYTES[found[2]]


def _parse_time(text: str) -> float:
    """Seconds, from ``90s``, ``1.5m`` and the like."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([smhd])", text)
    if found is None:
        raise ValueError(f"{text!r} is not a time; write a number and s, m, h or d: 60s")
    return float(found[1]) * _UNIT_SECONDS[found[2]]


def key_prefix(text: str) -> str:
    """A prefix without a slash in front and with one at the end; ``/`` is the whole bucket."""
    inner = text.removeprefix("/").removesuffix("/")
    if not inner:
        return ""
    for segment in inner.split("/"):
        if segment in ("", ".", ".."):
            raise ValueError(
                f"{text!r} has a segment {segment!r}; write names between single slashes"
            )
    _refuse_controls(text)
    if len(inner.encode()) > _LONGEST_PREFIX_BYTES:
        raise ValueError(
            f"is over {_LONGEST_PREFIX_BYTES} bytes; a key has {MAX_KEY_BYTES:,}, names included"
        )
    return inner + "/"


def fill_placeholders(text: str, known: Mapping[str, str]) -> str:
    """`text` with each ``{name}`` replaced by its value; ``{{`` and ``}}`` are braces.

    A placeholder that is taken literally leads every user to the same place. So what looks like
    one and is not `known` is refused, in the notations of other programs, too.

    :raises ValueError: a placeholder is unknown, or a brace stands alone.
    """
    right = " or ".join(f"{{{name}}}" for name in known)
    other = _OTHER_PLACEHOLDER.search(text)
    if other is not None:
        raise ValueError(f"{other[0]!r} would be taken literally; write {right}")

    def fill(found: re.Match[str]) -> str:
        inner = found[0][1:-1]
        if found[0] in ("{{", "}}"):
            return found[0][0]
        if inner and inner in known:
            return known[inner]
        raise ValueError(
            f"{found[0]!r} is no placeholder that is known here; write {right}, "
            "or {{ and }} for braces"
        )

    return _BRACES.sub(fill, text)


def without_placeholders(text: str) -> str:
    """`text`, in which nothing is replaced. :raises ValueError: it looks as if that was meant."""
    found = re.search(r"\$?\{[^{}]*\}", text) or _OTHER_PLACEHOLDER.search(text)
    if found is not None:
        raise ValueError(f"{found[0]!r} would be taken literally; write the value itself")
    return text


def secret(text: str) -> str:
    """A secret as it is. :raises ValueError: it is a placeholder, and nothing else."""
    if _ONLY_A_PLACEHOLDER.fullmatch(text):
        raise ValueError(
            "is a placeholder, and none is replaced here; write the secret itself, "
            "or leave the key out where the usual AWS chain has it"
        )
    return text


def _refuse_controls(text: str) -> None:
    if not text.isprintable():
        raise ValueError(f"{text!r} has a control character; write printable characters only")


def printable(text: str) -> str:
    _refuse_controls(without_placeholders(text))
    return text


def lines(text: str) -> tuple[str, ...]:
    """One value a line."""
    return tuple(line.strip() for line in text.split("\n") if line.strip())


def names(text: str) -> tuple[str, ...]:
    """Names with blanks, commas or line ends between them."""
    return tuple(name for name in re.split(r"[\s,]+", text) if name)


def mode(text: str) -> int:
    """Permission bits in octal digits, as chmod takes them."""
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise ValueError(f"{text!r} is not a mode; write octal digits: 0644")
    return int(text, 8)


def networks(text: str) -> tuple[Network, ...]:
    """Networks in CIDR notation, or single addresses."""
    return tuple(map(_network, names(text)))


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is not a network ({error}); write one such as 192.0.2.0/24 or 2001:db8::/32"
        ) from None


def expiry(text: str) -> float | None:
    """Seconds since 1970 of a day's beginning in UTC, or of a time; None for ``never``."""
    if text == "never":
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is not a day or time; write 2027-03-31, 2027-03-31T18:00Z or never"
        ) from None


def patterns(text: str) -> tuple[str, ...]:
    """Patterns of file names, with blanks or commas between them."""
    found = names(text)
    for pattern in found:
        _refuse_controls(pattern)
        if "/" in pattern:
            raise ValueError(f"{pattern!r} has a slash; a pattern is for names, not for paths")
    return found


def path_names(text: str) -> tuple[str, ...]:
    """The names on the way from a user's root to a path: none for ``/``."""
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is not a path; write it from the root: /incoming")
    _refuse_controls(text)
    inner = text.removeprefix("/").removesuffix("/")
    segments = tuple(inner.split("/")) if inner else ()
    if any(segment in ("", ".", "..") for segment in segments):
        raise ValueError(f"{text!r} is not a path; write names between single slashes: /a/b")
    return segments


def startup_limits(text: str) -> StartupLimits:
    """``start:percent:full``, as in OpenSSH's MaxStartups."""
    found = re.fullmatch(r"([0-9]{1,6}):([0-9]{1,3}):([0-9]{1,6})", text)
    if found is None:
        raise ValueError(f"{text!r} is not start:percent:full; write three numbers: 50:30:200")
    limits = StartupLimits(*map(int, found.groups()))
    if not 1 <= limits.start <= limits.full or not 1 <= limits.drop_percent <= 100:
        raise ValueError(
            f"{text!r} is out of bounds; start is at least 1 and at most full, percent 1 to 100"
        )
    return limits


PENALTY_FIELDS: Mapping[str, str] = {
    "authfail": "failed_attempt_seconds",
    "noauth": "no_attempt_seconds",
    "grace-exceeded": "grace_exceeded_seconds",
    "min": "min_seconds",
    "max": "max_seconds",
}
"""The words of OpenSSH's PerSourcePenalties, each with the field of its time."""

_LONGEST_PENALTY_SECONDS = 86400.0


def penalties(text: str) -> PenaltySettings:
    """``word:time`` pairs, as in OpenSSH's PerSourcePenalties; the others keep their defaults."""
    given: dict[str, float] = {}
    for pair in names(text):
        word, colon, time = pair.partition(":")
        if word not in PENALTY_FIELDS or not colon:
            known = ", ".join(PENALTY_FIELDS)
            raise ValueError(f"{pair!r} is not word:time, or its word is not one of {known}")
        if PENALTY_FIELDS[word] in given:
            raise ValueError(f"{word} stands there twice")
        given[PENALTY_FIELDS[word]] = _parse_time(time)
        if given[PENALTY_FIELDS[word]] > _LONGEST_PENALTY_SECONDS:
            raise ValueError(f"{pair!r} is out of bounds; no penalty is longer than 1d")
    settings = PenaltySettings(**given)
    if settings.min_seconds > settings.max_seconds:
        raise ValueError("min is more than max, so that nothing would ever be refused")
    return settings


def penalties_text(settings: PenaltySettings) -> str:
    """The settings as one writes them."""
    return " ".join(
        f"{word}:{time_text(getattr(settings, field))}" for word, field in PENALTY_FIELDS.items()
    )


def yes_or_no(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError(f"{text!r} is neither yes nor no")
    return _BOOLEANS[text.lower()]


def size(smallest_bytes: int, largest_bytes: int) -> ValueFormat[int]:
    """Sizes within these bounds."""
    bounds = f"{size_text(smallest_bytes)} to {size_text(largest_bytes)}"
    parse = _within(_parse_size, smallest_bytes, largest_bytes, bounds)
    return ValueFormat(parse, "size", bounds)


def time(smallest_seconds: float, largest_seconds: float) -> ValueFormat[float]:
    """Times within these bounds."""
    bounds = f"{time_text(smallest_seconds)} to {time_text(largest_seconds)}"
    parse = _within(_parse_time, smallest_seconds, largest_seconds, bounds)
    return ValueFormat(parse, "time", bounds)


def never_or(times: ValueFormat[float]) -> ValueFormat[float]:
    """`times`, and 0, which means never."""

    def parse_or_never(text: str) -> float:
        return 0.0 if text in ("0", "0s") else times.parse(text)

    return replace(times, parse=parse_or_never, bounds=f"{times.bounds}, or 0 for never")


def _within(
    parse: Callable[[str], Quantity], smallest: Quantity, largest: Quantity, bounds: str
) -> Callable[[str], Quantity]:
    def parse_within(text: str) -> Quantity:
        quantity = parse(text)
        if not smallest <= quantity <= largest:
            raise ValueError(f"{text} is out of bounds; write {bounds}")
        return quantity

    return parse_within


def count(smallest: int, largest: int) -> ValueFormat[int]:
    """Whole numbers within these bounds."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,10}", text) or not smallest <= int(text) <= largest:
            raise ValueError(f"{text!r} is not a whole number from {smallest} to {largest}")
        return int(text)

    return ValueFormat(parse, "number", f"{smallest} to {largest}")


def auto_or(other: ValueFormat[Value_co]) -> ValueFormat[Value_co | None]:
    """``auto``, which is None and lets the gateway decide, and the values of `other`."""

    def parse_or_auto(text: str) -> Value_co | None:
        if text == "auto":
            return None
        try:
            return other.parse(text)
        except ValueError as error:
            raise ValueError(f"{error}, or auto") from None

    return ValueFormat(parse_or_auto, f"{other.kind} or auto", f"{other.bounds}, or auto")


def off_or(other: ValueFormat[Value_co]) -> ValueFormat[Value_co | None]:
    """``off``, which is None, and the values of `other`."""

    def parse_or_off(text: str) -> Value_co | None:
        if text == "off":
            return None
        try:
            return other.parse(text)
        except ValueError as error:
            raise ValueError(f"{error}, or off") from None

    return ValueFormat(parse_or_off, other.kind, f"{other.bounds}, or off")


def one_of(kind: type[Enum]) -> ValueFormat[Enum]:
    """The values of `kind`."""
    known = ", ".join(member.value for member in kind)

    def parse(text: str) -> Enum:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"{text!r} is not one of {known}") from None

    return ValueFormat(parse, "choice", known)


def matching(pattern: str, description: str) -> ValueFormat[str]:
    """Text that matches `pattern`, which a person knows as `description`."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} is not {description}")
        return text

    return ValueFormat(parse, "text", description)


_BUCKET = r"[A-Za-z0-9][A-Za-z0-9._-]{2,62}"
_TENANT = re.compile(rf"[A-Za-z0-9_]*:{_BUCKET}")
_IN_STORE = re.compile(r"[A-Za-z0-9_-]{1,64}:(.*)")
_ACCESS_POINT = re.compile(
    r"arn:aws[a-z-]*:s3:[a-z0-9-]+:[0-9]{12}:accesspoint[/:][a-z0-9][a-z0-9-]{1,48}[a-z0-9]"
)
RIGHT_ARN = "arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME"


def bucket_name(text: str) -> str:
    """A bucket, ``tenant:bucket`` of Ceph, or an access point by its ARN or its alias.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-points-naming.html
    https://docs.ceph.com/en/latest/radosgw/multitenancy/
    """
    if text.startswith("arn:"):
        return _access_point(text)
    if re.fullmatch(_BUCKET, text) or _TENANT.fullmatch(text):
        return text
    raise ValueError(
        f"{text!r} is not a bucket name: 3 to 63 letters, digits, dots and hyphens, first a "
        f"letter or digit; nor tenant:bucket, nor {RIGHT_ARN}"
    )


def bucket_of_any_store(text: str) -> str:
    """A bucket of ``[s3]``, or ``NAME:`` and one of ``[store NAME]``."""
    return text if has_store(text) else bucket_name(text)


def has_store(text: str) -> bool:
    """Whether a bucket is surely named as ``NAME:bucket``, after its store.

    ``tenant:bucket`` of Ceph looks the same, so that for some names only the sections tell.
    """
    if _TENANT.fullmatch(text) or not (match := _IN_STORE.fullmatch(text)):
        return False
    in_store = match[1]
    is_plain = re.fullmatch(_BUCKET, in_store) or _TENANT.fullmatch(in_store)
    return bool(is_plain or _ACCESS_POINT.fullmatch(in_store))


def _access_point(text: str) -> str:
    if _ACCESS_POINT.fullmatch(text):
        return text
    if re.match(r"arn:[a-z-]+:s3::[0-9]*:accesspoint", text):
        raise ValueError(
            "is a multi-region access point, whose signatures (SigV4A) the gateway cannot make; "
            f"write one of a region: {RIGHT_ARN}"
        )
    raise ValueError(f"{text!r} is not the ARN of an access point; write {RIGHT_ARN}")


def is_tenant_bucket(bucket: str) -> bool:
    """Whether a bucket is named as Ceph's ``tenant:bucket``."""
    return _TENANT.fullmatch(bucket) is not None


def endpoint(text: str) -> str:
    """A URL of scheme, host and port only, as a store other than AWS has it."""
    right = "write http://HOST[:PORT] or https://HOST[:PORT]"
    url, port_ok = _parsed_url(text, right)
    if url.username is not None or url.password is not None:
        raise ValueError(f"has a user or password in it; use access_key and secret_key; {right}")
    bare = url.path in ("", "/") and not url.query and not url.fragment
    if url.scheme not in ("http", "https") or not url.hostname or not bare or not port_ok:
        raise ValueError(f"{text!r} is not an endpoint; {right}")
    without_placeholders(text)
    return f"{url.scheme}://{_ascii_netloc(url)}"


def _parsed_url(text: str, right: str) -> tuple[SplitResult, bool]:
    """A URL in its pieces, and whether its port can be one."""
    try:
        url = urlsplit(text)
        return url, url.port is None or url.port > 0
    except ValueError as error:
        raise ValueError(f"is not a URL ({error}); {right}") from None


def service_url(text: str) -> str:
    """A URL to which passwords may be sent, without a slash at its end."""
    right = "write https://HOST/PATH"
    url, port_ok = _parsed_url(text, right)
    if url.username is not None or url.password is not None:
        raise ValueError(f"has a user or password in it; use http_token_file; {right}")
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        raise ValueError(f"{text!r} is not the URL of a service; {right}")
    if not port_ok or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} is not the URL of a service; {right}")
    if url.scheme == "http" and url.hostname not in LOOPBACK:
        raise ValueError(f"{text!r} would send passwords in the clear; {right}")
    return text.rstrip("/")


LOOPBACK = ("localhost", "127.0.0.1", "::1")


def ldap_urls(text: str) -> tuple[str, ...]:
    """URLs of LDAP servers, in the order in which they are asked."""
    return tuple(map(_ldap_url, names(text)))


def _ldap_url(text: str) -> str:
    right = "write ldap://HOST or ldaps://HOST, with blanks between several"
    url, port_ok = _parsed_url(text, right)
    if url.username is not None or url.password is not None:
        raise ValueError(f"has a user or password in it; use ldap_service_dn; {right}")
    if url.scheme not in ("ldap", "ldaps") or not url.hostname or not port_ok:
        raise ValueError(f"{text!r} is not the URL of an LDAP server; {right}")
    if url.path.strip("/") or url.query or url.fragment or not text.isascii():
        raise ValueError(f"{text!r} has more than a host and a port; {right}")
    return text.rstrip("/")


def plain_text(text: str) -> str:
    """Text of one line, in which braces may be."""
    _refuse_controls(text)
    return text


def attribute_or_none(text: str) -> str:
    """The name of an attribute; empty for ``none``."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", text):
        raise ValueError(f"{text!r} is not the name of an attribute, or none")
    return "" if text == "none" else text


def pairs(separator: str, right: str) -> Callable[[str], tuple[tuple[str, str], ...]]:
    """Lines with two texts each.

    :param separator: what stands between the two; the last one in the line counts.
    :param right: how a line is written, for the message.
    """

    def parse(text: str) -> tuple[tuple[str, str], ...]:
        found: dict[str, str] = {}
        for line in lines(text):
            name, _, value = map(str.strip, line.rpartition(separator))
            if not name or not value or name in found:
                raise ValueError(f"{line!r} is not {right}, or comes twice")
            found[name] = value
        return tuple(found.items())

    return parse


def table_endpoint(text: str) -> str:
    """A URL of scheme, host and port only, to which hashes of passwords may be sent."""
    url = endpoint(text)
    if url.startswith("http:") and urlsplit(url).hostname not in LOOPBACK:
        raise ValueError(f"{text!r} would send password hashes in the clear; write https://HOST")
    return url


def user_sources(text: str) -> tuple[str, ...]:
    """Names of sources of users, in the order in which they are asked."""
    found = names(text)
    known = (FILE_SOURCE, HTTP_SOURCE, LDAP_SOURCE, DYNAMODB_SOURCE)
    for name in found:
        if name not in known:
            raise ValueError(f"{name!r} is not a source of users; known: {' '.join(known)}")
    if len(set(found)) < len(found):
        raise ValueError("names a source twice; keep one")
    if FILE_SOURCE in found[1:]:
        raise ValueError(
            "has file behind another source; write it first: a name in users.ini must not be "
            "taken over by a service"
        )
    return found


def _ascii_netloc(url: SplitResult) -> str:
    """Host and port as HTTP and TLS have them: an international name by its A-labels (RFC 5890)."""
    host = url.hostname or ""
    if host.isascii():
        return url.netloc
    try:
        name = idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise ValueError(f"has a host that is no name ({error})") from None
    return name if url.port is None else f"{name}:{url.port}"


def state_prefix(text: str) -> str:
    prefix = key_prefix(without_placeholders(text))
    if not prefix:
        raise ValueError("cannot be the whole bucket; write a prefix such as .sftpgw/")
    return prefix


CAPABILITY_NAMES = tuple(Capabilities().names(value=True))
PERMISSION_NAMES = tuple(str(permission.name).lower() for permission in Permission)


def capabilities(text: str) -> Capabilities:
    """All capabilities but those named in `text`, as ``conditional-copy part-copy``."""
    lacking = names(text)
    for name in lacking:
        refuse_unknown(name, CAPABILITY_NAMES)
    return Capabilities().without(lacking)


def permissions(text: str) -> Permission:
    """The permissions named in `text`."""
    granted = Permission(0)
    for name in names(text):
        refuse_unknown(name, PERMISSION_NAMES)
        granted |= Permission[name.upper()]
    return granted


METHOD_NAMES = tuple(method.value for method in LoginMethod)
ANY_METHOD = "any"
MAX_ALTERNATIVES = 8


def login_alternatives(text: str) -> tuple[tuple[LoginMethod, ...], ...]:
    """What a login requires, as ``publickey+totp password+totp``; nothing for ``any``."""
    words = names(text)
    if words == (ANY_METHOD,):
        return ()
    if len(words) > MAX_ALTERNATIVES:
        raise ValueError(f"{text} has more than {MAX_ALTERNATIVES} alternatives")
    return tuple(map(_login_series, words))


def _login_series(text: str) -> tuple[LoginMethod, ...]:
    if text == ANY_METHOD:
        raise ValueError(f"{ANY_METHOD} cannot stand beside other alternatives; write it alone")
    parts = text.split("+")
    for part in parts:
        refuse_unknown(part, METHOD_NAMES)
    series = tuple(map(LoginMethod, parts))
    if len(set(series)) < len(series):
        raise ValueError(f"{text} names a method twice")
    if series[0] is LoginMethod.TOTP:
        raise ValueError(
            f"{text} begins with totp; a code comes behind publickey or password, since one alone "
            "can be guessed"
        )
    return series


SHORTEST_TOTP_BYTES, LONGEST_TOTP_BYTES = 16, 64
"""RFC 4226, section 4, R6, demands 128 bits."""


def totp_secret(text: str) -> str:
    """A secret of one-time codes in base32, as apps show it; without blanks and padding.

    The errors do not quote it.
    """
    compact = "".join(text.split()).replace("-", "").rstrip("=").upper()
    try:
        size_bytes = len(base64.b32decode(compact + "=" * (-len(compact) % 8)))
    except (binascii.Error, ValueError) as problem:
        raise ValueError("is not base32: the letters A to Z and the digits 2 to 7") from problem
    if not SHORTEST_TOTP_BYTES <= size_bytes <= LONGEST_TOTP_BYTES:
        raise ValueError(
            f"must have {SHORTEST_TOTP_BYTES} to {LONGEST_TOTP_BYTES} bytes, 26 to 103 letters of "
            f"base32; this has {size_bytes} bytes"
        )
    return compact


def refuse_unknown(name: str, known: Collection[str]) -> None:
    """:raises ValueError: with the nearest of the names that are `known`, and all of them."""
    if name not in known:
        raise ValueError(f"{name!r} is unknown{nearest(name, known)}; known: {' '.join(known)}")


def time_text(seconds: float) -> str:
    """`seconds` as one writes them: in days or hours if they are many."""
    if seconds > 86400 and seconds % 86400 == 0:
        return f"{seconds / 86400:g}d"
    if seconds > 3600 and seconds % 3600 == 0:
        return f"{seconds / 3600:g}h"
    return f"{seconds:g}s"


def size_text(size_bytes: int) -> str:
    """`size_bytes` as one writes it, in the largest unit that divides it."""
    for name in ("GiB", "MiB"):
        if size_bytes % _UNIT_BYTES[name] == 0:
            return f"{size_bytes // _UNIT_BYTES[name]}{name}"
    return f"{size_bytes // KIB}KiB"


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at what `name` was meant to be; empty if nothing comes near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


_TAG_NAME = re.compile(r"[A-Za-z0-9 +\-=._:/@]{1,128}")
MOST_TAGS = 10
"""S3 takes no more for one object."""


def tags(text: str) -> tuple[tuple[str, str], ...]:
    """Tags of objects: ``name=value`` with blanks between them.

    Placeholders in values stay; they are replaced for each session (`model/object_settings`).
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
    """
    found: dict[str, str] = {}
    for pair in text.split():
        name, separator, value = pair.partition("=")
        if not separator or not _TAG_NAME.fullmatch(name):
            raise ValueError(f"{pair!r} is no tag; write name=value, with blanks between tags")
        if name in found or name.startswith("aws:"):
            raise ValueError(f"{name!r} comes twice, or is AWS's own; write another")
        fill_placeholders(value, dict.fromkeys(PLACEHOLDERS, ""))
        found[name] = value
    if len(found) > MOST_TAGS:
        raise ValueError(f"there are {len(found)} tags; S3 takes {MOST_TAGS} for an object")
    return tuple(found.items())


def session_tags(text: str) -> tuple[tuple[str, str], ...]:
    """Tags of sessions of a role, as `tags`. Sessions of a user share them.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html
    """
    found = tags(text)
    for _, value in found:
        fill_placeholders(value, {"username": ""})
    if len({name.lower() for name, _ in found}) < len(found):
        raise ValueError("has two names that differ in upper and lower case only; keep one")
    return found


def encryption_context(text: str) -> str:
    """An encryption context of KMS: a JSON object of texts."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise ValueError('is no JSON object of texts; write one such as {"project": "x"}')
    return json.dumps(found, separators=(",", ":"))


def customer_key(data: bytes) -> bytes:
    """The key of SSE-C: 32 bytes, as they are or in base64. The message never repeats any.

    :raises ValueError: it is something else.
    """
    if len(data) == CUSTOMER_KEY_BYTES:
        return data
    try:
        key = base64.b64decode(data.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != CUSTOMER_KEY_BYTES:
        raise ValueError(
            "is no key of 32 bytes, as they are or in base64; make one with: openssl rand 32"
        )
    return key


CUSTOMER_KEY_BYTES = 32
"""AES-256."""
