"""What is known of users of other sources beside those of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sftpgw.auth.sources.live import LiveUsers
from sftpgw.model.users import User
from sftpgw.testing.ssh_pairs import call_at_once, make_user


def made(name: str, given: Mapping[str, str], source: str, groups: Sequence[str]) -> User:
    return replace(make_user(name), weight=int(given["weight"]), source=source)


def test_the_weight_that_another_source_gives_counts() -> None:
    live = LiveUsers({"alice": replace(make_user("alice"), weight=2)}, call_at_once, make_user=made)
    assert (live.weight_of("alice"), live.weight_of("fleet")) == (2.0, 1.0)
    live.make("fleet", {"weight": "5"}, "dynamodb")
    live.make("alice", {"weight": "7"}, "dynamodb")
    assert (live.weight_of("alice"), live.weight_of("fleet")) == (2.0, 5.0)
    live.make("fleet", {"weight": "1"}, "dynamodb")
    assert live.weight_of("fleet") == 1.0
