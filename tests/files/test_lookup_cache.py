"""What a session remembers has a bound, whatever names its client uses."""

from __future__ import annotations

import tracemalloc

from sftpgw.files.lookup_cache import MAX_EMPTIED_BYTES, MAX_FIRST_PAGE_BYTES, LookupCache
from sftpgw.files.paths import Location, locate
from sftpgw.files.transfers.change_log import ChangeLog
from sftpgw.model.clock import Clock
from sftpgw.model.mounts import Mount
from sftpgw.model.store import ListPage, ObjectInfo, ObjectName
from sftpgw.model.units import KIB
from sftpgw.testing.sftp_sessions import StrictClock

MOUNT = Mount("bucket", "home/", ".sftpgw/")


def cache() -> LookupCache:
    clock: Clock = StrictClock()
    return LookupCache(ChangeLog(), clock)


def deep(number: int) -> Location:
    return locate(MOUNT, b"/" + b"%04d" % number * 50 + b"/" + b"x" * 250 + b"/" + b"y" * 250)


def page_of(count: int, name_bytes: int) -> ListPage:
    names = (ObjectName("bucket", f"home/d/{number:0{name_bytes}}") for number in range(count))
    return ListPage(tuple(ObjectInfo(name, 1, '"etag"', 0.0) for name in names), (), None)


def test_a_session_that_has_met_any_number_of_long_names_remembers_little() -> None:
    remembered = cache()
    tracemalloc.start()
    try:
        for number in range(5000):
            location = deep(number)
            remembered.note_file(location)
            remembered.note_directory(location)
            remembered.note_change(location, emptied=location)
        remembered.note_page(deep(0), page_of(1000, 500))
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < 1000 * KIB


def test_directories_that_were_emptied_last_are_remembered_within_their_bytes() -> None:
    remembered = cache()
    for number in range(5000):
        remembered.note_change(deep(number), emptied=deep(number))
    last = [number for number in range(5000) if remembered.has_emptied(deep(number))]
    assert last == list(range(5000 - len(last), 5000))
    kept_bytes = sum(len(deep(number).prefix) for number in last)
    assert MAX_EMPTIED_BYTES / 4 < kept_bytes <= MAX_EMPTIED_BYTES


def test_a_directory_that_is_removed_counts_no_more() -> None:
    remembered = cache()
    for _ in range(3):
        for number in range(60):
            remembered.note_change(deep(number), emptied=deep(number))
            remembered.note_directory_removed(deep(number))
    remembered.note_change(deep(1), emptied=deep(1))
    assert remembered.has_emptied(deep(1))


def test_a_first_page_of_very_long_names_is_not_kept() -> None:
    remembered, location = cache(), locate(MOUNT, b"/d")
    for name_bytes, is_kept in ((40, True), (1000, False)):
        page = page_of(1000, name_bytes)
        remembered.store_first_page(location, page, changes=0, at_seconds=0.0)
        assert (remembered.take_first_page(location) is not None) is is_kept
    assert MAX_FIRST_PAGE_BYTES < 1000 * 1600
