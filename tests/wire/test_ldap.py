"""What LDAP sends and reads, against the standards and what ldap3 2.9.1 makes."""

from __future__ import annotations

from contextlib import suppress
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.wire.ber import BadBer, element, elements, integer, number
from sftpgw.wire.ldap import (
    Scope,
    Search,
    bind_request,
    read_entry,
    read_message,
    search_request,
    start_tls_request,
)
from sftpgw.wire.ldap_filters import read_filter
from sftpgw.wire.ldap_names import (
    check_template,
    comparable,
    escaped,
    fill_name,
    lies_below,
    name_above,
    read_name,
)

KNOWN = frozenset({"username", "dn"})


def searched(text: str, name: bytes = b"alice") -> bytes:
    """The bytes of a search by a filter, as the expected ones below were made."""
    encoded = read_filter(text, KNOWN).encoded({"username": name, "dn": b"uid=alice"})
    return search_request(3, Search("dc=x", Scope.SUBTREE, encoded, ("uid", "cn"), 2), 5)


BEFORE, BEHIND = "040464633d780a01020a0100020102020105010100", "300904037569640402636e"
"""What stands around the filter of all these searches."""


def test_a_bind_has_the_name_and_the_password() -> None:
    expected = "301802010760130201030405636e3dc3bc800773650063726574"
    assert bind_request(7, "cn=ü", b"se\0cret").hex() == expected


def test_a_bind_without_a_password_is_not_made() -> None:
    with pytest.raises(ValueError, match="empty password"):
        bind_request(1, "cn=x", b"")


def test_start_tls_is_asked_for_by_its_number() -> None:
    expected = "301d02010177188016312e332e362e312e342e312e313436362e3230303337"
    assert start_tls_request(1).hex() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(objectClass=*)", "870b6f626a656374436c617373"),
        ("(uid={username})", "a30c04037569640405616c696365"),
        (
            "(&(objectClass=person)(|(uid=a\\2ab)(mail=x@y.org)))",
            (
                "a036a315040b6f626a656374436c6173730406706572736f6ea11da30a04037569640403612a62"
                "a30f04046d61696c04077840792e6f7267"
            ),
        ),
        ("(!(cn=*))", "a2048702636e"),
        ("(cn=a*b\\2a*c)", "a4100402636e300a8001618102622a820163"),
        ("(cn=*b*)", "a4090402636e3003810162"),
        ("(a>=1)", "a506040161040131"),
        ("(a<=1)", "a606040161040131"),
        ("(a~=x)", "a806040161040178"),
        (
            "(userAccountControl:1.2.840.113556.1.4.803:=2)",
            (
                "a92f8116312e322e3834302e3131333535362e312e342e383033"
                "8212757365724163636f756e74436f6e74726f6c830132"
            ),
        ),
        ("(ou:dn:2.4.6:=x)", "a9118105322e342e3682026f758301788401ff"),
        ("(:2.4.6:=x)", "a90a8105322e342e36830178"),
        ("(a={{x}})", "a30804016104037b787d"),
    ],
)
def test_a_search_is_what_ldap3_makes_of_it(text: str, expected: str) -> None:
    """Follows no alias, asks for two entries and five seconds."""
    content = bytes.fromhex(BEFORE + expected + BEHIND)
    assert searched(text) == element(0x30, integer(3), element(0x63, content))


@given(name=st.binary(max_size=50))
def test_no_name_changes_a_filter(name: bytes) -> None:
    found = read_filter("(&(objectClass=person)(|(uid={username})(mail={username}@x)))", KNOWN)
    ((tag, both),) = elements(found.encoded({"username": name, "dn": b""}))
    (_, (either, parts)) = elements(both)
    assert (tag, either) == (0xA0, 0xA1)
    values = [[value for _, value in elements(part)] for _, part in elements(parts)]
    assert values == [[b"uid", name], [b"mail", name + b"@x"]]


def test_placeholders_are_known() -> None:
    assert read_filter("(member={dn})", KNOWN).names == {"dn"}


