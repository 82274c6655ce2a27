"""What an item of the table of users says, and what is nonsense."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.aws.dynamodb.items import MAX_KEYS, TableUser, read_item, write_item
from sftpgw.errors import BadAnswer

ALICE: dict[str, Any] = {"name": {"S": "alice"}}


def test_attributes_are_keys_of_users_ini() -> None:
    item = {
        **ALICE,
        "version": {"N": "3"},
        "updated": {"S": "2026-11-29T10:00:00Z"},
        "authorized_keys": {"L": [{"S": "ssh-ed25519 AAAA one"}, {"S": "ssh-ed25519 BBBB two"}]},
        "networks": {"SS": ["192.0.2.0/24", "10.0.0.0/8"]},
        "permissions /incoming": {"S": "upload"},
        "max_sessions": {"N": "10"},
        "disabled": {"BOOL": False},
        "expires": {"NULL": True},
    }
    assert read_item(item, "alice") == TableUser(
        "alice",
        {
            "authorized_keys": "ssh-ed25519 AAAA one\nssh-ed25519 BBBB two",
            "disabled": "no",
            "max_sessions": "10",
            "networks": "10.0.0.0/8\n192.0.2.0/24",
            "permissions /incoming": "upload",
        },
        3,
    )


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (None, "not an item"),
        ([], "not an item"),
        ({"name": "alice"}, "not an item"),
        ({"name": {}}, "not an item"),
        ({"user": {"S": "alice"}}, "no text as name"),
        ({"name": {"N": "7"}}, "no text as name"),
        ({"name": {"S": "bob"}}, "another user"),
        ({"name": {"S": "Alice"}}, "another user"),
        ({**ALICE, "mount": {"M": {}}}, "'mount' of the type M"),
        ({**ALICE, "mount": {"B": "AAAA"}}, "'mount' of the type B"),
        ({**ALICE, "mount": {"S": 7}}, "'mount' of the type S"),
        ({**ALICE, "weight": {"N": 7}}, "'weight' of the type N"),
        ({**ALICE, "mount": {"L": [{"N": "7"}]}}, "'mount' of the type L"),
        ({**ALICE, "mount": {"L": "text"}}, "'mount' of the type L"),
        ({**ALICE, "mount": {"NS": ["7"]}}, "'mount' of the type NS"),
        ({**ALICE, "disabled": {"BOOL": "no"}}, "'disabled' of the type BOOL"),
        ({**ALICE, "groups": {"SS": ["a", "b"]}}, "no order"),
        ({**ALICE, "version": {"S": "3"}}, "version"),
        ({**ALICE, "version": {"N": "1.5"}}, "version"),
        ({**ALICE, "version": {"N": "9" * 30}}, "version"),
        ({**ALICE, **{f"k{n}": {"S": "v"} for n in range(MAX_KEYS + 3)}}, "over 100"),
    ],
)
def test_nonsense_is_told(item: object, why: str) -> None:
    with pytest.raises(BadAnswer, match=why):
        read_item(item, "alice")


lines = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)
values = st.dictionaries(
    st.sampled_from(["authorized_keys", "mount", "bucket", "deny", "permissions /in", "groups"]),
    st.lists(lines, min_size=1, max_size=3).map("\n".join),
)


@given(values, st.integers(1, 10**9))
def test_what_is_written_is_read(given: dict[str, str], version: int) -> None:
    user = TableUser("ålice", given, version)
    assert read_item(write_item(user, "2026-11-29T10:00:00Z"), "ålice") == user


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
types = st.sampled_from(["S", "N", "BOOL", "NULL", "SS", "L", "M", "B", "x"])


@given(st.dictionaries(st.text(), st.dictionaries(types, json_values, max_size=2)) | json_values)
def test_anything_is_an_item_or_nonsense(item: Any) -> None:
    if isinstance(item, dict):
        item = {**item, **ALICE}
    try:
        user = read_item(item, "alice")
    except BadAnswer as error:
        assert error.message
    else:
        assert all(isinstance(text, str) for text in user.given.values())
