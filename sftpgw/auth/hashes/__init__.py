"""Formats of password hashes, a module for each.

A format has a class with a method ``read``, which takes a hash as text and raises ValueError if it
is incomplete or too expensive, and with a method ``matches`` for a password. `auth.passwords` knows
which text has which format.
"""
