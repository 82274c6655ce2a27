"""What tenants send: requests that look for a way to the others.

Knows: SFTP, the command lines of scp and sums, and in how many ways a path can be written.
Must not know: what any of it is answered.
"""

from __future__ import annotations

import random
import struct
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from fuzz.isolation.tenants import (
    STATE,
    TENANTS,
    payload,
    secret_names,
    taken_names,
    token,
)
from sftpgw.files.uploads.suspended.plan import record_name
from sftpgw.model.store import ObjectName
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag

STEPS = 80
"""In one history, of all tenants together."""

MAX_HANDLE = 12
LAST, BEFORE = b"<the last handle", b"<the one before>"
"""Stand for handles that a tenant has been given."""


@dataclass(frozen=True)
class Command:
    """A command line, and what its client says then."""

    line: bytes
    said: bytes


@dataclass(frozen=True)
class Leave:
    """The client loses its connection, and logs in again."""


Action: TypeAlias = wire.Request | Command | Leave


@dataclass(frozen=True)
class Step:
    """What one tenant does.

    :ivar tenant: who.
    :ivar kind: what it is, for people who read how much was tried.
    :ivar action: what is sent.
    """

    tenant: str
    kind: str
    action: Action


def history(seed: int) -> list[Step]:
    """The steps of one history, always the same for one seed."""
    made = random.Random(seed)
    tenant, steps = made.choice(TENANTS), []
    for number in range(1, STEPS + 1):
        if made.random() < 0.4:  # else one more step of the same: to use what was opened
            tenant = made.choice(TENANTS)
        kind, action = made.choice(_MAKERS)(made, tenant, number)
        steps.append(Step(tenant, kind, action))
    return steps


def kinds(steps: Iterable[Step]) -> Counter[str]:
    """How many steps there are of each kind."""
    return Counter(step.kind for step in steps)


def encoded(request: wire.Request, tenant: str, last: int) -> bytes:
    """A request as bytes.

    :param request: the request.
    :param tenant: who sends it.
    :param last: the number of the handle that this tenant was given last.
    """
    data = encode_request(request)
    for stand_in, number in ((LAST, last), (BEFORE, max(last - 1, 0))):
        data = data.replace(stand_in, handle_of(tenant, number))
    return data


def handle_of(tenant: str, number: int) -> bytes:
    """How the gateway calls one of a tenant's handles, as far as these tests make the names."""
    return b"%016x" % (TENANTS.index(tenant) << 32 | number)


# Paths.

_ORDINARY = (b"a", b"d", b"d/b", b"new", b"new/x", b"keep", b"keep/seen", b"keep/new", b"part")
_ORDINARY += (b"vault", b"vault/v", b"vault/new", b"public", b"public/p1", b"drop", b"drop/new-%b")
_ORDINARY += (b"only", b"only/a.csv", b"only/b.csv", b"box", b"box/x1", b"box/new", b"forged-id")
_ORDINARY += (b"drop/Zq7%bs-part", b"drop/in-%b", b"drop/in-%b/x", b"forged-key", b"forged-part")
_ORDINARY += ("caf\u00e9/f".encode(), b"")
_NAMES = (b"", b".", b"..", b"../..", b"home", b"a", b"d", b"x", b"*", b"?", b"[a-z]*", b"~")
_NAMES += (b"vault", b"public", b"box", b"keep", b"only", b"bucket", b".sftpgw", b"{a,b}")
_NAMES += (b"%2e%2e", b"..%2f", b"..\\", b"\xc0\xae\xc0\xae", b"\0", b"...", b".. ", b"\\", b"new")
_NAMES += ("\uff0e\uff0e".encode(), "\u2215".encode(), b"..;", b"~root", b"C:", b"a\n", b"Bob")
_HIDDEN = (b"keep/Zq7hid-file", b"keep/b.hid", b"keep/Zq7hid-dir", b"keep/Zq7hid-dir/x", b"keep/")
_HIDDEN += (b"only/Zq7hid-file", b"keep/*.hid", b"keep/Zq7hid*/*", b"keep/new.hid", b"only/new.txt")


