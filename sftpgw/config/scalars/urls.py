"""URLs of stores, of services and of LDAP servers."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

import idna

from sftpgw.config.scalars.placeholders import without_placeholders
from sftpgw.config.scalars.words import names

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def endpoint(text: str) -> str:
    """A URL of scheme, host and port only, as a store other than AWS has it."""
    right = "write http://HOST[:PORT] or https://HOST[:PORT]"
    url, port_ok = _parsed_url(text, right)
    if url.username is not None or url.password is not None:
        raise ValueError(f"has a user or password in it; use access_key and secret_key; {right}")
    bare = url.path in ("", "/") and not url.query and not url.fragment
    if url.scheme not in ("http", "https") or not url.hostname or not bare or not port_ok:
        raise ValueError(f"{text!r} is not an endpoint; {right}")
    without_placeholders(text)
    return f"{url.scheme}://{_ascii_netloc(url)}"


def service_url(text: str) -> str:
    """A URL to which passwords may be sent, without a slash at its end."""
    right = "write https://HOST/PATH"
    url, port_ok = _parsed_url(text, right)
    if url.username is not None or url.password is not None:
        raise ValueError(f"has a user or password in it; use http_token_file; {right}")
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        raise ValueError(f"{text!r} is not the URL of a service; {right}")
    if not port_ok or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} is not the URL of a service; {right}")
    if url.scheme == "http" and url.hostname not in LOOPBACK:
        raise ValueError(f"{text!r} would send passwords in the clear; {right}")
    return text.rstrip("/")


def table_endpoint(text: str) -> str:
    """A URL of scheme, host and port only, to which hashes of passwords may be sent."""
    url = endpoint(text)
    if url.startswith("http:") and urlsplit(url).hostname not in LOOPBACK:
        raise ValueError(f"{text!r} would send password hashes in the clear; write https://HOST")
    return url


def ldap_urls(text: str) -> tuple[str, ...]:
    """URLs of LDAP servers, in the order in which they are asked."""
    return tuple(map(_ldap_url, names(text)))


def _ldap_url(text: str) -> str:
    right = "write ldap://HOST or ldaps://HOST, with blanks between several"
    url, port_ok = _parsed_url(text, right)
    if url.username is not None or url.password is not None:
        raise ValueError(f"has a user or password in it; use ldap_service_dn; {right}")
    if url.scheme not in ("ldap", "ldaps") or not url.hostname or not port_ok:
        raise ValueError(f"{text!r} is not the URL of an LDAP server; {right}")
    if url.path.strip("/") or url.query or url.fragment or not text.isascii():
        raise ValueError(f"{text!r} has more than a host and a port; {right}")
    return text.rstrip("/")


def _parsed_url(text: str, right: str) -> tuple[SplitResult, bool]:
    """A URL in its pieces, and whether its port can be one."""
    try:
        url = urlsplit(text)
        return url, url.port is None or url.port > 0
    except ValueError as error:
        raise ValueError(f"is not a URL ({error}); {right}") from None


def _ascii_netloc(url: SplitResult) -> str:
    """Host and port as HTTP and TLS have them: an international name by its A-labels (RFC 5890)."""
    host = url.hostname or ""
    if host.isascii():
        return url.netloc
    try:
        name = idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise ValueError(f"has a host that is no name ({error})") from None
    return name if url.port is None else f"{name}:{url.port}"
