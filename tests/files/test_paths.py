"""From paths to keys: the path jail."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.errors import InvalidPath, PermissionDenied
from sftpgw.files.paths import (
    MARKER_CONTENT,
    can_be_named,
    canonical,
    locate,
)
from sftpgw.model.limits import is_longer_than_files
from sftpgw.model.mounts import Mount
from sftpgw.model.store import ObjectName

MOUNT = Mount("bucket", "home/alice/")

SEGMENTS = st.sampled_from(["a", "b c", "é", "..", ".", "", "...", "x" * 20])


@settings(max_examples=500)
@given(st.lists(SEGMENTS, max_size=10), st.booleans())
def test_paths_resolve_as_posix_says(segments: list[str], absolute: bool) -> None:
    path = ("/" if absolute else "") + "/".join(segments)
    expected = posixpath.normpath("/" + path).lstrip("/")
    assert "/".join(canonical(path.encode())) == expected


@settings(max_examples=500)
@given(st.binary(max_size=60))
def test_no_path_leads_out_of_the_prefix(path: bytes) -> None:
    try:
        location = locate(MOUNT, path)
    except InvalidPath:
        return
    assert location.prefix.startswith("home/alice/")
    assert (location.file.key + "/").startswith("home/alice/")
    assert not any(segment in ("", ".", "..") for segment in location.segments)


def test_a_location_has_a_file_a_marker_and_a_parent() -> None:
    location = locate(MOUNT, b"/a/b")
    assert location.path == "/a/b"
    assert location.file == ObjectName("bucket", "home/alice/a/b")
    assert location.marker == ObjectName("bucket", "home/alice/a/b/")
    assert location.parent == locate(MOUNT, b"a")
    assert locate(MOUNT, b"/..").is_root


@pytest.mark.parametrize(
    ("path", "why"),
    [(b"a\0b", "NUL"), (b"\xff", "UTF-8"), (b"\xed\xa0\x80", "UTF-8"), (b"x" * 2000, "2011 bytes")],
)
def test_paths_that_cannot_be_keys_are_refused(path: bytes, why: str) -> None:
    with pytest.raises(InvalidPath, match=why):
        locate(MOUNT, path)


def test_the_longest_key_is_1024_bytes() -> None:
    prefix_bytes = len("home/alice/")
    assert locate(MOUNT, b"x" * (1024 - prefix_bytes))
    with pytest.raises(InvalidPath):
        locate(MOUNT, b"x" * (1025 - prefix_bytes))


def test_a_path_that_only_costs_time_is_not_resolved() -> None:
    assert canonical(b"./" * 8000 + b"a") == ("a",)
    with pytest.raises(InvalidPath, match="too long"):
        canonical(b"./" * 9000 + b"a")


@pytest.mark.parametrize("path", [b".sftpgw", b"/.sftpgw/records/1", b"a/../.sftpgw/"])
def test_the_gateways_own_keys_are_out_of_reach(path: bytes) -> None:
    with pytest.raises(PermissionDenied, match="reserved"):
        locate(Mount("bucket", ""), path)
    assert locate(MOUNT, path)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0"])
def test_names_that_no_path_can_have(name: str) -> None:
    assert not can_be_named(name)


@pytest.mark.parametrize("path", [b"f/", b"/f/", b"f//", b"f/.", b"f/./", b"f/g/..", b"./f/"])
def test_paths_that_end_like_a_directory_are_directories(path: bytes) -> None:
    location = locate(MOUNT, path)
    assert location.must_be_directory
    assert not location.may_be_file
    assert location == locate(MOUNT, b"f")


@pytest.mark.parametrize("path", [b"f", b"./f", b"d/../f", b"/f", b"...", b"f.", b"f.."])
def test_other_paths_may_be_files(path: bytes) -> None:
    assert locate(MOUNT, path).may_be_file


@pytest.mark.parametrize("path", [b"", b"/", b".", b"/.."])
def test_the_root_is_no_file(path: bytes) -> None:
    assert not locate(MOUNT, path).may_be_file


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("n" * 255, False),
        ("n" * 256, True),
        ("ä" * 127 + "/" + "ä" * 127, False),
        ("d/" + "ä" * 128, True),
        ("n" * 256 + "/f", True),
        ("/".join(["n" * 200] * 5), False),
        ("/".join(["n" * 200] * 6), True),
    ],
)
def test_names_that_file_systems_have_no_room_for(key: str, expected: bool) -> None:
    assert is_longer_than_files(key) is expected


def test_a_markers_bytes_have_a_name_in_their_directory() -> None:
    location = locate(MOUNT, b"d/" + MARKER_CONTENT.encode())
    assert location.file == location.parent.marker
    assert location.path == f"/d/{MARKER_CONTENT}"
