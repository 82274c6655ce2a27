"""Long work in steps, each of them short.

A generator that yields nothing between two steps, and returns the result. In the reactor's thread
`aio.work.stepped.in_turns` does the steps in turns with other work; where nothing waits, `finish`
does them in a row.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]


def finish(steps: Steps[T]) -> T:
    """Do all steps, and return the result.

    :param steps: the work.
    """
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
