"""What each client is asked to do, once for all of them, and what must have come of it.

Knows: steps, the answers of a driver, local files, the bucket.
Must not know: any client. A driver reads the steps as lines of words with a tab between, and
answers each line in JSON: ``{"ok": true, "value": …}``, ``{"ok": false, "error": …}``, or
``{"ok": false, "lacks": true}`` where the client has no such function.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BIG_BYTES = 20_000_000
PART_BYTES = 7_000_000
SMALL_BYTES = 1000
MANY_BYTES = 500_000
MANY = 4
TIME = 1_600_000_000

YES, NO, LACKS = "yes", "no", "lacks"
LOGINS = ("password", "ed25519", "ecdsa-256", "rsa-3072")

Answer = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """One line for a driver.

    :ivar feature: the column of the matrix that it belongs to.
    :ivar must_fail: whether an error is the right answer.
    """

    feature: str
    operation: str
    arguments: tuple[str, ...]
    must_fail: bool = False

    def line(self) -> str:
        return "\t".join([self.operation, *self.arguments]) + "\n"


@dataclass(frozen=True)
class Target:
    """Where a driver goes, and what it may log in with.

    :ivar key_files: a private key of each kind, in the form that is oldest.
    """

    port: int
    user: str
    password: str
    key_files: Mapping[str, Path]

    def step(self) -> Step:
        return Step("to", "to", ("127.0.0.1", str(self.port), self.user, self.password))

    def login(self, kind: str) -> Step:
        if kind == "password":
            return Step(kind, "login", (kind,))
        return Step(kind, "login", ("key", str(self.key_files[kind])))


def logins(target: Target) -> list[Step]:
    """A login of each kind."""
    return [target.step(), *(target.login(kind) for kind in LOGINS)]


def transfers(target: Target, login: str, local: Path, remote: str) -> list[Step]:
    """All that is done with files, in a folder of its own, behind one login."""

    def step(feature: str, operation: str, *arguments: str, must_fail: bool = False) -> Step:
        return Step(feature, operation, arguments, must_fail)

    def near(name: str) -> str:
        return str(local / name)

    def far(name: str) -> str:
        return f"{remote}/{name}"

    many = [word for number in range(MANY) for word in (near(f"many{number}"), far(f"m{number}"))]
    return [
        target.step(),
        target.login(login),
        step("upload", "mkdir", remote),
        *(step("upload", "put", near(name), far(name)) for name in ("empty", "small", "big")),
        step("list", "list", remote),
        step("stat", "stat", far("big")),
        step("stat", "stat", far("none"), must_fail=True),
        *(step("download", "get", far(name), near(f"got-{name}")) for name in SIZES),
        step("temporary name", "put", near("small"), far("new.tmp")),
        step("temporary name", "rename", far("new.tmp"), far("new")),
        step("prepare", "put", near("small"), far("ontoed")),
        step("prepare", "put", near("many0"), far("onto")),
        step("rename onto a file", "rename", far("onto"), far("ontoed")),
        step("replace", "put", near("small"), far("replaced")),
        step("replace", "put", near("many0"), far("next")),
        step("replace", "replace", far("next"), far("replaced")),
        step("resume upload", "put", near("part"), far("resumed")),
        step("resume upload", "resume_put", near("big"), far("resumed")),
        step("resume download", "resume_get", far("big"), near("got-part")),
        step("chmod", "chmod", far("new"), "600"),
        step("times", "utime", far("new"), str(TIME)),
        step("times", "stat", far("new")),
        step("at once", "put_many", *many),
        step("remove", "mkdir", far("folder")),
        step("remove", "put", near("small"), far("folder/file")),
        step("remove", "rmdir", far("folder"), must_fail=True),
        step("remove", "remove", far("folder/file")),
        step("remove", "rmdir", far("folder")),
    ]


SIZES = {"empty": 0, "small": SMALL_BYTES, "big": BIG_BYTES}
FEATURES = (
    *("upload", "download", "list", "stat", "temporary name", "rename onto a file", "replace"),
    *("resume upload", "resume download", "chmod", "times", "at once", "remove"),
)


def make_files(local: Path) -> None:
    """What the steps take from the local folder; the same bytes each time."""
    source = random.Random(20)
    big = source.randbytes(BIG_BYTES)
    (local / "empty").touch()
    (local / "small").write_bytes(source.randbytes(SMALL_BYTES))
    (local / "big").write_bytes(big)
    for name in ("part", "got-part"):
        (local / name).write_bytes(big[:PART_BYTES])
    for number in range(MANY):
        (local / f"many{number}").write_bytes(source.randbytes(MANY_BYTES))


def outcomes(steps: Sequence[Step], answers: Sequence[Answer]) -> dict[str, str]:
    """For each feature what came of it: YES, NO, LACKS, or how it was done."""
    assert len(steps) == len(answers), f"{len(answers)} answers to {len(steps)} steps"
    found: dict[str, str] = {}
    for step, answer in zip(steps, answers, strict=True):
        now = _outcome(step, answer)
        before = found.get(step.feature, YES)
        found[step.feature] = now if before == YES else before
    return found


def _outcome(step: Step, answer: Answer) -> str:
    if answer.get("lacks"):
        return LACKS
    if bool(answer["ok"]) is step.must_fail:
        return NO
    return str(answer["value"]) if step.operation == "replace" else YES


def errors(steps: Sequence[Step], answers: Iterable[Answer]) -> list[str]:
    """What a driver said of each step that went wrong."""
    return [
        f"{step.feature}: {step.line().strip()!r}: {answer.get('error', answer)}"
        for step, answer in zip(steps, answers, strict=True)
        if bool(answer["ok"]) is step.must_fail and not answer.get("lacks")
    ]


@dataclass(frozen=True)
class Ground:
    """What is really there behind a run: the local folder, and the bodies by name.

    :ivar bodies: of all objects in the folder of the run; folders' markers have a slash behind.
    """

    local: Path
    bodies: Mapping[str, bytes]

    def demand(self, steps: Sequence[Step], answers: Sequence[Answer]) -> None:
        """What a client took for done is done: equal bytes, and nothing besides.

        :raises AssertionError: if something is not.
        """
        did = outcomes(steps, answers)
        told = {
            step.feature: answer.get("value") for step, answer in zip(steps, answers, strict=True)
        }
        expected = self._expected(did)
        found = {
            name: _digest(body) for name, body in self.bodies.items() if body or name[-1] != "/"
        }
        assert found == expected
        if did["download"] == YES:
            for name in SIZES:
                assert self._local(f"got-{name}") == self._local(name)
        if did["resume download"] == YES:
            assert self._local("got-part") == self._local("big")
        if did["list"] == YES:
            assert {each for each in told["list"] if each.strip(".")} == set(SIZES)
        if did["times"] == YES:
            assert told["times"] == {"size": SMALL_BYTES, "mtime": TIME}

    def _expected(self, did: Mapping[str, str]) -> dict[str, str]:
        """The digest of each object that must be there."""
        expected = {name: self._local(name) for name in SIZES}
        expected["new"] = self._local("small")
        moved = did["rename onto a file"] == YES
        expected["ontoed"] = self._local("many0" if moved else "small")
        if not moved:
            expected["onto"] = self._local("many0")
        expected["replaced"] = self._local("many0")
        expected["resumed"] = self._local("part" if did["resume upload"] == LACKS else "big")
        if did["at once"] != LACKS:
            expected |= {f"m{number}": self._local(f"many{number}") for number in range(MANY)}
        return expected

    def _local(self, name: str) -> str:
        return _digest((self.local / name).read_bytes())


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
