"""What is found out and decided before the gateway starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sftpgw.errors import ConfigError
from sftpgw.machine_checks import descriptor_limit
from sftpgw.model.settings import (
    FilesSettings,
    GatewaySettings,
    LimitSettings,
    Settings,
    SshSettings,
    StoreSettings,
)
from sftpgw.model.users import AssumedRole
from sftpgw.startup import (
    OWN_DESCRIPTORS,
    STORE_DESCRIPTORS,
    check_requests,
    read_settings,
    request_limits,
    session_descriptors,
)

DEFAULTS = Settings(
    GatewaySettings(), StoreSettings(), SshSettings(), LimitSettings(), FilesSettings(), {}
)


def limits(
    descriptors: int | None, *, at_once: int | None = None, per_user: int | None = None
) -> tuple[int, int]:
    settings = replace(
        DEFAULTS,
        s3=StoreSettings(max_requests=at_once),
        limits=LimitSettings(requests_per_user=per_user),
    )
    found = request_limits(settings, descriptors)
    return found.at_once, found.per_user


def test_requests_have_the_descriptors_that_clients_leave() -> None:
    needed = session_descriptors(DEFAULTS)
    own = OWN_DESCRIPTORS + STORE_DESCRIPTORS
    assert needed == DEFAULTS.ssh.max_connections + own + 1
    assert limits(1024) == (1024 - needed, (1024 - needed) // 2)
    assert limits(needed + 100) == (100, 50)


def test_the_derived_number_has_a_floor_and_a_ceiling() -> None:
    assert limits(100) == (16, 8)
    assert limits(65536) == limits(None) == (1024, 512)


def test_numbers_that_are_given_count_as_far_as_descriptors_are_left() -> None:
    assert limits(65536, at_once=5000, per_user=7) == (5000, 7)
    assert limits(1024, at_once=5000)[0] == limits(1024)[0]
    assert limits(1024, at_once=3) == (3, 1)
    assert limits(1024, at_once=1) == (1, 1)
    assert limits(1024, at_once=20, per_user=50) == (20, 20)


def test_balancers_connections_without_a_header_count_too() -> None:
    balanced = replace(DEFAULTS, gateway=GatewaySettings(listen=("haproxy:tcp:2022", "tcp:2023")))
    more = session_descriptors(balanced) - session_descriptors(DEFAULTS)
    assert more == DEFAULTS.ssh.max_startups.full + 1


def test_the_check_tells_how_many_requests_there_may_be() -> None:
    lines: list[str] = []
    check_requests(DEFAULTS, lambda level, text: lines.append(text))
    found = request_limits(DEFAULTS, descriptor_limit())
    assert lines[0].startswith("descriptors: this process may have ")
    assert lines[1:] == [f"requests: at most {found.at_once} at once, {found.per_user} of one user"]


def test_settings_of_the_store_are_judged_before_the_start(tmp_path: Path) -> None:
    """Without a request, and without a password in what is told."""
    (tmp_path / "empty.pem").touch()
    users = "[*]\nkey_prefix = a\n[al]\npassword_hash = $2b$04$" + "a" * 53 + "\n"
    (tmp_path / "users.ini").write_text(users, encoding="utf-8")
    path = tmp_path / "sftpgw.ini"
    for lines, words in (
        ("ca_file = empty.pem", f"[s3] ca_file: {tmp_path}/empty.pem: there is no certificate"),
        ("ca_file = gone.pem", f"[s3] ca_file: {tmp_path}/gone.pem: No such file"),
        ("proxy = https://me:secret@h", "[s3] proxy: https:// is not supported"),
    ):
        ini = f"[gateway]\ncreate_host_keys = yes\n[s3]\nbucket = uploads\n{lines}\n"
        path.write_text(ini, encoding="utf-8")
        path.chmod(0o600)
        with pytest.raises(ConfigError) as refused:
            read_settings(str(path))
        (fault,) = refused.value.faults
        assert words in fault
        assert "secret" not in fault


def test_users_without_a_possible_role_are_faults_of_the_start(tmp_path: Path) -> None:
    """All at once, each by its name; and of no use where no store scopes credentials."""
    hashed = "password_hash = $2b$04$" + "a" * 53
    mounts = "".join(f"\n  /{n} s3://uploads/{n}{'x' * 80}/" for n in range(40))
    role = "arn:aws:iam::123456789012:role/partner-{username}"
    users = f"[al]\n{hashed}\nkey_prefix = a\nrole_arn = {role}\n"
    users += f"[bo]\n{hashed}\nrole_arn = {role}\nmount ={mounts}\n"
    users += f"[cy]\n{hashed}\nkey_prefix = c\n"
    path = tmp_path / "sftpgw.ini"

    def faults(lines: str) -> list[str]:
        (tmp_path / "users.ini").write_text(users, encoding="utf-8")
        ini = f"[gateway]\ncreate_host_keys = yes\n[s3]\nbucket = uploads\n{lines}\n"
        path.write_text(ini, encoding="utf-8")
        with pytest.raises(ConfigError) as refused:
            read_settings(str(path))
        return list(refused.value.faults)

    too_long, no_role = faults("scoped_credentials = yes")
    assert "bo: the session policy needs" in too_long
    assert "cy: has no role to assume" in no_role
    assert len(faults("")) == 2
    assert all("role_arn: is of no use without scoped_credentials" in each for each in faults(""))
    (no_use,) = faults("session_tags = a=b\nscoped_credentials = no")[:1]
    assert "[s3] session_tags: is of no use without scoped_credentials" in no_use
    users = f"[al]\n{hashed}\nkey_prefix = a\nrole_arn = {role}\n"
    ini = path.read_text().replace(
        "session_tags = a=b\nscoped_credentials = no", "scoped_credentials = yes"
    )
    path.write_text(ini, encoding="utf-8")
    (tmp_path / "users.ini").write_text(users, encoding="utf-8")
    assert read_settings(str(path)).users["al"].role == AssumedRole(
        "arn:aws:iam::123456789012:role/partner-al"
    )


@pytest.mark.parametrize(
    ("lines", "s3_region", "why"),
    [
        ("", "eu-west-1", ""),
        ("dynamodb_region = us-gov-west-1", "garage", ""),
        ("dynamodb_region = ap-future-7", "garage", ""),
        ("dynamodb_region = moon\ndynamodb_endpoint = http://127.0.0.1:1", "garage", ""),
        ("dynamodb_region = moon", "eu-west-1", "'moon' is not a region of AWS"),
        ("", "garage", "is missing; [s3] region will not do: 'garage' is not a region of AWS"),
    ],
)
def test_a_table_is_in_a_region_that_aws_has(
    tmp_path: Path, lines: str, s3_region: str, why: str
) -> None:
    (tmp_path / "users.ini").write_text("")
    config = tmp_path / "sftpgw.ini"
    config.write_text(
        f"[gateway]\nhost_keys = {tmp_path}/ssh_host_ed25519_key\ncreate_host_keys = yes\n"
        f"[s3]\nregion = {s3_region}\n"
        f"[auth]\nsources = dynamodb\ndynamodb_table = users\n{lines}\n"
    )
    try:
        read_settings(str(config))
    except ConfigError as error:
        faults = list(error.faults)
    else:
        faults = []
    assert len(faults) == bool(why), faults
    assert all("sftpgw.ini" in fault for fault in faults)
    assert all(f"[auth] dynamodb_region: {why}" in fault for fault in faults), faults
