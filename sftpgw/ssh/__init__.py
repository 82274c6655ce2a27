"""SSH for an open network, on Conch's classes.

Each module says which behaviour of Conch it replaces, and why; ``docs/conch.rst`` lists all of it.
From the outside in: `factory` accepts connections as far as `admission` allows. A connection is a
`transport` on top of `kex` (key exchanges) and `packet_transport` (packets in and out). Its service
is `userauth` at first, and `connection` after the login, with `channels`.
"""
