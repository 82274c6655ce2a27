"""The order in which the requests of one SFTP channel are carried out."""
