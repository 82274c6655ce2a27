"""Networks, and limits for clients that have not logged in."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from sftpgw.config.scalars.quantities import parse_time, time_text
from sftpgw.config.scalars.words import names
from sftpgw.model.addresses import Network
from sftpgw.model.settings import PenaltySettings, StartupLimits


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
        given[PENALTY_FIELDS[word]] = parse_time(time)
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
