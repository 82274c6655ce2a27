"""Sizes, times and numbers: how they are read, and how they are written."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from sftpgw.config.scalars.value_format import ValueFormat
from sftpgw.model.units import GIB, KIB, MIB

Quantity = TypeVar("Quantity", int, float)
_UNIT_BYTES = {"KiB": KIB, "MiB": MIB, "GiB": GIB}
_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _parse_size(text: str) -> int:
    """Bytes, from ``8MiB`` and the like."""
    found = re.fullmatch(r"([0-9]{1,15}) ?(KiB|MiB|GiB)", text)
    if found is None:
        raise ValueError(f"{text!r} is not a size; write a whole number and KiB, MiB or GiB: 8MiB")
    return int(found[1]) * _UNIT_BYTES[found[2]]


def parse_time(text: str) -> float:
    """Seconds, from ``90s``, ``1.5m`` and the like."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([smhd])", text)
    if found is None:
        raise ValueError(f"{text!r} is not a time; write a number and s, m, h or d: 60s")
    return float(found[1]) * _UNIT_SECONDS[found[2]]


def size(smallest_bytes: int, largest_bytes: int) -> ValueFormat[int]:
    """Sizes within these bounds."""
    bounds = f"{size_text(smallest_bytes)} to {size_text(largest_bytes)}"
    parse = _within(_parse_size, smallest_bytes, largest_bytes, bounds)
    return ValueFormat(parse, "size", bounds)


def time(smallest_seconds: float, largest_seconds: float) -> ValueFormat[float]:
    """Times within these bounds."""
    bounds = f"{time_text(smallest_seconds)} to {time_text(largest_seconds)}"
    parse = _within(parse_time, smallest_seconds, largest_seconds, bounds)
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
