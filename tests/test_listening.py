"""Lines of `listen` that are not endpoints: each has an error text, whatever Twisted raises."""

from __future__ import annotations

import pytest
from twisted.internet.testing import MemoryReactor

from sftpgw.services import parse_endpoint


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tcp", "without port"),
        ("tcp:", "its port is no number; endpoints have a line each"),
        ("tcp:ssh", "its port is no number; endpoints have a line each"),
        ("tcp:99999", "ports go up to 65535"),
        (r"tcp6:port=99999:interface=\:\:1", "ports go up to 65535"),
        (
            "tcp:2022:interface=::",
            r"a colon too many; an IPv6 address is written tcp6:2022:interface=\:\:1",
        ),
        ("tcp:2022:interfaces=127.0.0.1", "interfaces= is not known there"),
        ("unix", "without address"),
        ("ssl:2022:privateKey=/nowhere/key", "/nowhere/key: No such file or directory"),
        (
            "systemd:domain=INET:index=7",
            "systemd has handed over no such socket; start the service by its .socket unit",
        ),
        (
            "systemd:domain=INET:name=nothing",
            "systemd has handed over no such socket; start the service by its .socket unit",
        ),
        ("systemd:domain=INET", "Specify exactly one of descriptor index or name"),
        ("systemd", "without domain"),
        ("stdio:", "it serves one client, on its own input and output"),
        ("carrier-pigeon:1", "Unknown endpoint type: 'carrier-pigeon'"),
        ("2022", "Unknown endpoint type: '2022'"),
    ],
)
def test_wrong_endpoints_are_explained(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_endpoint(MemoryReactor(), text)
    assert str(caught.value) == why


@pytest.mark.parametrize("text", ["tcp:0", r"tcp6:0:interface=\:\:1", "unix:/tmp/socket"])
def test_right_texts_are_endpoints(text: str) -> None:
    assert parse_endpoint(MemoryReactor(), text) is not None
