"""Password hashes: which can be used, what matches, and what a refusal costs."""

from __future__ import annotations

from collections import Counter

import argon2
import bcrypt
import pytest

from sftpgw.auth.passwords import DEFAULT_DECOY, Decoys, check_password_hash, matches


def bcrypt_hash(password: bytes, prefix: bytes = b"2b", cost: int = 4) -> str:
    text = bcrypt.hashpw(password, bcrypt.gensalt(cost)).decode("ascii")
    return text.replace("$2b$", f"${prefix.decode('ascii')}$", 1)


def argon2_hash(password: bytes, memory_kib: int = 64) -> str:
    return argon2.PasswordHasher(time_cost=1, memory_cost=memory_kib, parallelism=1).hash(password)


@pytest.mark.parametrize("prefix", [b"2a", b"2b", b"2y"])
def test_bcrypt_of_every_prefix(prefix: bytes) -> None:
    text = bcrypt_hash(b"secret", prefix)
    check_password_hash(text)
    assert matches(b"secret", text)
    assert not matches(b"Secret", text)


@pytest.mark.parametrize("variety", [argon2.Type.ID, argon2.Type.I, argon2.Type.D])
def test_argon2_of_every_variety(variety: argon2.Type) -> None:
    hasher = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1, type=variety)
    text = hasher.hash("geheim ü")
    check_password_hash(text)
    assert matches("geheim ü".encode(), text)
    assert not matches(b"geheim", text)


@pytest.mark.parametrize("make", [bcrypt_hash, argon2_hash])
def test_an_empty_password_never_matches(make) -> None:
    text = make(b"")
    check_password_hash(text)
    assert not matches(b"", text)


def test_bcrypt_takes_72_bytes_and_refuses_more_without_an_error() -> None:
    text = bcrypt_hash(b"p" * 72)
    assert matches(b"p" * 72, text)
    assert not matches(b"p" * 73, text)


def test_argon2_refuses_absurdly_long_passwords() -> None:
    text = argon2_hash(b"p" * 1024)
    assert matches(b"p" * 1024, text)
    assert not matches(b"p" * 1025, text)


@pytest.mark.parametrize("password", [b"\xff\xfe", b"a\0b"])
@pytest.mark.parametrize("make", [bcrypt_hash, argon2_hash])
def test_odd_bytes_are_a_wrong_password_and_no_error(make, password: bytes) -> None:
    assert not matches(password, make(b"secret"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not a password"),
        ("secret", "not a password"),
        ("$6$salt$hash", "not a password"),
        ("$2b$12$short", "bcrypt"),
        (bcrypt_hash(b"x") + "x", "bcrypt"),
        (DEFAULT_DECOY.replace("$12$", "$31$"), "cost"),
        (DEFAULT_DECOY.replace("$12$", "$03$"), "cost"),
        ("$argon2id$nonsense", "argon2"),
        (argon2_hash(b"x").replace("m=64", "m=99999999"), "memory"),
        (argon2_hash(b"x").replace("t=1", "t=9999"), "time cost"),
    ],
    ids=lambda value: value[:7],  # without the salt
)
def test_an_unusable_hash_is_explained_without_quoting_it(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        check_password_hash(text)
    assert not text or text not in str(caught.value)


def test_names_that_do_not_exist_take_the_times_of_those_that_do() -> None:
    rare, common, same = argon2_hash(b"a"), bcrypt_hash(b"b", cost=5), bcrypt_hash(b"c", cost=6)
    decoys = Decoys([rare, common, same])
    names = [b"name%d" % number for number in range(3000)]
    chosen = Counter(decoys.hash_for(name) for name in names)
    assert set(chosen) == {rare, common, same}
    assert min(chosen.values()) > 800
    # Like a user's own hash: always the same, also after a restart.
    again = Decoys([same, rare, common])
    assert [again.hash_for(name) for name in names] == [decoys.hash_for(name) for name in names]
    # Which name has which hash depends on all hashes, which are secret.
    others = Decoys([argon2_hash(b"a"), bcrypt_hash(b"b", cost=5), bcrypt_hash(b"c", cost=6)])
    assert [others.hash_for(name)[:3] for name in names] != [
        decoys.hash_for(name)[:3] for name in names
    ]


def test_without_hashes_there_is_a_decoy_that_bcrypt_accepts() -> None:
    decoy = Decoys([]).hash_for(b"nobody")
    check_password_hash(decoy)
    # A malformed hash would return at once, without taking the time.
    with pytest.raises(ValueError, match="salt"):
        bcrypt.checkpw(b"x", decoy[:20].encode("ascii"))
    assert bcrypt.checkpw(b"x", decoy.encode("ascii")) is False
