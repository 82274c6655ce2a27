"""The evaluator of policies, on examples that AWS has published."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sftpgw.testing.iam import Decision, IamPolicy, IamRequest, all_allow

BUCKET = "arn:aws:s3:::amzn-s3-demo-bucket"


def policy(*statements: dict[str, Any]) -> IamPolicy:
    return IamPolicy.parse(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))


def listing(prefix: str | None, **more: str) -> IamRequest:
    context = more if prefix is None else {"s3:prefix": prefix, **more}
    return IamRequest("s3:ListBucket", BUCKET, context)


HOME = policy(
    {
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": BUCKET,
        "Condition": {"StringLike": {"s3:prefix": ["home/${aws:username}/*", ""]}},
    },
    {
        "Effect": "Allow",
        "Action": "s3:*",
        "Resource": f"{BUCKET}/home/${{aws:username}}/*",
    },
)
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_examples_s3_home-directory-console.html"""


@pytest.mark.parametrize(
    ("key", "username", "expected"),
    [
        ("home/ana/file", "ana", Decision.ALLOW),
        ("home/bob/file", "ana", Decision.IMPLICIT_DENY),
        ("home/anabel/file", "ana", Decision.IMPLICIT_DENY),
        ("home/bob/file", "*", Decision.IMPLICIT_DENY),  # a value is no wildcard
        ("home/bob/file", None, Decision.IMPLICIT_DENY),  # the variable has no value
    ],
)
def test_homes_of_the_users_guide(key: str, username: str | None, expected: Decision) -> None:
    context = {} if username is None else {"aws:username": username}
    assert HOME.decide(IamRequest("s3:GetObject", f"{BUCKET}/{key}", context)) is expected


def test_lists_of_homes() -> None:
    ana = {"aws:username": "ana"}
    assert HOME.decide(listing("home/ana/x", **ana)) is Decision.ALLOW
    assert HOME.decide(listing("", **ana)) is Decision.ALLOW
    assert HOME.decide(listing("home/", **ana)) is Decision.IMPLICIT_DENY
    assert HOME.decide(listing(None, **ana)) is Decision.IMPLICIT_DENY


def test_a_denial_wins() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html"""
    found = policy(
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": BUCKET},
        {
            "Effect": "Deny",
            "Action": "s3:ListBucket",
            "Resource": BUCKET,
            "Condition": {"StringNotEquals": {"s3:prefix": "projects"}},
        },
    )
    assert found.decide(listing("projects")) is Decision.ALLOW
    assert found.decide(listing("other")) is Decision.EXPLICIT_DENY
    assert found.decide(listing(None)) is Decision.EXPLICIT_DENY  # absent is not equal


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        ({"StringEquals": {"s3:prefix": ["a", "b"]}}, "b", True),
        ({"StringEquals": {"s3:prefix": "a*"}}, "ab", False),
        ({"StringEqualsIgnoreCase": {"S3:PREFIX": "A"}}, "a", True),
        ({"StringEqualsIfExists": {"s3:prefix": "a"}}, None, True),
        ({"StringEqualsIfExists": {"s3:prefix": "a"}}, "b", False),
        ({"StringEquals": {"s3:prefix": "a"}}, None, False),
        ({"StringNotEquals": {"s3:prefix": ["a", "b"]}}, "b", False),
        ({"StringNotEquals": {"s3:prefix": ["a", "b"]}}, "c", True),
        ({"StringLike": {"s3:prefix": "a?/*"}}, "ab/c/d", True),
        ({"StringLike": {"s3:prefix": "a${?}/*"}}, "ab/c/d", False),
        ({"StringLike": {"s3:prefix": "a${*}${$}"}}, "a*$", True),
        ({"StringNotLike": {"s3:prefix": "a*"}}, "b", True),
        ({"Null": {"s3:prefix": "true"}}, None, True),
        ({"Null": {"s3:prefix": "true"}}, "", False),
        ({"Null": {"s3:prefix": "false"}}, "", True),
        ({"StringLike": {"s3:prefix": "a*"}, "StringNotLike": {"s3:prefix": "ab*"}}, "ab", False),
    ],
)
def test_conditions(condition: dict[str, Any], value: str | None, holds: bool) -> None:
    found = policy(
        {"Effect": "Allow", "Action": "s3:List*", "Resource": "*", "Condition": condition}
    )
    assert (found.decide(listing(value)) is Decision.ALLOW) is holds


def test_opposites_and_cases() -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notaction.html"""
    found = policy({"Effect": "Allow", "NotAction": "iam:*", "NotResource": f"{BUCKET}/secret/*"})
    assert found.decide(IamRequest("s3:getobject", f"{BUCKET}/a")) is Decision.ALLOW
    assert found.decide(IamRequest("IAM:GetUser", f"{BUCKET}/a")) is Decision.IMPLICIT_DENY
    assert found.decide(IamRequest("s3:GetObject", f"{BUCKET}/secret/a")) is Decision.IMPLICIT_DENY


def test_a_session_may_do_what_both_policies_allow() -> None:
    role = policy({"Effect": "Allow", "Action": "s3:*", "Resource": f"{BUCKET}/a/*"})
    session = policy({"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{BUCKET}/*"})
    assert all_allow((role, session), IamRequest("s3:GetObject", f"{BUCKET}/a/x"))
    assert not all_allow((role, session), IamRequest("s3:PutObject", f"{BUCKET}/a/x"))
    assert not all_allow((role, session), IamRequest("s3:GetObject", f"{BUCKET}/b/x"))


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Allow", "Action": "*", "Resource": "*", "Principal": "*"},
        {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"IpAddress": {}}},
    ],
)
def test_what_is_not_known_is_an_error(statement: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="unknown"):
        policy(statement)
