"""How much memory a gateway's process may hold resident.

Knows: the formula of docs/performance.rst, with the figures that ``python -m bench memory``
measures. Must not know: processes; all is pure.
"""

from __future__ import annotations

from bench.figures import MIB

CONSTANT_BYTES = 110 * MIB
"""The process itself, and what its connections share."""

CONNECTION_BYTES = MIB
"""What a busy connection takes beside what is counted in the budget."""


def bound_bytes(memory_bytes: int, connections: int) -> int:
    """The most that the process may hold resident.

    :param memory_bytes: ``[limits] memory``.
    :param connections: the most that were open at once.
    """
    return memory_bytes + CONSTANT_BYTES + connections * CONNECTION_BYTES
