"""S3's documents, as stores write them and as they should not be."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.model.store import ObjectName, StoredPart
from sftpgw.wire import s3xml
from sftpgw.wire.s3xml import ErrorDocument, MalformedDocument, WriteResult

XMLNS = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'

PARSERS = (
    s3xml.parse_error,
    lambda document: s3xml.parse_write_result(document, "CopyObjectResult"),
    lambda document: s3xml.parse_created_upload(document, ObjectName("b", "k")),
    lambda document: s3xml.parse_object_list(document, "b"),
    lambda document: s3xml.parse_upload_list(document, "b"),
)


def listing(content: str, xmlns: str = XMLNS) -> bytes:
    return f'<?xml version="1.0"?>\n<ListBucketResult{xmlns}>{content}</ListBucketResult>'.encode()


def row(key: str, size: str = "5", time: str = "2026-01-02T03:04:05.000Z") -> str:
    return (
        f"<Contents><Key>{key}</Key><LastModified>{time}</LastModified>"
        f"<ETag>&quot;abc&quot;</ETag><Size>{size}</Size></Contents>"
    )


class TestObjectList:
    @pytest.mark.parametrize("xmlns", [XMLNS, ""])
    def test_a_page_of_objects_is_parsed(self, xmlns: str) -> None:
        page = s3xml.parse_object_list(
            listing(
                "<IsTruncated>true</IsTruncated><NextContinuationToken>a+b/=</NextContinuationToken>"
                "<EncodingType>url</EncodingType>"
                + row("a+b%2Bc%25/%C3%A9%01")
                + "<CommonPrefixes><Prefix>d+%26/</Prefix></CommonPrefixes>",
                xmlns,
            ),
            "bucket",
        )
        (info,) = page.objects
        assert info.name == ObjectName("bucket", "a b+c%/é\x01")
        assert (info.size_bytes, info.etag, info.storage_class) == (5, '"abc"', "STANDARD")
        assert info.modified_seconds == 1767323045.0
        assert page.prefixes == ("d &/",)
        assert page.next_token == "a+b/="

    def test_a_store_that_does_not_encode(self) -> None:
        page = s3xml.parse_object_list(listing(row("a+b%41")), "bucket")
        assert page.objects[0].name.key == "a+b%41"
        assert page.next_token is None

    def test_the_class_of_an_object(self) -> None:
        content = row("k").replace("<Size>", "<StorageClass>GLACIER</StorageClass><Size>")
        assert s3xml.parse_object_list(listing(content), "b").objects[0].storage_class == "GLACIER"

    def test_a_truncated_page_must_say_where_to_go_on(self) -> None:
        with pytest.raises(MalformedDocument, match="NextContinuationToken"):
            s3xml.parse_object_list(listing("<IsTruncated>true</IsTruncated>"), "b")

    @pytest.mark.parametrize(
        "content",
        [
            row(""),
            "<CommonPrefixes/>",
        ],
    )
    def test_rows_that_make_no_sense(self, content: str) -> None:
        with pytest.raises(MalformedDocument):
            s3xml.parse_object_list(listing(content), "b")

    @pytest.mark.parametrize("size", ["", "-1", "٣", "5x", "9" * 5000])
    def test_a_size_that_is_not_told_can_be_asked_for(self, size: str) -> None:
        (info,) = s3xml.parse_object_list(listing(row("k", size=size)), "b").objects
        assert info.size_bytes == s3xml.UNKNOWN_BYTES

    @pytest.mark.parametrize("time", ["", "yesterday", "2026-13-01T00:00:00Z"])
    def test_a_time_that_makes_no_sense_is_none(self, time: str) -> None:
        (info,) = s3xml.parse_object_list(listing(row("k", time=time)), "b").objects
        assert info.modified_seconds == 0.0

    def test_an_etag_without_quotes_gets_them(self) -> None:
        content = row("k").replace("&quot;", "")
        (info,) = s3xml.parse_object_list(listing(content), "b").objects
        assert info.etag == '"abc"'


class TestUploads:
    def test_the_id_of_a_created_upload_is_parsed(self) -> None:
        kind = "InitiateMultipartUploadResult"
        document = f"<{kind}{XMLNS}><UploadId>id</UploadId></{kind}>".encode()
        upload = s3xml.parse_created_upload(document, ObjectName("b", "k"))
        assert (upload.name, upload.upload_id) == (ObjectName("b", "k"), "id")

    def test_a_page_of_uploads(self) -> None:
        document = (
            f"<ListMultipartUploadsResult{XMLNS}><EncodingType>url</EncodingType>"
            "<IsTruncated>true</IsTruncated><NextKeyMarker>a%2F</NextKeyMarker>"
            "<NextUploadIdMarker>9</NextUploadIdMarker>"
            "<Upload><Key>a%2F+</Key><UploadId>9</UploadId>"
            "<Initiated>2023-11-14T22:13:20.000Z</Initiated></Upload>"
            "<Upload><Key>b</Key><UploadId>8</UploadId></Upload></ListMultipartUploadsResult>"
        )
        page = s3xml.parse_upload_list(document.encode(), "b")
        assert [(u.name.key, u.upload_id) for u in page.uploads] == [("a/ ", "9"), ("b", "8")]
        assert [u.initiated_seconds for u in page.uploads] == [1_700_000_000.0, 0.0]
        assert page.next_marker == ("a/", "9")

    @pytest.mark.parametrize(
        ("encoding", "key", "is_ambiguous"),
        [
            ("", "a%20b", True),
            ("", "a+b", True),
            ("", "a b%", False),
            ("<EncodingType>url</EncodingType>", "a%20b", False),
        ],
    )
    def test_keys_that_may_be_encoded(self, encoding: str, key: str, is_ambiguous: bool) -> None:
        """As Ceph's are, which does not say so."""
        kind = "ListMultipartUploadsResult"
        row = f"<Upload><Key>{key}</Key><UploadId>8</UploadId></Upload>"
        page = s3xml.parse_upload_list(f"<{kind}>{encoding}{row}</{kind}>".encode(), "b")
        assert page.is_ambiguous == is_ambiguous

    def test_the_body_of_complete(self) -> None:
        body = s3xml.build_complete_upload([StoredPart(1, 5, '"a&<"'), StoredPart(2, 5, '"b"')])
        root = ElementTree.fromstring(body)
        rows = [[child.text for child in part] for part in root]
        assert root.tag == "{http://s3.amazonaws.com/doc/2006-03-01/}CompleteMultipartUpload"
        assert rows == [["1", '"a&<"'], ["2", '"b"']]


