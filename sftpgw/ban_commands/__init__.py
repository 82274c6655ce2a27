"""The commands ``sftpgw bans`` and ``sftpgw unban``, which ask a gateway that runs."""
