"""How many of something each user has at once."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sftpgw.aio.user_counts import UserCounts

STEPS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["sessions", "handles"]), st.booleans())
)


@given(STEPS, st.integers(1, 5))
def test_a_user_has_at_most_as_many_as_allowed_and_nothing_is_kept_of_none(
    steps: list[tuple[str, str, bool]], limit: int
) -> None:
    counts, model = UserCounts(), Counter[tuple[str, str]]()
    for user, what, adds in steps:
        count = counts.of(user, what, limit)
        if adds:
            may_add = model[user, what] < limit
            assert count.try_add() is may_add
            model[user, what] += may_add
        elif model[user, what]:
            count.remove()
            model[user, what] -= 1
        assert len(counts) == len(+model)
