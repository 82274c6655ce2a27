"""What a test needs of the machine. Without it the test is skipped before it has begun.

``@needs("lftp")`` marks a test, a class, a module (``pytestmark``) or one `pytest.param`. A test
with a fixture of `OF_FIXTURES` needs what stands there. A test that skips in its middle leaves
what it has changed to the tests behind it: `tests.interop.spawning.program` fails where a
program is missing, and never skips.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.documented import can_isolate

NODE_MODULES = Path(__file__).parent / "interop" / "node_modules"
SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")
PHPSECLIB = Path("/usr/share/php/phpseclib3/autoload.php")
NET_SFTP = Path("/usr/share/rubygems-integration/all/gems")
SLAPD = Path("/usr/sbin/slapd")  # not on the path of a plain user
NPM = "apt-get install npm; npm install --prefix tests/interop"


@dataclass(frozen=True)
class Need:
    """Something that a machine may lack.

    :ivar is_there: asks the machine; it must change nothing.
    :ivar remedy: how a person gets it.
    """

    is_there: Callable[[], bool]
    remedy: str


def _programs(package: str, *names: str) -> Need:
    return Need(lambda: all(map(shutil.which, names)), f"apt-get install {package}")


def _fuse_opens() -> bool:
    return os.access("/dev/fuse", os.R_OK | os.W_OK)


NEEDS = {
    "openssh": _programs("openssh-client", "ssh", "sftp", "scp", "ssh-keygen"),
    "sftp-server": Need(SFTP_SERVER.exists, "apt-get install openssh-sftp-server"),
    "lftp": _programs("lftp", "lftp"),
    "putty": _programs("putty-tools", "psftp", "pscp", "puttygen"),
    "curl": _programs("curl", "curl"),
    "libssh": Need(lambda: find_library("ssh") is not None, "apt-get install libssh-4"),
    "slapd": Need(SLAPD.exists, "apt-get install slapd"),
    "haproxy": _programs("haproxy", "haproxy"),
    "rclone": _programs("rclone", "rclone"),
    "rsync": _programs("rsync", "rsync"),
    "git": _programs("git", "git"),
    "coreutils": _programs("coreutils", "md5sum", "sha256sum"),
    "node": _programs("nodejs", "node"),
    "ssh2": Need((NODE_MODULES / "ssh2").exists, NPM),
    "ssh2-sftp-client": Need((NODE_MODULES / "ssh2-sftp-client").exists, NPM),
    "php": _programs("php-cli", "php"),
    "phpseclib": Need(PHPSECLIB.exists, "apt-get install php-phpseclib3"),
    "ruby": _programs("ruby", "ruby"),
    "net-sftp": Need(lambda: any(NET_SFTP.glob("net-sftp-*")), "apt-get install ruby-net-sftp"),
    "sshfs": _programs("sshfs", "sshfs", "fusermount3"),
    "root": Need(lambda: os.geteuid() == 0, "be root"),
    "a plain user": Need(lambda: os.geteuid() != 0, "be no root, who may do all"),
    "namespaces": Need(can_isolate, "a machine on which `unshare --user --net` is allowed"),
    "FUSE": Need(_fuse_opens, "a machine on which /dev/fuse can be opened"),
}

OF_FIXTURES = {
    "mounted": ("sshfs", "FUSE"),
    "rclone": ("rclone",),
    "curl": ("curl",),
    "putty": ("putty",),
}


def needs(*names: str) -> pytest.MarkDecorator:
    """The mark of a test that needs these of `NEEDS`."""
    unknown = set(names) - set(NEEDS)
    assert not unknown, f"not in NEEDS: {unknown}"
    return pytest.mark.needs(*names)


def skip_without_needs(item: pytest.Item) -> None:
    """Skip a test that this machine cannot run. To be called before its fixtures are made."""
    for name in dict.fromkeys(_needs_of(item)):
        if not NEEDS[name].is_there():
            pytest.skip(f"needs {name}: {NEEDS[name].remedy}")


def _needs_of(item: pytest.Item) -> Iterator[str]:
    for mark in item.iter_markers("needs"):
        yield from mark.args
    for fixture in getattr(item, "fixturenames", ()):
        yield from OF_FIXTURES.get(fixture, ())
