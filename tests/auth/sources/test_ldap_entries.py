"""What entries of directories say of users."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sftpgw.auth.sources.ldap_entries import given_user, has_name, wanted_attributes
from sftpgw.errors import BadAnswer
from sftpgw.model.settings import AuthSettings
from sftpgw.wire.ldap import LdapEntry

SETTINGS = AuthSettings()
DN = "uid=alice,ou=people,dc=x"


def entry(**attributes: str | list[str]) -> LdapEntry:
    return LdapEntry(
        DN,
        {
            name.lower(): tuple(
                each.encode() for each in ([values] if isinstance(values, str) else values)
            )
            for name, values in attributes.items()
        },
    )


def test_keys_are_lines_of_authorized_keys() -> None:
    keys = ["ssh-ed25519 AAAA a\n", 'from="192.0.2.1" ssh-rsa BBBB', " "]
    said = given_user(entry(sshPublicKey=keys), (), SETTINGS)
    assert said.given["authorized_keys"].split("\n") == [
        *("ssh-ed25519 AAAA a", 'from="192.0.2.1" ssh-rsa BBBB')
    ]
    with pytest.raises(BadAnswer, match="over 100 values"):
        given_user(entry(sshPublicKey=[f"key {n}" for n in range(101)]), (), SETTINGS)


def test_attributes_become_keys_of_users() -> None:
    settings = replace(SETTINGS, ldap_attributes=(("bucket", "sftpBucket"), ("mount", "sftpMount")))
    said = given_user(entry(sftpbucket="b", sftpMount=["/a s3://b/", "/c s3://d/"]), (), settings)
    assert said.given == {"bucket": "b", "mount": "/a s3://b/\n/c s3://d/"}
    assert {"sftpBucket", "sftpMount", "uid", "memberOf", "shadowExpire"} <= set(
        wanted_attributes(settings)
    )


@pytest.mark.parametrize(
    ("attributes", "is_disabled"),
    [
        ({"pwdAccountLockedTime": "000001010000Z"}, True),
        ({"pwdAccountLockedTime": "20260101000000Z"}, False),
        ({"nsAccountLock": "TRUE"}, True),
        ({"nsAccountLock": "false"}, False),
        ({"userAccountControl": "514"}, True),
        ({"userAccountControl": "512"}, False),
        ({}, False),
    ],
)
def test_who_is_disabled(attributes: dict[str, str], is_disabled: bool) -> None:
    said = given_user(entry(**attributes), (), SETTINGS)
    assert (said.given.get("disabled") == "yes") is is_disabled


@pytest.mark.parametrize(
    ("attributes", "expires"),
    [
        ({"shadowExpire": "20000"}, "2024-10-04T00:00:00+00:00"),
        ({"shadowExpire": "-1"}, None),
        ({"shadowExpire": "0"}, None),
        ({"accountExpires": "0"}, None),
        ({"accountExpires": "9223372036854775807"}, None),
        ({"accountExpires": "133500000000000000"}, "2024-01-17T21:20:00+00:00"),
        ({"shadowExpire": "20000", "accountExpires": "133500000000000000"}, "2024-01-17T21:20:00"),
    ],
)
def test_when_an_account_ends(attributes: dict[str, str], expires: str | None) -> None:
    found = given_user(entry(**attributes), (), SETTINGS).given.get("expires")
    assert found is None if expires is None else str(found).startswith(expires)


@pytest.mark.parametrize(
    "attributes",
    [
        {"shadowExpire": "soon"},
        {"shadowExpire": ["1", "2"]},
        {"shadowExpire": "9999999999999"},
        {"userAccountControl": "0x2"},
    ],
)
def test_nonsense_is_no_answer(attributes: dict[str, str]) -> None:
    """Else an account that has ended, or is disabled, could log in."""
    with pytest.raises(BadAnswer, match=r"no number|out of bounds"):
        given_user(entry(**attributes), (), SETTINGS)


PARTNERS, OTHERS = "cn=SFTP Partners,ou=groups,dc=x", "cn=others,ou=elsewhere,dc=x"


@pytest.mark.parametrize(
    ("settings", "groups"),
    [
        (SETTINGS, ("SFTP Partners", "others")),
        (replace(SETTINGS, ldap_group_base="OU=Groups,DC=x"), ("SFTP Partners",)),
        (replace(SETTINGS, ldap_groups=(("sftp  partners", "partners"),)), ("partners",)),
        (
            replace(SETTINGS, ldap_groups=(("CN=others, OU=elsewhere,dc=x", "a"), ("none", "b"))),
            ("a",),
        ),
        (replace(SETTINGS, ldap_groups_attribute=""), ()),
    ],
)
def test_groups(settings: AuthSettings, groups: tuple[str, ...]) -> None:
    assert given_user(entry(memberOf=[PARTNERS, OTHERS]), (), settings).groups == groups


def test_groups_that_were_searched_for_count_too() -> None:
    said = given_user(entry(memberOf=PARTNERS), (OTHERS, PARTNERS), SETTINGS)
    assert said.groups == ("SFTP Partners", "others")
    with pytest.raises(BadAnswer, match="over 500 groups"):
        given_user(entry(), [f"cn=g{n}" for n in range(501)], SETTINGS)
    with pytest.raises(BadAnswer, match="no name of an entry"):
        given_user(entry(memberOf="partners"), (), SETTINGS)


def test_the_name_must_be_the_one_that_was_asked() -> None:
    found = entry(uid=["alice", "Lady A", "jo\u0308rg"])
    assert has_name(found, "alice", SETTINGS)
    assert has_name(found, "j\xf6rg", SETTINGS)
    for name in ("Alice", "alice ", "lady a", "bob", ""):
        assert not has_name(found, name, SETTINGS)
