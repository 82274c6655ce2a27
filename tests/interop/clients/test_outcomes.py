"""The matrix in the docs is what the clients did, and its rows are those of the roster."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.clients import outcomes, scenario
from tests.interop.clients.outcomes import Row
from tests.interop.clients.roster import CLIENTS
from tests.interop.clients.scenario import LACKS, NO, YES, Step

STEPS = [Step("upload", "put", ("a", "b")), Step("upload", "stat", ("c",), must_fail=True)]
OK, ERROR = {"ok": True, "value": None}, {"ok": False, "error": "no"}


def test_the_docs_have_the_matrix_of_what_was_recorded() -> None:
    """`python -m tests.interop.clients.outcomes` writes it."""
    text = outcomes.DOCS.read_text()
    assert outcomes.documented(text) == text


def test_each_client_of_the_roster_is_recorded_once() -> None:
    assert sorted(outcomes.recorded()) == sorted(client.label for client in CLIENTS)


@pytest.mark.parametrize("row", outcomes.recorded().values(), ids=lambda row: row.label)
def test_each_client_works_as_the_default_policy_has_it(row: Row) -> None:
    """What stays open is that a client has no such key, or no such function."""
    assert row.logins["compatible"]["password"] == YES
    must = {"upload", "download", "list", "stat", "temporary name", "at once", "remove"}
    assert {each: row.did[each] for each in must} == dict.fromkeys(must, YES)
    assert row.did["replace"] not in (NO, LACKS)


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([OK, ERROR], YES),
        ([ERROR, ERROR], NO),
        ([OK, OK], NO),
        ([{"ok": False, "lacks": True}, ERROR], LACKS),
    ],
)
def test_an_outcome_is_that_of_the_first_step_that_went_wrong(
    answers: list[scenario.Answer], outcome: str
) -> None:
    assert scenario.outcomes(STEPS, answers) == {"upload": outcome}


def test_a_replace_tells_how() -> None:
    steps = [Step("replace", "replace", ("a", "b"))]
    assert scenario.outcomes(steps, [{"ok": True, "value": "posix-rename"}]) == {
        "replace": "posix-rename"
    }


def test_what_is_not_there_is_found(tmp_path: Path) -> None:
    """The judge of the ground cannot be content with anything."""
    scenario.make_files(tmp_path)
    target = scenario.Target(1, "u", "p", {})
    steps = scenario.transfers(target, "password", tmp_path, "/x")
    done = [ERROR if step.must_fail else {"ok": True, "value": "posix-rename"} for step in steps]
    with pytest.raises(AssertionError):
        scenario.Ground(tmp_path, {}).demand(steps, done)