def _path(made: random.Random, tenant: str) -> bytes:
    match made.randint(0, 9):
        case 0 | 1 | 2:
            return b"/" + made.choice(_ORDINARY).replace(b"%b", tenant.encode())
        case 3:
            return made.choice(_HIDDEN)
        case 4:
            names = [made.choice(_NAMES) for _ in range(made.randint(1, 4))]
            return made.choice((b"", b"/", b"//", b"/../")) + b"/".join(names)
    return _written(made, _way_out(made, _key_of_others(made, tenant)))


def _key_of_others(made: random.Random, tenant: str) -> bytes:
    """A key that another tenant, the gateway, or no tenant has; or the prefix of one."""
    other = made.choice([each for each in TENANTS if each != tenant])
    mark = token(other)
    home, vault = b"home/%b/" % other.encode(), b"%b/" % other.encode()
    found = [home + name for name in (b"a", b"d/b", b"part", b"new", b"", b"*", mark + b"-file")]
    found += [home + mark + name for name in (b"-dir/x", b"-dir", b"-*", b"-di?/[wxy]")]
    found += [vault + name for name in (b"v", b"", mark + b"-dir/y", b"new")]
    found += [b"drop/" + name.encode() for name in taken_names(other)]
    found += [b"home/", b"home/%b" % other.encode(), b"", b"home/Zq7strangers/a", b"home/*/*"]
    name = ObjectName("bucket", f"home/{other}/part")
    found += [record_name(STATE, other, name).key.encode(), b".sftpgw/", b".sftpgw/partials/"]
    found += [record_name(STATE, tenant, name).key.encode(), b".sftpgw/*/*/*"]
    return made.choice(found)


def _way_out(made: random.Random, key: bytes) -> bytes:
    """A path that would lead to a key if one of many mistakes were made."""
    match made.randint(0, 7):
        case 0:
            return b"/" + key
        case 1:
            return key
        case 2:
            return made.choice((b"s3://bucket/", b"s3://vault/", b"bucket:", b"vault:")) + key
        case 3:
            within = key.partition(b"/")[2]
            return made.choice((b"vault/../../", b"/drop/../", b"/public/../")) + within
    start = made.choice((b"", b"/", b"d/", b"/vault/", b"/public/", b"/drop/", b"/keep/", b"./"))
    return start + b"../" * made.randint(1, 5) + key


def _written(made: random.Random, path: bytes) -> bytes:
    """The same path in one of many ways of writing it."""
    return made.choice(_WRITTEN)(path)


def _normalized(form: str) -> Callable[[bytes], bytes]:
    return lambda path: unicodedata.normalize(form, path.decode("utf-8", "replace")).encode()  # type: ignore[arg-type]


_WRITTEN: tuple[Callable[[bytes], bytes], ...] = (
    *[lambda path: path] * 8,
    lambda path: path.replace(b"..", b"%2e%2e"),
    lambda path: path.replace(b"/", b"%2f"),
    lambda path: path.replace(b"..", b"%252e%252e"),
    lambda path: path.replace(b"/", b"\\"),
    lambda path: path.replace(b"..", b"\xc0\xae\xc0\xae"),
    lambda path: path.replace(b"/", b"\xc0\xaf"),
    lambda path: path.replace(b".", b"\xe0\x80\xae"),
    lambda path: path.replace(b"..", "\uff0e\uff0e".encode()),
    lambda path: path + b"\0",
    lambda path: path.replace(b"/", b"\0/", 1),
    lambda path: path.replace(b"/", b"/./" * 3),
    lambda path: b"./" * 4000 + path,
    lambda path: b"x" * 1100 + b"/../" + path,
    lambda path: b"x" * 17_000 + b"/" + path,
    lambda path: path + b"/",
    lambda path: path + b"/.",
    lambda path: path.swapcase(),
    _normalized("NFC"),
    _normalized("NFD"),
    _normalized("NFKC"),
)


