"""Who may log in: keys, passwords, sources of users, and the realm that makes avatars.

The way of a login: `ssh.userauth` reads credentials, cred's portal passes them to one of the
`checkers`, that one asks the `authenticator` for the user, and the `realm` makes the avatar.
"""
