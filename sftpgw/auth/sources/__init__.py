"""Where users come from: one module for each source.

A new source gets a module here, and `gateway` makes it in place of `static`, or an `Authenticator`
that asks several of them. It is a `UserDirectory` if it has the records of users, and an
`Authenticator` if it verifies keys or passwords itself.
"""
