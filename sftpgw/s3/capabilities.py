"""What the store supports in each bucket: probed once, when it first matters.

Knows: the settings, when to probe a bucket, and what to believe before the probe or instead of it.
Must not know: how a bucket is probed (`s3/probe`).

Rules

1. A bucket is probed when it is first written to. Other writes to it wait for the result, for a
   limited time. With ``probe = no`` nothing is probed.
2. What `[s3] unsupported` names is not used, whatever the probe finds.
3. If the probe fails, everything is believed to be supported that `unsupported` does not name. A
   store that was unreachable is probed again later; an error response is final.
4. Whether parts may differ in size is not probed: the store shows it by refusing an upload. A store
   that refuses what it was found, or declared, to support loses that capability for good.
5. Copies into uploads with checksums do not matter where checksums are not used.
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
from sftpgw.model.events import Event, EventSink
from sftpgw.model.events.store_events import CapabilitiesKnown, CapabilitiesUnknown
from sftpgw.model.settings import ChecksumChoice, Probe, StoreSettings
from sftpgw.model.store import Capabilities, ChecksumAlgorithm
from sftpgw.s3.checksums import chosen_algorithm

MAX_WAIT_SECONDS = 15.0
"""How long a write waits for the probe."""

CLOSE_SECONDS = 5.0
"""How long `close` waits for a probe to clean up."""

PROBE_AGAIN_SECONDS = 300.0
"""How long after a probe that failed the next one may start."""

BACKSLASH = "\\"

_PASSING = (CredentialsUnavailable, StoreUnavailable)


def is_same_as_slash(key: str, capabilities: Capabilities) -> bool:
    """Whether the store would take `key` for another one, with slashes in place of backslashes."""
    return BACKSLASH in key and not capabilities.backslashes


class CapabilitySource(Protocol):
    """What a client asks before it relies on a capability.

    Capabilities are named by the fields of `Capabilities`.
    """

    is_adaptable: bool
    """Whether a refusal of the store changes what is believed."""

    def of(self, bucket: str) -> Capabilities:
        """What is believed now."""

    async def known(self, bucket: str) -> Capabilities:
        """The same, after the probe; waits for it for a limited time. Never raises."""

    def checksum(self, bucket: str) -> ChecksumAlgorithm | None:
        """The checksum to send, by what is believed now; None: no checksum."""

    def must_do_without(self, bucket: str, name: str) -> None:
        """The store has refused the capability `name`."""

    def is_proved(self, bucket: str, name: str) -> bool:
        """Whether the store has shown the capability `name`; else it is only assumed."""

    def proved(self, bucket: str, name: str) -> None:
        """The store has just shown the capability `name`."""

    async def close(self) -> None:
        """Stop all probes; returns when they have ended."""


class FixedCapabilities:
    """Capabilities that are given and never change.

    :param capabilities: of every bucket.
    :param choice: ``[s3] checksum``.
    """

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
        """Nothing changes."""

    def is_proved(self, bucket: str, name: str) -> bool:
        return True

    def proved(self, bucket: str, name: str) -> None:
        """Nothing changes."""

    async def close(self) -> None:
        return


class ProbedCapabilities:
    """Capabilities that are found by a probe of each bucket.

    :param settings: what is declared as unsupported, and whether to probe.
    :param probe: probes a bucket; raises StoreError.
    :param clock: limits waits for the probe.
    :param events: takes the results.
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
        self._running: dict[str, _RunningProbe] = {}

    def of(self, bucket: str) -> Capabilities:
        if bucket not in self._believed:
            self._believed[bucket] = self._combined(bucket)
        return self._believed[bucket]

    def _combined(self, bucket: str) -> Capabilities:
        """The result of the probe without refused capabilities; they may be refused before it."""
        capabilities = self._found.get(bucket, self._declared)
        capabilities = capabilities.without(self._refused.get(bucket, ()))
        algorithm = chosen_algorithm(self._choice, is_able=capabilities.checksums)
        return capabilities if algorithm else replace(capabilities, copied_checksums=True)

    def checksum(self, bucket: str) -> ChecksumAlgorithm | None:
        return chosen_algorithm(self._choice, is_able=self.of(bucket).checksums)

    async def known(self, bucket: str) -> Capabilities:
        if bucket not in self._found:
            if not self._is_probing:
                self._settle(bucket, self._declared, "unsupported")
            elif self._clock.seconds() >= self._not_before.get(bucket, 0.0):
                await self._wait_for_probe(bucket)
        return self.of(bucket)

    def must_do_without(self, bucket: str, name: str) -> None:
        if getattr(self.of(bucket), name):
            self._refused.setdefault(bucket, set()).add(name)
            self._believed.pop(bucket, None)
            self._report(bucket, "refusal")

    def is_proved(self, bucket: str, name: str) -> bool:
        return (bucket, name) in self._proved

    def proved(self, bucket: str, name: str) -> None:
        self._proved.add((bucket, name))

    async def close(self) -> None:
        for running in tuple(self._running.values()):
            running.work.cancel()
            await running.wait(self._clock, CLOSE_SECONDS)

    async def _wait_for_probe(self, bucket: str) -> None:
        """Start the probe unless it is running, and wait for it, for a limited time."""
        if bucket not in self._running:
            running = _RunningProbe(self._clock.seconds() + MAX_WAIT_SECONDS)
            self._running[bucket] = running
            # Not awaited here: this request may be cancelled while others wait for the probe.
            running.start(self._run_probe(bucket), lambda: self._running.pop(bucket))
        if bucket in self._running:
            running = self._running[bucket]
            await running.wait(self._clock, running.wait_until - self._clock.seconds())

    async def _run_probe(self, bucket: str) -> None:
        try:
            found = await self._probe(bucket)
        except StoreError as error:
            self._unknown(bucket, error)
        else:
            self._proved |= {(bucket, name) for name in found.attributes(value=True)}
            lacking = self._declared.attributes(value=False)
            self._settle(bucket, found.without(lacking), "probe")

    def _unknown(self, bucket: str, error: StoreError) -> None:
        self._events.emit(CapabilitiesUnknown(bucket=bucket, code=error.code, reason=error.message))
        if isinstance(error, _PASSING):
            self._not_before[bucket] = self._clock.seconds() + PROBE_AGAIN_SECONDS
        else:
            self._settle(bucket, self._declared, "unsupported")

    def _settle(self, bucket: str, capabilities: Capabilities, source: str) -> None:
        self._found[bucket] = capabilities
        self._believed.pop(bucket, None)
        self._report(bucket, source)

    def _report(self, bucket: str, source: str) -> None:
        algorithm = self.checksum(bucket)
        other = "none" if self._choice is ChecksumChoice.NONE else "md5"
        self._events.emit(
            CapabilitiesKnown(
                bucket=bucket,
                source=source,
                lacking=" ".join(self.of(bucket).names(value=False)),
                checksum=algorithm.value if algorithm else other,
            )
        )


