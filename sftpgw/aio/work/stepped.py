"""Long work in the reactor's thread, in turns with all other work.

Knows: `model.steps`, and when a turn is over. Must not know: what the work is.
"""

from __future__ import annotations

from typing import TypeVar

from sftpgw.aio.fair_order import Path
from sftpgw.aio.work.scheduler import WorkScheduler
from sftpgw.model.steps import Steps

T = TypeVar("T")


async def in_turns(work: WorkScheduler, path: Path, kind: str, steps: Steps[T]) -> T:
    """Do all steps, and return the result. At least one is done in each turn.

    :param work: hands out the turns.
    :param path: whose work it is.
    :param kind: what is done.
    :param steps: the work.
    """
    try:
        while True:
            await work.next_step(path, kind)
            next(steps)
            while work.has_time():
                next(steps)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()
