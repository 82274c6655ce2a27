"""Which algorithms are offered: the defaults, and those that [ssh] lists."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import pytest
from twisted.conch.ssh.common import NS, getNS
from twisted.conch.ssh.keys import Key
from twisted.internet.task import Clock

from sftpgw.model.settings import Policy, SshSettings
from sftpgw.ssh.algorithms import (
    KNOWN,
    Offer,
    legacy_names,
    policy_offer,
)
from sftpgw.ssh.factory import GatewayFactory
from sftpgw.ssh.key_agreements import METHODS
from sftpgw.ssh.negotiation import ClientLists, HostKeys, Mismatch, login_remedy_for, remedy_for
from sftpgw.ssh.packet_cipher import AEAD_CIPHERS
from sftpgw.ssh.unfit_clients import MAX_VERSIONS, UNFIT_TALLY_SECONDS
from sftpgw.testing.cpu_clocks import free_work
from sftpgw.testing.ssh_clients import ClientTransport
from sftpgw.testing.ssh_pairs import (
    ClientPair,
    LoggedInPair,
    RecordedEvents,
    RecordingSubsystem,
    call_at_once,
    make_test_portal,
    new_key,
)

KEXINIT = 20
MODERN, COMPATIBLE, LEGACY = map(policy_offer, Policy)
CIPHERS = MODERN.ciphers
KEY_EXCHANGES = MODERN.key_exchanges
GCM, CTR = b"aes128-gcm@openssh.com", b"aes128-ctr"
ETM, PLAIN = b"hmac-sha2-256-etm@openssh.com", b"hmac-sha2-256"


def factory_of(settings: SshSettings, keys: tuple[Key, ...] = ()) -> GatewayFactory:
    return GatewayFactory(
        portal=make_test_portal({}, {}),
        host_keys=keys or (new_key(),),
        settings=settings,
        clock=Clock(),
        events=RecordedEvents(),
        work=free_work(Clock()),
        run_in_thread=call_at_once,
    )


def offered(settings: SshSettings) -> list[list[bytes]]:
    """The lists of our KEXINIT (RFC 4253, section 7.1)."""
    factory = factory_of(settings)
    pair = ClientPair(factory, factory.clock, greet=False)
    kexinit = b"".join(pair.server_io.stream).partition(b"\r\n")[2][5:]
    pair.drop()
    return [names.split(b",") for names in getNS(kexinit[17:], 8)[:-1]]


@pytest.mark.parametrize("policy", Policy)
def test_what_a_policy_has_is_offered_and_no_more(policy: Policy) -> None:
    key_exchanges, host_keys, ciphers, _, macs, *_ = offered(SshSettings(policy=policy))
    offer = policy_offer(policy)
    strict, extensions = b"kex-strict-s-v00@openssh.com", b"ext-info-s"
    assert key_exchanges == [*offer.key_exchanges, strict, extensions]
    assert host_keys == [b"ssh-ed25519"], "the only key of this gateway"
    assert (ciphers, macs) == (list(offer.ciphers), list(offer.macs))


def test_compatible_is_the_default() -> None:
    assert Offer.of(SshSettings()) == COMPATIBLE


def test_each_policy_has_all_of_the_one_before_it() -> None:
    for kind in KNOWN:
        lists = [getattr(policy_offer(policy), kind) for policy in Policy]
        for stricter, laxer in itertools.pairwise(lists):
            kept = [name for name in laxer if name in stricter]
            assert kept == list(stricter), "in the same order"


def test_nothing_weak_is_in_a_policy_but_legacy() -> None:
    for kind in KNOWN:
        for name in (*getattr(MODERN, kind), *getattr(COMPATIBLE, kind)):
            assert not {"sha1", "cbc", "dss"} & set(re.split(r"[-@]", name.decode())), name
    assert b"ssh-rsa" not in COMPATIBLE.host_key_algorithms + COMPATIBLE.login_key_algorithms
    assert all(name.endswith(b"-etm@openssh.com") for name in MODERN.macs)
    ours = MODERN.key_exchanges + MODERN.host_key_algorithms
    assert not any(b"nistp" in name or b"group" in name for name in ours)


def test_legacy_has_what_only_legacy_should_have() -> None:
    assert legacy_names(MODERN) == legacy_names(COMPATIBLE) == []
    assert set(legacy_names(LEGACY)) == {
        "diffie-hellman-group-exchange-sha256",
        "diffie-hellman-group14-sha1",
        "aes256-cbc",
        "aes192-cbc",
        "aes128-cbc",
        "hmac-sha1",
        "ssh-rsa",
    }


def test_a_list_goes_before_the_policy() -> None:
    lists = offered(SshSettings(policy=Policy.LEGACY, macs=("hmac-sha2-512",)))
    assert lists[4] == [b"hmac-sha2-512"]
    assert lists[2] == list(LEGACY.ciphers)


def test_each_list_can_be_narrowed_and_its_order_is_the_operators() -> None:
    lists = offered(
        SshSettings(
            key_exchanges=("curve25519-sha256@libssh.org", "curve25519-sha256"),
            ciphers=("aes256-ctr", "aes128-gcm@openssh.com", "aes256-ctr"),
        )
    )
    assert lists[0][:3] == [
        b"curve25519-sha256@libssh.org",
        b"curve25519-sha256",
        b"kex-strict-s-v00@openssh.com",
    ]
    assert lists[2] == lists[3] == [b"aes256-ctr", b"aes128-gcm@openssh.com"]


def test_every_algorithm_that_may_be_listed_works() -> None:
    assert {name.encode() for name in KNOWN["key_exchanges"]} <= set(METHODS)
    assert Offer.of(SshSettings(macs=KNOWN["macs"])).macs == tuple(
        name.encode() for name in KNOWN["macs"]
    )


def test_keys_may_sign_only_with_what_is_listed() -> None:
    LoggedInPair({}, SshSettings(login_key_algorithms=("ssh-ed25519",))).drop()
    with pytest.raises(
        AssertionError, match=r"login-key-unfit.*SHA256:.*ssh-ed25519 is not offered"
    ):
        LoggedInPair({}, SshSettings(login_key_algorithms=("rsa-sha2-512",)))


def test_clients_are_told_what_keys_may_sign_with() -> None:
    pair = LoggedInPair({}, SshSettings(login_key_algorithms=("ssh-ed25519", "rsa-sha2-512")))
    (payload,) = pair.client.answers(7)
    assert payload[4:] == NS(b"server-sig-algs") + NS(b"ssh-ed25519,rsa-sha2-512")
    pair.drop()


# MACs and AEADs.


@pytest.mark.parametrize(
    ("ciphers", "macs", "ours", "expected"),
    [
        ([[GCM], [GCM]], [[b""], [b"hmac-md5"]], CIPHERS, [b"", b"hmac-md5"]),
        ([[GCM, CTR], [GCM]], [[PLAIN], [PLAIN]], CIPHERS, [PLAIN, PLAIN]),
        ([[GCM, CTR], [GCM, CTR]], [[PLAIN], [PLAIN]], (CTR,), [ETM]),
        ([[GCM], [CTR]], [[PLAIN], [PLAIN]], CIPHERS, [ETM]),
        ([[CTR, GCM], [GCM]], [[PLAIN], [PLAIN]], CIPHERS, [ETM]),
        ([[b"none"], [GCM]], [[PLAIN], [PLAIN]], CIPHERS, [ETM]),
    ],
)
def test_an_aead_needs_no_mac_in_common(
    ciphers: list[list[bytes]], macs: list[list[bytes]], ours: tuple[bytes, ...], expected: object
) -> None:
    names = tuple(name.decode() for name in ours)
    offer = Offer.of(SshSettings(ciphers=names, macs=(ETM.decode(),)))
    none = [b"none"]
    client = ClientLists.of(
        [b",".join(each) for each in ([b""], [b""], *ciphers, *macs, none, none)]
    )
    assert client.acceptable_macs(offer) == expected


@pytest.mark.parametrize("cipher", sorted(AEAD_CIPHERS))
def test_a_client_with_an_aead_and_foreign_macs_gets_through(
    cipher: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Conch's client has no AEAD cipher: the test ends once both sides have agreed."""
    monkeypatch.setattr(ClientTransport, "supportedCiphers", [cipher])
    monkeypatch.setattr(ClientTransport, "supportedMACs", [b"hmac-md5"])
    factory = factory_of(SshSettings())
    pair = ClientPair(factory, factory.clock, greet=False)
    pair.client.makeConnection(pair.client_io)
    pair.server.dataReceived(pair.client_io.take())
    assert not pair.server.has_ended
    assert pair.server.nextEncryptions.outCipType == cipher
    assert pair.server.supportedMACs == list(factory.offer.macs)
    pair.drop()


