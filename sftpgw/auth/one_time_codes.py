"""One-time codes of a phone app (TOTP, RFC 6238): which one is right, and that none is used twice.

Knows: how a code follows from a secret and the time.
Must not know: who may log in, or how a code arrives.

Rules:

- Codes have six digits, change every 30 seconds and use SHA-1: what every app supports.
- The code before the current one and the one after it are right, too: clocks differ, and people
  type slowly (RFC 6238, section 5.2).
- A code is right once. Neither it nor an earlier one is right afterwards, so that a code which was
  read over a shoulder is of no use (the same section).
- A code is only asked for once its user has proven something else. So there is no decoy for
  unknown names: they do not come this far.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Protocol

import pyotp

from sftpgw.model.users import User

STEP_SECONDS = 30
DIGITS = 6
WINDOW_STEPS = 1
"""How many codes before and after the current one are right."""

SKEW_STEPS = 40
"""How far from now a wrong code is looked for, in order to tell the operator of a wrong clock."""

FEW_USERS = 1000
"""How many users' codes are remembered at least."""

LONGEST_ANSWER_BYTES = 32
"""The digits, and blanks between them."""


class WrongCode(Exception):
    """A code does not open the account; the message says why, for the log."""


class TotpMemory(Protocol):
    """Remembers which code each user has used last, for all gateways that share it."""

    async def claim(self, user_name: str, step: int) -> bool:
        """Take a code, unless it or a later one of the user has been taken.

        :param user_name: the user.
        :param step: the number of the code: steps of 30 seconds since 1970.
        """


class ProcessTotpMemory:
    """A `TotpMemory` of one process. It forgets codes that are too old to be right again.

    A clock that is set back makes no code right a second time: later ones are remembered.
    """

    def __init__(self) -> None:
        self._last_steps: dict[str, int] = {}
        self._full_at = FEW_USERS

    async def claim(self, user_name: str, step: int) -> bool:
        """Take a code, unless it or a later one of the user has been taken."""
        if step <= self._last_steps.get(user_name, -1):
            return False
        if len(self._last_steps) >= self._full_at:
            self._forget(step - 2 * WINDOW_STEPS - 1)
        self._last_steps[user_name] = step
        return True

    def _forget(self, oldest: int) -> None:
        self._last_steps = {name: step for name, step in self._last_steps.items() if step >= oldest}
        self._full_at = max(FEW_USERS, 2 * len(self._last_steps))


class CodeVerifier:
    """Judges codes.

    :param memory: remembers the codes that were used.
    :param wall_clock: returns the time, seconds since 1970.
    """

    def __init__(self, memory: TotpMemory, wall_clock: Callable[[], float]) -> None:
        self._memory = memory
        self._wall_clock = wall_clock

    async def verify(self, user: User, answer: bytes) -> None:
        """Check a code, and use it up.

        :param user: who has proven something else already.
        :param answer: what the client has sent; blanks between digits do not matter.
        :raises WrongCode: it does not open the account; says why.
        """
        secret, code = user.login.totp_secret, _digits_of(answer)
        if secret is None:
            raise WrongCode("the user has no totp_secret")
        if code is None:
            raise WrongCode(f"the answer is not a code of {DIGITS} digits")
        now_step = int(self._wall_clock()) // STEP_SECONDS
        step = _step_of(secret, code, now_step, WINDOW_STEPS)
        if step is None:
            raise WrongCode(_reason_for(secret, code, now_step))
        if not await self._memory.claim(user.name, step):
            raise WrongCode("the code, or a later one, has been used; wait for the next")


def _digits_of(answer: bytes) -> str | None:
    code = b"".join(answer.split()) if len(answer) <= LONGEST_ANSWER_BYTES else b""
    return code.decode("ascii") if len(code) == DIGITS and code.isdigit() else None


def _step_of(secret: str, code: str, now_step: int, distance: int) -> int | None:
    """The step whose code it is, at most `distance` from now; the same work for any code."""
    codes = pyotp.TOTP(secret, digits=DIGITS, interval=STEP_SECONDS)
    steps = range(max(0, now_step - distance), now_step + distance + 1)
    found = [step for step in steps if hmac.compare_digest(codes.generate_otp(step), code)]
    return min(found, key=lambda step: abs(step - now_step)) if found else None


def _reason_for(secret: str, code: str, now_step: int) -> str:
    step = _step_of(secret, code, now_step, SKEW_STEPS)
    if step is None:
        return "the code is wrong"
    seconds = (step - now_step) * STEP_SECONDS
    when = f"{abs(seconds)} seconds {'ahead' if seconds > 0 else 'ago'}"
    return f"the code was right {when}: compare the clocks of the phone and the gateway"
