"""The order in which the requests of one session are carried out."""
