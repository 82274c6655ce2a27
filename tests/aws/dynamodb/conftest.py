"""moto's server."""

from tests.stores import moto_url

__all__ = ["moto_url"]
