"""How clients learn which host keys the gateway has, so that one can be exchanged later.

Knows: ``hostkeys-00@openssh.com`` and ``hostkeys-prove-00@openssh.com`` (OpenSSH PROTOCOL, 2.5).
Must not know: connections, or which of the keys a client has stored.

After the login the gateway tells the client its public keys. A client that stores them asks for a
proof that the gateway has the private keys, too: a signature over the session's id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twisted.conch.ssh.common import NS

from sftpgw.ssh.fields import PacketFields
from sftpgw.ssh.key_agreements import HostKeySigner

HOST_KEYS = b"hostkeys-00@openssh.com"
HOST_KEYS_PROVE = b"hostkeys-prove-00@openssh.com"


def told_keys(signers: Sequence[HostKeySigner]) -> bytes | None:
    """The payload of the global request that tells all host keys; None if there must be none.

    OpenSSH forgets each key of the host that it is not told. So either all are told, or none: none
    where one signs slowly, since proofs are made at once.

    :param signers: the keys.
    """
    if not signers or any(signer.is_slow for signer in signers):
        return None
    return NS(HOST_KEYS) + b"\0" + b"".join(NS(signer.blob) for signer in signers)


def proofs(
    fields: PacketFields, signers: Iterable[HostKeySigner], session_id: bytes
) -> bytes | None:
    """The payload of the reply to a request for proofs; None if it has to be refused.

    :param fields: the public keys that the client asks about.
    :param signers: the keys that it was told.
    :param session_id: the session's id.
    """
    left = {signer.blob: signer for signer in signers}
    signatures = []
    while fields.left_bytes:
        blob = fields.string()
        signer = left.pop(blob, None)  # each once: a signature costs up to 2 ms
        if signer is None:
            return None
        signatures.append(NS(signer.sign(NS(HOST_KEYS_PROVE) + NS(session_id) + NS(blob))))
    return b"".join(signatures) if signatures else None
