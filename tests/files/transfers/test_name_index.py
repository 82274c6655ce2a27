"""The index of names against a plain set of names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sftpgw.files.transfers.name_index import NameIndex
from sftpgw.model.store import ObjectName

KEYS = st.lists(st.sampled_from(["a", "b", "/", "/", ".", "0", "ä", "\U0010ffff"]), max_size=7).map(
    "".join
)
NAMES = st.builds(ObjectName, st.sampled_from(["bucket", "other"]), KEYS)


@given(st.lists(NAMES, max_size=40), st.lists(KEYS, max_size=10))
def test_it_answers_as_a_plain_set_does(toggled: list[ObjectName], prefixes: list[str]) -> None:
    index, names = NameIndex(), set[ObjectName]()
    for name in toggled:
        if name in names:
            names.remove(name)
            index.remove(name)
        else:
            names.add(name)
            index.add(name)
        for prefix in {*prefixes, "", name.key}:
            found = sorted(
                each.key
                for each in names
                if each.bucket == "bucket" and each.key.startswith(prefix)
            )
            assert list(index.under("bucket", prefix)) == found
            direct = [key for key in found if "/" not in key[len(prefix) :]]
            assert index.directly_under("bucket", prefix) == direct


def test_what_lies_in_subdirectories_is_passed() -> None:
    index = NameIndex()
    for name in ("d/a", "d/b/1", "d/b/2/3", "d/b0", "d/c", "d0", "e/a"):
        index.add(ObjectName("bucket", name))
    assert index.directly_under("bucket", "d/") == ["d/a", "d/b0", "d/c"]
