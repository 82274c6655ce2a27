"""Three tenants, what they share, and what each of them must not learn.

Knows: their users, the content of the buckets, and how a secret is recognized.
Must not know: how the gateway keeps users apart.

Each tenant has a home, and a second mount in another bucket. All of them see one read-only mount,
and upload to one drop box. The first one has another drop box, where no file may be replaced.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from sftpgw.files.uploads.suspended.plan import SuspendedUpload, record_name, record_text
from sftpgw.model.mounts import AccessRule, Mount, Permission
from sftpgw.model.store import MultipartUpload, ObjectName, ObjectProperties, StoredPart
from sftpgw.model.users import User
from sftpgw.testing.fake_store import FakeStore

T = TypeVar("T")

TENANTS = ("alice", "bob", "carol")
BUCKET, VAULT = "bucket", "vault"
FURNISHED_SECONDS = 1_600_000_000.0
RECENTLY = 1_700_600_000.0
"""When records were written that are not to expire in a history, in seconds since 1970."""

STATE = ".sftpgw/"
PUBLIC, DROP, BOX = "public/", "drop/", "box/"

_SEEN = Permission.LIST | Permission.DOWNLOAD
_DROPPED = Permission.UPLOAD | Permission.OVERWRITE | Permission.MKDIR
_KEPT = _SEEN | Permission.UPLOAD | Permission.OVERWRITE | Permission.MKDIR


def token(tenant: str) -> bytes:
    """Is in the names and bytes of a tenant's secrets, and in no other place."""
    return f"Zq7{tenant}s".encode()


def payload(tenant: str) -> bytes:
    """What a tenant writes."""
    return f"Zp8{tenant}s-write".encode()


HIDDEN = b"Zq7hiddens"
"""The same for names that their own tenant must not see."""


HIDDEN_NAMES = ("keep/Zq7hid-file", "keep/b.hid", "keep/Zq7hid-dir/x", "only/Zq7hid-file")
"""What there is of that in each home."""


def home(tenant: str) -> str:
    """The prefix of a tenant's home."""
    return f"home/{tenant}/"


def user_of(tenant: str) -> User:
    """A tenant's user, as users.ini would make it."""
    keep = AccessRule(("keep",), _KEPT, deny=("*.hid", "Zq7hid*"), hides_denied=True)
    only = AccessRule(("only",), _KEPT, allow=("*.csv",), hides_denied=True)
    mounts = [
        Mount(BUCKET, home(tenant), rules=(keep, only)),
        Mount(VAULT, f"{tenant}/", path=("vault",)),
        Mount(BUCKET, PUBLIC, permissions=_SEEN, path=("public",)),
        Mount(BUCKET, DROP, permissions=_DROPPED, path=("drop",)),
    ]
    if tenant == TENANTS[0]:
        mounts.append(Mount(BUCKET, BOX, permissions=Permission.UPLOAD, path=("box",)))
    return User(tenant, tuple(mounts))


@dataclass(frozen=True)
class Area:
    """Where only one tenant may change anything."""

    bucket: str
    prefix: str

    def has(self, name: ObjectName) -> bool:
        """Whether an object is in it."""
        return name.bucket == self.bucket and name.key.startswith(self.prefix)


def areas_of(tenant: str) -> tuple[Area, ...]:
    """What is a tenant's own."""
    return Area(BUCKET, home(tenant)), Area(VAULT, f"{tenant}/")


def is_hidden(name: ObjectName) -> bool:
    """Whether an object is hidden from its own tenant."""
    return name.bucket == BUCKET and any(
        name.key == home(tenant) + each for tenant in TENANTS for each in HIDDEN_NAMES
    )


def taken_names(tenant: str) -> tuple[str, ...]:
    """Names of a tenant's files in the drop box which others may try to store files under.

    They are there in every world: who uploads under a name that is taken is told so, as
    docs/permissions.rst says. What is in the files is as secret as the rest.
    """
    return f"{token(tenant).decode()}-drop", f"{token(tenant).decode()}-taken/z"


