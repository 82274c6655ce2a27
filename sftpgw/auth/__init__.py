"""Who may log in: keys, passwords, users, and the realm that makes an avatar of one."""
