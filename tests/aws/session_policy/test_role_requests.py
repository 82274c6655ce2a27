"""What AssumeRole is asked for: whose role, which policy, which tags."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import pytest_twisted
from botocore.credentials import ReadOnlyCredentials
from twisted.internet.defer import execute

from sftpgw.aws.session_policy.plan.role_requests import RoleRequest, RoleTerms, check_roles
from sftpgw.aws.session_policy.plan.session_policy import MAX_POLICY_CHARACTERS
from sftpgw.aws.session_policy.plan.transfer_policy import MAX_TEMPLATE_CHARACTERS, filled_policy
from sftpgw.aws.session_policy.role_trial import try_roles
from sftpgw.aws.session_policy.sts_client import IssuedCredentials, RoleRefused
from sftpgw.errors import NoSessionPolicy
from sftpgw.model.mounts import Mount
from sftpgw.model.object_settings import Encryption, ObjectSettings
from sftpgw.model.settings import StoreSettings
from sftpgw.model.users import AssumedRole, User
from sftpgw.testing.iam import Decision, IamPolicy, IamRequest

ROLE = "arn:aws-cn:iam::123456789012:role/partners"
STORE = StoreSettings(bucket="bucket", role_arn=ROLE, scoped_credentials=True, region="cn-north-1")
ALICE = User.with_home("alice", "bucket", "home/alice/")
KEY_ARN = "arn:aws-cn:kms:cn-north-1:123456789012:key/k"


def request_for(user: User = ALICE, store: StoreSettings = STORE, *others: str) -> RoleRequest:
    return RoleTerms(store, others).request_for(user)


def may(request: RoleRequest, action: str, arn: str, **context: str) -> bool:
    asked = IamRequest(action, arn, {name.replace("_", ":"): v for name, v in context.items()})
    return IamPolicy.parse(request.policy).decide(asked) is Decision.ALLOW


def test_a_request_has_role_name_policy_and_tags() -> None:
    tags = (("user", "{username}"), ("team", "x"))
    request = request_for(store=replace(STORE, session_tags=tags))
    assert (request.user, request.role_arn, request.session_name) == ("alice", ROLE, "sftpgw-alice")
    assert request.tags == (("user", "alice"), ("team", "x"))
    assert may(request, "s3:GetObject", "arn:aws-cn:s3:::bucket/home/alice/a")
    assert not may(request, "s3:GetObject", "arn:aws-cn:s3:::bucket/home/bob/a")


def test_characters_that_no_tag_has_are_replaced() -> None:
    user = User.with_home("jörg*<x>", "bucket", "home/j/")
    request = request_for(user, replace(STORE, session_tags=(("user", "{username}"),)))
    assert request.tags == (("user", "jörg__x_"),)


def test_the_role_of_the_user_wins() -> None:
    user = replace(ALICE, role=AssumedRole("arn:aws:iam::1:role/r"))
    assert request_for(user).role_arn == "arn:aws:iam::1:role/r"
    assert may(request_for(user), "s3:GetObject", "arn:aws:s3:::bucket/home/alice/a")


def test_the_policy_of_the_user_counts_in_place_of_ours() -> None:
    user = replace(ALICE, role=AssumedRole(policy="{}"))
    assert (request_for(user).role_arn, request_for(user).policy) == (ROLE, "{}")


def test_each_store_has_a_policy_for_its_own_mounts() -> None:
    user = User("alice", (Mount("bucket", "a/"), Mount("far:files", "b/", path=("far",))))
    far = replace(STORE, name="far")
    here, there = request_for(user, STORE, "far"), request_for(user, far, "far")
    assert may(here, "s3:GetObject", "arn:aws-cn:s3:::bucket/a/x")
    assert may(there, "s3:GetObject", "arn:aws-cn:s3:::files/b/x")
    assert "files" not in here.policy
    assert "bucket" not in there.policy


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"sse": Encryption.KMS, "sse_kms_key": KEY_ARN}, KEY_ARN),
        ({"sse": Encryption.KMS_DSSE, "sse_kms_key": "k"}, KEY_ARN),
        ({"sse": Encryption.KMS}, None),
        ({"sse": Encryption.S3, "sse_kms_key": KEY_ARN}, None),
    ],
)
def test_the_key_of_kms_is_in_the_policy(settings: dict[str, Any], key: str | None) -> None:
    mounted = replace(ALICE.mounts[0], objects=ObjectSettings(**settings))
    for user, store in (
        (ALICE, replace(STORE, **settings)),
        (replace(ALICE, mounts=(mounted,)), STORE),
    ):
        request = request_for(user, store)
        granted = may(request, "kms:Decrypt", KEY_ARN, kms_ViaService="s3.cn-north-1.amazonaws.com")
        assert granted is (key is not None)
        assert not may(request, "kms:Decrypt", KEY_ARN, kms_ViaService="ec2.amazonaws.com")


def test_tags_and_acls_of_the_settings_are_allowed() -> None:
    arn = "arn:aws-cn:s3:::bucket/home/alice/a"
    assert not may(request_for(), "s3:PutObjectAcl", arn)
    store = replace(STORE, acl="private", tags=(("a", "b"),))
    request = request_for(store=store)
    assert may(request, "s3:PutObjectAcl", arn)
    assert may(request, "s3:PutObjectTagging", arn)


@pytest.mark.parametrize(
    ("user", "store", "fault"),
    [
        (ALICE, replace(STORE, role_arn=""), "alice: has no role to assume"),
        (
            ALICE,
            replace(STORE, sse=Encryption.KMS, sse_kms_key="alias/mine"),
            "alice: alias/mine is the alias of a KMS key",
        ),
        (
            User(
                "alice",
                tuple(Mount("bucket", f"{n:03}{'x' * 60}/", path=(str(n),)) for n in range(40)),
            ),
            STORE,
            "alice: the session policy needs",
        ),
    ],
)
def test_what_cannot_be_asked_for_is_an_error_that_names_the_user(
    user: User, store: StoreSettings, fault: str
) -> None:
    with pytest.raises(NoSessionPolicy, match=fault):
        check_roles(user, (store,))
    check_roles(user, (replace(store, scoped_credentials=False),))


def test_a_store_without_mounts_of_the_user_asks_for_no_role() -> None:
    far = replace(STORE, name="far", role_arn="")
    check_roles(ALICE, (STORE, far))


@pytest_twisted.ensureDeferred
async def test_check_tries_each_role_for_the_first_user_who_needs_it() -> None:
    guest = replace(User.with_home("guest", "bucket", "g/"), role=AssumedRole(f"{ROLE}-guest"))
    others = (User.with_home("bob", "bucket", "home/bob/"), User("eve", (Mount("far:b", "e/"),)))
    asked: list[RoleRequest] = []

    def assume(request: RoleRequest) -> IssuedCredentials:
        asked.append(request)
        if request.user == "guest":
            raise RoleRefused("not authorized", code="AccessDenied", is_passing=False)
        return IssuedCredentials(ReadOnlyCredentials("a", "s", "t"), 1.0)

    terms, users = RoleTerms(STORE, ("far",)), (ALICE, guest, *others)
    tried = try_roles(terms, users, assume, execute)
    assert [each async for each in tried] == [
        (ROLE, "alice", ""),
        (f"{ROLE}-guest", "guest", "AccessDenied: not authorized"),
    ]
    assert [request.user for request in asked] == ["alice", "guest"]


# Policies of AWS Transfer Family.

TRANSFER = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": ["arn:aws:s3:::${transfer:HomeBucket}"],
                "Condition": {
                    "StringLike": {
                        "s3:prefix": ["${transfer:HomeFolder}/*", "${transfer:HomeFolder}"]
                    }
                },
            },
            {
                "Effect": "Allow",
                "Action": ["s3:PutObject", "s3:GetObject"],
                "Resource": "arn:aws:s3:::${transfer:HomeDirectory}/*",
            },
        ],
    },
    indent=2,
)
"""https://docs.aws.amazon.com/transfer/latest/userguide/session-policy.html"""


