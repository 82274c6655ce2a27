"""Revocation lists, those of ``ssh-keygen`` and those that are put together here."""

from __future__ import annotations

import base64
import hashlib
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.conch.ssh.common import MP, NS

from sftpgw.auth.revocation_lists import read_revoked_keys
from sftpgw.model.key_trust import ALL_AUTHORITIES, NOTHING_REVOKED, RevokedKeys
from sftpgw.testing.ssh_pairs import new_key
from tests.auth.certificate_bytes import certificates_section, krl, serials
from tests.auth.openssh_keys import MadeKeys

BLOB, OTHER = new_key().public().blob(), new_key().public().blob()
AUTHORITY = new_key().public().blob()
LIST, RANGE, BITMAP, KEY_IDS, EXTENSION = 0x20, 0x21, 0x22, 0x23, 0x39
LAST = 2**64 - 1


def extension(name: bytes, *, is_critical: bool) -> bytes:
    return NS(name) + bytes((is_critical,)) + NS(b"contents")


@pytest.mark.parametrize(
    "data",
    [
        krl((2, NS(OTHER) + NS(BLOB))),
        krl((3, NS(hashlib.sha1(BLOB).digest()))),
        krl((5, NS(hashlib.sha256(BLOB).digest()))),
        krl((255, extension(b"new@example.com", is_critical=False)), (2, NS(BLOB))),
        b"# stolen\nssh-ed25519 %s a comment\n" % base64.b64encode(BLOB),
    ],
)
def test_a_key_is_revoked(data: bytes) -> None:
    revoked = read_revoked_keys(data)
    assert revoked.cover_key(BLOB)
    assert not revoked.cover_key(AUTHORITY)


def test_certificates_are_revoked_by_what_they_say() -> None:
    bitmap = struct.pack(">Q", 1000) + MP(0b1000000000101)
    revoked = read_revoked_keys(
        krl(
            certificates_section(
                AUTHORITY,
                (LIST, serials((3, 5, LAST))),
                (RANGE, serials((20, 29))),
                (RANGE, serials((10, 22))),
                (BITMAP, bitmap),
                (EXTENSION, extension(b"new@example.com", is_critical=False)),
            ),
            certificates_section(AUTHORITY, (RANGE, serials((50, 50)))),
            certificates_section(b"", (KEY_IDS, NS(b"alice@laptop") + NS(b"bob")), (LIST, b"")),
        )
    )
    expected = {3, 5, LAST, *range(10, 30), 50, 1000, 1002, 1012}
    tried = {*range(60), *range(990, 1030), LAST - 1, LAST}
    assert {n for n in tried if revoked.cover_certificate(AUTHORITY, n, b"x")} == expected
    assert not any(revoked.cover_certificate(BLOB, n, b"x") for n in tried)
    for authority in (AUTHORITY, BLOB):
        assert revoked.cover_certificate(authority, 0, b"alice@laptop")
        assert revoked.cover_certificate(authority, 1, b"bob")
    assert not revoked.cover_key(AUTHORITY)


def test_serial_number_0_is_none() -> None:
    revoked = read_revoked_keys(krl(certificates_section(b"", (RANGE, serials((0, LAST))))))
    assert revoked.cover_certificate(AUTHORITY, 1, b"")
    assert not revoked.cover_certificate(AUTHORITY, 0, b"")


@pytest.mark.parametrize("data", [b"", b"# nothing\n\n", krl()])
def test_an_empty_list_revokes_nothing(data: bytes) -> None:
    assert read_revoked_keys(data) == NOTHING_REVOKED


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (krl(version=2), "version"),
        (krl((4, NS(b"signature"))), "signed"),
        (krl((6, b"")), "unknown section, 6"),
        (krl((255, extension(b"new@example.com", is_critical=True))), "new@example.com is not"),
        (krl((255, extension(b"x", is_critical=False) + b"y")), "goes on"),
        (krl((3, NS(b"short"))), "length"),
        (krl((5, NS(hashlib.sha1(b"").digest()))), "length"),
        (krl((2, NS(BLOB)[:-1])), "too early"),
        (krl((2, NS(BLOB)))[:-1], "too early"),
        (krl((2, NS(BLOB))) + b"\x02", "too early"),
        (krl(certificates_section(b"", (0x24, b""))), "for certificates, 36"),
        (krl(certificates_section(b"", (RANGE, serials((2, 1))))), "before it begins"),
        (krl(certificates_section(b"", (RANGE, serials((1, 2, 3))))), "goes on"),
        (krl(certificates_section(b"", (LIST, b"1234567"))), "too early"),
        (krl(certificates_section(b"", (BITMAP, serials((1,)) + NS(b"\x80")))), "negative"),
        (krl(certificates_section(b"", (BITMAP, serials((LAST,)) + NS(b"\x02")))), "64 bits"),
        (
            krl(certificates_section(b"", (EXTENSION, extension(b"x", is_critical=True)))),
            "critical extension x is not",
        ),
        (b"ssh-ed25519 %s\nstolen" % base64.b64encode(BLOB), "line 2: the key is missing"),
        (b"SHA256:abc", "line 1"),
        (b"\xff\xfe", "line 1"),
    ],
)
def test_a_list_that_is_not_understood_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_revoked_keys(data)


