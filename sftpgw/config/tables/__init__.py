"""Every key of both ini files: how it is written, its bounds, and what it does.

The loader reads the files by these tables. The configuration reference in ``docs/`` and the
annotated examples in ``etc/`` are made of them, so that the three cannot differ. Defaults are
those of the settings in `sftpgw.model.settings`.
"""

from __future__ import annotations

from collections.abc import Mapping

from sftpgw.config.ini_file import Key
from sftpgw.config.tables.auth_section import AUTH_KEYS
from sftpgw.config.tables.files_section import FILES_KEYS
from sftpgw.config.tables.gateway_section import GATEWAY_KEYS
from sftpgw.config.tables.limits_section import LIMITS_KEYS
from sftpgw.config.tables.lockout_section import LOCKOUT_KEYS
from sftpgw.config.tables.s3_section import OF_ALL_STORES, S3_KEYS, STORE_KEYS
from sftpgw.config.tables.ssh_section import SSH_KEYS
from sftpgw.config.tables.user_sections import DEFAULT_KEYS, TEMPLATES, USER_KEYS

__all__ = [
    "DEFAULT_KEYS",
    "OF_ALL_STORES",
    "SECTIONS",
    "STORE_KEYS",
    "TEMPLATES",
    "USER_KEYS",
]

SECTIONS: Mapping[str, Mapping[str, Key]] = {
    "gateway": GATEWAY_KEYS,
    "s3": S3_KEYS,
    "ssh": SSH_KEYS,
    "auth": AUTH_KEYS,
    "lockout": LOCKOUT_KEYS,
    "limits": LIMITS_KEYS,
    "files": FILES_KEYS,
}
"""The keys of sftpgw.ini, by section."""
