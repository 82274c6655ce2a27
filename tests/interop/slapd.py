"""A real LDAP server: OpenLDAP's slapd, in a folder of its own, on free ports, as a plain user."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from sftpgw.testing.tls_servers import Authority, Issued
from sftpgw.wire.ldap_names import escaped
from tests.needs import SLAPD

BASE = "dc=example,dc=com"
SERVICE = f"cn=gateway,{BASE}"
SERVICE_PASSWORD = "the password of the gateway's account"
START_SECONDS = 60.0

SCHEMA = Path("/etc/ldap/schema")
OPENSSH_LPK = """
attributetype ( 1.3.6.1.4.1.24552.500.1.1.1.13 NAME 'sshPublicKey'
    DESC 'OpenSSH public key' EQUALITY octetStringMatch
    SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )
objectclass ( 1.3.6.1.4.1.24552.500.1.1.2.0 NAME 'ldapPublicKey' SUP top AUXILIARY
    DESC 'OpenSSH LPK' MAY ( sshPublicKey $ uid ) )
"""
CONFIG = """
{schemas}
{openssh_lpk}
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
pidfile {folder}/slapd.pid
TLSCACertificateFile {folder}/ca.pem
TLSCertificateFile {folder}/server.pem
TLSCertificateKeyFile {folder}/server.key
security simple_bind={simple_bind}
access to attrs=userPassword by anonymous auth by * none
access to attrs=sshPublicKey by dn.exact="{service}" read by self read by * none
access to * by dn.exact="{service}" read by self read by anonymous search by * none
database mdb
suffix {base}
rootdn cn=root,{base}
directory {folder}/data
overlay memberof
overlay ppolicy
ppolicy_default cn=policy,{base}
"""
ENTRIES = f"""
dn: {BASE}
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: {SERVICE}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: gateway
userPassword: {SERVICE_PASSWORD}

dn: cn=policy,{BASE}
objectClass: pwdPolicy
objectClass: device
cn: policy
pwdAttribute: userPassword
pwdLockout: TRUE
pwdMaxFailure: 5

dn: ou=people,{BASE}
objectClass: organizationalUnit
ou: people

dn: ou=groups,{BASE}
objectClass: organizationalUnit
ou: groups
"""


def _name_of(person: str) -> str:
    return f"uid={escaped(person)},ou=people,{BASE}"


def _person(name: str, password: str, more: Iterable[str]) -> str:
    lines = (
        *(f"dn: {_name_of(name)}", "objectClass: inetOrgPerson"),
        *("objectClass: ldapPublicKey", "objectClass: shadowAccount"),
        *(f"uid: {name}", f"cn: {name}", "sn: Person", f"userPassword: {password}"),
    )
    return "\n".join((*lines, *more)) + "\n"


def _member_lines(person: str, groups: Mapping[str, Iterable[str]]) -> list[str]:
    """What the overlay memberof keeps up to date, and slapadd does not make."""
    return [
        f"memberOf: cn={group},ou=groups,{BASE}" for group, all_ in groups.items() if person in all_
    ]


def _group(name: str, members: Iterable[str]) -> str:
    lines = (f"dn: cn={name},ou=groups,{BASE}", "objectClass: groupOfNames", f"cn: {name}")
    return "\n".join((*lines, *(f"member: {_name_of(each)}" for each in members))) + "\n"


@dataclass
class Slapd:
    """A server that runs.

    :ivar folder: its configuration and data, and the authority ``ca.pem``.
    :ivar ports: of ``ldap`` and ``ldaps``.
    """

    folder: Path
    ports: tuple[int, int]
    process: subprocess.Popen[bytes]

    @property
    def ldap_url(self) -> str:
        return f"ldap://localhost:{self.ports[0]}"

    @property
    def ldaps_url(self) -> str:
        return f"ldaps://localhost:{self.ports[1]}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    @classmethod
    def start(
        cls, folder: Path, people: dict[str, tuple[str, list[str]]], groups: dict[str, list[str]]
    ) -> Slapd:
        """Start a server.

        :param folder: an empty folder.
        :param people: the passwords of people, and further lines of their entries, by their names.
        :param groups: the members of groups.
        """
        (folder / "data").mkdir()
        # Under a name of its own: AppArmor allows Debian's slapd no other folder than its own.
        shutil.copy(SLAPD, folder / "slapd")
        authority = Authority.new()
        _write_certificate(folder, authority, authority.issue(["localhost"]))
        names = ("core", "cosine", "inetorgperson", "nis")
        config = CONFIG.format(
            schemas="\n".join(f"include {SCHEMA}/{name}.schema" for name in names),
            openssh_lpk=OPENSSH_LPK.strip(),
            folder=folder,
            base=BASE,
            service=SERVICE,
            simple_bind=1,
        )
        (folder / "slapd.conf").write_text(config)
        entries = [
            ENTRIES.strip() + "\n",
            *(
                _person(name, password, (*more, *_member_lines(name, groups)))
                for name, (password, more) in people.items()
            ),
            *(_group(name, members) for name, members in groups.items()),
        ]
        (folder / "entries.ldif").write_text("\n".join(entries))
        subprocess.run(
            [
                *(folder / "slapd", "-T", "add", "-f", folder / "slapd.conf"),
                *("-l", folder / "entries.ldif"),
            ],
            check=True,
            capture_output=True,
        )
        ports = (free_port(), free_port())
        urls = f"ldap://127.0.0.1:{ports[0]} ldaps://127.0.0.1:{ports[1]}"
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [folder / "slapd", "-f", folder / "slapd.conf", "-h", urls, "-d", "stats"],
                stdout=log,
                stderr=log,
            )
        slapd = cls(folder, ports, process)
        slapd.wait()
        return slapd

    def wait(self) -> None:
        """Wait until it listens."""
        until_seconds = time.monotonic() + START_SECONDS
        while time.monotonic() < until_seconds:
            assert self.process.poll() is None, self.log
            with closing(socket.socket()) as probe:
                if not probe.connect_ex(("127.0.0.1", self.ports[1])):
                    return
            time.sleep(0.05)
        raise AssertionError(f"slapd does not listen: {self.log}")

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(START_SECONDS)


def free_port() -> int:
    """A port of the loopback on which nothing listens."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_certificate(folder: Path, authority: Authority, issued: Issued) -> None:
    (folder / "ca.pem").write_bytes(authority.issued.pem)
    (folder / "server.pem").write_bytes(issued.pem)
    key = issued.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "server.key").touch(0o600)
    (folder / "server.key").write_bytes(key)
