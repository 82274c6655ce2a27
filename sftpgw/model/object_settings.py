"""How new objects are stored: class, encryption, ACL, tags. Said of a store, and of users.

What a user's mount says wins over what its store says. The gateway's own records have the class and
the encryption of their store, and neither ACL nor tags.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

Tags = tuple[tuple[str, str], ...]

PLACEHOLDERS = ("username", "client_ip", "session")
"""What the value of a tag may have in braces."""

LONGEST_TAG_VALUE = 256
_NO_TAG_CHARACTER = re.compile(r"[^\w +\-=.:/@]")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Encryption(enum.Enum):
    """Who encrypts an object, and with which key (SSE)."""

    NONE = "none"  # no header asks for anything: the bucket decides
    S3 = "s3"
    KMS = "kms"
    KMS_DSSE = "kms-dsse"


@dataclass(frozen=True, slots=True)
class ObjectSettings:
    """How an object is stored. What is blank or None is not said here.

    :ivar storage_class: S3's name of the class.
    :ivar sse: who encrypts it.
    :ivar sse_kms_key: the key of KMS; blank for that of AWS.
    :ivar sse_bucket_key: whether KMS is asked for one key for many objects.
    :ivar sse_kms_context: the encryption context, a JSON object.
    :ivar acl: the canned ACL.
    :ivar tags: names and values; the values may have placeholders (`filled`).
    """

    storage_class: str = ""
    sse: Encryption | None = None
    sse_kms_key: str = ""
    sse_bucket_key: bool | None = None
    sse_kms_context: str = ""
    acl: str = ""
    tags: Tags = ()

    @property
    def of_gateway(self) -> ObjectSettings:
        """The same for the gateway's own records."""
        return replace(self, acl="", tags=())

    def under(self, above: ObjectSettings) -> ObjectSettings:
        """These settings, where they win over others.

        What is said of encryption belongs together: with an `sse` of its own, nothing of `above`
        counts for that.

        :param above: what counts where these say nothing.
        """
        said = {each.name: getattr(self, each.name) for each in fields(self)}
        given = {name: value for name, value in said.items() if value not in ("", None, ())}
        if self.sse is not None:
            given |= {name: value for name, value in said.items() if name.startswith("sse")}
        return replace(above, **given)

    def filled(self, known: Mapping[str, str]) -> ObjectSettings:
        """The same, with the placeholders of tags replaced.

        A character that S3 allows in no tag becomes ``_``.

        :param known: the values, by the names in `PLACEHOLDERS`.
        """
        if not self.tags:
            return self

        def value_of(text: str) -> str:
            whole = _PLACEHOLDER.sub(lambda found: known.get(found[1], ""), text)
            return _NO_TAG_CHARACTER.sub("_", whole)[:LONGEST_TAG_VALUE]

        return replace(self, tags=tuple((name, value_of(text)) for name, text in self.tags))


NO_OBJECT_SETTINGS = ObjectSettings()


@dataclass(frozen=True, slots=True)
class ObjectsOfPrefix:
    """The settings of the objects below a prefix of a bucket.

    :ivar bucket: the bucket.
    :ivar prefix: what the keys begin with.
    :ivar state_prefix: the prefix of the gateway's own keys, which these are not.
    :ivar settings: their settings.
    """

    bucket: str
    prefix: str
    state_prefix: str
    settings: ObjectSettings

    def has(self, bucket: str, key: str) -> bool:
        """Whether an object is one of these."""
        return (
            bucket == self.bucket
            and key.startswith(self.prefix)
            and not key.startswith(self.state_prefix)
        )


@dataclass(frozen=True, slots=True)
class ObjectTable:
    """The settings of the objects that a session works on.

    :ivar rows: the prefixes of its mounts; the longest first.
    :ivar others: returns the settings of the gateway's own objects in a bucket.
    """

    rows: tuple[ObjectsOfPrefix, ...]
    others: Callable[[str], ObjectSettings]

    def of(self, bucket: str, key: str) -> ObjectSettings:
        """The settings of an object."""
        for row in self.rows:
            if row.has(bucket, key):
                return row.settings
        return self.others(bucket)
