"""An S3 in a process of its own that fails in all the ways in which stores and networks do.

Knows: HTTP, what an honest store answers (`SmallS3`), and how to spoil that.
Must not know: what the gateway makes of it.

    store = StormyProcess.start(seed)
    store.tell("storm")                       # from now on it fails; "calm" ends that
    store.state()                             # what was published, and what was left open

Faults come before anything was done (refusals, resets), instead of a part of the answer (cut
and stalled bodies, lengths that are no true ones), or after all was done: then none but the
store knows, and `lost` has the key.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import subprocess
import sys
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from twisted.internet import task
from twisted.internet.defer import Deferred

from sftpgw.model.units import MIB
from sftpgw.testing.scripted_s3 import (
    RecordedRequest,
    ScriptedResponse,
    ScriptedS3,
    error_document,
    scripted_error,
)
from sftpgw.testing.small_s3 import Dialect, SmallS3
from tests.interop.spawning import REPOSITORY, START_SECONDS, this_code

FAULT_SHARE = 0.05
STORM_SHARE = 0.8
STORM_EVERY_SECONDS = 8.0
STORM_SECONDS = 2.5
AT_ONCE = 12
LONGEST_SECONDS = 0.02
CONTROL = "/_"


def dialect_of(dice: random.Random) -> Dialect:
    """One of those that there are."""
    return Dialect(
        conditions=dice.choice(["honoured", "ignored", "refused"]),
        checksums=dice.choice(["checked", "ignored", "refused"]),
        needs_equal_parts=dice.random() < 0.3,
    )


class StormyS3(ScriptedS3):
    """Answers as `SmallS3` does, later, and not always."""

    def __init__(self) -> None:
        super().__init__()
        self._dice = random.Random(0)
        self._store = SmallS3()
        self._clock: task.Clock | None = None
        self._is_stormy = False
        self._in_flight = 0
        self._faults = 0
        self._lost: set[str] = set()

    def prepare(self, seed: int, clock: object) -> None:
        """:param clock: the reactor, for what takes its time"""
        self._dice = random.Random(seed)
        self._store = SmallS3(dialect_of(self._dice), min_part_bytes=5 * MIB)
        self._clock = clock  # type: ignore[assignment]

    # What `ScriptedS3` asks.

    def record(self, request: RecordedRequest) -> None:
        """Nothing is kept: it would be too much."""

    def next_response(self, head: RecordedRequest) -> ScriptedResponse | None:
        """Now and then a fault as soon as the headers are here, the body on its way."""
        if head.target.startswith(CONTROL) or not self._strikes():
            return None
        faults = [
            scripted_error(500, "InternalError"),
            scripted_error(503, "SlowDown"),
            scripted_error(503, "ServiceUnavailable", {"Retry-After": "1"}),
            scripted_error(400, "RequestTimeout"),
            ScriptedResponse(502, b"<html>Bad gateway</html>"),
            None,
        ]
        if head.headers.get("content-length", "0") != "0":
            early = scripted_error(503, "SlowDown", {"Connection": "close"})
            faults += [
                ScriptedResponse(is_reset=True, is_early=True),
                replace(early, is_early=True),
            ]
        return self._dice.choice(faults)

    def handle(self, request: RecordedRequest) -> ScriptedResponse | Deferred[ScriptedResponse]:
        if request.target.startswith(CONTROL):
            return self._controlled(request)
        if self._in_flight >= AT_ONCE:
            return scripted_error(503, "SlowDown")
        self._in_flight += 1
        seconds = self._dice.random() * LONGEST_SECONDS
        later: Deferred[ScriptedResponse] = task.deferLater(
            self._clock, seconds, self._answered, request
        )
        return later

    # Answers, honest and others.

    def _answered(self, request: RecordedRequest) -> ScriptedResponse:
        self._in_flight -= 1
        strikes = self._strikes()
        if strikes and request.method == "POST" and self._dice.random() < 0.3:
            return ScriptedResponse(200, b"\n  " + error_document("InternalError"))
        known = set(self._store.uploads)
        reply = self._store.respond(request)
        if not strikes or reply.status >= 300:
            return reply
        for unknown in set(self._store.uploads) - known:
            # Its id is lost with the response: only a sweeper can find it.
            del self._store.uploads[unknown]
        return self._cut(reply) if request.method == "GET" else self._lose(request, reply)

    def _cut(self, reply: ScriptedResponse) -> ScriptedResponse:
        """Less of a body than there is, or another length than it has."""
        after_bytes = self._dice.randrange(len(reply.body) + 1)
        return self._dice.choice(
            [
                replace(reply, cut_after_bytes=after_bytes),
                replace(reply, cut_after_bytes=after_bytes, stalls=True),
                replace(reply, length=len(reply.body) + 10, cut_after_bytes=len(reply.body)),
                replace(reply, length=after_bytes, cut_after_bytes=after_bytes),
                ScriptedResponse(is_silent=True),
            ]
        )

    def _lose(self, request: RecordedRequest, reply: ScriptedResponse) -> ScriptedResponse:
        """It is carried out, without a response."""
        self._lost.add(unquote(urlsplit(request.target).path).split("/", 2)[2])
        faults = [ScriptedResponse(is_reset=True), scripted_error(500, "InternalError")]
        if reply.body:  # of a copy or Complete, which the gateway gives minutes to begin
            faults.append(replace(reply, cut_after_bytes=len(reply.body) // 2))
            faults.append(replace(reply, cut_after_bytes=len(reply.body) // 2, stalls=True))
        else:
            faults.append(ScriptedResponse(is_silent=True))
        return self._dice.choice(faults)

    def _strikes(self) -> bool:
        if not self._is_stormy:
            return False
        assert self._clock is not None
        in_storm = self._clock.seconds() % STORM_EVERY_SECONDS < STORM_SECONDS
        strikes = self._dice.random() < (STORM_SHARE if in_storm else FAULT_SHARE)
        self._faults += strikes
        return strikes

    def _controlled(self, request: RecordedRequest) -> ScriptedResponse:
        word = request.target.removeprefix(CONTROL)
        if word in ("storm", "calm"):
            self._is_stormy = word == "storm"
        state = {
            "objects": {key: digest(data) for key, data in self._store.objects.items()},
            "uploads": sorted(self._store.uploads),
            "lost": sorted(self._lost),
            "faults": self._faults,
            "dialect": str(self._store.dialect),
        }
        return ScriptedResponse(200, json.dumps(state).encode())


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class State:
    """What the store tells of itself.

    :param objects: the digest of each object that is there, by its key.
    :param uploads: the ids of the multipart uploads that are open.
    :param lost: keys whose requests were carried out without a response.
    """

    objects: dict[str, str]
    uploads: list[str]
    lost: list[str]
    faults: int
    dialect: str


@dataclass
class StormyProcess:
    """The store, as its tests see it."""

    process: subprocess.Popen[str]
    port: int

    @classmethod
    def start(cls, seed: int) -> StormyProcess:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.stormy_s3", str(seed)],
            cwd=REPOSITORY,
            env=this_code(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        return cls(process, int(process.stdout.readline()))

    def tell(self, word: str) -> State:
        """``storm``, ``calm``, or anything else to ask only."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        connection.request("GET", CONTROL + word)
        with connection.getresponse() as answer:
            state = State(**json.loads(answer.read()))
        connection.close()
        return state

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


def main() -> None:
    async def serve(reactor: object) -> None:
        server = await StormyS3.listen(reactor)
        assert isinstance(server, StormyS3)
        server.prepare(int(sys.argv[1]), reactor)
        print(server.url.rpartition(":")[2], flush=True)  # noqa: T201
        await Deferred()

    task.react(lambda reactor: Deferred.fromCoroutine(serve(reactor)))


if __name__ == "__main__":
    main()
