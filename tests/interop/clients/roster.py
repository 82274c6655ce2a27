"""The clients of the matrix: how each is started, and what the machine must have for it.

Knows: drivers, and where ``.ci/clients`` puts what they need.
Must not know: what the drivers are asked.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from ctypes.util import find_library
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent.parent
BUILT = REPOSITORY / "build" / "clients"
"""What ``.ci/clients`` has fetched and built."""


@dataclass(frozen=True)
class Client:
    """One row of the matrix.

    :ivar name: of the program or library, and which of its kinds.
    :ivar version: what is installed for the tests; empty where the system decides.
    :ivar command: starts the driver; the path of the task file comes behind it.
    :ivar must_exist: programs by name, files by path: without one of them the row is skipped.
    :ivar environment: what the driver finds in its environment besides.
    """

    name: str
    version: str
    command: tuple[str, ...]
    must_exist: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return f"{self.name} {self.version}".strip()

    @property
    def is_built(self) -> bool:
        """Whether it is no package of the system's."""
        return any(each.startswith(str(BUILT)) for each in self.must_exist)

    def lacking(self) -> list[str]:
        """What this machine has not, of what the row needs."""
        return [each for each in self.must_exist if not _is_there(each)]


def _is_there(needed: str) -> bool:
    if needed.startswith("lib:"):
        return find_library(needed.removeprefix("lib:")) is not None
    return Path(needed).exists() if "/" in needed else shutil.which(needed) is not None


def _java(name: str, library: str, version: str, program: str) -> Client:
    """Starts with what costs a short run least."""
    folder = BUILT / "java" / f"{library}-{version}"
    path = f"{folder}/classes:{folder}/*"
    options = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx256m")
    command = ("java", *options, "-cp", path, "Driver", program)
    return Client(name, version, command, ("java", str(folder / "classes")))


def _python(
    name: str, version: str, script: str, *arguments: str, needs: tuple[str, ...]
) -> Client:
    command = (sys.executable, str(HERE / "python" / script), *arguments)
    return Client(name, version, command, needs)


def _paramiko(version: str) -> Client:
    python = str(BUILT / f"paramiko-{version}" / "bin" / "python")
    script = str(HERE / "python" / "paramiko_client.py")
    return Client("paramiko", version, (python, script), (python,))


def _node(version: str, modules: Path) -> Client:
    command = ("node", str(HERE / "node" / "client.js"))
    needs = ("node", str(modules / "ssh2-sftp-client"))
    return Client("ssh2-sftp-client", version, command, needs, {"NODE_PATH": str(modules)})


def _go(mode: str) -> Client:
    program = str(BUILT / "pkg-sftp")
    return Client(f"Go pkg/sftp, {mode} writes", "1.13.12", (program, mode), (program,))


def _openssh(version: str, folder: str) -> Client:
    sftp, ssh = f"{folder}/sftp", f"{folder}/ssh"
    return _python("OpenSSH sftp", version, "openssh_client.py", sftp, ssh, needs=(sftp, ssh))


def _rclone(version: str, path: str) -> Client:
    return _python("rclone", version, "rclone_client.py", path, needs=(path,))


def _rust(program: str, name: str, version: str) -> Client:
    path = str(BUILT / "rust" / "release" / program)
    return Client(name, version, (path,), (path,))


def _script(name: str, interpreter: str, script: str, *needs: str) -> Client:
    return Client(name, "", (interpreter, str(HERE / script)), (interpreter, *needs))


NODE_MODULES = HERE.parent / "node_modules"
PERL = "/usr/share/perl5/Net/SFTP/Foreign.pm"
NET_SSH2 = "/usr/lib/x86_64-linux-gnu/perl5/5.36/Net/SSH2.pm"
GEMS = "/usr/share/rubygems-integration/all/gems"

CLIENTS = (
    _java("JSch", "jsch", "0.1.55", "JschClient"),
    _java("JSch (mwiede)", "jsch", "2.28.8", "JschClient"),
    _java("SSHJ", "sshj", "0.27.0", "SshjClient"),
    _java("SSHJ", "sshj", "0.31.0", "SshjClient"),
    _java("SSHJ", "sshj", "0.40.0", "SshjClient"),
    _java("Apache MINA SSHD", "mina", "2.12.1", "MinaClient"),
    _java("Apache MINA SSHD", "mina", "2.20.0", "MinaClient"),
    _go("plain"),
    _go("concurrent"),
    Client(
        "phpseclib",
        "2",
        ("php", str(HERE / "php" / "client.php"), "2"),
        ("php", "/usr/share/php/phpseclib/autoload.php"),
    ),
    Client(
        "phpseclib",
        "3",
        ("php", str(HERE / "php" / "client.php"), "3"),
        ("php", "/usr/share/php/phpseclib3/autoload.php"),
    ),
    _script("net-sftp (Ruby)", "ruby", "ruby/client.rb", f"{GEMS}/net-sftp-4.0.0"),
    _script("Net::SFTP::Foreign (Perl)", "perl", "perl/client.pl", PERL),
    _script("Net::SSH2 (Perl)", "perl", "perl/ssh2.pl", NET_SSH2),
    _rust("russh-client", "russh-sftp (Rust)", "3.0.1"),
    _python("FileZilla's fzsftp", "", "fzsftp_client.py", needs=("fzsftp",)),
    _rclone("", shutil.which("rclone") or "rclone"),
    _rclone("1.76.0", str(BUILT / "rclone-v1.76.0")),
    _openssh("", os.path.dirname(shutil.which("sftp") or "/usr/bin/sftp")),
    _openssh("10", str(BUILT / "openssh-10")),
    _script("Erlang ssh_sftp", "escript", "erlang/client.escript"),
    _python("libssh (C)", "", "libssh_client.py", needs=("lib:ssh",)),
    _paramiko("2.4.3"),
    _paramiko("2.8.1"),
    _python("paramiko", "", "paramiko_client.py", needs=()),
    _node("5.3.2", BUILT / "node-5" / "node_modules"),
    _node("12.1.1", NODE_MODULES),
)
