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
from tests.interop.spawning import Bucket, Gateway

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


Told = dict[str, list[str]]
"""Under each policy, the lines of the log that tell of a setting which would let a client in."""


def log_in(
    client: Client,
    target_of: Callable[[str], Target],
    gateway_of: Callable[[str], Gateway],
    folder: Path,
) -> tuple[dict[str, dict[str, str]], Told]:
    """Under each policy, what came of each kind of login, and what the log tells of it."""
    found, told = {}, {}
    for policy in POLICIES:
        steps = scenario.logins(target_of(policy))
        gateway = gateway_of(policy)
        before = len(gateway.lines)
        answers = run(client, steps, folder).answers
        gateway.settle()
        told[policy] = [line for line in gateway.lines[before:] if " lets_in=" in line]
        found[policy] = scenario.outcomes(steps[1:], answers[1:])
        print(policy, *scenario.errors(steps, answers), *told[policy], sep="\n    ")  # noqa: T201
    return found, told


def demand_told(row: outcomes.Row, told: Told) -> None:
    """Where another policy lets a login in, the log of the one that does not has said so."""
    for kind in scenario.LOGINS:
        opens = row.policy_for(kind)
        for policy in POLICIES[: POLICIES.index(opens)] if opens else ():
            assert any("[ssh] policy = " in line for line in told[policy]), (kind, policy)
        if opens == "compatible":
            assert any('lets_in="[ssh] policy = compatible"' in line for line in told["modern"])
        if opens == "legacy":
            assert any('lets_in="[ssh] policy = legacy"' in line for line in told["compatible"])


def test_a_client_does_what_the_matrix_says(
    client: Client,
    target_of: Callable[[str], Target],
    gateway_of: Callable[[str], Gateway],
    bucket: Bucket,
    tmp_path: Path,
) -> None:
    logins, told = log_in(client, target_of, gateway_of, tmp_path)
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
    demand_told(found, told)
