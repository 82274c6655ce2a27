"""Where files are: buckets, prefixes of keys, and paths."""

from __future__ import annotations

import re

from sftpgw.config.scalars.placeholders import without_placeholders
from sftpgw.config.scalars.words import refuse_controls
from sftpgw.model.limits import MAX_KEY_BYTES

_LONGEST_PREFIX_BYTES = 900  # the rest of MAX_KEY_BYTES is for names
_BUCKET = r"[A-Za-z0-9][A-Za-z0-9._-]{2,62}"
_TENANT = re.compile(rf"[A-Za-z0-9_]*:{_BUCKET}")
_IN_STORE = re.compile(r"[A-Za-z0-9_-]{1,64}:(.*)")

_ACCESS_POINT = re.compile(
    r"arn:aws[a-z-]*:s3:[a-z0-9-]+:[0-9]{12}:accesspoint[/:][a-z0-9][a-z0-9-]{1,48}[a-z0-9]"
)

RIGHT_ARN = "arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME"


def bucket_name(text: str) -> str:
    """A bucket, ``tenant:bucket`` of Ceph, or an access point by its ARN or its alias.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-points-naming.html
    https://docs.ceph.com/en/latest/radosgw/multitenancy/
    """
    if text.startswith("arn:"):
        return _access_point(text)
    if re.fullmatch(_BUCKET, text) or _TENANT.fullmatch(text):
        return text
    raise ValueError(
        f"{text!r} is not a bucket name: 3 to 63 letters, digits, dots and hyphens, first a "
        f"letter or digit; nor tenant:bucket, nor {RIGHT_ARN}"
    )


def bucket_of_any_store(text: str) -> str:
    """A bucket of ``[s3]``, or ``NAME:`` and one of ``[store NAME]``."""
    return text if has_store(text) else bucket_name(text)


def has_store(text: str) -> bool:
    """Whether a bucket is surely named as ``NAME:bucket``, after its store.

    ``tenant:bucket`` of Ceph looks the same, so that for some names only the sections tell.
    """
    if _TENANT.fullmatch(text) or not (match := _IN_STORE.fullmatch(text)):
        return False
    in_store = match[1]
    is_plain = re.fullmatch(_BUCKET, in_store) or _TENANT.fullmatch(in_store)
    return bool(is_plain or _ACCESS_POINT.fullmatch(in_store))


def _access_point(text: str) -> str:
    if _ACCESS_POINT.fullmatch(text):
        return text
    if re.match(r"arn:[a-z-]+:s3::[0-9]*:accesspoint", text):
        raise ValueError(
            "is a multi-region access point, whose signatures (SigV4A) the gateway cannot make; "
            f"write one of a region: {RIGHT_ARN}"
        )
    raise ValueError(f"{text!r} is not the ARN of an access point; write {RIGHT_ARN}")


def is_tenant_bucket(bucket: str) -> bool:
    """Whether a bucket is named as Ceph's ``tenant:bucket``."""
    return _TENANT.fullmatch(bucket) is not None


def key_prefix(text: str) -> str:
    """A prefix without a slash in front and with one at the end; ``/`` is the whole bucket."""
    inner = text.removeprefix("/").removesuffix("/")
    if not inner:
        return ""
    for segment in inner.split("/"):
        if segment in ("", ".", ".."):
            raise ValueError(
                f"{text!r} has a segment {segment!r}; write names between single slashes"
            )
    refuse_controls(text)
    if len(inner.encode()) > _LONGEST_PREFIX_BYTES:
        raise ValueError(
            f"is over {_LONGEST_PREFIX_BYTES} bytes; a key has {MAX_KEY_BYTES:,}, names included"
        )
    return inner + "/"


def state_prefix(text: str) -> str:
    prefix = key_prefix(without_placeholders(text))
    if not prefix:
        raise ValueError("cannot be the whole bucket; write a prefix such as .sftpgw/")
    return prefix


def path_names(text: str) -> tuple[str, ...]:
    """The names on the way from a user's root to a path: none for ``/``."""
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is not a path; write it from the root: /incoming")
    refuse_controls(text)
    inner = text.removeprefix("/").removesuffix("/")
    segments = tuple(inner.split("/")) if inner else ()
    if any(segment in ("", ".", "..") for segment in segments):
        raise ValueError(f"{text!r} is not a path; write names between single slashes: /a/b")
    return segments
