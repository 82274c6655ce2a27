"""Bytes that wait in memory: a queue of fragments, and the send buffer of a socket."""
