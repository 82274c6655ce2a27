"""What applies to a user of ``[*]``, of groups and of the user's own section, against a model.

The model knows the two rules of docs/users.rst and docs/permissions.rst: the last section that says
something wins, and the longest path does. It asks for one value at a time, and builds nothing.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.config.loader import load_settings
from sftpgw.model.mounts import AccessRule, Permission
from sftpgw.model.settings import Settings
from sftpgw.model.users import User
from sftpgw.ssh.algorithms import KNOWN
from tests.test_config import GATEWAY_INI, check_endpoint, check_hash, read_key

WITH_SERVICE = GATEWAY_INI + "[auth]\nsources = file http\nhttp_url = https://idp.example/\n"

SectionText = dict[tuple[str, str], str]
"""What one section says: by key and path, as it is written."""

PATHS = ("", "/in", "/in/deep", "/box", "/box/in", "/other")
MOUNT_PATHS = ("/box", "/box/in", "/in")
ASKED = (*PATHS, "/in/deep/x", "/box/a", "/box/in/b", "/x/y")
KEYS_OF_PATHS = {
    "permissions": ("list", "list download", "upload", "list upload mkdir"),
    "deny": ("*.exe", "~$* *.tmp", ""),
    "allow": ("*.csv", ""),
    "deny_hidden": ("yes", "no", ""),
}
KEYS_OF_OBJECTS = {"storage_class": ("STANDARD_IA", "GLACIER_IR", ""), "acl": ("private", "")}
KEYS_OF_USERS = {"weight": ("2", "3", ""), "max_sessions": ("5", "7", "")}


@st.composite
def sections(draw: st.DrawFn, name: str) -> SectionText:
    """What one section says."""
    said: SectionText = {}
    for key, texts in KEYS_OF_PATHS.items():
        for path in draw(st.sets(st.sampled_from(PATHS), max_size=2)):
            said[key, path] = draw(st.sampled_from(texts))
    for key, texts in KEYS_OF_OBJECTS.items():
        # In the user's own section, the path must be that of a mount.
        places = ("",) if name == "alice" else ("", *MOUNT_PATHS)
        for path in draw(st.sets(st.sampled_from(places), max_size=2)):
            said[key, path] = draw(st.sampled_from(texts))
    for key, texts in KEYS_OF_USERS.items():
        if draw(st.booleans()):
            said[key, ""] = draw(st.sampled_from(texts))
    if draw(st.booleans()):
        said["key_prefix", ""] = f"home-of-{name.strip('*')}/{{username}}/"
    for path in draw(st.sets(st.sampled_from(MOUNT_PATHS), max_size=2)):
        granted = draw(st.sampled_from(("", " list", " list download")))
        if ("permissions", path) in said:
            granted = ""  # both in one section are a fault
        said["mount", path] = f"{path} s3://bucket/of-{name.strip('*')}{path}/{granted}"
    return said


@st.composite
def layers(draw: st.DrawFn) -> tuple[list[str], dict[str, SectionText]]:
    """The groups of the user, in their order, and what each section says."""
    groups = draw(st.permutations(["one", "two"]))[: draw(st.integers(0, 2))]
    names = ["*", "*one", "*two", "alice"]
    said = {name: draw(sections(name)) for name in names}
    said["*"].setdefault(("key_prefix", ""), "home/{username}/")
    return groups, said


def written(groups: list[str], said: dict[str, SectionText]) -> str:
    """users.ini."""
    lines = []
    for name, section in said.items():
        lines.append(f"[{name}]")
        if name == "alice":
            lines += [f"groups = {' '.join(groups)}", "authorized_keys = ssh-ed25519 AAAA"]
        mounts = [text for (key, _), text in section.items() if key == "mount"]
        if mounts:
            lines += ["mount =", *(f"    {text}" for text in mounts)]
        for (key, path), text in section.items():
            if key != "mount":
                lines.append(f"{key} {path} = {text}" if path else f"{key} = {text}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Model:
    """The two rules.

    :param said: what the sections that apply say, the one that wins last.
    """

    said: list[SectionText]

    def last(self, key: str, path: str) -> tuple[int, str] | None:
        """What the last section that has a key says, and its number; None for blank or nothing."""
        found = [(n, each[key, path]) for n, each in enumerate(self.said) if (key, path) in each]
        return found[-1] if found and found[-1][1] else None

    def value(self, key: str, path: str = "") -> str | None:
        found = self.last(key, path)
        return None if found is None else found[1]

    def permissions(self, path: str) -> str | None:
        """What is said of a path itself; a mount line's permissions count, too."""
        of_key, of_mount = self.last("permissions", path), self.last("mount", path)
        words = [] if of_mount is None else of_mount[1].split()[2:]
        if of_mount is None or not words or (of_key is not None and of_key[0] > of_mount[0]):
            return None if of_key is None else of_key[1]
        return " ".join(words)

    def mounts(self) -> dict[str, tuple[str, str]]:
        """Bucket and prefix by path."""
        found = {}
        home = self.value("key_prefix")
        if home is not None:
            found[""] = ("uploads", home.replace("{username}", "alice"))
        for path in MOUNT_PATHS:
            line = self.value("mount", path)
            if line is not None:
                bucket, _, prefix = line.split()[1].removeprefix("s3://").partition("/")
                found[path] = (bucket, prefix)
        return found

    def at(self, key: str, path: str) -> str | None:
        """What is said of the longest path at or above one that has anything said of it."""
        names = path.split("/")
        above = ["/".join(names[:end]) for end in range(len(names), 0, -1)]
        asked = self.permissions if key == "permissions" else lambda p: self.value(key, p)
        return next((text for each in above if (text := asked(each)) is not None), None)


