"""Whether a key or a certificate opens an account.

Knows: the options of keys, what certificates say, authorities and revocation lists.
Must not know: where users come from, or whether a signature is right.

A user who does not exist takes the same steps as one who has not authorised the key, so that their
number tells nothing: all parsing is done before, and what is left are look-ups. Only the options of
a key that *is* authorised take a step more, which is for those who have that key.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sftpgw.auth.authenticator import KeyGrant, KeyRefusal, LoginAttempt
from sftpgw.auth.login_keys import USER_PRESENT, USER_VERIFIED
from sftpgw.auth.offered_keys import OfferedKey, read_offered_key
from sftpgw.auth.user_certificates import UserCertificate
from sftpgw.model.addresses import Address, address_of
from sftpgw.model.key_trust import NO_TRUST, KeyTrust
from sftpgw.model.users import NO_OPTIONS, KeyOptions, LoginRules, User

NO_LOGIN = LoginRules()
"""How a user who does not exist may log in."""

NOT_AUTHORISED = KeyRefusal("")


@dataclass(frozen=True, slots=True)
class KeyRules:
    """Judges keys for all sources of users.

    :ivar trust: what is said of keys for all users.
    :ivar now_seconds: tells the time, seconds since 1970.
    """

    trust: KeyTrust = NO_TRUST
    now_seconds: Callable[[], float] = time.time

    def judge(
        self, user: User | None, key: OfferedKey, attempt: LoginAttempt
    ) -> KeyGrant | KeyRefusal:
        """Whether a key opens the account, and what its signature must tell.

        :param user: the record of the user; None if there is none.
        :param key: what the client offers.
        :param attempt: the name that the client gives, and its address.
        """
        login = user.login if user is not None else NO_LOGIN
        address = address_of(attempt.peer_host)
        if key.certificate is None:
            found = self._of_key(login, key.blob, address)
        else:
            found = self._of_certificate(login, key.certificate, attempt.user_name, address)
        if isinstance(found, KeyRefusal):
            return found
        return NOT_AUTHORISED if user is None else KeyGrant(user, _required_flags(found))

    def _of_key(
        self, login: LoginRules, blob: bytes, address: Address | None
    ) -> KeyOptions | KeyRefusal:
        options = login.authorized_keys.get(blob)
        is_revoked = self.trust.revoked.cover_key(blob)
        refusal = self._refusal_by_options(options or NO_OPTIONS, address)
        if options is None:
            return NOT_AUTHORISED
        return KeyRefusal("the key is revoked") if is_revoked else refusal or options

    def _of_certificate(
        self,
        login: LoginRules,
        certificate: UserCertificate,
        user_name: bytes,
        address: Address | None,
    ) -> KeyOptions | KeyRefusal:
        refusal = self._refusal_of_certificate(certificate, address)
        own_name = (user_name.decode("utf-8", "replace"),)
        names = login.principals or own_name
        line = login.authorities.get(certificate.authority)
        options = line or NO_OPTIONS
        line_names = options.principals or names
        by_options = self._refusal_by_options(options, address)
        is_trusted = certificate.authority in self.trust.authorities
        is_for_user = not certificate.principals.isdisjoint(names)
        is_for_line = not certificate.principals.isdisjoint(line_names)
        if refusal is not None:
            return refusal
        if is_trusted and is_for_user:
            return KeyOptions(
                needs_touch=certificate.needs_touch,
                needs_verification=certificate.needs_verification,
            )
        if line is None and not is_trusted:
            return KeyRefusal("the authority of the certificate is not trusted for this user")
        if line is None or not is_for_line:
            return KeyRefusal("the certificate is for other principals")
        return by_options or KeyOptions(
            needs_touch=certificate.needs_touch or line.needs_touch,
            needs_verification=certificate.needs_verification or line.needs_verification,
        )

    def _refusal_of_certificate(
        self, certificate: UserCertificate, address: Address | None
    ) -> KeyRefusal | None:
        """Why no user may log in with a certificate now; None if one might."""
        revoked, now_seconds = self.trust.revoked, self.now_seconds()
        if now_seconds < certificate.valid_from:
            return KeyRefusal("the certificate is not valid yet")
        if now_seconds >= certificate.valid_until:
            return KeyRefusal("the certificate has expired")
        if certificate.sources is not None and not certificate.sources.admit(address):
            return KeyRefusal("the certificate is not for this address")
        if revoked.cover_certificate(
            certificate.authority, certificate.serial, certificate.key_id
        ) or revoked.cover_key(certificate.login_key.blob):
            return KeyRefusal("the certificate is revoked")
        if revoked.cover_key(certificate.authority):
            return KeyRefusal("the authority of the certificate is revoked")
        return None

    def _refusal_by_options(
        self, options: KeyOptions, address: Address | None
    ) -> KeyRefusal | None:
        expires_seconds = options.expires_seconds
        if expires_seconds is not None and self.now_seconds() > expires_seconds:
            return KeyRefusal("the expiry-time of the key has passed")
        if options.sources is not None and not options.sources.admit(address):
            return KeyRefusal("from= does not admit the address")
        return None


def is_withdrawn(blob: bytes, user: User, trust: KeyTrust) -> bool:
    """Whether a key or certificate that has logged in is revoked, or its authority trusted no more.

    :param blob: the key or certificate, as the client has offered it.
    :param user: the user as the login has found them, who may trust an authority of their own.
    :param trust: what is said of keys for all users now.
    """
    key, revoked = read_offered_key(blob), trust.revoked
    certificate = key.certificate
    if revoked.cover_key(key.blob):
        return True
    if certificate is None:
        return False
    authority = certificate.authority
    return (
        authority not in trust.authorities | user.login.authorities.keys()
        or revoked.cover_key(authority)
        or revoked.cover_certificate(authority, certificate.serial, certificate.key_id)
    )


PLAIN_KEY_RULES = KeyRules()
"""Without authorities and revocation lists."""


def _required_flags(options: KeyOptions) -> int:
    return USER_PRESENT * options.needs_touch | USER_VERIFIED * options.needs_verification
