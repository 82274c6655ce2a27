"""What a client offers as its key: a public key, or a certificate for one.

Knows: that both sign in the same way. Must not know: whether it opens an account.
"""

from __future__ import annotations

from dataclasses import dataclass

from sftpgw.auth.login_keys import LoginKey, fingerprint, read_key_blob
from sftpgw.auth.user_certificates import (
    UserCertificate,
    certified_blob,
    describe_certificate,
    is_certificate,
    read_certificate,
)


@dataclass(frozen=True, slots=True)
class OfferedKey:
    """A key of an accepted type.

    :ivar login_key: the key that signs.
    :ivar certificate: what an authority says of it; None if the client offers the key alone.
    """

    login_key: LoginKey
    certificate: UserCertificate | None = None

    @property
    def blob(self) -> bytes:
        """The key in its only encoding (RFC 4253, section 6.6), without a certificate."""
        return self.login_key.blob


def key_facts(blob: bytes) -> tuple[str, str | None]:
    """The fingerprint of an offered key, as ``ssh-keygen -l`` shows it, and its certificate.

    :param blob: what the client offers; if it cannot be read, it has a fingerprint all the same.
    """
    if is_certificate(blob):
        try:
            return fingerprint(certified_blob(blob)), describe_certificate(blob)
        except ValueError:
            pass
    return fingerprint(blob), None


def read_offered_key(blob: bytes) -> OfferedKey:
    """The key or certificate in `blob`.

    :raises ValueError: it is neither, or cannot be used; says why.
    """
    if is_certificate(blob):
        certificate = read_certificate(blob)
        return OfferedKey(certificate.login_key, certificate)
    return OfferedKey(read_key_blob(blob))
