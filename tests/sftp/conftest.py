"""What the tests of this folder share."""

from tests.in_memory import client, gateway

__all__ = ["client", "gateway"]