class _RunningProbe:
    """A probe of one bucket and the requests that wait for it.

    :param wait_until: until when they wait, by the clock's seconds.
    """

    def __init__(self, wait_until: float) -> None:
        self.wait_until = wait_until
        self.work: Deferred[None] = Deferred()
        self._ended = Notifier()

    def start(self, work: Coroutine[Any, Any, None], on_end: Callable[[], object]) -> None:
        """Begin the probe.

        :param work: the probe.
        :param on_end: is called at the end, before the waiting requests go on.
        """
        self.work = Deferred.fromCoroutine(work)
        self.work.addErrback(lambda failure: failure.trap(CancelledError))
        self.work.addBoth(lambda _: on_end())
        self.work.addBoth(lambda _: self._ended.notify_all())

    async def wait(self, clock: Clock, limit_seconds: float) -> None:
        """Returns at the end, or after `limit_seconds`."""
        if self.work.called or limit_seconds <= 0:
            return
        with suppress(WaitedTooLong):
            await self._ended.wait().addTimeout(limit_seconds, clock)  # type: ignore[arg-type]


class SilentSink:
    """An `EventSink` for probes: their failures are expected, and no news."""

    def emit(self, event: Event) -> None:
        return

    def bind(self, **context: str) -> EventSink:
        return self
