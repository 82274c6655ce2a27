"""The matrix of ``docs/clients.rst``: each client of the roster takes the steps of the scenario.

What came of it is held against `outcomes.json`, from which the table in the docs is made. With
SFTPGW_TEST_RECORD set, what came of it is written there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.clients import outcomes, scenario
from tests.interop.clients.conftest import PARTNER
from tests.interop.clients.outcomes import POLICIES
from tests.interop.clients.roster import CLIENTS, Client
from tests.interop.clients.running import run
from tests.interop.clients.scenario import YES, Ground, Target
from tests.interop.spawning import Bucket

PARAMS = [
    pytest.param(client, id=client.label, marks=pytest.mark.built if client.is_built else ())
    for client in CLIENTS
]


@pytest.fixture(params=PARAMS)
def client(request: pytest.FixtureRequest) -> Client:
    found: Client = request.param
    lacking = found.lacking()
    if lacking:
        pytest.skip(f"needs {', '.join(lacking)}: .ci/clients fetches it")
    return found


def log_in(
    client: Client, target_of: Callable[[str], Target], folder: Path
) -> dict[str, dict[str, str]]:
    """Under each policy, what came of each kind of login."""
    found = {}
    for policy in POLICIES:
        steps = scenario.logins(target_of(policy))
        answers = run(client, steps, folder).answers
        found[policy] = scenario.outcomes(steps[1:], answers[1:])
        print(policy, *scenario.errors(steps, answers), sep="\n    ")  # noqa: T201
    return found


def test_a_client_does_what_the_matrix_says(
    client: Client, target_of: Callable[[str], Target], bucket: Bucket, tmp_path: Path
) -> None:
    logins = log_in(client, target_of, tmp_path)
    policy = next(each for each in POLICIES if YES in logins[each].values())
    login = next(kind for kind, found in logins[policy].items() if found == YES)

    scenario.make_files(tmp_path)
    name = f"c{CLIENTS.index(client)}"
    steps = scenario.transfers(target_of(policy), login, tmp_path, f"/{name}")
    done = run(client, steps, tmp_path)
    print(*scenario.errors(steps, done.answers), done.stderr[-2000:], sep="\n    ")  # noqa: T201
    below = f"{PARTNER}/{name}/"
    bodies = {key.removeprefix(below): bucket.body(key) for key in bucket.keys(below)}
    del bodies[""]
    did = scenario.outcomes(steps, done.answers)
    Ground(tmp_path, bodies).demand(steps, done.answers)

    did = {each: did[each] for each in scenario.FEATURES}
    found = outcomes.Row(client.label, client.name, done.version, logins, did)
    assert client.version in done.version
    if os.environ.get("SFTPGW_TEST_RECORD"):
        outcomes.record(found)
    outcomes.demand(found)
