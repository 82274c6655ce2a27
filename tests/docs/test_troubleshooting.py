"""docs/troubleshooting.rst explains every message of ``check`` and every warning of the log."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.extensions import load_extension

REPOSITORY = Path(__file__).parents[2]
described_events = load_extension("described_events")
PAGE = REPOSITORY / "docs" / "troubleshooting.rst"

MODULES = [
    "auth/authorized_keys.py",
    "auth/login_keys.py",
    "auth/revocation_lists.py",
    "config/key_files.py",
    "model/address_patterns.py",
    "auth/hashes/argon2_hash.py",
    "auth/hashes/bcrypt_hash.py",
    "auth/hashes/pbkdf2_hash.py",
    "auth/hashes/salted_sha.py",
    "auth/hashes/sha512_crypt.py",
    "auth/passwords.py",
    "aws/credentials.py",
    "aws/endpoints.py",
    "checks.py",
    "config/banner.py",
    "config/exposure.py",
    "config/ini_file.py",
    "config/ldap_settings.py",
    "config/loader.py",
    "config/scalars/connection_limits.py",
    "config/scalars/object_values.py",
    "config/scalars/placeholders.py",
    "config/scalars/places.py",
    "config/scalars/quantities.py",
    "config/scalars/urls.py",
    "config/scalars/user_rights.py",
    "config/scalars/value_format.py",
    "config/scalars/words.py",
    "config/users_ini.py",
    "http/certificates.py",
    "http/proxies.py",
    "http/tunnels.py",
    "machine_checks.py",
    "services.py",
    "ssh/host_keys.py",
    "aws/dynamodb/plan.py",
    "user_source_trials.py",
    "user_sources.py",
    "wire/ldap_filters.py",
    "wire/ldap_names.py",
]
"""What finds faults and says so."""

OF_OPENSSL = (
    "bad record mac",
    "decryption failed",
    "internal error",
    "unexpected eof",
    "user cancel",
    "http request",
    "packet length too long",
    "record layer failure",
    "wrong version number",
    "certificate required",
    "alert ",
)
NO_MESSAGES = {
    **dict.fromkeys(OF_OPENSSL, "OpenSSL's words, which are looked for"),
    "no protocol for the tunnel": "a fault of the gateway",
    "invalid literal for int()": "Python's words, which are replaced",
    "the password has more than": "of hash-password, whose reader has just typed it",
    "the password is empty": "of hash-password",
    "SHA256:": "a fingerprint in the log",
    "listening on": "what all is well with",
    "reached and bound": "what all is well with",
    "may be read": "what all is well with",
    "no flags and counter": "told in the log, of a login",
    "unexpected keyword argument": "Python's words, which are replaced",
    ", or off": "part of the bounds",
    ", or auto": "part of the bounds",
    " or auto": "part of the name of a format",
    ", or 0 for never": "part of the bounds in the reference",
    "no answer within": "explained with bucket-unusable",
}
MESSAGE = re.compile(r"[^\\\[(|]*[a-z]{2}[^\\\[(|]* [^\\\[(|]*[a-z]")
"""At least two words, and no regular expression."""


def plain(text: str) -> str:
    """Text without markup and line breaks."""
    return re.sub(r"\s+", " ", text.replace("``", ""))


def messages_of(module: str) -> Iterator[str]:
    """The texts in a module that are no docstrings, a piece for each part between two values."""
    tree = ast.parse((REPOSITORY / "sftpgw" / module).read_text(encoding="utf-8"))
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if id(node) not in statements:
            yield from re.split(r"\{\w+\}", node.value)


def wanted_of(module: str) -> list[str]:
    return [
        text.strip(" :;,.")
        for text in messages_of(module)
        if MESSAGE.match(text) and not any(text.startswith(other) for other in NO_MESSAGES)
    ]


@pytest.mark.parametrize("module", MODULES)
def test_every_message_is_explained(module: str) -> None:
    wanted = wanted_of(module)
    assert wanted, "no message was found: has the module moved?"
    page = plain(PAGE.read_text(encoding="utf-8"))
    missing = [text for text in wanted if plain(text) not in page]
    assert not missing, "\n".join(missing)


def test_every_warning_is_explained() -> None:
    """The page has the directive; what it makes of each warning is the catalogue's."""
    assert "\n.. event-advice::\n" in PAGE.read_text(encoding="utf-8")
    table = (REPOSITORY / "tests" / "freeze" / "events.txt").read_text(encoding="utf-8")
    warnings = set(re.findall(r"^(\S+) (?:warn|critical)\b", table, re.MULTILINE))
    explained = {event.name: event for event in described_events.describe_warnings()}
    assert warnings
    assert set(explained) == warnings
    assert all(event.meaning and event.advice for event in explained.values())


def test_a_message_that_is_not_explained_is_found(tmp_path: Path) -> None:
    assert "another line of listen has this port already" in "".join(wanted_of("machine_checks.py"))
    assert not MESSAGE.match(r"missing \d+ required")
