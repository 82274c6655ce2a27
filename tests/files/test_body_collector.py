"""A small body is collected whole, or not at all."""

from __future__ import annotations

import pytest

from sftpgw.files.body_collector import BodyCollector
from sftpgw.model.store import ObjectInfo, ObjectName


@pytest.mark.parametrize(("bound", "is_complete"), [(5, True), (4, False)])
def test_bytes_over_the_bound_are_dropped(bound: int, is_complete: bool) -> None:
    collector = BodyCollector(bound)
    info = ObjectInfo(ObjectName("bucket", "key"), 5, '"etag"', 0.0)
    collector.began(info)
    for data in (b"abc", b"de"):
        collector.received(data)
    assert (collector.info, collector.size_bytes) == (info, 5)
    assert collector.is_complete is is_complete
    assert collector.body == ((b"abc", b"de") if is_complete else (b"abc",))