def test_an_algorithm_of_the_client_that_is_not_offered_is_not_used() -> None:
    pair = LoggedInPair({}, SshSettings(macs=("hmac-sha2-256",)))
    names = [b"curve25519-sha256", b"ssh-ed25519", GCM, GCM, b"hmac-md5", b"hmac-md5"]
    lists = b"".join(map(NS, (*names, b"none", b"none", b"", b"")))
    pair.client.sendPacket(KEXINIT, bytes(16) + lists + bytes(5))
    pair.pump()
    ours = getNS(pair.client.answers(KEXINIT)[-1][16:], 10)
    assert (ours[4], ours[5]) == (b"hmac-sha2-256", b"hmac-sha2-256")
    pair.drop()


def test_a_client_with_plain_macs_only_does_not_get_through_under_modern(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ClientTransport, "supportedMACs", [PLAIN])
    for settings, passes in (
        (SshSettings(policy=Policy.MODERN), False),
        (SshSettings(policy=Policy.MODERN, macs=(PLAIN.decode(),)), True),
        (SshSettings(), True),
    ):
        factory = factory_of(settings)
        pair = ClientPair(factory, factory.clock)
        assert pair.connected is passes
        pair.drop()


def test_the_subsystem_works_with_each_plain_mac() -> None:
    for mac in ("hmac-sha2-256", "hmac-sha2-512", "hmac-sha1"):
        made: list[RecordingSubsystem] = []
        pair = LoggedInPair({b"sftp": RecordingSubsystem.into(made)}, SshSettings(macs=(mac,)))
        pair.open_subsystem().write(b"hello")
        pair.pump()
        assert bytes(made[0].received) == b"hello"
        pair.drop()


