"""What a login still needs, given what its user has proven: `LoginRules.require`.

Rules, which are those of sshd_config(5), AuthenticationMethods:

- `require` lists alternatives. Each is a series of methods, which must succeed in its order.
- A method that succeeds is crossed off each alternative that has it next. The others stay as they
  were.
- A method that no alternative has next is refused, whether the proof is right or wrong. So a
  password cannot be guessed where a key must come before it.
- The login is complete once nothing is left of one alternative.
- Without alternatives, a key or a password is enough.
"""

from __future__ import annotations

from collections.abc import Iterable

from sftpgw.model.users import LoginMethod

Alternatives = tuple[tuple[LoginMethod, ...], ...]

ANY: Alternatives = ((LoginMethod.PUBLICKEY,), (LoginMethod.PASSWORD,))
"""What is meant where nothing is required."""


def still_needed(require: Alternatives, proven: Iterable[LoginMethod]) -> Alternatives | None:
    """What is left of each alternative; None if one of the methods was not next in any.

    :param require: the alternatives; none stands for `ANY`.
    :param proven: the methods that have succeeded, in their order.
    """
    left = require or ANY
    for method in proven:
        if method not in next_methods(left):
            return None
        left = tuple(each[1:] if each[:1] == (method,) else each for each in left)
    return left


def is_complete(left: Alternatives) -> bool:
    """Whether the user may be let in.

    :param left: what `still_needed` has returned.
    """
    return () in left


def next_methods(left: Alternatives) -> tuple[LoginMethod, ...]:
    """The methods of which one may be next, each once, in the order of the alternatives.

    :param left: what `still_needed` has returned.
    """
    return tuple(dict.fromkeys(each[0] for each in left if each))


def first_methods(rules: Iterable[Alternatives]) -> tuple[LoginMethod, ...]:
    """The methods with which some login may begin, in the order in which `LoginMethod` has them.

    All names are offered these, so that the offer tells nothing of a name.

    :param rules: `require` of all users; none at all stands for `ANY`.
    """
    begun = {method for require in rules for method in next_methods(require or ANY)}
    return tuple(method for method in LoginMethod if method in (begun or next_methods(ANY)))
