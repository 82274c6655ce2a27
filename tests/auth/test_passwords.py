"""Password hashes: which can be used, what matches, and what a refusal costs."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter

import argon2
import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.auth.passwords import (
    DEFAULT_DECOY,
    MAX_KINDS,
    Decoys,
    check_password_hash,
    hash_password,
    matches,
    needs_rehash,
)

UMLAUT = "schlüssel".encode()

# What other programs have written: the C library, passlib, and SFTPGo's documentation.
FOREIGN = {
    "crypt": (
        b"Hello world!",
        (
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcb"
            "YEdFCoEOfaS35inz1"
        ),
    ),
    "crypt-rounds": (
        b"Hello world!",
        (
            "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0"
            "Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v."
        ),
    ),
    "crypt-long": (
        UMLAUT * 10,
        (
            "$6$rounds=1000$a$b5n/KWXA8MlL36AE4Z4xL7crKegtmJTPyxJcsn8LUi3Dd6YDlCvgzgAPAg5e/3kZdTcGQ"
            "GkhLj1CK9dU9plLv."
        ),
    ),
    "crypt-longest": (
        b"p" * 256,
        (
            "$6$rounds=1400$./x$kXtI.351vj/B7VcgpPf5F7.a9wkDVXdPDnyW.l0DXJgjcSzgh59m7HZfNOQTmsyFbdd"
            "hfcfJ8LVEu2w6hQd7a."
        ),
    ),
    "passlib-1": (UMLAUT, "$pbkdf2$10$c2FsdHNhbHT/.w$WaHEAZjUTsxaT5i1IsYsYnrAMxQ"),
    "passlib-256": (
        UMLAUT,
        "$pbkdf2-sha256$10$c2FsdHNhbHT/.w$k2NCdsZ./2xN86ReZVI3CPb4FNIul/tTCNebHatVJzQ",
    ),
    "passlib-512": (
        UMLAUT,
        (
            "$pbkdf2-sha512$10$c2FsdHNhbHT/.w$lrCGrsjBuK5oHkg4w9CCWi1R4j7meLCfSZ3Osi4xuQX5Bk3ux2wie"
            "pqcH7PoB36XfZSO.YZ4Rrt9AQAXo21jVQ"
        ),
    ),
    "sftpgo": (
        b"password",
        "$pbkdf2-sha256$150000$E86a9YMX3zC7$R5J62hsSq+pYw00hLLPKBbcGXmq7fj5+/M0IFoYtZbo=",
    ),
    "ssha": (UMLAUT, "{SSHA}zbn/drKkxIDGG1uAf/HUGP4zuqBzYWx0c2FsdA=="),
    "ssha256": (UMLAUT, "{SSHA256}2EDegKNKohh0/y1lAeTy1vlwHG16py7TxPcCJ4pg8PZzYWx0c2FsdA=="),
    "ssha512": (
        UMLAUT,
        (
            "{SSHA512}D67EGG+nW9nO2aaWxzaQpquriK2eOxO1C85Z8NjdILCiZOOiJ0j6AECtbf6lVUWrmJynTBCkhcuo7"
            "ticRD19GHNhbHRzYWx0"
        ),
    ),
}


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


@pytest.mark.parametrize("name", FOREIGN)
def test_hashes_that_other_programs_have_written(name: str) -> None:
    password, text = FOREIGN[name]
    check_password_hash(text)
    assert matches(password, text)
    assert not matches(password[:-1], text)
    assert not matches(password + b"x", text)
    assert not matches(b"", text)
    assert not matches(password * 1000, text)
    assert needs_rehash(text)


def test_sftpgos_salt_may_be_in_base64() -> None:
    salt, digest = b"\xffsalt", hashlib.pbkdf2_hmac("sha256", b"secret", b"\xffsalt", 7)
    text = "$".join(map(str, ("", "pbkdf2-b64salt-sha256", 7, encoded(salt), encoded(digest))))
    check_password_hash(text)
    assert matches(b"secret", text)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


@pytest.mark.parametrize(
    ("text", "is_strong"),
    [
        (hash_password(b"secret"), True),
        (argon2_hash(b"secret"), False),
        (DEFAULT_DECOY, True),
        (DEFAULT_DECOY.replace("$12$", "$10$"), False),
    ],
)
def test_strong_hashes_are_kept(text: str, is_strong: bool) -> None:
    assert needs_rehash(text) is not is_strong


BEGINNINGS = ("$argon2id$", "$2b$12$", "$6$rounds=", "$pbkdf2-sha256$9$", "{SSHA}", "{SSHA512}")


@given(st.sampled_from(BEGINNINGS), st.text(max_size=120))
def test_any_text_is_a_hash_or_a_value_error(beginning: str, text: str) -> None:
    try:
        check_password_hash(beginning + text)
    except ValueError as problem:
        assert not text or beginning + text not in str(problem)


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
        ("$6$salt$hash", "sha512-crypt"),
        ("$5$salt$hash", "not a password"),
        (FOREIGN["crypt"][1].replace("$6$", "$6$rounds=999$"), "rounds"),
        (FOREIGN["crypt"][1].replace("$6$", "$6$rounds=1000001$"), "rounds"),
        (FOREIGN["passlib-256"][1].replace("$10$", "$5000001$"), "rounds"),
        (FOREIGN["passlib-256"][1].replace("$10$", "$0$"), "rounds"),
        (FOREIGN["passlib-256"][1].replace("-sha256", "-sha512"), "length of sha512"),
        (FOREIGN["passlib-256"][1] + "A", "pbkdf2"),
        ("$pbkdf2-md5$10$c2FsdA$aaaa", "pbkdf2"),
        ("{SSHA}zbn/drKkxIDGG1uAf/HUGP4zuqA=", "salt"),
        ("{SSHA512}zbn/drKkxIDGG1uAf/HUGP4zuqBzYWx0c2FsdA==", "salt"),
        ("{SSHA}zbn!", "SSHA"),
        ("{SHA}zbn/drKkxIDGG1uAf/HUGP4zuqA=", "not a password"),
        ("$2b$12$short", "bcrypt"),
        (bcrypt_hash(b"x") + "x", "bcrypt"),
        (DEFAULT_DECOY.replace("$12$", "$31$"), "cost"),
        (DEFAULT_DECOY.replace("$12$", "$03$"), "cost"),
        ("$argon2id$nonsense", "argon2"),
        (argon2_hash(b"x").replace("m=64", "m=99999999"), "memory"),
        (argon2_hash(b"x").replace("t=1", "t=9999"), "time cost"),
    ],
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


def test_a_decoy_of_each_kind_that_is_learnt() -> None:
    """Users of a table are not known at the start: a name that is unknown costs what they cost."""
    argon2 = "$argon2id$v=19$m=65536,t=3,p=4${}$digest"
    decoys = Decoys(())
    assert decoys.hash_for(b"a") == DEFAULT_DECOY
    decoys.learn(argon2.format("salt"))
    decoys.learn(argon2.format("other"))
    assert decoys.hash_for(b"a") == argon2.format("salt")
    bcrypted = ["$2b$10$" + letter * 53 for letter in "ab"]
    others = ["$6$rounds=9000$salt$digest", "$pbkdf2-sha256$29000$salt$digest", "{SSHA256}abc"]
    for each in (*bcrypted, *others, argon2.format("third").replace("t=3", "t=4")):
        decoys.learn(each)
    found = {decoys.hash_for(b"%d" % number) for number in range(1000)}
    assert found == {
        argon2.format("salt"),
        bcrypted[0],
        *others,
        argon2.format("third").replace("t=3", "t=4"),
    }


def test_decoys_of_the_users_stay_when_one_is_learnt() -> None:
    decoys = Decoys(["$2b$10$" + "a" * 53])
    decoys.learn("$2b$10$" + "b" * 53)
    assert decoys.hash_for(b"x") == "$2b$10$" + "a" * 53


def test_the_kinds_that_are_learnt_are_bounded() -> None:
    decoys = Decoys(())
    for rounds in range(5000, 5000 + 3 * MAX_KINDS):
        decoys.learn(f"$6$rounds={rounds}$salt$digest")
    assert len({decoys.hash_for(b"%d" % number) for number in range(5000)}) == MAX_KINDS


def test_a_kind_that_is_learnt_counts_as_much_as_all_users_of_files() -> None:
    decoys = Decoys("$2b$10$" + f"{number:053}" for number in range(1000))
    decoys.learn("{SSHA256}abc")
    found = [decoys.hash_for(b"%d" % number) for number in range(1000)]
    assert 400 < found.count("{SSHA256}abc") < 600