CLIENT = [[KEY_EXCHANGES[1]], [b"ssh-ed25519"], [CTR], [CTR], [ETM], [ETM], [b"none"], [b"none"]]
ED25519_ONLY = MODERN.with_keys([new_key()])


def client_with(place: int | None = None, names: Sequence[bytes] = ()) -> ClientLists:
    """A client that a modern gateway lets in, but for one of its lists."""
    lists = [*CLIENT]
    if place is not None:
        lists[place] = list(names)
    return ClientLists.of([b",".join(each) for each in lists])


MISMATCHES: list[tuple[int, list[bytes], str, tuple[str, ...], str]] = [
    (
        0,
        [b"ecdh-sha2-nistp256", b"ext-info-c"],
        "key_exchanges",
        ("ecdh-sha2-nistp256",),
        "[ssh] policy = compatible",
    ),
    (0, [b"kex-strict-s-v00@openssh.com"], "key_exchanges", (), "nothing: the client"),
    (0, [b"diffie-hellman-group1-sha1"], "key_exchanges", (), "nothing: the client"),
    (
        0,
        [b"diffie-hellman-group14-sha1"],
        "key_exchanges",
        ("diffie-hellman-group14-sha1",),
        "[ssh] policy = legacy",
    ),
    (
        1,
        [b"ssh-dss", b"rsa-sha2-512"],
        "host_key_algorithms",
        ("rsa-sha2-512",),
        "[gateway] host_keys with a key for rsa-sha2-512",
    ),
    (2, [b"aes128-cbc"], "ciphers", ("aes128-cbc",), "[ssh] policy = legacy"),
    (3, [b"3des-cbc"], "ciphers", (), "nothing: the client"),
    (
        4,
        [b"hmac-sha1", PLAIN],
        "macs",
        ("hmac-sha2-256", "hmac-sha1"),
        "[ssh] policy = compatible",
    ),
    (5, [b""], "macs", (), "nothing: the client"),
    (6, [b"zlib@openssh.com"], "compressions", (), "nothing: the client"),
]


@pytest.mark.parametrize(("place", "theirs", "setting", "could_list", "lets_in"), MISMATCHES)
def test_the_kind_without_a_match_is_named_and_what_would_help(
    place: int, theirs: list[bytes], setting: str, could_list: tuple[str, ...], lets_in: str
) -> None:
    assert client_with().mismatch(ED25519_ONLY) is None
    client = client_with(place, theirs)
    mismatch = client.mismatch(ED25519_ONLY)
    assert mismatch is not None
    ours = getattr(ED25519_ONLY, setting, (b"none",))
    assert mismatch == Mismatch(setting, tuple(theirs), tuple(ours), could_list)
    settings = SshSettings(policy=Policy.MODERN)
    remedy = remedy_for(mismatch, client, settings, HostKeys([new_key()]))
    assert remedy.startswith(lets_in)


def test_where_a_list_keeps_a_client_out_no_policy_is_named() -> None:
    settings = SshSettings(macs=(ETM.decode(),))
    client = client_with(4, [PLAIN])
    mismatch = client.mismatch(Offer.of(settings).with_keys([new_key()]))
    assert mismatch is not None
    assert (
        remedy_for(mismatch, client, settings, HostKeys([new_key()]))
        == "[ssh] macs with hmac-sha2-256"
    )


