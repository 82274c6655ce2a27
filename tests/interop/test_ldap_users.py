"""Users whom OpenLDAP's slapd knows, with TLS, and clients that log in."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from tests.interop.slapd import BASE, SERVICE, SERVICE_PASSWORD, Slapd, free_port
from tests.interop.spawning import (
    NO_HOST_FILE,
    QUIET,
    Account,
    Bucket,
    Gateway,
    connect,
    program,
    this_code,
)
from tests.needs import needs

pytestmark = needs("slapd")

PASSWORDS = {"carol": "the password of carol", "dave": "the password of dave"}
LOCKED = "pwdAccountLockedTime: 000001010000Z"


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory, account: Account) -> Iterator[Slapd]:
    keys = [f"sshPublicKey: {key}" for key in account.public_keys()]
    restricted = keys[0].replace("sshPublicKey: ", 'sshPublicKey: from="192.0.2.0/24" ')
    people = {
        "carol": (PASSWORDS["carol"], [*keys, "shadowExpire: 200000"]),
        "dave": (PASSWORDS["dave"], []),
        "far": ("the password of far", [restricted]),
        "gone": ("the password of gone", [*keys, "shadowExpire: 1"]),
        "locked": ("the password of locked", [*keys, LOCKED]),
        "w,e=i r d": ("the password of weird", keys),
    }
    groups = {"partners": ["carol", "w,e=i r d"]}
    found = Slapd.start(tmp_path_factory.mktemp("slapd"), people, groups)
    yield found
    found.stop()


BY_SEARCH = f"""
ldap_search_base = ou=people,{BASE}
ldap_filter = (&(objectClass=inetOrgPerson)(uid={{username}}))
ldap_service_dn = {SERVICE}
ldap_service_password_file = ldap-password
"""
BY_GROUP_SEARCH = f"""{BY_SEARCH}
ldap_groups_attribute = none
ldap_group_base = ou=groups,{BASE}
ldap_group_filter = (&(objectClass=groupOfNames)(member={{dn}}))
"""
BY_TEMPLATE = f"""
ldap_bind_dn = uid={{username}},ou=people,{BASE}
ldap_service_dn = {SERVICE}
ldap_service_password_env = LDAP_PASSWORD
"""
AS_USERS = f"ldap_bind_dn = uid={{username}},ou=people,{BASE}"


def configured(config: Path, bucket: Bucket, slapd: Slapd, section: str, url: str = "") -> Path:
    """A configuration whose users come from slapd, too."""
    folder = config.parent
    (folder / "ldap-password").write_text(f"{SERVICE_PASSWORD}\n")
    users = (folder / "users.ini").read_text(encoding="utf-8")
    (folder / "ldap-users.ini").write_text(
        f"{users}\n[*partners]\nkey_prefix = {bucket.prefix}partners/{{username}}/\n"
        "permissions = list download upload\n"
    )
    text = config.read_text(encoding="utf-8").replace("users = users.ini", "users = ldap-users.ini")
    changed = folder / "ldap.ini"
    changed.write_text(
        f"{text}\n[auth]\nsources = file ldap\nldap_url = {url or slapd.ldap_url}\n"
        f"ldap_ca_file = {slapd.folder}/ca.pem\n{section.strip()}\n",
        encoding="utf-8",
    )
    return changed


def started(config: Path, *arguments: Any) -> Gateway:
    os.environ["LDAP_PASSWORD"] = SERVICE_PASSWORD
    try:
        return Gateway.start("--config", str(configured(config, *arguments)))
    finally:
        del os.environ["LDAP_PASSWORD"]


def sftp(gateway: Gateway, user: str, **proof: Any) -> paramiko.SFTPClient:
    return connect(gateway, username=user, **proof).open_sftp()


def is_refused(gateway: Gateway, user: str, **proof: Any) -> bool:
    try:
        sftp(gateway, user, **proof)
    except paramiko.SSHException:
        return True
    return False


@pytest.mark.parametrize(
    "way",
    [(BY_SEARCH, False), (BY_GROUP_SEARCH, True), (BY_TEMPLATE, True)],
    ids=["search and StartTLS", "groups by search and ldaps", "template and ldaps"],
)
def test_users_of_a_directory_log_in(
    config: Path, bucket: Bucket, slapd: Slapd, account: Account, way: tuple[str, bool]
) -> None:
    section, is_ldaps = way
    url = slapd.ldaps_url if is_ldaps else slapd.ldap_url
    gateway = started(config, bucket, slapd, section, url)
    try:
        by_password = sftp(gateway, "carol", password=PASSWORDS["carol"])
        name = f"report-{secrets.token_hex(4)}.txt"
        with by_password.open(f"/{name}", "w") as file:
            file.write("by carol")
        assert bucket.body(f"partners/carol/{name}") == b"by carol"
        by_key = sftp(gateway, "carol", key_filename=str(account.key_file))
        with by_key.open(f"/{name}") as file:
            assert file.read() == b"by carol"
        with pytest.raises(OSError, match="may not remove"):
            by_key.remove(f"/{name}")  # the group does not allow it
        sftp(gateway, "dave", password=PASSWORDS["dave"]).mkdir(f"/{name}")
        assert sftp(gateway, "w,e=i r d", password="the password of weird").listdir("/") == []
        key = {"key_filename": str(account.key_file)}
        for user in ("dave", "locked", "gone", "far", "nobody", "*", "Carol", "gateway"):
            assert is_refused(gateway, user, **key), user
        for user in ("gone", "locked", "nobody", "*", "Carol", "gateway"):
            assert is_refused(gateway, user, password=f"the password of {user}"), user
        assert is_refused(gateway, "dave", password="")
        assert is_refused(gateway, "gateway", password=SERVICE_PASSWORD)
        assert is_refused(gateway, "dave", password=PASSWORDS["carol"])
    finally:
        gateway.stop()
    hushed = (SERVICE_PASSWORD, *PASSWORDS.values())
    assert not gateway.lines_with("Traceback", "Unhandled", *hushed)
    assert not gateway.lines_with("user-source-away", "user-source-answer-bad")


def test_users_read_their_own_entries(
    config: Path, bucket: Bucket, slapd: Slapd, account: Account
) -> None:
    gateway = started(config, bucket, slapd, AS_USERS)
    try:
        sftp(gateway, "carol", password=PASSWORDS["carol"]).listdir("/")
        assert is_refused(gateway, "carol", password="wrong")
        for name in ("nobody", "a+b=c", "#x", 'q"x', "a\\b", "ü<>;", "*)(uid=*", "𝒳" * 128):
            assert is_refused(gateway, name, password="wrong"), name
            assert is_refused(gateway, name, key_filename=str(account.key_file)), name
    finally:
        gateway.stop()
    assert not gateway.lines_with("Traceback", "Unhandled", "user-source-answer-bad")


@needs("openssh")
def test_openssh_logs_in_by_a_key_of_the_directory(
    config: Path, bucket: Bucket, slapd: Slapd, account: Account
) -> None:
    gateway = started(config, bucket, slapd, BY_SEARCH)
    try:
        done = subprocess.run(
            [
                *(program("sftp"), *QUIET, *NO_HOST_FILE, "-b", "-", "-P", str(gateway.port)),
                *("-i", str(account.key_file), "-o", "IdentitiesOnly=yes", "carol@127.0.0.1"),
            ],
            input=b"ls -1 /\n",
            capture_output=True,
            timeout=60,
            check=False,
        )
    finally:
        gateway.stop()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("section", "why"),
    [
        (f"{BY_SEARCH}ldap_ca_file =", "is not among the trusted"),
        (BY_SEARCH.replace("ldap-password", "wrong-password"), "refuses [auth] ldap_service_dn"),
        (f"{BY_SEARCH}ldap_starttls = no", "confidentiality required"),
    ],
)
def test_what_is_wrong_is_told(
    config: Path, bucket: Bucket, slapd: Slapd, section: str, why: str
) -> None:
    (config.parent / "wrong-password").write_text("not this one")
    path = configured(config, bucket, slapd, section)
    if "ldap_ca_file" in section:
        text = path.read_text().replace(f"ldap_ca_file = {slapd.folder}/ca.pem\n", "")
        path.write_text(text)
    gateway = Gateway.start("--config", str(path))
    try:
        assert is_refused(gateway, "carol", password=PASSWORDS["carol"])
        # A user of the file logs in all the same.
    finally:
        gateway.stop()
    assert any(why in line for line in gateway.lines_with("user-source-away"))


def checked(config: Path) -> tuple[int, str]:
    """The status of ``sftpgw check``, and its lines about LDAP."""
    done = subprocess.run(
        [sys.executable, "-m", "sftpgw", "check", "--config", str(config)],
        env=this_code(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, "\n".join(line for line in done.stdout.split("\n") if "ldap" in line)


def test_the_check_tries_each_server(config: Path, bucket: Bucket, slapd: Slapd) -> None:
    urls = f"{slapd.ldap_url} {slapd.ldaps_url}"
    _, lines = checked(configured(config, bucket, slapd, BY_SEARCH, urls))
    assert lines.count("reached and bound") == 2, lines
    plain = f"ldaps://localhost:{slapd.ports[0]}"
    other_name = f"ldaps://127.0.0.1:{slapd.ports[1]}"
    closed = f"ldap://localhost:{free_port()}"
    urls = f"{plain} {other_name} {closed}"
    status, lines = checked(configured(config, bucket, slapd, BY_SEARCH, urls))
    assert status == 1
    assert f"fault: ldap {plain}: " in lines, lines
    assert f"fault: ldap {other_name}: the certificate of 127.0.0.1 is refused" in lines, lines
    assert f"fault: ldap {closed}: Connection was refused" in lines, lines
    path = configured(config, bucket, slapd, BY_SEARCH)
    path.write_text(path.read_text().replace(f"{slapd.folder}/ca.pem", f"{slapd.folder}/log"))
    status, lines = checked(path)
    assert f"ldap_ca_file = {slapd.folder}/log: " in lines, lines
    wrong = BY_SEARCH.replace("ou=people", "ou=nowhere")
    status, lines = checked(configured(config, bucket, slapd, wrong))
    assert "ldap_search_base cannot be read (result 32, no such object)" in lines, lines


def test_users_log_in_while_servers_go_away(
    config: Path, bucket: Bucket, account: Account, tmp_path: Path
) -> None:
    keys = [f"sshPublicKey: {key}" for key in account.public_keys()]
    slapd = Slapd.start(tmp_path, {"carol": (PASSWORDS["carol"], keys)}, {"partners": ["carol"]})
    urls = f"ldap://localhost:{free_port()} {slapd.ldap_url}"
    section = f"{BY_SEARCH}ldap_cache = 0s\nldap_timeout = 4s"
    gateway = Gateway.start("--config", str(configured(config, bucket, slapd, section, urls)))
    key = {"key_filename": str(account.key_file)}
    try:
        sftp(gateway, "carol", **key).listdir("/")
        sftp(gateway, "carol", password=PASSWORDS["carol"]).listdir("/")
        slapd.stop()
        sftp(gateway, "carol", **key).listdir("/")
        sftp(gateway, "carol", password=PASSWORDS["carol"]).listdir("/")
        assert is_refused(gateway, "carol", password="wrong")
    finally:
        gateway.stop()
        slapd.stop()
    lines = gateway.lines_with("user-source-away")
    assert any("stale=yes" in line for line in lines), lines
    assert not gateway.lines_with("Traceback", "Unhandled")