def loaded(text: str, gateway_ini: str = GATEWAY_INI) -> Settings:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "host_key").touch()
        (place / "sftpgw.ini").write_text(gateway_ini)
        (place / "users.ini").write_text(text)
        return load_settings(
            place / "sftpgw.ini",
            read_key=read_key,
            check_hash=check_hash,
            check_endpoint=check_endpoint,
            known_algorithms=KNOWN,
        )


def names_of(path: str) -> tuple[str, ...]:
    return tuple(path.split("/")[1:])


def granted(text: str | None) -> Permission:
    found = Permission(0)
    for word in (text or "list download upload overwrite delete rename mkdir setstat").split():
        found |= Permission[word.upper()]
    return found


def rule_at(user: User, path: str) -> AccessRule:
    """The rule that decides at a path."""
    names = names_of(path)
    inside = [mount for mount in user.mounts if names[: len(mount.path)] == mount.path]
    mount = max(inside, key=lambda each: len(each.path))
    return mount.access_at(names)


def check(user: User, model: Model) -> None:
    """Compare a user with the model, value by value."""
    assert user.weight == int(model.value("weight") or 1)
    limit = model.value("max_sessions")
    assert user.limits.sessions == (int(limit) if limit else None)
    mounts = {("".join(f"/{name}" for name in each.path)): each for each in user.mounts}
    assert {path: (m.bucket, m.key_prefix) for path, m in mounts.items()} == model.mounts()
    for path, mount in mounts.items():
        for key in KEYS_OF_OBJECTS:
            expected = model.value(key, path) or model.value(key) or ""
            assert getattr(mount.objects, key) == expected, (path, key)
    for path in ASKED:
        if not any(path == each or path.startswith(f"{each}/") for each in mounts):
            continue
        rule = rule_at(user, path)
        assert rule.permissions == granted(model.at("permissions", path)), path
        assert rule.deny == tuple((model.at("deny", path) or "").split()), path
        assert rule.allow == tuple((model.at("allow", path) or "").split()), path
        assert rule.hides_denied is (model.at("deny_hidden", path) == "yes"), path


@settings(max_examples=80)
@given(layers())
def test_a_user_is_what_the_rules_say(made: tuple[list[str], dict[str, SectionText]]) -> None:
    groups, said = made
    model = Model([said["*"], *(said[f"*{name}"] for name in groups), said["alice"]])
    check(loaded(written(groups, said)).users["alice"], model)


@settings(max_examples=50)
@given(layers())
def test_so_is_a_user_of_a_service(made: tuple[list[str], dict[str, SectionText]]) -> None:
    """What others say of places counts only where the service says nothing of them."""
    groups, said = made
    own = said["alice"]
    if own.keys() & {("mount", path) for path in MOUNT_PATHS}:
        own.setdefault(("key_prefix", ""), "here/")  # so that each path is in a mount
    has_places = any(key in ("key_prefix", "mount") for key, _ in own)
    common = [said["*"], *(said[f"*{name}"] for name in groups)]
    if has_places:
        common = [
            {at: text for at, text in each.items() if at[0] not in ("key_prefix", "mount")}
            for each in common
        ]
    in_files = {name: section for name, section in said.items() if name != "alice"}
    make_user = loaded(written([], in_files), WITH_SERVICE).make_user
    assert make_user is not None
    given_texts = {"groups": " ".join(groups)}
    lines = [text for (key, _), text in own.items() if key == "mount"]
    if lines:
        given_texts["mount"] = "\n".join(lines)
    for (key, path), text in own.items():
        if key != "mount":
            given_texts[f"{key} {path}" if path else key] = text
    check(make_user("alice", given_texts, "http", ()), Model([*common, own]))
