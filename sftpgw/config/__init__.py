"""From two ini files to `sftpgw.model.settings.Settings`.

Knows: the names of sections and keys, how values are written, which do not go together.
Must not know: what an SSH key, a password hash or a Twisted endpoint looks like: the
caller passes the checks for those. Nothing here listens, connects or writes.

Rules:

- Every fault is found in one go, and each is one line that tells where it is, what is
  wrong and what would be right. No line shows a secret.
- A blank value is the same as leaving the key out. Where that could hand out more than
  was meant (`key_prefix`, `permissions`) it is a fault instead.
- No interpolation and no inline comments: hashes and keys contain ``%``, ``;`` and ``#``.
- Relative paths are relative to sftpgw.ini.
"""

from sftpgw.config.loader import load_settings

__all__ = ["load_settings"]
