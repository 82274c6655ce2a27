"""Checks of the machine: ports, host keys' folders, file descriptors, twistd's cache.

Knows: how to try an address without keeping it, and the limit of file descriptors.
Must not know: the configuration; callers hand in what to check.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol

import twisted.plugins
from sftpgw.checks import Level, Report
from sftpgw.model.messages import readable
from sftpgw.model.settings import PROXIED

PLUGIN_CACHE = "dropin.cache"

GREETING_SECONDS = 2.0
"""How long a process that has the address may take to send its greeting."""

_EVERY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}

InThread = Callable[..., Awaitable[Any]]


# Ports.


class _NoClients(Factory):
    """Closes every connection that comes while an address is tried."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        return None


async def check_addresses(
    endpoints: Mapping[str, IStreamServerEndpoint],
    our_greeting: bytes,
    in_thread: InThread,
    report: Report,
) -> None:
    """Listen on each endpoint for a moment.

    If a running gateway has the address, that is a note: an operator who checks a changed
    configuration is about to restart it.

    :param endpoints: by their text in the configuration.
    :param our_greeting: the first bytes that a gateway sends.
    :param in_thread: runs a function that blocks.
    :param report: takes the findings.
    """
    ports: list[IListeningPort] = []
    try:
        for text, endpoint in endpoints.items():
            try:
                ports.append(await endpoint.listen(_NoClients()))
            except CannotListenError as error:
                if any(getattr(port.getHost(), "port", None) == error.port for port in ports):
                    reason = "another line of listen has this port already; write it once"
                    report(Level.FAULT, f"listen {text}: {reason}")
                else:
                    report(*await _judge_refusal(text, error, our_greeting, in_thread))
            except Exception as error:
                report(Level.FAULT, f"listen {text}: {_first_line(error)}")
            else:
                report(Level.OK, f"listen {text}: nothing else listens there")
    finally:
        await gatherResults([maybeDeferred(port.stopListening) for port in ports])


async def _judge_refusal(
    text: str, error: CannotListenError, our_greeting: bytes, in_thread: InThread
) -> tuple[Level, str]:
    reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
    if getattr(error.socketError, "errno", 0) == errno.EACCES:
        reason += "; this account may not, another one may: check as the one that starts twistd"
    if getattr(error.socketError, "errno", 0) != errno.EADDRINUSE:
        return Level.FAULT, f"listen {text}: {reason}"
    greeting = await in_thread(greeting_at, error.interface, error.port)
    if greeting.startswith(our_greeting):
        return Level.NOTE, f"listen {text}: a gateway listens there already; end it first"
    if not greeting and text.startswith(PROXIED):
        reason = (
            "something listens there, and waits for a balancer; if it is a gateway, end it first"
        )
        return Level.NOTE, f"listen {text}: {reason}"
    said = f", and says {readable(greeting[:40])}" if greeting else ""
    return Level.FAULT, f"listen {text}: {reason}: another process listens there{said}"


def greeting_at(interface: str | None, port: int | str) -> bytes:
    """The first bytes that the process on an address sends; empty if it sends none. Blocks.

    :param interface: the address; None if `port` is the path of a socket.
    :param port: the port, or the path.
    """
    try:
        with _connected(interface, port) as connection:
            connection.settimeout(GREETING_SECONDS)
            return connection.recv(255)
    except OSError:
        return b""


def _connected(interface: str | None, port: int | str) -> socket.socket:
    if interface is not None:
        host = _EVERY_ADDRESS.get(interface, interface)
        return socket.create_connection((host, int(port)), GREETING_SECONDS)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(GREETING_SECONDS)
    connection.connect(str(port))
    return connection


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return next(iter(str(error).splitlines()), "") or type(error).__name__


# Host keys.


def check_host_key_files(paths: Sequence[str], report: Report) -> None:
    """Check that each host key exists or can be created."""
    for path in paths:
        why_not, is_there = _why_no_file(path)
        if why_not:
            report(Level.FAULT, f"host key {path}: {why_not}")
        else:
            later = "" if is_there else ": to be made at the first start"
            report(Level.OK, f"host key {path}{later}")


def _why_no_file(path: str) -> tuple[str, bool]:
    """Why a file cannot be at `path` (empty if it can), and whether it exists."""
    folder = Path(path).parent
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        if not folder.is_dir():
            return f"cannot be made: no folder {folder}; make it", False
        if not os.access(folder, os.W_OK | os.X_OK):
            return f"cannot be made: this account may not write to {folder}", False
        return "", False
    except (OSError, ValueError) as error:
        return f"cannot be looked at: {_first_line(error)}", False
    return "", True


# Descriptors.


@dataclass(frozen=True, slots=True)
class DescriptorNeeds:
    """What a process needs descriptors for.

    :param max_connections: the most connections of clients.
    :param sessions: the descriptors for these, for listening, and of the process itself.
    :param fewest_requests: the fewest connections to the store with which it works.
    :param wanted_requests: how many connections to the store are of use.
    """

    max_connections: int
    sessions: int
    fewest_requests: int
    wanted_requests: int


def descriptor_limit() -> int | None:
    """How many descriptors the process may have open; None: any number."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if limit == resource.RLIM_INFINITY else limit


def judge_descriptors(limit: int | None, needs: DescriptorNeeds) -> tuple[Level, str]:
    """The finding for a limit of descriptors.

    :param limit: how many the process may have open; None: any number.
    :param needs: what it needs them for.
    """
    if limit is None:
        return Level.OK, "descriptors: this process may have any number open"
    least = needs.sessions + needs.fewest_requests
    most = needs.sessions + needs.wanted_requests
    how = "LimitNOFILE= in a systemd unit, ulimit -n in a shell"
    if limit < least:
        text = (
            f"descriptors: this process may have {limit} open, and max_connections = "
            f"{needs.max_connections} takes {least}; raise that ({how}), or lower max_connections"
        )
        return Level.FAULT, text
    if limit < most:
        text = (
            f"descriptors: this process may have {limit} open; {needs.sessions} are kept for "
            f"clients and {limit - needs.sessions} are left for requests to the store, of which "
            f"{needs.wanted_requests} at once are of use ({how})"
        )
        return Level.NOTE, text
    return Level.OK, f"descriptors: this process may have {limit} open"


# twistd's cache of plugins.


def check_plugin_cache(report: Report) -> None:
    """Explain the warning that twistd logs at each start if it cannot write its cache of plugins.

    twistd looks for plugins before it reads a configuration, so that the gateway cannot prevent it.
    """
    for folder in map(Path, twisted.plugins.__path__):
        if folder.is_dir() and is_cache_missed(folder) and not os.access(folder, os.W_OK):
            text = (
                f"plugin cache: this account may not write {folder / PLUGIN_CACHE}, which does no "
                "harm, and which twistd logs at each start; to have it made once and for all, run "
                "twistd --help as the account that has installed it"
            )
            report(Level.NOTE, text)


def is_cache_missed(folder: Path) -> bool:
    """Whether Twisted (``plugin.getCache``) finds the cache in `folder` missing or too old."""
    try:
        cached_seconds = (folder / PLUGIN_CACHE).stat().st_mtime
        plugins = [file for file in folder.glob("*.py") if file.name != "__init__.py"]
        return any(file.stat().st_mtime >= cached_seconds for file in plugins)
    except OSError:
        return True