class TestWriteResults:
    def test_a_successful_result_is_parsed(self) -> None:
        document = f"<CopyObjectResult{XMLNS}><ETag>&quot;e&quot;</ETag></CopyObjectResult>"
        result = s3xml.parse_write_result(document.encode(), "CopyObjectResult")
        assert result == WriteResult('"e"')

    @pytest.mark.parametrize("lead", [b"", b"  \r\n\t\n", b'\n<?xml version="1.0"?>\n'])
    def test_an_error_in_disguise(self, lead: bytes) -> None:
        document = lead + b"<Error><Code>InternalError</Code><Message>m</Message></Error>"
        result = s3xml.parse_write_result(document, "CompleteMultipartUploadResult")
        assert result == ErrorDocument("InternalError", "m")

    def test_the_result_of_something_else(self) -> None:
        with pytest.raises(MalformedDocument):
            s3xml.parse_write_result(b"<CopyPartResult/>", "CompleteMultipartUploadResult")

    @pytest.mark.parametrize("told", ["CopyObjectResult", "CopyPartResult"])
    @pytest.mark.parametrize("kind", ["CopyObjectResult", "CopyPartResult"])
    @pytest.mark.parametrize("etag", ["e", '"e"'])
    def test_a_copy_is_a_copy(self, told: str, kind: str, etag: str) -> None:
        """s3proxy calls a copied part a copied object; Ceph leaves out the quotes."""
        document = f"<{told}><ETag>{etag}</ETag></{told}>"
        assert s3xml.parse_write_result(document.encode(), kind) == WriteResult('"e"')

    @pytest.mark.parametrize("kind", ["CopyObjectResult", "CompleteMultipartUploadResult"])
    def test_an_object_can_be_asked_for_its_etag(self, kind: str) -> None:
        document = f"<{kind}><ETag></ETag></{kind}>"
        assert s3xml.parse_write_result(document.encode(), kind) == WriteResult("")

    def test_a_copied_part_without_an_etag_is_malformed(self) -> None:
        with pytest.raises(MalformedDocument, match="ETag"):
            s3xml.parse_write_result(b"<CopyPartResult/>", "CopyPartResult")


