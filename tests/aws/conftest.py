"""A scripted server and a client for it, and an environment without credentials."""

from __future__ import annotations

import pytest

from tests.scripted_server import client, connected, events, moto_url, server

__all__ = ["client", "connected", "events", "moto_url", "server"]


@pytest.fixture
def no_surroundings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No credentials in environment, files or instance metadata."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent/config")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch
