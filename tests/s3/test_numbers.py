"""Numbers and times of a store that fit nowhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.web.http_headers import Headers

from sftpgw.files.listing.plan import modified_seconds
from sftpgw.files.uploads.suspended.plan import parse_record
from sftpgw.model.numbers import LAST_SECONDS, MAX_SIZE_BYTES, is_time, whole_number
from sftpgw.model.store import ObjectInfo, ObjectName
from sftpgw.s3.headers import (
    MissingHeader,
    content_range,
    count,
    date_seconds,
    object_info,
    retry_after_seconds,
)
from sftpgw.wire import s3xml

NAME = ObjectName("bucket", "key")
LARGE = ["9" * 26, "9" * 5000, str(MAX_SIZE_BYTES + 1), "9" * 19]


def headers_of(**values: str) -> Headers:
    return Headers({name.replace("_", "-"): [value] for name, value in values.items()})


@given(st.text(max_size=30) | st.integers(0, 2**70).map(str))
def test_a_number_is_within_its_bounds_or_none(text: str) -> None:
    number = whole_number(text)
    assert number is None or (0 <= number <= MAX_SIZE_BYTES and number == int(text))


@pytest.mark.parametrize("text", LARGE)
def test_no_size_is_larger_than_a_file_can_be(text: str) -> None:
    """One of 26 digits broke the reply to STAT, one of 5,000 the request."""
    with pytest.raises(MissingHeader):
        count(headers_of(content_length=text), "content-length")
    for value in (f"bytes 0-1/{text}", f"bytes 0-{text}/{text}", f"bytes {text}-{text}/{text}"):
        with pytest.raises(MissingHeader):
            content_range(headers_of(content_range=value))
    row = f"<Contents><Key>k</Key><Size>{text}</Size></Contents>"
    page = s3xml.parse_object_list(f"<ListBucketResult>{row}</ListBucketResult>".encode(), "b")
    assert page.objects[0].size_bytes == s3xml.UNKNOWN_BYTES
    assert object_info(NAME, 1, headers_of(x_amz_tagging_count=text)).tag_count == 0
    assert retry_after_seconds(headers_of(retry_after=text)) < 1e6


@pytest.mark.parametrize(
    "text",
    [
        *("Fri, 31 Dec 99999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "9" * 5000),
        *("Thu, 01 Jan 1900 00:00:00 GMT", "Fri, 31 Dec 2026 23:59:59 +" + "9" * 30, "", "GMT"),
        *("Fri, 31 Dec 2026 99999999999999999999:59:59 GMT", "Fri, 99999999999 Dec 2026 0:0:0 GMT"),
    ],
)
def test_a_date_that_is_none_is_unknown(text: str) -> None:
    assert date_seconds(headers_of(date=text), "date") is None


@given(st.text(alphabet="0123456789 :+-,GMTFriDecJan", max_size=40))
def test_no_text_of_a_date_is_more_than_that(text: str) -> None:
    seconds = date_seconds(headers_of(date=text), "date")
    assert seconds is None or is_time(seconds)


@pytest.mark.parametrize(
    "text",
    [
        *("99999-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59"),
        *("1900-01-01T00:00:00Z", "9" * 5000, "2026-01-01T00:00:00+99:99"),
    ],
)
def test_a_time_in_a_list_that_is_none_is_unknown(text: str) -> None:
    row = f"<Contents><Key>k</Key><LastModified>{text}</LastModified></Contents>"
    page = s3xml.parse_object_list(f"<ListBucketResult>{row}</ListBucketResult>".encode(), "b")
    assert page.objects[0].modified_seconds == 0.0


@pytest.mark.parametrize("text", ["9" * 26, "9" * 100_000, "1e999", "nan", "-1", "inf", "1e400"])
def test_an_mtime_in_metadata_that_is_none_is_not_used(text: str) -> None:
    info = ObjectInfo(NAME, 1, '"e"', 5.0, metadata={"mtime": text})
    assert modified_seconds(info) == 5.0


def record(began: str = "1", size: str = "5", checksum: str = "null") -> bytes:
    return (
        f'{{"version": 1, "user": "u", "key": "k", "upload_id": "i", "checksum": null,'
        f'"began_seconds": {began}, "created_with": null, "parts": [[{size}, "e", {checksum}]]}}'
    ).encode()


def test_a_record_with_numbers_that_fit_is_read() -> None:
    assert parse_record(record(checksum='"crc32:ffffffff"'), "bucket").parts[0].size_bytes == 5


@pytest.mark.parametrize(
    "text",
    [
        *(record(began="1e999"), record(began="NaN"), record(began="9" * 26), record(began="-1")),
        *(record(size="9" * 26), record(size="9" * 5000), record(began="9" * 5000)),
        *(record(checksum='"crc32:fffffffff"'), record(checksum='"crc32:-5"')),
        record(checksum=f'"crc64nvme:{"f" * 17}"'),
    ],
)
def test_a_record_with_numbers_that_fit_nowhere_is_none(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_record(text, "bucket")


def test_the_last_time_is_one_of_every_date_type() -> None:
    assert is_time(LAST_SECONDS - 1)
    assert not is_time(LAST_SECONDS)
    assert not is_time(float("nan"))
