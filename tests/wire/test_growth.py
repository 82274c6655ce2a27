"""Work grows with the input, and no faster: twice the input takes twice the steps.

A step is a line of Python in this package, so that the speed of the machine does not matter.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest

from sftpgw.buffers.byte_queue import ByteQueue
from sftpgw.errors import GatewayError
from sftpgw.scp.glob.plan import Pattern
from sftpgw.wire import extended, s3xml, scp, shell
from sftpgw.wire.check_file import parse as parse_check_file
from sftpgw.wire.frames import Frames
from sftpgw.wire.proxy_header import BadProxyHeader, parse_proxy_header
from sftpgw.wire.s3xml import MalformedDocument
from sftpgw.wire.sftp import Malformed, string

ERRORS = (GatewayError, MalformedDocument, BadProxyHeader, Malformed)
SLACK = 60
"""Steps that any input takes."""


def steps_of(work: Callable[[], object]) -> int:
    """How many lines of the package `work` executes."""
    steps = 0

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal steps
        steps += event == "line"
        return count

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        return count if "/sftpgw/" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        with suppress(*ERRORS):
            work()
    finally:
        sys.settrace(before)
    return steps


def page(rows: str) -> bytes:
    return f"<ListBucketResult>{rows}</ListBucketResult>".encode()


def uploads(rows: str) -> bytes:
    return f"<ListMultipartUploadsResult>{rows}</ListMultipartUploadsResult>".encode()


def fed_page(document: bytes) -> None:
    parser = s3xml.object_list_parser("b")
    for at in range(0, len(document), 16):
        parser.feed(document[at : at + 16])
    parser.finish()


def fed_frames(data: bytes, piece_bytes: int) -> None:
    frames = Frames()
    for at in range(0, len(data), piece_bytes):
        frames.feed(data[at : at + piece_bytes])
        while frames.next() is not None:
            pass


def queued(count: int) -> None:
    queue = ByteQueue()
    for _ in range(count):
        queue.append(b"x")
        queue.find(b"\n", 4096)
    while queue.size_bytes:
        queue.take(3)


ROW = "<Contents><Key>a%20b</Key><Size>1</Size><LastModified>x</LastModified></Contents>"
UPLOAD = "<Upload><Key>a%20b</Key><UploadId>1</UploadId></Upload>"
PARSERS: dict[str, Callable[[int], object]] = {
    "words": lambda n: shell.split(b"a " * n),
    "one word": lambda n: shell.split(b"a" * n),
    "quotes": lambda n: shell.split(b"'a'\"b\"\\c" * n),
    "tildes": lambda n: shell.split(b"~" * n),
    "pattern without sets": lambda n: Pattern("*a?" * n),
    "open brackets": lambda n: Pattern("[" * n),
    "one set": lambda n: Pattern("*[" + "b-c" * n + "]"),
    "many sets": lambda n: Pattern("[a-b]" * n),
    "backslashes": lambda n: Pattern("\\" * n),
    "stars of names": lambda n: Pattern("*a" * 100 + "b").matches("a" * n),
    "question marks of names": lambda n: Pattern("*" + "?" * 200 + "b").matches("a" * n),
    "sets of names": lambda n: Pattern("*" + "[a-b]" * 100 + "c").matches("a" * n),
    "scp's line": lambda n: scp.parse_line(b"C0644 1 " + b"a" * n),
    "scp's number": lambda n: scp.parse_line(b"C0644 " + b"9" * n + b" a"),
    "scp's junk": lambda n: scp.parse_line(b"T0 0 " * n),
    "rows of a page": lambda n: s3xml.parse_object_list(page(ROW * n), "b"),
    "prefixes of a page": lambda n: s3xml.parse_object_list(
        page("<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>" * n), "b"
    ),
    "a page in pieces": lambda n: fed_page(page(ROW * n)),
    "one long key in pieces": lambda n: fed_page(page(f"<Contents><Key>{'k' * 9 * n}</Key>")),
    "other elements": lambda n: s3xml.parse_object_list(page("<a><b/></a>" * n), "b"),
    "depth": lambda n: s3xml.parse_object_list(page("<a>" * n), "b"),
    "attributes": lambda n: s3xml.parse_error(f"<Error {'a=1' * n}/>".encode()),
    "rows of uploads": lambda n: s3xml.parse_upload_list(uploads(UPLOAD * n), "b"),
    "tags": lambda n: s3xml.parse_tags(
        f"<Tagging><TagSet>{'<Tag><Key>a</Key></Tag>' * n}</TagSet></Tagging>".encode()
    ),
    "an error": lambda n: s3xml.parse_error(f"<Error><Code>{'x' * n}</Code></Error>".encode()),
    "frames": lambda n: fed_frames(b"\0\0\0\5\1\0\0\0\3" * n, 4096),
    "frames byte by byte": lambda n: fed_frames(b"\0\0\0\5\1\0\0\0\3" * n, 1),
    "a frame byte by byte": lambda n: fed_frames((n + 4).to_bytes(4, "big") + bytes(n + 4), 1),
    "a WRITE byte by byte": lambda n: fed_frames(
        (21 + n).to_bytes(4, "big")
        + b"\6\0\0\0\1\0\0\0\0"
        + bytes(8)
        + n.to_bytes(4, "big")
        + bytes(n),
        1,
    ),
    "owners": lambda n: extended.parse_owners(string(bytes(4 * n)) + string(b""), 1),
    "strings": lambda n: extended.parse_strings(string(b"a") * n, n, 1),
    "check-file": lambda n: parse_check_file(string(b"h") + string(b"md5," * n) + bytes(20), 1),
    "PROXY": lambda n: parse_proxy_header(b"PROXY TCP4 " + b"1." * n + b"\r\n"),
    "bytes that wait": queued,
}


@pytest.mark.parametrize("name", PARSERS)
def test_twice_the_input_takes_twice_the_steps(name: str) -> None:
    work = PARSERS[name]
    counts = [steps_of(lambda size=size: work(size)) for size in (60, 120, 240, 480)]
    for small, large in pairwise(counts):
        assert large <= 2.1 * small + SLACK, counts


def test_what_is_more_than_linear_is_seen() -> None:
    """The check can fail: a set cost its ranges for each character of each name."""

    def quadratic(size: int) -> None:
        for _ in range(size):
            shell.split(b"a" * size)

    counts = [steps_of(lambda size=size: quadratic(size)) for size in (60, 120)]
    assert counts[1] > 2.1 * counts[0] + SLACK
