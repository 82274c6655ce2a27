"""What the store can do with each bucket, found out once, when it first matters.

Knows: settings, when to try out a bucket, and what to believe until then or instead.
Must not know: how it is tried out (`probing`).

Rules

1. A bucket is tried out when it is first written to; whoever writes meanwhile waits
   for the outcome, but not for long. Nothing is tried with ``probe = no``.
2. What `[s3] unsupported` names is not used, whatever was found.
3. If it cannot be found out, all that `unsupported` does not name is believed. A
   store that was unreachable is asked again later; a refusal is final.
4. Whether parts may differ in size is not tried out. A store that refuses a file for it has
   told. So has one that refuses what it was found, or declared, to be able to do: that is
   done without from then on, whatever is found later.
5. What can be copied into uploads with checksums does not matter where there are none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong

from sftpgw.aio.notifier import Notifier
from sftpgw.errors import CredentialsUnavailable, StoreError, StoreUnavailable
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.settings import ChecksumChoice, Probe, StoreSettings
from sftpgw.model.store import Capabilities, ChecksumAlgorithm
from sftpgw.s3.checksums import chosen_algorithm

PATIENCE_SECONDS = 15.0
CLOSE_SECONDS = 5.0
AGAIN_SECONDS = 300.0

_PASSING = (CredentialsUnavailable, StoreUnavailable)


class CapabilitySource(Protocol):
    """What a client asks before it relies on the store."""

    is_adaptable: bool
    """Whether a refusal changes what is believed."""

    def of(self, bucket: str) -> Capabilities:
        """What is believed now."""

    async def known(self, bucket: str) -> Capabilities:
        """The same once it has been tried out, or cannot be. Never raises."""

    def checksum(self, bucket: str) -> ChecksumAlgorithm | None:
        """Which checksum to send, by what is believed now."""

    def must_do_without(self, bucket: str, name: str) -> None:
        """The store has refused what it was taken to be able to do.

        :param name: of an attribute of `Capabilities`.
        """

    def is_proved(self, bucket: str, name: str) -> bool:
        """Whether it has been seen that the store can do this, not only taken for granted."""

    def proved(self, bucket: str, name: str) -> None:
        """The store has just done it."""

    async def close(self) -> None:
        """Stop trying out; returns when nothing is left of it."""


class FixedCapabilities:
    """Abilities that somebody has decided on."""

    is_adaptable = False

    def __init__(
        self, capabilities: Capabilities, choice: ChecksumChoice = ChecksumChoice.AUTO
    ) -> None:
        self._capabilities = capabilities
        self._algorithm = chosen_algorithm(choice, is_able=capabilities.checksums)

    def of(self, bucket: str) -> Capabilities:
        return self._capabilities

    async def known(self, bucket: str) -> Capabilities:
        return self._capabilities

    def checksum(self, bucket: str) -> ChecksumAlgorithm | None:
        return self._algorithm

    def must_do_without(self, bucket: str, name: str) -> None:
        """What was decided stays."""

    def is_proved(self, bucket: str, name: str) -> bool:
        return True

    def proved(self, bucket: str, name: str) -> None:
        """There was no doubt."""

    async def close(self) -> None:
        return


class ProbedCapabilities:
    """Abilities that are tried out.

    :param probe: tries out a bucket; raises StoreError.
    """

    is_adaptable = True

    def __init__(
        self,
        settings: StoreSettings,
        probe: Callable[[str], Awaitable[Capabilities]],
        clock: Clock,
        events: EventSink,
    ) -> None:
        self._declared = settings.capabilities
        self._choice = settings.checksum
        self._is_probing = settings.probe is not Probe.NO
        self._probe = probe
        self._clock = clock
        self._events = events
        self._found: dict[str, Capabilities] = {}
        self._proved: set[tuple[str, str]] = set()
        self._refused: dict[str, set[str]] = {}
        self._believed: dict[str, Capabilities] = {}
        self._not_before: dict[str, float] = {}
        self._running: dict[str, _Running] = {}

    def of(self, bucket: str) -> Capabilities:
        if bucket not in self._believed:
            self._believed[bucket] = self._judged(bucket)
        return self._believed[bucket]

    def _judged(self, bucket: str) -> Capabilities:
        """What was found, but for what was refused: a probe may end, or begin, only after that."""
        able = self._found.get(bucket, self._declared)
        able = able.without(self._refused.get(bucket, ()))
        is_summed = chosen_algorithm(self._choice, is_able=able.checksums) is not None
        return able if is_summed else replace(able, copied_checksums=True)

    def checksum(self, bucket: str) -> ChecksumAlgorithm | None:
        return chosen_algorithm(self._choice, is_able=self.of(bucket).checksums)

    async def known(self, bucket: str) -> Capabilities:
        if bucket not in self._found:
            if not self._is_probing:
                self._settle(bucket, self._declared, "unsupported")
            elif self._clock.seconds() >= self._not_before.get(bucket, 0.0):
                await self._tried_out(bucket)
        return self.of(bucket)

    def must_do_without(self, bucket: str, name: str) -> None:
        if getattr(self.of(bucket), name):
            self._refused.setdefault(bucket, set()).add(name)
            self._believed.pop(bucket, None)
            self._tell(bucket, "refusal")

    def is_proved(self, bucket: str, name: str) -> bool:
        return (bucket, name) in self._proved

    def proved(self, bucket: str, name: str) -> None:
        self._proved.add((bucket, name))

    async def close(self) -> None:
        for running in tuple(self._running.values()):
            running.work.cancel()
            await running.ended(self._clock, CLOSE_SECONDS)

    async def _tried_out(self, bucket: str) -> None:
        """Try it out, or wait for whoever does; not for long."""
        if bucket not in self._running:
            running = self._running[bucket] = _Running(self._clock.seconds() + PATIENCE_SECONDS)
            # Not awaited here: whoever started it may be cancelled, the others still wait.
            running.start(self._try_out(bucket), lambda: self._running.pop(bucket))
        if bucket in self._running:
            running = self._running[bucket]
            await running.ended(self._clock, running.patience_until - self._clock.seconds())

    async def _try_out(self, bucket: str) -> None:
        try:
            found = await self._probe(bucket)
        except StoreError as error:
            self._unknown(bucket, error)
        else:
            self._proved |= {(bucket, name) for name in found.attributes(value=True)}
            lacking = self._declared.attributes(value=False)
            self._settle(bucket, found.without(lacking), "probe")

    def _unknown(self, bucket: str, error: StoreError) -> None:
        self._events.tell(
            "capabilities-unknown", bucket=bucket, code=error.code, reason=error.message
        )
        if isinstance(error, _PASSING):
            self._not_before[bucket] = self._clock.seconds() + AGAIN_SECONDS
        else:
            self._settle(bucket, self._declared, "unsupported")

    def _settle(self, bucket: str, capabilities: Capabilities, source: str) -> None:
        self._found[bucket] = capabilities
        self._believed.pop(bucket, None)
        self._tell(bucket, source)

    def _tell(self, bucket: str, source: str) -> None:
        algorithm = self.checksum(bucket)
        other = "none" if self._choice is ChecksumChoice.NONE else "md5"
        self._events.tell(
            "capabilities-known",
            bucket=bucket,
            source=source,
            lacking=" ".join(self.of(bucket).names(value=False)),
            checksum=algorithm.value if algorithm else other,
        )


class _Running:
    """A bucket being tried out, and who waits for that."""

    def __init__(self, patience_until: float) -> None:
        self.patience_until = patience_until
        self.work: Deferred[None] = Deferred()
        self._ended = Notifier()

    def start(self, work: Coroutine[Any, Any, None], ended: Callable[[], object]) -> None:
        """:param ended: called at the end, before those who wait."""
        self.work = Deferred.fromCoroutine(work)
        self.work.addErrback(lambda failure: failure.trap(CancelledError))
        self.work.addBoth(lambda _: ended())
        self.work.addBoth(lambda _: self._ended.notify_all())

    async def ended(self, clock: Clock, limit_seconds: float) -> None:
        """Returns at the end, or after `limit_seconds`."""
        if self.work.called or limit_seconds <= 0:
            return
        with suppress(WaitedTooLong):
            await self._ended.wait().addTimeout(limit_seconds, clock)  # type: ignore[arg-type]


class SilentSink:
    """An `EventSink` for what is tried out: its refusals are wanted, and no news."""

    def tell(self, event: str, /, **facts: object) -> None:
        return

    def bind(self, **facts: object) -> EventSink:
        return self
