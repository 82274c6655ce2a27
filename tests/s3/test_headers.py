"""Metadata, ranges and dates in headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.web.http_headers import Headers

from sftpgw.model.store import ObjectName, ObjectProperties
from sftpgw.s3.headers import (
    MissingHeader,
    content_range,
    count,
    date_seconds,
    decode_value,
    encode_value,
    object_info,
    property_headers,
    retry_after_seconds,
)


def headers(**values: str) -> Headers:
    return Headers({name.replace("_", "-"): [value] for name, value in values.items()})


def test_an_object_is_read_from_its_headers() -> None:
    info = object_info(
        ObjectName("b", "k"),
        7,
        headers(
            etag='"e"',
            last_modified="Thu, 01 Jan 1970 00:01:40 GMT",
            content_type="text/plain",
            content_encoding="gzip",
            cache_control="no-store",
            x_amz_storage_class="GLACIER",
            X_Amz_Meta_MTime="5.5",
            x_amz_meta_note="=?UTF-8?B?w6k=?=",
        ),
    )
    assert (info.size_bytes, info.etag, info.modified_seconds) == (7, '"e"', 100.0)
    assert (info.content_type, info.storage_class) == ("text/plain", "GLACIER")
    assert dict(info.metadata) == {"mtime": "5.5", "note": "é"}
    assert dict(info.system_headers) == {"content-encoding": "gzip", "cache-control": "no-store"}


@pytest.mark.parametrize("text", ["", "plain", "a b  c", "5.25", "~!@#", "100%"])
def test_plain_metadata_goes_as_it_is(text: str) -> None:
    assert encode_value(text) == text


@pytest.mark.parametrize(
    "text", ["é", " led", "trailing ", "a\nb", "=?UTF-8?Q?x?=", "a\x00", "é" * 300]
)
def test_other_metadata_survives(text: str) -> None:
    encoded = encode_value(text)
    assert encoded.isascii()
    assert encoded.isprintable()
    assert encoded != text
    assert decode_value(encoded) == text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_metadata_survives(text: str) -> None:
    assert decode_value(encode_value(text)) == text


@pytest.mark.parametrize("text", ["=?", "=?nope?B?w6k=?=", "=?UTF-8?X?a?=", "a =? b"])
def test_metadata_that_is_not_encoded_is_left_alone(text: str) -> None:
    assert decode_value(text) == text


def test_properties_become_headers() -> None:
    properties = ObjectProperties({"MTime": "1"}, "text/plain", "")
    assert list(property_headers(properties, "")) == [
        ("x-amz-meta-mtime", "1"),
        ("content-type", "text/plain"),
    ]
    assert ("x-amz-storage-class", "STANDARD_IA") in property_headers(properties, "STANDARD_IA")
    chosen = ObjectProperties(storage_class="GLACIER")
    assert list(property_headers(chosen, "STANDARD_IA")) == [("x-amz-storage-class", "GLACIER")]


def test_a_tag_has_no_plus_sign_for_a_blank() -> None:
    """Ceph does not decode the plus sign."""
    properties = ObjectProperties(tags={"my project": "x y+z/&"})
    assert list(property_headers(properties, "")) == [
        ("x-amz-tagging", "my%20project=x%20y%2Bz%2F%26")
    ]


def test_a_content_range_is_read() -> None:
    assert content_range(headers(content_range="bytes 5-9/100")) == (5, 9, 100)


@pytest.mark.parametrize(
    "text", ["", "bytes */100", "bytes 5-9/*", "bytes 9-5/100", "bytes 5-100/100", "5-9/100"]
)
def test_a_content_range_that_makes_no_sense(text: str) -> None:
    with pytest.raises(MissingHeader):
        content_range(headers(content_range=text))


@pytest.mark.parametrize("text", ["", "-1", "1.5", "٣", "many"])
def test_a_count_that_is_none(text: str) -> None:
    with pytest.raises(MissingHeader):
        count(headers(content_length=text), "content-length")


@pytest.mark.parametrize("text", ["", "yesterday", "Thu, 99 Jan 1970 00:00:00 GMT"])
def test_a_date_that_is_none(text: str) -> None:
    assert date_seconds(headers(date=text), "date") is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 0.0), ("3", 3.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0), ("9" * 400, 999999.0)],
)
def test_retry_after_is_read_in_seconds(text: str, seconds: float) -> None:
    assert retry_after_seconds(headers(retry_after=text)) == seconds
