"""What a login still needs: every rule of two alternatives, against a second way to decide it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

import pytest

from sftpgw.auth.plan import (
    ANY,
    Alternatives,
    first_methods,
    is_complete,
    next_methods,
    still_needed,
)
from sftpgw.model.users import LoginMethod

KEY, PASSWORD, TOTP = LoginMethod.PUBLICKEY, LoginMethod.PASSWORD, LoginMethod.TOTP

SERIES = [series for length in (1, 2, 3) for series in permutations(LoginMethod, length)]
RULES: list[Alternatives] = [(), *((one,) for one in SERIES), *permutations(SERIES, 2)]
PROVEN = [proven for length in range(5) for proven in product(LoginMethod, repeat=length)]


def lists_of_sshd(require: Alternatives, proven: Sequence[LoginMethod]) -> list[list[str]] | None:
    """What sshd keeps: a list of names for each alternative, from which heads are removed."""
    lists = [[method.value for method in series] for series in require or ANY]
    for method in proven:
        heads = [names for names in lists if names and names[0] == method.value]
        if not heads:
            return None
        for names in heads:
            del names[0]
    return lists


@pytest.mark.parametrize("require", RULES, ids=str)
def test_every_rule_with_every_series_of_proofs(require: Alternatives) -> None:
    for proven in PROVEN:
        left, lists = still_needed(require, proven), lists_of_sshd(require, proven)
        if lists is None:
            assert left is None
            continue
        assert left is not None
        assert [[method.value for method in series] for series in left] == lists
        assert is_complete(left) == ([] in lists)
        assert {method.value for method in next_methods(left)} == {
            names[0] for names in lists if names
        }
        assert len(set(next_methods(left))) == len(next_methods(left))


@pytest.mark.parametrize("require", RULES, ids=str)
def test_a_login_is_complete_only_with_all_proofs_of_one_alternative(require: Alternatives) -> None:
    for proven in PROVEN:
        left = still_needed(require, proven)
        if left is not None and is_complete(left):
            assert any(set(series) <= set(proven) for series in require or ANY)


def test_a_proof_that_is_not_next_is_refused() -> None:
    assert still_needed(((KEY, PASSWORD),), [PASSWORD]) is None
    assert still_needed(((KEY, PASSWORD),), [KEY, KEY]) is None
    assert still_needed(((KEY, TOTP), (PASSWORD, TOTP)), [TOTP]) is None
    assert still_needed((), [TOTP]) is None


def test_each_alternative_keeps_its_own_count() -> None:
    left = still_needed(((KEY, TOTP), (PASSWORD, TOTP)), [KEY])
    assert left == ((TOTP,), (PASSWORD, TOTP))
    assert next_methods(left) == (TOTP, PASSWORD)


def test_what_is_offered_first_is_what_any_login_may_begin_with() -> None:
    assert first_methods([]) == (KEY, PASSWORD)
    assert first_methods([()]) == (KEY, PASSWORD)
    assert first_methods([((KEY, TOTP),)] * 3) == (KEY,)
    assert first_methods([((PASSWORD, TOTP),), ((KEY,),)]) == (KEY, PASSWORD)
