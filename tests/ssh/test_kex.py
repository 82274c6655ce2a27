"""The first key exchange message by message: what is due when, and what takes a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.conch.ssh.common import MP, NS, getMP, getNS
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from sftpgw.aio.fair_order import Path
from sftpgw.aio.work.plan import WorkPlan
from sftpgw.aio.work.scheduler import Turns, WorkScheduler
from sftpgw.model.settings import Policy, SshSettings
from sftpgw.ssh.dh_groups import group_of
from sftpgw.ssh.factory import GatewayFactory
from sftpgw.ssh.host_key_updates import told_keys
from sftpgw.ssh.key_agreements import SLOW_RSA_BITS
from sftpgw.ssh.negotiation import ClientLists, HostKeys
from sftpgw.testing.cpu_clocks import CpuClock
from sftpgw.testing.ssh_pairs import (
    ClientPair,
    LoggedInPair,
    RecordedEvents,
    make_test_portal,
    new_key,
)

IGNORE, DISCONNECT, KEXINIT, NEWKEYS = 2, 1, 20, 21
INIT, REPLY, GEX_INIT, GEX_REPLY, GEX_REQUEST = 30, 31, 32, 33, 34
GROUP18, GROUP14 = b"diffie-hellman-group18-sha512", b"diffie-hellman-group14-sha256"
EXCHANGE = b"diffie-hellman-group-exchange-sha256"
POINT = NS(bytes([9]) + bytes(31))
SIZES = b"".join(size.to_bytes(4, "big") for size in (2048, 2048, 8192))


SMALL_KEY = Key(rsa.generate_private_key(65537, 2048))


class HeldThreads:
    """Takes the place of threads: each call waits until the test has it made."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, Callable[..., Any], Deferred[Any]]] = []
        self.left = 0

    def run(self, source: str, function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        done: Deferred[Any] = Deferred(self._leave)
        self.waiting.append((source, function, done))
        return done

    def _leave(self, _: Deferred[Any]) -> None:
        self.left += 1

    def work(self) -> None:
        for _, function, done in self.waiting:
            maybeDeferred(function).chainDeferred(done)
        self.waiting.clear()


class RecordedWork(WorkScheduler):
    """Work that takes no CPU time; remembers the steps of key exchanges."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, CpuClock(), WorkPlan(round_seconds=float("inf")))
        self.steps: list[Path] = []
        self.on_step: Callable[[], object] = int

    def run(self, turns: Turns, work: Callable[[], None]) -> None:
        super().run(turns, work)
        if turns.kind == "key exchanges":
            self.steps.append(turns.path)
            self.on_step()


class Talk:
    """A client whose packets the test writes."""

    def __init__(
        self,
        settings: SshSettings | None = None,
        key: Key | None = None,
    ) -> None:
        self.threads, self.clock, self.events = HeldThreads(), Clock(), RecordedEvents()
        self.work = RecordedWork(self.clock)
        self.factory = GatewayFactory(
            portal=make_test_portal({}, {}),
            host_keys=(key or new_key(),),
            settings=settings or SshSettings(policy=Policy.LEGACY),
            clock=self.clock,
            events=self.events,
            work=self.work,
            run_in_thread=self.threads.run,
        )
        self.pair = ClientPair(self.factory, self.clock, greet=False)
        self._taken = b""
        self.last = b""
        self.pair.server.dataReceived(b"SSH-2.0-test\r\n")

    def send(self, message: int, payload: bytes = b"") -> None:
        size_bytes = 6 + len(payload)
        padding_bytes = 4 + -(size_bytes + 4) % 8
        length = 2 + len(payload) + padding_bytes
        head = length.to_bytes(4, "big") + bytes([padding_bytes, message])
        self.pair.server.dataReceived(head + payload + bytes(padding_bytes))

    def kexinit(
        self, method: bytes, *, host_key: bytes = b"ssh-ed25519", guesses: bool = False
    ) -> None:
        gcm, none = b"aes128-gcm@openssh.com", b"none"
        names = (method, host_key, gcm, gcm, b"", b"", none, none, b"", b"")
        self.send(KEXINIT, bytes(16) + b"".join(map(NS, names)) + bytes([guesses]) + bytes(4))

    @property
    def said(self) -> list[int]:
        """The numbers of the messages that came in clear, behind the KEXINIT."""
        self._taken += self.pair.server_io.take()
        stream, numbers = self._taken.partition(b"\r\n")[2], []
        while stream:
            size_bytes = 4 + int.from_bytes(stream[:4], "big")
            numbers.append(stream[5])
            if numbers[-1] == NEWKEYS:
                break
            self.last, stream = stream[6 : size_bytes - stream[4]], stream[size_bytes:]
        return numbers[1:]

    @property
    def reasons(self) -> list[object]:
        return [facts["reason"] for facts in self.events.facts("protocol-broken")]

    def end(self) -> None:
        self.pair.drop()
        self.factory.stopFactory()
        assert self.clock.getDelayedCalls() == []


@pytest.fixture
def talk() -> Iterator[Talk]:
    talk = Talk()
    yield talk
    talk.end()


def test_a_method_of_curves_is_answered_at_once(talk: Talk) -> None:
    talk.kexinit(b"curve25519-sha256")
    talk.send(INIT, POINT)
    assert talk.said == [REPLY, NEWKEYS]
    assert not talk.threads.waiting


def test_group_exchange_has_two_rounds(talk: Talk) -> None:
    talk.kexinit(EXCHANGE)
    talk.send(GEX_REQUEST, SIZES)
    assert talk.said == [REPLY], "the message with the group has the same number"
    assert getMP(talk.last, 2)[:2] == (group_of(2048).prime, 2)
    talk.send(GEX_INIT, MP(5))
    assert talk.said == [REPLY, GEX_REPLY, NEWKEYS]
    assert not talk.threads.waiting


@pytest.mark.parametrize(
    ("method", "sent"),
    [
        (b"curve25519-sha256", [GEX_REQUEST]),
        (b"curve25519-sha256", [GEX_INIT]),
        (b"curve25519-sha256", [REPLY]),
        (b"curve25519-sha256", [NEWKEYS]),
        (EXCHANGE, [INIT]),
        (EXCHANGE, [GEX_INIT]),
        (EXCHANGE, [GEX_REQUEST, GEX_REQUEST]),
        (EXCHANGE, [GEX_REQUEST, INIT]),
        (EXCHANGE, [GEX_REQUEST, NEWKEYS]),
    ],
)
def test_a_message_that_is_not_due_ends_the_connection(
    talk: Talk, method: bytes, sent: list[int]
) -> None:
    talk.kexinit(method)
    for message in sent:
        talk.send(message, SIZES if message == GEX_REQUEST else MP(5))
    assert talk.reasons == [f"message {sent[-1]} at the wrong time"]
    assert DISCONNECT in talk.said


@pytest.mark.parametrize("first", [b"kex-strict-s-v00@openssh.com", b"ext-info-s", b"unknown", b""])
def test_a_name_that_is_no_method_is_never_chosen(talk: Talk, first: bytes) -> None:
    talk.kexinit(first + b",curve25519-sha256")
    talk.send(INIT, POINT)
    assert talk.said == [REPLY, NEWKEYS]


def test_names_that_are_no_methods_have_none_in_common(talk: Talk) -> None:
    talk.kexinit(b"kex-strict-s-v00@openssh.com,ext-info-s")
    assert talk.said == [DISCONNECT]
    (event,) = talk.events.facts("algorithms-differ")
    assert (event["setting"], event["could_list"]) == ("key_exchanges", "none")


def test_a_wrong_guess_is_ignored_and_only_one(talk: Talk) -> None:
    talk.kexinit(EXCHANGE, guesses=True)
    talk.send(INIT, POINT)
    assert talk.said == []
    talk.send(GEX_REQUEST, SIZES)
    assert talk.said == [REPLY]
    talk.send(INIT, POINT)
    assert talk.reasons == ["message 30 at the wrong time"]


def test_a_wrong_guess_of_the_same_number_is_ignored(talk: Talk) -> None:
    talk.kexinit(GROUP14, guesses=True)
    talk.send(INIT, POINT)
    assert talk.said == []
    talk.send(INIT, MP(5))
    assert talk.said == [REPLY, NEWKEYS]


@pytest.mark.parametrize(
    "value", [MP(0), MP(1), MP(group_of(2048).prime - 1), NS(b"\xff"), b"", POINT + b"x"]
)
def test_a_value_that_is_none_ends_the_connection(talk: Talk, value: bytes) -> None:
    talk.kexinit(GROUP14)
    talk.send(INIT, value)
    assert len(talk.reasons) == 1
    assert talk.said == [DISCONNECT]


# What takes long.


SLOW_KEY = Key(rsa.generate_private_key(65537, SLOW_RSA_BITS))


@pytest.fixture
def held() -> Iterator[Talk]:
    """A talk in which the thread for the signature is held."""
    talk = Talk(key=SLOW_KEY)
    talk.kexinit(b"curve25519-sha256", host_key=b"rsa-sha2-512")
    talk.send(INIT, POINT)
    yield talk
    talk.end()


def test_a_slow_method_takes_two_turns_and_no_thread(talk: Talk) -> None:
    talk.kexinit(GROUP18)
    talk.send(INIT, MP(5))
    assert talk.pair.server.is_computing
    assert talk.said == []
    talk.clock.advance(0)
    assert talk.said == [REPLY, NEWKEYS]
    assert talk.work.steps == [("/local", talk.pair.server.session, "key exchange")] * 2
    assert not talk.threads.waiting


@pytest.mark.parametrize("message", [INIT, KEXINIT])
def test_what_comes_while_turns_compute_ends_the_connection(talk: Talk, message: int) -> None:
    talk.kexinit(GROUP18)
    talk.send(INIT, MP(5))
    talk.send(message, MP(5))
    talk.clock.pump([0] * 3)
    assert talk.reasons == [f"message {message} at the wrong time"]


@pytest.mark.parametrize("message", [INIT, NEWKEYS, KEXINIT])
def test_what_comes_while_a_thread_computes_ends_the_connection(held: Talk, message: int) -> None:
    held.send(message, MP(5))
    assert held.reasons == [f"message {message} at the wrong time"]
    assert held.said == [DISCONNECT]


def test_a_slow_method_with_a_slow_host_key_takes_both() -> None:
    talk = Talk(key=SLOW_KEY)
    talk.kexinit(GROUP18, host_key=b"rsa-sha2-512")
    talk.send(INIT, MP(5))
    assert not talk.threads.waiting
    talk.clock.pump([0] * 2)
    assert talk.said == []
    talk.threads.work()
    assert talk.said == [REPLY, NEWKEYS]
    talk.end()


def test_a_slow_host_key_is_used_in_a_thread_for_its_address(held: Talk) -> None:
    assert held.said == []
    assert [source for source, *_ in held.threads.waiting] == ["local"]
    held.threads.work()
    assert held.said == [REPLY, NEWKEYS]


def test_while_a_thread_computes_the_time_of_the_client_stands_still(held: Talk) -> None:
    held.clock.advance(59)
    held.threads.work()
    assert held.said == [REPLY, NEWKEYS]
    assert held.events.facts("session-closed") == []


def test_who_waits_for_a_thread_when_the_grace_is_over_is_not_blamed_for_it(held: Talk) -> None:
    assert held.pair.server.is_computing
    held.clock.advance(60)
    assert held.said == [DISCONNECT]
    held.threads.work()
    assert held.said == [DISCONNECT], "the reply comes too late"


def test_a_client_that_is_gone_leaves_the_queue_for_threads() -> None:
    talk = Talk(key=SLOW_KEY)
    talk.kexinit(b"curve25519-sha256", host_key=b"rsa-sha2-512")
    talk.send(INIT, POINT)
    talk.end()
    assert talk.threads.left == 1


@pytest.mark.parametrize("steps", [0, 1])
def test_a_client_that_is_gone_leaves_the_queue_for_turns(steps: int) -> None:
    talk = Talk()
    talk.kexinit(GROUP18)
    talk.send(INIT, MP(5))
    talk.work.on_step = talk.pair.drop
    if steps:
        talk.clock.advance(0)
    talk.end()
    assert len(talk.work.steps) == steps
    assert talk.said == []


def test_an_error_in_a_thread_ends_the_connection(held: Talk) -> None:
    held.threads.waiting.pop()[2].errback(ValueError("no secret"))
    assert held.reasons == ["a malformed transport message"]
    assert held.said == [DISCONNECT]


def test_new_keys_later_are_exchanged_under_legacy_too() -> None:
    pair = LoggedInPair({}, SshSettings(policy=Policy.LEGACY))
    pair.server.rekey()
    pair.pump()
    assert len(pair.client.answers(NEWKEYS)) == 2
    pair.drop()


# Host keys that clients can learn.

GLOBAL_REQUEST, REQUEST_SUCCESS, REQUEST_FAILURE = 80, 81, 82
TOLD, PROVE = b"hostkeys-00@openssh.com", b"hostkeys-prove-00@openssh.com"


def prove(pair: LoggedInPair, *blobs: bytes, wants_reply: bool = True) -> None:
    data = b"".join(map(NS, blobs))
    asked = pair.connection.sendGlobalRequest(PROVE, data, wantReply=wants_reply)
    if asked is not None:
        asked.addErrback(lambda _: None)
    pair.pump()


def test_after_the_login_a_client_is_told_the_host_keys_and_gets_proof() -> None:
    pair = LoggedInPair({})
    (key,) = pair.factory.host_keys.keys
    blob = key.public().blob()
    assert pair.client.answers(GLOBAL_REQUEST) == [NS(TOLD) + b"\0" + NS(blob)]
    prove(pair, blob)
    (proof,) = pair.client.answers(REQUEST_SUCCESS)
    signed = NS(PROVE) + NS(pair.client.sessionID or b"") + NS(blob)
    assert key.public().verify(getNS(proof)[0], signed)
    prove(pair, blob)
    assert pair.client.answers(REQUEST_FAILURE) == [b""], "once in a connection"
    pair.drop()


def test_where_a_key_signs_slowly_none_is_told() -> None:
    """OpenSSH would forget that key, since it was not told with the others."""
    assert told_keys(list(HostKeys([new_key()]).signers.values())) is not None
    keys = HostKeys([new_key(), SLOW_KEY])
    client = ClientLists.of([b"", b"ssh-ed25519,rsa-sha2-512", *[b""] * 6])
    signers = client.signers(keys, keys.policy_offers[Policy.MODERN])
    assert len(signers) == 2
    assert told_keys(signers) is None
    assert told_keys([]) is None


@pytest.mark.parametrize("which", ["none", "foreign", "twice"])
def test_proof_for_other_keys_is_refused(which: str) -> None:
    pair = LoggedInPair({})
    blob = pair.factory.host_keys.keys[0].public().blob()
    prove(pair, *{"none": [], "foreign": [new_key().public().blob()], "twice": [blob, blob]}[which])
    assert pair.client.answers(REQUEST_SUCCESS) == []
    assert len(pair.client.answers(REQUEST_FAILURE)) == 1
    pair.drop()


def test_a_request_for_proof_that_wants_no_reply_gets_none() -> None:
    pair = LoggedInPair({})
    prove(pair, pair.factory.host_keys.keys[0].public().blob(), wants_reply=False)
    assert pair.client.answers(REQUEST_SUCCESS) + pair.client.answers(REQUEST_FAILURE) == []
    pair.drop()


def test_an_rsa_key_proves_itself_with_what_the_client_has() -> None:
    keys = HostKeys([SMALL_KEY])
    for theirs, policy, algorithms in (
        (b"ssh-ed25519,rsa-sha2-256", Policy.LEGACY, [b"rsa-sha2-256"]),
        (b"ssh-ed25519,ssh-rsa,rsa-sha2-512", Policy.LEGACY, [b"rsa-sha2-512"]),
        (b"ssh-ed25519,ssh-rsa", Policy.LEGACY, [b"ssh-rsa"]),
        (b"ssh-ed25519", Policy.LEGACY, []),
        (b"ssh-rsa", Policy.COMPATIBLE, []),
    ):
        client = ClientLists.of([b"", theirs, *[b""] * 6])
        signers = client.signers(keys, keys.policy_offers[policy])
        assert [signer.algorithm for signer in signers] == algorithms