GOOD = krl(
    (2, NS(BLOB)),
    certificates_section(
        AUTHORITY,
        (LIST, serials((1, 2))),
        (BITMAP, serials((9,)) + NS(b"\x05")),
        (KEY_IDS, NS(b"x")),
    ),
)


@given(st.integers(0, len(GOOD)), st.binary(max_size=40))
def test_any_bytes_are_a_list_or_a_value_error(place: int, data: bytes) -> None:
    for candidate in (GOOD[:place] + data, GOOD[:place] + data + GOOD[place + len(data) :]):
        try:
            found = read_revoked_keys(candidate)
        except ValueError:
            continue
        assert isinstance(found, RevokedKeys)
        found.cover_certificate(ALL_AUTHORITIES, 7, b"x")


@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(0, 40)), max_size=30),
    st.sets(st.integers(1, 350), max_size=20),
)
def test_ranges_are_merged_rightly(spans: list[tuple[int, int]], numbers: set[int]) -> None:
    parts = [(RANGE, serials((first, first + more))) for first, more in spans]
    data = krl(certificates_section(AUTHORITY, (LIST, serials(numbers)), *parts))
    expected = numbers | {n for first, more in spans for n in range(first, first + more + 1)}
    revoked = read_revoked_keys(data)
    found = {n for n in range(1, 400) if revoked.cover_certificate(AUTHORITY, n, b"")}
    assert found == expected


@pytest.mark.needs("openssh")
def test_lists_of_ssh_keygen_mean_what_it_says(tmp_path: Path) -> None:
    made = MadeKeys(tmp_path)
    for name in ("ca", "other-ca", "revoked-ca", "alice", "bob", "sha1", "sha256"):
        made.key(name)
    (tmp_path / "spec").write_text(
        "serial: 3\nserial: 10-20\nserial: 100\nserial: 102\nserial: 104\nserial: 5000-90000\n"
        "id: id of bob\n"
    )
    made.run("-k", "-f", "krl", "-s", "ca.pub", "-z", "1", "spec")
    for how, name in (("key", "alice"), ("sha1", "sha1"), ("sha256", "sha256")):
        (tmp_path / "more").write_text(f"{how}: {made.line(name)}\n")
        made.run("-k", "-u", "-f", "krl", "more")
    made.run("-k", "-u", "-f", "krl", "revoked-ca.pub")
    revoked = read_revoked_keys((tmp_path / "krl").read_bytes())
    for name in ("alice", "bob", "sha1", "sha256", "ca", "revoked-ca"):
        assert revoked.cover_key(made.blob(name)) is is_revoked(made, f"{name}.pub"), name
    for number in (0, 3, 4, 10, 15, 20, 21, 100, 101, 102, 5000, 90_000, 90_001):
        for authority, name in (("ca", "other-ca"), ("other-ca", "ca"), ("ca", "bob")):
            made.certificate(authority, name, "-n", "x", "-z", str(number))
            mine = revoked.cover_certificate(
                made.blob(authority), number, b"id of %s" % name.encode()
            )
            assert mine is is_revoked(made, f"{name}-cert.pub"), (authority, name, number)


def is_revoked(made: MadeKeys, name: str) -> bool:
    """What ``ssh-keygen -Q`` says."""
    try:
        made.run("-Q", "-f", "krl", name)
    except AssertionError:
        return True
    return False
