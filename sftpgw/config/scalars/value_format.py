"""What a format of values is, and formats that are made of others."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

Value_co = TypeVar("Value_co", covariant=True)


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
