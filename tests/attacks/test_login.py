"""Attacks before and during the login."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import bcrypt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sftpgw.ssh.transport import MAX_SERVICE_REQUESTS
from tests.attacks.gateway import DEAR_COST, KEY, PASSWORD
from tests.attacks.honest import HonestUser
from tests.attacks.raw_ssh import (
    KEX_INIT,
    SERVICE_ACCEPT,
    SERVICE_REQUEST,
    USERAUTH_FAILURE,
    USERAUTH_INFO_REQUEST,
    USERAUTH_SUCCESS,
    Ended,
    RawClient,
    answer,
    kexinit,
    password,
    string,
    userauth,
)
from tests.attacks.target import Target

pytestmark = pytest.mark.slow

MakeClient = Callable[..., RawClient]
TRIES = 6
LONE_ADDRESS = "127.0.0.2"


def outcomes(client: RawClient) -> list[int]:
    """The numbers of all messages until the gateway closes the connection."""
    heard = []
    try:
        while True:
            heard.append(client.receive()[0])
    except Ended:
        return heard


def test_5000_pipelined_passwords_with_the_right_one_last(
    attacker: MakeClient, target: Target
) -> None:
    client = attacker().start().request_login()
    guesses = [password(b"cheap", b"%d" % number) for number in range(4999)]
    with suppress(Ended):
        client.send(*guesses, password(b"cheap", PASSWORD))
    heard = outcomes(client)
    assert USERAUTH_SUCCESS not in heard
    assert len(heard) <= TRIES
    assert target.measure().told("login-failed") <= TRIES


def test_5000_pipelined_responses_with_the_right_one_last(
    attacker: MakeClient, target: Target
) -> None:
    """Responses of keyboard-interactive, with a prompt or without."""
    begin = userauth(b"cheap", b"keyboard-interactive", string(b"") + string(b""))
    for asked in (begin, b""):
        client = attacker().start().request_login()
        guesses = [each for number in range(2500) for each in (asked, answer(b"%d" % number))]
        with suppress(Ended):
            client.send(begin, *filter(None, guesses), begin, answer(PASSWORD))
        assert USERAUTH_SUCCESS not in outcomes(client)
    assert target.measure().told("login-failed") <= 2 * TRIES


def test_prompts_are_requested_and_ignored(attacker: MakeClient) -> None:
    client = attacker().start().request_login()
    begin = userauth(b"cheap", b"keyboard-interactive", string(b"") + string(b""))
    for _ in range(TRIES):
        client.send(begin)
        client.expect(USERAUTH_INFO_REQUEST)
    client.send(begin)
    assert outcomes(client) == []


@pytest.mark.parametrize("wrong", [TRIES - 1, TRIES])
def test_the_last_try_counts_and_no_later_one(attacker: MakeClient, wrong: int) -> None:
    client = attacker().start().request_login()
    client.send(*[password(b"cheap", b"wrong")] * wrong, password(b"cheap", PASSWORD))
    try:
        heard = [client.receive()[0] for _ in range(wrong + 1)]
    except Ended:
        heard = []
    let_in = [USERAUTH_FAILURE] * wrong + [USERAUTH_SUCCESS]
    assert heard == (let_in if wrong < TRIES else [])


def test_ssh_userauth_is_requested_again_and_again(attacker: MakeClient) -> None:
    client = attacker().start().request_login()
    request = bytes([SERVICE_REQUEST]) + string(b"ssh-userauth")
    with suppress(Ended):
        client.send(*[request] * 1000)
    heard = outcomes(client)
    assert len(heard) < MAX_SERVICE_REQUESTS
    assert set(heard) <= {SERVICE_ACCEPT}


def test_a_service_is_requested_after_login(mallory: RawClient) -> None:
    mallory.send(bytes([SERVICE_REQUEST]) + string(b"ssh-connection"))
    assert outcomes(mallory) == []


def test_slow_passwords_from_many_connections(
    attacker: MakeClient, honest: HonestUser, target: Target
) -> None:
    """Each guess takes a thread; logins by key do not wait for these threads."""
    guesses = [password(b"dear", b"%d" % number) for number in range(TRIES)]
    clients = [attacker().start().request_login() for _ in range(30)]
    for client in clients:
        client.send(*guesses)
    for _ in range(3):
        honest.demand_served()
        assert target.measure().told("login-failed") < TRIES * len(clients), "the guesses are over"


def test_a_guesser_that_leaves_at_once_costs_no_work(attacker: MakeClient, target: Target) -> None:
    """Each guess would keep a thread busy after its client is gone."""
    count = 150
    began = time.process_time()
    bcrypt.hashpw(b"a guess", bcrypt.gensalt(DEAR_COST))
    guess_seconds = time.process_time() - began
    for number in range(count):
        client = attacker().start().request_login()
        client.send(password(b"dear", b"%d" % number))
        client.close()
    in_line = attacker().start().request_login()
    in_line.send(password(b"cheap", PASSWORD))
    in_line.expect(USERAUTH_SUCCESS)
    spent_seconds = target.measure().process_seconds - target.before.process_seconds
    assert spent_seconds < count * guess_seconds / 2


def test_2000_connections_say_nothing(
    attacker: MakeClient, honest: HonestUser, target: Target, many_files: int
) -> None:
    count = min(2000, many_files - 200)
    for _ in range(count):
        attacker(source=LONE_ADDRESS)
    honest.demand_served()
    assert target.measure().told("session-opened") < count / 10, "who says nothing is not told of"


def test_40_connections_break_off_in_the_middle_of_a_packet(
    attacker: MakeClient, honest: HonestUser
) -> None:
    clients = [attacker() for _ in range(40)]
    for client in clients:
        client.transmit(b"SSH-2.0-half\r\n" + (34_000).to_bytes(4, "big") + bytes(20_000))
    honest.demand_served()


@pytest.mark.parametrize("steps", range(6))
def test_logins_are_broken_off(attacker: MakeClient, target: Target, steps: int) -> None:
    """The client leaves after each step of a login, again and again; nothing is left over."""
    for _ in range(30):
        client = attacker()
        way = (
            client.greet,
            client.exchange_keys,
            client.request_login,
            lambda: client.send(password(b"cheap", b"wrong")),  # noqa: B023 - called at once
            lambda: client.send(client.key_login(b"mallory", KEY)),  # noqa: B023
        )
        for step in way[:steps]:
            step()
        client.close()
    gone = target.when(lambda now: now.sessions <= 1, "rid of them")
    assert gone.descriptors <= target.before.descriptors + 3


def test_keys_are_exchanged_by_200_at_once(attacker: MakeClient, honest: HonestUser) -> None:
    """A key exchange is the most expensive request before a login."""
    for client in [attacker() for _ in range(200)]:
        with suppress(Ended):  # so many connections without a login are not all accepted
            client.transmit(b"SSH-2.0-crowd\r\n")
            client.send(kexinit(), bytes([KEX_INIT]) + string(bytes([9]) + bytes(31)))
    honest.demand_served()


def test_an_unknown_key_is_offered_often(attacker: MakeClient) -> None:
    client = attacker().start().request_login()
    stranger = Ed25519PrivateKey.generate()
    client.send(*[client.key_login(b"honest", stranger)] * (TRIES + 1))
    assert outcomes(client) == [USERAUTH_FAILURE] * (TRIES - 1)
