"""Decisions: numbers and bytes in, decisions out.

Knows: paths, permissions, part sizes, what to send next, what to fetch next,
when to try again. Must not know: how any of it is done. No I/O, no clock, no
randomness of its own, no Twisted.
"""
