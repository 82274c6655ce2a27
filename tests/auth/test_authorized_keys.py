"""Options before a key: what each means, and which ones are refused."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.conch.ssh.common import NS

from sftpgw.auth.authorized_keys import raw_public_key, read_authorities, read_authorized_key
from sftpgw.model.address_patterns import AddressPatterns, read_networks, read_patterns
from sftpgw.model.addresses import address_of
from sftpgw.model.users import NO_OPTIONS, KeyOptions
from sftpgw.testing.ssh_pairs import new_key
from tests.auth.certificate_bytes import Certificate, SecurityKey

KEY = new_key()
BLOB = KEY.public().blob()
LINE = KEY.public().toString("OPENSSH").decode("ascii")
DEVICE = SecurityKey()
DEVICE_LINE = f"{DEVICE.kind.decode()} {base64.b64encode(DEVICE.blob).decode()}"


def options_of(text: str, line: str = LINE) -> KeyOptions:
    return read_authorized_key(f"{text} {line}").options


@pytest.mark.parametrize(
    "text",
    [
        "restrict",
        "no-pty,no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-user-rc",
        "restrict,pty,user-rc,x11-forwarding",
        'command="internal-sftp"',
        'RESTRICT,Command="internal-sftp"',
        "no-verify-required",
        "touch-required",
    ],
)
def test_options_that_change_nothing_here(text: str) -> None:
    key = read_authorized_key(f'{text}\t  {LINE} a comment, with "quotes')
    assert (key.blob, key.options, key.is_authority) == (BLOB, NO_OPTIONS, False)


def test_options_of_fido_keys() -> None:
    assert options_of("no-touch-required", DEVICE_LINE) == KeyOptions(needs_touch=False)
    assert options_of("verify-required", DEVICE_LINE) == KeyOptions(needs_verification=True)
    with pytest.raises(ValueError, match="FIDO"):
        options_of("verify-required")
    assert options_of("cert-authority,verify-required").needs_verification


def test_an_authority_and_its_principals() -> None:
    key = read_authorized_key(f'cert-authority,principals="alice,deploy at night" {LINE}')
    assert key.is_authority
    assert key.options.principals == ("alice", "deploy at night")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("20270331Z", datetime(2027, 3, 31, tzinfo=UTC)),
        ("20270331z", datetime(2027, 3, 31, tzinfo=UTC)),
        ("202703312359UTC", datetime(2027, 3, 31, 23, 59, tzinfo=UTC)),
        ("20270331235958Z", datetime(2027, 3, 31, 23, 59, 58, tzinfo=UTC)),
    ],
)
def test_times_in_utc(text: str, at: datetime) -> None:
    assert options_of(f'expiry-time="{text}"').expires_seconds == at.timestamp()


def test_times_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XYZ-5")
    time.tzset()
    try:
        found = options_of('expiry-time="202703310500"').expires_seconds
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found == datetime(2027, 3, 31, tzinfo=UTC).timestamp()


def test_the_earliest_of_two_times_counts() -> None:
    both = options_of('expiry-time="20280101Z",expiry-time="20270101Z"')
    assert both == options_of('expiry-time="20270101Z"')


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('command="ls"', "internal-sftp only"),
        ('command="internal-sftp -R"', "internal-sftp only"),
        ('environment="A=b"', "environment is not supported: .*no program"),
        ('permitopen="a:1"', "permitopen is not supported: .*ports"),
        ('permitlisten="1"', "permitlisten is not supported: .*ports"),
        ('tunnel="0"', "tunnel is not supported"),
        ("unheard", "unheard is not known"),
        ("from", "from is not known, or not written"),
        ('restrict="x"', "restrict is not known, or not written"),
        ('no-from="x"', "no-from is not known"),
        ('from="10.0.0.1/8"', "not a network"),
        ('from="*.example.com"', "names are not looked up"),
        ('from="!10.0.0.1"', "admits no address"),
        ('from=""', "names are not looked up"),
        ('from="::1",from="::2"', "twice"),
        ('expiry-time="20271301Z"', "expiry-time= must be"),
        ('expiry-time="2027"', "expiry-time= must be"),
        ('expiry-time="00000101"', "expiry-time= must be"),
        ('expiry-time="202703312460Z"', "expiry-time= must be"),
        ('principals="a"', "cert-authority only"),
        ('cert-authority,principals=","', "names none"),
        ("restrict,", "not written as in sshd"),
        (",restrict", "not written as in sshd"),
        ("restrict;no-pty", "not written as in sshd"),
        ('from="::1', "must begin with"),
        ("restrict, no-pty", "must begin with"),
    ],
)
def test_what_would_be_lost_is_a_fault(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        options_of(text)
    assert LINE.split()[1] not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "admitted", "refused"),
    [
        ("192.0.2.0/24", ["192.0.2.1", "::ffff:192.0.2.9"], ["192.0.3.1", "::1"]),
        ("192.0.2.*", ["192.0.2.1", "192.0.2.255"], ["192.0.20.1"]),
        ("192.0.2.?", ["192.0.2.1"], ["192.0.2.11"]),
        ("192.0.2.7", ["192.0.2.7"], ["192.0.2.70", "1192.0.2.7"]),
        ("2001:DB8::*", ["2001:db8::1"], ["2001:db9::1"]),
        ("2001:db8::/32,10.*", ["2001:db8:9::1", "10.9.8.7"], ["11.0.0.10"]),
        ("10.0.0.0/8,!10.0.0.7", ["10.0.0.8"], ["10.0.0.7"]),
        ("!10.0.0.*,*", ["10.0.1.8", "::1"], ["10.0.0.7"]),
        ("*", ["10.0.1.8", "::1"], []),
        ("*.*.2.*1", ["10.0.2.11"], ["10.0.2.12", "10.2.0.11"]),
    ],
)
def test_which_addresses_from_admits(text: str, admitted: list[str], refused: list[str]) -> None:
    patterns = options_of(f'from="{text}"').sources
    assert patterns is not None
    assert [host for host in (*admitted, *refused) if patterns.admit(address_of(host))] == admitted
    assert not patterns.admit(None)


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    patterns = read_patterns("*:*:*:*:*:*:*:*:*:*:*:*:*:*:*:*:*:*:*:x*".replace("x", "f"))
    began = time.process_time()
    assert not patterns.admit(address_of("1:2:3:4:5:6:7:8"))
    assert time.process_time() - began < 1.0


@given(st.text(alphabet="0123456789abf.:*?!,/", max_size=60))
def test_any_list_is_a_list_or_a_value_error(text: str) -> None:
    for read in (read_patterns, read_networks):
        try:
            patterns: AddressPatterns = read(text)
        except ValueError:
            continue
        patterns.admit(address_of("192.0.2.1"))
        patterns.admit(address_of("2001:db8::1"))


@given(st.text(alphabet='from="expiry-tmd \\,*!20Z', max_size=80))
def test_any_line_is_a_key_or_a_value_error(text: str) -> None:
    for line in (text, f"{text} {LINE}"):
        try:
            read_authorized_key(line)
        except ValueError:
            continue


def test_a_file_of_authorities() -> None:
    assert read_authorities(f"# ours\n\n  {LINE} comment\r\n".encode()) == {BLOB}
    with pytest.raises(ValueError, match="no key"):
        read_authorities(b"# none\n")
    with pytest.raises(ValueError, match="line 2: options"):
        read_authorities(f"\nrestrict {LINE}".encode())
    with pytest.raises(ValueError, match="line 1: certificates are not listed"):
        read_authorities(certificate_line().encode())


def certificate_line() -> str:
    blob = Certificate(BLOB).signed_by(KEY)
    return f"ssh-ed25519-cert-v01@openssh.com {base64.b64encode(blob).decode()}"


def test_a_list_of_keys_may_have_what_cannot_log_in() -> None:
    weak = NS(b"ssh-dss") + NS(b"anything")
    assert raw_public_key(f"ssh-dss {base64.b64encode(weak).decode()} old") == weak
    assert raw_public_key(certificate_line()) == BLOB


@pytest.mark.parametrize(
    "line", [lambda: "ssh-rsa " + LINE.split()[1], lambda: "x", lambda: "", lambda: "a AAAAAA=="]
)
def test_a_list_of_keys_has_keys_only(line: Callable[[], str]) -> None:
    with pytest.raises(ValueError, match=r"type|empty|early"):
        raw_public_key(line())
