"""Which keys and certificates open which account, and what the log is told."""

from __future__ import annotations

import gc
import hashlib
import sys
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import Deferred

from sftpgw.auth.authenticator import KeyGrant, KeyRefusal, LoginAttempt
from sftpgw.auth.authorized_keys import read_authorized_key
from sftpgw.auth.checkers import KeyAuthorised, PublicKeyChecker, RefusedProof, UnfitKey
from sftpgw.auth.key_rules import KeyRules, is_withdrawn
from sftpgw.auth.login_credentials import KeyCredentials
from sftpgw.auth.login_keys import USER_PRESENT, USER_VERIFIED
from sftpgw.auth.offered_keys import key_facts, read_offered_key
from sftpgw.auth.passwords import Decoys
from sftpgw.auth.revocation_lists import read_revoked_keys
from sftpgw.auth.sources.static import StaticUserDirectory
from sftpgw.auth.user_records import RecordAuthenticator
from sftpgw.model.key_trust import (
    ALL_AUTHORITIES,
    NO_TRUST,
    KeyTrust,
    RevokedCertificates,
    RevokedKeys,
)
from sftpgw.model.users import LoginRules, User
from sftpgw.testing.ssh_pairs import call_at_once, make_user, new_key
from tests.auth.certificate_bytes import (
    Certificate,
    SecurityKey,
    certificates_section,
    krl,
    serials,
)
from tests.results import failure_of, result_of

NOW = 1_800_000_000.0
PEER = "192.0.2.1"
KEY, AUTHORITY, OWN_AUTHORITY = new_key(), new_key(), new_key()
BLOB = KEY.public().blob()
GOOD = Certificate(BLOB)
TRUST = KeyTrust(frozenset((AUTHORITY.public().blob(),)))


def line_of(options: str, key: Key = KEY) -> str:
    return f"{options} {key.public().toString('OPENSSH').decode('ascii')}"


def user_with(*lines: str, name: str = "alice", principals: tuple[str, ...] = ()) -> User:
    keys = [read_authorized_key(line) for line in lines]
    login = LoginRules(
        {key.blob: key.options for key in keys if not key.is_authority},
        authorities={key.blob: key.options for key in keys if key.is_authority},
        principals=principals,
    )
    return replace(make_user(name), login=login)


def judged(
    user: User | None,
    blob: bytes,
    *,
    trust: KeyTrust = TRUST,
    peer: str | None = PEER,
    name: str = "alice",
) -> str | int:
    """The reason of a refusal, or the flags that a signature must have."""
    rules = KeyRules(trust, lambda: NOW)
    found = rules.judge(user, read_offered_key(blob), LoginAttempt(name.encode(), peer))
    if isinstance(found, KeyRefusal):
        return found.reason
    assert isinstance(found, KeyGrant)
    assert found.user is user
    return found.required_flags


def test_a_key_with_options() -> None:
    for options, expected in (
        ("", USER_PRESENT),
        ("no-touch-required", 0),
        ('from="192.0.2.0/24"', USER_PRESENT),
        ('from="192.0.3.0/24"', "from= does not admit the address"),
        ('from="*,!192.0.2.1"', "from= does not admit the address"),
        ('expiry-time="20270115075959Z"', "the expiry-time of the key has passed"),
        ('expiry-time="20270115080000Z"', USER_PRESENT),
    ):
        assert judged(user_with(line_of(options)), BLOB) == expected, options
    assert judged(user_with(line_of('from="*"')), BLOB, peer=None) == (
        "from= does not admit the address"
    )
    assert judged(user_with(line_of("", AUTHORITY)), BLOB) == ""
    assert judged(None, BLOB) == ""


def test_the_key_of_an_authority_does_not_log_in_itself() -> None:
    user = user_with(line_of("cert-authority"))
    assert judged(user, BLOB) == ""
    assert judged(user, BLOB, trust=KeyTrust(frozenset((BLOB,)))) == ""


def certified(*, by: Key = AUTHORITY, **changes: Any) -> bytes:
    return replace(GOOD, **changes).signed_by(by)


EXPIRED = "the certificate has expired"
ELSEWHERE = "the certificate is not for this address"
OTHERS = "the certificate is for other principals"


