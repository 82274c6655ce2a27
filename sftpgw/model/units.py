"""Units of bytes, and the types of buffers."""

from __future__ import annotations

from typing import TypeAlias

KIB = 1024


MIB = 1024 * KIB


GIB = 1024 * MIB


Buffer: TypeAlias = bytes | bytearray | memoryview


Body: TypeAlias = tuple[Buffer, ...]


"""Bytes to be sent, in order; code that passes a body on does not join it."""
