"""A scripted server and a client for it."""

from tests.scripted_server import client, connected, events, moto_url, server

__all__ = ["client", "connected", "events", "moto_url", "server"]