def test_an_error_document_is_parsed() -> None:
    document = b"<Error><Code>C</Code><RequestId>R</RequestId><Region>eu-x-1</Region></Error>"
    assert s3xml.parse_error(document) == ErrorDocument("C", "", "R", "eu-x-1")


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"   ",
        b"<Error>",
        b"<Error></Error><Error></Error>",
        b"\xff\xfe\x00",
        b'<?xml version="1.0" encoding="klingon"?><Error/>',
        b"<!DOCTYPE html><html></html>",
        b'<!DOCTYPE Error [<!ENTITY a "b">]><Error><Code>&a;</Code></Error>',
        b"<Unexpected/>",
    ],
)
@pytest.mark.parametrize("parse", PARSERS)
def test_bytes_that_are_no_document_are_malformed(parse: object, document: bytes) -> None:
    with pytest.raises(MalformedDocument):
        parse(document)  # type: ignore[operator]


@given(st.binary(max_size=200))
def test_no_bytes_break_a_parser(document: bytes) -> None:
    for parse in PARSERS:
        try:
            parse(document)
        except MalformedDocument:
            continue


def attributes(count: int) -> str:
    return " ".join(f'a{number}="1"' for number in range(count))


class TestBounds:
    """What a hostile or broken store can make the parsers hold and do."""

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("<a>" * 100, "inside each other"),
            ("<a/>" * 400_000, "tags and attributes"),
            (
                "<a " + " ".join(f'a{n}="1"' for n in range(20_000)) + "/>",
                "a tag or a text of over",
            ),
            (f'<a {" ".join(f"""a{n}="1" """ for n in range(5000))}/>' * 70, "tags and attributes"),
            ("<Contents><Key>a</Key></Contents>" * 10_001, "over 10000 rows"),
            ("<Contents>" + "".join(f"<a{n}/>" for n in range(101)) + "</Contents>", "100 fields"),
            ("".join(f"<a{n}/>" for n in range(101)), "ListBucketResult has over 100 fields"),
            (row("k" * 70_000), "a tag or a text of over"),
        ],
    )
    def test_a_document_is_refused_for_what_it_would_cost(self, content: str, reason: str) -> None:
        with pytest.raises(MalformedDocument, match=reason):
            s3xml.parse_object_list(listing(content), "b")

    @pytest.mark.parametrize("piece_bytes", [1, 7, 4096, 65_536])
    def test_a_page_in_pieces_is_the_same(self, piece_bytes: int) -> None:
        content = "".join(row(f"key+%C3%A9-{number}") for number in range(50))
        document = b" \n" + listing("<EncodingType>url</EncodingType>" + content)
        parser = s3xml.object_list_parser("b")
        for start in range(0, len(document), piece_bytes):
            parser.feed(document[start : start + piece_bytes])
        page = parser.finish()
        assert page == s3xml.parse_object_list(document, "b")
        assert page.objects[7].name.key == "key é-7"

    def test_a_tag_without_an_end_is_refused_in_pieces_too(self) -> None:
        parser = s3xml.object_list_parser("b")
        parser.feed(b"<ListBucketResult ")
        with pytest.raises(MalformedDocument, match="a tag or a text of over"):
            for _ in range(100):
                parser.feed(b"a" * 1000)

    def test_fields_of_other_elements_are_none_of_a_row(self) -> None:
        content = row("k").replace("<Size>", "<Owner><Key>other</Key></Owner><Size>")
        (info,) = s3xml.parse_object_list(listing(content), "b").objects
        assert info.name.key == "k"

    def test_the_texts_of_an_error_are_short(self) -> None:
        fields = "".join(f"<{name}>{'x' * 9000}</{name}>" for name in ("Code", "Message", "Region"))
        error = s3xml.parse_error(f"<Error>{fields}</Error>".encode())
        assert (len(error.code), len(error.message), len(error.region)) == (128, 1000, 128)