def test_the_variables_of_transfer_are_filled_in() -> None:
    policy = IamPolicy.parse(filled_policy(TRANSFER, "alice", ALICE.mounts[0]))

    def allows(action: str, arn: str, prefix: str = "") -> bool:
        context = {"s3:prefix": prefix} if prefix else {}
        return policy.decide(IamRequest(action, arn, context)) is Decision.ALLOW

    assert allows("s3:GetObject", "arn:aws:s3:::bucket/home/alice/x")
    assert not allows("s3:GetObject", "arn:aws:s3:::bucket/home/alicex")
    assert allows("s3:ListBucket", "arn:aws:s3:::bucket", "home/alice/x")
    assert not allows("s3:ListBucket", "arn:aws:s3:::bucket", "home/bob/")


def test_values_stand_for_themselves() -> None:
    home = Mount("bucket", 'home/*"?${x}/')
    policy = IamPolicy.parse(filled_policy(TRANSFER, "alice", home))
    arn = "arn:aws:s3:::bucket/home/"
    granted = policy.decide(IamRequest("s3:GetObject", f'{arn}*"?${{x}}/a'))
    assert granted is Decision.ALLOW
    other = policy.decide(IamRequest("s3:GetObject", f'{arn}bob"y${{x}}/a'))
    assert other is Decision.IMPLICIT_DENY


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("x" * (MAX_TEMPLATE_CHARACTERS + 1), "Policy of over"),
        ("nonsense", "not the JSON of a policy"),
        ("[1]", "not the JSON of a policy"),
        ("[" * 5000, "not the JSON of a policy"),
        ('{"Statement": []}', "not the JSON of a policy"),
        ('{"Statement": ["${transfer:Nothing}"]}', "a variable of transfer: that is unknown"),
        (json.dumps({"Statement": ["x" * MAX_POLICY_CHARACTERS]}), "characters, and AWS takes"),
    ],
)
def test_what_is_no_policy_is_refused(text: str, fault: str) -> None:
    with pytest.raises(NoSessionPolicy, match=fault):
        filled_policy(text, "alice", ALICE.mounts[0])
