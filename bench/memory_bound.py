"""How much memory a gateway's process may hold resident.

Knows: the formula of docs/performance.rst, with the figures that ``python -m bench memory``
measures. Must not know: processes; all is pure.
"""

from __future__ import annotations

from bench.figures import MIB

KIB = 1024

CONSTANT_BYTES = 128 * MIB
"""The process itself, which is 77 MiB when it has started, and what its connections share: most of
all the responses that arrive from stores, which took 45 MiB beside downloads that were given up."""

CONNECTION_BYTES = 640 * KIB
"""What a busy connection takes beside the budget: 200 took 119 MiB together with one of 64 MiB.
An idle one takes 36 KiB."""


def bound_bytes(memory_bytes: int, connections: int) -> int:
    """The most that the process may hold resident.

    :param memory_bytes: ``[limits] memory``.
    :param connections: the most that were open at once.
    """
    return memory_bytes + CONSTANT_BYTES + connections * CONNECTION_BYTES
