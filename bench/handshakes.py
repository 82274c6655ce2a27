"""What key exchanges cost: the CPU time of the gateway's side, by method and by host key.

Knows: the methods of `sftpgw.ssh.key_agreements`, and a client's value for each.
Must not know: connections: they cost the same with each method.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM1024PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.conch.ssh.common import MP, NS
from twisted.conch.ssh.keys import Key

from sftpgw.model.settings import Policy
from sftpgw.ssh.algorithms import policy_offer
from sftpgw.ssh.fields import PacketFields
from sftpgw.ssh.key_agreements import METHODS, GroupExchange, HostKeySigner, Method, answer

TRANSCRIPT = bytes(2048)
"""About as much as two KEXINITs."""

OF_GROUPS = MP(3**200)
"""A client's value for each group."""

EXCHANGE_SIZES = (2048, 3072, 4096, 8192)


def _nist(curve: ec.EllipticCurve) -> bytes:
    key = ec.generate_private_key(curve).public_key()
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _x25519() -> bytes:
    key = X25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _mlkem(kind: type[MLKEM768PrivateKey] | type[MLKEM1024PrivateKey]) -> bytes:
    return kind.generate().public_key().public_bytes_raw()


_VALUES: Mapping[bytes, Callable[[], bytes]] = {
    b"mlkem768x25519-sha256": lambda: NS(_mlkem(MLKEM768PrivateKey) + _x25519()),
    b"mlkem768nistp256-sha256": lambda: NS(_mlkem(MLKEM768PrivateKey) + _nist(ec.SECP256R1())),
    b"mlkem1024nistp384-sha384": lambda: NS(_mlkem(MLKEM1024PrivateKey) + _nist(ec.SECP384R1())),
    b"curve25519-sha256": lambda: NS(_x25519()),
    b"curve25519-sha256@libssh.org": lambda: NS(_x25519()),
    b"ecdh-sha2-nistp256": lambda: NS(_nist(ec.SECP256R1())),
    b"ecdh-sha2-nistp384": lambda: NS(_nist(ec.SECP384R1())),
    b"ecdh-sha2-nistp521": lambda: NS(_nist(ec.SECP521R1())),
}


@dataclass(frozen=True)
class Handshake:
    """What one kind costs.

    :ivar name: the method, or the kind of host key.
    :ivar milliseconds: CPU time of the gateway's side, the median.
    :ivar where: where it is computed, if it takes long.
    """

    name: str
    milliseconds: float
    where: str


def measure_handshakes(repeats: int) -> list[Handshake]:
    """Each method with an Ed25519 host key, and each kind of host key with Curve25519.

    :param repeats: how often each is measured.
    """
    ed25519 = HostKeySigner.of(Key(Ed25519PrivateKey.generate()), b"ssh-ed25519")
    found = [_measured(name, method, value, ed25519, repeats) for name, method, value in _methods()]
    curve, value = METHODS[b"curve25519-sha256"], _VALUES[b"curve25519-sha256"]()
    assert isinstance(curve, Method)
    found += [
        _measured(f"host key {name}", curve, value, signer, repeats) for name, signer in _signers()
    ]
    return found


def _methods() -> Iterator[tuple[str, Method, bytes]]:
    for name in policy_offer(Policy.LEGACY).key_exchanges:
        method = METHODS[name]
        if isinstance(method, GroupExchange):
            for size in EXCHANGE_SIZES:
                asked = b"".join(bits.to_bytes(4, "big") for bits in (size, size, size))
                chosen = method.choose(PacketFields(asked))[0]
                yield f"{name.decode()}, {size} bits", chosen, OF_GROUPS
        else:
            value = _VALUES[name]() if name in _VALUES else OF_GROUPS
            yield name.decode(), method, value


def _signers() -> Iterator[tuple[str, HostKeySigner]]:
    yield "ssh-ed25519", HostKeySigner.of(Key(Ed25519PrivateKey.generate()), b"ssh-ed25519")
    for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()):
        key = Key(ec.generate_private_key(curve))
        yield bytes(key.sshType()).decode(), HostKeySigner.of(key, bytes(key.sshType()))
    for bits in (2048, 3072, 4096, 8192):
        key = Key(generate_rsa_key(65537, bits))
        yield f"rsa-sha2-512, {bits} bits", HostKeySigner.of(key, b"rsa-sha2-512")


def _measured(
    name: str, method: Method, value: bytes, signer: HostKeySigner, repeats: int
) -> Handshake:
    def handshake() -> float:
        began = time.thread_time()
        answer(method, method.read(PacketFields(value)), signer, TRANSCRIPT)
        return time.thread_time() - began

    handshake()  # the first one loads what is needed
    milliseconds = 1000 * statistics.median(handshake() for _ in range(repeats))
    where = ("two turns" if method.is_slow else "") or ("a thread" if signer.is_slow else "")
    return Handshake(name, milliseconds, where)


def handshakes_table(found: Sequence[Handshake]) -> str:
    """The figures as a table."""
    width = max(len(each.name) for each in found)
    lines = [f"{'method or host key':{width}}  CPU-ms  where it is long"]
    for each in found:
        lines.append(f"{each.name:{width}}  {each.milliseconds:6.2f}  {each.where}".rstrip())
    return "\n".join(lines)