@pytest.mark.parametrize(
    ("place", "names", "login", "policy"),
    [
        (None, [], b"", Policy.MODERN),
        (None, [], b"rsa-sha2-256", Policy.MODERN),
        (None, [], b"ssh-rsa", Policy.LEGACY),
        (0, [b"ecdh-sha2-nistp521", b"curve25519-sha256"], b"", Policy.MODERN),
        (0, [b"ecdh-sha2-nistp521"], b"", Policy.COMPATIBLE),
        (5, [b"hmac-sha2-512"], b"ssh-ed25519", Policy.COMPATIBLE),
        (2, [b"aes256-cbc"], b"ssh-ed25519", Policy.LEGACY),
        (2, [b"3des-cbc"], b"ssh-ed25519", None),
    ],
)
def test_the_strictest_policy_that_lets_a_client_in(
    place: int | None, names: list[bytes], login: bytes, policy: Policy | None
) -> None:
    assert client_with(place, names).strictest_policy(HostKeys([new_key()]), login) is policy


def test_what_is_forgotten_of_a_client_makes_no_difference() -> None:
    foreign = [b"x", b"hmac-md5", GCM, GCM, CTR]
    for place, names in ((2, foreign), (4, foreign), (0, [b"y", b"ecdh-sha2-nistp256", b"z"])):
        client = client_with(place, names)
        assert client.known().strictest_policy(HostKeys([new_key()])) is client.strictest_policy(
            HostKeys([new_key()])
        )
    aead = ClientLists.of(
        [*map(b",".join, CLIENT[:2]), GCM, GCM, b"hmac-md5", b"x", b"none", b"none"]
    )
    assert aead.known().strictest_policy(HostKeys([new_key()])) is Policy.MODERN
    assert client_with(3, foreign * 100).known().names[3] == (GCM, CTR)


def test_what_is_wrong_with_a_signature_is_said() -> None:
    default, listed = SshSettings(), SshSettings(login_key_algorithms=("ssh-ed25519",))
    sha1 = "the client signs with RSA and SHA-1"
    assert login_remedy_for(b"ssh-rsa", default) == (sha1, "[ssh] policy = legacy")
    assert login_remedy_for(b"ssh-rsa", listed) == (sha1, "[ssh] login_key_algorithms with ssh-rsa")
    assert "type ssh-dss" in login_remedy_for(b"ssh-dss", default)[0]
    assert login_remedy_for(b"rsa-sha2-512", listed)[0] == "rsa-sha2-512 is not offered"


def test_the_log_tells_what_a_client_without_anything_in_common_offers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ClientTransport, "supportedMACs", [b"hmac-md5", PLAIN])
    factory = factory_of(SshSettings(policy=Policy.MODERN))
    pair = ClientPair(factory, factory.clock)
    assert not pair.connected
    assert isinstance(factory.events, RecordedEvents)
    (facts,) = factory.events.facts("algorithms-differ")
    assert facts["setting"] == "macs"
    assert facts["client_offers"] == "hmac-md5 hmac-sha2-256"
    assert facts["could_list"] == "hmac-sha2-256"
    assert facts["we_offer"] == "hmac-sha2-256-etm@openssh.com hmac-sha2-512-etm@openssh.com"
    assert facts["lets_in"] == "[ssh] policy = compatible"
    assert str(facts["client"]).startswith("SSH-2.0-Twisted")
    (closed,) = factory.events.facts("session-closed")
    assert closed["reason"] == "no macs in common"
    pair.drop()


def test_clients_without_anything_in_common_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClientTransport, "supportedMACs", [b"hmac-md5"])
    factory = factory_of(SshSettings())
    for number in range(MAX_VERSIONS + 3):
        monkeypatch.setattr(ClientTransport, "ourVersionString", b"SSH-2.0-client_%d x" % number)
        ClientPair(factory, factory.clock).drop()
    assert isinstance(factory.events, RecordedEvents)
    assert factory.events.facts("clients-unfit") == []
    assert isinstance(factory.clock, Clock)
    factory.clock.advance(UNFIT_TALLY_SECONDS)
    (facts,) = factory.events.facts("clients-unfit")
    assert facts["macs"] == MAX_VERSIONS + 3
    clients = str(facts["clients"]).split()
    assert clients[0] == "others:3"
    assert len(clients) == MAX_VERSIONS + 1
    assert "client_7:1" in clients