# Requests.

_ON_PATH = (Kind.STAT, Kind.LSTAT, Kind.REALPATH, Kind.READLINK, Kind.REMOVE, Kind.RMDIR)
_READ, _WRITE, _CREAT, _TRUNC = OpenFlag.READ, OpenFlag.WRITE, OpenFlag.CREAT, OpenFlag.TRUNC
_FLAGS = (_READ, _READ, _WRITE, _WRITE | _CREAT, _WRITE | _CREAT | _TRUNC, _READ | _WRITE)
_FLAGS += (_WRITE | _CREAT | OpenFlag.EXCL, _WRITE | _CREAT | OpenFlag.APPEND)
_FLAGS += (_READ | _WRITE | _CREAT, _READ | _CREAT, _WRITE | OpenFlag.APPEND)
_ATTRIBUTES = ({"size": 0}, {"size": 3}, {"atime": 9, "mtime": 9}, {"permissions": 0o600}, {})
_RENAMED = (b"/a", b"/d", b"/d/b", b"/vault/v", b"/keep", b"/only/a.csv", b"/new", b"/vault")
_RENAMES = (b"posix-rename@openssh.com", b"hardlink@openssh.com")
_OF_PATHS = (b"statvfs@openssh.com", b"expand-path@openssh.com", b"home-directory")
_OF_HANDLES = (b"fsync@openssh.com", b"fstatvfs@openssh.com")
_ALGORITHMS = b"md5,sha256"


def _handle(made: random.Random, tenant: str) -> bytes:
    """A handle: mostly the latest ones of this tenant, sometimes those of others."""
    if made.random() < 0.7:
        return made.choice((LAST, LAST, BEFORE))
    return handle_of(made.choice(TENANTS), made.randint(1, MAX_HANDLE))


_Made: TypeAlias = tuple[str, Action]


def _on_path(made: random.Random, tenant: str, number: int) -> _Made:
    kind = made.choice((*_ON_PATH, Kind.OPENDIR, Kind.OPENDIR, Kind.STAT))
    return kind.name, wire.OnPath(kind, number, _path(made, tenant))


def _open(made: random.Random, tenant: str, number: int) -> _Made:
    flags = made.choice(_FLAGS)
    kind = "OPEN to write" if flags & _WRITE else "OPEN to read"
    attributes: wire.Attributes = made.choice(_ATTRIBUTES) if made.random() < 0.1 else {}
    return kind, wire.Open(number, _path(made, tenant), flags, attributes)


def _resume(made: random.Random, tenant: str, number: int) -> _Made:
    """An OPEN that would go on with what another tenant has left."""
    others = [each for each in TENANTS if each != tenant]
    key = made.choice((b"home/%b/part", b"drop/Zq7%bs-part", b"/drop/Zq7%bs-part"))
    key = key.replace(b"%b", made.choice(others).encode())
    flags = made.choice((_WRITE, _WRITE, _WRITE | OpenFlag.APPEND))
    if not key.startswith((b"drop", b"/drop")):
        flags |= made.choice((0, _CREAT))  # in the drop box this would take the name
    path = key if key.startswith(b"/") else _way_out(made, key)
    return "resume of another's upload", wire.Open(number, path, flags, {})


