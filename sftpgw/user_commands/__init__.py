"""The command ``sftpgw user``: the operator adds, shows, changes and removes users.

`arguments` has the command line, `actions` what each command does, `foreign_users` what other
programs say of their users. Files are changed by `config.users_editor`.
"""
