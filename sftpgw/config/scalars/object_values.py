"""What objects get in the store, how they are encrypted, and what a store lacks."""

from __future__ import annotations

import base64
import json
import re

from sftpgw.config.scalars.placeholders import fill_placeholders
from sftpgw.config.scalars.words import names, refuse_unknown
from sftpgw.model.object_settings import PLACEHOLDERS
from sftpgw.model.store import Capabilities

CAPABILITY_NAMES = tuple(Capabilities().names(value=True))


def capabilities(text: str) -> Capabilities:
    """All capabilities but those named in `text`, as ``conditional-copy part-copy``."""
    lacking = names(text)
    for name in lacking:
        refuse_unknown(name, CAPABILITY_NAMES)
    return Capabilities().without(lacking)


_TAG_NAME = re.compile(r"[A-Za-z0-9 +\-=._:/@]{1,128}")

MOST_TAGS = 10
"""S3 takes no more for one object."""


def tags(text: str) -> tuple[tuple[str, str], ...]:
    """Tags of objects: ``name=value`` with blanks between them.

    Placeholders in values stay; they are replaced for each session (`model/object_settings`).
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
    """
    found: dict[str, str] = {}
    for pair in text.split():
        name, separator, value = pair.partition("=")
        if not separator or not _TAG_NAME.fullmatch(name):
            raise ValueError(f"{pair!r} is no tag; write name=value, with blanks between tags")
        if name in found or name.startswith("aws:"):
            raise ValueError(f"{name!r} comes twice, or is AWS's own; write another")
        fill_placeholders(value, dict.fromkeys(PLACEHOLDERS, ""))
        found[name] = value
    if len(found) > MOST_TAGS:
        raise ValueError(f"there are {len(found)} tags; S3 takes {MOST_TAGS} for an object")
    return tuple(found.items())


def session_tags(text: str) -> tuple[tuple[str, str], ...]:
    """Tags of sessions of a role, as `tags`. Sessions of a user share them.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html
    """
    found = tags(text)
    for _, value in found:
        fill_placeholders(value, {"username": ""})
    if len({name.lower() for name, _ in found}) < len(found):
        raise ValueError("has two names that differ in upper and lower case only; keep one")
    return found


def encryption_context(text: str) -> str:
    """An encryption context of KMS: a JSON object of texts."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise ValueError('is no JSON object of texts; write one such as {"project": "x"}')
    return json.dumps(found, separators=(",", ":"))


CUSTOMER_KEY_BYTES = 32
"""AES-256."""


def customer_key(data: bytes) -> bytes:
    """The key of SSE-C: 32 bytes, as they are or in base64. The message never repeats any.

    :raises ValueError: it is something else.
    """
    if len(data) == CUSTOMER_KEY_BYTES:
        return data
    try:
        key = base64.b64decode(data.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != CUSTOMER_KEY_BYTES:
        raise ValueError(
            "is no key of 32 bytes, as they are or in base64; make one with: openssl rand 32"
        )
    return key