def secret_names(tenant: str) -> tuple[str, ...]:
    """Names of a tenant's files in the drop box which others only look for."""
    return f"{token(tenant).decode()}-secret", f"{token(tenant).decode()}-in/z"


# What is stored.


def furnish(store: FakeStore, tenants: tuple[str, ...], *, has_hidden: bool) -> None:
    """Store what there is before a history.

    :param store: the store.
    :param tenants: those who have anything.
    :param has_hidden: whether they have what they must not see themselves, too.
    """
    for number in range(3):
        _seed(store, f"{PUBLIC}p{number}", b"public" * number)
        _seed(store, f"{BOX}x{number}", b"Zq7boxes" * 3)
    _seed(store, "home/Zq7strangers/a", b"Zq7strangers" * 3)
    for tenant in tenants:
        _furnish_home(store, tenant, has_hidden=has_hidden)
    for tenant in TENANTS:
        for name in taken_names(tenant):
            _seed(store, DROP + name, token(tenant) * 3)
    for tenant in tenants:
        _forge(store, tenant, TENANTS[TENANTS.index(tenant) - 1])


def _furnish_home(store: FakeStore, tenant: str, *, has_hidden: bool) -> None:
    text, mark = token(tenant), token(tenant).decode()
    for name in (
        "a",
        "d/b",
        "keep/seen",
        "only/a.csv",
        f"{mark}-file",
        f"{mark}-dir/x",
        "caf\u00e9/f",
    ):
        _seed(store, home(tenant) + name, text * 3)
    _seed(store, f"{tenant}/v", text * 3, VAULT)
    _seed(store, f"{tenant}/{mark}-dir/y", text * 3, VAULT)
    for name in secret_names(tenant):
        _seed(store, DROP + name, text * 3)
    if has_hidden:
        for name in HIDDEN_NAMES:
            _seed(store, home(tenant) + name, HIDDEN * 3)
    for key in (f"{home(tenant)}part", f"{DROP}{mark}-part"):
        _suspend(store, tenant, key)


def _suspend(store: FakeStore, tenant: str, key: str) -> None:
    """Leave an upload that its tenant can resume."""
    name = ObjectName(BUCKET, key)
    upload = _done(store.create_upload(name, ObjectProperties()))
    part = _done(store.upload_part(upload, 1, (token(tenant) * 3,)))
    _record(store, name, SuspendedUpload(tenant, upload, (part,), FURNISHED_SECONDS), RECENTLY)


def _seed(
    store: FakeStore,
    key: str,
    data: bytes,
    bucket: str = BUCKET,
    at_seconds: float = FURNISHED_SECONDS,
) -> None:
    """Store an object. Its time does not depend on what else is stored."""
    store.now_seconds = at_seconds
    store.seed(key, data, bucket)


def _done(request: Coroutine[Any, Any, T]) -> T:
    """The result of a request; the store in memory answers at once."""
    found: list[T] = []
    Deferred.fromCoroutine(request).addCallback(found.append)
    return found[0]


def _record(store: FakeStore, name: ObjectName, record: SuspendedUpload, at_seconds: float) -> None:
    key = record_name(STATE, record.user, name)
    _seed(store, key.key, record_text(record), at_seconds=at_seconds)


def _forge(store: FakeStore, tenant: str, victim: str) -> None:
    """Records that a tenant would write who could: they name what the victim has."""
    part = StoredPart(1, 9, '"00000000000000000000000000000000"')
    found = [
        each.upload
        for each in store.uploads.values()
        if each.upload.name.key.startswith(home(victim))
    ]
    upload_ids = [upload.upload_id for upload in found] or ["upload-none"]
    for key, named in (
        ("forged-key", f"{home(victim)}a"),
        ("forged-id", f"{home(tenant)}forged-id"),
        ("forged-part", f"{home(victim)}part"),
    ):
        name = ObjectName(BUCKET, home(tenant) + key)
        upload = MultipartUpload(ObjectName(BUCKET, named), upload_ids[0])
        forged = SuspendedUpload(tenant, upload, (part,), FURNISHED_SECONDS)
        _record(store, name, forged, FURNISHED_SECONDS)