@pytest.mark.parametrize(
    ("blob", "expected"),
    [
        (certified(), USER_PRESENT),
        (certified(principals=(b"bob", b"alice")), USER_PRESENT),
        (certified(principals=(b"bob",)), OTHERS),
        (certified(principals=()), OTHERS),
        (certified(principals=(b"alice*", b"*", b"Alice", b"")), OTHERS),
        (certified(valid_from=int(NOW), valid_until=int(NOW) + 1), USER_PRESENT),
        (certified(valid_from=int(NOW) + 1), "the certificate is not valid yet"),
        (certified(valid_until=int(NOW)), EXPIRED),
        (certified(valid_from=2**64 - 1), "the certificate is not valid yet"),
        (certified(options={b"source-address": b"192.0.2.0/24"}), USER_PRESENT),
        (
            certified(options={b"source-address": b"::/0"}),
            "the certificate is not for this address",
        ),
        (certified(options={b"verify-required": None}), USER_PRESENT | USER_VERIFIED),
        (certified(extensions={b"no-touch-required": None}), 0),
        (
            certified(by=OWN_AUTHORITY),
            "the authority of the certificate is not trusted for this user",
        ),
        (certified(by=KEY), "the authority of the certificate is not trusted for this user"),
    ],
)
def test_certificates_of_a_trusted_authority(blob: bytes, expected: str | int) -> None:
    assert judged(user_with(line_of("")), blob) == expected
    # The plain key in it opens the account, or does not, by itself.
    assert judged(user_with(line_of("")), BLOB) == USER_PRESENT
    assert isinstance(judged(None, blob), str)


def test_principals_of_a_user_stand_in_place_of_the_name() -> None:
    user = user_with(principals=("deploy", "jörg"))
    assert judged(user, certified(principals=(b"deploy",))) == USER_PRESENT
    assert judged(user, certified(principals=("jörg".encode(),))) == USER_PRESENT
    assert judged(user, certified(principals=(b"alice",))) == OTHERS


@pytest.mark.parametrize(
    ("options", "changes", "expected"),
    [
        ("cert-authority", {}, USER_PRESENT),
        ("cert-authority", {"principals": (b"bob",)}, OTHERS),
        ('cert-authority,principals="bob,eve"', {"principals": (b"eve",)}, USER_PRESENT),
        ('cert-authority,principals="bob,eve"', {}, OTHERS),
        ('cert-authority,from="10.*"', {}, "from= does not admit the address"),
        ('cert-authority,expiry-time="20200101"', {}, "the expiry-time of the key has passed"),
        ("cert-authority,verify-required", {}, USER_PRESENT | USER_VERIFIED),
        ("cert-authority,no-touch-required", {}, USER_PRESENT),
        ("cert-authority", {"extensions": {b"no-touch-required": None}}, USER_PRESENT),
        (
            "cert-authority,no-touch-required",
            {"extensions": {b"no-touch-required": None}},
            0,
        ),
        ("cert-authority", {"valid_until": 5}, EXPIRED),
    ],
)
def test_an_authority_of_one_user(
    options: str, changes: dict[str, Any], expected: str | int
) -> None:
    user = user_with(line_of(options, OWN_AUTHORITY))
    assert judged(user, certified(by=OWN_AUTHORITY, **changes)) == expected
    other = user_with(line_of(""), name="bob")
    assert judged(other, certified(by=OWN_AUTHORITY, **changes), name="bob") != USER_PRESENT


REVOKED = "the certificate is revoked"
AUTHORITY_BLOB = AUTHORITY.public().blob()


