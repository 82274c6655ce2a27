"""What a client's bytes cost the store: a ceiling for each case of ``bench amplification``.

A case that asks nothing of the store is not in the table, and must ask for nothing. If a change
makes a case cheaper, lower its ceiling.
"""

from __future__ import annotations

import pytest

from bench.amplification import amplification_table, held_for, measure_amplification, spent_on
from bench.cases import CASES, Case

CEILINGS = {
    "request: OPEN to read a file": 37.2,
    "request: OPEN to read nothing": 62.8,
    "request: OPEN to append": 0.4,
    "request: CLOSE of a new empty file": 33.4,
    "request: LSTAT of a file": 53.0,
    "request: STAT of a file": 53.0,
    "request: STAT of a folder": 91.9,
    "request: STAT of nothing": 83.9,
    "request: STAT of nothing, 400 deep": 2.4,
    "request: SETSTAT of a time": 64.8,
    "request: SETSTAT of a size": 96.5,
    "request: SETSTAT of permissions": 37.2,
    "request: OPENDIR of 1000 files": 33366.7,
    "request: OPENDIR of one file": 91.9,
    "request: OPENDIR of nothing": 83.9,
    "request: REMOVE of a file": 69.1,
    "request: REMOVE of nothing": 83.9,
    "request: MKDIR": 80.6,
    "request: RMDIR": 125.8,
    "request: RMDIR of a full folder": 46.0,
    "request: RENAME of a file": 95.8,
    "request: RENAME of a folder": 574.9,
    "request: RENAME of 256 folders": 562.9,
    "request: RENAME of nothing": 109.2,
    "extension: posix-rename@openssh.com": 60.7,
    "extension: lsetstat@openssh.com": 36.4,
    "extension: copy-data of 4 MiB": 149.2,
    "extension: check-file-name of 4 MiB": 12.8,
    "extension: check-file-name, blocks of 256 bytes": 12.8,
    "extension: check-file-handle of 4 KiB": 12.2,
    "command: cd": 6.6,
    "command: scp -t, 100 empty files": 76.1,
    "command: scp -t, 100 times": 1.6,
    "command: scp -r -t, 100 folders": 188.8,
    "command: scp -f of a file": 2.5,
    "command: scp -r -f of 1000 files": 590.2,
    "command: scp -f of a pattern of 1000 files": 589.9,
    "command: scp -f of a pattern of nothing": 7.5,
    "command: scp -f of 10 patterns of nothing": 62.5,
    "command: md5sum of 4 KiB": 3.3,
    "command: md5sum of 4 MiB": 3.3,
    "command: sha512sum of 4 MiB": 3.3,
    "command: md5sum of 100 times 4 KiB": 111.6,
    "command: md5sum of 100 times nothing": 337.8,
    "command: md5sum of 1000 files": 6582.2,
    "command: md5sum of a pattern of ranges": 9.4,
    "command: md5sum of nested patterns": 381.6,
}
"""S3 requests for each 1,000 bytes of the client, encrypted, as the socket has them."""

SLACK = 1.02
ROUNDING = 0.05


def requests_of(case: Case) -> float:
    spent = spent_on(case)
    return 1000 * spent.requests / spent.client_bytes


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}: {case.name}")
def test_requests_for_each_byte_stay_below_a_ceiling(case: Case) -> None:
    ceiling = CEILINGS.get(f"{case.group}: {case.name}", 0)
    assert requests_of(case) <= SLACK * ceiling + (ROUNDING if ceiling else 0)


def test_each_ceiling_is_of_a_case() -> None:
    assert CEILINGS.keys() <= {f"{case.group}: {case.name}" for case in CASES}
    assert len({(case.group, case.name) for case in CASES}) == len(CASES)


def test_what_is_held_for_a_silent_store_is_measured() -> None:
    case = next(case for case in CASES if case.name == "STAT of a file")
    assert 50_000 < held_for(case) < 5_000_000


def test_the_table_shows_each_case_that_is_asked_for() -> None:
    told: list[str] = []
    found = measure_amplification("pwd", 1, told.append)
    assert told == ["command: pwd"]
    assert "pwd" in amplification_table(found)