def _look_into_drop_box(made: random.Random, tenant: str, number: int) -> _Made:
    """A look for what others have stored where one sees nothing, in ways that store nothing."""
    other = made.choice([each for each in TENANTS if each != tenant])
    names = [*secret_names(other), f"{token(other).decode()}-part", f"{token(other).decode()}-in"]
    path = b"/drop/" + made.choice((*names, *taken_names(other))).encode()
    kind = "look into the drop box"
    match made.randint(0, 6):
        case 0 | 1 | 2:
            asked = made.choice((Kind.STAT, Kind.LSTAT, Kind.OPENDIR, Kind.RMDIR, Kind.REMOVE))
            return kind, wire.OnPath(asked, number, path + made.choice((b"", b"/")))
        case 3:
            return kind, wire.Open(number, path, made.choice((_READ, _WRITE, _READ | _WRITE)), {})
        case 4:
            return kind, wire.ChangePath(Kind.SETSTAT, number, path, made.choice(_ATTRIBUTES))
        case 5:
            return kind, wire.OnTwoPaths(Kind.RENAME, number, path, b"/mine")
    line = made.choice((b"md5sum ", b"scp -f ", b"scp -r -f "))
    return kind, Command(line + made.choice((path, b"/drop/*", b"drop/*/*")), b"\0" * 20)


def _on_handle(made: random.Random, tenant: str, number: int) -> _Made:
    kind = made.choice((Kind.CLOSE, Kind.CLOSE, Kind.FSTAT, Kind.READDIR, Kind.READDIR))
    handle = _handle(made, tenant)
    return _of_whom(kind.name, handle, tenant), wire.OnHandle(kind, number, handle)


def _of_whom(kind: str, handle: bytes, tenant: str) -> str:
    is_own = handle in (LAST, BEFORE) or int(handle, 16) >> 32 == TENANTS.index(tenant)
    return kind if is_own else "handle of another session"


def _read(made: random.Random, tenant: str, number: int) -> _Made:
    handle = _handle(made, tenant)
    request = wire.Read(number, handle, made.choice((0, 0, 4)), 100)
    return _of_whom("READ", handle, tenant), request


def _write(made: random.Random, tenant: str, number: int) -> _Made:
    handle = _handle(made, tenant)
    request = wire.Write(number, handle, made.choice((0, 0, 9)), (payload(tenant),))
    return _of_whom("WRITE", handle, tenant), request


def _change(made: random.Random, tenant: str, number: int) -> _Made:
    attributes = made.choice(_ATTRIBUTES)
    if made.random() < 0.3:
        handle = _handle(made, tenant)
        return _of_whom("FSETSTAT", handle, tenant), wire.ChangeHandle(number, handle, attributes)
    kind = made.choice((Kind.SETSTAT, Kind.MKDIR, Kind.MKDIR))
    return kind.name, wire.ChangePath(kind, number, _path(made, tenant), attributes)


def _rename(made: random.Random, tenant: str, number: int) -> _Made:
    first, second = _path(made, tenant), _path(made, tenant)
    if made.random() < 0.5:
        first = made.choice(_RENAMED)
    if made.random() < 0.5:
        kind = made.choice((Kind.RENAME, Kind.RENAME, Kind.SYMLINK))
        return kind.name, wire.OnTwoPaths(kind, number, first, second)
    name = made.choice(_RENAMES)
    return name.decode(), wire.Extended(number, name, wire.string(first) + wire.string(second))


def _extension(made: random.Random, tenant: str, number: int) -> _Made:
    if made.random() < 0.5:
        name = made.choice(_OF_PATHS)
        data = wire.string(_path(made, tenant))
        return name.decode(), wire.Extended(number, name, data)
    name, handle = made.choice(_OF_HANDLES), _handle(made, tenant)
    kind = _of_whom(name.decode(), handle, tenant)
    return kind, wire.Extended(number, name, wire.string(handle))


def _copy_data(made: random.Random, tenant: str, number: int) -> _Made:
    source, target = _handle(made, tenant), _handle(made, tenant)
    data = wire.string(source) + struct.pack(">QQ", 0, made.choice((0, 9)))
    data += wire.string(target) + struct.pack(">Q", made.choice((0, 9)))
    return "copy-data", wire.Extended(number, b"copy-data", data)