@pytest.mark.parametrize(
    "text",
    [
        *("", "uid=x", "(uid=x", "(uid=x))", "()", "(=x)", "((a=b))", "(uid={user})", "(a>=*)"),
        *("(a=\\2)", "(a={)", "(a=})", "(a:b:c:=d)", "(:=x)", "(!(a=b)(c=d))", "(!" * 20 + "(a=b)"),
    ],
)
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(ValueError, match=r"has|goes on"):
        read_filter(text, KNOWN)


@given(name=st.text(max_size=30))
def test_no_name_of_a_user_changes_the_name_of_an_entry(name: str) -> None:
    filled = read_name(fill_name("uid={username},ou=people,dc=x", name))
    assert filled == ((("uid", name),), (("ou", "people"),), (("dc", "x"),))


@given(left=st.text(max_size=20), right=st.text(max_size=20))
def test_names_are_apart_if_their_values_are(left: str, right: str) -> None:
    names = [comparable(read_name(f"cn={escaped(each)},dc=x")) for each in (left, right)]
    if left == right:
        assert names[0] == names[1]
    if not left.strip() and right.strip():
        assert names[0] != names[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cn=a,dc=x", "CN = A , DC=x"),
        ("cn=a b,dc=x", "cn=a  b,dc=x"),
        ("cn=a\\2cb", "cn=a\\,b"),
        ("cn=a+uid=b", "uid=B+cn=A"),
        ("cn=\\c3\\bc", "cn=Ü"),
    ],
)
def test_names_of_one_entry(one: str, other: str) -> None:
    assert comparable(read_name(one)) == comparable(read_name(other))


@pytest.mark.parametrize("text", ["", "a", "cn=a,", ",cn=a", 'cn="a"', "cn=a;dc=b", "=a", "cn=a\\"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not the name of an entry"):
        read_name(text)


BLANKS = " " * 4_000


@pytest.mark.parametrize(
    "text", [BLANKS, f"cn=a,{BLANKS}!", f"a{BLANKS}!", f'cn={BLANKS}"', f'cn=a{BLANKS}"']
)
def test_blanks_take_no_time(text: str) -> None:
    """They took 13 seconds: the reader tried all ways to share them among three pieces."""
    began_seconds = process_time()
    with pytest.raises(ValueError, match="is not the name of an entry"):
        read_name(text)
    assert process_time() - began_seconds < 0.1
    assert read_name(f"{BLANKS[:900]}cn{BLANKS[:900]}={BLANKS[:900]}a{BLANKS[:900]}") == (
        (("cn", "a"),),
    )


def test_below() -> None:
    base = read_name("ou=groups,dc=x")
    assert lies_below(read_name("cn=a,OU=Groups,dc=x"), base)
    assert not lies_below(base, base)
    assert not lies_below(read_name("cn=a,ou=other,dc=x"), base)
    assert name_above("cn=a\\,b,ou=c,dc=x") == "ou=c,dc=x"
    assert name_above("cn=a") == ""


@pytest.mark.parametrize(
    "template",
    [
        "uid=x,dc=x",
        "ou={username}x,dc=x",
        "dc=x,uid={username}",
        "uid={username},{x}",
        "{username}",
    ],
)
def test_what_is_no_template(template: str) -> None:
    with pytest.raises(ValueError, match=r"must have|is not the name"):
        check_template(template)


def test_a_template() -> None:
    check_template("uid={username},ou=people,dc=x")


@given(data=st.binary(max_size=60))
def test_bytes_are_elements_or_refused(data: bytes) -> None:
    try:
        found = list(elements(data))
    except BadBer:
        return
    assert sum(len(content) for _, content in found) <= len(data)
    assert list(elements(b"".join(element(*each) for each in found))) == found


@given(value=st.integers(min_value=0, max_value=2**31 - 1))
def test_numbers(value: int) -> None:
    ((_, content),) = elements(integer(value))
    assert number(content) == value


@given(data=st.binary(max_size=200))
def test_no_entry_raises_anything_else(data: bytes) -> None:
    for read in (read_message, read_entry):
        with suppress(BadBer):
            read(data)
