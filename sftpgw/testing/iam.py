"""What IAM policies mean: whether a request is allowed.

Knows: Effect, Action, Resource and their opposites, wildcards, conditions, variables.
Must not know: S3, or who writes the policies.

    policy = IamPolicy.parse(text)
    policy.decide(IamRequest("s3:GetObject", "arn:aws:s3:::bucket/key"))    # Decision.ALLOW

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

NO_CONTEXT: Mapping[str, str] = {}


class Decision(enum.Enum):
    """What a policy says of a request."""

    ALLOW = "allow"
    IMPLICIT_DENY = "implicit deny"
    EXPLICIT_DENY = "explicit deny"


@dataclass(frozen=True)
class IamRequest:
    """A request as IAM sees it.

    :param action: such as ``s3:GetObject``.
    :param resource: the ARN.
    :param context: the values of condition keys, such as ``s3:prefix``.
    """

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=lambda: NO_CONTEXT)

    def value(self, key: str) -> str | None:
        """The value of a condition key, whose case does not matter; None if it is absent."""
        found = (value for name, value in self.context.items() if name.lower() == key.lower())
        return next(found, None)


class UnknownVariable(Exception):
    """A policy variable has no value: its statement does not apply."""


def matches_pattern(
    pattern: str, text: str, request: IamRequest, *, wildcards: bool = True
) -> bool:
    """Whether a text matches, after variables are filled in; their values have no wildcards.

    :param pattern: with ``*`` and ``?``, and ``${…}``.
    :param text: the text.
    :param request: has the values of variables.
    :param wildcards: whether ``*`` and ``?`` stand for other characters.
    """
    expression = ""
    for token in re.findall(r"\$\{[^}]*\}|.", pattern, re.DOTALL):
        if token.startswith("${"):
            expression += re.escape(_variable(token[2:-1], request))
        elif wildcards and token in "*?":
            expression += ".*" if token == "*" else "."
        else:
            expression += re.escape(token)
    return re.fullmatch(expression, text, re.DOTALL) is not None


def _variable(name: str, request: IamRequest) -> str:
    if name in ("*", "?", "$"):
        return name
    value = request.value(name)
    if value is None:
        raise UnknownVariable(name)
    return value


@dataclass(frozen=True)
class IamPolicy:
    """A policy.

    :param statements: its statements, as in its JSON.
    """

    statements: tuple[Mapping[str, Any], ...]

    @classmethod
    def parse(cls, text: str) -> IamPolicy:
        """A policy from its JSON. :raises ValueError: it is none, or has what is not known here"""
        document = json.loads(text)
        statements = document["Statement"]
        if isinstance(statements, dict):
            statements = [statements]
        for statement in statements:
            if unknown := set(statement) - _ELEMENTS:
                raise ValueError(f"unknown elements: {sorted(unknown)}")
            for name in statement.get("Condition", {}):
                _operator(name)
        return cls(tuple(statements))

    def decide(self, request: IamRequest) -> Decision:
        """What the policy says; a denial wins over everything."""
        found = {each["Effect"] for each in self.statements if _applies(each, request)}
        if "Deny" in found:
            return Decision.EXPLICIT_DENY
        return Decision.ALLOW if "Allow" in found else Decision.IMPLICIT_DENY


def all_allow(policies: Iterable[IamPolicy], request: IamRequest) -> bool:
    """Whether each policy allows a request: that of a role, and that of its session."""
    return all(policy.decide(request) is Decision.ALLOW for policy in policies)


_ELEMENTS = frozenset(
    {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}
)


def _applies(statement: Mapping[str, Any], request: IamRequest) -> bool:
    def fits_action(pattern: str) -> bool:
        return matches_pattern(pattern.lower(), request.action.lower(), request)

    def fits_resource(pattern: str) -> bool:
        return matches_pattern(pattern, request.resource, request)

    try:
        return (
            _is_named(statement, "Action", fits_action)
            and _is_named(statement, "Resource", fits_resource)
            and all(
                _holds(name, tests, request)
                for name, tests in statement.get("Condition", {}).items()
            )
        )
    except UnknownVariable:
        return False


def _is_named(statement: Mapping[str, Any], element: str, fits: Callable[[str], bool]) -> bool:
    """Whether an element names the request, or its opposite does not."""
    opposite = f"Not{element}"
    if opposite in statement:
        return not any(fits(pattern) for pattern in _listed(statement[opposite]))
    return any(fits(pattern) for pattern in _listed(statement[element]))


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


# Conditions.

_Test = Callable[[str, str, IamRequest], bool]


def _equals(pattern: str, text: str, request: IamRequest) -> bool:
    return matches_pattern(pattern, text, request, wildcards=False)


def _equals_ignoring_case(pattern: str, text: str, request: IamRequest) -> bool:
    return matches_pattern(pattern.lower(), text.lower(), request, wildcards=False)


_OPERATORS: dict[str, tuple[_Test, bool]] = {
    "StringEquals": (_equals, False),
    "StringNotEquals": (_equals, True),
    "StringEqualsIgnoreCase": (_equals_ignoring_case, False),
    "StringNotEqualsIgnoreCase": (_equals_ignoring_case, True),
    "StringLike": (matches_pattern, False),
    "StringNotLike": (matches_pattern, True),
    "ArnLike": (matches_pattern, False),
    "ArnNotLike": (matches_pattern, True),
    "Bool": (_equals_ignoring_case, False),
}
"""The test of one value, and whether none of the values may pass it."""

IF_EXISTS = "IfExists"


def _operator(name: str) -> tuple[_Test, bool] | None:
    """:raises ValueError: it is not known here"""
    if name == "Null":
        return None
    try:
        return _OPERATORS[name.removesuffix(IF_EXISTS)]
    except KeyError:
        raise ValueError(f"unknown operator: {name}") from None


def _holds(name: str, tests: Mapping[str, Any], request: IamRequest) -> bool:
    """All keys of an operator must hold, each with one of its values."""
    operator = _operator(name)
    for key, patterns in tests.items():
        text = request.value(key)
        if operator is None:
            if (text is None) != (str(patterns).lower() == "true"):
                return False
            continue
        test, is_negated = operator
        if text is None:
            # A key that is absent equals nothing.
            if not (is_negated or name.endswith(IF_EXISTS)):
                return False
        elif any(test(pattern, text, request) for pattern in _listed(patterns)) == is_negated:
            return False
    return True
