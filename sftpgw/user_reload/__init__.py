"""Exchanging the users while the gateway runs: what has changed, and what becomes of sessions."""
