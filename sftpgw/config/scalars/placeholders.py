"""What stands for something else in a value, and what only looks as if it did."""

from __future__ import annotations

import re
from collections.abc import Mapping

_BRACES = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")

_OTHER_PLACEHOLDER = re.compile(r"(?:^|(?<=/))(?:\$\w+|%\(\w+\)s?|%[A-Za-z]|<[\w -]+>)(?=/|$)")
"""What stands for a user's name or home elsewhere: in shells, sshd_config and manuals."""

_SIGNS = frozenset("{}$%<")
"""Where a text has none of them, it has nothing that either pattern above finds."""

_ONLY_A_PLACEHOLDER = re.compile(r"\$\{.+\}|\$[A-Za-z_]\w*|\{\{?.+\}\}?|%\(.+\)s|<.+>")


def fill_placeholders(text: str, known: Mapping[str, str]) -> str:
    """`text` with each ``{name}`` replaced by its value; ``{{`` and ``}}`` are braces.

    A placeholder that is taken literally leads every user to the same place. So what looks like
    one and is not `known` is refused, in the notations of other programs, too.

    :raises ValueError: a placeholder is unknown, or a brace stands alone.
    """
    if _SIGNS.isdisjoint(text):
        return text
    right = " or ".join(f"{{{name}}}" for name in known)
    other = _OTHER_PLACEHOLDER.search(text)
    if other is not None:
        raise ValueError(f"{other[0]!r} would be taken literally; write {right}")

    def fill(found: re.Match[str]) -> str:
        inner = found[0][1:-1]
        if found[0] in ("{{", "}}"):
            return found[0][0]
        if inner and inner in known:
            return known[inner]
        raise ValueError(
            f"{found[0]!r} is no placeholder that is known here; write {right}, "
            "or {{ and }} for braces"
        )

    return _BRACES.sub(fill, text)


def without_placeholders(text: str) -> str:
    """`text`, in which nothing is replaced. :raises ValueError: it looks as if that was meant."""
    if _SIGNS.isdisjoint(text):
        return text
    found = re.search(r"\$?\{[^{}]*\}", text) or _OTHER_PLACEHOLDER.search(text)
    if found is not None:
        raise ValueError(f"{found[0]!r} would be taken literally; write the value itself")
    return text


def secret(text: str) -> str:
    """A secret as it is. :raises ValueError: it is a placeholder, and nothing else."""
    if _ONLY_A_PLACEHOLDER.fullmatch(text):
        raise ValueError(
            "is a placeholder, and none is replaced here; write the secret itself, "
            "or leave the key out where the usual AWS chain has it"
        )
    return text
