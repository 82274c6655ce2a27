"""Which HTTP proxy leads to a host, if any.

Knows: the setting ``[s3] proxy``; ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY``.
Must not know: how a connection is made (`http/tunnels`, `http/client`).

Rules

1. ``[s3] proxy`` decides for every host; ``none`` means no proxy, whatever the environment says.
2. Without it, the variable for the URL's scheme decides, unless ``NO_PROXY`` names the host. The
   lower-case name comes first. As in Go and curl, ``HTTP_PROXY`` is ignored where
   ``REQUEST_METHOD`` is set: there it may come from a header of a CGI request.
3. The environment's proxies are never used for this machine itself.

https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-proxy.html
https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import unquote, urlsplit

from sftpgw.http.hosts import is_address

NO_PROXY_AT_ALL = "none"
DEFAULT_PORTS = {"http": 80, "https": 443}

_RIGHT = "write http://[USER:PASSWORD@]HOST:PORT, or none"


class ProxyUnusable(Exception):
    """The setting or variable for the proxy is not valid."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy.

    :param host: its name or address, without brackets.
    :param port: its TCP port.
    :param authorization: the value of ``Proxy-Authorization``; "": none is sent.
    :param named_by: the setting or variable that names it, for messages.
    """

    host: str
    port: int
    authorization: str = field(default="", repr=False)
    named_by: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_proxy(text: str) -> Proxy:
    """The proxy of a URL. :raises ValueError: it is no HTTP proxy; never quotes a password"""
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        port = url.port
    except ValueError:  # its message would quote the password
        raise ValueError(
            f"is not a URL; {_RIGHT}, with %2F for / in a password, and so on"
        ) from None
    if url.scheme != "http":
        raise ValueError(f"{url.scheme}:// is not supported, HTTP proxies are; {_RIGHT}")
    if not url.hostname or url.path not in ("", "/") or url.query or url.fragment:
        raise ValueError(f"is not a proxy; {_RIGHT}")
    if not re.fullmatch(r"[!-~]+", url.hostname):
        raise ValueError(f"has a host that is not ASCII; {_RIGHT}")
    authorization = ""
    if url.username is not None:
        pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
    return Proxy(url.hostname, port or DEFAULT_PORTS["http"], authorization)


def check_proxy(text: str) -> None:
    """Check a value of `[s3] proxy`. :raises ValueError: says what is wrong with it"""
    if text != NO_PROXY_AT_ALL:
        parse_proxy(text)


class Proxies:
    """Finds the proxy for each host.

    :param setting: the value of ``proxy`` in the store's section; "": the environment decides.
    :param environment: the process's environment.
    :param section: the section of sftpgw.ini, for messages.
    """

    def __init__(self, setting: str, environment: Mapping[str, str], section: str = "[s3]") -> None:
        self._setting = setting
        self._section = section
        self._environment = environment

    def of(self, scheme: str, host: str, port: int) -> Proxy | None:
        """The proxy for connections to `host`; None: connect directly.

        :raises ProxyUnusable: the setting or variable is not valid
        """
        if self._setting == NO_PROXY_AT_ALL:
            return None
        named_by, text = f"{self._section} proxy", self._setting
        if not text:
            named_by, text = self._named_by_environment(scheme)
            if not text or _is_this_machine(host) or self._is_exempt(host, port):
                return None
        try:
            return replace(parse_proxy(text), named_by=named_by)
        except ValueError as error:
            raise ProxyUnusable(f"{named_by}: {error}") from error

    def _named_by_environment(self, scheme: str) -> tuple[str, str]:
        names = [f"{scheme}_proxy", f"{scheme}_proxy".upper()]
        if scheme == "http" and "REQUEST_METHOD" in self._environment:
            names.pop()
        for name in names:
            if name in self._environment:
                return name, self._environment[name].strip()
        return "", ""

    def _is_exempt(self, host: str, port: int) -> bool:
        environment = self._environment
        listed = environment.get("no_proxy", environment.get("NO_PROXY", ""))
        return is_exempt(host, port, re.split(r"[\s,]+", listed))


def is_exempt(host: str, port: int, entries: Iterable[str]) -> bool:
    """Whether ``NO_PROXY`` names a host.

    :param host: the name or address that is connected to.
    :param port: the port that is connected to.
    :param entries: ``*``; a host, with or without a leading ``.`` or ``*.``, which includes its
        subdomains; an address or a network. A port may follow each of them.
    """
    host = host.lower().rstrip(".")
    for raw in entries:
        entry = raw.lower()
        bare, colon, entry_port = entry.rpartition(":")
        if colon and entry_port.isdecimal() and (":" not in bare or bare.endswith("]")):
            if entry_port.lstrip("0") != str(port):
                continue
            entry = bare
        entry = entry.strip("[]")
        if raw == "*" or _is_in_network(host, entry) or _is_in_domain(host, entry):
            return True
    return False


def _is_in_domain(host: str, entry: str) -> bool:
    domain = entry.removeprefix("*.").strip(".")
    return bool(domain) and (
        host == domain or (not is_address(host) and host.endswith(f".{domain}"))
    )


def _is_in_network(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _is_this_machine(host: str) -> bool:
    if is_address(host):
        return ipaddress.ip_address(host).is_loopback
    return host.rstrip(".").lower() == "localhost"
