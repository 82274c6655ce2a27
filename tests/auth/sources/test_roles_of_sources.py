"""The role and the session policy that a service gives a user."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from sftpgw.auth.sources.http_dialects import read_answer
from sftpgw.auth.sources.questions import GivenUser
from sftpgw.errors import NoSessionPolicy
from sftpgw.model.mounts import Mount
from sftpgw.model.settings import (
    FilesSettings,
    GatewaySettings,
    HttpDialect,
    LimitSettings,
    Settings,
    SshSettings,
    StoreSettings,
)
from sftpgw.model.users import AssumedRole, User
from sftpgw.user_sources import with_role

ROLE = "arn:aws:iam::123456789012:role/transfer"
STORE = StoreSettings(
    bucket="bucket", role_arn="arn:aws:iam::1:role/usual", scoped_credentials=True
)
POLICY = (
    '{"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", '
    '"Resource": "arn:aws:s3:::${transfer:HomeDirectory}/*"}]}'
)


@dataclass
class Judge:
    """Makes users of the keys of users.ini.

    :ivar given: the keys of the last one.
    """

    mounts: tuple[Mount, ...] = (Mount("bucket", "home/alice/"),)
    given: Mapping[str, str] | None = None

    def __call__(self, given: Mapping[str, str]) -> User:
        self.given = given
        role = AssumedRole(given["role_arn"]) if "role_arn" in given else None
        return User("alice", self.mounts, role=role)


def settings(store: StoreSettings = STORE) -> Settings:
    return Settings(GatewaySettings(), store, SshSettings(), LimitSettings(), FilesSettings(), {})


def said(**more: str) -> GivenUser:
    """An answer of a service that was made for AWS Transfer Family."""
    answer = {"Role": ROLE, "HomeDirectory": "/bucket/home/alice", **more}
    found = read_answer(HttpDialect.AWS_TRANSFER, "alice", json.dumps(answer).encode())
    assert found is not None
    return found


def test_role_and_policy_become_those_of_the_users_sessions() -> None:
    user = with_role(settings(), said(Policy=POLICY), Judge())
    assert user.role is not None
    assert user.role.arn == ROLE
    assert "arn:aws:s3:::bucket/home/alice/*" in user.role.policy


def test_without_a_policy_there_is_that_of_the_mounts() -> None:
    assert with_role(settings(), said(), Judge()).role == AssumedRole(ROLE)


def test_a_policy_without_a_role_is_for_that_of_the_store() -> None:
    user = with_role(settings(), said(Role="", Policy=POLICY), Judge())
    assert user.role is not None
    assert user.role.arn == ""
    assert user.role.policy


def test_where_sessions_have_no_credentials_of_their_own_neither_counts() -> None:
    judge = Judge()
    store = replace(STORE, scoped_credentials=False)
    assert with_role(settings(store), said(Policy="nonsense"), judge).role is None
    assert judge.given is not None
    assert "role_arn" not in judge.given


MANY = tuple(Mount("bucket", f"{n:03}{'x' * 60}/", path=(str(n),)) for n in range(40))


def test_a_policy_of_the_service_needs_none_of_ours() -> None:
    assert with_role(settings(), said(Policy=POLICY), Judge(MANY)).role is not None
    with pytest.raises(NoSessionPolicy, match="alice: the session policy needs"):
        with_role(settings(), said(), Judge(MANY))


def test_nonsense_is_no_user() -> None:
    with pytest.raises(NoSessionPolicy, match="alice: has a Policy that is not"):
        with_role(settings(), said(Policy="nonsense"), Judge())