@pytest.mark.parametrize(
    ("revoked", "plain", "with_certificate"),
    [
        (RevokedKeys(), USER_PRESENT, USER_PRESENT),
        (RevokedKeys(blobs=frozenset((BLOB,))), "the key is revoked", REVOKED),
        (
            RevokedKeys(sha1=frozenset((hashlib.sha1(BLOB).digest(),))),
            "the key is revoked",
            REVOKED,
        ),
        (
            RevokedKeys(sha256=frozenset((hashlib.sha256(BLOB).digest(),))),
            "the key is revoked",
            REVOKED,
        ),
        (
            RevokedKeys(blobs=frozenset((AUTHORITY_BLOB,))),
            USER_PRESENT,
            "the authority of the certificate is revoked",
        ),
        (
            read_revoked_keys(krl(certificates_section(AUTHORITY_BLOB, (0x20, serials((7,)))))),
            USER_PRESENT,
            REVOKED,
        ),
        (
            read_revoked_keys(krl(certificates_section(b"", (0x21, serials((1, 9)))))),
            USER_PRESENT,
            REVOKED,
        ),
        (
            RevokedKeys(
                certificates={
                    ALL_AUTHORITIES: RevokedCertificates(key_ids=frozenset((b"alice@laptop",)))
                }
            ),
            USER_PRESENT,
            REVOKED,
        ),
        (
            read_revoked_keys(krl(certificates_section(BLOB, (0x20, serials((7,)))))),
            USER_PRESENT,
            USER_PRESENT,
        ),
    ],
)
def test_what_is_revoked(
    revoked: RevokedKeys, plain: str | int, with_certificate: str | int
) -> None:
    trust = replace(TRUST, revoked=revoked)
    assert judged(user_with(line_of("")), BLOB, trust=trust) == plain
    assert judged(user_with(), certified(), trust=trust) == with_certificate
    trust, anyone = KeyTrust(frozenset({AUTHORITY.blob()}), revoked), user_with()
    assert is_withdrawn(BLOB, anyone, trust) is isinstance(plain, str), "its sessions end"
    assert is_withdrawn(certified(), anyone, trust) is isinstance(with_certificate, str)


def test_a_certificate_is_withdrawn_with_its_authority() -> None:
    trusted, others = KeyTrust(frozenset({AUTHORITY.blob()})), KeyTrust(frozenset({KEY.blob()}))
    anyone, own = user_with(), user_with(line_of("cert-authority ", AUTHORITY))
    assert not is_withdrawn(certified(), anyone, trusted)
    assert is_withdrawn(certified(), anyone, others)
    assert is_withdrawn(certified(), anyone, NO_TRUST)
    assert not is_withdrawn(certified(), own, NO_TRUST), "the user trusts it"
    assert not is_withdrawn(BLOB, anyone, NO_TRUST), "a key has no authority"


# Through the checker, with signatures.

DEVICE = SecurityKey()
USERS = {
    "alice": user_with(line_of("")),
    "bob": user_with(name="bob"),
    "restricted": user_with(line_of('from="10.*",expiry-time="20300101"'), name="restricted"),
    "many": user_with(
        *(line_of('from="192.0.2.*"', new_key()) for _ in range(40)),
        line_of("cert-authority", new_key()),
        name="many",
        principals=("many",),
    ),
}
MESSAGE = b"to be signed"


def checker() -> PublicKeyChecker:
    rules = KeyRules(TRUST, lambda: NOW)
    directory = StaticUserDirectory(USERS)
    return PublicKeyChecker(
        RecordAuthenticator(directory, call_at_once, Decoys([]), key_rules=rules)
    )


def asked(
    name: str, blob: bytes, algorithm: bytes, signature: bytes | None = None
) -> Deferred[Any]:
    attempt = LoginAttempt(name.encode(), PEER)
    return checker().requestAvatarId(
        KeyCredentials(
            attempt, algorithm=algorithm, blob=blob, message=MESSAGE, signature=signature
        )
    )


ED25519_CERT = b"ssh-ed25519-cert-v01@openssh.com"


def test_a_certificate_logs_in_with_the_signature_of_its_key() -> None:
    failure_of(asked("alice", certified(), ED25519_CERT)).trap(KeyAuthorised)
    done = asked("alice", certified(), ED25519_CERT, KEY.sign(MESSAGE))
    assert result_of(done).name == "alice"
    failure_of(asked("alice", certified(), ED25519_CERT, AUTHORITY.sign(MESSAGE))).trap(
        RefusedProof
    )
    failure_of(asked("bob", certified(), ED25519_CERT, KEY.sign(MESSAGE))).trap(RefusedProof)


