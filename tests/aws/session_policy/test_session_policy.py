"""Session policies, by what they mean."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.aws.session_policy.plan.document import PolicyTerms
from sftpgw.aws.session_policy.plan.s3_actions import LIST_BUCKET, actions_for
from sftpgw.aws.session_policy.plan.session_policy import (
    MAX_POLICY_CHARACTERS,
    role_session_name,
    session_policy,
)
from sftpgw.aws.session_policy.plan.static_policy import static_policy
from sftpgw.errors import NoSessionPolicy
from sftpgw.model.mounts import ALL_PERMISSIONS, AccessRule, Mount, Permission
from sftpgw.testing.iam import Decision, IamPolicy, IamRequest

TERMS = PolicyTerms()
READ = Permission.LIST | Permission.DOWNLOAD
OBJECT_ACTIONS = sorted(actions_for(ALL_PERMISSIONS) - {LIST_BUCKET})


def policy_of(*mounts: Mount, terms: PolicyTerms = TERMS) -> IamPolicy:
    return IamPolicy.parse(session_policy("alice", mounts, terms))


def may(policy: IamPolicy, action: str, key: str, bucket: str = "uploads") -> bool:
    arn = f"arn:aws:s3:::{bucket}/{key}"
    return policy.decide(IamRequest(action, arn)) is Decision.ALLOW


def may_list(
    policy: IamPolicy, prefix: str | None, bucket: str = "uploads", delimiter: str = "/"
) -> bool:
    context = {"s3:delimiter": delimiter}
    if prefix is not None:
        context["s3:prefix"] = prefix
    arn = f"arn:aws:s3:::{bucket}"
    return policy.decide(IamRequest(LIST_BUCKET, arn, context)) is Decision.ALLOW


def test_a_home_is_reached_and_nothing_beside_it() -> None:
    policy = policy_of(Mount("uploads", "home/alice/"))
    for action in OBJECT_ACTIONS:
        assert may(policy, action, "home/alice/a")
        assert not may(policy, action, "home/alice2/a")
        assert not may(policy, action, "home/alice")
        assert not may(policy, action, "home/bob/a")
        assert not may(policy, action, ".sftpgw/renames/a")
        assert not may(policy, action, "home/alice/a", "other")
    assert may_list(policy, "home/alice/")
    assert may_list(policy, "home/alice/a/b")
    for prefix in (None, "", "home/", "home/alice", "home/alice2/", ".sftpgw/"):
        assert not may_list(policy, prefix)
    assert not may_list(policy, "home/alice/", "other")


def test_names_of_uploads_are_never_shown() -> None:
    """That action knows no prefix, so it would show those of all users."""
    policy = policy_of(Mount("uploads", ""), Mount("uploads", "home/alice/", path=("a",)))
    request = IamRequest(
        "s3:ListBucketMultipartUploads", "arn:aws:s3:::uploads", {"s3:prefix": "a"}
    )
    assert policy.decide(request) is Decision.IMPLICIT_DENY


@pytest.mark.parametrize("granted", list(Permission))
def test_a_permission_gives_what_its_requests_need_and_no_more(granted: Permission) -> None:
    policy = policy_of(Mount("uploads", "in/", permissions=granted))
    needed = actions_for(granted)
    assert [action for action in OBJECT_ACTIONS if may(policy, action, "in/a")] == sorted(
        needed - {LIST_BUCKET}
    )
    assert may_list(policy, "in/") is (LIST_BUCKET in needed)


def test_a_drop_box_can_neither_read_nor_list() -> None:
    policy = policy_of(Mount("uploads", "in/", permissions=Permission.UPLOAD))
    assert may(policy, "s3:PutObject", "in/a")
    assert may(policy, "s3:AbortMultipartUpload", "in/a")
    assert not may(policy, "s3:GetObject", "in/a")
    assert not may_list(policy, "in/")


def test_who_sees_nothing_can_neither_read_nor_list_whatever_else_is_permitted() -> None:
    """``overwrite`` gave s3:GetObject, and ``delete`` and ``mkdir`` gave s3:ListBucket."""
    granted = Permission.UPLOAD | Permission.OVERWRITE | Permission.DELETE | Permission.MKDIR
    policy = policy_of(Mount("uploads", "in/", permissions=granted))
    for action in ("s3:PutObject", "s3:AbortMultipartUpload", "s3:DeleteObject"):
        assert may(policy, action, "in/a")
    for action in ("s3:GetObject", "s3:GetObjectTagging", "s3:PutObjectTagging"):
        assert not may(policy, action, "in/a")
    assert not may_list(policy, "in/")
    for more in (Permission.RENAME, Permission.SETSTAT):  # copies of what the session has stored
        policy = policy_of(Mount("uploads", "in/", permissions=granted | more))
        assert may(policy, "s3:GetObject", "in/a")
        assert not may_list(policy, "in/")


def test_characters_with_a_meaning_stand_for_themselves() -> None:
    policy = policy_of(Mount("uploads", "a*b/c?d/${x}/"))
    assert may(policy, "s3:GetObject", "a*b/c?d/${x}/file")
    assert may_list(policy, "a*b/c?d/${x}/")
    for key in ("aab/c?d/${x}/file", "a*b/ccd/${x}/file", "a/b/c?d/${x}/file"):
        assert not may(policy, "s3:GetObject", key)
        assert not may_list(policy, key)


def test_state_is_denied_where_a_mount_would_cover_it() -> None:
    policy = policy_of(Mount("uploads", ""))
    assert may(policy, "s3:GetObject", ".sftpgw")
    assert may(policy, "s3:GetObject", ".sftpgwx/a")
    assert not may(policy, "s3:GetObject", ".sftpgw/a")
    assert may_list(policy, "")
    assert may_list(policy, "home/", delimiter="")
    for prefix in ("", ".", ".sft", ".sftpgw"):
        assert not may_list(policy, prefix, delimiter="")
    assert not may_list(policy, ".sftpgw/")


def test_rules_of_paths() -> None:
    rules = (
        AccessRule(("in", "seen"), READ),
        AccessRule(("in",), Permission.UPLOAD),
        AccessRule(("out",), READ),
    )
    policy = policy_of(Mount("uploads", "h/", permissions=Permission.LIST, rules=rules))
    assert may(policy, "s3:PutObject", "h/in/a")
    assert not may(policy, "s3:GetObject", "h/in/a")
    assert not may(policy, "s3:PutObject", "h/out/a")
    assert may(policy, "s3:GetObject", "h/out/a")
    assert may(policy, "s3:GetObject", "h/in/seen/a")
    assert not may(policy, "s3:GetObject", "h/a")


def test_a_rule_that_takes_away_is_a_denial() -> None:
    policy = policy_of(Mount("uploads", "h/", rules=(AccessRule(("in",), Permission.UPLOAD),)))
    assert may(policy, "s3:GetObject", "h/a")
    assert may(policy, "s3:PutObject", "h/in/a")
    assert not may(policy, "s3:GetObject", "h/in/a")
    assert not may_list(policy, "h/in/")


def test_what_another_mount_needs_is_not_denied() -> None:
    policy = policy_of(
        Mount("uploads", "h/", rules=(AccessRule(("in",), Permission.UPLOAD),)),
        Mount("uploads", "h/in/deep/", permissions=READ, path=("x",)),
    )
    assert may(policy, "s3:GetObject", "h/in/deep/a")
    assert may_list(policy, "h/in/deep/")


def test_access_points_and_tenants() -> None:
    arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint/alice"
    text = session_policy("alice", (Mount(arn, "a/"), Mount("tenant:b", "", path=("t",))), TERMS)
    assert f"{arn}/object/a/*" in text
    assert "arn:aws:s3::tenant:b/*" in text
    with pytest.raises(NoSessionPolicy, match="Write the ARN of the access point"):
        session_policy("alice", (Mount("alice-abc-s3alias", "a/"),), TERMS)


def test_keys_of_kms_are_used_through_s3_only() -> None:
    key = "arn:aws:kms:eu-west-1:123456789012:key/1"
    policy = policy_of(Mount("uploads", "a/"), terms=PolicyTerms(kms_keys=(key,)))
    through_s3 = {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}
    assert policy.decide(IamRequest("kms:GenerateDataKey", key, through_s3)) is Decision.ALLOW
    assert policy.decide(IamRequest("kms:Decrypt", key)) is Decision.IMPLICIT_DENY
    reads = policy_of(Mount("uploads", "a/", permissions=READ), terms=PolicyTerms(kms_keys=(key,)))
    assert (
        reads.decide(IamRequest("kms:GenerateDataKey", key, through_s3)) is Decision.IMPLICIT_DENY
    )


def test_a_policy_that_is_too_long_leaves_rules_out_and_then_is_refused() -> None:
    rules = tuple(AccessRule((f"partner-{n:03}",), Permission.UPLOAD) for n in range(60))
    policy = policy_of(Mount("uploads", "h/", permissions=READ, rules=rules))
    assert may(policy, "s3:GetObject", "h/partner-001/a")  # no wider than the mount, and so short
    assert not may(policy, "s3:DeleteObject", "h/partner-001/a")
    assert not may(policy, "s3:GetObject", "other/a")
    mounts = tuple(Mount("uploads", f"partner-{n:03}/in/", path=(f"{n}",)) for n in range(60))
    with pytest.raises(
        NoSessionPolicy, match=r"AWS takes 2048\. Give the user fewer mounts"
    ) as refused:
        session_policy("alice", mounts, TERMS)
    assert refused.value.message.startswith("alice: ")


def test_a_mount_under_the_state_prefix_is_refused() -> None:
    with pytest.raises(NoSessionPolicy, match="state_prefix"):
        session_policy("alice", (Mount("uploads", ".sftpgw/renames/"),), TERMS)


names = st.text(st.sampled_from("ab*?$/{}."), min_size=1, max_size=4).map(
    lambda text: text.strip("/").replace("//", "/") or "a"
)
permissions = st.lists(st.sampled_from(list(Permission)), max_size=3).map(
    lambda granted: Permission(sum(each.value for each in set(granted)))
)


@st.composite
def made_mounts(draw: st.DrawFn) -> tuple[Mount, ...]:
    made = []
    for number in range(draw(st.integers(1, 3))):
        path = (f"m{number}",) if number else ()
        rules = [
            AccessRule((*path, *draw(names).split("/")), draw(permissions))
            for _ in range(draw(st.integers(0, 3)))
        ]
        rules.sort(key=lambda rule: -len(rule.path))
        prefix = draw(st.just("") | names.map(lambda name: f"{name}/"))
        bucket = draw(st.sampled_from(["uploads", "other"]))
        made.append(Mount(bucket, prefix, "", draw(permissions), path, tuple(rules)))
    return tuple(made)


@given(made_mounts(), st.sampled_from(["uploads", "other"]), names, st.sampled_from(OBJECT_ACTIONS))
def test_it_allows_what_the_gate_may_need_and_nothing_outside_of_the_mounts(
    mounts: tuple[Mount, ...], bucket: str, key: str, action: str
) -> None:
    text = session_policy("alice", mounts, PolicyTerms(state_prefix=""))
    assert len(text) <= MAX_POLICY_CHARACTERS
    policy = IamPolicy.parse(text)
    around = [m for m in mounts if m.bucket == bucket and key.startswith(m.key_prefix)]
    needed_here = any(
        action in actions_for(m.access_at((*m.path, *_segments(m, key))[:-1]).permissions)
        and action in actions_for(m.access_at((*m.path, *_segments(m, key))).permissions)
        for m in around
    )
    of_mounts = any(
        action in actions_for(each)
        for m in around
        for each in (m.permissions, *(rule.permissions for rule in m.rules))
    )
    allowed = may(policy, action, key, bucket)
    assert allowed or not needed_here
    assert of_mounts or not allowed


def _segments(mount: Mount, key: str) -> list[str]:
    return key[len(mount.key_prefix) :].split("/")


def test_session_names_differ_and_are_what_sts_takes() -> None:
    users = ["alice", "Alice", "al ice", "al-ice", "a" * 32, "a" * 33, "a" * 34, "ünï", "a=b", ""]
    found = [role_session_name(user) for user in users]
    assert len(set(found)) == len(users)
    assert found[0] == "sftpgw-alice"
    for name in found:
        assert 2 <= len(name) <= 64
        assert all(c.isalnum() or c in "_=,.@-" for c in name)
        assert name.isascii()


def test_the_static_policy_has_the_variables_of_transfer_family() -> None:
    mounts = (
        Mount("uploads", "home/alice/"),
        Mount("uploads", "home/alice/in/", path=("in",), permissions=READ),
        Mount("shared", "drop/alice/$x/", path=("shared",), permissions=Permission.UPLOAD),
    )
    text = static_policy("alice", mounts, TERMS)
    json.loads(text)
    assert "alice" not in text
    assert "arn:aws:s3:::${transfer:HomeBucket}/${transfer:HomeFolder}/*" in text
    assert "arn:aws:s3:::shared/drop/${transfer:UserName}/${$}x/*" in text
    policy = IamPolicy.parse(text)
    bob = {
        "transfer:HomeBucket": "uploads",
        "transfer:HomeFolder": "home/bob",
        "transfer:UserName": "bob",
    }
    for key, is_allowed in (("home/bob/a", True), ("home/alice/a", False)):
        request = IamRequest("s3:GetObject", f"arn:aws:s3:::uploads/{key}", bob)
        assert (policy.decide(request) is Decision.ALLOW) is is_allowed
