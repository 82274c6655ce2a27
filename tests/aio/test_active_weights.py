"""Parts of a whole, by weight, among those that take part."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.aio.active_weights import ActiveWeights

WEIGHTS = {"a": 0.1, "b": 1.0, "c": 3.0, "d": 0.7}


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans())))
def test_a_share_is_a_part_of_the_weights_of_those_that_take_part(
    steps: list[tuple[str, bool]],
) -> None:
    weights, counts = ActiveWeights(WEIGHTS.__getitem__), Counter[str]()
    for user, adds in steps:
        if adds:
            weights.add(user)
            counts[user] += 1
        elif counts[user]:
            weights.remove(user)
            counts[user] -= 1
        active = {name for name in counts if counts[name]}
        for name, weight in WEIGHTS.items():
            assert weights[name] == counts[name]
            whole = sum(WEIGHTS[other] for other in active | {name})
            assert weights.share(name, 100) == pytest.approx(100 * weight / whole)
            assert weights.weight(name) == weight
