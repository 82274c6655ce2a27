"""The benchmarks' arithmetic."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.figures import (
    GIB,
    MIB,
    UNKNOWN,
    Sample,
    as_json,
    duplex_table,
    operations_table,
    summarize,
    table,
)

PUT = Sample(
    server="sftpgw",
    case="aes128-gcm",
    operation="put",
    payload_bytes=GIB // 2,
    seconds=2.0,
    cpu_seconds=1.0,
    peak_bytes=64 * MIB,
)
GET = replace(PUT, operation="get", seconds=1.0, peak_bytes=80 * MIB)


def test_rates_are_of_the_medians() -> None:
    slow = replace(PUT, seconds=20.0, cpu_seconds=10.0)
    fast = replace(PUT, seconds=0.1, cpu_seconds=0.1)
    (figures,) = summarize([slow, PUT, fast])
    assert figures.samples == 3
    assert figures.seconds == 2.0
    assert figures.mb_per_second == pytest.approx(2**29 / 1e6 / 2)
    assert figures.cpu_seconds_per_gib == pytest.approx(2.0)
    assert figures.peak_mib == 64


def test_samples_of_different_servers_cases_and_operations_are_kept_apart() -> None:
    others = [
        replace(PUT, server="asyncssh"),
        replace(PUT, case="aes128-ctr"),
        replace(PUT, operation="get"),
    ]
    assert [each.samples for each in summarize([PUT, *others, PUT])] == [2, 1, 1, 1]


def test_what_moves_no_bytes_has_no_rate() -> None:
    (figures,) = summarize([replace(PUT, payload_bytes=0)])
    assert figures.mb_per_second is None
    assert figures.cpu_seconds_per_gib is None


def test_requests_are_counted_where_they_are_known() -> None:
    known = [replace(PUT, requests=count) for count in (66, 70, 67)]
    assert summarize([*known, PUT])[0].requests == 67
    assert summarize([PUT])[0].requests is None


def test_put_and_get_share_a_line() -> None:
    lines = duplex_table(summarize([PUT, GET])).splitlines()
    assert len(lines) == 5
    assert lines[3].split() == ["aes128-gcm", "sftpgw", "268", "2.00", "537", "2.00", "80"]


def test_a_get_that_was_not_measured_is_left_open() -> None:
    line = duplex_table(summarize([PUT])).splitlines()[3]
    assert line.split() == ["aes128-gcm", "sftpgw", "268", "2.00", UNKNOWN, UNKNOWN, "64"]


def test_an_operation_has_a_line_with_all_that_is_known() -> None:
    listing = replace(PUT, operation="list", payload_bytes=0, requests=3)
    line = operations_table(summarize([listing])).splitlines()[3]
    cells = ["aes128-gcm", "sftpgw", "list", "2.00", UNKNOWN, "1.00", UNKNOWN, "64", "3"]
    assert line.split() == cells


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table([("a", "bcd"), ("efgh", "i")]).splitlines() == [
        "==== ===",
        "a    bcd",
        "==== ===",
        "efgh i",
        "==== ===",
    ]


def test_json_holds_every_sample() -> None:
    report = as_json({"began": "now"}, [PUT, PUT], summarize([PUT, PUT]))
    again = json.loads(json.dumps(report))
    assert again["about"] == {"began": "now"}
    assert [sample["seconds"] for sample in again["samples"]] == [2.0, 2.0]
    assert [figures["samples"] for figures in again["medians"]] == [2]