@pytest.mark.parametrize("algorithm", [b"rsa-sha2-256", b"rsa-sha2-512", b"ssh-rsa"])
def test_an_rsa_certificate_signs_with_what_it_announces(algorithm: bytes) -> None:
    key = Key(rsa.generate_private_key(65537, 2048))
    blob = Certificate(key.public().blob()).signed_by(AUTHORITY)
    signature = key.sign(MESSAGE, signatureType=algorithm)
    announced = algorithm + b"-cert-v01@openssh.com"
    assert result_of(asked("alice", blob, announced, signature)).name == "alice"
    for other in {b"rsa-sha2-256", b"rsa-sha2-512"} - {algorithm}:
        wrong = asked("alice", blob, other + b"-cert-v01@openssh.com", signature)
        failure_of(wrong).trap(RefusedProof)


@pytest.mark.parametrize(
    ("blob", "algorithm"),
    [
        (certified(), b"ssh-ed25519"),
        (BLOB, ED25519_CERT),
        (certified(), b"rsa-sha2-256-cert-v01@openssh.com"),
        (certified(), b""),
        (certified(kind=2), ED25519_CERT),
        (certified()[:-1], ED25519_CERT),
    ],
)
def test_a_key_and_a_certificate_are_not_mixed_up(blob: bytes, algorithm: bytes) -> None:
    failure_of(asked("alice", blob, algorithm, KEY.sign(MESSAGE))).trap(UnfitKey)


@pytest.mark.parametrize(
    ("changes", "flags", "is_enough"),
    [
        ({}, 0, False),
        ({}, USER_PRESENT, True),
        ({"extensions": {b"no-touch-required": None}}, 0, True),
        ({"options": {b"verify-required": None}}, USER_PRESENT, False),
        ({"options": {b"verify-required": None}}, USER_PRESENT | USER_VERIFIED, True),
    ],
)
def test_a_certified_fido_key_tells_what_it_must(
    changes: dict[str, Any], flags: int, is_enough: bool
) -> None:
    blob = Certificate(DEVICE.blob, **changes).signed_by(AUTHORITY)
    algorithm = b"sk-ssh-ed25519-cert-v01@openssh.com"
    done = asked("alice", blob, algorithm, DEVICE.sign(MESSAGE, flags))
    if is_enough:
        assert result_of(done).name == "alice"
    else:
        failure_of(done).trap(RefusedProof)


def test_the_log_names_the_key_and_the_certificate() -> None:
    plain, none = key_facts(BLOB)
    assert none is None
    fingerprint, certificate = key_facts(certified(key_id=b"a\nb"))
    assert fingerprint == plain
    assert certificate is not None
    assert certificate.startswith("a\\x0ab serial 7 by SHA256:")
    assert key_facts(certified()[:100])[1] is None


def calls_for(name: str, blob: bytes, algorithm: bytes) -> int:
    """How many calls of Python and C a question about a key makes."""
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    one = checker()
    attempt = LoginAttempt(name.encode(), PEER)
    question = KeyCredentials(attempt, algorithm=algorithm, blob=blob, message=None, signature=None)
    outcomes: list[Any] = []
    gc.disable()
    sys.setprofile(count)
    try:
        one.requestAvatarId(question).addErrback(outcomes.append)
    finally:
        sys.setprofile(None)
        gc.enable()
    outcomes[0].trap(RefusedProof)
    return calls


@pytest.mark.parametrize(
    ("blob", "algorithm"),
    [
        (new_key().public().blob(), b"ssh-ed25519"),
        (certified(principals=(b"someone",)), ED25519_CERT),
        (certified(by=new_key(), principals=(b"someone",)), ED25519_CERT),
        (certified(valid_until=5), ED25519_CERT),
    ],
    ids=["key", "trusted authority", "unknown authority", "expired"],
)
def test_a_refusal_is_the_same_work_for_known_and_unknown_users(
    blob: bytes, algorithm: bytes
) -> None:
    """Whatever options, authorities and principals they have, and however many."""
    unknown = calls_for("unknown", blob, algorithm)
    for name in USERS:
        assert calls_for(name, blob, algorithm) == unknown, name
