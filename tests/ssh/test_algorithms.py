"""Which algorithms are offered: the defaults, and those that [ssh] lists."""

from __future__ import annotations

import pytest
from twisted.conch.ssh.common import NS, getNS
from twisted.conch.ssh.keys import Key
from twisted.internet.task import Clock

from sftpgw.model.settings import SshSettings
from sftpgw.ssh.algorithms import (
    CIPHERS,
    KEY_EXCHANGES,
    KNOWN,
    NIST_KEY_EXCHANGES,
    Mismatch,
    Offer,
    acceptable_macs,
    first_mismatch,
)
from sftpgw.ssh.factory import GatewayFactory
from sftpgw.ssh.packet_cipher import AEAD_CIPHERS
from sftpgw.ssh.transport import GatewayTransport
from sftpgw.testing.cpu_clocks import free_work
from sftpgw.testing.ssh_clients import ClientTransport
from sftpgw.testing.ssh_pairs import (
    ClientPair,
    LoggedInPair,
    RecordedEvents,
    RecordingSubsystem,
    make_test_portal,
    new_key,
)

KEXINIT = 20
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
    )


def offered(settings: SshSettings) -> list[list[bytes]]:
    """The lists of our KEXINIT (RFC 4253, section 7.1)."""
    factory = factory_of(settings)
    pair = ClientPair(factory, factory.clock, greet=False)
    kexinit = b"".join(pair.server_io.stream).partition(b"\r\n")[2][5:]
    pair.drop()
    return [names.split(b",") for names in getNS(kexinit[17:], 8)[:-1]]


def test_no_plain_mac_unless_it_is_listed() -> None:
    key_exchanges, _, ciphers, _, macs, *_ = offered(SshSettings())
    assert key_exchanges[:4] == [*KEY_EXCHANGES, b"kex-strict-s-v00@openssh.com"]
    assert ciphers == list(CIPHERS)
    assert all(name.endswith(b"-etm@openssh.com") for name in macs)
    assert offered(SshSettings(macs=("hmac-sha2-512",)))[4] == [b"hmac-sha2-512"]


def test_no_curve_of_nist_unless_it_is_listed() -> None:
    """Ruby's net-ssh has no others without the gem x25519."""
    assert not set(offered(SshSettings())[0]) & set(NIST_KEY_EXCHANGES)
    listed = tuple(name.decode("ascii") for name in (*KEY_EXCHANGES, *NIST_KEY_EXCHANGES))
    assert offered(SshSettings(key_exchanges=listed))[0][:6] == [
        *KEY_EXCHANGES,
        *NIST_KEY_EXCHANGES,
    ]


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
    conchs = [name.decode() for name in GatewayTransport.supportedKeyExchanges]
    assert set(KNOWN["key_exchanges"]) <= set(conchs)
    assert Offer.of(SshSettings(macs=KNOWN["macs"])).macs == tuple(
        name.encode() for name in KNOWN["macs"]
    )


def test_keys_may_sign_only_with_what_is_listed() -> None:
    LoggedInPair({}, SshSettings(login_key_algorithms=("ssh-ed25519",))).drop()
    with pytest.raises(AssertionError, match=r"key-not-authorised.*SHA256:"):
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
    assert acceptable_macs(ciphers, macs, offer) == expected


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


def test_a_client_with_plain_macs_only_does_not_get_through_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ClientTransport, "supportedMACs", [PLAIN])
    for macs, passes in (((), False), ((PLAIN.decode(),), True)):
        factory = factory_of(SshSettings(macs=macs))
        pair = ClientPair(factory, factory.clock)
        assert pair.connected is passes
        pair.drop()


def test_the_subsystem_works_with_each_plain_mac() -> None:
    for mac in ("hmac-sha2-256", "hmac-sha2-512"):
        made: list[RecordingSubsystem] = []
        pair = LoggedInPair({b"sftp": RecordingSubsystem.into(made)}, SshSettings(macs=(mac,)))
        pair.open_subsystem().write(b"hello")
        pair.pump()
        assert bytes(made[0].received) == b"hello"
        pair.drop()


OURS = {
    "key_exchanges": KEY_EXCHANGES,
    "host_key_algorithms": (b"ssh-ed25519",),
    "ciphers": CIPHERS,
    "macs": (ETM,),
}
CLIENT = [[KEY_EXCHANGES[1]], [b"ssh-ed25519"], [CTR], [CTR], [ETM], [ETM]]


@pytest.mark.parametrize(
    ("place", "theirs", "setting", "could_list"),
    [
        (0, [b"ecdh-sha2-nistp256", b"ext-info-c"], "key_exchanges", ("ecdh-sha2-nistp256",)),
        (0, [b"kex-strict-s-v00@openssh.com"], "key_exchanges", ()),
        (1, [b"ssh-dss", b"rsa-sha2-512"], "host_key_algorithms", ("rsa-sha2-512",)),
        (2, [b"aes128-cbc"], "ciphers", ()),
        (3, [b"aes128-cbc"], "ciphers", ()),
        (4, [b"hmac-sha1", PLAIN], "macs", ("hmac-sha2-256",)),
        (5, [b""], "macs", ()),
    ],
)
def test_the_kind_of_algorithm_without_a_match_is_named(
    place: int, theirs: list[bytes], setting: str, could_list: tuple[str, ...]
) -> None:
    assert first_mismatch(CLIENT, OURS) is None
    lists = [*CLIENT[:place], theirs, *CLIENT[place + 1 :]]
    assert first_mismatch(lists, OURS) == Mismatch(setting, tuple(theirs), could_list)


def test_the_log_tells_what_a_client_without_anything_in_common_offers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ClientTransport, "supportedMACs", [b"hmac-sha1", PLAIN])
    factory = factory_of(SshSettings())
    pair = ClientPair(factory, factory.clock)
    assert not pair.connected
    assert isinstance(factory.events, RecordedEvents)
    (facts,) = factory.events.facts("algorithms-differ")
    assert facts["setting"] == "macs"
    assert facts["client_offers"] == "hmac-sha1 hmac-sha2-256"
    assert facts["could_list"] == "hmac-sha2-256"
    pair.drop()
