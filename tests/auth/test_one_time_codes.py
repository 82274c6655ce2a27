"""One-time codes: which are right, for how long, and that none is right twice."""

from __future__ import annotations

import base64
from dataclasses import replace

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.auth.one_time_codes import (
    FEW_USERS,
    STEP_SECONDS,
    CodeVerifier,
    ProcessTotpMemory,
    WrongCode,
)
from sftpgw.model.users import LoginRules, User
from sftpgw.testing.ssh_pairs import make_user

RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()
NOW = 1_111_111_109
"""One of the times of RFC 6238, appendix B; its code of eight digits ends with that of six."""


def user_of(secret: str | None, name: str = "alice") -> User:
    return replace(make_user(name), login=LoginRules(totp_secret=secret))


class Codes:
    def __init__(self, now: float = NOW) -> None:
        self.now = now
        self.memory = ProcessTotpMemory()
        self.verifier = CodeVerifier(self.memory, lambda: self.now)

    def problem(self, answer: bytes, user: User | None = None) -> str:
        """Why the code is wrong; nothing if it is right."""
        verified = self.verifier.verify(user or user_of(RFC_SECRET), answer)
        try:
            verified.send(None)
        except StopIteration:
            return ""
        except WrongCode as problem:
            return str(problem)
        raise AssertionError("it waits")


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, b"287082"),
        (1_111_111_109, b"081804"),
        (1_111_111_111, b"050471"),
        (1_234_567_890, b"005924"),
        (2_000_000_000, b"279037"),
        (20_000_000_000, b"353130"),
    ],
)
def test_the_vectors_of_the_standard(seconds: int, code: bytes) -> None:
    assert Codes(seconds).problem(code) == ""


@pytest.mark.parametrize("answer", [b"081 804", b" 081804\r", b"08 18 04"])
def test_blanks_do_not_matter(answer: bytes) -> None:
    assert Codes().problem(answer) == ""


@pytest.mark.parametrize(
    "answer",
    [b"", b"81804", b"0081804", b"-81804", b"08180a", "٠٨١٨٠٤".encode(), b"\xff" * 6, b"0" * 9999],
)
def test_what_is_no_code_is_wrong(answer: bytes) -> None:
    assert Codes().problem(answer) == "the answer is not a code of 6 digits"


def test_a_user_without_a_secret_has_no_code() -> None:
    assert Codes().problem(b"081804", user_of(None)) == "the user has no totp_secret"


def test_the_window_is_one_step_on_each_side() -> None:
    codes = pyotp.TOTP(RFC_SECRET)
    now_step = NOW // STEP_SECONDS
    right = [
        offset
        for offset in range(-5, 6)
        if not Codes().problem(codes.generate_otp(now_step + offset).encode())
    ]
    assert right == [-1, 0, 1]


def test_the_log_is_told_of_a_wrong_clock() -> None:
    codes = pyotp.TOTP(RFC_SECRET)
    old = codes.generate_otp(NOW // STEP_SECONDS - 4).encode()
    assert "right 120 seconds ago: compare the clocks" in Codes().problem(old)
    early = codes.generate_otp(NOW // STEP_SECONDS + 4).encode()
    assert "right 120 seconds ahead" in Codes().problem(early)
    assert Codes().problem(b"000000") == "the code is wrong"


def test_a_code_is_right_once_and_an_earlier_one_is_not_right_afterwards() -> None:
    codes, clock = pyotp.TOTP(RFC_SECRET), Codes()
    step = NOW // STEP_SECONDS
    before, now, after = (codes.generate_otp(step + offset).encode() for offset in (-1, 0, 1))
    assert clock.problem(now) == ""
    assert "has been used" in clock.problem(now)
    assert "has been used" in clock.problem(before)
    assert clock.problem(after) == ""
    clock.now -= STEP_SECONDS  # a clock that is set back makes nothing right again
    assert "has been used" in clock.problem(now)


def test_users_do_not_use_up_each_others_codes() -> None:
    clock = Codes()
    assert clock.problem(b"081804", user_of(RFC_SECRET, "bob")) == ""
    assert clock.problem(b"081804") == ""


def test_what_is_remembered_is_bounded_by_those_who_used_a_code_of_late() -> None:
    clock = Codes()
    codes = pyotp.TOTP(RFC_SECRET)
    for number in range(3 * FEW_USERS):
        clock.now = NOW + number * STEP_SECONDS
        code = codes.generate_otp(int(clock.now) // STEP_SECONDS).encode()
        assert clock.problem(code, user_of(RFC_SECRET, f"user{number}")) == ""
        assert "used" in clock.problem(code, user_of(RFC_SECRET, f"user{number}"))
        assert len(clock.memory._last_steps) <= FEW_USERS


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-3, 3)), max_size=40))
def test_no_code_opens_twice(tries: list[tuple[int, int]]) -> None:
    """Time goes on, codes of all kinds are tried: each is right once, in the order of time."""
    clock, codes = Codes(), pyotp.TOTP(RFC_SECRET)
    used: list[int] = []
    for passed_steps, offset in tries:
        clock.now += passed_steps * STEP_SECONDS
        step = int(clock.now) // STEP_SECONDS + offset
        is_right = clock.problem(codes.generate_otp(step).encode()) == ""
        assert is_right == (abs(offset) <= 1 and step > max(used, default=0))
        if is_right:
            used.append(step)
