"""What ``sftpgw user show`` and ``list`` print.

Knows: which values must not be shown, and what is worth saying of them.
Must not know: how the sections of a user are put together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sftpgw.auth.authorized_keys import read_authorized_key
from sftpgw.auth.login_keys import fingerprint
from sftpgw.auth.passwords import needs_rehash
from sftpgw.config.ini_file import Faults, Section
from sftpgw.config.tables import USER_KEYS
from sftpgw.config.user_layers import GivenValue, applicable
from sftpgw.config.users_editor import EditRefused, NoSuchUser
from sftpgw.config.users_ini import explain_user, is_common, layers_of

KEYS, HASH, TOTP, DISABLED = "authorized_keys", "password_hash", "totp_secret", "disabled"
SECRETS = frozenset({HASH, TOTP})
TOTP_METHOD = "totp"
REHASH_HINT = "of a kind of which guesses are cheap; sftpgw user passwd --rehash"


def shown(sections: Mapping[str, Section], name: str, faults: Faults) -> list[str]:
    """What applies to a user after groups and defaults, and from where each value comes.

    :param sections: the sections of users by name, with ``[*]`` and those of groups.
    :param name: the user's name.
    :param faults: what is wrong with them.
    :raises EditRefused: there is no such user.
    """
    values = explain_user(sections, name)
    if not values:
        raise EditRefused(*faults.lines) if faults.lines else NoSuchUser(name)
    lines = [line for value in values for line in _lines_of(value)]
    said = {value.key for value in values}
    silent = [key for key in USER_KEYS if key not in said and key != "groups"]
    return [*lines, "", f"By default: {' '.join(silent)}"]


def listed(sections: Mapping[str, Section]) -> list[str]:
    """A line for each user: how they may log in, and where they are written.

    :param sections: the sections of users by name, with ``[*]`` and those of groups.
    """
    common = {name: section for name, section in sections.items() if is_common(name)}
    own = {name: section for name, section in sections.items() if not is_common(name)}
    width = max(map(len, own), default=0)
    return [
        f"{name:{width}}  {_proofs_of(_texts(section, common))}  ({section.file.name})"
        for name, section in own.items()
    ]


def needs_code(sections: Mapping[str, Section], name: str) -> bool:
    """Whether ``require`` of a user asks for a one-time code.

    :param sections: the sections of users by name, with ``[*]`` and those of groups.
    :param name: the user's name.
    """
    values = explain_user(sections, name)
    return any(value.key == "require" and TOTP_METHOD in value.text for value in values)


def _texts(own: Section, common: Mapping[str, Section]) -> Mapping[str, str]:
    return {value.key: value.text for value in applicable(layers_of(own, common), own.name)}


def _proofs_of(values: Mapping[str, str]) -> str:
    """How a user may log in, in a few words."""
    keys = len([line for line in values.get(KEYS, "").split("\n") if line.strip()])
    words = [f"{keys} key{'' if keys == 1 else 's'}"] if keys else []
    words += ["password"] if values.get(HASH) else []
    words += ["totp"] if values.get(TOTP) else []
    words += [f"require {values['require']}"] if values.get("require") else []
    words += (
        ["DISABLED"] if values.get(DISABLED, "no").lower() in ("yes", "true", "on", "1") else []
    )
    return ", ".join(words) or "cannot log in with a key or password of users.ini"


def _lines_of(value: GivenValue) -> Iterator[str]:
    """One value, with its origin."""
    origin = f"[{value.section.name}] in {value.file.name}"
    if value.key in SECRETS and value.text:
        yield f"{value.written} = (set){_hint_of(value)}    # {origin}"
    elif value.key == KEYS:
        yield f"{value.written} =    # {origin}"
        yield from (f"    {_shown_key(line)}" for line in value.text.split("\n") if line.strip())
    else:
        yield f"{value.written} = {value.text}    # {origin}"


def _hint_of(value: GivenValue) -> str:
    try:
        is_old = value.key == HASH and needs_rehash(value.text)
    except ValueError as problem:
        return f" {problem}"
    return f", {REHASH_HINT}" if is_old else ""


def _shown_key(line: str) -> str:
    try:
        return f"{fingerprint(read_authorized_key(line).blob)}  {line.strip()}"
    except ValueError as problem:
        return f"{problem}: {line.strip()}"
