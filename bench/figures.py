"""Samples, medians and tables.

Knows: arithmetic and text. Must not know: processes, files, clocks or servers; all is pure.

MB are 10^6 bytes, as networks count; GiB and MiB are 2^30 and 2^20, as memory is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

MIB = 1024**2
GIB = 1024**3
UNKNOWN = "–"

_DUPLEX_HEAD: tuple[str, ...] = (
    "case",
    "server",
    "put MB/s",
    "put CPU-s/GiB",
    "get MB/s",
    "get CPU-s/GiB",
    "peak MiB",
)
_OPERATIONS_HEAD: tuple[str, ...] = (
    "case",
    "server",
    "operation",
    "seconds",
    "MB/s",
    "CPU-s",
    "CPU-s/GiB",
    "peak MiB",
    "requests",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured operation.

    :param server: who served it, ``sftpgw`` or a peer.
    :param case: what was varied, such as the cipher.
    :param operation: what the client did, such as ``put``.
    :param payload_bytes: what it moved, 0 for an operation that moves no file.
    :param cpu_seconds: the server's, user and system.
    :param peak_bytes: the most that the server held resident meanwhile.
    :param requests: how many the store has counted, None if it does not count.
    """

    server: str
    case: str
    operation: str
    payload_bytes: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    requests: int | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """The medians of all samples of one operation by one server in one case."""

    server: str
    case: str
    operation: str
    samples: int
    seconds: float
    mb_per_second: float | None
    cpu_seconds: float
    cpu_seconds_per_gib: float | None
    peak_mib: float
    requests: float | None


def summarize(samples: Iterable[Sample]) -> list[Figures]:
    """The figures of each operation, in the order in which they first came."""
    groups: dict[tuple[str, str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.case, sample.server, sample.operation), []).append(sample)
    return [_figures(group) for group in groups.values()]


def _figures(group: Sequence[Sample]) -> Figures:
    """Each figure's own median, so that they need not be of the same sample."""
    first = group[0]
    moved_bytes = first.payload_bytes
    seconds = median(sample.seconds for sample in group)
    cpu_seconds = median(sample.cpu_seconds for sample in group)
    counts = [sample.requests for sample in group if sample.requests is not None]
    return Figures(
        server=first.server,
        case=first.case,
        operation=first.operation,
        samples=len(group),
        seconds=seconds,
        mb_per_second=moved_bytes / 1e6 / seconds if moved_bytes and seconds else None,
        cpu_seconds=cpu_seconds,
        cpu_seconds_per_gib=cpu_seconds * GIB / moved_bytes if moved_bytes else None,
        peak_mib=median(sample.peak_bytes for sample in group) / MIB,
        requests=median(counts) if counts else None,
    )


def duplex_table(figures: Sequence[Figures]) -> str:
    """Case and server a line, put and get beside each other: for transfers of one file."""
    lines: dict[tuple[str, str], dict[str, Figures]] = {}
    for each in figures:
        lines.setdefault((each.case, each.server), {})[each.operation] = each
    rows = [_DUPLEX_HEAD]
    for (case, server), found in lines.items():
        row = [case, server]
        for one in (found.get("put"), found.get("get")):
            row.append(_number(one.mb_per_second if one else None, 0))
            row.append(_number(one.cpu_seconds_per_gib if one else None))
        rows.append((*row, _number(max(one.peak_mib for one in found.values()), 0)))
    return table(rows)


def operations_table(figures: Sequence[Figures]) -> str:
    """An operation a line, with all that is known of it."""
    rows = [_OPERATIONS_HEAD]
    for each in figures:
        numbers = (
            _number(each.seconds),
            _number(each.mb_per_second, 0),
            _number(each.cpu_seconds),
            _number(each.cpu_seconds_per_gib),
            _number(each.peak_mib, 0),
            _number(each.requests, 0),
        )
        rows.append((each.case, each.server, each.operation, *numbers))
    return table(rows)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a simple table in reStructuredText, the first one as its head."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    rule = " ".join("=" * width for width in widths)
    lines = [
        " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def as_json(
    about: dict[str, object], samples: Sequence[Sample], figures: Sequence[Figures]
) -> dict[str, Any]:
    """What ``--json`` writes: how it was measured, the medians, and every sample."""
    return {
        "about": about,
        "medians": [asdict(each) for each in figures],
        "samples": [asdict(sample) for sample in samples],
    }


def _number(value: float | None, digits: int = 2) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f}"