def _check_file(made: random.Random, tenant: str, number: int) -> _Made:
    name = made.choice((b"check-file-name", b"check-file-name", b"check-file-handle"))
    is_path = name == b"check-file-name"
    subject = _path(made, tenant) if is_path else _handle(made, tenant)
    data = wire.string(subject) + wire.string(_ALGORITHMS) + struct.pack(">QQL", 0, 0, 0)
    return "check-file", wire.Extended(number, name, data)


def _forged_record(made: random.Random, tenant: str, number: int) -> _Made:
    """A place for a record of the gateway's, if the path led there."""
    other = made.choice([each for each in TENANTS if each != tenant])
    name = ObjectName("bucket", f"home/{made.choice((tenant, other))}/a")
    key = record_name(STATE, made.choice((tenant, other)), name).key.encode()
    return "forged record", wire.Open(number, _way_out(made, key), _WRITE | _CREAT | _TRUNC, {})


# Commands.

_SUMS = (b"md5sum", b"sha1sum", b"sha256sum")
_PATTERNS = (b"*", b"*/*", b"/*/*/*", b"../*", b"/home/*/*", b"?ome/*", b"[a-z]*", b"keep/*", b".*")
_PATTERNS += (b"drop/*", b"drop/*/*", b"/drop/../*", b"public/*", b"only/*", b"keep/*.hid", b"**")


def _word(made: random.Random, tenant: str) -> bytes:
    path = made.choice(_PATTERNS) if made.random() < 0.4 else _path(made, tenant)
    if made.random() < 0.3:
        return b"'%b'" % path.replace(b"'", b"")
    return path


def _sum(made: random.Random, tenant: str, number: int) -> _Made:
    words = [_word(made, tenant) for _ in range(made.randint(1, 2))]
    return "sums", Command(b" ".join((made.choice(_SUMS), *words)), b"")


def _download(made: random.Random, tenant: str, number: int) -> _Made:
    options = made.choice((b"-f", b"-r -f", b"-r -p -f"))
    line = b" ".join((b"scp", options, _word(made, tenant)))
    return "scp download", Command(line, b"\0" * 40)


def _upload(made: random.Random, tenant: str, number: int) -> _Made:
    options = made.choice((b"-t", b"-r -t", b"-r -d -t", b"-p -t"))
    line = b" ".join((b"scp", options, _word(made, tenant)))
    return "scp upload", Command(line, b"".join(_said(made, tenant)))


def _new(tenant: str) -> bytes:
    """A name that only this tenant gives to files."""
    return b"new-" + tenant.encode()


def _said(made: random.Random, tenant: str) -> Iterator[bytes]:
    """What the client of an upload says: files and directories, whose names look for a way out."""
    data = payload(tenant)
    for _ in range(made.randint(1, 3)):
        name = (
            _path(made, tenant)
            if made.random() < 0.5
            else made.choice((_new(tenant), b"..", b"a" + tenant.encode()))
        )
        match made.randint(0, 4):
            case 0:
                yield b"D0755 0 %b\n" % name
            case 1:
                yield b"T9 0 9 0\n"
            case 2:
                yield b"E\n"
            case _:
                yield b"C0644 %d %b\n%b\0" % (len(data), name, data)


def _leave(made: random.Random, tenant: str, number: int) -> _Made:
    return "connection lost", Leave()


_Maker: TypeAlias = Callable[[random.Random, str, int], _Made]
_MAKERS: tuple[_Maker, ...] = (
    *[_on_path] * 6,
    *[_open] * 6,
    *[_on_handle] * 4,
    *[_read] * 2,
    *[_write] * 3,
    *[_rename] * 4,
    *[_change] * 2,
    _resume,
    _look_into_drop_box,
    _extension,
    _copy_data,
    _check_file,
    _check_file,
    _forged_record,
    _sum,
    _download,
    _download,
    _upload,
    _upload,
    _leave,
)
